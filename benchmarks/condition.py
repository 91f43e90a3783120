"""A condition of three tags, one of which stands on every event, against one of three selective tags.

Both name an order and its subject; the third tag is that of the firm, which is on every event, or that of the order's
key. The position is 0, so that all that ever carried the tags counts, and the type is one that these orders never
have: the condition holds, and the engine has to make sure of it. Measured in `transaction.failed` alone, and in whole
appends by 32 threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Final

import msgspec

from benchmarks.history import People, collect, decided, recorded_orders, registration
from benchmarks.result import Result, rate
from benchmarks.rounds import alternate, dealt, in_threads
from ledger import Ledger
from ledger.append import Append, Committed
from ledger.entry import Entry
from ledger.events import ConsentWithdrawn
from ledger.storage.engine import Condition, QueryItem
from ledger.vocabulary import SubjectId, Tag, client_tag

CALLERS: Final = 32
COUNT: Final = 960


class Conditions:
    """Conditions on the orders of a ledger."""

    def __init__(self, ledger: Ledger, people: People) -> None:
        self._ledger = ledger
        self._people = people
        self._orders = recorded_orders(ledger, COUNT)
        self._count = len(self._orders)
        assert self._count

    def decide(self, *, common: bool) -> float:
        """Return how many conditions a second `transaction.failed` decides."""
        conditions = self._conditions(common=common)
        with self._ledger.engine.begin() as transaction:
            started = perf_counter()
            failed = transaction.failed(conditions)
            seconds = perf_counter() - started
            # The same condition one step wider fails: there was something to find.
            wider = [Condition((msgspec.structs.replace(c.query[0], types=()),), 0) for c in conditions[:10]]
            assert all(transaction.failed(wider))
        assert failed == [False] * self._count
        return self._count / seconds

    def append(self, *, common: bool) -> float:
        """Return how many appends a second are recorded under these conditions."""
        appends = [
            msgspec.structs.replace(self._append(entry), condition=condition)
            for entry, condition in zip(self._orders, self._conditions(common=common), strict=True)
        ]
        before = self._ledger.size()
        seconds = in_threads(self._append_all, dealt(appends, CALLERS)).seconds
        assert self._ledger.size() == before + self._count
        return self._count / seconds

    def _append_all(self, share: Sequence[Append]) -> None:
        for append in share:
            assert isinstance(self._ledger.append(append), Committed)

    def _append(self, order: Entry) -> Append:
        subject_id = SubjectId(_tag(order, "subject:").removeprefix("subject:"))
        facts = decided(self._ledger, collect(subject_id, subject_id), registration(subject_id), self._people.firm)
        return self._ledger.seal(facts, (), 0)

    def _conditions(self, *, common: bool) -> list[Condition]:
        conditions: list[Condition] = []
        for order in self._orders:
            third = client_tag(self._people.firm) if common else _tag(order, "key:")
            tags = (_tag(order, "order:"), _tag(order, "subject:"), third)
            conditions.append(Condition((QueryItem((ConsentWithdrawn.TOPIC,), tags),), 0))
        return conditions


def rows(ledger: Ledger, *, events: int, rounds: int) -> list[Result]:
    """Measure on an open ledger."""
    conditions = Conditions(ledger, People(events))
    everywhere = next(ledger.engine.select((QueryItem((), (client_tag(People(events).firm),)),), end=ledger.size()))
    assert everywhere.index == 0
    decided_common, decided_selective = alternate(
        rounds, lambda: conditions.decide(common=True), lambda: conditions.decide(common=False)
    )
    appended_common, appended_selective = alternate(
        rounds, lambda: conditions.append(common=True), lambda: conditions.append(common=False)
    )
    note = "ours: one tag on every event; reference: three selective tags"
    return [
        rate("condition-common-tag", decided_common, decided_selective, unit="conditions/s", mark=0.5, note=note),
        rate("append-common-tag", appended_common, appended_selective, unit="events/s", mark=0.5, note="32 threads"),
    ]


def _tag(entry: Entry, prefix: str) -> Tag:
    return next(tag for tag in entry.tag_names if tag.startswith(prefix))
