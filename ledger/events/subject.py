"""Subjects and by what they are known. Principles, clause 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from ledger.events.event import SEALED, Event, Personal, event
from ledger.vocabulary import (
    ClientId,
    ConsentId,
    IdentifierKind,
    Purpose,
    RecipientId,
    RetentionClass,
    SubjectId,
    SubjectRole,
    Word,
)


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


class Stance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record said yes or no to. `recipient_id` is None for the company itself."""

    subject_id: SubjectId
    purpose: Purpose
    recipient_id: RecipientId | None


@event
class SubjectsMerged(Event, frozen=True):
    """Two records are of one person. Nothing moves: each keeps its history, `members` are all that are together now."""

    TOPIC: ClassVar[str] = "subjects-merged"
    subject_id: SubjectId
    merged_id: SubjectId
    members: tuple[SubjectId, ...]
    ground: Word
    live: Mapping[ConsentId, Stance]  # what any of them consents to, so that a later withdrawal is understood
    withdrawn: tuple[Stance, ...]  # what any of them withdrew: the most restrictive state wins


@event
class SubjectsUnmerged(Event, frozen=True):
    """They were not: each record stands for itself again, as if they had never been together."""

    TOPIC: ClassVar[str] = "subjects-unmerged"
    subject_id: SubjectId
    merged_id: SubjectId
    ground: Word
