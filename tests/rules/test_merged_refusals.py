"""Merged records of one person: whatever one of them refuses, restricts or holds is so for all. Clause 0.

Consents to disclosures are tested in test_merge.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Actor
from ledger.command import Command
from ledger.commands import (
    AdoptPolicy,
    ClassifyContact,
    CollectData,
    DecideErasure,
    DestroyKeys,
    GiveMarketingConsent,
    LiftRestriction,
    MergeSubjects,
    ObjectToMarketing,
    PlaceHold,
    PlanCampaign,
    RecordSale,
    RegisterSubject,
    ReleaseHold,
    ReserveOffer,
    RestrictProcessing,
    SendOffer,
    SuppressOffer,
    UnmergeSubjects,
    UseData,
    WithdrawMarketingConsent,
)
from ledger.errors import (
    OfferBasisMissing,
    PartnerCapReached,
    PartnerNotFewer,
    PersonRefused,
    Refused,
    Restricted,
    UnderHold,
)
from ledger.events import ClassDecision, ErasureDeferred, OfferSuppressed
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    ActorId,
    Channel,
    ErasureOutcome,
    LegalBasis,
    OfferKind,
    PersonType,
    Purpose,
    RestrictionGround,
    RetentionClass,
    Role,
    SourceKind,
)
from projections import PROJECTIONS_FILE, open_projections
from projections.duties import run_duties
from tests.bench import OFFICER, START, Bench, an_id
from tests.conftest import MakeBench

MARI, WRITER, THIRD = an_id("mari"), an_id("who wrote an e-mail"), an_id("a third record")
PEOPLE = (MARI, WRITER, THIRD)
SERVICE = Actor(id=ActorId(an_id("service")), role=Role.SERVICE)
CAMPAIGN, BY_POST = an_id("by e-mail"), an_id("by post")
POLICY = AdoptPolicy(text=default_policy_text())
HASH: Any = "0" * 64


def collect(subject: Any) -> CollectData:
    return CollectData(
        subject_id=subject,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values={"email": f"{PEOPLE.index(subject)}@example.com", "address": f"Tartu {PEOPLE.index(subject)}"},
    )


def plan(campaign: Any, channel: Channel) -> PlanCampaign:
    return PlanCampaign(campaign_id=campaign, kind=OfferKind.OWN, channel=channel, opt_out=Channel.LINK, similar=True)


def agree(subject: Any, name: str = "", **given: Any) -> GiveMarketingConsent:
    usual: dict[str, Any] = {"kind": OfferKind.OWN, "channels": (Channel.EMAIL,), "language": "et"}
    return GiveMarketingConsent(
        consent_id=an_id(f"{subject} {name}"),
        subject_id=subject,
        text_sha256=HASH,
        channel=Channel.LINK,
        **usual | given,
    )


def withdraw(subject: Any, name: str = "") -> WithdrawMarketingConsent:
    return WithdrawMarketingConsent(
        consent_id=an_id(f"{subject} {name}"), subject_id=subject, channel=Channel.LINK, received_at=START
    )


def object_to(subject: Any) -> ObjectToMarketing:
    return ObjectToMarketing(subject_id=subject, channel=Channel.LINK, received_at=START)


def merge(into: Any = MARI, merged: Any = WRITER) -> MergeSubjects:
    return MergeSubjects(subject_id=into, merged_id=merged, ground="same-code")  # type: ignore[arg-type]


def unmerge(into: Any = MARI, merged: Any = WRITER) -> UnmergeSubjects:
    return UnmergeSubjects(subject_id=into, merged_id=merged, ground="namesake")  # type: ignore[arg-type]


def restrict(subject: Any, name: str = "", **given: Any) -> RestrictProcessing:
    usual: dict[str, Any] = {"ground": RestrictionGround.CLAIMS, "channel": Channel.EMAIL}
    return RestrictProcessing(restriction_id=an_id(f"{subject} {name}"), subject_id=subject, **usual | given)


def lift(subject: Any, name: str = "") -> LiftRestriction:
    return LiftRestriction(
        restriction_id=an_id(f"{subject} {name}"),
        subject_id=subject,
        reason="settled",  # type: ignore[arg-type]
        channel=Channel.EMAIL,
    )


def hold(subject: Any) -> PlaceHold:
    return PlaceHold(
        hold_id=an_id(f"hold {subject}"),
        subject_id=subject,
        case_id=an_id("case"),
        ground="claim",  # type: ignore[arg-type]
        owner=an_id("lawyer"),
        review_at=START + timedelta(days=30),
    )


def decide(subject: Any) -> DecideErasure:
    decision = ClassDecision(
        retention_class=RetentionClass.CONTRACT,
        outcome=ErasureOutcome.ERASED,
        ground="asked",  # type: ignore[arg-type]
    )
    return DecideErasure(subject_id=subject, decisions=(decision,))


def asked(subject: Any) -> dict[str, tuple[Command, Actor]]:
    """What is asked of a record: may this be done now?"""
    return {
        "offer by e-mail": (ReserveOffer(campaign_id=CAMPAIGN, subject_id=subject), OFFICER),
        "offer by post": (ReserveOffer(campaign_id=BY_POST, subject_id=subject), OFFICER),
        "use": (
            UseData(
                subject_id=subject,
                purpose=Purpose.CONTRACT,
                fields=("email",),  # type: ignore[arg-type]
                case_reference="T-1",  # type: ignore[arg-type]
            ),
            SERVICE,
        ),
        "erasure": (DestroyKeys(subject_id=subject, retention_classes=(RetentionClass.CONTRACT,)), OFFICER),
    }


def answers(bench: Bench, *subjects: Any) -> dict[tuple[str, str], type[Refused] | None]:
    """Decide everything that may be asked of these records, recording nothing: for what each is refused, None: not."""
    found: dict[tuple[str, str], type[Refused] | None] = {}
    for subject in subjects or PEOPLE:
        for name, (command, actor) in asked(subject).items():
            try:
                decision, _ = bench.ledger.decide(command, actor)
                found[subject, name] = None if decision.refusal is None else type(decision.refusal)
            except Refused as refusal:
                found[subject, name] = type(refusal)
    return found


def reason(bench: Bench, name: str, subject: Any) -> type[Refused] | None:
    return answers(bench, subject)[subject, name]


def allowed(bench: Bench) -> set[tuple[str, str]]:
    return {what for what, refusal in answers(bench).items() if refusal is None}


def opened() -> Iterator[Command]:
    yield POLICY
    yield plan(CAMPAIGN, Channel.EMAIL)
    yield plan(BY_POST, Channel.POST)
    for subject in PEOPLE:
        yield RegisterSubject(subject_id=subject)
        yield collect(subject)
        yield decide(subject)
        yield agree(subject)


@pytest.fixture
def people(bench: Bench) -> Bench:
    return bench.given(*opened())


ORDERS = pytest.mark.parametrize("before", [True, False], ids=["said-before", "said-while-together"])


def together(people: Bench, before: bool, said: Command) -> Bench:
    return people.given(*([said, merge()] if before else [merge(), said]))


@pytest.mark.rule("merge-stops-offers")
@ORDERS
@pytest.mark.parametrize(("says", "hears"), [(WRITER, MARI), (MARI, WRITER)], ids=["survivor", "merged"])
def test_an_objection_on_one_record_stops_offers_to_all_until_they_part(
    people: Bench, before: bool, says: Any, hears: Any
) -> None:
    assert reason(people, "offer by e-mail", hears) is None
    together(people, before, object_to(says))
    assert reason(people, "offer by e-mail", hears) is PersonRefused
    assert reason(people, "offer by post", hears) is PersonRefused
    people.given(unmerge())
    assert reason(people, "offer by e-mail", hears) is None, "who objected is another person"
    assert reason(people, "offer by e-mail", says) is not None


@pytest.mark.rule("merge-stops-offers")
@ORDERS
def test_a_withdrawn_consent_to_offers_stops_these_offers_and_no_others(people: Bench, before: bool) -> None:
    people.given(agree(MARI, "post", channels=(Channel.POST,)))
    together(people, before, withdraw(WRITER))
    assert reason(people, "offer by e-mail", MARI) is PersonRefused
    assert reason(people, "offer by post", MARI) is None
    people.given(agree(MARI, "anew"))
    assert reason(people, "offer by e-mail", MARI) is None, "they agreed since, on this record"
    people.given(withdraw(MARI, "anew"))
    assert reason(people, "offer by e-mail", MARI) is PersonRefused
    people.given(agree(WRITER, "anew"))
    assert reason(people, "offer by e-mail", MARI) is None, "they agreed since, on that record"


@pytest.mark.rule("merge-stops-offers")
def test_a_withdrawal_of_one_of_two_consents_to_the_same_offers_refuses_nothing(people: Bench) -> None:
    people.given(agree(WRITER, "again"), merge(), withdraw(WRITER))
    assert reason(people, "offer by e-mail", MARI) is None


@pytest.mark.rule("merge-stops-offers")
@ORDERS
def test_partner_offers_to_one_record_take_the_slots_of_all_until_they_part(people: Bench, before: bool) -> None:
    def partners(number: int, subject: Any) -> tuple[dict[str, Any], ReserveOffer]:
        which: dict[str, Any] = {"campaign_id": an_id(f"partners {number}"), "subject_id": subject}
        return which, ReserveOffer(**which)

    plans = [
        PlanCampaign(
            campaign_id=an_id(f"partners {number}"), kind=OfferKind.PARTNER, channel=Channel.EMAIL,
            opt_out=Channel.LINK, partner="P-1",  # type: ignore[arg-type]
        )
        for number in range(4)
    ]  # fmt: skip
    people.given(*plans)
    for subject in (MARI, WRITER):
        people.given(agree(subject, "partners", kind=OfferKind.PARTNER))
        for number in range(4):
            which: dict[str, Any] = {"campaign_id": an_id(f"own {number}"), "subject_id": subject}
            if subject == MARI:
                people.given(PlanCampaign(campaign_id=which["campaign_id"], kind=OfferKind.OWN, channel=Channel.EMAIL,
                                          opt_out=Channel.LINK))  # fmt: skip
            people.given(ReserveOffer(**which), SendOffer(**which))
    (first, take_first), (second, take_second) = partners(0, MARI), partners(1, WRITER)
    taken: list[Command] = [take_first, SendOffer(**first), take_second]
    people.given(*([*taken, merge()] if before else [merge(), *taken]))
    third, take_third = partners(2, WRITER)
    for subject in (MARI, WRITER):
        no = OfferSuppressed(campaign_id=third["campaign_id"], subject_id=subject, reason=PartnerCapReached.code)  # type: ignore[arg-type]
        people.when(ReserveOffer(campaign_id=third["campaign_id"], subject_id=subject)).refused(PartnerCapReached, no)
    with open_projections(people.ledger, people.directory / PROJECTIONS_FILE) as projections:
        projections.catch_up()
        said = {one.subject_id: one.reason for one in projections.may_send(third["campaign_id"], (MARI, WRITER))}
        assert said == dict.fromkeys((MARI, WRITER), PartnerCapReached.code), "one verdict, whoever asks"
    people.given(SuppressOffer(**second, reason="bounced"), ReserveOffer(**third | {"subject_id": MARI}))  # type: ignore[arg-type]
    fourth, take_fourth = partners(3, WRITER)
    no = OfferSuppressed(**fourth, reason=PartnerCapReached.code)  # type: ignore[arg-type]
    people.when(take_fourth).refused(PartnerCapReached, no)
    people.given(unmerge())
    assert people.when(take_fourth).refusal is None, "the slots are another person's after all"
    people.given(merge())
    no = OfferSuppressed(**third, reason=PartnerCapReached.code)  # type: ignore[arg-type]
    people.when(take_third).refused(PartnerCapReached, no)
    people.clock.forward(days=366)
    with pytest.raises(PartnerNotFewer):
        people.ledger.record(take_third, OFFICER)


@pytest.mark.rule("offers-rest-on-a-basis")
def test_whoever_took_a_consent_back_is_not_written_to_on_another_basis(people: Bench) -> None:
    people.given(RecordSale(subject_id=MARI, reference="S-1", opt_out_offered=True), withdraw(MARI))  # type: ignore[arg-type]
    assert reason(people, "offer by e-mail", MARI) is OfferBasisMissing
    assert reason(people, "offer by post", MARI) is None
    people.given(agree(MARI, "anew"))
    assert reason(people, "offer by e-mail", MARI) is None


@pytest.mark.rule("merge-stops-offers")
def test_a_third_record_hears_what_the_first_two_refused_and_only_while_they_are_together(people: Bench) -> None:
    people.given(object_to(WRITER), merge(), merge(MARI, THIRD))
    assert reason(people, "offer by e-mail", THIRD) is PersonRefused
    people.given(agree(MARI, "anew"))
    assert reason(people, "offer by e-mail", MARI) is None
    people.given(unmerge())
    assert reason(people, "offer by e-mail", THIRD) is None
    people.given(object_to(THIRD))
    assert reason(people, "offer by e-mail", MARI) is PersonRefused
    assert reason(people, "offer by e-mail", WRITER) is not PersonRefused


@pytest.mark.rule("merge-never-widens-permission")
@ORDERS
def test_a_restriction_on_one_record_binds_all_until_it_is_lifted_or_they_part(people: Bench, before: bool) -> None:
    together(people, before, restrict(WRITER))
    for name in ("use", "offer by e-mail"):
        assert reason(people, name, MARI) is Restricted
    people.given(lift(WRITER))
    assert reason(people, "use", MARI) is None
    people.given(restrict(WRITER, "again"), unmerge())
    assert reason(people, "use", MARI) is None
    assert reason(people, "use", WRITER) is Restricted


@pytest.mark.rule("merge-never-widens-permission")
@ORDERS
def test_a_hold_on_one_record_defers_the_erasure_of_all_until_its_release_or_they_part(
    people: Bench, before: bool
) -> None:
    together(people, before, hold(WRITER))
    assert reason(people, "erasure", MARI) is UnderHold
    people.given(unmerge())
    assert reason(people, "erasure", MARI) is None
    people.given(merge())
    assert reason(people, "erasure", MARI) is UnderHold
    people.given(ReleaseHold(hold_id=an_id(f"hold {WRITER}"), subject_id=WRITER, reason="closed"))  # type: ignore[arg-type]
    assert reason(people, "erasure", MARI) is None


@pytest.mark.rule("merge-never-widens-permission")
def test_a_refusal_of_another_record_is_recorded_with_its_reason(people: Bench) -> None:
    people.given(object_to(WRITER), merge())
    no = OfferSuppressed(campaign_id=CAMPAIGN, subject_id=MARI, reason="person-refused")  # type: ignore[arg-type]
    people.when(ReserveOffer(campaign_id=CAMPAIGN, subject_id=MARI)).refused(PersonRefused, no, subject=MARI)


@pytest.mark.rule("release-runs-what-was-deferred")
@pytest.mark.parametrize("how", ["released", "parted"])
def test_what_a_hold_on_another_record_deferred_is_erased_by_the_tick_once_it_is_gone(people: Bench, how: str) -> None:
    erasure = DestroyKeys(subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,))
    held = ErasureDeferred(
        subject_id=MARI,
        retention_classes=erasure.retention_classes,
        hold_id=an_id(f"hold {WRITER}"),
        reason="under-hold",  # type: ignore[arg-type]
    )
    people.given(hold(WRITER), merge()).when(erasure).refused(UnderHold, held)
    with open_projections(people.ledger, people.directory / PROJECTIONS_FILE) as projections:
        assert not run_duties(projections, people.ledger, people.clock.now).done
        release = ReleaseHold(hold_id=an_id(f"hold {WRITER}"), subject_id=WRITER, reason="closed")  # type: ignore[arg-type]
        people.given(release if how == "released" else unmerge())
        done = run_duties(projections, people.ledger, people.clock.now).done
        assert [(one.duty, one.command) for one in done] == [("deferred-erasure", "destroy-keys")]
        assert not run_duties(projections, people.ledger, people.clock.now).done


# --- whatever happens --------------------------------------------------------------------------------------------

SAID = [
    lambda who, n: object_to(who),
    lambda who, n: agree(who, f"{n}"),
    lambda who, n: agree(who, f"{n}", channels=(Channel.POST, Channel.EMAIL)),
    lambda who, n: withdraw(who),
    lambda who, n: withdraw(who, f"{n - 1}"),
    lambda who, n: restrict(who),
    lambda who, n: restrict(who, f"{n}", fields=("email",)),
    lambda who, n: lift(who),
    lambda who, n: hold(who),
    lambda who, n: ReleaseHold(hold_id=an_id(f"hold {who}"), subject_id=who, reason="closed"),
    lambda who, n: RecordSale(subject_id=who, reference="S-1", opt_out_offered=True),
    lambda who, n: ClassifyContact(subject_id=who, person_type=PersonType.LEGAL),
]
PAIRS = [(a, b) for a in PEOPLE for b in PEOPLE if a != b]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("said"), st.sampled_from(range(len(SAID))), st.sampled_from(PEOPLE)),
        st.tuples(st.just("merge"), st.sampled_from(PAIRS)),
        st.tuples(st.just("unmerge"), st.sampled_from(PAIRS)),
    ),
    max_size=14,
)


def tried(bench: Bench, command: Command) -> bool:
    try:
        bench.ledger.record(command, OFFICER)
    except Refused:
        return False
    return True


@pytest.mark.rule("merge-never-widens-permission")
@pytest.mark.rule("unmerge-restores-both")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_merged_and_parted_permits_no_more_than_each_record_alone(
    make_bench: MakeBench, steps: list[Any]
) -> None:
    """The same things said in two ledgers, of which one is told of merges: it never allows what the other does not."""
    merged, alone = make_bench(), make_bench()
    for bench in (merged, alone):
        bench.given(*opened())
    stars: set[tuple[str, str]] = set()
    for number, (what, *which) in enumerate(steps):
        before = allowed(merged)
        if what == "said":
            command = SAID[which[0]](which[1], number)
            assert tried(merged, command) is tried(alone, command), "what a record may say is its own"
        elif what == "merge":
            if tried(merged, merge(*which[0])):
                stars.add(which[0])
                assert allowed(merged) <= before, "a merge only narrows"
        elif tried(merged, unmerge(*which[0])):
            stars.remove(which[0])
        assert allowed(merged) <= allowed(alone)
    with open_projections(merged.ledger, merged.directory / PROJECTIONS_FILE) as projections:
        projections.catch_up()
        for campaign, name in ((CAMPAIGN, "offer by e-mail"), (BY_POST, "offer by post")):
            for said in projections.may_send(campaign, PEOPLE):
                refusal = answers(merged, said.subject_id)[said.subject_id, name]
                assert said.reason == (None if refusal is None else refusal.code), "one verdict, whoever asks"
    for star in list(stars):
        assert tried(merged, unmerge(*star))
    assert answers(merged) == answers(alone), "apart again, each is as it would have been alone"
