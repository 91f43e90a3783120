"""Where the ledger itself sends requests: to the server that was configured, at the address that was checked.

Each attack would reach a canary if a plain client were used; that it does is shown beside.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.http.identity.remote_keys import BOUNDS, fetch_from
from ledger.addresses import Networks, parse_networks, parse_url
from ledger.errors import AddressRefused, Invalid, LedgerError, Unreachable, WitnessUnreachable
from ledger.exchange import Bounds, exchange
from ledger.tlog.ask import WitnessAddress, ask
from ledger.tlog.witness import AddCheckpoint
from tests.http.issuers import key_set
from tests.test_cosigning import W1, note_of

LOOPBACK = parse_networks("127.0.0.0/8", "networks")
NAME = "id.example.com"
Resolver = Callable[[str], list[str]]


class Server(ThreadingHTTPServer):
    """Counts what comes in, and answers with the same to all of it."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.hits: list[str] = []
        self.connections = 0
        self.status, self.content = 200, key_set()
        self.headers: dict[str, str] = {}
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.hits.append(f"{self.headers['Host']} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def canary() -> Iterator[Server]:
    """What lies on our own machine and nobody outside may reach through us."""
    with serving(Server()) as server:
        yield server


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let names resolve to these addresses in turn, the last one for ever; return the names that were asked for."""
    real, asked = socket.getaddrinfo, list[str]()

    def answer(*answers: str) -> list[str]:
        left = list(answers)

        def fake(host: str, port: int, *arguments: Any, **named: Any) -> Any:
            if not host.endswith("example.com"):
                return real(host, port, *arguments, **named)
            asked.append(host)
            found = left.pop(0) if len(left) > 1 else left[0]
            families = {4: socket.AF_INET, 6: socket.AF_INET6}
            return [
                (families[ip_address(one).version], socket.SOCK_STREAM, 6, "", (one, port)) for one in found.split()
            ]

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        return asked

    return answer


def get(url: str, networks: Networks = ()) -> bytes:
    return fetch_from(parse_url(url, "url"), networks)()


def plainly(host: str, port: int) -> int:
    """A client without any of this; what the attacks are for."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    connection.request("GET", "/")
    with connection.getresponse() as answer:
        answer.read()
        connection.close()
        return answer.status


def test_a_listed_network_is_spoken_to(canary: Server) -> None:
    """The control of all others: the canary can be reached, and says so."""
    assert get(f"http://127.0.0.1:{canary.port}/keys?v=1", LOOPBACK) == key_set()
    get(f"http://127.0.0.1:{canary.port}?v=1", LOOPBACK)
    assert canary.hits == [f"127.0.0.1:{canary.port} /keys?v=1", f"127.0.0.1:{canary.port} /?v=1"]


WAYS_TO_SAY_US = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "0.0.0.0",
    "0",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "user@127.0.0.1",
    "id.example.com@127.0.0.1",
    "id.example.com#@127.0.0.1",
    "127.0.0.1%00.example.com",
]


@pytest.mark.parametrize("host", WAYS_TO_SAY_US)
def test_no_way_to_write_our_own_address_reaches_it(host: str, canary: Server) -> None:
    with pytest.raises((Invalid, AddressRefused)):
        get(f"http://{host}:{canary.port}/keys")
    # A witness by its address is the operator's own word for it, and no other word for that is taken.
    if host != "127.0.0.1":
        with pytest.raises((Invalid, WitnessUnreachable)):
            ask(WitnessAddress(W1.key, f"http://{host}:{canary.port}"), AddCheckpoint(0, (), note_of(3)))
    assert canary.hits == []
    assert canary.connections == 0


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "017700000001", "localhost", "0.0.0.0"])
def test_a_plain_client_would_reach_it(host: str, canary: Server) -> None:
    assert plainly(host, canary.port) == 200
    assert len(canary.hits) == 1


INWARD = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "fd00::1",
    "fe80::1",
    "0.0.0.0",
    "1.1.1.1 127.0.0.1",
    "2606:4700::1111 ::ffff:127.0.0.1",
]


@pytest.mark.parametrize("addresses", INWARD)
def test_a_name_that_leads_inward_is_refused(addresses: str, canary: Server, resolve: Callable[..., list[str]]) -> None:
    asked = resolve(addresses)
    with pytest.raises(AddressRefused):
        get(f"https://{NAME}:{canary.port}/keys")
    with pytest.raises(WitnessUnreachable, match="address"):
        ask(WitnessAddress(W1.key, f"http://{NAME}:{canary.port}"), AddCheckpoint(0, (), note_of(3)))
    assert canary.connections == 0
    assert asked == [NAME, NAME]


