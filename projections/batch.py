"""One batch: a run of entries decoded once, given to every projection, written with its position.

A poison entry is one that cannot be decoded, or that a projection cannot take in. It is quarantined by index and class
of error, and everything else goes on. An engine that fails is no poison: that is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

import apsw
import msgspec

from ledger import Ledger
from ledger.entry import event_of
from ledger.errors import StorageError, Tampered
from ledger.events import Event
from projections.projection import Item, Projection, Read, Row, schema

# What one transaction takes: enough that its commit costs nothing, about 20 MB of decoded events.
BATCH: Final = 8_192

_QUARANTINE: Final = "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?)"

# What SQLite raises for a row that does not fit its table; anything else is the engine's own failure.
_MISFITS: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)


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

    def lay_out(self, connection: apsw.Connection) -> None:
        """Make the tables in an empty database, at position 0. The indexes wait for `lay_out_indexes`."""
        with connection:
            for statement in schema("store") + self._schema(indexes=False):
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO projection VALUES (?, ?, 0)", [(p.NAME, p.VERSION) for p in self.projections]
            )
            connection.execute("INSERT INTO source VALUES (1, ?, x'')", (self._ledger.origin,))

    def lay_out_indexes(self, connection: apsw.Connection) -> None:
        """Make the indexes: after the first rows, as sorting once is quicker than keeping order at each insert."""
        with connection:
            for statement in self._schema(indexes=True):
                connection.execute(statement)

    def advance(self, connection: apsw.Connection, first: int, end: int) -> None:
        """Take in the entries `first` ≤ index < `end`, all of it in one transaction: rows, quarantine and position.

        Raises StorageError or apsw.Error with nothing changed.
        """
        batches, quarantined = self._decode(first, end)
        leaf = self._ledger.engine.leaves(end - 1, end)[0]
        with connection:
            for projection, batch in zip(self.projections, batches, strict=True):
                if batch:
                    quarantined += _apply(connection, projection, batch)
            if quarantined:
                connection.executemany(_QUARANTINE, quarantined)
            connection.execute("UPDATE projection SET position = ?", (end,))
            connection.execute("UPDATE source SET leaf = ?", (leaf,))

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


def _apply(connection: apsw.Connection, projection: Projection, batch: Sequence[Item]) -> list[Row]:
    """Write the rows of a batch; return the events in it that cannot be, found by halving."""
    try:
        with connection:
            projection.apply(batch, connection.executemany)
    except (StorageError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, apsw.Error) and not isinstance(error, _MISFITS):
            raise
        if len(batch) == 1:
            return [(batch[0].index, projection.NAME, _name(error))]
        middle = len(batch) // 2
        return _apply(connection, projection, batch[:middle]) + _apply(connection, projection, batch[middle:])
    return []


def _name(error: Exception) -> str:
    return type(error).__name__
