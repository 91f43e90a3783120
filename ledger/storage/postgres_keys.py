"""Data keys on PostgreSQL: in a schema of their own, by a role of its own, on any server.

Deleted means: gone for every reader at the commit, on synchronous standbys too. The bytes of a deleted row (wrapped, so
worth nothing without the key-encryption key) go later: from its page after autovacuum, which looks in after a single
row, as the page is used again; from WAL, archives and backups as those are let go. docs/operations.md says how soon
that should be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from time import monotonic, sleep
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql

from ledger.errors import InDoubt, StorageError
from ledger.storage.key_table import KeyTable, WrappedKey
from ledger.storage.postgres_arrays import Byteas, Texts
from ledger.storage.postgres_schema import Schema, check_schema, strange_objects
from ledger.storage.postgres_session import (
    KEYS_ROLE,
    RECONNECT_S,
    Connection,
    Sessions,
    is_lost,
    storage_errors,
    warnings_of,
)
from ledger.storage.server import Server

_WHAT: Final = "PROOFTRAIL_KEYS_DSN"

_COLUMNS: Final = "key_id, subject_id, role, retention_class, wrapped"

_STATEMENTS: Final = {
    "add": (
        f"INSERT INTO {{s}}.data_keys ({_COLUMNS}) "
        "SELECT k, s, r, c, w FROM unnest(%s, %s, %s, %s, %s) n(k, s, r, c, w) ON CONFLICT DO NOTHING RETURNING key_id"
    ),
    "keys": f"SELECT {_COLUMNS} FROM {{s}}.data_keys WHERE key_id = ANY (%s)",
    "key_of": f"SELECT {_COLUMNS} FROM {{s}}.data_keys WHERE subject_id = %s AND role = %s AND retention_class = %s",
    "of_subject": f"SELECT {_COLUMNS} FROM {{s}}.data_keys WHERE subject_id = %s ORDER BY retention_class, role",
    "every": f"SELECT {_COLUMNS} FROM {{s}}.data_keys WHERE key_id > %s ORDER BY key_id LIMIT 1000",
    "delete": "DELETE FROM {s}.data_keys WHERE key_id = ANY (%s)",
    "secret": "SELECT wrapped FROM {s}.secrets WHERE name = %s",
    "secrets": "SELECT name, wrapped FROM {s}.secrets ORDER BY name",
    "add_secret": "INSERT INTO {s}.secrets (name, wrapped) VALUES (%s, %s) ON CONFLICT DO NOTHING",
    "applied_to": "SELECT applied_to FROM {s}.erasures",
    "set_applied_to": "UPDATE {s}.erasures SET applied_to = %s",
}

_T = TypeVar("_T")


class PostgresKeyTable(KeyTable):
    """The schema of a key store. Raises StorageError when it is absent, not ours, or newer."""

    def __init__(self, server: Server) -> None:
        self._schema = server.keys_schema
        self._sessions = Sessions(server.keys_dsn or server.dsn, schema=self._schema, role=KEYS_ROLE, what=_WHAT)
        self.place = self._sessions.place
        name = sql.Identifier(self._schema)
        self._sql = {key: sql.SQL(text).format(s=name) for key, text in _STATEMENTS.items()}
        self._closed = False
        self._connection: Connection | None = self._sessions.connect()
        try:
            check_schema(self._connection, self._schema, "keys", role=KEYS_ROLE, place=self.place)
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def create(cls, server: Server) -> PostgresKeyTable:
        """Make the schema, or bring it forward. Safe when several processes do it at once."""
        _schema(server).make(role=KEYS_ROLE, user_of=server.keys_dsn or server.dsn)
        return cls(server)

    @classmethod
    def exists(cls, server: Server) -> bool:
        """Whether there is one already. Raises StorageError for a schema that is not ours."""
        return _schema(server).exists()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._closed = True

    def add(self, keys: Sequence[WrappedKey]) -> set[str]:
        columns = zip(*((k.key_id, k.subject_id, k.role, k.retention_class, k.wrapped) for k in keys), strict=True)
        *texts, wraps = columns
        # Asked again after a lost connection, a key of ours that was there first is ours all the same.
        self._write("add", *map(Texts, texts), Byteas(wraps))
        there = {key.key_id for key in self.keys([key.key_id for key in keys])}
        return {key.key_id for key in keys} - there

    def keys(self, key_ids: Collection[str]) -> list[WrappedKey]:
        return self._keys("keys", Texts(list(key_ids)))

    def key_of(self, subject_id: str, role: str, retention_class: str) -> WrappedKey | None:
        found = self._keys("key_of", subject_id, role, retention_class)
        return found[0] if found else None

    def keys_of_subject(self, subject_id: str) -> list[WrappedKey]:
        return self._keys("of_subject", subject_id)

    def every_key(self) -> Iterator[WrappedKey]:
        connection = self._sessions.connect()
        try:
            last = ""
            with storage_errors(self.place):
                while rows := connection.execute(self._sql["every"], (last,), binary=True).fetchall():
                    yield from (WrappedKey(*row) for row in rows)
                    last = rows[-1][0]
        finally:
            connection.close()

    def delete(self, key_ids: Sequence[str]) -> None:
        self._write("delete", Texts(key_ids))

    def secret(self, name: str) -> bytes | None:
        rows = self._rows("secret", name)
        return rows[0][0] if rows else None

    def secrets(self) -> list[tuple[str, bytes]]:
        return [(name, wrapped) for name, wrapped in self._rows("secrets")]

    def add_secret(self, name: str, wrapped: bytes) -> None:
        self._write("add_secret", name, wrapped)

    def applied_to(self) -> int:
        return int(self._rows("applied_to")[0][0])

    def set_applied_to(self, size: int) -> None:
        self._write("set_applied_to", size)

    def damage(self) -> Iterator[str]:
        connection = self._sessions.connect()
        try:
            with storage_errors(self.place):
                for line in strange_objects(connection, self._schema, "keys"):
                    yield f"{self.place}: {line}"
        finally:
            connection.close()

    def _keys(self, name: str, *parameters: Any) -> list[WrappedKey]:
        return [WrappedKey(*row) for row in self._rows(name, *parameters)]

    def _rows(self, name: str, *parameters: Any) -> list[Any]:
        return self._try(lambda c: c.execute(self._sql[name], parameters, binary=True).fetchall())

    def _write(self, name: str, *parameters: Any) -> None:
        """Write in a transaction of its own; every write here may be done twice."""

        def write(connection: Connection) -> None:
            with warnings_of(connection) as warnings:
                connection.execute(self._sql[name], parameters)
            if warnings:
                raise InDoubt(f"{self.place}: {warnings[0]}")

        self._try(write)

    def _try(self, work: Callable[[Connection], _T]) -> _T:
        """Do something that may be done twice; again with a new connection when the old one was lost."""
        with storage_errors(self.place):
            deadline = monotonic() + RECONNECT_S
            while True:
                try:
                    if self._closed:
                        raise StorageError(f"{self.place}: the key store is closed")
                    if self._connection is None:
                        self._connection = self._sessions.connect()
                    return work(self._connection)
                except psycopg.Error as error:
                    if self._connection is None or not is_lost(self._connection, error) or monotonic() > deadline:
                        raise
                    self._connection.close()
                    self._connection = None
                except StorageError:
                    if self._connection is not None or self._closed or monotonic() > deadline:
                        raise
                    sleep(0.05)


def _schema(server: Server) -> Schema:
    owner = server.owner_dsn if server.keys_dsn is None else server.keys_owner_dsn
    what = _WHAT if owner is None else "PROOFTRAIL_OWNER_DSN"
    return Schema(owner or server.keys_dsn or server.dsn, schema=server.keys_schema, kind="keys", what=what)
