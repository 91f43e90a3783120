"""Data keys in a SQLite file: what is deleted leaves no byte in the file or its WAL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from ledger.errors import StorageError, Tampered
from ledger.storage.connect import (
    KEYS_APPLICATION_ID,
    connect,
    damaged_pages,
    storage_errors,
    strange_objects,
    truncate_wal,
)
from ledger.storage.key_table import KeyTable, WrappedKey

_KEYS_AT_ONCE: Final = 64
# The keys of some hundred thousand people.
_CACHE_KIB: Final = 65_536
_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE secrets (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE data_keys (
    key_id TEXT PRIMARY KEY, subject_id TEXT NOT NULL, role TEXT NOT NULL, retention_class TEXT NOT NULL,
    wrapped BLOB NOT NULL, UNIQUE (subject_id, role, retention_class)
) STRICT, WITHOUT ROWID;
CREATE TABLE erasures (one INTEGER PRIMARY KEY CHECK (one = 1), applied_to INTEGER NOT NULL) STRICT;
INSERT INTO erasures VALUES (1, 0);
"""


class SqliteKeyTable(KeyTable):
    """The file of a key store. Raises StorageError when it is absent, not ours or damaged, Tampered for its schema."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self.place = str(path)
        self._connection = connect(
            path, application_id=KEYS_APPLICATION_ID, version=_VERSION, create=create, cache_kib=_CACHE_KIB
        )
        try:
            if create:
                self._create()
            strange = list(strange_objects(self._connection, path, [_SCHEMA]))
            if self._rows("SELECT count(*) FROM sqlite_schema") == [(0,)]:
                raise StorageError(f"{path}: holds no check value; it was never finished. Restore it from a backup")
            if strange:
                raise Tampered("schema", "; ".join(strange))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def add(self, keys: Sequence[WrappedKey]) -> set[str]:
        lost: set[str] = set()
        try:
            with self._connection:
                for key in keys:
                    self._connection.execute(
                        "INSERT INTO data_keys VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                        (key.key_id, key.subject_id, key.role, key.retention_class, key.wrapped),
                    )
                    if not self._connection.changes():
                        lost.add(key.key_id)
        except apsw.Error as error:
            raise StorageError(f"{self._path}: new keys could not be written ({error})") from error
        return lost

    def keys(self, key_ids: Collection[str]) -> list[WrappedKey]:
        found: list[WrappedKey] = []
        asked = list(key_ids)
        if len(asked) == 1:
            return self._keys("SELECT * FROM data_keys WHERE key_id = ?", *asked)
        for start in range(0, len(asked), _KEYS_AT_ONCE):
            some = asked[start : start + _KEYS_AT_ONCE]
            # Padded, so that the statement is always the same and prepared once.
            padded = some + [some[0]] * (_KEYS_AT_ONCE - len(some))
            found += self._keys(f"SELECT * FROM data_keys WHERE key_id IN ({', '.join('?' * _KEYS_AT_ONCE)})", *padded)
        return found

    def key_of(self, subject_id: str, role: str, retention_class: str) -> WrappedKey | None:
        query = "SELECT * FROM data_keys WHERE subject_id = ? AND role = ? AND retention_class = ?"
        found = self._keys(query, subject_id, role, retention_class)
        return found[0] if found else None

    def keys_of_subject(self, subject_id: str) -> list[WrappedKey]:
        return self._keys("SELECT * FROM data_keys WHERE subject_id = ? ORDER BY retention_class, role", subject_id)

    def every_key(self) -> Iterator[WrappedKey]:
        connection = connect(self._path, application_id=KEYS_APPLICATION_ID, version=_VERSION)
        try:
            with storage_errors(self._path):
                for row in connection.execute("SELECT * FROM data_keys"):
                    yield WrappedKey(*row)
        finally:
            connection.close()

    def delete(self, key_ids: Sequence[str]) -> None:
        """Delete keys so that no byte of them stays in the file or its WAL."""
        try:
            with self._connection:
                self._connection.executemany("DELETE FROM data_keys WHERE key_id = ?", [(k,) for k in key_ids])
            # secure_delete zeroes the pages; the old ones must leave the WAL too.
            truncate_wal(self._connection, self._path)
        except apsw.Error as error:
            raise StorageError(f"{self._path}: keys could not be destroyed ({error})") from error

    def secret(self, name: str) -> bytes | None:
        rows = self._rows("SELECT wrapped FROM secrets WHERE name = ?", name)
        return rows[0][0] if rows else None

    def secrets(self) -> list[tuple[str, bytes]]:
        return [(name, wrapped) for name, wrapped in self._rows("SELECT name, wrapped FROM secrets ORDER BY name")]

    def add_secret(self, name: str, wrapped: bytes) -> None:
        with storage_errors(self._path):
            self._connection.execute("INSERT INTO secrets VALUES (?, ?) ON CONFLICT DO NOTHING", (name, wrapped))

    def applied_to(self) -> int:
        size: int = self._rows("SELECT applied_to FROM erasures")[0][0]
        return size

    def set_applied_to(self, size: int) -> None:
        try:
            self._connection.execute("UPDATE erasures SET applied_to = ?", (size,))
        except apsw.Error as error:
            raise StorageError(f"{self._path}: cannot be written ({error})") from error

    def damage(self) -> Iterator[str]:
        connection = connect(self._path, application_id=KEYS_APPLICATION_ID, version=_VERSION)
        try:
            for page in damaged_pages(connection, self._path):
                yield f"{self._path.name}: page {page} does not match its checksum"
            yield from strange_objects(connection, self._path, [_SCHEMA])
        except apsw.Error as error:
            yield f"{self._path.name}: cannot be read ({error})"
        finally:
            connection.close()

    def _create(self) -> None:
        try:
            with self._connection:
                if not self._connection.execute("SELECT count(*) FROM sqlite_schema").get:
                    self._connection.execute(_SCHEMA)
        except apsw.Error as error:
            raise StorageError(f"{self._path}: the key store could not be made ({error})") from error

    def _keys(self, sql: str, *parameters: str) -> list[WrappedKey]:
        return [WrappedKey(*row) for row in self._rows(sql, *parameters)]

    def _rows(self, sql: str, *parameters: str) -> list[Any]:
        with storage_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()
