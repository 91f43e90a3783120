"""The answer of Art. 15 names everybody and everything; the export of Art. 20 is of one moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from ledger.commands import (
    AdoptPolicy,
    ImportBatch,
    ImportRecord,
    PlanCampaign,
    RecordGuarantee,
    RegisterSource,
    ReserveOffer,
    SendToProcessor,
)
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    CampaignId,
    CaseId,
    Channel,
    Country,
    LegalBasis,
    OfferKind,
    Purpose,
    RecipientCategory,
    Role,
    SourceKind,
    SubjectId,
    TransferBasis,
    Word,
    new_id,
)
from projections.answer import Consultation, answer, portable
from tests.projections.test_marketing import agree
from tests.projections.test_recipients import disclose, recipient, secret
from tests.projections.world import START, World, collect

POLICY = AdoptPolicy(text=default_policy_text())
TEXT: Any = "ab" * 32


def test_every_recipient_is_named_with_category_country_and_purpose(world: World) -> None:
    partner = recipient(name="Partner Inc", country=Country("US"), transfer_basis=TransferBasis.STANDARD_CLAUSES)
    post, host = recipient(RecipientCategory.POSTAL, name="Post AS"), recipient(RecipientCategory.HOSTING, name="Host")
    police = recipient(RecipientCategory.AUTHORITY, name="Police")
    world.given(POLICY, partner, post, host, police)
    subject, trader = world.subject(), world.subject()
    sole = recipient(name=None, subject_id=trader, trader_name="Jaan Tamm")
    world.given(sole, collect(subject, email="a@b.ee"))
    disclose(world, subject, partner.recipient_id)
    disclose(world, subject, sole.recipient_id)
    fields = (Word("address"),)
    world.given(
        SendToProcessor(
            subject_id=subject, recipient_id=post.recipient_id, purpose=Purpose.CONTRACT, fields=fields
        )
    )  # fmt: skip
    secret(world, subject, police.recipient_id)
    said = answer(world.then, world.ledger, subject)
    found = {one.name: one for one in said.recipients}
    assert found.keys() == {"Partner Inc", "Post AS", "Host", "Jaan Tamm"}, "what is secret still has no sign"
    third = found["Partner Inc"]
    assert (third.category, third.country, third.transfer_basis) == ("other", "US", "standard-clauses")
    assert (third.third_party, third.fields, third.purposes) == (True, ("email",), ("e-invoice-delivery",))
    assert (found["Post AS"].purposes, found["Post AS"].third_party) == (("contract",), False)
    assert (found["Host"].standing, found["Host"].category) == (True, "hosting")
    assert trader not in msgspec.json.encode(said).decode(), (
        "whose record a sole trader's is, is nobody else's business"
    )
    told = {one.purpose for one in said.purposes}
    assert told >= {"contract", "e-invoice-delivery"}


def test_sources_categories_and_offers_are_told_as_of_then_too(world: World) -> None:
    world.given(POLICY)
    subject = world.subject()
    world.given(collect(subject, email="a@b.ee"))
    then = world.now
    source, guarantee, batch = new_id(), new_id(), new_id()
    own = Purpose.OWN_OFFERS
    categories: Any = ("contact",)
    given: list[Any] = [
        RegisterSource(source_id=source, kind=SourceKind.ISSUER, name="Lists OÜ"),  # type: ignore[arg-type]
        RecordGuarantee(
            source_id=source,  # type: ignore[arg-type]
            guarantee_id=guarantee,  # type: ignore[arg-type]
            document_sha256=TEXT,
            categories=categories,
            purpose=own,
            valid_from=START,
            valid_to=START + timedelta(days=99),
        ),
        ImportBatch(
            batch_id=batch,  # type: ignore[arg-type]
            source_id=source,  # type: ignore[arg-type]
            guarantee_id=guarantee,  # type: ignore[arg-type]
            purpose=own,
            basis=LegalBasis.LEGITIMATE_INTEREST,
            categories=categories,
        ),
        ImportRecord(batch_id=batch, subject_id=subject, values={"phone": "+372 5555 0123"}),  # type: ignore[arg-type]
    ]
    campaign = PlanCampaign(
        campaign_id=CampaignId(new_id()), kind=OfferKind.OWN, channel=Channel.EMAIL, opt_out=Channel.LINK
    )
    world.given(*given, agree(subject), campaign)
    world.refused(ReserveOffer(campaign_id=campaign.campaign_id, subject_id=subject))
    said = answer(world.then, world.ledger, subject)
    assert [(one.source, one.name, one.fields) for one in said.sources] == [
        ("subject", None, ("email",)), ("issuer", "Lists OÜ", ("phone",)),
    ]  # fmt: skip
    (contact,) = said.categories
    assert (contact.category, contact.fields, contact.special) == ("contact", ("email", "phone"), False)
    assert [(one.what, one.kind, one.channels) for one in said.offers] == [
        ("consent", "own", ("email",)), ("suppressed", None, ()),
    ]  # fmt: skip
    assert said.offers[1].about == campaign.campaign_id
    before = answer(world.then, world.ledger, subject, as_of=then)
    assert ([one.source for one in before.sources], before.offers) == (["subject"], ())
    assert before.policy == said.policy


def test_consultations_are_those_that_whoever_has_the_log_passes_in(world: World) -> None:
    world.given(POLICY)
    subject = world.subject()
    looked = Consultation(
        at=world.now,
        role=Role.OPERATOR,
        who="P-17",
        purpose=Purpose.CONTRACT,
        fields=(Word("email"),),
        door=Word("http"),
        case_id=CaseId(new_id()),
    )
    assert answer(world.then, world.ledger, subject).consultations is None
    assert answer(world.then, world.ledger, subject, consultations=[looked]).consultations == (looked,)


def test_an_export_of_a_position_has_nothing_that_came_later(world: World) -> None:
    world.given(POLICY)
    subject = SubjectId(world.subject())
    position = world.given(collect(subject, email="a@b.ee")).index + 1
    world.given(collect(subject, phone="+372 5555 0123"))
    names = [thing.name for thing in portable(world.then, subject, as_of=position)]
    assert names == ["email"]
    assert sorted(thing.name for thing in portable(world.then, subject)) == ["email", "phone"]
