"""Erasure: decided, and carried out by destroying keys. GDPR Art. 17."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from ledger.events.event import Count, Event, event
from ledger.vocabulary import BreachId, ErasureOutcome, KeyId, RetentionClass, SubjectId, ViolationId, Word


class ClassDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of one retention class of a subject, on which ground, and until when if it is kept."""

    retention_class: RetentionClass
    outcome: ErasureOutcome
    ground: Word
    until: datetime | None = None


@event
class ErasureDecided(Event, frozen=True):
    """GDPR Art. 17, decided per retention class."""

    TOPIC: ClassVar[str] = "erasure-decided"
    subject_id: SubjectId
    decisions: tuple[ClassDecision, ...]


@event
class KeyDestroyed(Event, frozen=True):
    """Recorded before the key goes: from here on a value sealed under it reads as erased."""

    TOPIC: ClassVar[str] = "key-destroyed"
    subject_id: SubjectId
    key_id: KeyId
    retention_class: RetentionClass
    breach_id: BreachId | None = None  # whose texts they were, where they were no subject's
    violation_id: ViolationId | None = None


@event
class PersonalDataErased(Event, frozen=True):
    TOPIC: ClassVar[str] = "personal-data-erased"
    subject_id: SubjectId
    retention_classes: tuple[RetentionClass, ...]
    keys: Count
    breach_id: BreachId | None = None  # whose texts they were, where they were no subject's
    violation_id: ViolationId | None = None
