"""Collection from other sources: guaranteed or quarantined, suspended by revocation, told to the person. Clause 10."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    AuthorizeDisclosure,
    CollectData,
    GiveMarketingConsent,
    ImportBatch,
    ImportRecord,
    InformSubject,
    ObjectToMarketing,
    PlanCampaign,
    RecordGuarantee,
    RegisterRecipient,
    RegisterSource,
    RegisterSubject,
    RequestDisclosure,
    ReserveOffer,
    RevokeGuarantee,
    SendOffer,
    TransmitDisclosure,
)
from ledger.errors import (
    AddressSuppressed,
    BatchExists,
    BatchUnknown,
    CategoryUnknown,
    FieldNotAllowed,
    FieldsNotCovered,
    FieldsNotHeld,
    GuaranteeExists,
    GuaranteeMissing,
    GuaranteeUnknown,
    Invalid,
    NoticeOwed,
    ObjectionStands,
    OriginMissing,
    PolicyMissing,
    SourceExists,
    SourceSuspended,
    SourceUnknown,
)
from ledger.events import (
    BatchImported,
    BatchQuarantined,
    DisclosureVoided,
    GuaranteeRevoked,
    LawfulnessGuaranteed,
    OfferReserved,
    OfferSuppressed,
    PersonalDataCollected,
    RecordSuppressed,
    SourceRegistered,
    Statute,
    SubjectInformed,
    UseDenied,
)
from ledger.explain import explain
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    Channel,
    LegalBasis,
    OfferBasis,
    OfferKind,
    Purpose,
    RecipientCategory,
    RetentionClass,
    SourceKind,
)
from tests.bench import START, Bench, an_id
from tests.rules import test_recipient as processors
from tests.rules import test_use as uses

MARI, JAAN = an_id("mari"), an_id("jaan")
ISSUER, REGISTER, GUARANTEE, BATCH = an_id("issuer"), an_id("register"), an_id("guarantee"), an_id("batch")
CAMPAIGN, PARTNER = an_id("a campaign"), an_id("a partner")
DIGEST: Any = sha256(b"We guarantee that it is lawful").hexdigest()
YEAR = START + timedelta(days=365)
POLICY = AdoptPolicy(text=default_policy_text())

Made = Callable[..., Any]


def made(command: type, **usual: Any) -> Made:
    return lambda **given: command(**usual | given)


register = made(RegisterSubject, subject_id=MARI)
issuer = made(RegisterSource, source_id=ISSUER, kind=SourceKind.ISSUER, name="Lists OÜ")
public = made(
    RegisterSource,
    source_id=REGISTER,
    kind=SourceKind.PUBLIC_REGISTER,
    name="Commercial register",
    locator="ariregister.rik.ee",
)
guarantee = made(
    RecordGuarantee,
    guarantee_id=GUARANTEE,
    source_id=ISSUER,
    document_sha256=DIGEST,
    categories=("contact", "identification"),
    purpose=Purpose.OWN_OFFERS,
    valid_from=START,
    valid_to=YEAR,
)
revoke = made(RevokeGuarantee, guarantee_id=GUARANTEE, source_id=ISSUER, reason="complaint")
batch = made(
    ImportBatch,
    batch_id=BATCH,
    source_id=ISSUER,
    purpose=Purpose.OWN_OFFERS,
    basis=LegalBasis.LEGITIMATE_INTEREST,
    categories=("contact",),
    guarantee_id=GUARANTEE,
)
public_batch = made(
    ImportBatch,
    batch_id=BATCH,
    source_id=REGISTER,
    purpose=Purpose.OWN_OFFERS,
    basis=LegalBasis.LEGITIMATE_INTEREST,
    categories=("contact",),
    locator="ariregister.rik.ee/company/1",
    retrieved_at=START,
)
record = made(ImportRecord, batch_id=BATCH, subject_id=MARI, values={"email": "mari@example.com"})
inform = made(InformSubject, subject_id=MARI, channel=Channel.EMAIL, text_sha256=DIGEST, language="et")
plan = made(PlanCampaign, campaign_id=CAMPAIGN, kind=OfferKind.OWN, channel=Channel.EMAIL, opt_out=Channel.LINK)
agree = made(
    GiveMarketingConsent,
    consent_id=an_id("a consent"),
    subject_id=MARI,
    kind=OfferKind.OWN,
    channels=(Channel.EMAIL,),
    text_sha256=DIGEST,
    language="et",
    channel=Channel.LINK,
)
reserve = made(ReserveOffer, campaign_id=CAMPAIGN, subject_id=MARI)
object_to = made(ObjectToMarketing, subject_id=MARI, channel=Channel.LINK, received_at=START)

MAKERS = [issuer, public, guarantee, revoke, batch, public_batch, record, inform]
FIELD_KINDS = {
    "source_id": "id", "guarantee_id": "id", "batch_id": "id", "document_sha256": "digest", "locator": "reference",
    "categories": "words", "retrieved_at": "moment",
}  # fmt: skip
OTHER_FIELDS: set[str] = set()
CODES = [
    "batch-exists", "batch-unknown", "category-unknown", "fields-not-covered", "guarantee-exists",
    "guarantee-missing", "guarantee-unknown", "notice-owed", "origin-missing", "source-exists", "source-suspended",
    "source-unknown",
]  # fmt: skip

IMPORTED: dict[str, Any] = {
    "batch_id": BATCH,
    "source_id": ISSUER,
    "kind": SourceKind.ISSUER,
    "purpose": Purpose.OWN_OFFERS,
    "basis": LegalBasis.LEGITIMATE_INTEREST,
    "categories": ("contact",),
    "guarantee_id": GUARANTEE,
}


def collected(**given: Any) -> PersonalDataCollected:
    usual: dict[str, Any] = {
        "subject_id": MARI,
        "purpose": Purpose.OWN_OFFERS,
        "basis": LegalBasis.LEGITIMATE_INTEREST,
        "source": SourceKind.ISSUER,
        "retention_class": RetentionClass.MARKETING,
        "batch_id": BATCH,
        "guarantee_id": GUARANTEE,
        "values": {"email": "mari@example.com"},
    }
    return PersonalDataCollected(**usual | given)


def held_back(reason: str) -> OfferSuppressed:
    return OfferSuppressed(campaign_id=CAMPAIGN, subject_id=MARI, reason=reason)  # type: ignore[arg-type]


@pytest.fixture
def ready(bench: Bench) -> Bench:
    return bench.given(POLICY, register(), issuer(), public(), plan())


def test_a_source_is_a_register_with_its_locator_or_an_issuer(bench: Bench) -> None:
    bench.when(issuer()).then(SourceRegistered(source_id=ISSUER, kind=SourceKind.ISSUER, name="Lists OÜ"))
    bench.when(issuer()).refused(SourceExists, source=ISSUER)
    bench.when(public(locator=None)).refused(OriginMissing)
    bench.when(public(kind=SourceKind.SUBJECT)).refused(Invalid, field="kind")
    bench.when(public(name="")).refused(Invalid, field="name")
    bench.when(guarantee(source_id=REGISTER)).refused(SourceUnknown, source=REGISTER)
    bench.when(guarantee()).refused(PolicyMissing)


def test_a_guarantee_names_categories_purpose_and_dates(ready: Bench) -> None:
    ready.when(guarantee()).then(
        LawfulnessGuaranteed(
            guarantee_id=GUARANTEE,
            source_id=ISSUER,
            document_sha256=DIGEST,
            categories=("contact", "identification"),  # type: ignore[arg-type]
            purpose=Purpose.OWN_OFFERS,
            valid_from=START,
            valid_to=YEAR,
        )
    )
    ready.when(guarantee()).refused(GuaranteeExists, guarantee=GUARANTEE)
    another = {"guarantee_id": an_id("another")}
    ready.when(guarantee(**another, valid_to=START)).refused(Invalid, field="valid_to")
    ready.when(guarantee(**another, categories=())).refused(Invalid, field="categories")
    ready.when(guarantee(**another, categories=("shoes",))).refused(CategoryUnknown, category="shoes")
    ready.when(guarantee(**another, source_id=REGISTER)).refused(Invalid, field="source_id")


@pytest.mark.rule("unguaranteed-data-is-quarantined")
def test_data_that_no_valid_guarantee_covers_is_quarantined_stored_and_not_usable(ready: Bench) -> None:
    quarantined = {name: value for name, value in IMPORTED.items() if name != "guarantee_id"}
    ready.when(batch(guarantee_id=None)).then(BatchQuarantined(**quarantined, reason="guarantee-missing"))
    ready.when(record()).then(collected(guarantee_id=None, quarantined=True))
    ready.given(agree(), inform())
    ready.when(reserve()).refused(SourceSuspended, held_back("source-suspended"), subject=MARI)


@pytest.mark.rule("unguaranteed-data-is-quarantined")
@pytest.mark.parametrize(
    ("given", "asked", "reason"),
    [
        ({}, {}, None),
        ({"guarantee_id": an_id("other")}, {}, "guarantee-missing"),
        ({"valid_from": START + timedelta(days=1)}, {}, "guarantee-expired"),
        ({"valid_from": START - timedelta(days=9), "valid_to": START}, {}, "guarantee-expired"),
        ({"purpose": Purpose.PARTNER_OFFERS}, {}, "guarantee-too-narrow"),
        ({"categories": ("identification",)}, {}, "guarantee-too-narrow"),
        ({}, {"categories": ("contact", "address")}, "guarantee-too-narrow"),
    ],
    ids=str,
)
def test_a_guarantee_covers_issuer_categories_purpose_and_date(
    ready: Bench, given: Any, asked: Any, reason: str | None
) -> None:
    ready.given(guarantee(**given))
    what = IMPORTED | {"categories": tuple(sorted(asked.get("categories", ("contact",))))}
    done = ready.when(batch(**asked))
    done.then(
        BatchImported(**what, guaranteed_until=YEAR) if reason is None else BatchQuarantined(**what, reason=reason)
    )
    ready.when(batch(**asked)).refused(BatchExists, batch=BATCH)


@pytest.mark.rule("unguaranteed-data-is-quarantined")
def test_a_record_that_comes_after_the_guarantee_of_its_batch_ran_out_is_quarantined(ready: Bench) -> None:
    ready.given(guarantee(), batch())
    ready.clock.forward(days=365, microseconds=-1)
    ready.when(record()).then(collected())
    ready.clock.forward(microseconds=1)
    ready.when(record()).then(collected(quarantined=True))


def test_another_issuers_guarantee_covers_nothing(ready: Bench) -> None:
    other = an_id("another issuer")
    ready.given(issuer(source_id=other), guarantee(source_id=other))
    ready.when(batch()).then(BatchQuarantined(**IMPORTED, reason="guarantee-missing"))


@pytest.mark.rule("public-origin-is-named")
def test_public_origin_needs_its_locator_and_when_it_was_retrieved(ready: Bench) -> None:
    ready.when(public_batch(locator=None)).refused(OriginMissing, source=REGISTER)
    ready.when(public_batch(retrieved_at=None)).refused(OriginMissing, source=REGISTER)
    ready.when(public_batch(retrieved_at=START + timedelta(seconds=1))).refused(Invalid, field="retrieved_at")
    origin = {"locator": "ariregister.rik.ee/company/1", "retrieved_at": START}
    what = IMPORTED | {"source_id": REGISTER, "kind": SourceKind.PUBLIC_REGISTER, "guarantee_id": None}
    ready.when(public_batch()).then(BatchImported(**what, **origin))
    ready.when(record()).then(
        collected(
            source=SourceKind.PUBLIC_REGISTER,
            guarantee_id=None,
            source_reference=origin["locator"],
            retrieved_at=START,
        )
    )


def test_other_sources_come_in_batches_or_with_their_origin(ready: Bench) -> None:
    def collect(**given: Any) -> CollectData:
        usual: dict[str, Any] = {
            "subject_id": MARI,
            "purpose": Purpose.CONTRACT,
            "basis": LegalBasis.CONTRACT,
            "source": SourceKind.PUBLIC_REGISTER,
            "source_reference": "ariregister.rik.ee",
            "values": {"email": "mari@example.com"},
        }
        return CollectData(**usual | given)

    ready.when(collect(source=SourceKind.ISSUER)).refused(GuaranteeMissing, source="ariregister.rik.ee")
    ready.when(collect()).refused(OriginMissing)
    ready.when(collect(retrieved_at=START + timedelta(days=1))).refused(Invalid, field="retrieved_at")
    ready.given(collect(retrieved_at=START))


@pytest.mark.rule("imported-fields-are-covered")
def test_a_record_brings_no_field_that_its_batch_does_not_cover(ready: Bench) -> None:
    ready.when(record()).refused(BatchUnknown, batch=BATCH)
    ready.given(guarantee(), batch())
    ready.when(record(values={"email": "a@b.ee", "iban": "EE1"})).refused(FieldsNotCovered, fields="iban")
    ready.when(record(values={"shoe-size": "43"})).refused(FieldsNotCovered, fields="shoe-size")
    ready.when(record(values={})).refused(Invalid, field="values")
    ready.when(record(values={"email": None})).refused(Invalid, field="values.email")
    ready.when(record()).then(collected())
    assert explain(ready.ledger, ready.ledger.size() - 1).command == "import-record"


@pytest.mark.rule("revocation-suspends")
def test_a_revocation_suspends_everything_that_came_through_it(ready: Bench) -> None:
    ready.given(guarantee(), batch(), record(), agree(), inform())
    ready.given(reserve())
    ready.when(revoke()).then(
        GuaranteeRevoked(guarantee_id=GUARANTEE, source_id=ISSUER, reason="complaint")  # type: ignore[arg-type]
    )
    ready.when(revoke()).refused(GuaranteeUnknown, guarantee=GUARANTEE)
    send = SendOffer(campaign_id=CAMPAIGN, subject_id=MARI)
    ready.when(send).refused(SourceSuspended, held_back("source-suspended"), subject=MARI)
    ready.when(record(subject_id=MARI)).then(collected(quarantined=True))
    another = {"batch_id": an_id("another batch")}
    ready.when(batch(**another)).then(BatchQuarantined(**IMPORTED | another, reason="guarantee-revoked"))


def test_what_is_suspended_is_not_disclosed_either(ready: Bench) -> None:
    which: dict[str, Any] = {"disclosure_id": an_id("a disclosure"), "subject_id": MARI}
    token: Any = sha256(b"token").hexdigest()
    statute = Statute(act="KrMS-215", authority="police", reference="1", scope="one")  # type: ignore[arg-type]
    asked = RequestDisclosure(
        **which,
        recipient_id=PARTNER,
        purpose=Purpose.LEGAL,
        basis=LegalBasis.LEGAL_OBLIGATION,
        fields=("email",),  # type: ignore[arg-type]
        statute=statute,
    )
    authority = RegisterRecipient(
        recipient_id=PARTNER,
        category=RecipientCategory.AUTHORITY,
        name="Police",
        country="EE",  # type: ignore[arg-type]
        valid_from=START,
    )
    ready.given(authority, guarantee(), batch(), record(), asked)
    ready.given(AuthorizeDisclosure(**which, token_sha256=token, recipient_id=PARTNER), revoke())
    transmit = TransmitDisclosure(**which, recipient_id=PARTNER, fields=("email",), token="token")  # type: ignore[arg-type]
    voided = DisclosureVoided(**which, reason="fields-not-held", recipient_id=PARTNER)  # type: ignore[arg-type]
    ready.when(transmit).refused(FieldsNotHeld, voided, fields="email")


@pytest.mark.rule("quarantined-data-is-not-used")
@pytest.mark.parametrize("lack", ["guarantee-missing", "guarantee-revoked"])
def test_what_is_quarantined_or_suspended_is_neither_used_nor_sent_to_a_processor(ready: Bench, lack: str) -> None:
    ready.given(processors.register_recipient())
    asked = processors.send(fields=("email",), purpose=Purpose.OWN_OFFERS)
    if lack == "guarantee-missing":
        ready.given(batch(guarantee_id=None), record())
    else:
        ready.given(guarantee(), batch(), record())
        assert ready.when(uses.use(purpose=Purpose.OWN_OFFERS), by=uses.SERVICE).refusal is None
        assert ready.when(asked).refusal is None
        ready.given(revoke())
    denied = uses.denied("use-data", "fields-not-held", ("email",), purpose=Purpose.OWN_OFFERS)
    ready.when(uses.use(purpose=Purpose.OWN_OFFERS), by=uses.SERVICE).refused(FieldsNotHeld, denied, fields="email")
    found = explain(ready.ledger, ready.ledger.size() - 1)
    assert [rule.id for rule in found.rules] == ["quarantined-data-is-not-used"]
    stays = processors.denied("fields-not-held", fields=("email",), purpose=Purpose.OWN_OFFERS)
    ready.when(asked).refused(FieldsNotHeld, stays, fields="email")
    usual: dict[str, Any] = {"purpose": Purpose.OWN_OFFERS, "basis": LegalBasis.LEGITIMATE_INTEREST}
    ready.given(uses.collect(retention_class=RetentionClass.MARKETING, **usual))
    assert ready.when(uses.use(purpose=Purpose.OWN_OFFERS), by=uses.SERVICE).refusal is None, "the person said so since"


@pytest.mark.rule("field-needs-an-activity")
def test_a_record_brings_no_field_that_no_activity_allows(ready: Bench) -> None:
    """A guarantee of lawfulness does not widen what the company may hold: nobody's account number is for offers."""
    ready.given(guarantee(categories=("contact", "financial")), batch(categories=("contact", "financial")))
    ready.when(record(values={"email": "a@b.ee", "iban": "EE1"})).refused(
        FieldNotAllowed,
        UseDenied(
            command="import-record",  # type: ignore[arg-type]
            subject_id=MARI,
            purpose=Purpose.OWN_OFFERS,
            basis=LegalBasis.LEGITIMATE_INTEREST,
            fields=("email", "iban"),  # type: ignore[arg-type]
            reason=FieldNotAllowed.code,  # type: ignore[arg-type]
            batch_id=BATCH,
        ),
        field="iban",
    )
    assert explain(ready.ledger, ready.ledger.size() - 1).command == "import-record"


