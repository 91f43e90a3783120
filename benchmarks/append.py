"""Durable appends of one event, by many callers at once, against bare APSW inserting the same rows.

Ours: each caller seals a decided fact (two personal fields, three tags), submits it with a condition and waits until
it is durable: encoding, commitment, encryption, condition, counters, hashes, tree, signature, guard, fsync. The
boundary is not read and nothing is decided. Callers are tasks of one event loop or threads; the mark is on both.
Reference: one thread inserts the rows that ours left behind (`bare`), ready made, 32 events a transaction, whatever the
number of our callers. Keys of new people are in a file of their own, which the reference does not write.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import store
from benchmarks.bare import Bare, rows_of
from benchmarks.history import People, collect, decided, registration
from benchmarks.result import Result, rate
from benchmarks.rounds import Clock, Spent, alternate, dealt, in_threads
from ledger import Ledger
from ledger.append import Append, Committed, Outcome
from ledger.command import Fact
from ledger.entry import parse
from ledger.errors import Conflict
from ledger.events import SubjectRegistered
from ledger.storage.engine import QueryItem
from ledger.vocabulary import SubjectId, subject_tag

# (callers, threads or tasks, events a round, mark)
_ROWS: Final[tuple[tuple[int, str, int, float | None], ...]] = (
    (32, "tasks", 1_600, 0.5),
    (32, "threads", 1_600, 0.5),
    (128, "tasks", 1_920, None),
    (1, "threads", 160, None),
)

Work = tuple[SubjectId, Fact]


class Appends:
    """Appends to one ledger, on subjects chosen at random."""

    def __init__(self, ledger: Ledger, people: People, *, alone: bool = True) -> None:
        self._ledger = ledger
        self._people = people
        # Others who append meanwhile have people of their own choice.
        self._random = random.Random(2 if alone else os.getpid())
        self._alone = alone

    def work(self, count: int) -> list[Work]:
        """Return so many decided facts."""
        chosen = [self._random.choice(self._people.subjects) for _ in range(count)]
        return [(s, decided(self._ledger, collect(s, s), registration(s), self._people.firm)[0]) for s in chosen]

    def in_threads(self, callers: int, count: int) -> Spent:
        """Append so many events from so many threads; return what it took."""
        shares = dealt(self.work(count), callers)
        before = self._ledger.size()
        spent = in_threads(self._append_all, shares)
        self._check(before, count)
        return spent

    def in_tasks(self, callers: int, count: int) -> Spent:
        """The same by so many tasks of one event loop."""
        shares = dealt(self.work(count), callers)
        before = self._ledger.size()
        spent = asyncio.run(self._append_in_tasks(shares))
        self._check(before, count)
        return spent

    def _append_all(self, share: Sequence[Work]) -> None:
        known = self._ledger.size()
        for subject_id, fact in share:
            outcome = self._append(subject_id, fact, known)
            assert isinstance(outcome, Committed)
            known = outcome.first + 1

    def _append(self, subject_id: SubjectId, fact: Fact, known: int) -> Outcome:
        while True:
            try:
                return self._ledger.append(self._prepare(subject_id, fact, known))
            except Conflict:
                # Two processes made a key for the same person.
                if self._alone:
                    raise
                known = self._ledger.size()

    def _prepare(self, subject_id: SubjectId, fact: Fact, known: int) -> Append:
        query = (QueryItem((SubjectRegistered.TOPIC,), (subject_tag(subject_id),)),)
        return self._ledger.seal([fact], query, known)

    async def _append_in_tasks(self, shares: Sequence[Sequence[Work]]) -> Spent:
        clock = Clock()

        async def append_all(share: Sequence[Work]) -> None:
            known = self._ledger.size()
            for subject_id, fact in share:
                outcome = await self._ledger.aappend(self._prepare(subject_id, fact, known))
                assert isinstance(outcome, Committed)
                known = outcome.first + 1

        await asyncio.gather(*map(append_all, shares))
        return clock.read()

    def _check(self, before: int, count: int) -> None:
        """All of it is there, and the last event proves itself and opens."""
        assert self._ledger.size() == before + count or not self._alone
        checkpoint = self._ledger.receipt(before + count - 1, 1).verify(self._ledger.verifier, self._ledger.origin)
        assert checkpoint.size >= before + count
        entry = parse(self._ledger.entry(before + count - 1))
        assert len(entry.tags) == 3
        assert len(self._ledger.open_fields(self._ledger.entry(before + count - 1)).fields) == 2


class _Duel:
    """Our appends, and the same rows again in the bare copy, with the processor time of both."""

    def __init__(self, ledger: Ledger, path: Path, bare: Bare) -> None:
        self._ledger, self._path, self._bare = ledger, path, bare
        self._ours_cpu: list[float] = []
        self._bare_cpu: list[float] = []

    def row(self, name: str, pace: Callable[[], Spent], count: int, rounds: int, mark: float | None) -> Result:
        def ours() -> float:
            spent = pace()
            self._ours_cpu.append(spent.processor_s / count)
            return count / spent.seconds

        def reference() -> float:
            spent = self._bare.insert(rows_of(self._path, self._bare.size(), self._ledger.size()))
            self._bare_cpu.append(spent.processor_s / count)
            return count / spent.seconds

        # The first round fills caches on both sides.
        alternate(1, ours, reference)
        first, second = alternate(rounds, ours, reference)
        note = f"processor: {1e6 * median(self._ours_cpu):,.0f} against {1e6 * median(self._bare_cpu):,.0f} us an event"
        return rate(name, first, second, unit="events/s", mark=mark, note=note)


def rows(ledger: Ledger, data: Path, *, name: str, events: int, rounds: int) -> list[Result]:
    """Measure on an open ledger and on a plain copy of it; return a row for each number of callers."""
    appends = Appends(ledger, People(events))
    path = store.database(data)
    bare = Bare(path, path.with_name("bare.db"))
    results: list[Result] = []
    try:
        for callers, kind, count, mark in _ROWS:
            pace = appends.in_tasks if kind == "tasks" else appends.in_threads
            label = name.replace("32", str(callers)) + ("-asyncio" if kind == "tasks" else "")
            duel = _Duel(ledger, path, bare)
            results.append(duel.row(label, partial(pace, callers, count), count, rounds, mark))
    finally:
        bare.close()
    return results
