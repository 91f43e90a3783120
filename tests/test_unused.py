"""Ids that a command brings into being: nobody looks for them first, and yet none is taken twice."""

from __future__ import annotations

import threading

import pytest

from ledger import Ledger
from ledger.command import Command, query_of, unused
from ledger.commands import GiveConsent, RegisterSubject, WithdrawConsent
from ledger.errors import Conflict, ConsentExists, SubjectExists
from ledger.state.subject import registration
from ledger.storage.engine import Query, QueryItem
from ledger.vocabulary import Channel, Language, Purpose, Sha256Hex, Word
from tests.bench import OFFICER, Bench, an_id, check_ledger
from tests.test_sequencer import held, in_threads, until, waiting

MARI = an_id("mari")
TEXT = Sha256Hex("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")


def register(name: str = "mari") -> RegisterSubject:
    return RegisterSubject(subject_id=an_id(name))


def consent(name: str = "consent", subject: str = MARI) -> GiveConsent:
    return GiveConsent(
        consent_id=an_id(name), subject_id=subject, purpose=Purpose.OWN_OFFERS, fields=(Word("email"),),
        text_sha256=TEXT, language=Language("et"), channel=Channel.API,
    )  # fmt: skip


def asked_of_the_store(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[QueryItem]:
    """Note from now on what a decision reads from the store."""
    asked: list[QueryItem] = []
    select = ledger.engine.select

    def noted(query: Query, **options: int) -> object:
        asked.extend(query)
        return select(query, **options)

    monkeypatch.setattr(ledger.engine, "select", noted)
    return asked


def test_a_fresh_id_is_not_looked_for(any_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    any_bench.given(register(), consent("warm"))
    asked = asked_of_the_store(any_bench.ledger, monkeypatch)
    any_bench.ledger.record(consent(), OFFICER)
    any_bench.ledger.record(register("jaan"), OFFICER)
    assert asked == []


@pytest.mark.parametrize(
    ("command", "refusal"), [(register(), SubjectExists), (consent(), ConsentExists)], ids=["subject", "consent"]
)
def test_an_id_that_is_taken_is_refused_in_whatever_process_it_was_taken(
    any_bench: Bench, command: Command, refusal: type[Exception]
) -> None:
    any_bench.given(register(), consent())
    with pytest.raises(refusal):
        any_bench.ledger.record(command, OFFICER)
    with any_bench.another() as other, pytest.raises(refusal):
        other.record(command, OFFICER)
    with pytest.raises(refusal):
        any_bench.reopen().record(command, OFFICER)
    check_ledger(any_bench.ledger, 2)


def test_an_id_whose_tag_has_other_events_only_is_free(any_bench: Bench) -> None:
    # The head of the tag says that there may be something; only the store says that it is of another type.
    any_bench.given(register(), consent())
    any_bench.ledger.record(
        WithdrawConsent(consent_id=consent().consent_id, subject_id=MARI, channel=Channel.API), OFFICER
    )
    item = QueryItem((RegisterSubject.RECORDS[0].TOPIC,), (query_of(consent().boundary())[1].tags[0],), ever=True)
    append = any_bench.ledger.seal(any_bench.ledger.decide(register("jaan"), OFFICER)[0].facts, (item,), 0)
    any_bench.ledger.append(append)
    check_ledger(any_bench.ledger, 4)


def test_of_many_who_take_one_id_at_once_one_has_it(any_bench: Bench) -> None:
    any_bench.given(register())
    with held(any_bench.ledger):
        outcomes: list[object] = []

        def take() -> None:
            try:
                outcomes.append(any_bench.ledger.record(consent(), OFFICER))
            except ConsentExists as refusal:
                outcomes.append(refusal)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        # All of them were decided before any of them is recorded.
        until(lambda: waiting(any_bench.ledger) == 8)
    for thread in threads:
        thread.join(30)
    assert sum(isinstance(outcome, ConsentExists) for outcome in outcomes) == 7
    check_ledger(any_bench.ledger, 3)


def test_of_two_processes_that_take_one_id_one_has_it(any_bench: Bench) -> None:
    any_bench.given(register())
    with any_bench.another() as other:
        found = in_threads(*(lambda one=one: one.record(consent(), OFFICER) for one in (any_bench.ledger, other) * 3))
    assert sum(isinstance(outcome, ConsentExists) for outcome in found) == 5
    check_ledger(any_bench.ledger, 2)


def test_a_condition_reaches_back_to_the_beginning_for_what_was_never_looked_for(any_bench: Bench) -> None:
    any_bench.given(register())
    (item,) = query_of(unused(registration(MARI)), trusting=True)
    assert item.ever
    facts = any_bench.ledger.decide(register("jaan"), OFFICER)[0].facts
    with pytest.raises(Conflict):
        any_bench.ledger.append(any_bench.ledger.seal(facts, (item,), any_bench.ledger.size()))
    looked_for = query_of(unused(registration(MARI)))
    any_bench.ledger.append(any_bench.ledger.seal(facts, looked_for, any_bench.ledger.size()))
    check_ledger(any_bench.ledger, 2)
