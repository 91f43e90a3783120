"""The cosignatures that a ledger has collected: a SQLite file of its own beside the ledger's.

Apart from the database of the log, because collecting must never wait for the writer nor the writer for it. What is in
it is evidence of the past that no witness gives twice, and nothing that the ledger needs to go on: without it brackets
of time are lost, and no proof.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.storage.connect import connect, storage_errors

# "Prfc": see connect.
COSIGNATURES_APPLICATION_ID: Final = 0x50726663
SCHEMA_VERSION: Final = 1


class StoredCosignature(msgspec.Struct, frozen=True):
    """The line that a witness (its key, as text) gave at `time_s` for the checkpoint of `size` entries."""

    size: int
    witness: str
    time_s: int
    line: str


class CosignatureStore:
    """The store at `path`, made when it is absent. Safe for many threads; several processes may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = connect(
            path, application_id=COSIGNATURES_APPLICATION_ID, version=SCHEMA_VERSION, create=True, cache_kib=1_024
        )
        with storage_errors(path):
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._connection.execute("SELECT count(*) FROM sqlite_schema").get:
                for statement in _schema():
                    self._connection.execute(statement)
            self._connection.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def add(self, found: StoredCosignature) -> None:
        """Keep a cosignature: durable when it returns. The first one of a witness for a checkpoint stays."""
        self._run(
            "INSERT OR IGNORE INTO cosignatures VALUES (?, ?, ?, ?)",
            found.size, found.witness, found.time_s, found.line,
        )  # fmt: skip

    def of(self, size: int) -> list[StoredCosignature]:
        """Return the cosignatures of the checkpoint of `size` entries, by witness."""
        rows = self._run("SELECT * FROM cosignatures WHERE size = ? ORDER BY witness", size)
        return [StoredCosignature(*row) for row in rows]

    def last(self, witness: str) -> StoredCosignature | None:
        """Return what a witness cosigned last."""
        rows = self._run("SELECT * FROM cosignatures WHERE witness = ? ORDER BY size DESC LIMIT 1", witness)
        return StoredCosignature(*rows[0]) if rows else None

    def sizes(self, *, above: int = -1, up_to: int | None = None, newest: bool = False, limit: int = 1) -> list[int]:
        """Return sizes of cosigned checkpoints, `above` < size ≤ `up_to`, the smallest or the largest first."""
        order = "DESC" if newest else "ASC"
        query = f"SELECT DISTINCT size FROM cosignatures WHERE size > ? AND size <= ? ORDER BY size {order} LIMIT ?"
        return [row[0] for row in self._run(query, above, 2**63 - 1 if up_to is None else up_to, limit)]

    def _run(self, sql: str, *parameters: Any) -> Sequence[Any]:
        with self._lock, storage_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()


def _schema() -> list[str]:
    files = resources.files("ledger.storage").joinpath("sql", "cosignatures").iterdir()
    return [file.read_text() for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".sql")]
