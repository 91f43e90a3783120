"""Personal data collected and corrected. Clauses 1, 2, 8 and 9; GDPR Art. 6, 16."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from ledger.events.event import Count, Event, PersonalMap, event
from ledger.vocabulary import (
    BatchId,
    Channel,
    GuaranteeId,
    IdentityCheck,
    LegalBasis,
    ProposalId,
    Purpose,
    Reference,
    RetentionClass,
    SourceKind,
    SubjectId,
    Word,
)


@event
class PersonalDataCollected(Event, frozen=True):
    """Values by field; the version of a field is the index of the last event that set it."""

    TOPIC: ClassVar[str] = "personal-data-collected"
    subject_id: SubjectId
    purpose: Purpose
    basis: LegalBasis
    source: SourceKind
    retention_class: RetentionClass
    source_reference: Reference | None = None  # locator in a public register, or the issuer's guarantee
    valid_from: datetime | None = None
    batch_id: BatchId | None = None  # of what was imported (clause 10)
    guarantee_id: GuaranteeId | None = None  # whose revocation suspends it
    retrieved_at: datetime | None = None  # from a public register
    quarantined: bool = False  # stored, not usable
    values: PersonalMap = msgspec.field(default_factory=dict)

    @property
    def retention(self) -> RetentionClass:
        return self.retention_class


@event
class DataCorrected(Event, frozen=True):
    """GDPR Art. 16. `valid_from` is since when it is true; `recorded_at` of the entry is since when it is known."""

    TOPIC: ClassVar[str] = "data-corrected"
    subject_id: SubjectId
    field: Word
    replaces: Count  # the version that the corrector saw
    channel: Channel
    retention_class: RetentionClass
    valid_from: datetime | None = None
    verification: IdentityCheck | None = None  # of whoever asked staff for it
    evidence: Reference | None = None
    source_reference: Reference | None = None  # locator in the public register that says so
    proposal_id: ProposalId | None = None  # the proposal that it accepts
    notify_addresses: bool = False  # the old and the new contact address are owed a notice
    values: PersonalMap = msgspec.field(default_factory=dict)

    @property
    def retention(self) -> RetentionClass:
        return self.retention_class
