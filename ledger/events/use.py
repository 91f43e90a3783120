"""Uses of personal data, and what was denied. Clauses 1 and 2; GDPR Art. 5(1)(b), 6(4)."""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import ActorId, BatchId, Compatibility, LegalBasis, Purpose, Reference, SubjectId, Word


@event
class DataUsed(Event, frozen=True):
    """These fields may be used now, for this purpose and case. What was then shown is the access log's to say."""

    TOPIC: ClassVar[str] = "data-used"
    subject_id: SubjectId
    purpose: Purpose
    fields: tuple[Word, ...]
    case_reference: Reference
    employee_id: ActorId | None = None  # None: software, on nobody's account


@event
class UseDenied(Event, frozen=True):
    """What was asked by `command` was not allowed. `fields` are those asked for that the policy knows by name."""

    TOPIC: ClassVar[str] = "use-denied"
    command: Word
    subject_id: SubjectId
    purpose: Purpose
    fields: tuple[Word, ...]
    reason: Word
    basis: LegalBasis | None = None
    case_reference: Reference | None = None
    employee_id: ActorId | None = None
    batch_id: BatchId | None = None


@event
class PurposeChangeAssessed(Event, frozen=True):
    """GDPR Art. 6(4): whether fields of one purpose may be used for another; `reference` names the report."""

    TOPIC: ClassVar[str] = "purpose-change-assessed"
    from_purpose: Purpose
    purpose: Purpose
    fields: tuple[Word, ...]
    outcome: Compatibility
    reference: Reference
