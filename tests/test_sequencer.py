"""The sequencer: what shares a transaction, what fails alone, what stops everything, and what is asked for twice."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pytest

from ledger import Ledger, Receipt, sequencer
from ledger.append import Append, Committed, Outcome
from ledger.commands import (
    AuthorizeDisclosure,
    CollectData,
    GiveConsent,
    RegisterSubject,
    RequestDisclosure,
    WithdrawConsent,
)
from ledger.entry import parse
from ledger.errors import (
    Busy,
    Conflict,
    ConsentMissing,
    EntryTooLarge,
    IdempotencyMismatch,
    LedgerError,
    RolledBack,
    Stopped,
    StorageError,
    VerificationError,
)
from ledger.queue import Ticket
from ledger.sealing import Box
from ledger.storage import guard as guard_module
from ledger.storage.engine import QueryItem
from ledger.storage.guard import Guard
from ledger.vocabulary import Channel, KeyId, LegalBasis, Purpose, SourceKind, Tag
from tests.bench import OFFICER, SUPPORT, Bench, an_append, an_id, append, check_ledger, last_checkpoint
from tests.conftest import MakeBench

MARI = an_id("mari")
ANYTHING = (QueryItem(),)


def tagged(*tags: str) -> tuple[QueryItem, ...]:
    return (QueryItem(tags=tuple(map(Tag, tags))),)


def checkpoints(ledger: Ledger) -> int:
    return len(list(ledger.engine.checkpoints()))


def register(name: str = "mari") -> RegisterSubject:
    return RegisterSubject(subject_id=an_id(name))


def collect(subject: str = MARI, **values: str) -> CollectData:
    return CollectData(
        subject_id=subject,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values=values or {"email": "mari@example.com"},
    )


class Gate:
    """Holds the sequencer's thread where a transaction begins, so that a test decides what shares the next one."""

    def __init__(self, ledger: Ledger) -> None:
        self._begin = ledger.engine.begin
        self._ledger = ledger
        self._open = threading.Event()
        self.reached = threading.Event()
        ledger.engine.begin = self._wait  # type: ignore[method-assign]

    def _wait(self, *ahead: Any) -> Any:
        self.reached.set()
        assert self._open.wait(30)
        return self._begin(*ahead)

    def open(self) -> None:
        self._ledger.engine.begin = self._begin  # type: ignore[method-assign]
        self._open.set()


@contextmanager
def held(ledger: Ledger) -> Iterator[Gate]:
    """Let one append wait in its transaction; what is submitted inside shares the next one."""
    gate = Gate(ledger)
    first = ledger._sequencer.submit(an_append("first"))
    assert gate.reached.wait(30)
    try:
        yield gate
    finally:
        gate.open()
    first.wait()


def together(ledger: Ledger, *appends: Append) -> list[Outcome | LedgerError]:
    """Submit appends that share one transaction; return what became of each."""
    with held(ledger):
        tickets = [ledger._sequencer.submit(each) for each in appends]
    return [outcome_of(ticket) for ticket in tickets]


def outcome_of(ticket: Ticket) -> Outcome | LedgerError:
    try:
        return ticket.wait()
    except LedgerError as error:
        return error


def in_threads(*jobs: Callable[[], object]) -> list[Any]:
    """Run jobs at once, each in a thread; return what they return or raise, in their order."""
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(number: int, job: Callable[[], object]) -> None:
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
        assert not thread.is_alive()
    return results


# --- sharing a transaction ---------------------------------------------------------------------------------------


def test_appends_that_wait_together_share_one_checkpoint(bench: Bench) -> None:
    outcomes = together(bench.ledger, *(an_append(f"t:{i}") for i in range(100)))
    assert [outcome.first for outcome in outcomes if isinstance(outcome, Committed)] == list(range(1, 101))
    assert len({outcome.checkpoint for outcome in outcomes if isinstance(outcome, Committed)}) == 1
    assert checkpoints(bench.ledger) == 2
    check_ledger(bench.ledger, 101)


