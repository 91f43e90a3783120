"""Requests of people, with their clocks: open, passed on, fulfilled or refused, now and as of then. GDPR Art. 12(3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from ledger import Ledger
from ledger.command import Command
from ledger.commands import MissDeadline
from ledger.entry import parse_moment
from ledger.events import (
    AnswerDelivered,
    DeadlineExtended,
    DeadlineMissed,
    Event,
    IdentityVerified,
    RequestForwarded,
    RequestFulfilled,
    RequestReceived,
    RequestRefused,
)
from ledger.state.request import AUTHENTICATED, RequestStage
from ledger.vocabulary import Channel, ClientId, Purpose, RequestId, RequestKind, SubjectId, Word
from projections.duties import Owed, debt, duty
from projections.projection import AsOf, Item, Projection, bound, text
from projections.storage.store import Row, Store, Writer

if TYPE_CHECKING:
    from projections import Projections

# DPV 2.3, request statuses; one that is open has several, see `_dpv_status`.
DPV_STATUS: Final[Mapping[RequestStage, str]] = {
    RequestStage.FORWARDED: "dpv:RequestAccepted",
    RequestStage.FULFILLED: "dpv:RequestFulfilled",
    RequestStage.REFUSED: "dpv:RequestRejected",
}


class RequestState(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was known. `due_at` is the last second for an answer; `received` and `proof` are indexes.

    `client_id` is whose person it is about, who then decides; `ground` is that of a refusal; `status` the word of DPV.
    """

    request_id: RequestId
    subject_id: SubjectId
    kind: RequestKind
    stage: RequestStage
    status: str
    channel: Channel
    received: int
    received_at: datetime
    due_at: datetime
    fields: tuple[Word, ...]
    purpose: Purpose | None
    client_id: ClientId | None
    verified: bool
    extended: bool
    missed: bool
    delivered: int | None
    closed_at: datetime | None
    ground: Word | None
    proof: int | None


class _Step(msgspec.Struct, frozen=True, array_like=True):
    """A row of request_steps."""

    index: int
    request_id: RequestId
    subject_id: SubjectId
    recorded_at: str
    topic: str
    kind: RequestKind | None
    channel: Channel | None
    received_at: datetime | None
    due_at: datetime | None
    client_id: ClientId | None
    purpose: Purpose | None
    fields: str | None
    word: Word | None
    proof: int | None


_OF_SUBJECT: Final = """
SELECT * FROM request_steps WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_ALL: Final = "SELECT * FROM request_steps WHERE idx < ? AND recorded_at <= ? ORDER BY idx"
_CLOSES: Final[Mapping[str, RequestStage]] = {
    RequestForwarded.TOPIC: RequestStage.FORWARDED,
    RequestFulfilled.TOPIC: RequestStage.FULFILLED,
    RequestRefused.TOPIC: RequestStage.REFUSED,
}


class Requests(Projection):
    """Every step of every request."""

    NAME: ClassVar[str] = "requests"
    VERSION: ClassVar[int] = 1
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys(
        (
            RequestReceived, IdentityVerified, DeadlineExtended, DeadlineMissed, AnswerDelivered, RequestForwarded,
            RequestFulfilled, RequestRefused,
        )
    )  # fmt: skip

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        steps: list[Row] = []
        for item in batch:
            event: Any = item.event
            received_at = due_at = fields = None
            if isinstance(event, RequestReceived):
                received_at = text(event.received_at)
                fields = msgspec.json.encode(event.fields).decode()
            if isinstance(event, RequestReceived | DeadlineExtended | DeadlineMissed):
                due_at = text(event.due_at)
            steps.append(
                (
                    item.index, event.request_id, event.subject_id, item.recorded_at, event.TOPIC,
                    getattr(event, "kind", None), getattr(event, "channel", None), received_at, due_at,
                    getattr(event, "client_id", None), getattr(event, "purpose", None), fields,
                    getattr(event, "ground", None) or getattr(event, "method", None), getattr(event, "proof", None),
                )
            )  # fmt: skip
        writer.insert("request_steps", steps)

    def requests(self, subject_id: SubjectId | None = None, *, as_of: AsOf = None) -> tuple[RequestState, ...]:
        """Return the requests of a subject, or of everybody, in the order they were recorded. All of them."""
        with self._store.read() as rows:
            found = rows(_ALL, *bound(as_of)) if subject_id is None else rows(_OF_SUBJECT, subject_id, *bound(as_of))
        by_id: dict[RequestId, list[_Step]] = {}
        for step in msgspec.convert(found, list[_Step]):
            by_id.setdefault(step.request_id, []).append(step)
        return tuple(map(_state, by_id.values()))


def _state(steps: Sequence[_Step]) -> RequestState:
    first = steps[0]
    assert first.kind is not None
    assert first.channel is not None
    assert first.received_at is not None
    assert first.due_at is not None
    by_topic = {step.topic: step for step in steps}
    closed = next((step for step in steps if step.topic in _CLOSES), None)
    stage = RequestStage.OPEN if closed is None else _CLOSES[closed.topic]
    extended = by_topic.get(DeadlineExtended.TOPIC)
    refused = by_topic.get(RequestRefused.TOPIC)
    delivered = by_topic.get(AnswerDelivered.TOPIC)
    verified = first.channel in AUTHENTICATED or IdentityVerified.TOPIC in by_topic
    return RequestState(
        request_id=first.request_id,
        subject_id=first.subject_id,
        kind=first.kind,
        stage=stage,
        status=_dpv_status(stage, verified=verified, extended=extended is not None),
        channel=first.channel,
        received=first.index,
        received_at=first.received_at,
        due_at=first.due_at if extended is None or extended.due_at is None else extended.due_at,
        fields=msgspec.json.decode(first.fields or "[]", type=tuple[Word, ...]),
        purpose=first.purpose,
        client_id=first.client_id,
        verified=verified,
        extended=extended is not None,
        missed=DeadlineMissed.TOPIC in by_topic,
        delivered=None if delivered is None else delivered.index,
        closed_at=None if closed is None else parse_moment(closed.recorded_at),
        ground=None if refused is None else refused.word,
        proof=None if closed is None else closed.proof,
    )


def _dpv_status(stage: RequestStage, *, verified: bool, extended: bool) -> str:
    if stage is not RequestStage.OPEN:
        return DPV_STATUS[stage]
    if not verified:
        # The person has to say who they are before an answer may go out.
        return "dpv:RequestRequiresAction"
    return "dpv:RequestActionDelayed" if extended else "dpv:RequestAcknowledged"


def _open(projections: Projections) -> Iterator[RequestState]:
    return (request for request in projections.requests() if request.stage is RequestStage.OPEN)


@duty("request-deadline")
def missed(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    """A deadline that went by unanswered is recorded as missed."""
    for request in _open(projections):
        if now > request.due_at and not request.missed:
            command = MissDeadline(request_id=request.request_id, subject_id=request.subject_id)
            yield command, f"{request.request_id}:{text(request.due_at)}"


@debt("answer-request")
def answers(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    """Every open request is owed an answer, or its passing on to the client."""
    for request in _open(projections):
        what = Word("answer-request" if request.client_id is None else "forward-request")
        yield Owed(what=what, id=request.request_id, due_at=request.due_at, overdue=now > request.due_at)
