"""One batch: a run of entries decoded once, given to every projection, written with its position.

A poison entry is one that cannot be decoded, or that a projection cannot take in. It is quarantined by index and class
of error, and everything else goes on. An engine that fails is no poison: that is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

import msgspec

from ledger import Ledger
from ledger.entry import event_of
from ledger.errors import StorageError, Tampered
from ledger.events import Event
from projections.projection import Item, Projection, Read, schema
from projections.storage.store import Generation, Row

# What one transaction takes: enough that its commit costs nothing, about 20 MB of decoded events.
BATCH: Final = 8_192

_QUARANTINE: Final = (
    "INSERT INTO quarantine VALUES (?, ?, ?) ON CONFLICT (idx, projection) DO UPDATE SET error = excluded.error"
)

_decode = msgspec.json.Decoder(Read).decode
# A Read has all of an entry that `event_of` looks at.
_event_of = cast(Callable[[Read], Event], event_of)


class Applier:
    """Takes entries into the tables of some projections."""

    def __init__(self, ledger: Ledger, projections: Sequence[Projection]) -> None:
        self.projections = projections
        self._ledger = ledger
        self._wanted: dict[str, list[int]] = {}
        for number, projection in enumerate(projections):
            for topic in projection.topics():
                self._wanted.setdefault(topic, []).append(number)

    def lay_out(self, generation: Generation) -> None:
        """Make the tables in an empty generation, at position 0. The indexes wait for `lay_out_indexes`."""
        with generation.transaction():
            for statement in schema("store") + self._schema(indexes=False):
                generation.execute(statement)
            generation.insert("projection", [(p.NAME, p.VERSION, 0) for p in self.projections])
            generation.insert("source", [(1, self._ledger.origin, b"")])

    def lay_out_indexes(self, generation: Generation) -> None:
        """Make the indexes: after the first rows, as sorting once is quicker than keeping order at each insert."""
        with generation.transaction():
            for statement in self._schema(indexes=True):
                generation.execute(statement)

    def advance(self, generation: Generation, first: int, end: int) -> None:
        """Take in the entries `first` ≤ index < `end`, all of it in one transaction: rows, quarantine and position.

        Raises StorageError with nothing changed.
        """
        batches, quarantined = self._decode(first, end)
        leaf = self._ledger.engine.leaves(end - 1, end)[0]
        with generation.transaction():
            for projection, batch in zip(self.projections, batches, strict=True):
                if batch:
                    quarantined += _apply(generation, projection, batch)
            for row in quarantined:
                generation.execute(_QUARANTINE, *row)
            generation.execute("UPDATE projection SET position = ?", end)
            generation.execute("UPDATE source SET leaf = ?", leaf)

    def _decode(self, first: int, end: int) -> tuple[list[list[Item]], list[Row]]:
        """Return what each projection wants of the entries, and what cannot be decoded."""
        batches: list[list[Item]] = [[] for _ in self.projections]
        quarantined: list[Row] = []
        everyone = range(len(self.projections))
        wanted = self._wanted
        for stored in self._ledger.engine.entries(first, end):
            receivers: Iterable[int] | None = everyone
            try:
                entry = _decode(stored.entry)
                receivers = wanted.get(entry.type)
                if receivers is None:
                    continue
                if entry.index != stored.index:
                    raise Tampered("entry", "stands at another index")
                item = Item(entry.index, entry.recorded_at, _event_of(entry), entry)
            except Exception as error:
                quarantined += [(stored.index, self.projections[n].NAME, _name(error)) for n in receivers or everyone]
                continue
            for number in receivers:
                batches[number].append(item)
        return batches, quarantined

    def _schema(self, *, indexes: bool) -> tuple[str, ...]:
        statements = (statement for projection in self.projections for statement in projection.schema())
        return tuple(s for s in statements if ("CREATE INDEX" in s) is indexes)


def _apply(generation: Generation, projection: Projection, batch: Sequence[Item]) -> list[Row]:
    """Write the rows of a batch; return the events in it that cannot be, found by halving."""
    try:
        with generation.transaction():
            projection.apply(batch, generation)
    except (StorageError, MemoryError):
        raise
    except Exception as error:
        if len(batch) == 1:
            return [(batch[0].index, projection.NAME, _name(error))]
        middle = len(batch) // 2
        return _apply(generation, projection, batch[:middle]) + _apply(generation, projection, batch[middle:])
    return []


def _name(error: Exception) -> str:
    return type(error).__name__