def test_commands_of_many_threads_share_transactions(bench: Bench) -> None:
    with held(bench.ledger):
        threads = [threading.Thread(target=bench.ledger.record, args=(register(f"s{i}"), OFFICER)) for i in range(40)]
        for thread in threads:
            thread.start()
        until(lambda: waiting(bench.ledger) == 40)
    for thread in threads:
        thread.join(30)
    assert checkpoints(bench.ledger) == 2
    check_ledger(bench.ledger, 41)


def test_what_an_event_loop_submits_in_one_turn_shares_a_transaction(bench: Bench) -> None:
    async def turn() -> list[Receipt]:
        return await asyncio.gather(*(bench.ledger.arecord(register(f"s{i}"), OFFICER) for i in range(50)))

    receipts = asyncio.run(turn())
    assert [receipt.index for receipt in receipts] == list(range(50))
    assert checkpoints(bench.ledger) == 1
    check_ledger(bench.ledger, 50)


def test_a_turn_that_does_not_end_keeps_nobody_else_waiting(bench: Bench) -> None:
    async def turn() -> Receipt:
        task = asyncio.create_task(bench.ledger.arecord(register("loop"), OFFICER))
        await asyncio.sleep(0)
        # This turn goes on while another thread records.
        (receipt,) = in_threads(lambda: bench.ledger.record(register("thread"), OFFICER))
        assert receipt.index == 0
        return await task

    assert asyncio.run(turn()).index == 1
    check_ledger(bench.ledger, 2)


def test_what_is_held_for_a_turn_is_finished_by_closing(make_bench: MakeBench) -> None:
    bench = make_bench()

    async def turn() -> Receipt:
        task = asyncio.create_task(bench.ledger.arecord(register(), OFFICER))
        await asyncio.sleep(0)
        bench.ledger._sequencer.close()
        return await task

    assert asyncio.run(turn()).index == 0
    with pytest.raises(Stopped):
        bench.ledger._sequencer.submit(an_append("late"))


def test_what_is_held_for_a_loop_that_is_closed_is_recorded_all_the_same(bench: Bench) -> None:
    loop = asyncio.new_event_loop()

    async def turn() -> None:
        bench.ledger._sequencer.submit(an_append("held"), loop)

    loop.run_until_complete(turn())
    # Its turn never ended: nobody would have queued it.
    loop.close()
    append(bench.ledger, "next")
    until(lambda: bench.ledger.size() == 2)
    assert waiting(bench.ledger) == 0


def test_what_is_held_counts_for_the_limit(make_bench: MakeBench) -> None:
    bench = make_bench(queue_limit=10)

    async def turn() -> list[Receipt | BaseException]:
        asked = (bench.ledger.arecord(register(f"s{i}"), OFFICER) for i in range(15))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(turn())
    assert sum(isinstance(one, Busy) for one in found) == 5
    check_ledger(bench.ledger, 10)


def until(holds: Callable[[], bool]) -> None:
    """Return once something holds that another thread is about to bring about."""
    turn = threading.Event()
    for _ in range(3_000):
        if holds():
            return
        turn.wait(0.01)
    raise AssertionError("it never came to hold")


def waiting(ledger: Ledger) -> int:
    return len(ledger._sequencer._queue)


def test_commands_of_an_event_loop_share_transactions(bench: Bench) -> None:
    async def many() -> list[Receipt]:
        return await asyncio.gather(*(bench.ledger.arecord(register(f"s{i}"), OFFICER) for i in range(200)))

    receipts = asyncio.run(many())
    assert sorted(receipt.index for receipt in receipts) == list(range(200))
    for receipt in receipts:
        receipt.verify(bench.ledger.verifier, bench.ledger.origin)
    assert checkpoints(bench.ledger) < 200
    check_ledger(bench.ledger, 200)


