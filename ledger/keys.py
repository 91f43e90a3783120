"""Data keys, one for each (subject, role, retention class), wrapped by a key-encryption key, in a file of their own.

Erasure destroys a data key; that reaches every copy of the sealed values, also those in backups of the ledger. So
this file has a short backup life of its own (docs/operations). The key-encryption key comes from a file (0600) or the
environment and is never stored here; a check value tells a wrong one at once.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import Conflict, StorageError, Tampered
from ledger.sealing import NONCE_BYTES, Random
from ledger.storage.connect import (
    KEYS_APPLICATION_ID,
    connect,
    damaged_pages,
    storage_errors,
    strange_objects,
    truncate_wal,
)
from ledger.vocabulary import KeyId, RetentionClass, SubjectId, SubjectRole, new_id

KEY_BYTES: Final = 32
_CACHED_KEYS: Final = 65_536
_KEYS_AT_ONCE: Final = 64
# The keys of some hundred thousand people.
_CACHE_KIB: Final = 65_536
_VERSION: Final = 1
_KEK_PREFIX: Final = "prooftrail-kek-v1:"

_SCHEMA: Final = """
CREATE TABLE secrets (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE data_keys (
    key_id TEXT PRIMARY KEY, subject_id TEXT NOT NULL, role TEXT NOT NULL, retention_class TEXT NOT NULL,
    wrapped BLOB NOT NULL, UNIQUE (subject_id, role, retention_class)
) STRICT, WITHOUT ROWID;
CREATE TABLE erasures (one INTEGER PRIMARY KEY CHECK (one = 1), applied_to INTEGER NOT NULL) STRICT;
INSERT INTO erasures VALUES (1, 0);
"""


class KeyScope(msgspec.Struct, frozen=True, gc=False):
    """What one data key is for."""

    subject_id: SubjectId
    role: SubjectRole
    retention_class: RetentionClass


class DataKey(msgspec.Struct, frozen=True, gc=False):
    """A data key: its public id, its scope, and 32 secret bytes that never leave the process."""

    id: KeyId
    scope: KeyScope
    secret: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.id})"


def new_kek_text(random: Random = os.urandom) -> str:
    """Return a fresh key-encryption key as it stands in its file."""
    return _KEK_PREFIX + b64encode(random(KEY_BYTES)).decode()


def parse_kek(text: str, origin: str) -> bytes:
    """Return the 32 bytes of a key-encryption key; raise StorageError naming `origin`, never the key."""
    encoded = text.strip()
    try:
        key = b64decode(encoded.removeprefix(_KEK_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not encoded.startswith(_KEK_PREFIX) or len(key) != KEY_BYTES:
        raise StorageError(f"{origin}: holds no key-encryption key (expected one line {_KEK_PREFIX}…)")
    return key


class KeyStore:
    """The data keys of one ledger. Safe for many threads and processes.

    `obtain` is quick and in memory; a new key becomes durable in `persist`, which the sequencer calls before it
    commits the first event sealed under it: no event is ever acknowledged under a key that could be lost.
    """

    def __init__(self, path: Path, kek: bytes, *, create: bool = False, random: Random = os.urandom) -> None:
        self._path = path
        self._kek = AESGCM(kek)
        self._random = random
        self._lock = threading.RLock()
        self._by_id: OrderedDict[KeyId, DataKey] = OrderedDict()
        self._by_scope: dict[KeyScope, DataKey] = {}
        self._pending: dict[KeyId, DataKey] = {}
        self._connection = connect(
            path, application_id=KEYS_APPLICATION_ID, version=_VERSION, create=create, cache_kib=_CACHE_KIB
        )
        try:
            if create:
                self._create()
            self._check_kek()
            strange = list(strange_objects(self._connection, path, [_SCHEMA]))
            if strange:
                raise Tampered("schema", "; ".join(strange))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # --- data keys -------------------------------------------------------------------------------------------

    def obtain(self, scope: KeyScope) -> DataKey:
        """Return the key of a scope, a new one if there is none. A new one is not durable before `persist`."""
        # Without the lock: who has a known key to seal with does not wait for new ones on their way to disk.
        key = self._by_scope.get(scope)
        if key is not None:
            return key
        with self._lock:
            key = self._by_scope.get(scope) or self._load_scope(scope)
            if key is None:
                key = DataKey(KeyId(new_id()), scope, self._random(KEY_BYTES))
                self._pending[key.id] = key
                self._remember(key)
            return key

    def persist(self, key_ids: Iterable[KeyId]) -> set[KeyId]:
        """Make those keys durable that are new; return the ones that must not be used.

        Those are the keys of a scope for which another process made one first, and destroyed ones.

        Atomic and durable when it returns. Raises StorageError, and then no key is durable.
        """
        with self._lock:
            asked = dict.fromkeys(key_ids)
            fresh = [self._pending[key_id] for key_id in asked if key_id in self._pending]
            # Neither new nor here: lost in an earlier call, or destroyed since it was handed out.
            lost = {key_id for key_id in asked if key_id not in self._by_id and self.get(key_id) is None}
            if not fresh:
                return lost
            try:
                with self._connection:
                    for key in fresh:
                        scope = key.scope
                        self._connection.execute(
                            "INSERT INTO data_keys VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                            (key.id, scope.subject_id, scope.role, scope.retention_class, self._wrap(key)),
                        )
                        if not self._connection.changes():
                            lost.add(key.id)
            except apsw.Error as error:
                raise StorageError(f"{self._path}: new keys could not be written ({error})") from error
            for key in fresh:
                del self._pending[key.id]
                if key.id in lost:
                    self._forget(key.id)
            return lost

    def get(self, key_id: KeyId) -> DataKey | None:
        """Return a key by its id, or None when it is not (or no longer) here."""
        with self._lock:
            key = self._by_id.get(key_id)
            if key is not None:
                self._by_id.move_to_end(key_id)
                return key
            rows = self._rows("SELECT * FROM data_keys WHERE key_id = ?", key_id)
            return self._unwrap_row(rows[0]) if rows else None

    def get_many(self, key_ids: Collection[KeyId]) -> dict[KeyId, DataKey]:
        """Return those of the keys that are here: the same as `get`, with one look-up for many."""
        with self._lock:
            found = {key_id: self._by_id[key_id] for key_id in key_ids if key_id in self._by_id}
            absent = [key_id for key_id in key_ids if key_id not in found]
            for start in range(0, len(absent), _KEYS_AT_ONCE):
                asked = absent[start : start + _KEYS_AT_ONCE]
                # Padded, so that the statement is always the same and prepared once.
                padded = asked + [asked[0]] * (_KEYS_AT_ONCE - len(asked))
                query = f"SELECT * FROM data_keys WHERE key_id IN ({', '.join('?' * _KEYS_AT_ONCE)})"
                for row in self._rows(query, *padded):
                    key = self._unwrap_row(row)
                    found[key.id] = key
            return found

    def of_subject(self, subject_id: SubjectId) -> list[DataKey]:
        """Return the durable keys of a subject, by retention class."""
        with self._lock:
            rows = self._rows("SELECT * FROM data_keys WHERE subject_id = ? ORDER BY retention_class, role", subject_id)
            return [self._unwrap_row(row) for row in rows]

    def destroy(self, key_ids: Sequence[KeyId]) -> None:
        """Delete keys so that no byte of them stays in the file or its WAL. Idempotent; durable when it returns."""
        with self._lock:
            try:
                with self._connection:
                    self._connection.executemany("DELETE FROM data_keys WHERE key_id = ?", [(k,) for k in key_ids])
                # secure_delete zeroes the pages; the old ones must leave the WAL too.
                truncate_wal(self._connection, self._path)
            except apsw.Error as error:
                raise StorageError(f"{self._path}: keys could not be destroyed ({error})") from error
            for key_id in key_ids:
                self._forget(key_id)

    def erasures_applied_to(self) -> int:
        """The size of the log up to which its key destructions are carried out here."""
        with self._lock:
            size: int = self._rows("SELECT applied_to FROM erasures")[0][0]
            return size

    def set_erasures_applied_to(self, size: int) -> None:
        with self._lock:
            try:
                self._connection.execute("UPDATE erasures SET applied_to = ?", (size,))
            except apsw.Error as error:
                raise StorageError(f"{self._path}: cannot be written ({error})") from error

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the store: damaged pages, keys that do not open under the key-encryption key."""
        connection = connect(self._path, application_id=KEYS_APPLICATION_ID, version=_VERSION)
        try:
            for page in damaged_pages(connection, self._path):
                yield f"{self._path.name}: page {page} does not match its checksum"
            for row in connection.execute("SELECT * FROM data_keys"):
                try:
                    self._unwrap(row)
                except Tampered as error:
                    yield f"{self._path.name}: {error.why}"
            yield from strange_objects(connection, self._path, [_SCHEMA])
        except apsw.Error as error:
            yield f"{self._path.name}: cannot be read ({error})"
        finally:
            connection.close()

    # --- other secrets ---------------------------------------------------------------------------------------

    def secret(self, name: str) -> bytes:
        """Return a 32-byte secret of this ledger by name, made when it is first asked for. Durable."""
        with self._lock:
            wrapped = self._find_secret(name)
            if wrapped is None:
                fresh = self._seal(self._random(KEY_BYTES), name)
                # Another process may have been first: then its secret stands.
                self._connection.execute("INSERT INTO secrets VALUES (?, ?) ON CONFLICT DO NOTHING", (name, fresh))
                wrapped = self._find_secret(name)
            assert wrapped is not None
            return self._open(wrapped, name)

    # --- inside ----------------------------------------------------------------------------------------------

    def _create(self) -> None:
        try:
            with self._connection:
                if not self._connection.execute("SELECT count(*) FROM sqlite_schema").get:
                    self._connection.execute(_SCHEMA)
                    self._connection.execute("INSERT INTO secrets VALUES ('kek', ?)", (self._seal(b"", "kek"),))
        except apsw.Error as error:
            raise StorageError(f"{self._path}: the key store could not be made ({error})") from error

    def _check_kek(self) -> None:
        wrapped = self._find_secret("kek")
        if wrapped is None:
            raise StorageError(f"{self._path}: holds no check value; it was never finished. Restore it from a backup")
        self._open(wrapped, "kek")

    def _find_secret(self, name: str) -> bytes | None:
        rows = self._rows("SELECT wrapped FROM secrets WHERE name = ?", name)
        return rows[0][0] if rows else None

    def _rows(self, sql: str, *parameters: str) -> list[Any]:
        with storage_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def _load_scope(self, scope: KeyScope) -> DataKey | None:
        query = "SELECT * FROM data_keys WHERE subject_id = ? AND role = ? AND retention_class = ?"
        rows = self._rows(query, scope.subject_id, scope.role, scope.retention_class)
        return self._unwrap_row(rows[0]) if rows else None

    def _unwrap(self, row: Any) -> DataKey:
        key_id = KeyId(row[0])
        try:
            scope = KeyScope(SubjectId(row[1]), SubjectRole(row[2]), RetentionClass(row[3]))
            return DataKey(key_id, scope, self._open(row[4], _wrap_name(key_id, scope)))
        except (StorageError, ValueError):
            # The key-encryption key was proven when the store was opened: it is the row that is not ours.
            raise Tampered("key store", f"key {key_id} does not open") from None

    def _unwrap_row(self, row: Any) -> DataKey:
        key = self._unwrap(row)
        self._remember(key)
        return key

    def _remember(self, key: DataKey) -> None:
        self._by_id[key.id] = key
        self._by_scope[key.scope] = key
        if len(self._by_id) > _CACHED_KEYS:
            oldest = next((k for k in self._by_id if k not in self._pending), None)
            if oldest is not None:
                self._forget(oldest)

    def forget(self, key_id: KeyId) -> None:
        """Drop a key from this process's memory; what the store holds stands."""
        with self._lock:
            self._forget(key_id)

    def _forget(self, key_id: KeyId) -> None:
        key = self._by_id.pop(key_id, None)
        self._pending.pop(key_id, None)
        if key is not None and self._by_scope.get(key.scope) is key:
            del self._by_scope[key.scope]

    def _wrap(self, key: DataKey) -> bytes:
        return self._seal(key.secret, _wrap_name(key.id, key.scope))

    def _seal(self, secret: bytes, name: str) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + self._kek.encrypt(nonce, secret, name.encode())

    def _open(self, wrapped: bytes, name: str) -> bytes:
        try:
            return self._kek.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise StorageError(
                f"{self._path}: this key-encryption key does not open it; give the one that `prooftrail init` made"
            ) from None


def _wrap_name(key_id: KeyId, scope: KeyScope) -> str:
    """Bind a wrapped key to its id and scope, so that wraps cannot be swapped between rows."""
    return f"{key_id}/{scope.subject_id}/{scope.role}/{scope.retention_class}"


def lost_keys(lost: set[KeyId]) -> Conflict:
    """The error for a command whose new key another process made first."""
    return Conflict(f"{len(lost)} new key(s) were made by another process first")
