"""The same ledger on PostgreSQL and on SQLite, side by side: copied, rebuilt, verified.

The server is a temporary one on this machine, with fsync on and without a standby; the ledger on it is a copy of the
one in the file, so that both sides do the same work. A ratio below 1 is what the server costs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from benchmarks import store
from benchmarks.result import Result, measured, rate
from benchmarks.rounds import alternate
from ledger import Ledger
from ledger.copy import Place
from ledger.storage.server import Server
from ledger.tlog.fsck import fsck
from projections import PROJECTIONS_FILE, Projections, open_projections
from projections.storage.postgres import PostgresStore
from tests.postgres.cluster import Cluster

T = TypeVar("T")


def rows(data: Path, *, rounds: int) -> list[Result]:
    """Measure on a closed ledger in files."""
    with Cluster(on_disk=True) as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.create().start()
        server = Server(dsn=cluster.dsn())
        there = Path(folder, "there")
        with store.reopen(data) as embedded:
            copied = _copied(embedded, Place(data=there, guard=there / "guard", server=server))
            with store.reopen(there, server) as served:
                return [copied, *_side_by_side(served, embedded, server, Path(folder), rounds)]


def _copied(embedded: Ledger, place: Place) -> Result:
    started = perf_counter()
    store.copy(embedded, place)
    seconds = perf_counter() - started
    size = embedded.size()
    return measured("copy-to-postgres", size / seconds, unit="events/s", note=f"{size:,} events, compared")


def _side_by_side(served: Ledger, embedded: Ledger, server: Server, folder: Path, rounds: int) -> list[Result]:
    size = served.size()
    note = f"{size:,} events; reference: the same on SQLite"
    with (
        open_projections(served, PostgresStore(server)) as ours,
        open_projections(embedded, folder / PROJECTIONS_FILE) as theirs,
    ):
        rebuilt = alternate(rounds, _timed(ours, Projections.rebuild), _timed(theirs, Projections.rebuild))
        compared = alternate(rounds, _timed(ours, _compare), _timed(theirs, _compare))
    verified = alternate(rounds, _timed(served, _fsck), _timed(embedded, _fsck))
    return [
        rate("rebuild-postgres", *rebuilt, unit="events/s", note=note),
        rate("rebuild-verify-postgres", *compared, unit="events/s", note=note),
        rate("verify-postgres", *verified, unit="events/s", note=note),
    ]


def _timed(subject: T, work: Callable[[T], int]) -> Callable[[], float]:
    def measure() -> float:
        started = perf_counter()
        size = work(subject)
        return size / (perf_counter() - started)

    return measure


def _compare(projections: Projections) -> int:
    found = projections.verify()
    assert found.count == 0
    return found.position


def _fsck(ledger: Ledger) -> int:
    report = fsck(ledger)
    assert report.ok
    assert report.missing == 0
    return report.entries