def test_appends_of_an_event_loop_and_of_threads_are_each_told_what_became_of_them(bench: Bench) -> None:
    async def both() -> tuple[list[Any], Outcome]:
        with held(bench.ledger):
            asked = [
                asyncio.ensure_future(bench.ledger.aappend(an_append("a", query=tagged("a"), after=0)))
                for _ in range(3)
            ]
            in_thread = asyncio.ensure_future(asyncio.to_thread(bench.ledger.append, an_append("b")))
            await asyncio.to_thread(until, lambda: waiting(bench.ledger) == 4)
        return await asyncio.gather(*asked, return_exceptions=True), await in_thread

    in_loop, other = asyncio.run(both())
    assert sorted(type(outcome).__name__ for outcome in in_loop) == ["Committed", "Conflict", "Conflict"]
    assert isinstance(other, Committed)
    assert checkpoints(bench.ledger) == 2
    check_ledger(bench.ledger, 3)


def test_tasks_of_two_event_loops_share_transactions(bench: Bench) -> None:
    async def some(name: str) -> list[Outcome]:
        return await asyncio.gather(*(bench.ledger.aappend(an_append(f"{name}:{i}")) for i in range(50)))

    with ThreadPoolExecutor(2) as hands:
        outcomes = [outcome for found in hands.map(lambda name: asyncio.run(some(name)), "ab") for outcome in found]
    assert sorted(o.first for o in outcomes if isinstance(o, Committed)) == list(range(100))
    check_ledger(bench.ledger, 100)


def test_tag_counters_run_on_inside_a_transaction_and_inside_an_append(bench: Bench) -> None:
    together(bench.ledger, an_append("a", "b"), an_append("a", count=3), an_append("b", "a"))
    links = [parse(stored.entry).tags for stored in bench.ledger.engine.entries()]
    assert [[(link.tag, link.n, link.prev) for link in each] for each in links] == [
        [("first", 1, None)],
        [("a", 1, None), ("b", 1, None)],
        [("a", 2, 1)],
        [("a", 3, 2)],
        [("a", 4, 3)],
        [("a", 5, 4), ("b", 2, 1)],
    ]
    check_ledger(bench.ledger, 6)


def test_more_than_one_transaction_takes_is_recorded_all_the_same(bench: Bench) -> None:
    outcomes = together(bench.ledger, *(an_append("t") for _ in range(1_300)))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert checkpoints(bench.ledger) == 1 + 3
    check_ledger(bench.ledger, 1_301)


def test_two_commands_that_need_the_same_new_key_share_a_transaction(bench: Bench) -> None:
    bench.given(register())
    with held(bench.ledger):
        first = bench.ledger.decide(collect(email="a@example.com"), OFFICER)
        second = bench.ledger.decide(collect(phone="+372"), OFFICER)
        tickets = [
            bench.ledger._sequencer.submit(bench.ledger.seal(decision.facts, decision.query, head))
            for decision, head in (first, second)
        ]
    assert [outcome_of(ticket).first for ticket in tickets] == [2, 3]  # type: ignore[union-attr]
    bench.reopen()
    assert bench.ledger.open(2).values == {"email": "a@example.com"}  # type: ignore[attr-defined]
    assert bench.ledger.open(3).values == {"phone": "+372"}  # type: ignore[attr-defined]
    check_ledger(bench.ledger, 4)


# --- failing alone -----------------------------------------------------------------------------------------------


def test_a_conflicting_append_fails_alone(bench: Bench) -> None:
    append(bench.ledger, "x")
    before, conflicting, after = together(
        bench.ledger, an_append("y"), an_append("z", query=tagged("x")), an_append("z", query=tagged("x"), after=1)
    )
    assert isinstance(before, Committed)
    assert isinstance(conflicting, Conflict)
    assert isinstance(after, Committed)
    check_ledger(bench.ledger, 4)


