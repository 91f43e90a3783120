"""The races of the rules: two acts at once have one order, and the log tells it. Every round is about somebody else.

A hundred rounds of each here, a thousand with `--campaign` (`make campaign`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from api.order_intake import take_in
from ledger import Actor, Ledger
from ledger.commands import CorrectData, DestroyKeys, RegisterSubject
from ledger.errors import ConsentMissing, FieldsNotHeld, FieldUnknown, ObjectionStands, PartnerNotFewer
from ledger.events import (
    AcknowledgementLapsed,
    BatchImported,
    BatchQuarantined,
    ConsentWithdrawn,
    DataCorrected,
    DataUsed,
    DisclosureTransmitted,
    DisclosureVoided,
    Event,
    GuaranteeRevoked,
    KeyDestroyed,
    MarketingObjected,
    OfferReserved,
    OfferSent,
    OfferSuppressed,
    OrderRecorded,
    PersonalDataCollected,
    RecallOwed,
    UseDenied,
    Withheld,
)
from ledger.storage.engine import QueryItem
from ledger.vocabulary import Channel, IdentityCheck, OfferKind, RetentionClass, Role, new_id, subject_tag
from tests.bench import OFFICER, SUPPORT, Bench, an_id
from tests.race import Act, Race, Refusal, ask, forget
from tests.rules import test_disclosure as disclosure
from tests.rules import test_employee as employee
from tests.rules import test_marketing as marketing
from tests.rules import test_order as order
from tests.rules import test_source as source

Refusals = Sequence[tuple[Refusal, Refusal]]


@pytest.fixture(params=[100, pytest.param(1_000, marks=pytest.mark.campaign)])
def run(request: pytest.FixtureRequest, bench: Bench) -> Callable[[Race], None]:
    """Run a race so often and say how often it went which way (pytest shows it with -rP)."""
    rounds: int = request.param

    def report(race: Race) -> None:
        one, two = race.run(bench, rounds)
        print(f"{rounds:,} rounds, so that {race.promise}: {one} one way, {two} the other")

    return report


def events(ledger: Ledger) -> Iterator[Event]:
    return (recorded.event for recorded in ledger.read())


def who(number: int) -> dict[str, Any]:
    return {"subject_id": an_id(f"subject {number}")}


def which(number: int) -> dict[str, Any]:
    return who(number) | {"disclosure_id": an_id(f"disclosure {number}")}


def its(number: int) -> dict[str, Any]:
    return who(number) | {"consent_id": an_id(f"consent {number}")}


def only_first(refused: Refusals) -> None:
    """The first act of each pair always goes through."""
    assert not any(one for one, _ in refused), "the first is never refused"


def refusals(refused: Refusals, kind: type[Exception]) -> int:
    """Count the refusals of the second act, all of one kind."""
    found = [two for _, two in refused if two is not None]
    assert {type(error) for error in found} <= {kind}, "refused for the one reason"
    return len(found)


# --- disclosure --------------------------------------------------------------------------------------------------

BY_CONSENT = "nothing leaves after the withdrawal"
BY_LAW = "what is erased is not sent"


def withdrawn_first(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    only_first(refused)
    withdrawn, sent, recalled = set[str](), set[str](), set[str]()
    voided = 0
    for event in events(ledger):
        match event:
            case ConsentWithdrawn(subject_id=subject_id):
                withdrawn.add(subject_id)
            case DisclosureTransmitted(subject_id=subject_id):
                assert subject_id not in withdrawn, BY_CONSENT
                sent.add(subject_id)
            case DisclosureVoided(subject_id=subject_id):
                assert subject_id in withdrawn, "nothing is voided without a withdrawal"
                voided += 1
            case RecallOwed(subject_id=subject_id):
                recalled.add(subject_id)
    assert recalled == sent, "what had left is called back"
    assert refusals(refused, ConsentMissing) == voided
    return len(sent), voided


def erased_first(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    only_first(refused)
    erased = set[str]()
    sent = voided = 0
    for event in events(ledger):
        match event:
            case KeyDestroyed(subject_id=subject_id):
                erased.add(subject_id)
            case DisclosureTransmitted(subject_id=subject_id):
                assert subject_id not in erased, BY_LAW
                sent += 1
            case DisclosureVoided(subject_id=subject_id):
                assert subject_id in erased, "nothing is voided without an erasure"
                voided += 1
    assert refusals(refused, FieldsNotHeld) == voided
    return sent, voided


WITHDRAWAL_AND_TRANSMISSION = Race(
    given=(disclosure.POLICY, disclosure.partner()),
    life=lambda n: [
        RegisterSubject(**who(n)),
        disclosure.collect(**who(n)),
        disclosure.consent(**its(n)),
        disclosure.request(**which(n)),
        disclosure.authorize(**which(n)),
    ],
    acts=lambda _, n: (ask(disclosure.withdraw(**its(n))), ask(disclosure.transmit(**which(n)))),
    check=withdrawn_first,
    turns_on=(ConsentWithdrawn, DisclosureTransmitted),
    promise=BY_CONSENT,
)
ERASURE_AND_DISCLOSURE = Race(
    given=(disclosure.POLICY, disclosure.partner()),
    life=lambda n: [
        RegisterSubject(**who(n)),
        disclosure.collect(**who(n)),
        disclosure.by_law(**which(n)),
        disclosure.authorize(**which(n)),
        disclosure.decide(**who(n)),
    ],
    acts=lambda _, n: (ask(disclosure.destroy(**who(n))), ask(disclosure.transmit(**which(n)))),
    check=erased_first,
    turns_on=(KeyDestroyed,),
    promise=BY_LAW,
)


@pytest.mark.rule("withdrawal-voids-authorization")
def test_a_withdrawal_and_a_transmission_have_one_order(run: Callable[[Race], None]) -> None:
    run(WITHDRAWAL_AND_TRANSMISSION)


@pytest.mark.rule("only-what-is-held-is-disclosed")
def test_an_erasure_and_a_disclosure_have_one_order(run: Callable[[Race], None]) -> None:
    run(ERASURE_AND_DISCLOSURE)


# --- correction --------------------------------------------------------------------------------------------------

CORRECTED = "nothing is corrected after the erasure"


correct = disclosure.made(
    CorrectData, field="email", value="new@example.com", channel=Channel.PHONE,
    verification=IdentityCheck.CALL_BACK, evidence="call-1",
)  # fmt: skip


def version(ledger: Ledger, number: int) -> int:
    """Return the entry that set what is corrected."""
    query = (QueryItem((PersonalDataCollected.TOPIC,), (subject_tag(who(number)["subject_id"]),)),)
    return next(ledger.read(query)).index


def corrected_first(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    only_first(refused)
    erased = set[str]()
    corrected = 0
    for recorded in ledger.read():
        event = recorded.event
        if isinstance(event, KeyDestroyed):
            erased.add(event.subject_id)
        elif isinstance(event, DataCorrected):
            assert event.subject_id not in erased, CORRECTED
            corrected += 1
        if isinstance(event, DataCorrected | PersonalDataCollected):
            opened = ledger.open(recorded.index)
            assert isinstance(opened, DataCorrected | PersonalDataCollected)
            assert [*opened.values.values()] == [Withheld.ERASED], "no value of before the erasure opens"
    return corrected, refusals(refused, FieldUnknown)


ERASURE_AND_CORRECTION = Race(
    given=(disclosure.POLICY,),
    life=lambda n: [
        RegisterSubject(**who(n)),
        disclosure.collect(**who(n), values={"email": "old@example.com"}),
        disclosure.decide(**who(n)),
    ],
    acts=lambda ledger, n: (
        ask(DestroyKeys(**who(n), retention_classes=(RetentionClass.CONTRACT,))),
        ask(correct(**who(n), expected_version=version(ledger, n))),
    ),
    check=corrected_first,
    turns_on=(KeyDestroyed,),
    promise=CORRECTED,
)


@pytest.mark.rule("correction-sees-the-last-version")
def test_an_erasure_and_a_correction_have_one_order(run: Callable[[Race], None]) -> None:
    run(ERASURE_AND_CORRECTION)


# --- offers ------------------------------------------------------------------------------------------------------

OBJECTED = "nothing goes after the objection"
ONE_SLOT = "the last slot is taken once"
FIRST, SECOND = ({"campaign_id": an_id(f"partners {number}")} for number in range(2))
OWN = [{"campaign_id": an_id(f"own {number}")} for number in range(2)]


def agreed(number: int) -> list[Any]:
    email = {"email": f"{number}@example.com"}
    return [
        marketing.register(**who(number)),
        marketing.collect(**who(number), values=email),
        marketing.agree(**its(number)),
    ]


def with_one_slot_left(number: int) -> list[Any]:
    offers = [make(**who(number), **own) for own in OWN for make in (marketing.reserve, marketing.send)]
    partners = marketing.agree_to_partners(**who(number), consent_id=an_id(f"consent to partners {number}"))
    return [*agreed(number), partners, *offers]


def objected_first(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    only_first(refused)
    objected = set[str]()
    sent = suppressed = 0
    for event in events(ledger):
        match event:
            case MarketingObjected(subject_id=subject_id):
                objected.add(subject_id)
            case OfferSent(subject_id=subject_id):
                assert subject_id not in objected, OBJECTED
                sent += 1
            case OfferSuppressed(subject_id=subject_id):
                assert subject_id in objected, "nothing is suppressed without an objection"
                suppressed += 1
    assert refusals(refused, ObjectionStands) == suppressed
    return sent, suppressed


def one_winner(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    assert {type(error) for pair in refused for error in pair} <= {type(None), PartnerNotFewer}
    wins = {FIRST["campaign_id"]: 0, SECOND["campaign_id"]: 0}
    taken = set[str]()
    for event in events(ledger):
        if isinstance(event, OfferReserved) and event.kind is OfferKind.PARTNER:
            assert event.subject_id not in taken, ONE_SLOT
            taken.add(event.subject_id)
            wins[event.campaign_id] += 1
    return wins[FIRST["campaign_id"]], wins[SECOND["campaign_id"]]


OBJECTION_AND_OFFER = Race(
    given=(marketing.POLICY, marketing.plan()),
    life=lambda n: [*agreed(n), marketing.reserve(**who(n))],
    acts=lambda _, n: (ask(marketing.object_to(**who(n))), ask(marketing.send(**who(n)))),
    check=objected_first,
    turns_on=(MarketingObjected,),
    promise=OBJECTED,
    # An offer is decided anew after any objection: of many at once hardly one would go.
    at_once=2,
)
TWO_CAMPAIGNS_AND_ONE_SLOT = Race(
    given=(
        marketing.POLICY,
        *(marketing.plan_partners(**campaign) for campaign in (FIRST, SECOND)),
        *(marketing.plan(**own) for own in OWN),
    ),
    life=with_one_slot_left,
    acts=lambda _, n: (ask(marketing.reserve(**who(n), **FIRST)), ask(marketing.reserve(**who(n), **SECOND))),
    check=one_winner,
    turns_on=(OfferReserved,),
    promise=ONE_SLOT,
)


@pytest.mark.rule("objection-stops-everything")
def test_an_objection_and_an_offer_have_one_order(run: Callable[[Race], None]) -> None:
    run(OBJECTION_AND_OFFER)


@pytest.mark.rule("partner-offers-are-infrequent")
def test_two_campaigns_and_the_last_partner_slot_have_one_winner(run: Callable[[Race], None]) -> None:
    run(TWO_CAMPAIGNS_AND_ONE_SLOT)


# --- sources -----------------------------------------------------------------------------------------------------

REVOKED = "nothing is imported under a revoked guarantee"


def guaranteed(number: int) -> dict[str, Any]:
    return {"source_id": an_id(f"issuer {number}"), "guarantee_id": an_id(f"guarantee {number}")}


def revoked_first(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    assert not any(error for pair in refused for error in pair), "both are recorded"
    revoked = set[str]()
    imported = quarantined = 0
    for event in events(ledger):
        match event:
            case GuaranteeRevoked(guarantee_id=guarantee_id):
                revoked.add(guarantee_id)
            case BatchImported(guarantee_id=guarantee_id):
                assert guarantee_id not in revoked, REVOKED
                imported += 1
            case BatchQuarantined(guarantee_id=guarantee_id):
                assert guarantee_id in revoked, "nothing is quarantined before the revocation"
                quarantined += 1
    return imported, quarantined


REVOCATION_AND_IMPORT = Race(
    given=(source.POLICY,),
    life=lambda n: [source.issuer(source_id=guaranteed(n)["source_id"]), source.guarantee(**guaranteed(n))],
    acts=lambda _, n: (
        ask(source.revoke(**guaranteed(n))),
        ask(source.batch(**guaranteed(n), batch_id=an_id(f"batch {n}"))),
    ),
    check=revoked_first,
    turns_on=(GuaranteeRevoked,),
    promise=REVOKED,
)


@pytest.mark.rule("revocation-suspends")
def test_a_revocation_and_an_import_have_one_order(run: Callable[[Race], None]) -> None:
    run(REVOCATION_AND_IMPORT)


# --- employees ---------------------------------------------------------------------------------------------------

LAPSED = "nothing is read after the acknowledgement lapsed"


def staff(number: int) -> Actor:
    return Actor(id=an_id(f"employee {number}"), role=Role.SUPPORT)


def lapsed_first(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    only_first(refused)
    lapsed = set[str]()
    used = denied = 0
    for event in events(ledger):
        match event:
            case AcknowledgementLapsed(employee_id=employee_id):
                lapsed.add(employee_id)
            case DataUsed(employee_id=employee_id):
                assert employee_id not in lapsed, LAPSED
                used += 1
            case UseDenied(employee_id=employee_id):
                assert employee_id in lapsed, "nothing is denied before"
                denied += 1
    return used, denied


LAPSE_AND_READ = Race(
    given=(
        disclosure.POLICY,
        employee.procedure("1"),
        RegisterSubject(subject_id=employee.MARI),
        disclosure.collect(subject_id=employee.MARI),
    ),
    life=lambda n: [
        employee.onboard(employee_id=staff(n).id),
        (employee.acknowledge(employee_id=staff(n).id), staff(n)),
    ],
    acts=lambda _, n: (
        ask(employee.lapse(employee_id=staff(n).id)),
        ask(msgspec.structs.replace(employee.USE, employee_id=staff(n).id), staff(n)),
    ),
    check=lapsed_first,
    turns_on=(AcknowledgementLapsed,),
    promise=LAPSED,
)


@pytest.mark.rule("access-needs-acknowledgement")
@pytest.mark.rule("acknowledgement-lapses-after-grace")
def test_a_lapse_and_a_read_have_one_order(run: Callable[[Race], None]) -> None:
    run(LAPSE_AND_READ)


# --- orders ------------------------------------------------------------------------------------------------------

ONE_ORDER = "the same order twice is one order"


def taken_in(number: int, by: Actor) -> Act:
    """A door takes a message in, under an id of its own."""

    def act(ledger: Ledger) -> None:
        taken = take_in(ledger, order.order(order_id=new_id()), by, key=f"<{number}@example.com>")
        event = ledger.open(taken.receipt.index)
        assert isinstance(event, OrderRecorded)
        assert event.order_id == taken.order_id, "whoever comes second gets the order of the first"

    return act


def taken_once(ledger: Ledger, refused: Refusals) -> tuple[int, int]:
    assert not any(error for pair in refused for error in pair), "whoever comes second is not refused"
    doors = [event.by for event in events(ledger) if isinstance(event, OrderRecorded)]
    assert len(doors) == len(refused), ONE_ORDER
    return doors.count(OFFICER), doors.count(SUPPORT)


SAME_ORDER_TWICE = Race(
    given=(order.ADOPT, order.REGISTER),
    life=lambda _: [],
    acts=lambda _, n: (taken_in(n, OFFICER), taken_in(n, SUPPORT)),
    check=taken_once,
    turns_on=(),
    promise=ONE_ORDER,
)


@pytest.mark.rule("same-order-is-one")
def test_the_same_order_twice_at_once_is_one_order(run: Callable[[Race], None]) -> None:
    run(SAME_ORDER_TWICE)


# --- the races notice --------------------------------------------------------------------------------------------

RACES: Iterable[Race] = [race for race in globals().values() if isinstance(race, Race)]


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.promise)
def test_a_race_notices_a_condition_that_forgets_what_it_turns_on(
    bench: Bench, race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, race.turns_on)
    with pytest.raises(AssertionError, match=race.promise):
        race.run(bench, 100)
