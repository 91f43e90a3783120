"""The contract of a key store's storage: rows of wrapped keys and secrets. It knows no key-encryption key.

Every implementation passes the tests of tests/test_keys.py. One instance may be used by one thread at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

import msgspec


class WrappedKey(msgspec.Struct, frozen=True):
    """A data key as it lies in the store: what it is for in plain, the key itself wrapped."""

    key_id: str
    subject_id: str
    role: str
    retention_class: str
    wrapped: bytes


class KeyTable(ABC):
    """Keys and secrets of one ledger. What is written is durable on return, whole or not at all (StorageError)."""

    place: str
    """What to call the store in a message."""

    @abstractmethod
    def add(self, keys: Sequence[WrappedKey]) -> set[str]:
        """Insert keys; return the ids of those whose id or scope was there first, which were left out."""

    @abstractmethod
    def keys(self, key_ids: Collection[str]) -> list[WrappedKey]:
        """Return those of the keys that are here."""

    @abstractmethod
    def key_of(self, subject_id: str, role: str, retention_class: str) -> WrappedKey | None:
        """Return the key of a scope."""

    @abstractmethod
    def keys_of_subject(self, subject_id: str) -> list[WrappedKey]:
        """Return the keys of a subject, by retention class and role."""

    @abstractmethod
    def every_key(self) -> Iterator[WrappedKey]:
        """Yield every key, from a connection of its own."""

    @abstractmethod
    def delete(self, key_ids: Sequence[str]) -> None:
        """Delete keys, those that are here. What stays of their bytes, and for how long, each store says of itself."""

    @abstractmethod
    def secret(self, name: str) -> bytes | None:
        """Return a wrapped secret."""

    @abstractmethod
    def secrets(self) -> list[tuple[str, bytes]]:
        """Return the name of every secret and the secret, wrapped, by name."""

    @abstractmethod
    def add_secret(self, name: str, wrapped: bytes) -> None:
        """Insert a secret unless there is one of that name."""

    @abstractmethod
    def applied_to(self) -> int:
        """Return the size of the log up to which erasures are carried out here."""

    @abstractmethod
    def set_applied_to(self, size: int) -> None:
        """Note up to where they are."""

    @abstractmethod
    def damage(self) -> Iterator[str]:
        """Yield a description of what is not as it was stored."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""
