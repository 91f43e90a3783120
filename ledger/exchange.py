"""One request to another server over HTTP: to the address that was checked, bounded in time and size, never elsewhere.

No redirect is followed, no proxy of the environment is used, and a name is resolved once: what was checked is what is
connected to, so that a name that changes its mind in between (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Any, Final, NamedTuple

from ledger.addresses import Networks, Url, check_address
from ledger.errors import Unreachable

MAX_TRIED: Final = 8

_SocketAddress = tuple[Any, ...]


class Answer(NamedTuple):
    """What the server said; `kind` is the media type without parameters, lower case."""

    status: int
    kind: str
    body: bytes


class Bounds(NamedTuple):
    """How long an exchange may take from its start to the last byte, in seconds, and how long its answer may be."""

    deadline_s: float
    max_bytes: int


def exchange(
    method: str,
    url: Url,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
    networks: Networks,
    bounds: Bounds,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send a request and return the answer, whatever its status. `tls` is by default the system's trust.

    Raises AddressRefused when the host has an address that is not spoken to, Unreachable for no answer in time, none
    that is HTTP, or one that is too long.
    """
    end = monotonic() + bounds.deadline_s
    secure = (tls or ssl.create_default_context()) if url.scheme == "https" else None
    try:
        with (
            _connect(_resolve(url, networks, end), end) as plain,
            _wrapped(plain, secure, url.host) as connected,
            # The timeout of a socket is for each step; this is for all of them, however slowly an answer drips.
            _watched(connected, _left(end)),
        ):
            return _talk(connected, method, url, body, headers, bounds.max_bytes)
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(f"no answer ({type(error).__name__})") from error


def _wrapped(plain: socket.socket, secure: ssl.SSLContext | None, host: str) -> socket.socket:
    if secure is None:
        return plain
    return secure.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)


@contextmanager
def _watched(connected: socket.socket, left_s: float) -> Iterator[None]:
    watchdog = threading.Timer(left_s, _cut, (connected,))
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _talk(
    connected: socket.socket, method: str, url: Url, body: bytes | None, headers: Mapping[str, str], max_bytes: int
) -> Answer:
    connection = HTTPConnection(url.host, url.port)
    if isinstance(connected, ssl.SSLSocket):
        connected.do_handshake()
        connection = HTTPSConnection(url.host, url.port, context=connected.context)
    # The library is given the connection, and cannot make one of its own.
    connection.sock, connection.auto_open = connected, 0
    connection.request(method, (url.path or "/") + url.query, body, {"Connection": "close", **headers})
    with connection.getresponse() as answer:
        content = answer.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise Unreachable(f"its answer is longer than {max_bytes} bytes")
    return Answer(answer.status, answer.headers.get_content_type(), content)


def _resolve(url: Url, networks: Networks, end: float) -> list[tuple[int, _SocketAddress]]:
    """Return where to connect, in order. Raises AddressRefused if one address of several is not spoken to."""
    if (literal := url.literal) is not None:
        check_address(url.host, networks)
        return [(socket.AF_INET6 if literal.version == 6 else socket.AF_INET, (url.host, url.port))]
    found = _addresses(url.host, url.port, end)
    for _, where in found:
        check_address(where[0], networks)
    return found[:MAX_TRIED]


def _addresses(host: str, port: int, end: float) -> list[tuple[int, _SocketAddress]]:
    # The resolver of the system takes no deadline: it is asked in a thread that may be left behind.
    answers: queue.SimpleQueue[list[tuple[int, _SocketAddress]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([(family, where) for family, _, _, _, where in found])
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_left(end))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _connect(addresses: list[tuple[int, _SocketAddress]], end: float) -> socket.socket:
    failure: OSError = ConnectionError("no address")
    for family, where in addresses:
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(_left(end))
            connected.connect(where)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure


def _left(end: float) -> float:
    if (left := end - monotonic()) <= 0:
        raise TimeoutError
    return left


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket's, which would make the reading thread go on in plain.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
