"""Documents published, presented and accepted, each bound to its exact text. Clause 3; GDPR Art. 7(1), 12, 13."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Count, Event, event
from ledger.vocabulary import Channel, DocumentKind, Language, Reference, Sha256Hex, SubjectId


@event
class DocumentPublished(Event, frozen=True):
    """`text_sha256` is of the exact text in UTF-8, which stands in the `parts` entries recorded with this one."""

    TOPIC: ClassVar[str] = "document-published"
    kind: DocumentKind
    version: Reference
    language: Language
    text_sha256: Sha256Hex
    size_bytes: Count
    parts: Count
    published_at: datetime
    effective_at: datetime


@event
class DocumentTextKept(Event, frozen=True):
    """A part of a published text. It is everybody's to read and holds no personal data."""

    TOPIC: ClassVar[str] = "document-text-kept"
    kind: DocumentKind
    text_sha256: Sha256Hex  # of the whole text
    part: Count  # from 0
    text: str


@event
class DocumentPresented(Event, frozen=True):
    TOPIC: ClassVar[str] = "document-presented"
    subject_id: SubjectId
    kind: DocumentKind
    version: Reference
    language: Language
    text_sha256: Sha256Hex
    channel: Channel


@event
class TermsAccepted(Event, frozen=True):
    TOPIC: ClassVar[str] = "terms-accepted"
    subject_id: SubjectId
    version: Reference
    language: Language
    text_sha256: Sha256Hex
    channel: Channel
