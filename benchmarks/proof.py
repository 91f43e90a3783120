"""One order's evidence: how long collecting, packaging and verifying take, the median and the 99th percentile.

A package is verified twice: its receipts by `LogProof.verify` (the `cryptography` library), and whole by the verify.py
that is in it (Ed25519 in plain Python). Building includes verifying as a stranger would: nothing unproven goes out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

from benchmarks.history import recorded_orders
from benchmarks.result import Result, measured
from ledger import Ledger
from ledger.tlog.proof import LogProof
from ledger.vocabulary import OrderId
from projections.evidence import verify
from projections.evidence.collect import collect_order
from projections.evidence.package import PackageContents, build_package

T = TypeVar("T")


def rows(ledger: Ledger, *, count: int) -> list[Result]:
    """Measure on so many orders of an open ledger."""
    key = verify.parse_key(str(ledger.verifier))
    times: dict[str, list[float]] = {"collect": [], "build": [], "receipts": [], "verify": []}

    def timed(what: str, work: Callable[[], T]) -> T:
        started = perf_counter()
        result = work()
        times[what].append(perf_counter() - started)
        return result

    for entry in recorded_orders(ledger, count):
        order_id = OrderId(next(tag for tag in entry.tag_names if tag.startswith("order:")).removeprefix("order:"))
        contents = timed("collect", partial(collect_order, ledger, order_id))
        package = timed("build", partial(build_package, contents, key=str(ledger.verifier)))
        timed("receipts", partial(_check_receipts, ledger, contents))
        report = timed("verify", partial(verify.verify_package, package, key))
        assert report.proven
        assert report.files
    results: list[Result] = []
    for what, seconds in times.items():
        percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
        results += [measured(f"proof-{what}-p{p}", percentiles[p - 1] * 1_000, unit="ms") for p in (50, 99)]
    return results


def _check_receipts(ledger: Ledger, contents: PackageContents) -> None:
    for packaged in contents.entries:
        LogProof.parse(packaged.proof).verify(packaged.entry, ledger.verifier, ledger.origin)
