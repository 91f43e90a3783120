"""What a witness must not forget: the checkpoint of each log that it cosigned last. A SQLite file of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from ledger.errors import StorageError
from ledger.storage.connect import connect, storage_errors

# "Prfw": see connect.
WITNESS_APPLICATION_ID: Final = 0x50726677
SCHEMA_VERSION: Final = 1

# Refused checkpoints that are kept for each log: evidence needs few, and whoever sends them could fill the disk.
MAX_REFUSED: Final = 100


class Cosigned(msgspec.Struct, frozen=True):
    """The checkpoint of a log that was cosigned last."""

    size: int
    root: bytes
    note: bytes


class WitnessStore:
    """The store at `path`. Safe for many threads; several processes take turns. Raises StorageError."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = connect(
            path, application_id=WITNESS_APPLICATION_ID, version=SCHEMA_VERSION, create=create, cache_kib=1_024
        )
        if create:
            with storage_errors(path), self._connection:
                for statement in _schema():
                    self._connection.execute(statement)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def replacing(self, origin: str) -> Iterator[Cosigned | None]:
        """Give what was cosigned last, with the sole right to replace it: durable when this is left without an error.

        An error undoes a replacement, and keeps what `keep_refused` was given.
        """
        with self._lock, storage_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._last(origin)
                self._connection.execute("COMMIT")
            except apsw.Error:
                raise
            except BaseException:
                self._connection.execute("COMMIT")
                raise
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def last(self, origin: str) -> Cosigned | None:
        """Return the checkpoint of a log that was cosigned last, if one was."""
        with self._lock, storage_errors(self._path):
            return self._last(origin)

    def replace(self, origin: str, size: int, root: bytes, note: bytes) -> None:
        """Replace what was cosigned last. Only inside `replacing`, as the last thing there."""
        with storage_errors(self._path):
            self._connection.execute("INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?, ?)", (origin, size, root, note))

    def keep_refused(self, origin: str, size: int, root: bytes, note: bytes) -> None:
        """Keep a checkpoint that is refused, unless there are many of this log. Only inside `replacing`."""
        with storage_errors(self._path):
            count = self._connection.execute("SELECT count(*) FROM refused WHERE origin = ?", (origin,)).get
            if count < MAX_REFUSED:
                self._connection.execute(
                    "INSERT OR IGNORE INTO refused VALUES (?, ?, ?, ?)", (origin, size, root, note)
                )

    def refused(self) -> Sequence[tuple[str, int, bytes]]:
        """Return (origin, size, signed note) of every checkpoint that was refused though its log signed it."""
        with self._lock, storage_errors(self._path):
            rows: list[Any] = self._connection.execute(
                "SELECT origin, size, note FROM refused ORDER BY origin, size"
            ).fetchall()
        return rows

    def _last(self, origin: str) -> Cosigned | None:
        row = self._connection.execute("SELECT size, root, note FROM cosigned WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else Cosigned(*row)


def _schema() -> list[str]:
    files = resources.files("ledger.storage").joinpath("sql", "witness").iterdir()
    return [file.read_text() for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".sql")]


def create_store(path: Path) -> None:
    """Make the store of a new witness. Raises StorageError when there is one: its promise would be forgotten."""
    if path.exists():
        raise StorageError(f"{path}: is there already; a witness keeps its store for ever")
    WitnessStore(path, create=True).close()
