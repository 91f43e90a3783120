"""Personal data: collected with its source, corrected with since when it is true. Clauses 2, 8–10; GDPR Art. 16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.errors import FieldUnknown, GuaranteeMissing, Invalid, OriginMissing, StaleVersion
from ledger.events import DataCorrected, Event, PersonalDataCollected
from ledger.state.personal_data import fields, personal_data
from ledger.state.policy import policies, policy
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    Channel,
    LegalBasis,
    Purpose,
    Reference,
    RetentionClass,
    SourceKind,
    SubjectId,
    Word,
    check_word,
    subject_tag,
)


@command
class CollectData(Command, frozen=True):
    """Record values of named fields, why they are needed, on which basis, and where they come from."""

    NAME: ClassVar[str] = "collect-data"
    RECORDS = (PersonalDataCollected,)
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
        if policy(past) is not None:
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
    subject_id: SubjectId
    field: Word
    value: Any
    expected_version: int
    channel: Channel
    valid_from: datetime | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *personal_data(self.subject_id))

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
        event = DataCorrected(
            subject_id=self.subject_id,
            field=self.field,
            replaces=field.version,
            channel=self.channel,
            retention_class=field.retention_class,
            valid_from=self.valid_from,
            values={self.field: self.value},
        )
        return [Fact(event, [subject_tag(self.subject_id)], scope(subject, field.retention_class))]
