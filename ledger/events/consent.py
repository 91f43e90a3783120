"""Consent given and withdrawn. GDPR Art. 4(11), 7."""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import Channel, ConsentId, Language, Purpose, RecipientId, Sha256Hex, SubjectId, Word


@event
class ConsentGiven(Event, frozen=True):
    """GDPR Art. 7(1): consent is bound to the exact text that was shown, by its hash, and to its language."""

    TOPIC: ClassVar[str] = "consent-given"
    consent_id: ConsentId
    subject_id: SubjectId
    purpose: Purpose
    recipient_id: RecipientId | None  # None: the company itself
    fields: tuple[Word, ...]
    text_sha256: Sha256Hex
    language: Language
    channel: Channel


@event
class ConsentWithdrawn(Event, frozen=True):
    TOPIC: ClassVar[str] = "consent-withdrawn"
    consent_id: ConsentId
    subject_id: SubjectId
    channel: Channel
