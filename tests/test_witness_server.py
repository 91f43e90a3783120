"""The witness over HTTP: the statuses and types of c2sp.org/tlog-witness, limits and deadlines."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from api.witness_server import MAX_CONNECTIONS, WitnessServer
from ledger.storage.witnessed import WitnessStore, create_store
from ledger.tlog.cosignature import cosignatures, with_lines
from ledger.tlog.note import Signer
from ledger.tlog.witness import MAX_REQUEST_BYTES, AddCheckpoint, Witness
from tests.tlog.test_witness import LOG, NOW, OTHER, TREE, W1, note_of, request

DEADLINE_S = 0.6


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    create_store(tmp_path / "witness.db")
    store = WitnessStore(tmp_path / "witness.db")
    witness = Witness(store, W1, [LOG.verifier], now=lambda: NOW)
    with WitnessServer(("127.0.0.1", 0), witness, deadline_s=DEADLINE_S) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()
        thread.join()
    store.close()


def post(address: tuple[str, int], body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
    connection = HTTPConnection(*address, timeout=5)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def test_the_statuses_of_the_specification(address: tuple[str, int]) -> None:
    status, _, body = post(address, request(0, 7))
    assert status == 200
    (found,) = cosignatures(with_lines(note_of(7), [body.decode().rstrip("\n")]), [W1.key])
    assert found.time_s == NOW
    assert post(address, request(0, 9)) == (409, "text/x.tlog.size", b"7\n")
    assert post(address, AddCheckpoint(7, (), note_of(7, OTHER)).encode()) == (409, "text/x.tlog.size", b"7\n")
    assert post(address, request(7, 9, OTHER))[0] == 422
    assert post(address, request(7, 9, TREE, Signer(LOG.name, b"x" * 32)))[0] == 403
    unknown = note_of(9).replace(b"example.com/log", b"example.com/lag")
    assert post(address, AddCheckpoint(7, (), unknown).encode())[0] == 404
    for malformed in (
        b"",
        b"old 7\n\n",
        request(7, 9).replace(b"old 7", b"old 07"),
        AddCheckpoint(9, (), note_of(7)).encode(),
    ):
        assert post(address, malformed)[0] == 400
    assert post(address, request(7, 9), path="/other")[0] == 404
    assert post(address, request(7, 9))[0] == 200


def test_one_connection_serves_many_requests(address: tuple[str, int]) -> None:
    connection = HTTPConnection(*address, timeout=5)
    for old, new in ((0, 1), (1, 5), (5, 5)):
        connection.request("POST", "/add-checkpoint", request(old, new))
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()


def raw(address: tuple[str, int], data: bytes) -> bytes:
    """Send bytes, and return all that comes until the other side closes."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(data)
        found = b""
        while piece := connection.recv(4_096):
            found += piece
        return found


def test_a_body_has_a_length_and_a_limit(address: tuple[str, int]) -> None:
    head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"
    assert raw(address, head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nold 0\r\n").startswith(b"HTTP/1.1 411")
    assert raw(address, head + b"\r\n").startswith(b"HTTP/1.1 411")
    assert raw(address, head + b"Content-Length: -1\r\n\r\n").startswith(b"HTTP/1.1 411")
    long = b"Content-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1)
    assert raw(address, head + long).startswith(b"HTTP/1.1 413")
    assert raw(address, b"GET /add-checkpoint HTTP/1.1\r\nHost: w\r\n\r\n").startswith(b"HTTP/1.1 404")


def test_a_slow_request_is_cut_however_it_drips(address: tuple[str, int]) -> None:
    began = time.monotonic()

    def drip() -> None:
        with socket.create_connection(address, timeout=5) as connection:
            for byte in b"POST /add-checkpoint HTTP/1.1\r\nHost: " + b"w" * 1_000:
                connection.sendall(bytes([byte]))
                time.sleep(DEADLINE_S / 10)

    # Reset or broken pipe, as the system sees it.
    with pytest.raises(OSError):  # noqa: PT011
        drip()
    assert time.monotonic() - began < 5 * DEADLINE_S


def test_half_open_connections_do_not_keep_others_out_for_long(address: tuple[str, int]) -> None:
    idle = [socket.create_connection(address, timeout=5) for _ in range(2 * MAX_CONNECTIONS)]
    deadline = time.monotonic() + 10 * DEADLINE_S
    while True:
        try:
            assert post(address, request(0, 3))[0] == 200
            break
        except OSError:
            assert time.monotonic() < deadline, "nobody is served beside half-open connections"
            time.sleep(0.05)
    for connection in idle:
        connection.close()
