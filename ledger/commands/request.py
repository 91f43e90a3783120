"""Requests of people, each with its clock: received by any channel, verified, answered or refused. Clauses 8–9, 13.

GDPR Art. 12(3): within one calendar month of receipt; two more when it is complex and the person is told in the first.
A person who is a client's own (processor role) is the client's to answer: their request is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.deadline import due_after
from ledger.errors import (
    DeadlinePassed,
    DeadlineRuns,
    GroundUnfit,
    IdentityUnverified,
    Invalid,
    NotFulfilled,
    RequestExists,
    RequestOfClient,
    RequestState,
)
from ledger.events import (
    AnswerDelivered,
    DataCorrected,
    DeadlineExtended,
    DeadlineMissed,
    Event,
    IdentityVerified,
    MarketingObjected,
    PersonalDataErased,
    ProcessingRestricted,
    RequestForwarded,
    RequestFulfilled,
    RequestReceived,
    RequestRefused,
    StatementAttached,
)
from ledger.rule import rule
from ledger.state.policy import policies, policy_needed
from ledger.state.request import Request, request, request_steps
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    Channel,
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
    SubjectRole,
    Tag,
    Word,
    client_tag,
    request_tag,
    subject_tag,
)

ANY_CHANNEL = rule(
    "request-by-any-channel",
    clause="13",
    promise="A request opens with its clock by whatever channel it comes: a phone call or an e-mail too",
    source="GDPR Art. 12(2); EDPB Guidelines 01/2022, 53",
    refusals=(RequestExists,),
)
ONE_MONTH = rule(
    "request-within-a-month",
    clause="8-9",
    promise="The clock is one calendar month from receipt; a last day that is not worked moves to the next that is",
    source="GDPR Art. 12(3); Regulation 1182/71 Art. 3",
    refusals=(DeadlineRuns,),
)
EXTENSION = rule(
    "extension-told-in-time",
    clause="8-9",
    promise="An extension is of at most two months, once, and told within the first month with its ground",
    source="GDPR Art. 12(3)",
    refusals=(DeadlinePassed, RequestState),
)
VERIFIED = rule(
    "answer-to-the-verified",
    clause="8-9",
    promise="Nothing is handed out, corrected or erased for somebody whose identity was not verified",
    source="GDPR Art. 12(6)",
    refusals=(IdentityUnverified,),
)
HAPPENED = rule(
    "fulfilled-means-happened",
    clause="8-9",
    promise="A request is closed as fulfilled only when what it asks for is recorded after it came",
    source="GDPR Art. 5(2), 12(3)",
    refusals=(NotFulfilled,),
)
GROUNDED = rule(
    "refusal-has-a-ground",
    clause="8-9",
    promise="A request is refused on a ground that the law knows for its kind; an objection to offers never is",
    source="GDPR Art. 12(4), 12(5), 21(3)",
    refusals=(GroundUnfit,),
)
PASSED_ON = rule(
    "request-passed-to-client",
    clause="8-9",
    promise="A request about a client's own person is passed to the client and not decided here",
    source="GDPR Art. 28(3)(e)",
    refusals=(RequestOfClient,),
)

# What proves that a request was fulfilled, when it is recorded after it.
_PROOFS: Final[Mapping[RequestKind, tuple[type[Event], ...]]] = {
    RequestKind.ACCESS: (AnswerDelivered,),
    RequestKind.PORTABILITY: (AnswerDelivered,),
    RequestKind.RECTIFICATION: (DataCorrected, StatementAttached),
    RequestKind.ERASURE: (PersonalDataErased,),
    RequestKind.RESTRICTION: (ProcessingRestricted,),
    RequestKind.OBJECTION: (ProcessingRestricted, PersonalDataErased, MarketingObjected),
}
_PROVING: Final = tuple({kind for kinds in _PROOFS.values() for kind in kinds})

# An objection or a restriction takes nothing from anybody: it needs no proof of identity.
_NEED_IDENTITY: Final = frozenset(_PROOFS) - {RequestKind.OBJECTION, RequestKind.RESTRICTION}

_ALWAYS: Final = frozenset((RequestGround.UNFOUNDED, RequestGround.EXCESSIVE, RequestGround.IDENTITY))
_GROUNDS: Final[Mapping[RequestKind, frozenset[RequestGround]]] = {
    RequestKind.ACCESS: _ALWAYS | {RequestGround.OTHERS_RIGHTS, RequestGround.NOTHING_HELD},
    RequestKind.RECTIFICATION: _ALWAYS | {RequestGround.ACCURATE, RequestGround.NOTHING_HELD},
    RequestKind.ERASURE: _ALWAYS
    | {
        RequestGround.LEGAL_OBLIGATION,
        RequestGround.LEGAL_CLAIMS,
        RequestGround.NOTHING_HELD,
        RequestGround.NO_GROUND,
    },
    RequestKind.RESTRICTION: _ALWAYS | {RequestGround.NO_GROUND, RequestGround.NOTHING_HELD},
    RequestKind.PORTABILITY: _ALWAYS
    | {RequestGround.OTHERS_RIGHTS, RequestGround.NOTHING_HELD, RequestGround.NO_GROUND},
    RequestKind.OBJECTION: _ALWAYS | {RequestGround.OVERRIDING, RequestGround.LEGAL_CLAIMS},
}
_OFFERS: Final = frozenset((Purpose.OWN_OFFERS, Purpose.PARTNER_OFFERS))


@command
class ReceiveRequest(Command, frozen=True):
    """Record what a person asks, by whatever channel it came and when; its clock starts at receipt."""

    NAME: ClassVar[str] = "receive-request"
    RECORDS = (RequestReceived,)
    RULES = (ANY_CHANNEL, ONE_MONTH)
    request_id: RequestId
    subject_id: SubjectId
    kind: RequestKind
    channel: Channel
    received_at: datetime
    fields: tuple[Word, ...] = ()
    purpose: Purpose | None = None
    statement: str | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *request_steps(self.request_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        policy = policy_needed(past)
        if past.last(RequestReceived) is not None:
            raise RequestExists(request=self.request_id)
        if self.received_at > context.now:
            raise Invalid("received_at", "is in the future")
        if self.purpose is not None and self.kind is not RequestKind.OBJECTION:
            raise Invalid("purpose", "is what an objection is to, and of no other request")
        event = RequestReceived(
            request_id=self.request_id,
            subject_id=self.subject_id,
            kind=self.kind,
            channel=self.channel,
            received_at=self.received_at,
            due_at=due_after(self.received_at, policy.deadlines.request_months, policy.calendar),
            fields=tuple(sorted(set(self.fields))),
            purpose=self.purpose,
            client_id=subject.client_id if subject.role is SubjectRole.PROCESSOR else None,
            statement=self.statement,
        )
        return [Fact(event, _tags(event), scope(subject, RetentionClass.CONTRACT))]


class _Step(Command, frozen=True):
    """A step of a request that is open."""

    request_id: RequestId
    subject_id: SubjectId

    def boundary(self) -> Boundary:
        return request_steps(self.request_id)

    def opened(self, past: Past, wanted: str) -> Request:
        found = request(past, self.request_id, self.subject_id)
        found.needs_open(wanted)
        return found


@command
class VerifyIdentity(_Step, frozen=True):
    """Record how the person who asks was verified. The clock does not wait for it."""

    NAME: ClassVar[str] = "verify-identity"
    RECORDS = (IdentityVerified,)
    RULES = (VERIFIED,)
    method: IdentityCheck

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = self.opened(past, "verified")
        event = IdentityVerified(request_id=self.request_id, subject_id=self.subject_id, method=self.method)
        return [Fact(event, _tags(found.received))]


@command
class ExtendDeadline(_Step, frozen=True):
    """Record that the person was told, now and by this channel, that the answer takes longer, and why."""

    NAME: ClassVar[str] = "extend-deadline"
    RECORDS = (DeadlineExtended,)
    RULES = (EXTENSION,)
    months: int
    ground: ExtensionGround
    channel: Channel

    def boundary(self) -> Boundary:
        return (*request_steps(self.request_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        policy = policy_needed(past)
        found = self.opened(past, "extended")
        _ours(found)
        most = policy.deadlines.request_extension_months
        if not 1 <= self.months <= most:
            raise Invalid("months", f"is between 1 and {most}")
        if found.extended:
            raise RequestState(request=self.request_id, state="extended already", wanted="extended")
        if context.now > found.due_at:
            raise DeadlinePassed(request=self.request_id, due_at=_moment(found.due_at))
        months = policy.deadlines.request_months + self.months
        event = DeadlineExtended(
            request_id=self.request_id,
            subject_id=self.subject_id,
            months=self.months,
            ground=self.ground,
            channel=self.channel,
            due_at=due_after(found.received.received_at, months, policy.calendar),
        )
        return [Fact(event, _tags(found.received))]


@command
class MissDeadline(_Step, frozen=True):
    """Record that the deadline went by. The request stays open: an answer is owed all the more."""

    NAME: ClassVar[str] = "miss-deadline"
    RECORDS = (DeadlineMissed,)
    RULES = (ONE_MONTH,)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = self.opened(past, "missed")
        if found.missed:
            raise RequestState(request=self.request_id, state="missed already", wanted="missed")
        if context.now <= found.due_at:
            raise DeadlineRuns(request=self.request_id, due_at=_moment(found.due_at))
        event = DeadlineMissed(request_id=self.request_id, subject_id=self.subject_id, due_at=found.due_at)
        return [Fact(event, _tags(found.received))]


@command
class ForwardRequest(_Step, frozen=True):
    """Record that a request about a client's own person was passed to that client."""

    NAME: ClassVar[str] = "forward-request"
    RECORDS = (RequestForwarded,)
    RULES = (PASSED_ON,)
    channel: Channel

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = self.opened(past, "passed on")
        client_id = found.received.client_id
        if client_id is None:
            raise RequestState(request=self.request_id, state="the company's own to answer", wanted="passed on")
        event = RequestForwarded(
            request_id=self.request_id, subject_id=self.subject_id, client_id=client_id, channel=self.channel
        )
        return [Fact(event, _tags(found.received))]


