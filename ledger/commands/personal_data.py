"""Personal data: collected with its source, corrected with since when it is true. Clauses 2, 8–10; GDPR Art. 16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.errors import (
    EvidenceMissing,
    FieldUnknown,
    GuaranteeMissing,
    Invalid,
    OriginMissing,
    ProposalUnknown,
    StaleVersion,
    SubjectUnknown,
)
from ledger.events import DataCorrected, Event, PersonalDataCollected, UseDenied
from ledger.policy import CONTACT, FieldChange, Policy
from ledger.rule import rule
from ledger.state.accuracy import open_proposals, proposals
from ledger.state.activity import FIELD_NEEDS_ACTIVITY, check_activities
from ledger.state.personal_data import fields, personal_data
from ledger.state.policy import policies, policy
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    Channel,
    IdentityCheck,
    LegalBasis,
    ProposalId,
    Purpose,
    Reference,
    RetentionClass,
    Role,
    SourceKind,
    SubjectId,
    Word,
    check_word,
    subject_tag,
)

COLLECTED_WITH_SOURCE = rule(
    "data-names-its-source",
    clause="10",
    promise="What does not come from the person names where it comes from",
    source="GDPR Art. 14(2)(f)",
    refusals=(SubjectUnknown, Invalid, GuaranteeMissing, OriginMissing),
)
CORRECTION_SEES_THE_LAST = rule(
    "correction-sees-the-last-version",
    clause="8-9",
    promise="A correction names the version it replaces: a stale one is refused, another field is no conflict",
    source="GDPR Art. 5(1)(d), 16",
    refusals=(SubjectUnknown, FieldUnknown, StaleVersion, Invalid),
)
FIELD_CLASS = rule(
    "correction-by-field-class",
    clause="8-9",
    promise="A self-service field is corrected by the person, others on evidence seen or as a public register says",
    source="GDPR Art. 5(1)(d), 16; policy, fields",
    refusals=(EvidenceMissing, ProposalUnknown),
)
STAFF_SAYS = rule(
    "staff-correction-says-how",
    clause="8-9",
    promise="A correction by staff states the channel, how the caller was verified, and the evidence",
    source="GDPR Art. 5(2), 12(6)",
    refusals=(EvidenceMissing,),
)

# Who corrects their own data, logged in: everybody else is staff.
_THEMSELVES = frozenset((Role.SUBJECT, Role.CLIENT_USER))


@command
class CollectData(Command, frozen=True):
    """Record values of named fields, why they are needed, on which basis, and where they come from."""

    NAME: ClassVar[str] = "collect-data"
    RECORDS = (PersonalDataCollected,)
    KEEPS = (UseDenied,)
    RULES = (FIELD_NEEDS_ACTIVITY, COLLECTED_WITH_SOURCE)
    subject_id: SubjectId
    purpose: Purpose
    basis: LegalBasis
    source: SourceKind
    values: Mapping[str, Any]
    retention_class: RetentionClass = RetentionClass.CONTRACT
    source_reference: Reference | None = None
    valid_from: datetime | None = None
    retrieved_at: datetime | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *policies())

    @classmethod
    def decided(cls, event: Event) -> bool:
        return isinstance(event, PersonalDataCollected) and event.batch_id is None

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        if not self.values:
            raise Invalid("values", "names at least one field")
        for name, value in self.values.items():
            check_word(name, "values")
            if value is None:
                raise Invalid(f"values.{name}", "is empty: leave the field out")
        # Principles, clause 10: what does not come from the person names its origin.
        if self.source is not SourceKind.SUBJECT and self.source_reference is None:
            raise Invalid(
                "source_reference", "is needed when the source is not the person: a register's locator or a guarantee"
            )
        rules = policy(past)
        if rules is not None:
            self._check_origin(context)
        event = PersonalDataCollected(
            subject_id=self.subject_id,
            purpose=self.purpose,
            basis=self.basis,
            source=self.source,
            source_reference=self.source_reference,
            retention_class=self.retention_class,
            valid_from=self.valid_from,
            retrieved_at=self.retrieved_at,
            values=self.values,
        )
        if rules is not None:
            check_activities(rules, event, role=subject.role, command=self.NAME)
        return [Fact(event, [subject_tag(self.subject_id)], scope(subject, self.retention_class))]

    def _check_origin(self, context: Context) -> None:
        # Clause 10: an issuer's data comes in batches, which its guarantee is checked for.
        if self.source is SourceKind.ISSUER:
            raise GuaranteeMissing(source=self.source_reference)
        if self.source is SourceKind.PUBLIC_REGISTER and self.retrieved_at is None:
            raise OriginMissing(source=self.source_reference)
        if self.retrieved_at is not None and self.retrieved_at > context.now:
            raise Invalid("retrieved_at", "is in the future")


@command
class CorrectData(Command, frozen=True):
    """Replace one field. `expected_version` is the version that the corrector saw; a stale edit is refused."""

    NAME: ClassVar[str] = "correct-data"
    RECORDS = (DataCorrected,)
    RULES = (CORRECTION_SEES_THE_LAST, FIELD_CLASS, STAFF_SAYS)
    subject_id: SubjectId
    field: Word
    value: Any
    expected_version: int
    channel: Channel
    valid_from: datetime | None = None
    verification: IdentityCheck | None = None
    evidence: Reference | None = None
    source_reference: Reference | None = None
    proposal_id: ProposalId | None = None

    def boundary(self) -> Boundary:
        subject_id = self.subject_id
        return (*registration(subject_id), *personal_data(subject_id), *proposals(subject_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        field = fields(past).get(self.field)
        if field is None:
            raise FieldUnknown(subject=self.subject_id, field=self.field)
        if self.value is None:
            raise Invalid("value", "is empty: a correction says what is right instead")
        # Optimistic per field: two people who edit at once must see each other's change (clause 9).
        if field.version != self.expected_version:
            raise StaleVersion(
                subject=self.subject_id, field=self.field, expected=self.expected_version, actual=field.version
            )
        # What will be true from a later day is collected; a correction is of what is wrong now.
        if self.valid_from is not None and self.valid_from > context.now:
            raise Invalid("valid_from", "is in the future: record it when it is true")
        if self.proposal_id is not None:
            proposed = open_proposals(past).get(self.proposal_id)
            if proposed is None or proposed.field != self.field:
                raise ProposalUnknown(proposal=self.proposal_id, subject=self.subject_id, field=self.field)
        event = DataCorrected(
            subject_id=self.subject_id,
            field=self.field,
            replaces=field.version,
            channel=self.channel,
            retention_class=field.retention_class,
            valid_from=self.valid_from,
            verification=self.verification,
            evidence=self.evidence,
            source_reference=self.source_reference,
            proposal_id=self.proposal_id,
            notify_addresses=self._by_policy(policy(past), context.actor.role),
            values={self.field: self.value},
        )
        return [Fact(event, [subject_tag(self.subject_id)], scope(subject, field.retention_class))]

    def _by_policy(self, policy: Policy | None, role: Role) -> bool:
        """Return whether contact addresses are owed a notice. Raises EvidenceMissing by field class and by who acts."""
        if policy is None:
            return False
        rule = policy.fields.get(self.field)
        # A field that the policy does not know any more is corrected as carefully as the most careful one it knows.
        change = FieldChange.EVIDENCE if rule is None else rule.change
        if change is FieldChange.REGISTER and self.source_reference is None:
            raise EvidenceMissing(field=self.field, needed="source_reference: where in the public register it stands")
        if change is FieldChange.EVIDENCE and self.evidence is None:
            raise EvidenceMissing(field=self.field, needed="evidence: the document that was seen")
        if role not in _THEMSELVES:
            # A register is nobody's word that would need to be verified.
            if self.verification is None and change is not FieldChange.REGISTER:
                raise EvidenceMissing(field=self.field, needed="verification: how the caller was verified")
            if self.evidence is None and self.source_reference is None:
                raise EvidenceMissing(field=self.field, needed="evidence: what the person asked, or showed")
        return rule is not None and rule.category == CONTACT
