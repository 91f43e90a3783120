"""Subjects and by what they are known. Principles, clause 0."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import msgspec

from ledger.events.event import SEALED, Event, Personal, event
from ledger.vocabulary import (
    CampaignId,
    Channel,
    ClientId,
    ConsentId,
    HoldId,
    IdentifierKind,
    OfferKind,
    Purpose,
    RecipientId,
    RestrictionGround,
    RestrictionId,
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


class OfferRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """What a record said no to: these offers by these channels."""

    subject_id: SubjectId
    kind: OfferKind
    channels: tuple[Channel, ...]


class PartnerOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A partner offer to a record, reserved or sent at `at`: it takes a slot of the person's window."""

    subject_id: SubjectId
    campaign_id: CampaignId
    at: datetime


class OpenRestriction(msgspec.Struct, frozen=True, kw_only=True):
    """A restriction in force on a record; no field named: of everything."""

    restriction_id: RestrictionId
    subject_id: SubjectId
    ground: RestrictionGround
    fields: tuple[Word, ...]


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A legal hold that stands on a record; no class named: on all."""

    hold_id: HoldId
    subject_id: SubjectId
    retention_classes: tuple[RetentionClass, ...]


@event
class SubjectsMerged(Event, frozen=True):
    """Two records are of one person. Nothing moves: each keeps its history, `members` are all that are together now.

    The rest is what any of them says, so that it holds for all: the most restrictive state wins.
    """

    TOPIC: ClassVar[str] = "subjects-merged"
    subject_id: SubjectId
    merged_id: SubjectId
    members: tuple[SubjectId, ...]
    ground: Word
    live: Mapping[ConsentId, Stance]  # what any of them consents to, so that a later withdrawal is understood
    withdrawn: tuple[Stance, ...]  # what any of them withdrew
    offers_refused: tuple[OfferRefusal, ...] = ()
    restrictions: tuple[OpenRestriction, ...] = ()
    holds: tuple[OpenHold, ...] = ()
    partner_offers: tuple[PartnerOffer, ...] = ()


@event
class SubjectsUnmerged(Event, frozen=True):
    """They were not: each record stands for itself again, as if they had never been together."""

    TOPIC: ClassVar[str] = "subjects-unmerged"
    subject_id: SubjectId
    merged_id: SubjectId
    ground: Word
    members: tuple[SubjectId, ...] = ()  # all that were together until now