@command
class DeliverAnswer(_Step, frozen=True):
    """Record that the copy of the data (access), or the export (portability), was handed over, by its digest."""

    NAME: ClassVar[str] = "deliver-answer"
    RECORDS = (AnswerDelivered,)
    RULES = (VERIFIED, PASSED_ON)
    sha256: Sha256Hex
    media_type: MediaType
    channel: Channel
    language: Language | None = None

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = self.opened(past, "answered")
        _ours(found)
        _verified(found)
        if AnswerDelivered not in _PROOFS[found.received.kind]:
            raise RequestState(request=self.request_id, state=f"for {found.received.kind}", wanted="answered by a copy")
        event = AnswerDelivered(
            request_id=self.request_id,
            subject_id=self.subject_id,
            kind=found.received.kind,
            sha256=self.sha256,
            media_type=self.media_type,
            channel=self.channel,
            language=self.language,
        )
        return [Fact(event, _tags(found.received))]


@command
class FulfilRequest(_Step, frozen=True):
    """Close a request: what it asks for happened, and the person is told now by this channel."""

    NAME: ClassVar[str] = "fulfil-request"
    RECORDS = (RequestFulfilled,)
    RULES = (HAPPENED, VERIFIED, PASSED_ON)
    channel: Channel

    def boundary(self) -> Boundary:
        return (*request_steps(self.request_id), selector(*_PROVING, tags=[subject_tag(self.subject_id)]))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = self.opened(past, "fulfilled")
        _ours(found)
        _verified(found)
        event = RequestFulfilled(
            request_id=self.request_id,
            subject_id=self.subject_id,
            proof=_proof(past, found),
            channel=self.channel,
        )
        return [Fact(event, _tags(found.received))]


