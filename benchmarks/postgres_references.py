"""What others do with the same events on the same server, and beside it: the references of the rows on PostgreSQL.

`Library` is PostgresDCBRecorderTT of `eventsourcing`, with as many pooled connections as callers. `Slices` is its
`DCBApplication.do` on that recorder. `Uma` is UmaDB, a server of its own with its own files. `Copy` inserts the rows
that ours left behind, ready made, by COPY. None of them hashes, seals or signs anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem, DCBRecorder
from eventsourcing.dcb.application import DCBApplication
from eventsourcing.dcb.domain import Selector, Slice, Tagged
from eventsourcing.dcb.msgpack import Decision
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks.rounds import Clock, Spent, dealt, in_threads
from ledger.entry import parse
from ledger.storage.server import Server

COPIED_AT_ONCE: Final = 32
_TABLES: Final = ("events", "event_tags", "sealed", "tiles", "checkpoints")


class Event(NamedTuple):
    """An event as others are given it: our type, tags and data, and the tag that its condition is on."""

    type: str
    tags: list[str]
    data: bytes
    subject: str
    after: int

    @classmethod
    def of_entry(cls, entry: bytes) -> Event:
        parsed = parse(entry)
        tags: list[str] = [*parsed.tag_names]
        subject = next(tag for tag in tags if tag.startswith("subject:"))
        return cls(parsed.type, tags, bytes(parsed.data), subject, parsed.index)


class Library:
    """The library's recorder in a database of its own: outside of `public` its foreign key finds no table."""

    def __init__(self, dsn: str, *, database: str, callers: int) -> None:
        given = conninfo_to_dict(dsn)
        self.environment = {
            "PERSISTENCE_MODULE": "eventsourcing.dcb.postgres_tt",
            "POSTGRES_DBNAME": database,
            "POSTGRES_HOST": str(given["host"]),
            "POSTGRES_PORT": str(given["port"]),
            "POSTGRES_USER": str(given["user"]),
            "POSTGRES_PASSWORD": "",
            "POSTGRES_POOL_SIZE": str(callers),
            "MAPPER_TOPIC": "eventsourcing.dcb.msgpack:MessagePackMapper",
        }
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        self.application = DCBApplication(self.environment)
        self._callers = callers

    def append(self, events: Sequence[Event]) -> Spent:
        """Append events one by one on their conditions, by as many callers as ours has."""
        after = self.application.recorder.read().head or 0
        return in_threads(lambda share: self._append_all(share, after), dealt(events, self._callers))

    def _append_all(self, share: Sequence[Event], after: int) -> None:
        recorder: DCBRecorder = self.application.recorder
        for event in share:
            query = DCBQuery(items=[DCBQueryItem(types=["subject-registered"], tags=[event.subject])])
            condition = DCBAppendCondition(fail_if_events_match=query, after=after)
            after = recorder.append([DCBEvent(type=event.type, data=event.data, tags=event.tags)], condition)

    def do(self, commands: Sequence[Event]) -> Spent:
        """Carry out slices that read a subject's registration and record one event."""
        return in_threads(self._do_all, dealt(commands, self._callers))

    def register(self, subjects: Sequence[str]) -> None:
        """Record that these subjects are there."""
        for start in range(0, len(subjects), 500):
            events = [
                self.application.mapper.to_dcb_event(Tagged([tag], Registered(subject=tag)))
                for tag in subjects[start : start + 500]
            ]
            self.application.recorder.append(events)

    def _do_all(self, share: Sequence[Event]) -> None:
        for event in share:
            self.application.do(Collect(event))

    def close(self) -> None:
        self.application.close()


class Registered(Decision):
    """That a subject is there."""

    subject: str


class Collected(Decision):
    """Data of a subject."""

    data: bytes


class Collect(Slice[Decision]):
    """Records data of a registered subject: the library's words for our `CollectData`, without a rule or a seal."""

    def __init__(self, event: Event) -> None:
        self.event = event

    def consistency_boundary(self) -> Selector:
        return Selector(types=[Registered], tags=[self.event.subject])

    def execute(self) -> None:
        assert self.last_known_position
        self.trigger_event(Collected, tags=self.event.tags, data=self.event.data)


# The library reads the boundary of a slice that has a function for one of its events.
Collect.do_projection = True


class Uma:
    """UmaDB's server, on a port and files of its own."""

    def __init__(self, folder: Path, *, port: int, callers: int) -> None:
        import umadb

        self._umadb: Any = umadb
        self._url = f"http://127.0.0.1:{port}"
        self._callers = callers
        program = Path(sys.executable).with_name("umadb")
        self._server = subprocess.Popen(
            [program, "--listen", f"127.0.0.1:{port}", "--db-path", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not name.startswith("UMADB")},
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                self._head = umadb.Client(self._url).head() or 0
                return
            except Exception:
                if time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.05)

    def append(self, events: Sequence[Event]) -> Spent:
        """The same appends, each caller with a client of its own."""
        spent = in_threads(self._append_all, dealt(events, self._callers))
        self._head += len(events)
        return spent

    def _append_all(self, share: Sequence[Event]) -> None:
        uma, client, after = self._umadb, self._umadb.Client(self._url), self._head
        for event in share:
            query = uma.Query(items=[uma.QueryItem(types=["subject-registered"], tags=[event.subject])])
            condition = uma.AppendCondition(query, after or None)
            after = client.append([uma.Event(event.type, event.data, event.tags)], condition)

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(10)


class Copy:
    """Tables like ours, with our indexes, filled by COPY with the rows that ours left behind."""

    def __init__(self, server: Server, *, schema: str) -> None:
        self._connection = psycopg.connect(server.dsn, autocommit=True)
        self._ours, self._theirs = server.schema, schema
        execute = self._connection.execute
        execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        for table in _TABLES:
            create = sql.SQL("CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL)")
            names = (schema, table, server.schema, table)
            execute(create.format(*map(sql.Identifier, names)))

    def insert(self, first: int, end: int) -> Spent:
        """Copy the rows of the events `first` ≤ index < `end`, so many events a transaction, each durable."""
        batches = [self._rows(start, min(start + COPIED_AT_ONCE, end)) for start in range(first, end, COPIED_AT_ONCE)]
        clock = Clock()
        for batch in batches:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                for table, data in batch.items():
                    target = sql.SQL("COPY {}.{} FROM STDIN (FORMAT binary)")
                    with cursor.copy(target.format(sql.Identifier(self._theirs), sql.Identifier(table))) as copy:
                        copy.write(data)
        return clock.read()

    def _rows(self, first: int, end: int) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for table, column, low in (("events", "idx", 0), ("event_tags", "idx", 0), ("sealed", "idx", 0),
                                   ("checkpoints", "size", 1)):  # fmt: skip
            query = sql.SQL("COPY (SELECT * FROM {}.{} WHERE {} >= {} AND {} < {}) TO STDOUT (FORMAT binary)").format(
                sql.Identifier(self._ours),
                sql.Identifier(table),
                sql.Identifier(column),
                sql.Literal(first + low),
                sql.Identifier(column),
                sql.Literal(end + low),
            )
            with self._connection.cursor().copy(query) as copy:
                found[table] = b"".join(bytes(block) for block in copy)
        return found

    def close(self) -> None:
        self._connection.close()