@pytest.mark.parametrize(
    ("query", "conflicts"),
    [
        ((), True),
        (ANYTHING, True),
        (tagged("a"), True),
        (tagged("b", "a"), True),
        (tagged("a", "c"), False),
        (tagged("d"), False),
        ((QueryItem(types=("noted",)),), True),
        ((QueryItem(types=("other",)),), False),
        ((QueryItem(types=("other", "noted")),), True),
        ((QueryItem(types=("noted",), tags=(Tag("a"),)),), True),
        ((QueryItem(types=("other",), tags=(Tag("a"),)),), False),
        ((QueryItem(tags=(Tag("d"),)), QueryItem(tags=(Tag("b"),))), True),
        ((QueryItem(tags=(Tag("d"),)), QueryItem(types=("other",))), False),
    ],
)
def test_a_condition_sees_what_its_own_transaction_accepted_before(
    bench: Bench, query: tuple[QueryItem, ...], conflicts: bool
) -> None:
    earlier, later = together(bench.ledger, an_append("a", "b"), an_append("z", query=query, after=1))
    assert isinstance(earlier, Committed)
    assert isinstance(later, Conflict) is conflicts
    check_ledger(bench.ledger, 2 if conflicts else 3)


def test_what_failed_in_a_transaction_does_not_make_others_fail(bench: Bench) -> None:
    append(bench.ledger, "x")
    failing, free = together(
        bench.ledger, an_append("a", query=tagged("x")), an_append("b", query=tagged("a"), after=0)
    )
    assert isinstance(failing, Conflict)
    assert isinstance(free, Committed)


def test_an_oversized_entry_fails_alone_and_takes_its_whole_append_with_it(bench: Bench) -> None:
    small, large = an_append("a"), an_append("a", data=b'{"x":"%b"}' % (b"x" * 65_535))
    both = Append([*small.drafts, *large.drafts], [(), ()])
    before, oversized, after = together(bench.ledger, an_append("a"), both, an_append("a"))
    assert isinstance(before, Committed)
    assert isinstance(oversized, EntryTooLarge)
    assert isinstance(after, Committed)
    check_ledger(bench.ledger, 3)


def test_a_transaction_in_which_everything_fails_leaves_no_trace(bench: Bench) -> None:
    append(bench.ledger, "x")
    before = checkpoints(bench.ledger)
    with pytest.raises(Conflict):
        append(bench.ledger, "z", query=tagged("x"))
    assert checkpoints(bench.ledger) == before
    append(bench.ledger, "z")
    check_ledger(bench.ledger, 2)


def test_a_full_queue_says_busy_and_records_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(queue_limit=3)
    with held(bench.ledger):
        tickets = [bench.ledger._sequencer.submit(an_append("t")) for _ in range(3)]
        with pytest.raises(Busy):
            bench.ledger._sequencer.submit(an_append("t"))
        with pytest.raises(Busy):
            bench.ledger.record(register(), OFFICER)
    assert all(isinstance(ticket.wait(), Committed) for ticket in tickets)
    check_ledger(bench.ledger, 4)
    bench.ledger.record(register(), OFFICER)


def test_a_queue_full_of_bytes_says_busy_and_goes_on_when_they_are_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "MAX_QUEUE_BYTES", 1_000)

    def large(size: int) -> Append:
        append = an_append("t")
        return Append(append.drafts, [[Box(KeyId("k"), bytes(size))]])

    submit = bench.ledger._sequencer.submit
    with held(bench.ledger):
        # One alone is taken whatever its size.
        tickets = [submit(large(2_000))]
        with pytest.raises(Busy, match="bytes"):
            submit(large(1))
    assert all(isinstance(ticket.wait(), Committed) for ticket in tickets)
    with held(bench.ledger):
        tickets = [submit(large(400)), submit(large(600))]
        with pytest.raises(Busy, match="1000 bytes"):
            submit(large(1))
    assert all(isinstance(ticket.wait(), Committed) for ticket in tickets)
    submit(large(1_000)).wait()
    check_ledger(bench.ledger, 6)


def test_a_guard_that_a_stopped_process_holds_is_busy_and_nothing_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "LOCK_TIMEOUT_S", 0.1)
    append(bench.ledger, "t")
    stopped = Guard(bench.directory / "guard")
    with stopped.lock():
        with pytest.raises(Busy, match="guard"):
            append(bench.ledger, "t")
        with pytest.raises(Busy, match="guard"):
            bench.another()
    append(bench.ledger, "t")
    check_ledger(bench.ledger, 2)
    bench.another().close()
    stopped.close()


