"""The reference for rebuilding: the library's own `ProjectionRunner` over its own recorder in memory.

It does the same work: the same entries are decoded by the same functions, and the same projections write the same rows
into the same tables. What differs is the library's: subscription, mapper, dispatch and one transaction an event. Its
event store and its database are in memory, so that it waits for no disk; ours reads and writes files.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, cast

import msgspec
from eventsourcing.dcb.api import DCBEvent
from eventsourcing.dcb.application import DCBApplication
from eventsourcing.dcb.domain import Tagged
from eventsourcing.dcb.persistence import DCBMapper
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteTrackingRecorder

from benchmarks.rounds import Clock, Spent
from ledger import Ledger
from ledger.entry import Entry, event_of, parse
from projections import projection as ours
from projections.projection import Item, Read
from projections.storage.store import Row, Writer

_decode = msgspec.json.Decoder(Read).decode


class EntryMapper(DCBMapper[Any]):
    """Decodes an entry as our own runner does."""

    def to_dcb_event(self, event: Tagged[Any]) -> DCBEvent:
        raise NotImplementedError

    def to_domain_event(self, event: DCBEvent) -> Tagged[Any]:
        entry = _decode(event.data)
        # As in our own runner: it has all that `event_of` looks at.
        return Tagged(event.tags, Item(entry.index, entry.recorded_at, event_of(cast(Entry, entry)), entry))


class Entries(DCBApplication):
    """The application whose events are projected: entries, in the library's recorder."""

    recorded: ClassVar[InMemoryDCBRecorder]

    def __init__(self, env: Any = None) -> None:
        super().__init__(env)
        self.recorder = self.recorded
        self.mapper = EntryMapper()


class _Writer(Writer):
    """Writes the rows of one event through the library's cursor."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def insert(self, table: str, rows: Collection[Row]) -> None:
        for row in rows:
            self._cursor.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def delete(self, table: str, column: str, values: Collection[str]) -> None:
        for value in values:
            self._cursor.execute(f"DELETE FROM {table} WHERE {column} = ?", (value,))


class Tables(SQLiteTrackingRecorder):
    """The tables of our projections, in the library's SQLite recorder."""

    projections: ClassVar[Sequence[ours.Projection]]

    def construct_create_table_statements(self) -> list[str]:
        own = [statement for projection in self.projections for statement in projection.schema()]
        return super().construct_create_table_statements() + own

    def apply(self, item: Item, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            writer = _Writer(cursor)
            for projection in self.projections:
                if item.entry.type in projection.topics():
                    projection.apply([item], writer)
            self._insert_tracking(cursor, tracking)

    def count(self, table: str) -> int:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            return int(cast(Any, cursor.fetchone())[0])


class Rows(Projection[Tables]):
    """Our projections as one of the library's."""

    last: ClassVar[int]
    done: ClassVar[threading.Event]

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.apply(domain_event.decision, tracking)
        if tracking.notification_id == self.last:
            self.done.set()


def rebuild(ledger: Ledger, projections: Sequence[ours.Projection], events: int) -> tuple[Spent, dict[str, int]]:
    """Project the first `events` entries; return what it took, and how many rows each table has."""
    Entries.recorded = InMemoryDCBRecorder()
    Entries.recorded.append([_dcb_event(stored.entry) for stored in ledger.engine.entries(0, events)])
    Tables.projections = projections
    Rows.last, Rows.done = events, threading.Event()
    env = {"ROWS_PERSISTENCE_MODULE": "eventsourcing.sqlite", "ROWS_SQLITE_DBNAME": ":memory:"}
    clock = Clock()
    runner = ProjectionRunner(application_class=Entries, projection_class=Rows, view_class=Tables, env=env)
    with runner:
        while not Rows.done.wait(0.1):
            assert not runner.is_interrupted.is_set(), "the library's runner stopped"
        spent = clock.read()
        counts = {table: runner.view.count(table) for table in TABLES}
    return spent, counts


# The tables whose rows are counted on both sides.
TABLES = ("subjects", "field_versions", "links", "identifiers", "consents_given", "disclosure_steps", "order_steps")


def _dcb_event(entry: bytes) -> DCBEvent:
    parsed = parse(entry)
    return DCBEvent(parsed.type, entry, list(parsed.tag_names))
