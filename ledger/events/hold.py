"""Legal holds: what must not be erased while a case runs. Each has an owner and is reviewed."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import ActorId, CaseId, HoldId, RetentionClass, SubjectId, Word


@event
class LegalHoldPlaced(Event, frozen=True):
    """GDPR Art. 17(3)(e), 18(1)(c). On these retention classes of the subject, or on all when none is named."""

    TOPIC: ClassVar[str] = "legal-hold-placed"
    hold_id: HoldId
    subject_id: SubjectId
    case_id: CaseId
    ground: Word
    owner: ActorId
    review_at: datetime
    retention_classes: tuple[RetentionClass, ...] = ()


@event
class LegalHoldReviewed(Event, frozen=True):
    """It is needed still; the next review is due at `review_at`."""

    TOPIC: ClassVar[str] = "legal-hold-reviewed"
    hold_id: HoldId
    subject_id: SubjectId
    review_at: datetime


@event
class LegalHoldReleased(Event, frozen=True):
    TOPIC: ClassVar[str] = "legal-hold-released"
    hold_id: HoldId
    subject_id: SubjectId
    reason: Word
