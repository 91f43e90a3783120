"""The tag index on SQLite: four small tables in the ledger's own file, or in a scratch file that nobody keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from ledger.errors import Busy
from ledger.storage.connect import storage_errors
from ledger.storage.tag_store import (
    Pack,
    Span,
    TagIndexChange,
    TagIndexReader,
    TagIndexState,
    TagIndexStore,
    TagIndexWriter,
    TagLeaf,
)

Rows = Callable[..., list[Any]]
"""Runs one statement and returns all its rows: `rows(sql, *parameters)`."""

# Keys that one statement asks for.
_KEYS_AT_ONCE: Final = 64


class SqliteTagReader(TagIndexReader):
    """Reads the tables of the index through `rows`: each call is one snapshot, unless a transaction is open there."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def state(self) -> TagIndexState:
        rows = self._rows("SELECT size, tags, revision FROM tag_index")
        return TagIndexState(*rows[0]) if rows else TagIndexState()

    def leaves(self, keys: Sequence[bytes]) -> list[TagLeaf]:
        found: list[TagLeaf] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            chunk = list(keys[start : start + _KEYS_AT_ONCE])
            # Always as many parameters, so that the statement is prepared once.
            chunk += [chunk[-1]] * (_KEYS_AT_ONCE - len(chunk))
            found += self._rows(_LEAVES, *chunk)
        return found

    def leaves_between(self, first: bytes, last: bytes, limit: int) -> list[TagLeaf]:
        return self._rows(
            "SELECT key, n, head FROM tag_index_leaves WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
            first, last, limit,
        )  # fmt: skip

    def leaves_in(self, spans: Sequence[Span]) -> list[list[TagLeaf]]:
        return [self.leaves_between(*span) for span in spans]

    def packs(self, places: Sequence[bytes]) -> dict[bytes, bytes]:
        found = ((place, self.pack(place)) for place in places)
        return {place: nodes for place, nodes in found if nodes is not None}

    def pack(self, place: bytes) -> bytes | None:
        rows = self._rows("SELECT nodes FROM tag_index_packs WHERE place = ?", place)
        return rows[0][0] if rows else None

    def packs_after(self, place: bytes, limit: int) -> list[Pack]:
        return self._rows(
            "SELECT place, nodes FROM tag_index_packs WHERE place > ? ORDER BY place LIMIT ?", place, limit
        )

    def marks(self, limit: int) -> list[int]:
        return [row[0] for row in self._rows("SELECT mark FROM tag_index_marks ORDER BY mark LIMIT ?", limit)]


_LEAVES: Final = f"SELECT key, n, head FROM tag_index_leaves WHERE key IN ({', '.join('?' * _KEYS_AT_ONCE)})"


class SqliteTagWriter(SqliteTagReader, TagIndexWriter):
    """The index inside a transaction that is open on `connection`."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        super().__init__(self._execute)
        self._connection = connection
        self._path = path

    def _execute(self, sql: str, *parameters: Any) -> list[Any]:
        with storage_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def change(self, change: TagIndexChange) -> None:
        many = self._connection.executemany
        with storage_errors(self._path):
            # In the order of the tables, so that rows of one page are written together.
            many("INSERT OR REPLACE INTO tag_index_leaves VALUES (?, ?, ?)", sorted(change.leaves))
            many("INSERT OR IGNORE INTO tag_index_marks VALUES (?)", ((mark,) for mark in sorted(change.marked)))
            many("INSERT OR REPLACE INTO tag_index_packs VALUES (?, ?)", sorted(change.packs))
            many("DELETE FROM tag_index_marks WHERE mark = ?", ((mark,) for mark in change.settled))
            self._connection.execute(
                "INSERT INTO tag_index VALUES (1, ?, ?, 1) ON CONFLICT (one) "
                "DO UPDATE SET size = excluded.size, tags = excluded.tags, revision = revision + 1",
                (change.size, change.tags),
            )

    def clear(self) -> None:
        """Delete every leaf, pack and mark. The revision goes on: what was computed before is void."""
        with storage_errors(self._path):
            for table in ("tag_index_leaves", "tag_index_packs", "tag_index_marks"):
                self._connection.execute(f"DELETE FROM {table}")
            self._connection.execute("UPDATE tag_index SET size = 0, tags = 0, revision = revision + 1")


class SqliteTagStore(SqliteTagReader, TagIndexStore):
    """The index in the ledger's file: read through its readers, written through its one writing connection."""

    def __init__(self, rows: Rows, writer: apsw.Connection, lock: threading.Lock, path: Path) -> None:
        super().__init__(rows)
        self._writer = writer
        self._lock = lock
        self._path = path

    def write(self, change: TagIndexChange, found: TagIndexState) -> bool:
        with self._transaction() as index:
            same = index.state() == found
            if same:
                index.change(change)
        return same

    def clear(self) -> None:
        with self._transaction() as index:
            index.clear()

    @contextmanager
    def _transaction(self) -> Iterator[SqliteTagWriter]:
        with self._lock, storage_errors(self._path):
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except apsw.BusyError as error:
                raise Busy(f"{self._path}: another process has held the write lock for too long") from error
            try:
                yield SqliteTagWriter(self._writer, self._path)
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")


def scratch_index(schema: Sequence[str]) -> SqliteTagStore:
    """Return an empty index of the same form in a temporary file, for comparing; it goes with its connection."""
    path = Path("scratch index")
    connection = apsw.Connection("")
    with storage_errors(path):
        for statement in schema:
            connection.execute(statement)
        connection.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -65536").fetchall()
    return SqliteTagStore(SqliteTagWriter(connection, path)._execute, connection, threading.Lock(), path)
