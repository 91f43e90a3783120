"""Accuracy contested: corrections proposed and rejected, statements, restrictions, notices. GDPR Art. 16, 18."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ledger.events.event import Count, Event, Personal, PersonalMap, event
from ledger.vocabulary import (
    Address,
    Channel,
    ProposalId,
    Reference,
    RestrictionGround,
    RestrictionId,
    RetentionClass,
    SubjectId,
    Word,
)


@event
class CorrectionProposed(Event, frozen=True):
    """What the person says is right instead of version `contests`, sealed as the field itself is."""

    TOPIC: ClassVar[str] = "correction-proposed"
    proposal_id: ProposalId
    subject_id: SubjectId
    field: Word
    contests: Count
    channel: Channel
    retention_class: RetentionClass
    values: PersonalMap = msgspec.field(default_factory=dict)

    @property
    def retention(self) -> RetentionClass:
        return self.retention_class


@event
class CorrectionRejected(Event, frozen=True):
    TOPIC: ClassVar[str] = "correction-rejected"
    proposal_id: ProposalId
    subject_id: SubjectId
    field: Word
    ground: Word
    evidence: Reference
    channel: Channel


@event
class StatementAttached(Event, frozen=True):
    """GDPR Art. 16: the person's supplementary statement, shown with the field from here on."""

    TOPIC: ClassVar[str] = "statement-attached"
    subject_id: SubjectId
    field: Word
    channel: Channel
    retention_class: RetentionClass
    statement: Personal[str] = None

    @property
    def retention(self) -> RetentionClass:
        return self.retention_class


@event
class ProcessingRestricted(Event, frozen=True):
    """GDPR Art. 18: of `fields`, or of everything when none is named; of the person's other records then too."""

    TOPIC: ClassVar[str] = "processing-restricted"
    restriction_id: RestrictionId
    subject_id: SubjectId
    ground: RestrictionGround
    channel: Channel
    fields: tuple[Word, ...] = ()
    together: tuple[SubjectId, ...] = ()


@event
class RestrictionLifted(Event, frozen=True):
    """GDPR Art. 18(3): the person was told before, by `channel`."""

    TOPIC: ClassVar[str] = "restriction-lifted"
    restriction_id: RestrictionId
    subject_id: SubjectId
    reason: Word
    channel: Channel
    together: tuple[SubjectId, ...] = ()


@event
class AddressNotified(Event, frozen=True):
    """The old or the new contact address was told of the correction in entry `correction`."""

    TOPIC: ClassVar[str] = "address-notified"
    subject_id: SubjectId
    correction: Count
    address: Address
    channel: Channel
