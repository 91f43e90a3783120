"""Data keys, one for each (subject, role, retention class), wrapped by a key-encryption key, in a store of their own.

Erasure destroys a data key; that reaches every copy of the sealed values, also those in backups of the ledger. So
the store has a short backup life of its own (docs/operations). Where its rows lie is behind `storage.key_table`. The
key-encryption key comes from a file (0600) or the environment and is never stored here; a check value tells a wrong one
at once.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import Conflict, StorageError, Tampered
from ledger.sealing import NONCE_BYTES, Random
from ledger.storage.key_table import KeyTable, WrappedKey
from ledger.vocabulary import KeyId, RetentionClass, SubjectId, SubjectRole, new_id

KEY_BYTES: Final = 32
_CACHED_KEYS: Final = 65_536
_KEYS_A_PAGE: Final = 1_000
_KEK_PREFIX: Final = "prooftrail-kek-v1:"

# The name of the empty secret that tells a wrong key-encryption key.
_CHECK: Final = "kek"


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

    def __init__(self, table: KeyTable, kek: bytes, *, create: bool = False, random: Random = os.urandom) -> None:
        self._table = table
        self._kek = AESGCM(kek)
        self._random = random
        self._lock = threading.RLock()
        self._by_id: OrderedDict[KeyId, DataKey] = OrderedDict()
        self._by_scope: dict[KeyScope, DataKey] = {}
        self._pending: dict[KeyId, DataKey] = {}
        try:
            if create and table.secret(_CHECK) is None:
                table.add_secret(_CHECK, self._seal(b"", _CHECK))
            self._check_kek()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._table.close()

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
            lost |= {KeyId(key_id) for key_id in self._table.add([self._wrap(key) for key in fresh])}
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
            rows = self._table.keys([key_id])
            return self._open_row(rows[0]) if rows else None

    def get_many(self, key_ids: Collection[KeyId]) -> dict[KeyId, DataKey]:
        """Return those of the keys that are here: the same as `get`, with one look-up for many."""
        with self._lock:
            found = {key_id: self._by_id[key_id] for key_id in key_ids if key_id in self._by_id}
            absent = [key_id for key_id in key_ids if key_id not in found]
            for row in self._table.keys(absent) if absent else ():
                key = self._open_row(row)
                found[key.id] = key
            return found

    def of_subject(self, subject_id: SubjectId) -> list[DataKey]:
        """Return the durable keys of a subject, by retention class."""
        with self._lock:
            return [self._open_row(row) for row in self._table.keys_of_subject(subject_id)]

    def destroy(self, key_ids: Sequence[KeyId]) -> None:
        """Delete keys for good, as their store does it. Idempotent; durable when it returns."""
        with self._lock:
            self._table.delete(key_ids)
            for key_id in key_ids:
                self._forget(key_id)

    def erasures_applied_to(self) -> int:
        """The size of the log up to which its key destructions are carried out here."""
        with self._lock:
            return self._table.applied_to()

    def set_erasures_applied_to(self, size: int) -> None:
        with self._lock:
            self._table.set_applied_to(size)

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the store, and which keys do not open under the key-encryption key."""
        yield from self._table.damage()
        try:
            for row in self._table.every_key():
                try:
                    self._unwrap(row)
                except Tampered as error:
                    yield f"{self._table.place}: {error.why}"
        except StorageError as error:
            yield str(error)

    # --- a copy of it ----------------------------------------------------------------------------------------

    def copy_to(self, table: KeyTable, progress: Callable[[int], None]) -> int:
        """Copy every key and secret, wrapped as they are, under the same key-encryption key; return how many keys.

        The check value goes last: a copy that was cut off opens nowhere, and is gone on with by copying again. Raises
        StorageError when the store that is copied to has other keys or secrets of its own.
        """
        other = f"{table.place}: holds other keys than those that are copied to it; name an empty place"
        # Destroyed here since an earlier copy, so also there.
        gone: list[str] = []
        for some in _pages(table.every_key()):
            with self._lock:
                here = {key.key_id for key in self._table.keys([key.key_id for key in some])}
            gone += [key.key_id for key in some if key.key_id not in here]
        if gone:
            table.delete(gone)
        copied = 0
        for some in _pages(self._table.every_key()):
            table.add(some)
            there = {key.key_id: key for key in table.keys([key.key_id for key in some])}
            if any(there.get(key.key_id) != key for key in some):
                raise StorageError(other)
            copied += len(some)
            progress(copied)
        for name, wrapped in sorted(self.wrapped_secrets(), key=lambda secret: secret[0] == _CHECK):
            table.add_secret(name, wrapped)
            if table.secret(name) != wrapped:
                raise StorageError(other)
        return copied

    def wrapped_secrets(self) -> list[tuple[str, bytes]]:
        """Return every secret by name, wrapped: what tells two key stores from each other."""
        with self._lock:
            return self._table.secrets()

    # --- other secrets ---------------------------------------------------------------------------------------

    def secret(self, name: str) -> bytes:
        """Return a 32-byte secret of this ledger by name, made when it is first asked for. Durable."""
        with self._lock:
            wrapped = self._table.secret(name)
            if wrapped is None:
                # Another process may have been first: then its secret stands.
                self._table.add_secret(name, self._seal(self._random(KEY_BYTES), name))
                wrapped = self._table.secret(name)
            assert wrapped is not None
            return self._open(wrapped, name)

    # --- inside ----------------------------------------------------------------------------------------------

    def _check_kek(self) -> None:
        wrapped = self._table.secret(_CHECK)
        if wrapped is None:
            raise StorageError(
                f"{self._table.place}: holds no check value; it was never finished. Restore it from a backup"
            )
        self._open(wrapped, _CHECK)

    def _load_scope(self, scope: KeyScope) -> DataKey | None:
        row = self._table.key_of(scope.subject_id, scope.role, scope.retention_class)
        return self._open_row(row) if row is not None else None

    def _unwrap(self, row: WrappedKey) -> DataKey:
        key_id = KeyId(row.key_id)
        try:
            scope = KeyScope(SubjectId(row.subject_id), SubjectRole(row.role), RetentionClass(row.retention_class))
            return DataKey(key_id, scope, self._open(row.wrapped, _wrap_name(key_id, scope)))
        except (StorageError, ValueError):
            # The key-encryption key was proven when the store was opened: it is the row that is not ours.
            raise Tampered("key store", f"key {key_id} does not open") from None

    def _open_row(self, row: WrappedKey) -> DataKey:
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

    def _wrap(self, key: DataKey) -> WrappedKey:
        scope = key.scope
        wrapped = self._seal(key.secret, _wrap_name(key.id, scope))
        return WrappedKey(key.id, scope.subject_id, scope.role, scope.retention_class, wrapped)

    def _seal(self, secret: bytes, name: str) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + self._kek.encrypt(nonce, secret, name.encode())

    def _open(self, wrapped: bytes, name: str) -> bytes:
        try:
            return self._kek.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise StorageError(
                f"{self._table.place}: this key-encryption key does not open it; "
                "give the one that `prooftrail init` made"
            ) from None


def _pages(keys: Iterator[WrappedKey]) -> Iterator[list[WrappedKey]]:
    while some := list(islice(keys, _KEYS_A_PAGE)):
        yield some


def _wrap_name(key_id: KeyId, scope: KeyScope) -> str:
    """Bind a wrapped key to its id and scope, so that wraps cannot be swapped between rows."""
    return f"{key_id}/{scope.subject_id}/{scope.role}/{scope.retention_class}"


def lost_keys(lost: set[KeyId]) -> Conflict:
    """The error for a command whose new key another process made first."""
    return Conflict(f"{len(lost)} new key(s) were made by another process first")
