"""How long data is kept: relationships that end, periods that expire, erasures that a hold defers."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import BreachId, HoldId, RetentionClass, SubjectId, ViolationId, Word


@event
class RelationshipEnded(Event, frozen=True):
    """The contract, or whatever else bound the person and the company, ended at `ended_at`."""

    TOPIC: ClassVar[str] = "relationship-ended"
    subject_id: SubjectId
    ended_at: datetime
    reason: Word


@event
class RelationshipResumed(Event, frozen=True):
    TOPIC: ClassVar[str] = "relationship-resumed"
    subject_id: SubjectId


@event
class RetentionExpired(Event, frozen=True):
    """The period of a retention class ran from `started_at` to `until`; the erasure stands in the next entries."""

    TOPIC: ClassVar[str] = "retention-expired"
    subject_id: SubjectId
    retention_class: RetentionClass
    started_at: datetime
    until: datetime
    breach_id: BreachId | None = None  # whose texts they were, where they were no subject's
    violation_id: ViolationId | None = None


@event
class ErasureDeferred(Event, frozen=True):
    """An erasure that a hold defers: its release carries it out."""

    TOPIC: ClassVar[str] = "erasure-deferred"
    subject_id: SubjectId
    retention_classes: tuple[RetentionClass, ...]
    hold_id: HoldId
    reason: Word
