"""Races: what is asked of a ledger at once by threads of its own. Both outcomes are lawful, a mixture is not.

`Race` is one race of the rules: what happened before, who runs against whom, and what the log must say afterwards. What
does not live here: the races (tests/rules/test_races.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import msgspec
import pytest

from ledger import Actor, Ledger
from ledger.append import Append, Committed
from ledger.command import Command, CommandSlice, Context, Fact, Limits, Recorded
from ledger.errors import LedgerError
from ledger.events import Event
from ledger.sequencer import Sequencer
from ledger.storage.engine import Condition, Query, QueryItem
from tests.bench import OFFICER, Bench, check_ledger

# So many rounds run at once: they share transactions, and so take seconds.
AT_ONCE = 20

Act = Callable[[Ledger], object]
Step = Command | tuple[Command, Actor]
Refusal = LedgerError | None


def ask(command: Command, by: Actor = OFFICER) -> Act:
    """Return the act of asking for a command."""
    return lambda ledger: ledger.record(command, by)


def at_once(ledger: Ledger, acts: Sequence[Act]) -> list[Refusal]:
    """Carry out acts at once; return what each was refused for."""
    barrier = threading.Barrier(len(acts))
    results: list[Refusal] = [None] * len(acts)
    failures: list[BaseException] = []

    def run(number: int, act: Act) -> None:
        barrier.wait(30)
        try:
            act(ledger)
        except LedgerError as error:
            results[number] = error
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failures, failures
    return results


def race(ledger: Ledger, *commands: Command, by: Actor = OFFICER) -> list[Refusal]:
    """Carry out commands at once; return what each was refused for."""
    return at_once(ledger, [ask(command, by) for command in commands])


class Race(NamedTuple):
    """A race between two acts. `number` tells the rounds apart: each is about people of its own.

    `check` reads the log in order, raises AssertionError where the promise is broken, and returns how often each of the
    two outcomes was seen. `turns_on` are the kinds of events that decide the race: a command whose condition forgets
    them breaks the promise, which shows that this race would notice.
    """

    given: Sequence[Command]
    life: Callable[[int], Sequence[Step]]
    acts: Callable[[Ledger, int], tuple[Act, Act]]
    check: Callable[[Ledger, Sequence[tuple[Refusal, Refusal]]], tuple[int, int]]
    turns_on: Collection[type[Event]]
    promise: str
    at_once: int = AT_ONCE

    def run(self, bench: Bench, rounds: int) -> tuple[int, int]:
        """Run the race so many times and check its promise; return the outcomes. Both have been seen."""
        ledger = bench.given(*self.given).ledger
        prepare(bench, map(self.life, range(rounds)))
        refused: list[tuple[Refusal, Refusal]] = []
        for first in range(0, rounds, self.at_once):
            pairs = [self.acts(ledger, number) for number in range(first, min(first + self.at_once, rounds))]
            # Each side starts first in turns.
            turned = [pair[:: 1 if number % 2 else -1] for number, pair in enumerate(pairs)]
            results = iter(at_once(ledger, [*chain.from_iterable(turned)]))
            for number in range(len(pairs)):
                one, two = islice(results, 2)
                refused.append((one, two) if number % 2 else (two, one))
        outcomes = self.check(ledger, refused)
        assert sum(outcomes) == rounds, f"{self.promise}: every round has one of the two outcomes, {outcomes}"
        assert all(outcomes), f"both outcomes were seen: {outcomes}"
        check_ledger(ledger)
        return outcomes


def prepare(bench: Bench, lives: Iterable[Sequence[Step]]) -> None:
    """Let the steps of each life have happened, on top of what is recorded; decided in memory, recorded at once."""
    shared = list(bench.ledger.read())
    facts: list[Fact] = []
    for life in lives:
        past = list(shared)
        for step in life:
            command, by = step if isinstance(step, tuple) else (step, OFFICER)
            decision = CommandSlice(command, Context(bench.clock(), by, Limits(), bench.ledger.keys.of_subject))
            for recorded in _among(past, decision.query):
                decision.fold(recorded)
            decision.execute()
            assert decision.refusal is None, decision.refusal
            for fact in decision.facts:
                past.append(Recorded(len(shared) + len(facts), bench.clock(), tuple(fact.tags), fact.decision))
                facts.append(fact)
    for first in range(0, len(facts), 1_000):
        outcome = bench.ledger.append(bench.ledger.seal(facts[first : first + 1_000], (), bench.ledger.size()))
        assert isinstance(outcome, Committed)


def _among(past: Iterable[Recorded], query: Query) -> list[Recorded]:
    return [
        recorded
        for recorded in past
        if any(
            (not item.types or recorded.event.TOPIC in item.types) and set(item.tags) <= set(recorded.tags)
            for item in query
        )
    ]


def forget(monkeypatch: pytest.MonkeyPatch, kinds: Iterable[type[Event]]) -> None:
    """Plant a defect: nothing is recorded on the condition that no event of these kinds came in between.

    This is what a boundary that forgets a kind of events comes to, and a request without its idempotency key.
    """
    topics = {kind.TOPIC for kind in kinds}
    real = Sequencer.submit

    def submit(sequencer: Sequencer, append: Any, *more: Any) -> Any:
        if isinstance(append, Append):
            condition = append.condition
            items = () if condition is None else (*_without(condition.query, topics),)
            condition = Condition(items, condition.after) if condition is not None and items else None
            append = msgspec.structs.replace(append, condition=condition, idempotency=None)
        return real(sequencer, append, *more)

    monkeypatch.setattr(Sequencer, "submit", submit)


def _without(query: Query, topics: Collection[str]) -> Iterator[QueryItem]:
    for item in query:
        types = tuple(kind for kind in item.types if kind not in topics)
        # An item without types is of all types: it stays what it was, and is left out when it becomes that.
        if types or not item.types:
            yield QueryItem(types, item.tags)
