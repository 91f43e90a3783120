"""What a person asks of the company, and what became of it. Clauses 8–9 and 13; GDPR Art. 12, 15–21."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Count, Event, Personal, event
from ledger.vocabulary import (
    Channel,
    ClientId,
    ExtensionGround,
    IdentityCheck,
    Language,
    MediaType,
    Purpose,
    RequestGround,
    RequestId,
    RequestKind,
    RetentionClass,
    Sha256Hex,
    SubjectId,
    Word,
)


@event
class RequestReceived(Event, frozen=True):
    """The clock: `due_at` is the last second for an answer, under the policy of the day. `client_id` decides on it."""

    TOPIC: ClassVar[str] = "request-received"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    request_id: RequestId
    subject_id: SubjectId
    kind: RequestKind
    channel: Channel
    received_at: datetime
    due_at: datetime
    fields: tuple[Word, ...] = ()  # none: all of them
    purpose: Purpose | None = None  # what an objection is to
    client_id: ClientId | None = None  # of a person of theirs, in the processor role
    statement: Personal[str] = None


@event
class IdentityVerified(Event, frozen=True):
    TOPIC: ClassVar[str] = "identity-verified"
    request_id: RequestId
    subject_id: SubjectId
    method: IdentityCheck


@event
class DeadlineExtended(Event, frozen=True):
    """GDPR Art. 12(3): the person was told by this entry's moment, within the first month, and why."""

    TOPIC: ClassVar[str] = "deadline-extended"
    request_id: RequestId
    subject_id: SubjectId
    months: Count
    ground: ExtensionGround
    channel: Channel
    due_at: datetime


@event
class DeadlineMissed(Event, frozen=True):
    TOPIC: ClassVar[str] = "deadline-missed"
    request_id: RequestId
    subject_id: SubjectId
    due_at: datetime


@event
class RequestForwarded(Event, frozen=True):
    """Passed to the client whose person it is about. GDPR Art. 28(3)(e)."""

    TOPIC: ClassVar[str] = "request-forwarded"
    request_id: RequestId
    subject_id: SubjectId
    client_id: ClientId
    channel: Channel


@event
class AnswerDelivered(Event, frozen=True):
    """A copy was given: the Art. 15 answer, or the Art. 20 export, by the digest of its exact bytes."""

    TOPIC: ClassVar[str] = "answer-delivered"
    request_id: RequestId
    subject_id: SubjectId
    kind: RequestKind
    sha256: Sha256Hex
    media_type: MediaType
    channel: Channel
    language: Language | None = None


@event
class RequestFulfilled(Event, frozen=True):
    """`proof` is the entry in which what was asked happened."""

    TOPIC: ClassVar[str] = "request-fulfilled"
    request_id: RequestId
    subject_id: SubjectId
    proof: Count
    channel: Channel


@event
class RequestRefused(Event, frozen=True):
    """GDPR Art. 12(4): the person was told why, and where to complain."""

    TOPIC: ClassVar[str] = "request-refused"
    request_id: RequestId
    subject_id: SubjectId
    ground: RequestGround
    channel: Channel
