"""Personal values at reading: opened from the ledger, or why they are not there. No projection keeps one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from ledger import Ledger
from ledger.errors import StorageError
from ledger.events import Event, Withheld


class ValueState(StrEnum):
    """Whether a personal value can be shown (formats.md, "Field commitment and sealed value")."""

    PRESENT = "present"
    ERASED = "erased"  # its key is recorded as destroyed
    MISSING = "missing"  # neither value nor recorded destruction: an alarm


class Values:
    """Opens the personal values of one person's events, or of one order's, each event once.

    A row that points to somebody else's event is damage: it must never show one person's data as another's.
    """

    def __init__(self, ledger: Ledger, owner: str, of: str = "subject_id") -> None:
        self._ledger = ledger
        self._owner = owner
        self._of = of
        self._events: dict[int, Event] = {}

    def event(self, index: int) -> Event:
        """Return an event, opened. Raises StorageError for another's."""
        event = self._events.get(index)
        if event is None:
            event = self._events[index] = self._ledger.open(index)
            if getattr(event, self._of, None) != self._owner:
                raise StorageError(
                    f"the projections do not agree with entry {index}; `prooftrail rebuild` makes them anew"
                )
        return event


def shown(value: Any) -> tuple[ValueState, Any]:
    """Return the state of an opened personal value, and the value or None."""
    return (ValueState(value.value), None) if isinstance(value, Withheld) else (ValueState.PRESENT, value)
