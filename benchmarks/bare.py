"""The reference for writing: APSW and nothing else, inserting rows that are ready before the clock starts.

It starts from a copy of the ledger's own file, so that both have the same tables, indexes and trees, without the
triggers. The copy is opened plain: no page checksums, no secure_delete, no foreign keys. WAL, synchronous=FULL, the
cache and the checkpoint interval are those of the ledger.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import apsw

from benchmarks.rounds import Clock, Spent
from ledger.entry import parse
from ledger.storage.connect import LEDGER_APPLICATION_ID, connect
from ledger.storage.sqlite import SCHEMA_VERSION, WRITER_CACHE_KIB
from ledger.tlog.tiles import TILE_WIDTH

BATCH: Final = 32

# Loading the checksums makes them the default of the process: the plain file system is asked for by name.
_PLAIN_VFS: Final = "unix"

_INSERTS: Final = {
    "events": "INSERT INTO events VALUES (?, ?, ?, ?)",
    "event_tags": "INSERT INTO event_tags VALUES (?, ?, ?, ?)",
    "sealed": "INSERT INTO sealed VALUES (?, ?, ?)",
    "tiles": "INSERT INTO tiles VALUES (?, ?, ?)",
    "checkpoints": "INSERT INTO checkpoints VALUES (?, ?)",
}

Rows = dict[str, list[tuple[Any, ...]]]
"""The rows of one transaction, by table."""


def rows_of(ledger_file: Path, first: int, end: int) -> list[Rows]:
    """Return all rows that the events `first` ≤ index < `end` left, in transactions of BATCH events."""
    connection = _ours(ledger_file)

    def read(sql: str, *parameters: int) -> list[Any]:
        return connection.execute(sql, parameters).fetchall()

    transactions: list[Rows] = []
    for start in range(first, end, BATCH):
        between = (start, min(start + BATCH, end))
        events = read("SELECT * FROM events WHERE idx >= ? AND idx < ?", *between)
        tags = [(link.tag, idx, link.n, type) for idx, type, entry, _ in events for link in parse(entry).tags]
        sealed = read("SELECT * FROM sealed WHERE idx >= ? AND idx < ?", *between)
        checkpoints = read("SELECT * FROM checkpoints WHERE size > ? AND size <= ?", *between)
        transactions.append(
            {"events": events, "event_tags": tags, "sealed": sealed, "tiles": [], "checkpoints": checkpoints}
        )
    for tile in read("SELECT * FROM tiles"):
        last = (tile[1] + 1) * TILE_WIDTH ** (tile[0] + 1) - 1
        if first <= last < end:
            transactions[(last - first) // BATCH]["tiles"].append(tile)
    connection.close()
    return transactions


class Bare:
    """A plain copy of a ledger's database. The ledger must be idle while it is copied."""

    def __init__(self, ledger_file: Path, path: Path) -> None:
        source = _ours(ledger_file, read_only=False)
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        shutil.copyfile(ledger_file, path)
        source.close()
        self._connection = apsw.Connection(str(path), vfs=_PLAIN_VFS)
        execute = self._connection.execute
        for (trigger,) in execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            execute(f"DROP TRIGGER {trigger}")
        execute(
            f"PRAGMA synchronous = FULL; PRAGMA cache_size = -{WRITER_CACHE_KIB}; PRAGMA temp_store = MEMORY;"
            f"PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 33554432"
        )
        assert self._connection.pragma("journal_mode") == "wal"
        assert self._connection.pragma("synchronous") == 2

    def insert(self, transactions: list[Rows]) -> Spent:
        """Insert the rows, each transaction durable before the next one; return what it took."""
        before = self.size()
        execute, executemany = self._connection.execute, self._connection.executemany
        clock = Clock()
        for rows in transactions:
            execute("BEGIN IMMEDIATE")
            for table, insert in _INSERTS.items():
                executemany(insert, rows[table])
            execute("COMMIT")
        spent = clock.read()
        assert self.size() - before == sum(len(rows["events"]) for rows in transactions)
        return spent

    def size(self) -> int:
        """Return the number of events."""
        return int(self._connection.execute("SELECT max(idx) FROM events").get) + 1

    def close(self) -> None:
        self._connection.close()


def _ours(ledger_file: Path, *, read_only: bool = True) -> apsw.Connection:
    return connect(ledger_file, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION, read_only=read_only)