@pytest.mark.parametrize("note", [b"\xff\xfe", b"no note", b"example.com/ledger\n1\nAAAA\n\n"])
def test_a_guard_whose_note_does_not_hold_is_named(bench: Bench, note: bytes) -> None:
    append(bench.ledger, "t")
    bench.ledger.close()
    guard = Guard(bench.directory / "guard")
    guard.read()
    guard.write(note)
    guard.close()
    with pytest.raises(VerificationError, match=re.escape(f"guard {bench.directory / 'guard'}: ")):
        bench.another()


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        ("checkpoints", "note = CAST('x' AS BLOB)", "checkpoint 2: "),
        ("events", "entry = CAST('x' AS BLOB)", "entry 1: "),
    ],
)
def test_what_cannot_be_read_at_the_start_is_named(bench: Bench, table: str, change: str, named: str) -> None:
    append(bench.ledger, "t")
    append(bench.ledger, "t")
    bench.ledger.close()
    trigger = f"{table}_refuse_update"
    ((made,),) = bench.sql("SELECT sql FROM sqlite_schema WHERE name = ?", (trigger,))
    bench.sql(f"DROP TRIGGER {trigger}")
    bench.sql(f"UPDATE {table} SET {change} WHERE rowid = (SELECT max(rowid) FROM {table})")
    bench.sql(made)
    with pytest.raises(VerificationError, match=f"^{named}"):
        bench.another()


def test_a_command_that_loses_ten_races_gives_up_with_conflict(bench: Bench) -> None:
    bench.given(register())
    decide = bench.ledger.decide
    lost = 0

    def beaten(*args: Any, **options: Any) -> Any:
        nonlocal lost
        decided = decide(*args, **options)
        lost += 1
        append(bench.ledger, f"subject:{MARI}", type="subject-registered", data=encoded_registration())
        return decided

    bench.ledger.decide = beaten  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        bench.ledger.record(collect(), OFFICER)
    assert lost == 10
    check_ledger(bench.ledger, 11)


def encoded_registration() -> bytes:
    return json.dumps({"role": "controller", "subject_id": MARI}, separators=(",", ":")).encode()


# --- stopping ----------------------------------------------------------------------------------------------------


def test_close_finishes_accepted_work_and_refuses_later_work(bench: Bench) -> None:
    with held(bench.ledger):
        tickets = [bench.ledger._sequencer.submit(an_append("t")) for _ in range(600)]
        closing = threading.Thread(target=bench.ledger._sequencer.close)
        closing.start()
        until(lambda: bench.ledger._sequencer._queue._closed)
    closing.join(30)
    assert all(isinstance(ticket.wait(), Committed) for ticket in tickets)
    with pytest.raises(Stopped):
        bench.ledger.record(register(), OFFICER)
    bench.reopen()
    check_ledger(bench.ledger, 601)


def test_work_that_comes_while_closing_is_recorded_or_refused_but_never_left_waiting(bench: Bench) -> None:
    with held(bench.ledger):
        closing = threading.Thread(target=bench.ledger._sequencer.close)
        closing.start()
        until(lambda: bench.ledger._sequencer._queue._closed)
        late = bench.ledger._sequencer.submit(an_append("late"))
    closing.join(30)
    outcome = outcome_of(late)
    assert isinstance(outcome, Committed | Stopped)
    check_ledger(bench.ledger, 2 if isinstance(outcome, Committed) else 1)


def test_closing_twice_is_closing_once(bench: Bench) -> None:
    bench.ledger.close()
    bench.ledger.close()


def test_an_event_loop_that_is_gone_does_not_stop_the_others(bench: Bench) -> None:
    gate = Gate(bench.ledger)

    async def leave() -> None:
        asked = asyncio.ensure_future(bench.ledger.arecord(register(), OFFICER))
        await asyncio.to_thread(gate.reached.wait, 30)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(leave())
    gate.open()
    bench.ledger.record(register("jaan"), OFFICER)
    check_ledger(bench.ledger, 2)


