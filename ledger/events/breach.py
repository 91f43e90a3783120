"""Personal data breaches, from suspicion to close, with what GDPR Art. 33(5) asks to be documented. Clause 4.

Free text may name people, so it is sealed, under a key of the breach itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import SEALED, Count, Event, Personal, event
from ledger.vocabulary import BreachId, BreachNature, BreachRisk, Channel, Reference, RetentionClass, Word


@event
class BreachSuspected(Event, frozen=True):
    TOPIC: ClassVar[str] = "breach-suspected"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    breach_id: BreachId
    natures: tuple[BreachNature, ...]
    suspected_at: datetime
    facts: Personal[str] = SEALED


@event
class BreachConfirmed(Event, frozen=True):
    """GDPR Art. 33(1): the company is aware from `aware_at` on; the authority is told by `notice_due_at`."""

    TOPIC: ClassVar[str] = "breach-confirmed"
    breach_id: BreachId
    aware_at: datetime
    notice_due_at: datetime


@event
class BreachAssessed(Event, frozen=True):
    """GDPR Art. 33(3): about how many people and records, which categories, and what it may lead to."""

    TOPIC: ClassVar[str] = "breach-assessed"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    breach_id: BreachId
    risk: BreachRisk
    subjects: Count
    records: Count
    categories: tuple[Word, ...]
    effects: Personal[str] = SEALED
    measures: Personal[str] = SEALED


@event
class AuthorityNotified(Event, frozen=True):
    TOPIC: ClassVar[str] = "authority-notified"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    breach_id: BreachId
    authority: Word
    reference: Reference
    notified_at: datetime
    delay_reason: Personal[str] = None


@event
class SubjectsNotified(Event, frozen=True):
    TOPIC: ClassVar[str] = "subjects-notified"
    breach_id: BreachId
    channel: Channel
    subjects: Count
    notified_at: datetime


@event
class BreachClosed(Event, frozen=True):
    """`exemption` is the ground of GDPR Art. 34(3) on which people at high risk were not told."""

    TOPIC: ClassVar[str] = "breach-closed"
    breach_id: BreachId
    outcome: Word
    exemption: Word | None = None
