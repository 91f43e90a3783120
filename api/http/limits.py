"""Limits: how large a request may be, how many are at work at once, and for how long.

ASGI middleware; each refuses with a problem. What does not live here: how slowly bytes may come over a connection
(protocol), and how often somebody may ask (rates).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from api.http.asgi import App, Message, Receive, Scope, Send, has_body, header
from api.http.exchange import answer_problem, exchange_of
from ledger.errors import LedgerError

# What is held of bodies at one time, over all requests: as much as the sequencer's queue may hold of sealed values.
MAX_HELD_BYTES: Final = 256 * 1024 * 1024

# Requests at work, and those that wait for their turn: about what 2 cores answer in a second.
IN_FLIGHT: Final = 256
WAITING: Final = 2_048
WAIT_S: Final = 5.0

# How long one request may be at work once it has arrived. Longer streams are exempt.
DEADLINE_S: Final = 30.0
# How often in that time somebody looks who is late.
_LOOKS: Final = 30


class Interrupted(LedgerError):
    """Ends an application that waits for a body which is refused: the problem is answered already."""


class _Gate:
    """Lets the application answer until a limit has answered in its place."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.started = False
        self.shut = False

    async def send(self, message: Message) -> None:
        if not self.shut:
            self.started = True
            await self._send(message)

    async def refuse(
        self, status: int, code: str, title: str, detail: str, *, retry_after_s: float | None = None
    ) -> None:
        """Answer with a problem instead of the application. An answer that has begun is cut off: raises Interrupted."""
        if self.started or self.shut:
            raise Interrupted(code)
        self.shut = True
        await answer_problem(
            self._scope, self._send, status, code, title, detail, retry_after_s=retry_after_s, close=True
        )


class BodyLimit:
    """Refuses bodies that are too long (413) while they come in, and more of them than fit into memory (503).

    `maximum` says how many bytes a request may have. A Content-Length beyond it is refused before anything is read.
    """

    def __init__(self, app: App, maximum: Callable[[Scope], int], *, held_bytes: int = MAX_HELD_BYTES) -> None:
        self._app = app
        self._maximum = maximum
        self._held_bytes = held_bytes
        self.held = 0
        """Bytes of bodies of the requests that are at work now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
            return
        maximum = self._maximum(scope)
        gate = _Gate(scope, send)
        announced = header(scope, b"content-length")
        if announced is not None and int(announced) > maximum:
            await self._too_large(gate, maximum)
            return
        mine = 0

        async def counted() -> Message:
            nonlocal mine
            message = await receive()
            size = len(message.get("body", b""))
            mine += size
            self.held += size
            if mine > maximum:
                await self._too_large(gate, maximum)
                raise Interrupted("length-unfit")
            if self.held > self._held_bytes and mine > size:
                # One that fits into a single read is always taken: it is in memory already, and about to be done.
                await gate.refuse(503, "busy", "busy", "Too much is being sent at once: ask again.", retry_after_s=1)
                raise Interrupted("busy")
            return message

        try:
            await self._app(scope, counted, gate.send)
        except Interrupted:
            if not gate.shut:
                raise
        finally:
            self.held -= mine
            if (exchange := exchange_of(scope)) is not None:
                exchange.bytes_in = mine

    @staticmethod
    async def _too_large(gate: _Gate, maximum: int) -> None:
        await gate.refuse(413, "length-unfit", "length unfit", f"The body may have at most {maximum} bytes here.")


class Concurrency:
    """Lets so many requests work at once, and so many more wait a while; refuses the others: 503 with Retry-After.

    A request begins once all of its body is here: whoever sends slowly keeps nobody out, and holds memory only
    (BodyLimit, around this). `exempt` are paths that are answered however much is going on: liveness, metrics.
    """

    def __init__(
        self,
        app: App,
        *,
        in_flight: int = IN_FLIGHT,
        waiting: int = WAITING,
        wait_s: float = WAIT_S,
        exempt: Collection[str] = (),
    ) -> None:
        self._app = app
        self._places = asyncio.Semaphore(in_flight)
        self._most_waiting = waiting
        self._wait_s = wait_s
        self._exempt = frozenset(exempt)
        self.waiting = 0
        self.at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        if has_body(scope):
            arrived = await _arrived(receive)
            if arrived is None:
                return
            receive = _again(arrived, receive)
        if not await self._take_place():
            detail = "Too many requests are at work: nothing was begun; ask again."
            await answer_problem(scope, send, 503, "busy", "busy", detail, retry_after_s=1)
            return
        self.at_work += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.at_work -= 1
            self._places.release()

    async def _take_place(self) -> bool:
        if not self._places.locked():
            return await self._places.acquire()
        if self.waiting >= self._most_waiting:
            return False
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1


async def _arrived(receive: Receive) -> deque[Message] | None:
    """Return the whole body in the pieces it came in, None when the caller left before its end."""
    pieces: deque[Message] = deque()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message)
        if not message.get("more_body", False):
            return pieces


def _again(pieces: deque[Message], receive: Receive) -> Receive:
    async def replayed() -> Message:
        return pieces.popleft() if pieces else await receive()

    return replayed


class _Work:
    """A request at work: the task that it is, and when it has to be done."""

    __slots__ = ("cancelled_before", "ends", "late", "task")

    def __init__(self, task: asyncio.Task[object], ends: float) -> None:
        self.task = task
        self.ends = ends
        self.late = False
        self.cancelled_before = task.cancelling()

    def end(self) -> None:
        """Cancel it for being late."""
        self.late = True
        self.task.cancel()

    def take_back(self) -> bool:
        """Take that cancelling back, once; return whether there was one, and nobody else cancelled it."""
        late, self.late = self.late, False
        return late and self.task.uncancel() <= self.cancelled_before


class Deadline:
    """Ends a request that is at work for too long: 503 while nothing was answered, else the connection is cut.

    Longer streams, at the paths `exempt`, are not ended: the connection watches their pace. Whether a command was
    recorded is open then: the problem says how to ask. One timer looks after all of them, a few times in `seconds`.
    """

    def __init__(self, app: App, *, seconds: float = DEADLINE_S, exempt: Collection[str] = ()) -> None:
        self._app = app
        self._seconds = seconds
        self._exempt = frozenset(exempt)
        # In the order in which they end: all have the same time.
        self._at_work: dict[_Work, None] = {}
        self._watching: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        gate, work = _Gate(scope, send), self._begin()
        try:
            await self._app(scope, receive, gate.send)
        except asyncio.CancelledError:
            del self._at_work[work]
            if not work.take_back():
                raise
            await gate.refuse(
                503,
                "timed-out",
                "timed out",
                "It took too long. A command may be recorded or not: ask again with the same Idempotency-Key.",
                retry_after_s=1,
            )
        finally:
            self._at_work.pop(work, None)
            # Where the application made something else of it.
            work.take_back()

    def _begin(self) -> _Work:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        work = _Work(task, loop.time() + self._seconds)
        self._at_work[work] = None
        if self._watching is not loop:
            self._look_later(loop)
        return work

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watching = loop
        loop.call_later(self._seconds / _LOOKS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for work in self._at_work:
            if work.ends > loop.time():
                break
            if not work.late:
                work.end()
        self._watching = None
        if self._at_work:
            self._look_later(loop)
