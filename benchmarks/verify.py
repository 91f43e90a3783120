"""Verifying a whole ledger (`fsck`), against SHA-256 over the same entries and nothing else.

The reference has the entries in memory, page by page, and only its hashing is timed: it says how far verification is
from the least that it could cost.
"""

from __future__ import annotations

import hashlib
from time import perf_counter

from benchmarks.result import Result, rate
from benchmarks.rounds import alternate
from ledger import Ledger
from ledger.tlog.fsck import fsck


def rows(ledger: Ledger, *, rounds: int) -> list[Result]:
    """Measure on an open ledger."""
    size = ledger.size()

    def ours() -> float:
        started = perf_counter()
        report = fsck(ledger)
        seconds = perf_counter() - started
        assert report.ok
        assert (report.entries, report.missing) == (size, 0)
        assert report.present
        return size / seconds

    def reference() -> float:
        seconds, hashed = 0.0, 0
        for stored in ledger.engine.entries():
            started = perf_counter()
            hashlib.sha256(stored.entry).digest()
            seconds += perf_counter() - started
            hashed += 1
        assert hashed == size
        return size / seconds

    verified, hashed = alternate(rounds, ours, reference)
    return [rate("verify", verified, hashed, unit="events/s", note="reference: SHA-256 of the same entries")]
