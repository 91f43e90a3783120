"""Offers: their basis, objections that outlive everything, how often partners may, one order. Clause 7."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.command import Command
from ledger.commands import (
    AdoptPolicy,
    ClassifyContact,
    CollectData,
    DecideErasure,
    DestroyKeys,
    GiveMarketingConsent,
    LinkIdentifier,
    ObjectToMarketing,
    PlanCampaign,
    RecordSale,
    RegisterSubject,
    ReserveOffer,
    SendOffer,
    SuppressOffer,
    WithdrawMarketingConsent,
)
from ledger.entry import parse
from ledger.errors import (
    AddressMissing,
    AddressSuppressed,
    CampaignExists,
    CampaignUnknown,
    ChannelNotUsed,
    ConsentExists,
    Invalid,
    MarketingConsentUnknown,
    ObjectionStands,
    OfferBasisMissing,
    OfferExists,
    OfferNotReserved,
    PartnerCapReached,
    PartnerNotFewer,
    ProcessorRole,
    SubjectUnknown,
    SuppressionStays,
)
from ledger.events import (
    ClassDecision,
    MarketingObjected,
    OfferReserved,
    OfferSent,
    OfferSuppressed,
    PersonalDataCollected,
    Withheld,
)
from ledger.explain import explain
from ledger.policy import default_policy_text
from ledger.state.marketing import months_before
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    IdentifierKind,
    LegalBasis,
    OfferBasis,
    OfferKind,
    PersonType,
    Purpose,
    RetentionClass,
    SourceKind,
    SubjectRole,
)
from tests.bench import OFFICER, START, SUPPORT, Bench, an_id
from tests.conftest import MakeBench

MARI, JAAN, CLIENT = an_id("mari"), an_id("jaan"), an_id("client")
CONSENT, OWN, PARTNERS = an_id("a consent"), an_id("an own campaign"), an_id("a partners' campaign")
TEXT_SHA256: Any = sha256(b"Yes, send me offers").hexdigest()
POLICY = AdoptPolicy(text=default_policy_text())

Made = Callable[..., Any]


def made(command: type, **usual: Any) -> Made:
    return lambda **given: command(**usual | given)


register = made(RegisterSubject, subject_id=MARI)
collect = made(
    CollectData,
    subject_id=MARI,
    purpose=Purpose.CONTRACT,
    basis=LegalBasis.CONTRACT,
    source=SourceKind.SUBJECT,
    values={"email": "mari@example.com"},
)
classify = made(ClassifyContact, subject_id=MARI, person_type=PersonType.LEGAL)
sale = made(RecordSale, subject_id=MARI, reference="S-1", opt_out_offered=True)
agree = made(
    GiveMarketingConsent,
    consent_id=CONSENT,
    subject_id=MARI,
    kind=OfferKind.OWN,
    channels=(Channel.EMAIL,),
    text_sha256=TEXT_SHA256,
    language="et",
    channel=Channel.SOFTWARE,
)
agree_to_partners = made(
    GiveMarketingConsent,
    consent_id=an_id("a consent to partners"),
    subject_id=MARI,
    kind=OfferKind.PARTNER,
    channels=(Channel.EMAIL, Channel.PHONE),
    text_sha256=TEXT_SHA256,
    language="et",
    channel=Channel.SOFTWARE,
)
withdraw = made(WithdrawMarketingConsent, consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE, received_at=START)
object_to = made(ObjectToMarketing, subject_id=MARI, channel=Channel.LINK, received_at=START)
plan = made(PlanCampaign, campaign_id=OWN, kind=OfferKind.OWN, channel=Channel.EMAIL, opt_out=Channel.LINK)
plan_partners = made(
    PlanCampaign,
    campaign_id=PARTNERS,
    kind=OfferKind.PARTNER,
    channel=Channel.EMAIL,
    opt_out=Channel.LINK,
    partner="P-1",
)
reserve = made(ReserveOffer, campaign_id=OWN, subject_id=MARI)
send = made(SendOffer, campaign_id=OWN, subject_id=MARI)
suppress = made(SuppressOffer, campaign_id=OWN, subject_id=MARI, reason="bounced")

MAKERS = [classify, sale, agree, withdraw, object_to, plan, plan_partners, reserve, send, suppress]
FIELD_KINDS = {
    "person_type": "enum", "reference": "reference", "kind": "enum", "campaign_id": "id", "opt_out": "enum",
    "partner": "reference", "email": "text", "phone": "text",
}  # fmt: skip
OTHER_FIELDS = {"opt_out_offered", "channels", "similar"}
CODES = [
    "address-missing", "address-suppressed", "campaign-exists", "campaign-unknown", "channel-not-used",
    "marketing-consent-unknown", "objection-stands", "offer-basis-missing", "offer-exists", "offer-not-reserved",
    "partner-cap-reached", "partner-not-fewer", "processor-role", "suppression-stays",
]  # fmt: skip


def reserved(basis: OfferBasis = OfferBasis.CONSENT, **given: Any) -> OfferReserved:
    usual = {"campaign_id": OWN, "subject_id": MARI, "kind": OfferKind.OWN, "channel": Channel.EMAIL}
    return OfferReserved(**usual | {"basis": basis} | given)


def sent(**given: Any) -> OfferSent:
    usual = {"campaign_id": OWN, "subject_id": MARI, "kind": OfferKind.OWN, "channel": Channel.EMAIL}
    return OfferSent(**usual | given)


def held_back(reason: str, **given: Any) -> OfferSuppressed:
    return OfferSuppressed(**{"campaign_id": OWN, "subject_id": MARI, "reason": reason} | given)


@pytest.fixture
def ready(bench: Bench) -> Bench:
    return bench.given(POLICY, register(), collect(), plan(), plan_partners())


# --- the basis ---------------------------------------------------------------------------------------------------

NONE, SALE, OPT_OUT, AGREED = None, OfferBasis.SALE, OfferBasis.OPT_OUT, OfferBasis.CONSENT


@pytest.mark.rule("offers-rest-on-a-basis")
@pytest.mark.parametrize(
    ("person", "channel", "kind", "similar", "bases"),
    [
        # without anything, after a sale with opt-out, with consent to own offers, with consent to partner offers
        (PersonType.NATURAL, Channel.EMAIL, OfferKind.OWN, True, (NONE, SALE, AGREED, NONE)),
        (PersonType.NATURAL, Channel.EMAIL, OfferKind.OWN, False, (NONE, NONE, AGREED, NONE)),
        (PersonType.NATURAL, Channel.PHONE, OfferKind.OWN, True, (NONE, NONE, AGREED, NONE)),
        (PersonType.NATURAL, Channel.POST, OfferKind.OWN, False, (OPT_OUT, OPT_OUT, AGREED, OPT_OUT)),
        (PersonType.LEGAL, Channel.EMAIL, OfferKind.OWN, False, (OPT_OUT, OPT_OUT, AGREED, OPT_OUT)),
    ],
)
def test_person_type_channel_and_kind_select_the_basis(
    bench: Bench, person: PersonType, channel: Channel, kind: OfferKind, similar: bool, bases: Any
) -> None:
    values = {"email": "mari@example.com", "phone": "+372 5", "address": "Tartu"}
    bench.given(POLICY, plan(channel=channel, kind=kind, similar=similar))
    given: list[Any] = [
        [],
        [sale],
        [lambda **who: agree(**who, channels=(channel,), consent_id=an_id(f"own {who}"))],
        [lambda **who: agree_to_partners(**who, channels=(channel,), consent_id=an_id(f"partner {who}"))],
    ]
    for number, (steps, basis) in enumerate(zip(given, bases, strict=True)):
        who = {"subject_id": an_id(f"person {number}")}
        bench.given(register(**who), collect(**who, values=values), classify(**who, person_type=person))
        bench.given(*(step(**who) for step in steps))
        done = bench.when(reserve(**who))
        if basis is None:
            done.refused(OfferBasisMissing, held_back("offer-basis-missing", **who), channel=channel)
        else:
            done.then(reserved(basis, **who, channel=channel))


def test_partner_offers_to_a_natural_person_need_prior_opt_in_to_them(ready: Bench) -> None:
    ready.given(agree(), sale(), plan(campaign_id=an_id("c2")), plan(campaign_id=an_id("c3")))
    for campaign in (an_id("c2"), an_id("c3")):
        ready.given(reserve(campaign_id=campaign), send(campaign_id=campaign))
    which = {"campaign_id": PARTNERS}
    ready.when(reserve(**which)).refused(OfferBasisMissing, held_back("offer-basis-missing", **which))
    ready.given(agree_to_partners())
    ready.when(reserve(**which)).then(reserved(**which, kind=OfferKind.PARTNER))


def test_a_sale_without_opt_out_at_collection_is_no_basis(ready: Bench) -> None:
    similar = {"campaign_id": an_id("similar")}
    ready.given(plan(**similar, similar=True), sale(opt_out_offered=False))
    ready.when(reserve(**similar)).refused(OfferBasisMissing, held_back("offer-basis-missing", **similar))


def test_a_campaign_is_planned_once_by_a_channel_that_is_used_and_partners_have_a_contract(ready: Bench) -> None:
    ready.when(plan()).refused(CampaignExists, campaign=OWN)
    ready.when(plan(campaign_id=an_id("x"), channel=Channel.API)).refused(ChannelNotUsed, channel="api")
    ready.when(plan(campaign_id=an_id("x"), partner="P-1")).refused(Invalid, field="partner")
    ready.when(plan_partners(campaign_id=an_id("x"), partner=None)).refused(Invalid, field="partner")


def test_consents_are_given_once_and_withdrawn_once(ready: Bench) -> None:
    ready.when(agree(channels=())).refused(Invalid, field="channels")
    ready.given(agree()).when(agree(kind=OfferKind.PARTNER)).refused(ConsentExists, consent=CONSENT)
    ready.when(withdraw(subject_id=JAAN)).refused(MarketingConsentUnknown, subject=JAAN)
    ready.when(withdraw(received_at=START + timedelta(seconds=1))).refused(Invalid, field="received_at")
    ready.given(withdraw()).when(withdraw()).refused(MarketingConsentUnknown, consent=CONSENT)
    ready.when(reserve()).refused(OfferBasisMissing, held_back("offer-basis-missing"))


@pytest.mark.rule("no-offers-to-clients-people")
def test_nobody_whose_data_a_client_entered_is_marketed_to(ready: Bench) -> None:
    who = {"subject_id": JAAN}
    ready.given(register(**who, role=SubjectRole.PROCESSOR, client_id=CLIENT), collect(**who), agree(**who))
    ready.when(reserve(**who)).refused(ProcessorRole, held_back("processor-role", **who), subject=JAAN)


# --- objection ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("objection-stops-everything")
def test_an_objection_stops_everything_at_once_without_any_consent_existing(ready: Bench) -> None:
    ready.given(classify(), object_to())
    ready.when(reserve()).refused(ObjectionStands, held_back("objection-stands"), subject=MARI)
    ready.when(reserve(campaign_id=PARTNERS)).refused(
        ObjectionStands, held_back("objection-stands", campaign_id=PARTNERS)
    )
    ready.given(sale()).when(reserve()).refused(ObjectionStands, held_back("objection-stands"))


def test_an_objection_ends_consents_and_only_a_new_one_permits_what_it_names(ready: Bench) -> None:
    ready.given(agree(), reserve(), object_to())
    ready.when(send()).refused(ObjectionStands, held_back("objection-stands"), subject=MARI)
    ready.given(agree(consent_id=an_id("anew")))
    ready.when(reserve()).then(reserved())
    ready.when(reserve(campaign_id=PARTNERS)).refused(
        ObjectionStands, held_back("objection-stands", campaign_id=PARTNERS)
    )


def test_an_objection_holds_for_whoever_else_has_the_address(ready: Bench) -> None:
    who = {"subject_id": JAAN}
    ready.given(register(**who), collect(**who, values={"email": " MARI@Example.com"}), agree(**who))
    ready.given(object_to())
    ready.when(reserve(**who)).refused(AddressSuppressed, held_back("address-suppressed", **who), subject=JAAN)


def test_an_address_that_was_never_recorded_can_be_objected_with(ready: Bench) -> None:
    ready.when(object_to(email=" ")).refused(Invalid, field="email")
    ready.given(object_to(email="other@example.com", phone="+372 5555 0123"))
    who = {"subject_id": JAAN}
    link = LinkIdentifier(subject_id=JAAN, kind=IdentifierKind.PHONE, value="+3725555-0123")
    ready.given(register(**who), collect(**who, values={"email": "jaan@example.com"}), link, agree(**who))
    ready.when(reserve(**who)).refused(AddressSuppressed, held_back("address-suppressed", **who))


def test_an_objection_survives_erasure_as_a_keyed_digest_that_no_entry_holds(ready: Bench) -> None:
    ready.given(object_to())
    index = ready.ledger.size() - 1
    entry = ready.ledger.entry(index)
    opened = ready.ledger.open(index)
    assert isinstance(opened, MarketingObjected)
    assert isinstance(opened.digests, list)
    assert opened.digests
    assert all(digest.encode() not in entry for digest in opened.digests)

    def decision(retention_class: RetentionClass) -> DecideErasure:
        erased = ClassDecision(
            retention_class=retention_class,
            outcome=ErasureOutcome.ERASED,
            ground="asked",  # type: ignore[arg-type]
        )
        return DecideErasure(subject_id=MARI, decisions=(erased,))

    ready.when(decision(RetentionClass.SUPPRESSION)).refused(SuppressionStays, subject=MARI)
    ready.given(
        decision(RetentionClass.CONTRACT),
        DestroyKeys(subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,)),
    )
    before = next(one.index for one in ready.ledger.read() if isinstance(one.event, PersonalDataCollected))
    assert ready.ledger.open(before).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    ready.reopen()
    who = {"subject_id": JAAN}
    ready.given(register(**who), collect(**who), agree(**who))
    ready.when(reserve(**who)).refused(AddressSuppressed, held_back("address-suppressed", **who))
    ready.when(reserve()).refused(ObjectionStands, held_back("objection-stands"))


def test_an_objection_recorded_by_another_process_is_seen(ready: Bench) -> None:
    who = {"subject_id": JAAN}
    ready.given(register(**who), collect(**who), agree(**who), reserve(**who))
    other = ready.another()
    try:
        other.record(object_to(), SUPPORT)
    finally:
        other.close()
    ready.when(send(**who)).refused(AddressSuppressed, held_back("address-suppressed", **who))


@pytest.mark.rule("opting-out-is-easy")
@pytest.mark.parametrize("channel", list(Channel))
def test_opting_out_is_equally_easy_by_every_channel(ready: Bench, channel: Channel) -> None:
    ready.given(agree(), withdraw(channel=channel), by=SUPPORT).given(object_to(channel=channel), by=SUPPORT)
    ready.when(reserve()).refused(ObjectionStands, held_back("objection-stands"))
    ready.when(object_to(received_at=START + timedelta(seconds=1))).refused(Invalid, field="received_at")


# --- reserved, sent, given back ----------------------------------------------------------------------------------


@pytest.mark.rule("offers-are-reserved-first")
def test_an_offer_is_reserved_and_sent_once(ready: Bench) -> None:
    ready.when(send()).refused(OfferNotReserved, subject=MARI, campaign=OWN)
    ready.when(reserve(campaign_id=an_id("none"))).refused(CampaignUnknown)
    ready.when(reserve(subject_id=JAAN)).refused(SubjectUnknown, subject=JAAN)
    ready.given(agree()).when(reserve()).then(reserved())
    ready.when(reserve()).refused(OfferExists, subject=MARI, campaign=OWN)
    ready.when(send()).then(sent())
    ready.when(send()).refused(OfferNotReserved, subject=MARI)
    ready.when(suppress()).refused(OfferNotReserved, subject=MARI)


def test_a_reserved_offer_may_be_given_back(ready: Bench) -> None:
    ready.given(agree(), reserve()).when(suppress()).then(held_back("bounced"))
    ready.when(send()).refused(OfferNotReserved)
    ready.when(reserve()).then(reserved())


def test_an_offer_needs_an_address_for_its_channel(ready: Bench) -> None:
    which = {"campaign_id": an_id("by phone")}
    ready.given(plan(**which, channel=Channel.PHONE), agree(channels=(Channel.PHONE,)))
    ready.when(reserve(**which)).refused(AddressMissing, held_back("address-missing", **which), channel="phone")


def test_a_suppressed_offer_is_explained_by_what_it_rested_on(ready: Bench) -> None:
    ready.given(agree(), object_to()).when(reserve()).refused(ObjectionStands, held_back("objection-stands"))
    found = explain(ready.ledger, ready.ledger.size() - 1)
    assert (found.command, found.refusal) == ("reserve-offer", "objection-stands")
    assert [rule.id for rule in found.rules] == ["objection-stops-everything"]
    assert found.facts[-1].topic == "marketing-objected"


# --- how often partners may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch",
    [
        (object_to(subject_id=JAAN), reserve(), classify(person_type=PersonType.NATURAL)),
        (object_to(subject_id=JAAN), reserve(), sale()),
        (reserve(), object_to(), send()),
    ],
)
def test_a_batch_comes_out_as_if_each_had_been_waited_for(make_bench: MakeBench, batch: tuple[Command, ...]) -> None:
    # An objection guards every offer (the address may be the same), without standing in the offer's boundary.
    found = []
    for at_once in (True, False):
        bench = make_bench().given(POLICY, register(), register(subject_id=JAAN), collect(), plan(), classify())
        bench.given(collect(subject_id=JAAN, values={"email": "jaan@example.com"}))
        size = bench.ledger.size()
        groups = [batch] if at_once else [(one,) for one in batch]
        outcomes = [one for group in groups for one in bench.ledger.record_many([(c, OFFICER, None) for c in group])]
        types = [parse(bench.ledger.entry(index)).type for index in range(size, bench.ledger.size())]
        found.append(([type(one) for one in outcomes], types))
    assert found[0] == found[1]


def own_offers(ready: Bench, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        which = {"campaign_id": an_id(f"own {number}")}
        ready.given(plan(**which), reserve(**which), send(**which))


def partners_offer(number: int) -> dict[str, Any]:
    return {"campaign_id": an_id(f"partners {number}")}


@pytest.mark.rule("partner-offers-are-infrequent")
def test_partner_offers_are_at_most_so_many_and_fewer_than_own_ones(ready: Bench) -> None:
    for number in range(4):
        ready.given(plan_partners(**partners_offer(number)))
    ready.given(agree(), agree_to_partners())
    own_offers(ready, 1)
    one, two, three, four = (partners_offer(n) for n in range(4))
    ready.when(reserve(**one)).refused(PartnerNotFewer, held_back("partner-not-fewer", **one))
    own_offers(ready, 2, first=1)
    ready.given(reserve(**one), reserve(**two), send(**two))
    own_offers(ready, 3, first=3)
    ready.when(reserve(**three)).refused(PartnerCapReached, held_back("partner-cap-reached", **three))
    ready.given(suppress(**one))
    ready.when(reserve(**three)).then(reserved(**three, kind=OfferKind.PARTNER))
    ready.clock.forward(days=365)
    own_offers(ready, 2, first=6)
    ready.when(reserve(**four)).then(reserved(**four, kind=OfferKind.PARTNER))


@pytest.mark.parametrize(
    ("moment", "months", "before"),
    [((2026, 11, 24), 12, (2025, 11, 24)), ((2024, 2, 29), 12, (2023, 2, 28)), ((2026, 1, 31), 2, (2025, 11, 30))],
)
def test_a_window_is_in_calendar_months(moment: Any, months: int, before: Any) -> None:
    assert months_before(datetime(*moment, tzinfo=UTC), months) == datetime(*before, tzinfo=UTC)
