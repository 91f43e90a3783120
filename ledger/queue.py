"""The queue before the sequencer: appends that wait for their transaction, and tickets for whoever waits for them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Collection, Generator, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from ledger.append import Append, Deferred, Outcome
from ledger.errors import LedgerError

# So many never wait: whoever does not sleep is woken by nobody.
_NOBODY: Final = sys.maxsize


class Ticket:
    """A place in the queue: `wait` in a thread, or await it in the event loop that it was taken for."""

    __slots__ = ("_error", "_future", "_lock", "_loop", "_outcome", "append", "queued_at", "size_bytes")

    def __init__(self, append: Append | Deferred, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.append = append
        self.size_bytes = append.size_bytes()
        self.queued_at = monotonic()
        self._outcome: Outcome | None = None
        self._error: Exception | None = None
        self._loop = loop
        self._future: asyncio.Future[None] | None = None if loop is None else loop.create_future()
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> Outcome:
        """Block until the append is durable and return what became of it; raise why it was not recorded."""
        self._lock.acquire()
        return self._result()

    def __await__(self) -> Generator[Any, None, Outcome]:
        """The same without blocking the loop. Who stops waiting undoes nothing."""
        assert self._future is not None
        yield from self._future
        return self._result()

    def _result(self) -> Outcome:
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def settle(self, outcome: Outcome | LedgerError) -> None:
        """Note what became of it; nobody is told before `wake`."""
        if isinstance(outcome, LedgerError):
            self._error = outcome
        else:
            self._outcome = outcome

    @staticmethod
    def wake(tickets: Iterable[Ticket]) -> None:
        """Tell whoever waits for these: each loop is woken once for all of its tasks."""
        in_loops: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        for ticket in tickets:
            if ticket._loop is None:
                ticket._lock.release()
            else:
                in_loops.setdefault(ticket._loop, []).append(ticket)
        for loop, its in in_loops.items():
            # A loop that is closed has nobody left to tell; the sequencer goes on for all others.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, its)


def _resolve(tickets: Iterable[Ticket]) -> None:
    for ticket in tickets:
        # A task that was cancelled has gone; what it asked for is recorded all the same.
        if ticket._future is not None and not ticket._future.done():
            ticket._future.set_result(None)


class Queue:
    """Tickets that wait. The one taker sleeps until as many are there as it wants: one waking a batch, not one each."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        # What was submitted in the present turn of an event loop: until it ends there may be more.
        self._held: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        # Each is written by one side alone: no lock between those who put and the one who takes.
        self._bytes_put = 0
        self._bytes_taken = 0
        self._wanted = 1
        self._enough = threading.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tickets) + sum(map(len, self._held.values()))

    @property
    def size_bytes(self) -> int:
        """About how many bytes of sealed values wait; never fewer than there are."""
        return self._bytes_put - self._bytes_taken

    def put(self, ticket: Ticket) -> None:
        """Add a ticket; one caller at a time."""
        self._bytes_put += ticket.size_bytes
        self._add((ticket,))
        self._release_closed()

    def hold(self, ticket: Ticket, loop: asyncio.AbstractEventLoop) -> bool:
        """Keep a ticket until `release`; return whether it is the first of this loop. One caller at a time."""
        self._bytes_put += ticket.size_bytes
        self._release_closed()
        held = self._held.setdefault(loop, [])
        held.append(ticket)
        return len(held) == 1

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Add what was held for a loop; one caller at a time."""
        self._add(self._held.pop(loop, ()))

    def _release_closed(self) -> None:
        """Add what was held for loops that were closed before their turn ended."""
        for loop in [one for one in self._held if one.is_closed()]:
            self.release(loop)

    def _add(self, tickets: Collection[Ticket]) -> None:
        self._tickets.extend(tickets)
        if len(self._tickets) >= self._wanted:
            self._enough.set()

    def close(self) -> None:
        """Wake the taker for the last time, for what is held too."""
        for loop in list(self._held):
            self.release(loop)
        self._closed = True
        self._enough.set()

    def wait_for(self, wanted: int, timeout_s: float | None) -> None:
        """Sleep until `wanted` tickets are there, the queue is closed, or the time is up."""
        self._wanted = wanted
        self._enough.clear()
        # Looked at after clearing: whatever came before is counted here, whatever comes later sets the event.
        if len(self._tickets) < wanted and not self._closed:
            self._enough.wait(timeout_s)
        self._wanted = _NOBODY

    def take(self, most: int, most_bytes: int) -> tuple[list[Ticket], bool]:
        """Return the tickets for one transaction, and whether the queue is closed and empty now."""
        taken: list[Ticket] = []
        while self._tickets and len(taken) < most and most_bytes > 0:
            if taken and isinstance(self._tickets[0].append, Deferred):
                break
            ticket = self._tickets.popleft()
            most_bytes -= ticket.size_bytes
            self._bytes_taken += ticket.size_bytes
            taken.append(ticket)
        return taken, self._closed and not self._tickets
