"""Subjects and by what they are known. Principles, clause 0."""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import SEALED, Event, Personal, event
from ledger.vocabulary import ClientId, IdentifierKind, RetentionClass, SubjectId, SubjectRole


@event
class SubjectRegistered(Event, frozen=True):
    TOPIC: ClassVar[str] = "subject-registered"
    subject_id: SubjectId
    role: SubjectRole
    client_id: ClientId | None = None  # whose person this is, in the processor role


@event
class IdentifierLinked(Event, frozen=True):
    TOPIC: ClassVar[str] = "identifier-linked"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.IDENTITY
    subject_id: SubjectId
    kind: IdentifierKind
    value: Personal[str] = SEALED
