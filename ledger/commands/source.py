"""Collection from other sources: registered, guaranteed, imported or quarantined, revoked; people told. Clause 10.

Data of an issuer whose guarantee does not cover it is quarantined: stored, so that nothing is lost and it can be
answered for, and not usable. A revocation suspends what came through the guarantee, wherever it is. GDPR Art. 14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command, selector
from ledger.errors import (
    AddressSuppressed,
    BatchExists,
    BatchUnknown,
    CategoryUnknown,
    FieldsNotCovered,
    GuaranteeExists,
    GuaranteeUnknown,
    Invalid,
    ObjectionStands,
    OriginMissing,
    Refused,
    SourceExists,
)
from ledger.events import (
    BatchImported,
    BatchQuarantined,
    Event,
    GuaranteeRevoked,
    LawfulnessGuaranteed,
    MarketingObjected,
    PersonalDataCollected,
    RecordSuppressed,
    SourceRegistered,
    SubjectInformed,
    UseDenied,
)
from ledger.rule import rule
from ledger.state.activity import FIELD_NEEDS_ACTIVITY, check_activities
from ledger.state.marketing import contact, standing_of
from ledger.state.policy import policies, policy_needed
from ledger.state.source import batch, batches, guarantees, lack, revocations, revoked, source
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    GUARANTEES_TAG,
    SUPPRESSION_TAG,
    BatchId,
    Channel,
    GuaranteeId,
    IdentifierKind,
    Language,
    LegalBasis,
    Purpose,
    Reference,
    RetentionClass,
    Sha256Hex,
    SourceId,
    SourceKind,
    SubjectId,
    Word,
    batch_tag,
    check_word,
    source_tag,
    subject_tag,
)

MAX_NAME: Final = 200

QUARANTINE: Final = rule(
    "unguaranteed-data-is-quarantined",
    clause="10",
    promise="Data of an issuer without a valid guarantee for issuer, categories, purpose and date is not usable",
    source="Principles, clause 10; GDPR Art. 5(1)(a)",
)
ORIGIN: Final = rule(
    "public-origin-is-named",
    clause="10",
    promise="Data of public origin needs its locator and when it was retrieved",
    source="Principles, clause 10; GDPR Art. 14(2)(f)",
    refusals=(OriginMissing,),
)
REVOCATION: Final = rule(
    "revocation-suspends",
    clause="10",
    promise="The revocation of a guarantee suspends everything that came through it",
    source="Principles, clause 10",
    refusals=(GuaranteeUnknown,),
)
COVERED: Final = rule(
    "imported-fields-are-covered",
    clause="10",
    promise="A record brings no field of a category that its batch does not name",
    source="Principles, clause 10; GDPR Art. 5(1)(c)",
    refusals=(FieldsNotCovered, CategoryUnknown, BatchUnknown),
)
SUPPRESSED_IMPORT: Final = rule(
    "suppression-is-checked-at-import",
    clause="10",
    promise="Who objected to offers, or has an address of somebody who did, is not taken in again from other sources",
    source="Principles, clauses 7 and 10; GDPR Art. 21(3)",
    refusals=(ObjectionStands, AddressSuppressed),
)


@command
class RegisterSource(Command, frozen=True):
    """Name where data comes from: a public register with its locator, or an issuer."""

    NAME: ClassVar[str] = "register-source"
    RECORDS = (SourceRegistered,)
    RULES = (ORIGIN,)
    source_id: SourceId
    kind: SourceKind
    name: str
    locator: Reference | None = None

    def boundary(self) -> Boundary:
        return guarantees(self.source_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if past.last(SourceRegistered) is not None:
            raise SourceExists(source=self.source_id)
        if self.kind is SourceKind.SUBJECT:
            raise Invalid("kind", "is public-register or issuer: the person is no other source")
        if not 0 < len(self.name) <= MAX_NAME:
            raise Invalid("name", f"has between 1 and {MAX_NAME} characters")
        if self.kind is SourceKind.PUBLIC_REGISTER and self.locator is None:
            raise OriginMissing(source=self.source_id)
        event = SourceRegistered(source_id=self.source_id, kind=self.kind, name=self.name, locator=self.locator)
        return [Fact(event, [source_tag(self.source_id)])]


@command
class RecordGuarantee(Command, frozen=True):
    """Record an issuer's guarantee of lawfulness, by the digest of its document. Categories are those of the policy."""

    NAME: ClassVar[str] = "record-guarantee"
    RECORDS = (LawfulnessGuaranteed,)
    RULES = (QUARANTINE,)
    guarantee_id: GuaranteeId
    source_id: SourceId
    document_sha256: Sha256Hex
    categories: tuple[Word, ...]
    purpose: Purpose
    valid_from: datetime
    valid_to: datetime

    def boundary(self) -> Boundary:
        return (*guarantees(self.source_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = source(past, self.source_id)
        if found.kind is not SourceKind.ISSUER:
            raise Invalid("source_id", "is not an issuer: only issuers give guarantees")
        if any(given.guarantee_id == self.guarantee_id for given in past.of(LawfulnessGuaranteed)):
            raise GuaranteeExists(guarantee=self.guarantee_id)
        if self.valid_to <= self.valid_from:
            raise Invalid("valid_to", "is not after valid_from")
        event = LawfulnessGuaranteed(
            guarantee_id=self.guarantee_id,
            source_id=self.source_id,
            document_sha256=self.document_sha256,
            categories=_categories(past, self.categories),
            purpose=self.purpose,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
        )
        return [Fact(event, [source_tag(self.source_id)])]


@command
class RevokeGuarantee(Command, frozen=True):
    """Record that a guarantee no longer holds, whoever says so. What came through it is suspended from here on."""

    NAME: ClassVar[str] = "revoke-guarantee"
    RECORDS = (GuaranteeRevoked,)
    RULES = (REVOCATION,)
    guarantee_id: GuaranteeId
    source_id: SourceId
    reason: Word

    def boundary(self) -> Boundary:
        return guarantees(self.source_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        given = {event.guarantee_id for event in past.of(LawfulnessGuaranteed)} - revoked(past)
        if self.guarantee_id not in given:
            raise GuaranteeUnknown(source=self.source_id, guarantee=self.guarantee_id)
        event = GuaranteeRevoked(guarantee_id=self.guarantee_id, source_id=self.source_id, reason=self.reason)
        return [Fact(event, [source_tag(self.source_id), GUARANTEES_TAG])]


@command
class ImportBatch(Command, frozen=True):
    """Open a batch of records from a source. What no valid guarantee covers is quarantined, and recorded as that."""

    NAME: ClassVar[str] = "import-batch"
    RECORDS = (BatchImported, BatchQuarantined)
    RULES = (QUARANTINE, ORIGIN, COVERED)
    batch_id: BatchId
    source_id: SourceId
    purpose: Purpose
    basis: LegalBasis
    categories: tuple[Word, ...]
    guarantee_id: GuaranteeId | None = None
    locator: Reference | None = None
    retrieved_at: datetime | None = None

    def boundary(self) -> Boundary:
        return (*guarantees(self.source_id), *batches(self.batch_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        kind = source(past, self.source_id).kind
        if past.last(BatchImported, BatchQuarantined) is not None:
            raise BatchExists(batch=self.batch_id)
        tags = [batch_tag(self.batch_id), source_tag(self.source_id)]
        said: dict[str, Any] = {
            "batch_id": self.batch_id,
            "source_id": self.source_id,
            "kind": kind,
            "purpose": self.purpose,
            "basis": self.basis,
            "categories": _categories(past, self.categories),
        }
        if kind is SourceKind.PUBLIC_REGISTER:
            if self.locator is None or self.retrieved_at is None:
                raise OriginMissing(source=self.source_id)
            if self.retrieved_at > context.now:
                raise Invalid("retrieved_at", "is in the future")
            return [Fact(BatchImported(**said, locator=self.locator, retrieved_at=self.retrieved_at), tags)]
        said["guarantee_id"] = self.guarantee_id
        reason = lack(
            past,
            self.guarantee_id,
            source_id=self.source_id,
            purpose=self.purpose,
            categories=self.categories,
            now=context.now,
        )
        if reason is not None:
            return [Fact(BatchQuarantined(**said, reason=reason), tags)]
        until = next(g.valid_to for g in past.of(LawfulnessGuaranteed) if g.guarantee_id == self.guarantee_id)
        return [Fact(BatchImported(**said, guaranteed_until=until), tags)]


@command
class ImportRecord(Command, frozen=True):
    """Take in one person's fields of a batch. Nobody who objected to offers is taken in: that is recorded instead."""

    NAME: ClassVar[str] = "import-record"
    RECORDS = (PersonalDataCollected,)
    KEEPS = (RecordSuppressed, UseDenied)
    RULES = (QUARANTINE, COVERED, FIELD_NEEDS_ACTIVITY, SUPPRESSED_IMPORT)
    batch_id: BatchId
    subject_id: SubjectId
    values: Mapping[str, Any]

    def boundary(self) -> Boundary:
        return (
            *registration(self.subject_id),
            *batches(self.batch_id),
            *revocations(),
            *contact(self.subject_id),
            *policies(),
        )

    @classmethod
    def decided(cls, event: Event) -> bool:
        return isinstance(event, PersonalDataCollected) and event.batch_id is not None

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        found = batch(past, self.batch_id)
        self._check_values(past, found.categories)
        event = PersonalDataCollected(
            subject_id=self.subject_id,
            purpose=found.purpose,
            basis=found.basis,
            source=found.kind,
            source_reference=found.locator if isinstance(found, BatchImported) else None,
            retention_class=RetentionClass.MARKETING,
            batch_id=self.batch_id,
            guarantee_id=found.guarantee_id,
            retrieved_at=found.retrieved_at if isinstance(found, BatchImported) else None,
            quarantined=not _is_covered(found, past, context.now),
            values=self.values,
        )
        check_activities(policy_needed(past), event, role=subject.role, command=self.NAME)
        self._check_suppression(past, context)
        tags = [subject_tag(self.subject_id), batch_tag(self.batch_id)]
        # An objection by anybody with one of these addresses has one order with this.
        objections = (selector(MarketingObjected, tags=[SUPPRESSION_TAG]),)
        return [Fact(event, tags, scope(subject, RetentionClass.MARKETING), objections)]

    def _check_values(self, past: Past, categories: Sequence[Word]) -> None:
        known = policy_needed(past).fields
        if not self.values:
            raise Invalid("values", "names at least one field")
        for name, value in self.values.items():
            check_word(name, "values")
            if value is None:
                raise Invalid(f"values.{name}", "is empty: leave the field out")
        extra = [n for n in self.values if n not in known or known[Word(n)].category not in categories]
        if extra:
            raise FieldsNotCovered(batch=self.batch_id, fields=", ".join(sorted(extra)))

    def _check_suppression(self, past: Past, context: Context) -> None:
        refusal: Refused | None = None
        standing = standing_of(past, self.subject_id)
        if standing.objected or standing.objected_elsewhere():
            refusal = ObjectionStands(subject=self.subject_id)
        for kind in IdentifierKind:
            value = self.values.get(kind)
            digest = context.addresses.digest(kind, value) if isinstance(value, str) else None
            if refusal is None and digest is not None and context.addresses.objectors(digest):
                refusal = AddressSuppressed(subject=self.subject_id)
        if refusal is not None:
            event = RecordSuppressed(batch_id=self.batch_id, subject_id=self.subject_id, reason=Word(refusal.code))
            raise KeptRefusal(refusal, Fact(event, [subject_tag(self.subject_id), batch_tag(self.batch_id)]))


@command
class InformSubject(Command, frozen=True):
    """Record that a person was told what is held of them and from where, by which text. GDPR Art. 14."""

    NAME: ClassVar[str] = "inform-subject"
    RECORDS = (SubjectInformed,)
    RULES = (ORIGIN,)
    subject_id: SubjectId
    channel: Channel
    text_sha256: Sha256Hex
    language: Language

    def boundary(self) -> Boundary:
        return registration(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        event = SubjectInformed(
            subject_id=self.subject_id, channel=self.channel, text_sha256=self.text_sha256, language=self.language
        )
        return [Fact(event, [subject_tag(self.subject_id)])]


def _is_covered(found: BatchImported | BatchQuarantined, past: Past, now: datetime) -> bool:
    """Whether what comes in a batch now may be used: its guarantee may have run out or been revoked since it opened."""
    if isinstance(found, BatchQuarantined) or found.guarantee_id in revoked(past):
        return False
    return found.guaranteed_until is None or now < found.guaranteed_until


def _categories(past: Past, categories: Sequence[Word]) -> tuple[Word, ...]:
    known = policy_needed(past).categories
    if not categories:
        raise Invalid("categories", "names at least one")
    for category in categories:
        if category not in known:
            raise CategoryUnknown(category=category)
    return tuple(sorted(set(categories)))