@command
class RefuseRequest(_Step, frozen=True):
    """Close a request on a ground of the law; the person is told now why, and where to complain."""

    NAME: ClassVar[str] = "refuse-request"
    RECORDS = (RequestRefused,)
    RULES = (GROUNDED, PASSED_ON)
    ground: RequestGround
    channel: Channel

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = self.opened(past, "refused")
        _ours(found)
        received = found.received
        # GDPR Art. 21(3): whoever objects to offers is sent none, whatever the company holds against it.
        unfit = received.kind is RequestKind.OBJECTION and (received.purpose in _OFFERS)
        if unfit or self.ground not in _GROUNDS[received.kind]:
            raise GroundUnfit(asked=received.kind, ground=self.ground)
        event = RequestRefused(
            request_id=self.request_id, subject_id=self.subject_id, ground=self.ground, channel=self.channel
        )
        return [Fact(event, _tags(received))]


def _ours(found: Request) -> None:
    received = found.received
    if received.client_id is not None:
        raise RequestOfClient(request=received.request_id, client=received.client_id)


def _verified(found: Request) -> None:
    received = found.received
    if received.kind in _NEED_IDENTITY and not found.verified:
        raise IdentityUnverified(request=received.request_id, channel=received.channel)


def _proof(past: Past, found: Request) -> int:
    """Return the last entry that a fulfilment rests on. Raises NotFulfilled while anything asked for is open."""
    received = found.received
    proving = [
        recorded
        for recorded in past.all
        if recorded.index > found.index
        and isinstance(recorded.event, _PROOFS[received.kind])
        # Another record of the person may carry this one's tag: what was done there answers nothing here.
        and getattr(recorded.event, "subject_id", None) == received.subject_id
        and _to_what_was_objected(recorded.event, received)
    ]
    if received.kind in (RequestKind.ACCESS, RequestKind.PORTABILITY):
        proving = [
            recorded for recorded in proving if getattr(recorded.event, "request_id", None) == received.request_id
        ]
    done: set[str] = set()
    for recorded in proving:
        if isinstance(recorded.event, DataCorrected | StatementAttached):
            done.add(recorded.event.field)
        elif isinstance(recorded.event, ProcessingRestricted):
            done.update(recorded.event.fields or received.fields)
        else:
            done.update(received.fields)
    if not proving or not set(received.fields) <= done:
        raise NotFulfilled(request=received.request_id, asked=received.kind)
    return proving[-1].index


def _to_what_was_objected(event: Event, received: RequestReceived) -> bool:
    """Whether an objection to offers answers the request: only one to offers, or to nothing in particular."""
    return not isinstance(event, MarketingObjected) or received.purpose is None or received.purpose in _OFFERS


def _tags(received: RequestReceived) -> list[Tag]:
    tags = [request_tag(received.request_id), subject_tag(received.subject_id)]
    return tags if received.client_id is None else [*tags, client_tag(received.client_id)]


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