class Broken(Exception):
    """Stands for whatever an engine raises."""


class BrokenTransaction:
    """A transaction of the engine that fails at one step, before or after the step took effect."""

    def __init__(self, inner: Any, step: str, when: str) -> None:
        self._inner = inner
        self._step = step
        self._when = when

    def __enter__(self) -> BrokenTransaction:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name != self._step:
            return value

        def fail(*args: Any) -> None:
            if self._when == "after":
                value(*args)
            raise StorageError("the disk failed")

        return fail


def break_at(bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    """Let the next transaction fail at `step`, before or after it takes effect."""
    ledger = bench.ledger
    begin, write = ledger.engine.begin, ledger._guard.write

    def broken_write(note: bytes) -> None:
        if when == "after":
            write(note)
        raise StorageError("the guard cannot be written")

    def no_begin(*ahead: Any) -> Any:
        raise StorageError("the disk failed")

    if step == "guard":
        monkeypatch.setattr(ledger._guard, "write", broken_write)
    elif step == "begin":
        monkeypatch.setattr(ledger.engine, "begin", no_begin)
    else:
        monkeypatch.setattr(ledger.engine, "begin", lambda *ahead: BrokenTransaction(begin(*ahead), step, when))


STEPS = [
    ("begin", "before", False),
    ("tag_heads", "before", False),
    ("insert", "before", False),
    ("insert", "after", False),
    ("commit", "before", False),
    ("commit", "after", True),
    ("guard", "before", True),
    ("guard", "after", True),
]


@pytest.mark.parametrize(("step", "when", "durable"), STEPS)
def test_a_failing_store_stops_acknowledging_and_a_reopen_recovers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, when: str, durable: bool
) -> None:
    bench.given(register("before"))
    break_at(bench, monkeypatch, step, when)
    with pytest.raises(StorageError):
        bench.ledger.record(register(), OFFICER, idempotency_key="k")
    monkeypatch.undo()
    # The store works again, but what it holds is unknown until it is read again.
    with pytest.raises(Stopped) as stopped:
        bench.ledger.record(register("after"), OFFICER)
    assert isinstance(stopped.value.__cause__, StorageError)
    assert bench.ledger.read().__next__().index == 0, "reading goes on"
    bench.reopen()
    check_ledger(bench.ledger, 2 if durable else 1)
    again = bench.ledger.record(register(), OFFICER, idempotency_key="k")
    assert again.index == 1
    again.verify(bench.ledger.verifier, bench.ledger.origin)
    bench.given(register("after"))
    check_ledger(bench.ledger, 3)


def test_a_store_that_fails_tells_everybody_who_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(bench.ledger) as gate:
        tickets = [bench.ledger._sequencer.submit(an_append("t")) for _ in range(600)]
        begin = gate._begin
        calls = 0

        def fails_from_the_second_on(*ahead: Any) -> Any:
            nonlocal calls
            calls += 1
            return begin(*ahead) if calls == 1 else BrokenTransaction(begin(*ahead), "commit", "before")

        gate._begin = fails_from_the_second_on
    outcomes = [outcome_of(ticket) for ticket in tickets]
    assert all(isinstance(outcome, Stopped) for outcome in outcomes)
    assert bench.ledger.size() == 1


def test_new_keys_that_cannot_be_made_durable_stop_everything(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.given(register())

    def broken(keys: object) -> Any:
        raise StorageError("new keys could not be written")

    monkeypatch.setattr(bench.ledger.keys, "persist", broken)
    with pytest.raises(StorageError):
        bench.ledger.record(collect(), OFFICER)
    monkeypatch.undo()
    bench.reopen()
    check_ledger(bench.ledger, 1)
    bench.given(collect())


def test_an_error_of_our_own_stops_rather_than_dying_in_silence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*ahead: Any) -> Any:
        raise Broken("our own bug")

    monkeypatch.setattr(bench.ledger.engine, "begin", bug)
    with pytest.raises(Stopped):
        bench.ledger.record(register(), OFFICER)
    monkeypatch.undo()
    with pytest.raises(Stopped):
        bench.ledger.record(register(), OFFICER)