@pytest.mark.rule("suppression-is-checked-at-import")
def test_who_objected_is_not_taken_in_again(ready: Bench) -> None:
    def suppressed(subject: Any, reason: Any) -> RecordSuppressed:
        return RecordSuppressed(batch_id=BATCH, subject_id=subject, reason=reason)

    ready.given(guarantee(), batch(), register(subject_id=JAAN), record(), object_to())
    ready.when(record()).refused(ObjectionStands, suppressed(MARI, "objection-stands"), subject=MARI)
    ready.when(record(subject_id=JAAN, values={"email": "Mari@Example.com"})).refused(
        AddressSuppressed, suppressed(JAAN, "address-suppressed"), subject=JAAN
    )
    ready.given(record(subject_id=JAAN, values={"email": "jaan@example.com"}))


@pytest.mark.rule("offers-wait-for-source-and-notice")
def test_offers_wait_until_the_person_was_told_where_their_data_comes_from(ready: Bench) -> None:
    ready.given(guarantee(), batch(), record(), agree())
    ready.when(reserve()).refused(NoticeOwed, held_back("notice-owed"), subject=MARI)
    ready.when(inform()).then(
        SubjectInformed(subject_id=MARI, channel=Channel.EMAIL, text_sha256=DIGEST, language="et")  # type: ignore[arg-type]
    )
    ready.when(reserve()).then(
        OfferReserved(
            campaign_id=CAMPAIGN,
            subject_id=MARI,
            kind=OfferKind.OWN,
            channel=Channel.EMAIL,
            basis=OfferBasis.CONSENT,
        )
    )
