"""The contract of a projection: tables of its own, and how a batch of events becomes rows of them.

Every row is keyed by the index of the event that it comes from, and stands for ever; only digests of identifiers are
deleted, with their key. So "as of" a moment or a position is a bound on the index, the order of the log is the order on
disk, and two builds from one log have the same rows. What does not live here: when to apply (runner), where (storage).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from ledger.errors import Invalid
from ledger.events import Event
from ledger.vocabulary import EventId
from projections.storage.store import Writer

AsOf = datetime | int | None
"""What was known: at a recorded moment, at a position (that many entries), or now."""

# Later than any position or moment that is recorded.
_NO_END: Final = 2**62
_NO_MOMENT: Final = "9999-12-31T23:59:59.999999Z"


class Read(msgspec.Struct, frozen=True, gc=False):
    """An entry as far as projections read it: its tags are most of its bytes, and none of their business."""

    data: msgspec.Raw
    id: EventId
    index: int
    recorded_at: str
    sealed: dict[str, str]
    type: str


class Item(msgspec.Struct, frozen=True, gc=False):
    """An event, personal fields sealed, with its entry. `recorded_at` is the entry's text: it sorts as it is."""

    index: int
    recorded_at: str
    event: Event
    entry: Read


class Projection(ABC):
    """One read model. `apply` sees the events of its topics once each, in order, in batches of any size."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int]  # raised with each change to the tables or to what is put in them: then all is rebuilt
    EVENTS: ClassVar[Mapping[type[Event], Any]]  # the kinds it wants, and what it calls them

    @classmethod
    def topics(cls) -> frozenset[str]:
        """The topics of the events that it wants."""
        return frozenset(kind.TOPIC for kind in cls.EVENTS)

    @classmethod
    def schema(cls) -> tuple[str, ...]:
        """Its tables and indexes, one object a statement. Indexes come last: a build makes them after the rows."""
        return schema(cls.NAME)

    @abstractmethod
    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        """Write the rows of a batch. Whatever it raises but StorageError quarantines the event that it is raised for.

        It must depend on the batch and the ledger alone, never on rows written before or on a clock.
        """


class Bound(NamedTuple):
    """The parameters of `idx < ? AND recorded_at <= ?`: what was known."""

    end: int
    moment: str


def bound(as_of: AsOf) -> Bound:
    """Return the bound of what was known as of a moment or position. Raises Invalid for a moment without time zone."""
    if as_of is None:
        return Bound(_NO_END, _NO_MOMENT)
    if isinstance(as_of, int):
        return Bound(as_of, _NO_MOMENT)
    return Bound(_NO_END, text(aware(as_of, "as_of")))


def text(moment: datetime) -> str:
    """Return a moment as an entry has it, which sorts as it is: `format_moment`, at a fifth of its price."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def aware(moment: datetime, field: str) -> datetime:
    """Return a moment that says its time zone; raise Invalid naming `field` for one that does not."""
    if moment.tzinfo is None:
        raise Invalid(field, "has no time zone: write it with Z or an offset")
    return moment


def schema(name: str) -> tuple[str, ...]:
    """Return the statements in sql/<name>/, in the order of their file names."""
    files = resources.files("projections").joinpath("sql", name).iterdir()
    return tuple(f.read_text() for f in sorted(files, key=lambda f: f.name) if f.name.endswith(".sql"))