def test_after_a_failed_guard_a_reopen_brings_the_guard_up_to_date(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is acknowledged after the reopen, by idempotency key, must be under the guard's protection."""
    bench.given(register("before"))
    bench.ledger.close()
    old = bench.copy(tmp_path / "old")
    bench.ledger = bench.another()
    break_at(bench, monkeypatch, "guard", "before")
    with pytest.raises(Stopped):
        bench.ledger.record(register(), OFFICER, idempotency_key="k")
    monkeypatch.undo()
    bench.reopen()
    bench.ledger.record(register(), OFFICER, idempotency_key="k").verify(bench.ledger.verifier, bench.ledger.origin)
    bench.ledger.close()
    (bench.directory / "ledger.db").write_bytes((old / "ledger.db").read_bytes())
    with pytest.raises(RolledBack):
        bench.another()


# --- time --------------------------------------------------------------------------------------------------------


def test_recorded_at_never_runs_backwards_though_the_clock_does(bench: Bench) -> None:
    append(bench.ledger, "t")
    bench.clock.back(hours=1)
    append(bench.ledger, "t")
    bench.reopen()
    append(bench.ledger, "t")
    bench.clock.forward(hours=2)
    append(bench.ledger, "t")
    moments = [parse(stored.entry).recorded_at for stored in bench.ledger.engine.entries()]
    assert moments == ["2026-11-22T10:00:00.000000Z"] * 3 + ["2026-11-22T11:00:00.000000Z"]
    check_ledger(bench.ledger, 4)


# --- the same request again --------------------------------------------------------------------------------------


def test_the_same_key_and_content_give_the_same_receipt_byte_for_byte(bench: Bench) -> None:
    first = bench.ledger.record(register(), OFFICER, idempotency_key="k")
    bench.given(register("jaan"))
    assert bench.ledger.record(register(), OFFICER, idempotency_key="k") == first
    bench.reopen()
    assert bench.ledger.record(register(), OFFICER, idempotency_key="k") == first
    assert asyncio.run(bench.ledger.arecord(register(), OFFICER, idempotency_key="k")) == first
    check_ledger(bench.ledger, 2)


def test_a_kept_refusal_is_refused_again_with_the_same_entry(bench: Bench) -> None:
    disclosure = an_id("disclosure")
    bench.given(
        register(),
        RequestDisclosure(
            disclosure_id=disclosure,
            subject_id=MARI,
            recipient_id=an_id("recipient"),
            purpose=Purpose.E_INVOICE,
            basis=LegalBasis.CONSENT,
            fields=("email",),  # type: ignore[arg-type]
        ),
    )
    ask = AuthorizeDisclosure(disclosure_id=disclosure, subject_id=MARI, token_sha256="0" * 64)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ConsentMissing) as refused:
            bench.ledger.record(ask, OFFICER, idempotency_key="k")
        assert refused.value.index == 2
    bench.reopen()
    with pytest.raises(ConsentMissing) as refused:
        bench.ledger.record(ask, OFFICER, idempotency_key="k")
    assert refused.value.index == 2
    check_ledger(bench.ledger, 3)


