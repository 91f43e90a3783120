"""Disclosures to third parties: requested, authorized or refused, transmitted or voided. Clause 6."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from ledger.events.event import Event, event
from ledger.vocabulary import (
    ConsentId,
    DisclosureId,
    LegalBasis,
    Purpose,
    RecipientId,
    Reference,
    Sha256Hex,
    SubjectId,
    Word,
)


class Statute(msgspec.Struct, frozen=True, kw_only=True):
    """The law that requires a disclosure: GDPR Art. 6(1)(c). Public words and references only."""

    act: Reference
    authority: Word
    reference: Reference


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


@event
class DisclosureAuthorized(Event, frozen=True):
    """The token itself is never recorded: only its SHA-256. It is random (256 bits), single-use and short-lived."""

    TOPIC: ClassVar[str] = "disclosure-authorized"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    token_sha256: Sha256Hex
    expires_at: datetime
    consent_id: ConsentId | None = None  # None: required by law


@event
class DisclosureRefused(Event, frozen=True):
    """`reason` is the code of the refusal where a rule refused (errors.py), or the word of whoever did."""

    TOPIC: ClassVar[str] = "disclosure-refused"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word


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
