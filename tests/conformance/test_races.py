"""What must hold on every engine when many record at once: one order, one winner, nothing missed, nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger
from ledger.append import Committed
from ledger.errors import Conflict, IdempotencyMismatch
from ledger.recorder import LedgerRecorder
from ledger.storage.engine import QueryItem
from ledger.vocabulary import Tag
from tests.bench import Bench, an_append, append, check_ledger
from tests.conftest import MakeBench
from tests.postgres.writer import Job, Writer

WRITERS = 8


def tagged(*tags: str) -> tuple[QueryItem, ...]:
    return (QueryItem(tags=tuple(map(Tag, tags))),)


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Run jobs in a thread each, begun together; return what they return or raise."""
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(number: int, job: Callable[[], Any]) -> None:
        barrier.wait(30)
        try:
            results[number] = job()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n, job)) for n, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def append_many(ledger: Ledger, count: int) -> None:
    for _ in range(count):
        append(ledger, "t")


@pytest.fixture
def ledgers(make_any_bench: MakeBench) -> Any:
    """A bench, and the same ledger opened three times, as by other processes."""
    bench = make_any_bench()
    others = [bench.another() for _ in range(2)]
    yield bench, [bench.ledger, *others]
    for other in others:
        other.close()


def test_of_two_that_decided_on_the_same_state_one_wins(ledgers: tuple[Bench, list[Ledger]]) -> None:
    bench, opened = ledgers
    for number in range(20):
        query = tagged(f"seat:{number}")
        results = at_once(*(partial(append, each, f"seat:{number}", query=query) for each in opened for _ in range(3)))
        assert sum(isinstance(result, Committed) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == len(results) - 1
    check_ledger(bench.ledger, 20)


def test_no_update_is_lost(ledgers: tuple[Bench, list[Ledger]]) -> None:
    """A counter that each reads, adds to and writes on condition that nobody did meanwhile."""
    bench, opened = ledgers

    def add(ledger: Ledger, times: int) -> None:
        for _ in range(times):
            while True:
                seen = list(ledger.engine.select(tagged("counter"), end=(size := ledger.size())))
                try:
                    append(ledger, "counter", f"value:{len(seen) + 1}", query=tagged("counter"), after=size)
                    break
                except Conflict:
                    continue

    assert at_once(*(partial(add, each, 10) for each in opened for _ in range(2))) == [None] * 6
    values = [row.index for row in bench.ledger.engine.tags() if row.tag.startswith("value:")]
    assert len(values) == 60
    assert sum(row.tag == "value:60" for row in bench.ledger.engine.tags()) == 1
    check_ledger(bench.ledger, 60)


def test_a_reader_that_tails_while_eight_write_misses_nothing(ledgers: tuple[Bench, list[Ledger]]) -> None:
    _, opened = ledgers
    each_writes = 60
    seen: list[int] = []
    done = threading.Event()

    def tail() -> None:
        position = 0
        while not done.is_set() or position < opened[2].size():
            for stored in opened[2].engine.select((), after=position, end=opened[2].size()):
                seen.append(stored.index)
                position = stored.index + 1

    reader = threading.Thread(target=tail)
    reader.start()
    results = at_once(*(partial(append_many, opened[n % 2], each_writes) for n in range(WRITERS)))
    done.set()
    reader.join(60)
    assert results == [None] * WRITERS
    assert seen == list(range(WRITERS * each_writes))


def test_a_subscriber_misses_nothing_of_what_other_instances_append(ledgers: tuple[Bench, list[Ledger]]) -> None:
    _, opened = ledgers
    with LedgerRecorder(opened[2]).subscribe() as subscription:
        results = at_once(*(partial(append_many, opened[n % 2], 20) for n in range(4)))
        assert not [result for result in results if isinstance(result, Exception)]
        assert [next(subscription).position for _ in range(80)] == list(range(1, 81))


def test_a_conflict_inside_a_batch_fails_alone(any_bench: Bench) -> None:
    ledger = any_bench.ledger
    gate, begin = threading.Event(), ledger.engine.begin

    def wait(*ahead: Any) -> Any:
        assert gate.wait(30)
        return begin(*ahead)

    ledger.engine.begin = wait  # type: ignore[method-assign]
    first = ledger._sequencer.submit(an_append("first"))
    tickets = [ledger._sequencer.submit(an_append("seat", query=tagged("seat"))) for _ in range(3)]
    tickets.append(ledger._sequencer.submit(an_append("other", query=tagged("other"))))
    tickets.append(ledger._sequencer.submit(an_append("third", query=tagged("seat", "other"))))
    ledger.engine.begin = begin  # type: ignore[method-assign]
    gate.set()
    first.wait()
    outcomes: list[object] = []
    for ticket in tickets:
        try:
            outcomes.append(type(ticket.wait()))
        except Conflict:
            outcomes.append(Conflict)
    assert outcomes == [Committed, Conflict, Conflict, Committed, Committed]
    check_ledger(ledger, 4)


def test_one_idempotency_key_makes_one_event_whoever_asks(ledgers: tuple[Bench, list[Ledger]]) -> None:
    bench, opened = ledgers
    digests = (b"k" * 32, b"c" * 32)
    results = at_once(*(partial(each.append, an_append("t", idempotency=digests)) for each in opened for _ in range(5)))
    assert sum(isinstance(result, Committed) for result in results) == 1
    assert not [result for result in results if isinstance(result, Exception)]
    with pytest.raises(IdempotencyMismatch):
        opened[1].append(an_append("t", idempotency=(b"k" * 32, b"d" * 32)))
    check_ledger(bench.ledger, 1)


def test_instances_that_take_turns_grow_their_trees_and_agree(ledgers: tuple[Bench, list[Ledger]]) -> None:
    """Each sees what the others appended, over the borders of tiles, and proves it under their checkpoints."""
    bench, opened = ledgers
    for number in range(90):
        outcome = append(opened[number % 3], "t", count=1 + number % 11)
        assert outcome.tree.root() == opened[(number + 1) % 3].tree().root()
    check_ledger(bench.ledger)
    size = bench.ledger.size()
    assert size > 256
    assert len({each.prove(17) for each in opened}) == 1


def test_four_processes_record_and_each_gets_its_share(make_postgres_bench: MakeBench, tmp_path: Path) -> None:
    """SQLite promises no shares: writers there wait for a file, not in a queue."""
    bench = make_postgres_bench()
    writers = [
        Writer(Job(f"w{n}", str(bench.directory), bench.server, str(tmp_path / f"acks-{n}"), threads=4, seconds=3))
        for n in range(4)
    ]
    for writer in writers:
        writer.wait_until_ready()
    for writer in writers:
        writer.go()
    counts = [writer.finish() for writer in writers]
    total = sum(map(len, counts))
    assert min(map(len, counts)) >= total / 10, list(map(len, counts))
    indexes = sorted(index for each in counts for index in each.values())
    assert indexes == list(range(len(indexes))), "whatever was recorded was acknowledged, once"
    check_ledger(bench.ledger, total)
