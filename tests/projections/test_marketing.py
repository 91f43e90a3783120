"""May this go to these: the same answer as the ledger's own, for everybody in one call; campaigns and objections."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    ClassifyContact,
    GiveMarketingConsent,
    ImportBatch,
    ImportRecord,
    InformSubject,
    ObjectToMarketing,
    PlanCampaign,
    RecordGuarantee,
    RecordSale,
    RegisterSource,
    RegisterSubject,
    ReserveOffer,
    RestrictProcessing,
    RevokeGuarantee,
    SendOffer,
)
from ledger.errors import CampaignUnknown, Invalid, PolicyMissing, Refused
from ledger.policy import default_policy_text
from ledger.state.marketing import Standing, Step, What
from ledger.vocabulary import (
    CampaignId,
    Channel,
    ClientId,
    LegalBasis,
    OfferBasis,
    OfferKind,
    PersonType,
    Purpose,
    RestrictionGround,
    RetentionClass,
    SourceKind,
    SubjectId,
    SubjectRole,
    new_id,
)
from projections.marketing import EACH_TIME, MAX_SUBJECTS
from tests.projections.world import START, World, collect

TEXT: Any = "ab" * 32
POLICY = AdoptPolicy(text=default_policy_text())


def plan(kind: OfferKind = OfferKind.OWN, **given: Any) -> PlanCampaign:
    partner = "P-1" if kind is OfferKind.PARTNER else None
    usual: dict[str, Any] = {"campaign_id": CampaignId(new_id()), "channel": Channel.EMAIL, "partner": partner}
    return PlanCampaign(**usual | {"kind": kind, "opt_out": Channel.LINK} | given)


def agree(subject: SubjectId, kind: OfferKind = OfferKind.OWN) -> GiveMarketingConsent:
    return GiveMarketingConsent(
        consent_id=new_id(),  # type: ignore[arg-type]
        subject_id=subject,
        kind=kind,
        channels=(Channel.EMAIL,),
        text_sha256=TEXT,
        language="et",  # type: ignore[arg-type]
        channel=Channel.SOFTWARE,
    )


def restrict(subject: SubjectId) -> RestrictProcessing:
    return RestrictProcessing(
        restriction_id=new_id(),  # type: ignore[arg-type]
        subject_id=subject,
        ground=RestrictionGround.CLAIMS,
        channel=Channel.EMAIL,
    )


def object_to(world: World, subject: SubjectId, **given: Any) -> ObjectToMarketing:
    return ObjectToMarketing(**{"subject_id": subject, "channel": Channel.LINK, "received_at": world.now} | given)


def reasons(world: World, campaign: PlanCampaign, *subjects: SubjectId, **asked: Any) -> list[str | None]:
    answers = world.then.may_send(campaign.campaign_id, subjects, **asked)
    assert [answer.subject_id for answer in answers] == list(subjects)
    assert all(answer.allowed is (answer.basis is not None) is (answer.reason is None) for answer in answers)
    return [answer.basis or answer.reason for answer in answers]


def test_one_call_gives_one_reason_each_as_of_then_too(world: World) -> None:
    campaign = plan()
    world.given(POLICY, campaign)
    mari, jaan, nobody = world.subject(), world.subject(), SubjectId(new_id())
    world.given(collect(mari, email="mari@example.com"), agree(mari))
    then = world.now
    world.given(object_to(world, mari), collect(jaan, email="MARI@example.com"), agree(jaan))
    assert reasons(world, campaign, nobody, jaan, mari, jaan) == [
        "subject-unknown", "address-suppressed", "objection-stands", "address-suppressed",
    ]  # fmt: skip
    assert reasons(world, campaign, mari, jaan, as_of=then) == [OfferBasis.CONSENT, "address-missing"]


def test_a_question_about_too_many_or_without_campaign_or_policy_is_refused(world: World) -> None:
    mari = world.subject()
    world.asked.catch_up()
    with pytest.raises(PolicyMissing):
        world.asked.may_send(CampaignId(new_id()), [mari])
    world.given(POLICY)
    with pytest.raises(CampaignUnknown):
        world.then.may_send(CampaignId(new_id()), [mari])
    with pytest.raises(Invalid):
        world.then.may_send(CampaignId(new_id()), [mari] * (MAX_SUBJECTS + 1))


def test_the_answer_is_the_one_that_the_ledger_gives(world: World) -> None:
    """Many people of whom all sorts of things are recorded: asked in one call, then reserved one by one."""
    rng = random.Random(9)
    own, similar, partners = plan(), plan(similar=True), plan(OfferKind.PARTNER)
    earlier = [plan() for _ in range(3)]
    source, guarantee = new_id(), new_id()
    batch: dict[str, Any] = {"batch_id": new_id(), "source_id": source, "guarantee_id": guarantee}
    valid: Any = {"valid_from": START, "valid_to": START + timedelta(days=99)}
    world.given(POLICY, own, similar, partners, *earlier)
    world.given(
        RegisterSource(source_id=source, kind=SourceKind.ISSUER, name="Lists OÜ"),  # type: ignore[arg-type]
        RecordGuarantee(
            source_id=source,  # type: ignore[arg-type]
            guarantee_id=guarantee,  # type: ignore[arg-type]
            document_sha256=TEXT,
            categories=("contact",),  # type: ignore[arg-type]
            purpose=Purpose.OWN_OFFERS,
            **valid,
        ),
        ImportBatch(
            **batch,
            purpose=Purpose.OWN_OFFERS,
            basis=LegalBasis.LEGITIMATE_INTEREST,
            categories=("contact",),  # type: ignore[arg-type]
        ),
    )
    people: list[SubjectId] = []
    for number in range(60):
        subject = SubjectId(new_id())
        client = {"role": SubjectRole.PROCESSOR, "client_id": ClientId(new_id())} if number % 20 == 7 else {}
        world.given(RegisterSubject(subject_id=subject, **client))  # type: ignore[arg-type]
        people.append(subject)
        address = {"email": f"{number // 2 if number % 4 == 3 else number}@example.com"}
        informed = InformSubject(subject_id=subject, channel=Channel.EMAIL, text_sha256=TEXT, language="et")  # type: ignore[arg-type]
        options: list[Any] = [
            [collect(subject, **address)],
            [ImportRecord(batch_id=batch["batch_id"], subject_id=subject, values=address)],
            [agree(subject)],
            [agree(subject, OfferKind.PARTNER)],
            [RecordSale(subject_id=subject, reference="S-1", opt_out_offered=rng.random() < 0.8)],  # type: ignore[arg-type]
            [ClassifyContact(subject_id=subject, person_type=rng.choice(list(PersonType)))],
            [object_to(world, subject)] if rng.random() < 0.3 else [],
            [informed],
            [restrict(subject)] if rng.random() < 0.15 else [],
            *(
                [[ReserveOffer(campaign_id=c.campaign_id, subject_id=subject), sent(c, subject)] for c in earlier]
                if rng.random() < 0.5
                else []
            ),
        ]
        for steps in options:
            for command in steps if rng.random() < 0.75 else []:
                try:
                    world.given(command)
                except Refused:
                    break
    world.given(RevokeGuarantee(guarantee_id=guarantee, source_id=source, reason="complaint"))  # type: ignore[arg-type]
    seen: set[str | None] = set()
    for campaign in (own, similar, partners):
        asked = world.then.may_send(campaign.campaign_id, people)
        for answer in asked:
            command = ReserveOffer(campaign_id=campaign.campaign_id, subject_id=answer.subject_id)
            if answer.allowed:
                index = world.given(command).index
                assert answer.basis == world.ledger.open(index).basis  # type: ignore[attr-defined]
            else:
                assert answer.reason == world.refused(command).code
            seen.add(answer.basis or answer.reason)
    assert seen >= {
        "consent", "sale", "processor-role", "objection-stands", "address-missing", "source-suspended",
        "offer-basis-missing", "restricted",
    }, seen  # fmt: skip
    assert world.then.verify().count == 0
    assert not world.then.status().quarantined


def sent(campaign: PlanCampaign, subject: SubjectId) -> SendOffer:
    return SendOffer(campaign_id=campaign.campaign_id, subject_id=subject)


def test_an_objection_outlives_the_erasure_of_the_address_and_no_row_holds_an_address(world: World) -> None:
    campaign = plan()
    mari = SubjectId(new_id())
    world.given(POLICY, campaign, RegisterSubject(subject_id=mari), collect(mari, email="mari@example.com"))
    world.given(object_to(world, mari))
    world.erase(mari, RetentionClass.CONTRACT)
    jaan = world.subject()
    world.given(collect(jaan, email="mari@example.com"), agree(jaan))
    assert reasons(world, campaign, jaan) == ["address-suppressed"]
    world.asked.rebuild()
    assert reasons(world, campaign, jaan) == ["address-suppressed"]
    with world.asked._store.read() as rows:
        assert "mari@example" not in repr([rows(f"SELECT * FROM {t}") for t in ("contact_steps", "objections")])


def test_campaigns_count_what_became_of_their_offers(world: World) -> None:
    campaign = plan()
    world.given(POLICY, campaign)
    people = [world.subject() for _ in range(3)]
    for number, subject in enumerate(people):
        world.given(collect(subject, email=f"{number}@example.com"))
    one, two, three = people
    world.given(agree(one), agree(two))
    for subject in (one, two):
        world.given(ReserveOffer(campaign_id=campaign.campaign_id, subject_id=subject))
    then = world.now
    world.given(sent(campaign, one))
    for _ in range(2):
        world.refused(ReserveOffer(campaign_id=campaign.campaign_id, subject_id=three))
    (found,) = world.then.campaigns()
    assert (found.reserved, found.sent, found.suppressed) == (1, 1, {"offer-basis-missing": 1})
    assert world.then.campaigns(as_of=then)[0].reserved == 2


def test_the_suppression_list_tells_what_was_sent_after_an_objection_was_received(world: World) -> None:
    campaign = plan()
    world.given(POLICY, campaign)
    mari = world.subject()
    world.given(collect(mari, email="mari@example.com"), agree(mari))
    received = world.now
    world.given(ReserveOffer(campaign_id=campaign.campaign_id, subject_id=mari), sent(campaign, mari))
    world.given(object_to(world, mari, received_at=received, phone="+372 5555 0123"))
    (found,) = world.then.suppression_list()
    assert (found.subject_id, found.received_at, found.addresses, found.sent_since) == (mari, received, 2, 1)


@pytest.mark.parametrize("seed", range(100))
def test_what_is_said_again_counts_at_its_last_time_alone(seed: int) -> None:
    """`may_send` reads each different step once, where it stood last: it adds up to the same as reading all."""
    rng = random.Random(seed)
    kinds, classes = [OfferKind.OWN, OfferKind.PARTNER], ("contract", "identity")
    said = [
        *(Step(What.ADDRESS, field, "", f"{kept} ") for field in ("email", "phone") for kept in classes),
        *(Step(What.ERASED, kept) for kept in classes),
        *(Step(What.CLASSIFIED, kind) for kind in PersonType),
        *(Step(what, f"k{n}", kinds[n % 2]) for n in range(2) for what in (What.RESERVED, What.SENT)),
        *(Step(What.SUPPRESSED, f"k{n}") for n in range(2)),
        *(Step(what) for what in (What.SALE, What.OBJECTED, What.OTHER_SOURCE, What.INFORMED)),
        *(Step(What.RESTRICTED, f"r{n}", f"other{n}", "email") for n in range(2)),
        *(Step(What.LIFTED, f"r{n}") for n in range(2)),
        *(Step(what, f"other{n}", kinds[n], "email") for n in range(2) for what in (What.REFUSED, What.CARRIED)),
        *(Step(What.AGREED, f"other{n}", kinds[n], "email") for n in range(2)),
        *(Step(What.PARTED, who) for who in ("", "other0", "other1")),
    ]
    order = rng.choices(said, k=rng.randrange(1, 60))
    # A consent is given once and withdrawn once: another one has another id.
    for n in range(3):
        given = rng.randrange(len(order) + 1)
        order.insert(given, Step(What.CONSENT, f"c{n}", kinds[n % 2], "email"))
        order.insert(rng.randrange(given + 1, len(order) + 1), Step(What.WITHDRAWN, f"c{n}"))
    log = list(enumerate(order))
    last = {step: at for at, step in log}
    whole, read = Standing(), Standing()
    for at, step in log:
        whole.fold(step, START + timedelta(minutes=at))
        if at == last[step] or step.what in EACH_TIME:
            read.fold(step, START + timedelta(minutes=at))
    assert in_ranks(whole) == in_ranks(read)


def in_ranks(standing: Standing) -> dict[str, Any]:
    """Return what a standing says, steps by their order: which number each has says nothing."""
    found = dict(vars(standing))
    found.pop("_steps")
    placed = {
        **{("consent", key): one[2] for key, one in standing.consents.items()},
        **{("restriction", key): one[2] for key, one in standing.restrictions.items()},
        **{("refused", *key): at for key, at in standing.refused.items()},
    }
    ranks = {at: rank for rank, at in enumerate(sorted(set(placed.values())))}
    for name in ("consents", "restrictions"):
        found[name] = {key: one[:2] for key, one in found[name].items()}
    found["refused"] = set(found["refused"])
    return found | {"ranks": {key: ranks[at] for key, at in placed.items()}}
