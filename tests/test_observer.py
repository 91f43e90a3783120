"""What a ledger tells its observer: how long appends waited, what was refused, and which step is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from ledger.commands import AuthorizeDisclosure, RegisterSubject, RequestDisclosure, WithdrawConsent
from ledger.errors import ConsentMissing, ConsentUnknown
from ledger.observer import Observer, Step
from ledger.vocabulary import Channel, LegalBasis, Purpose
from tests.bench import OFFICER, SUPPORT, Bench, an_append, an_id

MARI = an_id("mari")


class Noting(Observer):
    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.codes: list[str] = []
        self.steps: list[str] = []

    def settled(self, waited_s: Sequence[float]) -> None:
        self.batches.append(list(waited_s))

    def refused(self, code: str) -> None:
        self.codes.append(code)

    def step(self, name: Step) -> AbstractContextManager[object]:
        return self._noted(name)

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        self.steps.append(f"{name} begins")
        yield
        self.steps.append(f"{name} ends")


def unknown(name: str) -> WithdrawConsent:
    return WithdrawConsent(consent_id=an_id(name), subject_id=MARI, channel=Channel.PHONE)


def watched(bench: Bench) -> Noting:
    noting = Noting()
    bench.ledger.observe(noting)
    return noting


def settle(bench: Bench) -> None:
    """Wait until the thread that writes has told everything: closing finishes it."""
    bench.ledger._sequencer.close()


def test_every_append_of_a_transaction_is_told_once(bench: Bench) -> None:
    noting = watched(bench)
    tickets = [bench.ledger._sequencer.submit(an_append(f"tag-{number}")) for number in range(20)]
    for ticket in tickets:
        ticket.wait()
    settle(bench)
    waited = [seconds for batch in noting.batches for seconds in batch]
    assert len(waited) == 20
    assert all(0 < seconds < 60 for seconds in waited)


def test_decisions_and_appends_are_surrounded_whoever_waits(bench: Bench) -> None:
    noting = watched(bench)
    steps = ["decide begins", "decide ends", "append begins", "append ends"]
    bench.ledger.record(RegisterSubject(subject_id=MARI), SUPPORT)
    assert noting.steps == steps
    asyncio.run(bench.ledger.arecord(RegisterSubject(subject_id=an_id("jaan")), SUPPORT))
    assert noting.steps == steps * 2


def test_a_refusal_is_told_once_by_its_code(bench: Bench) -> None:
    noting = watched(bench)
    with pytest.raises(ConsentUnknown):
        bench.ledger.record(unknown("a"), SUPPORT)
    with pytest.raises(ConsentUnknown):
        asyncio.run(bench.ledger.arecord(unknown("b"), SUPPORT))
    assert noting.codes == ["consent-unknown"] * 2


def test_a_refusal_that_is_recorded_is_told_once_however_often_it_is_asked(bench: Bench) -> None:
    disclosure = an_id("disclosure")
    bench.given(
        RegisterSubject(subject_id=MARI),
        RequestDisclosure(
            disclosure_id=disclosure,
            subject_id=MARI,
            recipient_id=an_id("recipient"),
            purpose=Purpose.E_INVOICE,
            basis=LegalBasis.CONSENT,
            fields=("email",),  # type: ignore[arg-type]
        ),
    )
    noting = watched(bench)
    ask = AuthorizeDisclosure(disclosure_id=disclosure, subject_id=MARI, token_sha256="0" * 64)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(ConsentMissing):
            bench.ledger.record(ask, OFFICER, idempotency_key="k")
    assert noting.codes == ["consent-missing"]


def test_an_observer_that_fails_stops_nothing(bench: Bench) -> None:
    class Failing(Noting):
        def settled(self, waited_s: Sequence[float]) -> None:
            super().settled(waited_s)
            raise ValueError

    noting = Failing()
    bench.ledger.observe(noting)
    for number in range(3):
        bench.ledger.record(RegisterSubject(subject_id=an_id(f"subject {number}")), SUPPORT)
    settle(bench)
    assert len(noting.batches) == 3
    assert bench.ledger.waiting() == 0
