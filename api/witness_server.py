"""The HTTP door of a witness: c2sp.org/tlog-witness `add-checkpoint`, with the standard library alone.

It needs neither the ledger nor its extras, so that an auditor runs it on a small machine elsewhere. Every request has a
deadline from its first byte to its last, a limit of its size, and a thread out of a bounded number.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, Final

from ledger.errors import (
    Inconsistent,
    LedgerError,
    LogUnknown,
    SizeMismatch,
    StorageError,
    Unsigned,
    VerificationError,
)
from ledger.tlog.witness import MAX_REQUEST_BYTES, Witness

PATH: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"

# A log sends a few kilobytes at once; whoever is slower than this keeps others out.
DEADLINE_S: Final = 10.0
MAX_CONNECTIONS: Final = 64


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until a moment, however slowly bytes come in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "prooftrail-witness"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self._reader = _DeadlineReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._reader.deadline = monotonic() + self.server.deadline_s
        self.connection.settimeout(self.server.deadline_s)
        super().handle_one_request()

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND, "there is add-checkpoint only\n")
            return
        try:
            self._answer(HTTPStatus.OK, self.server.witness.add_checkpoint(body))
        except SizeMismatch as error:
            self._answer(HTTPStatus.CONFLICT, f"{error.size}\n", SIZE_TYPE)
        except LedgerError as error:
            self._answer(_status(error), f"{error}\n" if isinstance(error, VerificationError) else "not stored\n")
            if isinstance(error, StorageError):
                sys.stderr.write(f"prooftrail witness: {error}\n")

    def do_GET(self) -> None:
        # Nothing is served here: a body that is not read would be taken for the next request.
        self.close_connection = True
        self._answer(HTTPStatus.NOT_FOUND, "there is add-checkpoint only, to POST to\n")

    def _body(self) -> bytes | None:
        """Return the body; answer and return None when it has no length, or is too long, or ends early."""
        length = self.headers.get("Content-Length", "")
        status = None
        if not (length.isascii() and length.isdigit() and len(length) < 16) or "Transfer-Encoding" in self.headers:
            status = HTTPStatus.LENGTH_REQUIRED
        elif int(length) > MAX_REQUEST_BYTES:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if status is not None:
            self.close_connection = True
            self._answer(status, f"at most {MAX_REQUEST_BYTES} bytes, with a Content-Length\n")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a request line is whatever a stranger sent."""


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness at `address` until it is shut down."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], witness: Witness, *, deadline_s: float = DEADLINE_S) -> None:
        self.witness = witness
        self.deadline_s = deadline_s
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        # Beyond the bound a connection is closed at once: waiting for one to end would let half-open ones stop us.
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's fault here; anything else is named without what was sent."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            sys.stderr.write(f"prooftrail witness: a fault in this program ({type(error).__name__})\n")


def _status(error: LedgerError) -> HTTPStatus:
    match error:
        case LogUnknown():
            return HTTPStatus.NOT_FOUND
        case Unsigned():
            return HTTPStatus.FORBIDDEN
        case Inconsistent():
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case VerificationError():
            return HTTPStatus.BAD_REQUEST
    return HTTPStatus.SERVICE_UNAVAILABLE