def test_a_name_that_changes_its_mind_gains_nothing(resolve: Callable[..., list[str]]) -> None:
    """DNS rebinding: the name is good when it is checked, and leads inward when it is resolved once more."""
    good = parse_networks("127.0.0.2/32", "networks")
    with serving(Server("127.0.0.2")) as there, serving(Server("127.0.0.1", there.port)) as canary:
        resolve("127.0.0.2", "127.0.0.1")
        assert socket.getaddrinfo(NAME, 80)[0][4][0] == "127.0.0.2"
        plainly(NAME, canary.port)
        assert len(canary.hits) == 1, "a client that checks, and then resolves again, falls for it"
        asked = resolve("127.0.0.2", "127.0.0.1")
        asked.clear()
        assert get(f"http://{NAME}:{there.port}/keys", good) == key_set()
        assert asked == [NAME], "resolved once"
        with pytest.raises(AddressRefused):
            get(f"http://{NAME}:{there.port}/keys", good)
        assert (len(there.hits), len(canary.hits)) == (1, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, canary: Server) -> None:
    with serving(Server()) as there:
        there.status, there.headers = status, {"Location": f"http://127.0.0.1:{canary.port}/"}
        with pytest.raises(Unreachable, match="redirects are not followed"):
            get(f"http://127.0.0.1:{there.port}/keys", LOOPBACK)
        with pytest.raises(WitnessUnreachable):
            ask(WitnessAddress(W1.key, f"http://127.0.0.1:{there.port}"), AddCheckpoint(0, (), note_of(3)))
        assert len(there.hits) == 2
        assert canary.connections == 0
        with (
            suppress(HTTPError),
            build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{there.port}/keys", timeout=5) as followed,
        ):
            followed.read()
        assert canary.connections == 1, "a client that follows redirects falls for it"


def test_no_proxy_of_the_environment_is_used(canary: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Server()) as there:
        get(f"http://127.0.0.1:{there.port}/keys", LOOPBACK)
        assert canary.connections == 0
        with build_opener().open(f"http://127.0.0.1:{there.port}/keys", timeout=5) as proxied:
            proxied.read()
        assert canary.connections == 1, "a client that believes the environment falls for it"


# --- bounded, and over TLS ------------------------------------------------------------------------------------


def test_an_answer_that_is_too_long_is_refused(canary: Server) -> None:
    canary.content = b" " * (BOUNDS.max_bytes + 1)
    with pytest.raises(Unreachable, match="longer"):
        get(f"http://127.0.0.1:{canary.port}/keys", LOOPBACK)
    canary.content = b" " * BOUNDS.max_bytes
    assert len(get(f"http://127.0.0.1:{canary.port}/keys", LOOPBACK)) == BOUNDS.max_bytes


def swiftly(url: str) -> None:
    bounds = Bounds(deadline_s=0.3, max_bytes=1_000)
    exchange("GET", parse_url(url, "url"), headers={}, networks=LOOPBACK, bounds=bounds)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_says_nothing_does_not_hold_us(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(Unreachable):
        swiftly(f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}")


def test_a_resolver_that_says_nothing_does_not_hold_us(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) and [])
    with pytest.raises(Unreachable, match="TimeoutError"):
        swiftly(f"http://{NAME}")
    answered.set()


@pytest.mark.parametrize("fault", [socket.gaierror("none"), UnicodeError("label"), None])
def test_a_name_that_does_not_resolve_is_told(fault: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(*_: Any, **__: Any) -> list[Any]:
        if fault is not None:
            raise fault
        return []

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    with pytest.raises(Unreachable, match="no answer"):
        get(f"https://{NAME}/keys")


def certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem), secret


def test_the_certificate_is_of_the_name_and_not_of_the_address(
    tmp_path: Path, resolve: Callable[..., list[str]]
) -> None:
    """The address was checked and is connected to; the name is what the server must prove."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    for path, content in zip((chain, key), certificate(NAME), strict=True):
        path.write_bytes(content)
    server = Server()
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(chain, key)
    server.socket = ours.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    trusting = ssl.create_default_context(cafile=str(chain))

    def get_over(name: str, tls: ssl.SSLContext | None) -> int:
        url = parse_url(f"https://{name}:{server.port}/keys", "url")
        bounds = Bounds(deadline_s=5, max_bytes=100_000)
        return exchange("GET", url, headers={}, networks=LOOPBACK, bounds=bounds, tls=tls).status

    resolve("127.0.0.1")
    with serving(server):
        assert get_over(NAME, trusting) == 200
        assert server.hits == [f"{NAME}:{server.port} /keys"]
        for name, tls in ((NAME, None), (f"other.{NAME}", trusting), ("127.0.0.1", trusting)):
            with pytest.raises(LedgerError, match="SSLCertVerificationError"):
                get_over(name, tls)
        assert len(server.hits) == 1
