"""The tag index: whether it keeps up with appends, what it costs them, and proofs of completeness.

Updates: the tags of events that were just recorded are counted, hashed and committed. On against off: the same appends
by 32 threads, with all that the index costs them (counting, hashing, committing) done at the end and put on their time,
where a ledger in use does it beside them: so the ratio is a lower bound. Proofs: of orders chosen at random, the index
committed before; verified by `TagProof.verify` (the `cryptography` library) and as a whole package by verify.py
(Ed25519 in plain Python).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Final, TypeVar

import msgspec

from benchmarks.append import Appends
from benchmarks.history import People, recorded_orders
from benchmarks.result import Result, measured, rate
from benchmarks.rounds import Clock, alternate
from ledger import Ledger
from ledger.entry import parse
from ledger.indexing import STEP_ENTRIES, STEP_MARKS
from ledger.storage.engine import AuditRow
from ledger.storage.sqlite import index_schema
from ledger.storage.sqlite_tags import scratch_index
from ledger.tlog import tag_map
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.tag_proof import TagProof
from ledger.vocabulary import Tag
from projections.evidence import verify
from projections.evidence.collect import collect_tag
from projections.evidence.package import PackageContents, build_package

CALLERS: Final = 32
# What a commitment covers here; at the default pace of a minute it is far more, and cheaper for each.
ROUND_EVENTS: Final = 4_800
APPENDS_MARK: Final = 0.8
BUILD_MS: Final = 50
VERIFY_MS: Final = 5
PLAIN_VERIFY_MS: Final = 200
PROOF_BYTES: Final = 2_048

T = TypeVar("T")


def updates(ledger: Ledger, *, events: int, rounds: int) -> list[Result]:
    """Measure on a ledger that is appended to; its index may be far behind."""
    appends = Appends(ledger, People(events))
    # The ledger may have been indexed already: one event more, and everything is counted anew.
    appends.in_threads(1, 1)
    size, clock = ledger.size(), Clock()
    first = ledger.index.rebuild()
    whole = clock.read()
    note = f"{first.tags:,} tags of {size:,} entries, counted from the first one on"
    results = [measured("index-from-nothing", size / whole.seconds, unit="events/s", note=note)]
    rates: list[float] = []
    cpu: list[float] = []

    def off() -> float:
        return ROUND_EVENTS / appends.in_threads(CALLERS, ROUND_EVENTS).seconds

    def on() -> float:
        spent = appends.in_threads(CALLERS, ROUND_EVENTS)
        links = _links(ledger, ledger.size() - ROUND_EVENTS)
        clock = Clock()
        ledger.commit_index()
        indexing = clock.read()
        rates.append(links / indexing.seconds)
        cpu.append(indexing.processor_s / ROUND_EVENTS)
        return ROUND_EVENTS / (spent.seconds + indexing.seconds)

    def off_and_settled() -> float:
        found = off()
        # What was recorded here is not the other side's to index.
        ledger.commit_index()
        return found

    alternate(1, on, off_and_settled)
    with_index, without = alternate(rounds, on, off_and_settled)
    note = f"index: {1e6 * statistics.median(cpu):,.0f} us of processor an event"
    results.append(measured("index-updates", statistics.median(rates), unit="tags/s", note=note))
    results.append(rate("append-32-indexed", with_index, without, unit="events/s", mark=APPENDS_MARK))
    return results


def tag_updates(*, tags: int, batches: int) -> list[Result]:
    """Measure the index alone, in a scratch file of so many tags: three tags an event, a fifth of them new."""
    drawn = random.Random(3)
    counts: list[int] = []
    index, size = scratch_index(index_schema()), 0

    def events(count: int, new: float) -> list[AuditRow]:
        rows = []
        for number in range(size, size + count):
            chosen = set()
            for _ in range(3):
                if drawn.random() < new or not counts:
                    counts.append(0)
                    chosen.add(len(counts) - 1)
                else:
                    chosen.add(drawn.randrange(len(counts)))
            links = []
            for tag in sorted(chosen):
                counts[tag] += 1
                links.append([f"tag:{tag}", counts[tag], None])
            entry = msgspec.json.encode({"data": "." * 600, "tags": links})
            rows.append(AuditRow(number, "t", entry, leaf_hash(entry)))
        return rows

    def take(rows: list[AuditRow]) -> None:
        for start in range(0, len(rows), STEP_ENTRIES):
            state = index.state()
            assert index.write(tag_map.count(index, state, rows[start : start + STEP_ENTRIES], "bench"), state)
        while marks := index.marks(STEP_MARKS):
            state = index.state()
            assert index.write(tag_map.settle(index, state, marks), state)

    while len(counts) < tags:
        rows = events(50_000, 1.0)
        size += len(rows)
        take(rows)
    results = []
    for count in (2_000, 50_000):
        rates = []
        for _ in range(batches):
            rows = events(count, 0.2)
            size += count
            clock = Clock()
            take(rows)
            rates.append(3 * count / clock.read().seconds)
        note = f"{len(counts):,} tags, {count:,} events a commitment"
        results.append(measured(f"index-alone-{count}", statistics.median(rates), unit="tags/s", note=note))
    return results


def _links(ledger: Ledger, first: int) -> int:
    return sum(len(parse(stored.entry).tags) for stored in ledger.engine.entries(first))


def proofs(ledger: Ledger, *, count: int) -> list[Result]:
    """Measure on so many orders of an open ledger."""
    ledger.commit_index()
    key = verify.parse_key(str(ledger.verifier))
    times: dict[str, list[float]] = {"build": [], "verify": [], "plain-verify": []}

    def timed(what: str, work: Callable[[], T]) -> T:
        started = perf_counter()
        result = work()
        times[what].append(perf_counter() - started)
        return result

    sizes: list[int] = []
    for entry in recorded_orders(ledger, count):
        tag = Tag(next(tag for tag in entry.tag_names if tag.startswith("order:")))
        proof: TagProof = timed("build", partial(ledger.prove_tag, tag))
        assert timed("verify", partial(proof.verify, ledger.verifier, ledger.origin)).count == len(proof.entries) > 0
        sizes.append(proof.size_bytes())
        contents: PackageContents = collect_tag(ledger, tag, kind="order")
        package = build_package(contents, key=str(ledger.verifier))
        assert timed("plain-verify", partial(verify.verify_package, package, key)).proven
    marks = {"build": BUILD_MS, "verify": VERIFY_MS, "plain-verify": PLAIN_VERIFY_MS}
    results: list[Result] = []
    for what, seconds in times.items():
        p50, p99 = _percentiles(seconds)
        rates = f"{1 / statistics.fmean(seconds):,.0f}/s"
        results.append(measured(f"completeness-{what}-p50", p50 * 1_000, unit="ms", note=rates))
        results.append(measured(f"completeness-{what}-p99", p99 * 1_000, unit="ms", at_most=marks[what]))
    note = f"median {statistics.median(sizes):,.0f}"
    results.append(measured("completeness-bytes-most", max(sizes), unit="bytes", at_most=PROOF_BYTES, note=note))
    return results


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    found = statistics.quantiles(seconds, n=100, method="inclusive")
    return found[49], found[98]
