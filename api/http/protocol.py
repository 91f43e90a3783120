"""The connection: uvicorn's HTTP/1.1 protocol on httptools, with a deadline on whatever the other side has to send.

    uvicorn.Config(app, http=DeadlineProtocol, ws="none", ...)

A stranger who connects can hold a connection only by sending a whole head within HEAD_S, a body at BODY_BYTES_S, by
reading the answer, or by being answered. When MAX_CONNECTIONS are open, the one that has waited longest without
sending a request makes room. Bytes of a head are bounded, and so is what surrounds the chunks of a body.

What does not live here: how large a body may be and how many requests work at once (limits).
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.http.asgi import has_body
from api.http.problem import problem

# llhttp has no bound of its own. Larger ones than these are seen in attacks only.
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
# What a chunked body may have around its bytes: one-byte chunks with 8 bytes of frame each, and short extensions.
MAX_FRAME_BYTES: Final = 64 * 1024
FRAME_RATIO: Final = 8

# Requests that wait behind one on the same connection.
MAX_PIPELINED: Final = 16

# What is held of an answer until the end of a turn of the event loop.
MAX_HELD_BYTES: Final = 64 * 1024

# Descriptors that are kept free for databases, key files and their like.
RESERVED_FILES: Final = 128


def connection_limit(most: int) -> int:
    """Return how many connections this process may hold open: what its file descriptors allow, `most` at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else min(most, max(soft - RESERVED_FILES, 16))


# The connections of each server on which nobody waits for an answer, the oldest first.
_quiet: WeakKeyDictionary[ServerState, dict[DeadlineProtocol, None]] = WeakKeyDictionary()


class _Transport:
    """What a request writes to: closing it leaves the other side time to read the answer."""

    def __init__(self, protocol: DeadlineProtocol) -> None:
        self._protocol = protocol
        self.write = protocol.hold
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        self._protocol.finish()


