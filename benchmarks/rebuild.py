"""Rebuilding every projection, against the `ProjectionRunner` of `eventsourcing` at the same work (`library`).

Ours rebuilds the whole ledger. The library's recorder in memory looks at every event for each page that it reads, so
its time grows with the square of their number: it gets the first few thousand, which is to its advantage. Both sides
are checked to have the same rows for those.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from benchmarks import library
from benchmarks.result import Result, rate
from benchmarks.rounds import Clock, alternate
from ledger import Ledger
from projections import PROJECTIONS_FILE, open_projections
from projections.consents import Consents
from projections.disclosures import Disclosures
from projections.marketing import Marketing
from projections.order_trail import OrderTrails
from projections.personal_data import PersonalData
from projections.recipients import Recipients
from projections.sources import Sources
from projections.storage.sqlite import SqliteStore
from projections.storage.store import Store


def rows(ledger: Ledger, *, reference_events: int, rounds: int) -> list[Result]:
    """Measure on an open ledger."""
    size = ledger.size()
    ours_us: list[float] = []
    library_us: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PROJECTIONS_FILE)
        store = SqliteStore(path)
        same = (
            PersonalData(ledger, store),
            Consents(store),
            Disclosures(ledger, store),
            OrderTrails(ledger, store),
            Recipients(ledger, store),
            Marketing(ledger, store),
            Sources(store),
        )

        def reference() -> float:
            spent, counts = library.rebuild(ledger, same, reference_events)
            assert counts == _rows_of_first(store, reference_events)
            library_us.append(1e6 * spent.processor_s / reference_events)
            return reference_events / spent.seconds

        with open_projections(ledger, path) as projections:

            def ours() -> float:
                clock = Clock()
                position = projections.rebuild()
                spent = clock.read()
                assert position == size
                assert not projections.status().quarantined
                ours_us.append(1e6 * spent.processor_s / size)
                return size / spent.seconds

            rebuilt, library_s = alternate(rounds, ours, reference)
        store.close()
    note = (
        f"{size:,} events; reference: eventsourcing's ProjectionRunner, {reference_events:,} events in memory; "
        f"processor: {median(ours_us):,.0f} against {median(library_us):,.0f} us an event"
    )
    return [rate("rebuild", rebuilt, library_s, unit="events/s", mark=10, note=note)]


def _rows_of_first(store: Store, events: int) -> dict[str, int]:
    with store.read() as read:
        return {table: read(f"SELECT count(*) FROM {table} WHERE idx < ?", events)[0][0] for table in library.TABLES}
