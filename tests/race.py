"""Races: commands carried out at once by threads of their own. Both outcomes are lawful, a mixture is not."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import msgspec

from ledger import Actor, Ledger
from ledger.command import Command, CommandSlice, Context, Fact, Limits, Recorded
from ledger.errors import LedgerError
from ledger.sequencer import Committed
from tests.bench import OFFICER, Bench

# So often is each race of the rules run, so many of them at once: they share transactions, and so take seconds.
MANY = 1_000
AT_ONCE = 20


def race(ledger: Ledger, *commands: Command, by: Actor = OFFICER) -> list[LedgerError | None]:
    """Carry out commands at once; return what each was refused for."""
    barrier = threading.Barrier(len(commands))
    results: list[LedgerError | None] = [None] * len(commands)

    def run(number: int, command: Command) -> None:
        barrier.wait(30)
        try:
            ledger.record(command, by)
        except LedgerError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(commands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def races(ledger: Ledger, pairs: Sequence[tuple[Command, Command]]) -> list[list[LedgerError]]:
    """Race each pair, many pairs at a time, each command of a pair first in turns; return what was refused."""
    refused: list[list[LedgerError]] = []
    for first in range(0, len(pairs), AT_ONCE):
        some = pairs[first : first + AT_ONCE]
        results = race(ledger, *(one for n, pair in enumerate(some) for one in pair[:: 1 if n % 2 else -1]))
        refused += [[error for error in results[2 * n : 2 * n + 2] if error is not None] for n in range(len(some))]
    return refused


def prepare(bench: Bench, lives: Iterable[Sequence[Command]]) -> None:
    """Let the commands of each life have happened, on top of what is recorded; decided in memory, recorded at once."""
    shared = list(bench.ledger.read())
    facts: list[Fact] = []
    for life in lives:
        past = list(shared)
        for command in life:
            decision = CommandSlice(command, Context(bench.clock(), OFFICER, Limits(), bench.ledger.keys.of_subject))
            for recorded in past:
                if any(
                    (not item.types or recorded.event.TOPIC in item.types) and set(item.tags) <= set(recorded.tags)
                    for item in decision.query()
                ):
                    decision.fold(recorded)
            decision.execute()
            assert decision.refusal is None, decision.refusal
            for fact in decision.facts:
                past.append(Recorded(len(shared) + len(facts), bench.clock(), tuple(fact.tags), fact.decision))
                facts.append(fact)
    for first in range(0, len(facts), 1_000):
        some = facts[first : first + 1_000]
        for fact in some:
            msgspec.structs.force_setattr(fact.decision, "by", OFFICER)
        outcome = bench.ledger.append(bench.ledger.seal(some, (), bench.ledger.size()))
        assert isinstance(outcome, Committed)
