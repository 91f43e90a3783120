"""Disclosures to third parties: requested, authorized or refused, transmitted, failed or voided. Clause 6.

And what follows: the recall that a withdrawal makes owed, and the notices that recipients were given (GDPR Art. 19).
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from ledger.events.event import Event, event
from ledger.vocabulary import (
    Channel,
    ConsentId,
    DisclosureId,
    LegalBasis,
    NoticeCause,
    Purpose,
    RecipientId,
    Reference,
    Sha256Hex,
    SubjectId,
    Word,
)


class Statute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The law that requires a disclosure: GDPR Art. 6(1)(c). Public words and references only."""

    act: Reference
    authority: Word
    reference: Reference
    scope: Word | None = None  # how much of it the authority asks for: what its order says


@event
class DisclosureRequested(Event, frozen=True):
    TOPIC: ClassVar[str] = "disclosure-requested"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    basis: LegalBasis
    fields: tuple[Word, ...]
    statute: Statute | None = None
    secret_until: datetime | None = None  # the person is not told before: only where the law says so


@event
class DisclosureAuthorized(Event, frozen=True):
    """The token itself is never recorded: only its SHA-256. It is random (256 bits), single-use and short-lived."""

    TOPIC: ClassVar[str] = "disclosure-authorized"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    token_sha256: Sha256Hex
    expires_at: datetime
    consent_id: ConsentId | None = None  # None: required by law
    fields: tuple[Word, ...] | None = None  # fewer than were asked for; None: those
    recipient_id: RecipientId | None = None  # None: its registration was not looked at


@event
class DisclosureRefused(Event, frozen=True):
    """`reason` is the code of the refusal where a rule refused (errors.py), or the word of whoever did."""

    TOPIC: ClassVar[str] = "disclosure-refused"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word
    recipient_id: RecipientId | None = None  # None: its registration was not looked at


@event
class DisclosureTransmitted(Event, frozen=True):
    TOPIC: ClassVar[str] = "disclosure-transmitted"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    fields: tuple[Word, ...]


@event
class DisclosureVoided(Event, frozen=True):
    TOPIC: ClassVar[str] = "disclosure-voided"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word
    recipient_id: RecipientId | None = None  # None: its registration was not looked at


@event
class DisclosureFailed(Event, frozen=True):
    """What was to go, or went, never arrived."""

    TOPIC: ClassVar[str] = "disclosure-failed"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    reason: Word


@event
class RecallOwed(Event, frozen=True):
    """A consent was withdrawn while a transmission that rested on it was under way: the recipient is to be told."""

    TOPIC: ClassVar[str] = "recall-owed"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    consent_id: ConsentId
    fields: tuple[Word, ...]


@event
class RecipientNotified(Event, frozen=True):
    """GDPR Art. 19: a recipient was told that fields were corrected or erased, or are called back."""

    TOPIC: ClassVar[str] = "recipient-notified"
    subject_id: SubjectId
    recipient_id: RecipientId
    cause: NoticeCause
    fields: tuple[Word, ...]
    channel: Channel