class DeadlineProtocol(HttpToolsProtocol):
    """One connection. Subclass it to change a deadline; uvicorn's workers find the class by its name."""

    HEAD_S: ClassVar[float] = 8.0
    """From the first byte of a request (at first: from connecting) to the end of its head."""
    BODY_S: ClassVar[float] = 4.0
    BODY_BYTES_S: ClassVar[int] = 1_024
    """A body that comes slower than this, over two times BODY_S on end, is cut off."""
    WRITE_S: ClassVar[float] = 20.0
    """A reader that takes nothing of an answer for so long is cut off."""
    LINGER_S: ClassVar[float] = 2.0
    """How long what is still sent is thrown away after an answer that came early: closing at once would destroy it."""
    MAX_CONNECTIONS: ClassVar[int] = 8_192
    """Fewer where the process may open fewer files."""

    watchers: ClassVar[list[Callable[[str], None]]] = []
    """Are told of each connection of this process that is cut off: head, body, reader, crowd, malformed, too-large."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._in_body = False
        self._deaf = False  # what still comes in is thrown away
        self._lingering = False  # the last answer is written
        self._head_bytes = 0
        self._raw_bytes = 0  # of the body, with its chunk sizes, extensions and trailers
        self._body_bytes = 0
        self._window_bytes = 0
        self._was_slow = False
        self._unwritten = 0
        self._held: list[bytes] = []
        self._held_bytes = 0

    # --- the connection ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        quiet = _quiet.setdefault(self.server_state, {})
        quiet[self] = None
        self._watch_head()
        if len(self.connections) > connection_limit(self.MAX_CONNECTIONS):
            # Itself, where all others are being answered.
            next(iter(quiet))._cut("crowd")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
        _quiet.get(self.server_state, {}).pop(self, None)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        # Whoever has nothing more to send still reads what they asked for; after this the transport is closing.
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._deaf or self.transport.is_closing():
            return
        body = self._in_body
        if self._in_body:
            self._raw_bytes += len(data)
            self._window_bytes += len(data)
        else:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No other protocol is spoken here (RFC 9110 section 7.8): the request is answered, and what follows is not.
            self._deaf = True
            if self.cycle is not None:
                self.cycle.keep_alive = False
        except httptools.HttpParserError:
            if not self._deaf:
                self._refuse(400, "malformed", "This is no HTTP/1.1 request.", "malformed")
        if self.transport.is_closing() or self._deaf:
            return
        if body and self._raw_bytes > MAX_FRAME_BYTES + FRAME_RATIO * self._body_bytes:
            self._refuse(400, "malformed", "The chunks of the body are too small, or too much is around them.", "body")
        elif self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            self._watch()

    def _watch(self) -> None:
        if self._in_body:
            self._watch_body()
        elif self._in_head or self._is_idle():
            # Also for what is no request yet: empty lines before one are allowed, and for ever is too long.
            self._watch_head()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    # --- what the parser finds -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            # A trailer: it comes after everything was decided, and is no header (RFC 9110 section 6.5.1).
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_head, self._head_bytes = False, 0
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse_head()
            raise httptools.HttpParserCallbackError("the head is too large")
        if self.parser.should_upgrade() and has_body({"headers": self.headers}):
            # httptools does not read it: a command would arrive without its fields.
            self._refuse(400, "malformed", "A body is sent without Upgrade: no other protocol is spoken.", "malformed")
            raise httptools.HttpParserCallbackError("a body with an upgrade")
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self._refuse(400, "malformed", "Too many requests were sent ahead.", "too-large")
            raise httptools.HttpParserCallbackError("too many requests")
        self.cycle.transport = _Transport(self)  # type: ignore[assignment]
        self._in_body, self._was_slow = True, False
        self._raw_bytes = self._body_bytes = self._window_bytes = 0
        _quiet[self.server_state].pop(self, None)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._in_body and self._is_idle():
            # Answered before the end of the body: nothing of it will be needed.
            self.finish()
        if self._lingering:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if self._is_idle():
            _quiet[self.server_state][self] = None

    # --- deadlines -------------------------------------------------------------------------------------------------

    def _watch_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.HEAD_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            # What is missing may wait in our own buffers.
            self._watch_head()
        elif self._in_head:
            self._refuse(408, "too-slow", "The head of the request took too long.", "head")
        else:
            self._cut("head")

    def _watch_body(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.BODY_S, self._check_body)

    def _check_body(self) -> None:
        self._timer = None
        enough = self.flow.read_paused or self._window_bytes >= self.BODY_S * self.BODY_BYTES_S
        if not enough and self._was_slow:
            self._refuse(408, "too-slow", f"Send at least {self.BODY_BYTES_S} bytes of the body in a second.", "body")
            return
        # Twice on end: reading may have been paused for a part of the first time.
        self._was_slow, self._window_bytes = not enough, 0
        self._watch_body()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def _watch_writing(self) -> None:
        self._unwritten = self.transport.get_write_buffer_size()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.WRITE_S, self._check_writing)

    def _check_writing(self) -> None:
        self._write_timer = None
        left = self.transport.get_write_buffer_size()
        # More may have been written meanwhile; but while it is paused nothing is, so what is there can only shrink.
        if left and left >= self._unwritten:
            self._tell("reader")
            self.transport.abort()
        elif left:
            self._watch_writing()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- writing ---------------------------------------------------------------------------------------------------

    def hold(self, data: bytes) -> None:
        """Write with all else of this turn of the event loop: head and body go out with one call to the system."""
        if not self._held:
            self.loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self._flush()

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self.transport.is_closing():
            self.transport.write(b"".join(held))

    # --- the end ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Close once what was written has been read, or WRITE_S have passed without anybody reading."""
        if self.transport.is_closing() or self._lingering:
            return
        self._stop_timer()
        self._flush()
        if self._in_body:
            self._deaf = self._lingering = True
            if self.transport.can_write_eof():
                self.transport.write_eof()
            # The other side may be about to send more than our reading pauses at.
            self.flow.resume_reading()
            self._timer = self.loop.call_later(self.LINGER_S, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._flush()
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch_writing()

    def timeout_keep_alive_handler(self) -> None:
        self.finish()

    def shutdown(self) -> None:
        """Begin a graceful stop: answer what has come in whole or in part, then close."""
        if self._is_idle():
            self._close()
        else:
            self.cycle.keep_alive = False

    def _tell(self, reason: str) -> None:
        for watcher in self.watchers:
            watcher(reason)

    def _cut(self, reason: str) -> None:
        self._tell(reason)
        self._stop_timer()
        self._flush()
        self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(431, "head-too-large", f"The head of a request may have {MAX_HEAD_BYTES} bytes.", "too-large")

    def _refuse(self, status: int, code: str, detail: str, reason: str) -> None:
        """Answer with a problem and close; where an answer has begun, cut it off."""
        self._tell(reason)
        self._stop_timer()
        if not self._is_idle():
            if not self._in_body:
                # It is a later request that is wrong: those before it are answered.
                self._deaf = True
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        status, headers, body = problem(status, code, code.replace("-", " "), detail)
        lines = [STATUS_LINE[status]]
        for name, value in [*self.server_state.default_headers, *headers, (b"connection", b"close")]:
            lines += [name, b": ", value, b"\r\n"]
        self.hold(b"".join([*lines, b"\r\n", body]))
        # Whatever is still sent counts as a body that nobody wants, so that this answer can be read.
        self._in_body = True
        self.finish()
