"""A small world for these tests: one ledger, its projections, a clock that stands still until it is told.

given(commands) records them; the questions catch up first, so that a test asks of what it just recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psycopg

from ledger import Actor, Ledger, Receipt, create_ledger, open_ledger
from ledger.command import Command
from ledger.commands import CollectData, DecideErasure, DestroyKeys, RegisterSubject
from ledger.errors import Refused
from ledger.events import ClassDecision
from ledger.storage.server import Server
from ledger.tlog.note import Signer
from ledger.vocabulary import (
    ActorId,
    ErasureOutcome,
    LegalBasis,
    Purpose,
    RetentionClass,
    Role,
    SourceKind,
    SubjectId,
    Word,
    new_id,
)
from projections import PROJECTIONS_FILE, Projections, open_projections
from projections.storage.postgres import PostgresStore
from projections.storage.sqlite import SqliteStore
from projections.storage.store import Store

ORIGIN = "example.com/ledger"
KEK = b"k" * 32
SIGNER_SEED = b"s" * 32
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TABLES = (
    "projection", "source", "quarantine", "subjects", "field_versions", "links", "erasures", "identifiers",
    "consents_given", "consents_withdrawn", "disclosure_steps", "order_steps",
)  # fmt: skip
OFFICER = Actor(id=ActorId(new_id()), role=Role.OFFICER)


def dump(projections: Projections) -> dict[str, list[Any]]:
    """Return every row of every table of the generation in use."""
    with projections._store.read() as rows:
        return {table: rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}


def signer() -> Signer:
    return Signer(ORIGIN, SIGNER_SEED)


class Where(NamedTuple):
    """Where a ledger and its projections lie: in files, or on a server. Processes can be told it."""

    data: Path
    server: Server | None = None

    @property
    def path(self) -> Path:
        """The projections, in files."""
        return self.data / PROJECTIONS_FILE

    def make(self) -> None:
        """Make an empty ledger."""
        create_ledger(self.data, origin=ORIGIN, kek=KEK, signer=signer(), server=self.server)

    def opened(self, clock: Callable[[], datetime] | None = None) -> Ledger:
        now = clock or (lambda: datetime.now(UTC))
        return open_ledger(self.data, kek=KEK, signer=signer(), clock=now, server=self.server)

    def store(self) -> Store:
        return SqliteStore(self.path) if self.server is None else PostgresStore(self.server)

    def projections(self, ledger: Ledger) -> Projections:
        return open_projections(ledger, self.store())

    def told(self) -> list[str]:
        """The words of a command line from which `heard` makes this again."""
        return [str(self.data), *((self.server.dsn, self.server.schema) if self.server else ())]

    @classmethod
    def heard(cls, words: Sequence[str]) -> Where:
        data, *server = words
        return cls(Path(data), Server(dsn=server[0], schema=server[1]) if server else None)

    def in_use(self) -> str:
        """The name of the generation in use."""
        if self.server is None:
            return os.readlink(self.path)
        return str(self.ask(f"SELECT generation FROM {self.server.read_schema}.current")[0][0])

    def generations(self) -> list[str]:
        """The names of all generations that take space."""
        if self.server is None:
            return [path.name for path in self.data.glob("projections-*.db")]
        query = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
        return [name for (name,) in self.ask(query, f"{self.server.read_schema}_")]

    def ask(self, sql: str, *parameters: str) -> list[tuple[Any, ...]]:
        """Run a statement on the server; return its rows if it has any."""
        assert self.server is not None
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            cursor = connection.execute(sql.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def remove(self) -> None:
        """Drop what is on the server."""
        if self.server is not None:
            for name in [*self.generations(), self.server.read_schema, self.server.keys_schema, self.server.schema]:
                self.ask(f"DROP SCHEMA IF EXISTS {name} CASCADE")


class World:
    def __init__(self, where: Where) -> None:
        where.make()
        self.where = where
        self.data = where.data
        self.now = START
        self.ledger = where.opened(lambda: self.now)
        self.asked = where.projections(self.ledger)

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.asked.close()
        self.ledger.close()

    @property
    def then(self) -> Projections:
        """The projections, caught up."""
        self.asked.catch_up()
        return self.asked

    def given(self, *commands: Command) -> Receipt:
        """Record commands, a minute apart; return the receipt of the last one."""
        for command in commands:
            self.wait(minutes=1)
            receipt = self.ledger.record(command, OFFICER)
        return receipt

    def refused(self, command: Command) -> Refused:
        """Record a command that must be refused; return the refusal."""
        self.wait(minutes=1)
        try:
            self.ledger.record(command, OFFICER)
        except Refused as refusal:
            return refusal
        raise AssertionError(f"{command.NAME} was not refused")

    def wait(self, **elapsed: float) -> datetime:
        """Let the clock go on; return the moment."""
        self.now += timedelta(**elapsed)
        return self.now

    def subject(self) -> SubjectId:
        """Register somebody."""
        subject = SubjectId(new_id())
        self.given(RegisterSubject(subject_id=subject))
        return subject

    def erase(self, subject: SubjectId, *classes: RetentionClass) -> None:
        """Decide and carry out the erasure of these retention classes."""
        decisions = tuple(
            ClassDecision(retention_class=c, outcome=ErasureOutcome.ERASED, ground=Word("withdrawn")) for c in classes
        )
        self.given(
            DecideErasure(subject_id=subject, decisions=decisions),
            DestroyKeys(subject_id=subject, retention_classes=classes),
        )

    def tamper(self, sql: str, *parameters: Any) -> None:
        """Change the projections in use behind the program's back."""
        self.asked.catch_up()
        with self.asked._store.writing() as generation:
            assert generation is not None
            assert generation.rows(f"{sql} RETURNING 1", *parameters)


def collect(subject: SubjectId, **values: Any) -> CollectData:
    """Collect fields; `given_name` is the field given-name."""
    return collected(subject, {name.replace("_", "-"): value for name, value in values.items()})


def collected(subject: SubjectId, values: dict[str, Any], **more: Any) -> CollectData:
    return CollectData(
        subject_id=subject,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values=values,
        **more,
    )