def test_the_same_key_for_other_content_is_refused(bench: Bench) -> None:
    bench.ledger.record(register(), OFFICER, idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        bench.ledger.record(register("jaan"), OFFICER, idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        bench.ledger.record(register(), SUPPORT, idempotency_key="k")
    check_ledger(bench.ledger, 1)


def test_another_key_for_the_same_content_is_a_new_request(bench: Bench) -> None:
    first = bench.given(register()).ledger.record(collect(), OFFICER, idempotency_key="k1")
    assert bench.ledger.record(collect(), OFFICER, idempotency_key="k2").index == first.index + 1


def test_a_refusal_that_was_not_kept_is_decided_anew(bench: Bench) -> None:
    give = GiveConsent(
        consent_id=an_id("consent"),
        subject_id=MARI,
        purpose=Purpose.OWN_OFFERS,
        fields=("email",),  # type: ignore[arg-type]
        text_sha256="0" * 64,  # type: ignore[arg-type]
        language="et",  # type: ignore[arg-type]
        channel=Channel.LINK,
    )
    withdraw = WithdrawConsent(consent_id=an_id("consent"), subject_id=MARI, channel=Channel.LINK)
    with pytest.raises(LedgerError):
        bench.ledger.record(withdraw, OFFICER, idempotency_key="k")
    bench.given(register(), give)
    bench.ledger.record(withdraw, OFFICER, idempotency_key="k")
    check_ledger(bench.ledger, 3)


def test_fifty_threads_with_one_key_make_one_event_and_get_one_receipt(bench: Bench) -> None:
    job = lambda: bench.ledger.record(register(), OFFICER, idempotency_key="k")  # noqa: E731
    receipts = in_threads(*[job] * 50)
    assert all(receipt == receipts[0] for receipt in receipts), receipts
    check_ledger(bench.ledger, 1)


def test_duplicates_inside_one_transaction_are_one_event(bench: Bench) -> None:
    key, content, other = b"k" * 32, b"c" * 32, b"o" * 32
    first, same, different = together(
        bench.ledger,
        an_append("t", idempotency=(key, content), count=2),
        an_append("t", idempotency=(key, content), count=2),
        an_append("t", idempotency=(key, other)),
    )
    assert isinstance(first, Committed)
    assert same.row == msgspec.structs.replace(same.row, first=first.first, count=2)  # type: ignore[union-attr]
    assert isinstance(different, IdempotencyMismatch)
    check_ledger(bench.ledger, 3)


def test_a_key_whose_append_conflicted_is_free(bench: Bench) -> None:
    append(bench.ledger, "x")
    ids = (b"k" * 32, b"c" * 32)
    conflicting, free = together(
        bench.ledger, an_append("t", query=tagged("x"), idempotency=ids), an_append("t", idempotency=ids)
    )
    assert isinstance(conflicting, Conflict)
    assert isinstance(free, Committed)


# --- several processes -------------------------------------------------------------------------------------------


def test_two_instances_on_one_file_see_each_other(bench: Bench) -> None:
    other = bench.another()
    try:
        for number in range(10):
            append((bench.ledger, other)[number % 2], "t", query=tagged("t"), after=number)
        with pytest.raises(Conflict):
            append(bench.ledger, "t", query=tagged("t"), after=9)
        check_ledger(bench.ledger, 10)
        check_ledger(other, 10)
    finally:
        other.close()


WORKER = """
import json, sys
from pathlib import Path
from ledger.errors import Conflict
from ledger.storage import guard as guard_module
from ledger.storage.engine import QueryItem
from ledger.storage.guard import Guard
from tests.bench import KEK, SIGNER, an_append
from ledger import open_ledger

directory, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with open_ledger(directory, kek=KEK, signer=SIGNER) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    won, acknowledged = [], []
    for number in range(count):
        own = f"{name}:{number}"
        done = ledger.append(an_append(own, query=(QueryItem(tags=(own,)),)))
        acknowledged.append([done.first, done.entries[0].decode()])
        shared = f"shared:{number}"
        try:
            ledger.append(an_append(shared, query=(QueryItem(tags=(shared,)),)))
            won.append(number)
        except Conflict:
            pass
    print(json.dumps({"won": won, "acknowledged": acknowledged}))
"""


def test_two_processes_on_one_file_both_record_and_one_wins_each_shared_condition(bench: Bench) -> None:
    rounds = 60
    root = Path(__file__).parents[1]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(bench.directory), name, str(rounds)],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    results = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(results[0]["won"] + results[1]["won"]) == list(range(rounds)), "exactly one winner each"
    check_ledger(bench.ledger, 3 * rounds)
    for result in results:
        for first, entry in result["acknowledged"]:
            assert bench.ledger.entry(first) == entry.encode()
            bench.ledger.receipt(first, 1).verify(bench.ledger.verifier, bench.ledger.origin)
    assert last_checkpoint(bench.ledger).size == 3 * rounds
