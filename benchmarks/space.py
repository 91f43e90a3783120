"""What one event takes on disk: the ledger's database, its log moved into it, divided by the events."""

from __future__ import annotations

from pathlib import Path

from benchmarks import store
from benchmarks.result import Result, measured
from ledger.opening import KEYS_FILE
from ledger.storage.connect import LEDGER_APPLICATION_ID, connect
from ledger.storage.sqlite import SCHEMA_VERSION


def rows(data: Path) -> list[Result]:
    """Measure a closed ledger."""
    connection = connect(store.database(data), application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    events: int = connection.execute("SELECT count(*) FROM events").get
    entries: int = connection.execute("SELECT sum(length(entry)) FROM events").get
    connection.close()
    size, keys = store.database(data).stat().st_size, (data / KEYS_FILE).stat().st_size
    note = f"of it {entries / events:,.0f} the entry; keys besides: {keys / events:,.0f}"
    return [measured("bytes-per-event", size / events, unit="bytes", note=note)]
