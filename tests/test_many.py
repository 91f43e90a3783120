"""Many commands at once: each succeeds or fails alone, as if each had been waited for, in few transactions."""

from __future__ import annotations

import pytest

from ledger import Receipt
from ledger.append import Append
from ledger.command import Command
from ledger.commands import WithdrawConsent
from ledger.entry import parse
from ledger.errors import ConsentExists, ConsentNotLive, IdempotencyMismatch, LedgerError, SubjectUnknown
from ledger.storage.engine import QueryItem
from ledger.vocabulary import Channel, Tag
from ledger.waiting import Waiting
from tests.bench import OFFICER, Bench, an_append, an_id, check_ledger
from tests.test_sequencer import checkpoints
from tests.test_unused import MARI, consent, register


def withdraw(name: str = "consent") -> WithdrawConsent:
    return WithdrawConsent(consent_id=an_id(name), subject_id=MARI, channel=Channel.API)


def outcomes(bench: Bench, *commands: Command, keys: tuple[str | None, ...] = ()) -> list[Receipt | LedgerError]:
    every = keys or (None,) * len(commands)
    return bench.ledger.record_many([(one, OFFICER, key) for one, key in zip(commands, every, strict=True)])


def test_what_rests_on_a_line_before_sees_it(bench: Bench) -> None:
    found = outcomes(bench, consent(), register(), consent(), consent(), withdraw(), withdraw(), consent("second"))
    kinds = [type(one) for one in found]
    assert kinds == [SubjectUnknown, Receipt, Receipt, ConsentExists, Receipt, ConsentNotLive, Receipt]
    assert [one.index for one in found if isinstance(one, Receipt)] == [0, 1, 2, 3]
    for one in found:
        if isinstance(one, Receipt):
            one.verify(bench.ledger.verifier, bench.ledger.origin)
    check_ledger(bench.ledger, 4)


def test_consents_of_one_person_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.given(register())
    before = checkpoints(bench.ledger)
    found = outcomes(bench, *(consent(f"c{i}") for i in range(100)))
    assert all(isinstance(one, Receipt) for one in found)
    # The first may be under way before the others are there.
    assert checkpoints(bench.ledger) - before <= 10
    check_ledger(bench.ledger, 101)


def test_one_key_twice_in_a_batch_is_one_fact(bench: Bench) -> None:
    bench.given(register())
    found = outcomes(bench, consent(), consent(), consent("other"), keys=("k", "k", "k"))
    assert isinstance(found[0], Receipt)
    assert found[1] == found[0]
    assert isinstance(found[2], IdempotencyMismatch)
    check_ledger(bench.ledger, 2)


def test_one_key_for_two_different_lines_is_refused_before_the_second_is_decided(bench: Bench) -> None:
    bench.given(register())
    found = outcomes(bench, consent(), withdraw("unknown"), keys=("k", "k"))
    assert [type(one) for one in found] == [Receipt, IdempotencyMismatch]


def test_the_entries_stand_in_the_order_of_the_lines(bench: Bench) -> None:
    names = [f"s{i}" for i in range(60)]
    found = outcomes(bench, *(register(name) for name in names), *(consent(n, an_id(n)) for n in names))
    receipts = [one for one in found if isinstance(one, Receipt)]
    assert [one.index for one in receipts] == list(range(120))
    assert [parse(one.entries[0]).index for one in receipts] == list(range(120))


def waiting(*appends: Append) -> Waiting:
    found = Waiting()
    for one in appends:
        found.add(one, None)
    return found


@pytest.mark.parametrize(
    ("item", "may_match"),
    [
        (QueryItem(("t",), (Tag("a"),)), True),
        (QueryItem(("u",), (Tag("a"),)), False),
        (QueryItem((), (Tag("a"),)), True),
        (QueryItem((), (Tag("z"),)), False),
        (QueryItem(("t", "u"), (Tag("a"), Tag("b"))), True),
        (QueryItem(("t",), (Tag("a"), Tag("z"))), False),
        (QueryItem((), ()), True),
    ],
)
def test_what_waits_may_be_what_the_next_asks_for(item: QueryItem, may_match: bool) -> None:
    some = waiting(an_append("a", type="t"), an_append("b", type="u"))
    assert some.may_match((QueryItem(("u",), (Tag("z"),)), item)) is may_match
    some.clear()
    assert not some.may_match((item,))


@pytest.mark.parametrize(
    ("next_one", "changes"),
    [
        (an_append("a", "b", type="t"), True),
        (an_append("a", type="t"), False),
        (an_append("a", "b", type="u"), False),
        (an_append("c", type="anything"), True),
        (an_append("z", type="everywhere"), True),
        (an_append("z", type="t"), False),
    ],
)
def test_the_next_may_change_what_waits(next_one: Append, changes: bool) -> None:
    query = (
        QueryItem(("t",), (Tag("a"), Tag("b"))), QueryItem((), (Tag("c"),)), QueryItem(("everywhere",), ()),
    )  # fmt: skip
    some = waiting(an_append("x", query=query))
    assert some.may_be_changed_by(next_one) is changes
    some.clear()
    assert not some.may_be_changed_by(next_one)


def test_a_key_that_waits() -> None:
    some = Waiting()
    some.add(an_append("x"), "k")
    assert some.has_key("k")
    assert not some.has_key(None)
    some.clear()
    assert not some.has_key("k")
