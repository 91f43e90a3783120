"""The whole write path, `ledger.record(command)`, against the appends alone on the same ledger.

Half of the commands collect data, half give a consent, of registered subjects. Beyond an append each checks its
command, reads and folds its boundary, decides and encodes a receipt. `arecord` does the same for the tasks of an event
loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from time import perf_counter

from benchmarks import store
from benchmarks.append import Appends
from benchmarks.history import People, collect, consent
from benchmarks.result import Result, rate
from benchmarks.rounds import alternate, dealt, in_threads
from ledger import Ledger, Receipt
from ledger.command import Command
from ledger.vocabulary import ConsentId, new_id

CALLERS = 32
TASKS = 128
COUNT = 1_280


class Records:
    """Records commands to one ledger, of subjects chosen at random."""

    def __init__(self, ledger: Ledger, people: People) -> None:
        self._ledger = ledger
        self._people = people
        self._random = random.Random(3)

    def commands(self, count: int) -> list[Command]:
        """Return so many commands, of two kinds in turn."""
        commands: list[Command] = []
        for number in range(count):
            subject_id = self._random.choice(self._people.subjects)
            if number % 2:
                commands.append(collect(subject_id, subject_id))
            else:
                commands.append(consent(subject_id, ConsentId(new_id()), self._random.choice(self._people.recipients)))
        return commands

    def in_threads(self, callers: int, count: int) -> float:
        """Record so many commands from so many threads; return the seconds."""
        shares = dealt(self.commands(count), callers)
        before = self._ledger.size()
        seconds = in_threads(self._record_all, shares).seconds
        assert self._ledger.size() == before + count
        return seconds

    def in_tasks(self, callers: int, count: int) -> float:
        """The same by so many tasks of one event loop."""
        shares = dealt(self.commands(count), callers)
        before = self._ledger.size()
        seconds = asyncio.run(self._record_in_tasks(shares))
        assert self._ledger.size() == before + count
        return seconds

    def _record_all(self, share: Sequence[Command]) -> None:
        for command in share:
            receipt = self._ledger.record(command, store.ACTOR)
        self._check(receipt)

    async def _record_in_tasks(self, shares: Sequence[Sequence[Command]]) -> float:
        async def record_all(share: Sequence[Command]) -> Receipt:
            for command in share:
                receipt = await self._ledger.arecord(command, store.ACTOR)
            return receipt

        started = perf_counter()
        receipts = await asyncio.gather(*map(record_all, shares))
        seconds = perf_counter() - started
        self._check(receipts[-1])
        return seconds

    def _check(self, receipt: Receipt) -> None:
        assert receipt.verify(self._ledger.verifier, self._ledger.origin).size >= receipt.position


def rows(ledger: Ledger, *, name: str, events: int, rounds: int) -> list[Result]:
    """Measure on an open ledger; return the rows of threads and of tasks."""
    people = People(events)
    appends, records = Appends(ledger, people), Records(ledger, people)

    def append() -> float:
        return COUNT / appends.in_threads(CALLERS, COUNT).seconds

    def record() -> float:
        return COUNT / records.in_threads(CALLERS, COUNT)

    def arecord() -> float:
        return COUNT / records.in_tasks(TASKS, COUNT)

    alternate(1, append, record, arecord)
    reference, threads, tasks = alternate(rounds, append, record, arecord)
    note = f"{CALLERS} threads; reference: appends by as many"
    return [
        rate(name, threads, reference, unit="events/s", mark=0.3, note=note),
        rate(f"{name}-asyncio".replace("32", str(TASKS)), tasks, reference, unit="events/s", note=f"{TASKS} tasks"),
    ]
