"""Collecting cosignatures: in the background, for whoever waits, and with witnesses that fail, lie or drip."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.witness_server import WitnessServer
from ledger import Ledger, open_ledger
from ledger.commands import RegisterSubject
from ledger.errors import (
    Inconsistent,
    Invalid,
    NotCosigned,
    SizeMismatch,
    Uncosigned,
    VerificationError,
    WitnessUnreachable,
)
from ledger.storage.witnessed import WitnessStore, create_store
from ledger.tlog.ask import MAX_ANSWER_BYTES, WitnessAddress, ask
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import WitnessSigner, cosignatures
from ledger.tlog.fsck import fsck
from ledger.tlog.proof import LogProof
from ledger.tlog.witness import AddCheckpoint, Witness
from ledger.vocabulary import SubjectId, new_id
from tests.bench import KEK, OFFICER, ORIGIN, SIGNER, Bench

W1 = WitnessSigner("witness.example/w1", b"1" * 32)
W2 = WitnessSigner("witness.example/w2", b"2" * 32)
NOW = 1_790_000_000


@contextmanager
def serving(path: Path, signer: WitnessSigner = W1, *, port: int = 0) -> Iterator[WitnessAddress]:
    if not path.exists():
        create_store(path)
    store = WitnessStore(path)
    witness = Witness(store, signer, [SIGNER.verifier], now=lambda: NOW)
    with WitnessServer(("127.0.0.1", port), witness) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield WitnessAddress(signer.key, f"http://127.0.0.1:{server.server_address[1]}/")
        finally:
            server.shutdown()
            thread.join()
    store.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def opened(bench: Bench, *witnesses: WitnessAddress) -> Ledger:
    bench.ledger.close()
    bench.ledger = open_ledger(bench.directory, kek=KEK, signer=SIGNER, clock=bench.clock, witnesses=witnesses)
    return bench.ledger


def register() -> RegisterSubject:
    return RegisterSubject(subject_id=SubjectId(new_id()))


def eventually(holds: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_receipt_that_waited_is_cosigned_and_proves_the_same(bench: Bench, tmp_path: Path) -> None:
    with serving(tmp_path / "1.db") as one, serving(tmp_path / "2.db", W2) as two:
        ledger = opened(bench, one, two)
        for _ in range(3):
            receipt = ledger.record(register(), OFFICER, wait="cosigned", timeout_s=10)
            assert receipt.verify(ledger.verifier, ORIGIN).size >= receipt.position
            note = LogProof.parse(receipt.proofs[0]).checkpoint
            found = cosignatures(note, [W1.key, W2.key])
            assert {cosignature.witness for cosignature in found} == {W1.key, W2.key}
            assert {cosignature.time_s for cosignature in found} == {NOW}
        again = asyncio.run(ledger.arecord(register(), OFFICER, wait="cosigned"))
        assert cosignatures(LogProof.parse(again.proofs[0]).checkpoint, [W1.key])
        size, note = ledger.checkpoint() or (0, b"")
        assert len(cosignatures(ledger.with_cosignatures(size, note), [W1.key, W2.key])) == 2
        assert fsck(ledger).ok


def test_nobody_waits_who_did_not_ask(bench: Bench) -> None:
    """A witness that takes every request and never answers: recording does not notice."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        ledger = opened(bench, WitnessAddress(W1.key, f"http://127.0.0.1:{deaf.getsockname()[1]}"))
        began = time.monotonic()
        for _ in range(50):
            ledger.record(register(), OFFICER)
        with pytest.raises(Uncosigned, match="recorded as entry 50") as caught:
            ledger.record(register(), OFFICER, wait="cosigned", timeout_s=0.3)
        assert caught.value.missing == ("witness.example/w1",)
        caught.value.receipt.verify(ledger.verifier, ORIGIN)
        assert ledger.size() == 51
        ledger.close()
        assert time.monotonic() - began < 5


def test_a_witness_that_comes_back_is_found(bench: Bench, tmp_path: Path) -> None:
    port = free_port()
    ledger = opened(bench, WitnessAddress(W1.key, f"http://127.0.0.1:{port}"))
    ledger.record(register(), OFFICER)
    cosigning = ledger.cosigning
    assert cosigning is not None
    eventually(lambda: cosigning.status()[0].failures)
    assert "no answer" in (cosigning.status()[0].error or "")
    with serving(tmp_path / "1.db", port=port):
        eventually(lambda: cosigning.status()[0].size == 1)
        assert cosigning.status()[0].error is None


def test_one_that_fails_does_not_hold_up_the_other(bench: Bench, tmp_path: Path) -> None:
    with serving(tmp_path / "1.db") as one, socket.create_server(("127.0.0.1", 0)) as deaf:
        ledger = opened(bench, one, WitnessAddress(W2.key, f"http://127.0.0.1:{deaf.getsockname()[1]}"))
        cosigning = ledger.cosigning
        assert cosigning is not None
        cosigning._witnesses[1].failures = 1
        for count in range(1, 4):
            ledger.record(register(), OFFICER)
            eventually(lambda count=count: cosigning.status()[0].size == count, 3)  # type: ignore[misc]
        assert cosigning.status()[1].size is None


