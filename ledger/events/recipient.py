"""Recipients: who personal data goes to, in which category, where, under which contract, from when to when. Clause 12.

A company's name is no personal data (GDPR recital 14) and stands in the entry. A sole trader is a person: the entry
names them as a subject, and their name is sealed like any other of their data.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Event, Personal, event
from ledger.vocabulary import (
    Country,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    RetentionClass,
    SubjectId,
    TransferBasis,
    Word,
)


@event
class RecipientRegistered(Event, frozen=True):
    """In force from `valid_from` until `valid_to` (None: until it is ended). `contract` is that of GDPR Art. 28."""

    TOPIC: ClassVar[str] = "recipient-registered"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    recipient_id: RecipientId
    category: RecipientCategory
    country: Country
    valid_from: datetime
    valid_to: datetime | None = None
    contract: Reference | None = None
    transfer_basis: TransferBasis | None = None  # outside the EEA: GDPR chapter V
    name: str | None = None  # of a company or an authority
    subject_id: SubjectId | None = None  # a sole trader
    trader_name: Personal[str] = None


@event
class RecipientEnded(Event, frozen=True):
    TOPIC: ClassVar[str] = "recipient-ended"
    recipient_id: RecipientId
    reason: Word


@event
class DataSentToProcessor(Event, frozen=True):
    """A transmission to a processor: recorded, and no disclosure to a third party (GDPR Art. 4(10))."""

    TOPIC: ClassVar[str] = "data-sent-to-processor"
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    fields: tuple[Word, ...]


@event
class TransmissionDenied(Event, frozen=True):
    TOPIC: ClassVar[str] = "transmission-denied"
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    fields: tuple[Word, ...]
    reason: Word
