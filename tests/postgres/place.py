"""A PostgreSQL server for a whole test run, and fresh schemas on it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.storage.server import Server
from tests.postgres.cluster import Cluster

TEST_DSN = "PROOFTRAIL_TEST_DSN"


class PostgresPlace:
    """A server that tests share, by the connection string of somebody who may do everything there."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._numbers = itertools.count()
        # Also on a server that other runs use: their schemas are not ours.
        self._prefix = f"t{os.getpid()}_{os.urandom(3).hex()}"
        self._made: list[str] = []

    def server(self, **changes: Any) -> Server:
        """Return the place of a ledger that does not exist yet."""
        schema = f"{self._prefix}_{next(self._numbers)}"
        self._made.append(schema)
        return Server(**({"dsn": self.dsn, "schema": schema} | changes))

    def sql(self, statement: str, parameters: Sequence[Any] = (), *, dsn: str | None = None) -> list[Any]:
        """Run SQL as an administrator would, behind the ledger's back."""
        with psycopg.connect(dsn or self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def drop(self, *schemas: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            for schema in schemas:
                for each in (schema, f"{schema}_keys", f"{schema}_access", f"{schema}_access_keys"):
                    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(each)))

    def clean(self) -> None:
        """Drop what was made here."""
        self.drop(*self._made)


@contextmanager
def a_place() -> Iterator[PostgresPlace]:
    """The server that PROOFTRAIL_TEST_DSN names, or a temporary one."""
    given = os.environ.get(TEST_DSN)
    if given:
        place = PostgresPlace(make_conninfo(given))
        yield place
        place.clean()
        return
    with Cluster() as cluster:
        cluster.create().start()
        yield PostgresPlace(cluster.dsn())