def test_what_was_collected_outlives_a_restart_and_the_witness_is_asked_from_there(
    bench: Bench, tmp_path: Path
) -> None:
    with serving(tmp_path / "1.db") as one:
        opened(bench, one).record(register(), OFFICER, wait="cosigned")
        ledger = opened(bench, one)
        assert ledger.cosigning is not None
        assert ledger.cosigning.status()[0].size == 1
        ledger.record(register(), OFFICER, wait="cosigned")
        # A ledger that lost its file learns from the witness where to start.
        ledger.close()
        (bench.directory / "cosignatures.db").unlink()
        opened(bench, one).record(register(), OFFICER, wait="cosigned")


def test_a_rolled_back_ledger_is_told_so_by_its_witness(bench: Bench, tmp_path: Path) -> None:
    """A copy of the whole directory, guard and all, goes on: its own guard cannot know, the witness does."""
    with serving(tmp_path / "1.db") as one:
        bench.ledger.record(register(), OFFICER)
        bench.ledger.close()
        copy = bench.copy(tmp_path / "copy")
        ledger = opened(bench, one)
        for _ in range(3):
            ledger.record(register(), OFFICER, wait="cosigned")
        with open_ledger(copy, kek=KEK, signer=SIGNER, clock=bench.clock, witnesses=[one]) as rolled_back:
            for expected in ("has seen 4 entries", "has seen 4 entries", "another tree", "does not extend"):
                with pytest.raises(Uncosigned):
                    rolled_back.record(register(), OFFICER, wait="cosigned", timeout_s=0.5)
                assert rolled_back.cosigning is not None
                error = rolled_back.cosigning.status()[0].error
                assert error is not None
                assert expected in error


def test_waiting_without_a_witness_makes_no_sense(bench: Bench) -> None:
    with pytest.raises(Invalid, match="no witnesses"):
        bench.ledger.record(register(), OFFICER, wait="cosigned")
    with pytest.raises(Invalid, match="recorded or cosigned"):
        bench.ledger.record(register(), OFFICER, wait="soon")  # type: ignore[arg-type]
    assert bench.ledger.size() == 0


@pytest.mark.parametrize(
    "url",
    [
        "ftp://witness.example", "file:///etc/passwd", "witness.example", "http://", "http://user@witness.example",
        "http://witness.example?x", "http://witness.example#x", "http://witness.example:x", "http://wit ness.example",
    ],
)  # fmt: skip
def test_an_address_is_http_and_nothing_more(url: str) -> None:
    with pytest.raises(Invalid):
        WitnessAddress(W1.key, url)


# --- answers that are none ------------------------------------------------------------------------------------


def answered(answer: bytes, *, drip_s: float = 0.0, deadline_s: float = 1.0) -> Any:
    """Ask a witness that answers with these bytes whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                try:
                    for piece in [answer] if not drip_s else [answer[i : i + 1] for i in range(len(answer))]:
                        connection.sendall(piece)
                        time.sleep(drip_s)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            request = AddCheckpoint(0, (), note_of(3))
            address = WitnessAddress(W1.key, f"http://127.0.0.1:{server.getsockname()[1]}/prefix")
            return ask(address, request, deadline_s=deadline_s)
        finally:
            thread.join()


def note_of(size: int) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), SIGNER)


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


TEXT = note_of(3).decode().partition("\n\n")[0] + "\n"
GOOD = W1.cosign(TEXT, NOW).encode()
SIZE = "Content-Type: text/x.tlog.size"


def test_a_good_answer_is_taken_also_among_strangers() -> None:
    assert answered(http("200 OK", GOOD)).time_s == NOW
    assert answered(http("200 OK", W2.cosign(TEXT, 5).encode() + GOOD)).witness == W1.key


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", WitnessUnreachable),
        (b"\x00" * 100, WitnessUnreachable),
        (http("302 Found", b"", "Location: http://127.0.0.1:1/"), WitnessUnreachable),
        (http("500 Internal Server Error"), WitnessUnreachable),
        (http("200 OK", b"x" * (MAX_ANSWER_BYTES + 1)), WitnessUnreachable),
        (http("200 OK", b""), VerificationError),
        (http("200 OK", b"\xff\n"), VerificationError),
        (http("200 OK", W2.cosign(TEXT, NOW).encode()), VerificationError),
        (http("200 OK", W1.cosign(TEXT + "x\n", NOW).encode()), VerificationError),
        (http("200 OK", b"x\n\n" + GOOD), VerificationError),
        (http("409 Conflict", b"7\n", SIZE), SizeMismatch),
        (http("409 Conflict", b"07\n", SIZE), VerificationError),
        (http("409 Conflict", b"-1\n", SIZE), VerificationError),
        (http("409 Conflict", b"9223372036854775808\n", SIZE), VerificationError),
        (http("409 Conflict", b"7\n"), NotCosigned),
        (http("422 Unprocessable Entity"), Inconsistent),
        (http("403 Forbidden"), NotCosigned),
        (http("404 Not Found"), NotCosigned),
    ],
)
def test_any_other_answer_is_a_named_error(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        answered(answer)
    assert type(caught.value) is error


def test_an_answer_that_drips_is_cut_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(WitnessUnreachable):
        answered(http("200 OK", GOOD), drip_s=0.1, deadline_s=0.5)
    assert time.monotonic() - began < 3
