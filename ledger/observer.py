"""The observer: what a ledger tells whoever measures it: numbers, codes and the names of steps, never what is recorded.

What is measured, and where to, is decided above (a door's metrics and traces).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal

Step = Literal["decide", "append"]

_UNWATCHED: Final = nullcontext()


class Observer:
    """Watches a ledger; this one does not look. Its methods are quick, and called from many threads at once."""

    def settled(self, waited_s: Sequence[float]) -> None:
        """One transaction is over: how long each of its appends waited, from being queued to being durable or refused.

        Called by the one thread that writes, after all who wait were told. What is raised here is dropped.
        """

    def refused(self, code: str) -> None:
        """A rule said no to a command, for the first time; `code` is the one of the Refused."""

    def step(self, name: Step) -> AbstractContextManager[object]:
        """Return what surrounds one step of one command, in the thread or task that takes it."""
        return _UNWATCHED
