"""Other sources of personal data: registers and issuers, their guarantees, and what came from them. Clause 10."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import (
    BatchId,
    Channel,
    GuaranteeId,
    Language,
    LegalBasis,
    Purpose,
    Reference,
    Sha256Hex,
    SourceId,
    SourceKind,
    SubjectId,
    Word,
)


@event
class SourceRegistered(Event, frozen=True):
    """`name` is a company's or a register's: no personal data (GDPR recital 14)."""

    TOPIC: ClassVar[str] = "source-registered"
    source_id: SourceId
    kind: SourceKind
    name: str
    locator: Reference | None = None  # where a public register is found


@event
class LawfulnessGuaranteed(Event, frozen=True):
    """An issuer guarantees that it may pass on these categories for this purpose, until `valid_to`."""

    TOPIC: ClassVar[str] = "lawfulness-guaranteed"
    guarantee_id: GuaranteeId
    source_id: SourceId
    document_sha256: Sha256Hex
    categories: tuple[Word, ...]
    purpose: Purpose
    valid_from: datetime
    valid_to: datetime


@event
class GuaranteeRevoked(Event, frozen=True):
    """Suspends everything that came through it."""

    TOPIC: ClassVar[str] = "guarantee-revoked"
    guarantee_id: GuaranteeId
    source_id: SourceId
    reason: Word


@event
class BatchImported(Event, frozen=True):
    """Records may follow and be used: of a public register with where and when, or of an issuer under a guarantee.

    What comes at or after `guaranteed_until` is quarantined, as its guarantee is over.
    """

    TOPIC: ClassVar[str] = "batch-imported"
    batch_id: BatchId
    source_id: SourceId
    kind: SourceKind
    purpose: Purpose
    basis: LegalBasis
    categories: tuple[Word, ...]
    guarantee_id: GuaranteeId | None = None
    locator: Reference | None = None
    retrieved_at: datetime | None = None
    guaranteed_until: datetime | None = None


@event
class BatchQuarantined(Event, frozen=True):
    """Records may follow, are stored, and are not usable. `reason` is what the guarantee lacks."""

    TOPIC: ClassVar[str] = "batch-quarantined"
    batch_id: BatchId
    source_id: SourceId
    kind: SourceKind
    purpose: Purpose
    basis: LegalBasis
    categories: tuple[Word, ...]
    reason: Word
    guarantee_id: GuaranteeId | None = None


@event
class RecordSuppressed(Event, frozen=True):
    """A record of a batch was not taken in: its person, or whoever has its address, objected to offers."""

    TOPIC: ClassVar[str] = "record-suppressed"
    batch_id: BatchId
    subject_id: SubjectId
    reason: Word


@event
class SubjectInformed(Event, frozen=True):
    """GDPR Art. 14: the person was told what is held and where it comes from, by the text with this digest."""

    TOPIC: ClassVar[str] = "subject-informed"
    subject_id: SubjectId
    channel: Channel
    text_sha256: Sha256Hex
    language: Language
