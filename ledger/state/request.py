"""How far a request has come: open, passed to the client, fulfilled or refused; and until when it can be answered."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.errors import RequestState, RequestUnknown
from ledger.events import (
    DeadlineExtended,
    DeadlineMissed,
    IdentityVerified,
    RequestForwarded,
    RequestFulfilled,
    RequestReceived,
    RequestRefused,
)
from ledger.vocabulary import Channel, RequestId, SubjectId, request_tag


class RequestStage(StrEnum):
    """In DPV dpv:RequestAcknowledged, dpv:RequestAccepted, dpv:RequestFulfilled and dpv:RequestRejected."""

    OPEN = "open"
    FORWARDED = "forwarded"
    FULFILLED = "fulfilled"
    REFUSED = "refused"


class Request(msgspec.Struct, frozen=True):
    """`index` is where it was received, `due_at` the last second for an answer, extended or not."""

    index: int
    received: RequestReceived
    stage: RequestStage
    due_at: datetime
    verified: bool
    extended: bool
    missed: bool

    def needs_open(self, wanted: str) -> None:
        """Raise RequestState unless it is open."""
        if self.stage is not RequestStage.OPEN:
            raise RequestState(request=self.received.request_id, state=self.stage, wanted=wanted)


# Whoever asks from within the software has logged in.
AUTHENTICATED = frozenset((Channel.SOFTWARE, Channel.API))


def request_steps(request_id: RequestId) -> Boundary:
    """The boundary of `request`."""
    return (
        selector(
            RequestReceived,
            IdentityVerified,
            DeadlineExtended,
            DeadlineMissed,
            RequestForwarded,
            RequestFulfilled,
            RequestRefused,
            tags=[request_tag(request_id)],
        ),
    )


def request(past: Past, request_id: RequestId, subject_id: SubjectId) -> Request:
    """Return a subject's request. Raises RequestUnknown, also when it is another subject's."""
    found: Request | None = None
    for recorded in past.all:
        match recorded.event:
            case RequestReceived(request_id=known) as received if known == request_id:
                found = Request(
                    recorded.index, received, RequestStage.OPEN, received.due_at,
                    received.channel in AUTHENTICATED, False, False,
                )  # fmt: skip
            case _ if found is None or getattr(recorded.event, "request_id", None) != request_id:
                continue
            case event:
                found = _advanced(found, event)
    if found is None or found.received.subject_id != subject_id:
        raise RequestUnknown(request=request_id, subject=subject_id)
    return found


def _advanced(found: Request, event: object) -> Request:
    replace = msgspec.structs.replace
    match event:
        case IdentityVerified():
            return replace(found, verified=True)
        case DeadlineExtended(due_at=due_at):
            return replace(found, due_at=due_at, extended=True)
        case DeadlineMissed():
            return replace(found, missed=True)
        case RequestForwarded():
            return replace(found, stage=RequestStage.FORWARDED)
        case RequestFulfilled():
            return replace(found, stage=RequestStage.FULFILLED)
        case RequestRefused():
            return replace(found, stage=RequestStage.REFUSED)
    return found
