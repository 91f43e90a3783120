"""What people ask, with its clock: received, verified, extended, fulfilled, refused, passed on. Clauses 8–9, 13."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import (
    DeliverAnswer,
    ExtendDeadline,
    ForwardRequest,
    FulfilRequest,
    ReceiveRequest,
    RefuseRequest,
    VerifyIdentity,
)
from ledger.deadline import due_after
from ledger.errors import (
    DeadlinePassed,
    IdentityUnverified,
    NotFulfilled,
    RequestExists,
    RequestOfClient,
    RequestState,
    RequestUnknown,
    SubjectUnknown,
)
from ledger.vocabulary import (
    Channel,
    ExtensionGround,
    IdentityCheck,
    RequestGround,
    RequestKind,
    RetentionClass,
    SubjectRole,
)
from tests.bench import an_id
from tests.model.base import AIMED, PERSON, POLICY, STEPS, Refusal, View
from tests.model.people import People

REQUEST = st.integers(0, 3)
ANSWERED = {RequestKind.ACCESS, RequestKind.PORTABILITY}
NEEDS_IDENTITY = {*ANSWERED, RequestKind.RECTIFICATION, RequestKind.ERASURE}
PROOFS = {
    RequestKind.RECTIFICATION: {"corrected"},
    RequestKind.ERASURE: {"erased"},
    RequestKind.RESTRICTION: {"restricted"},
    RequestKind.OBJECTION: {"restricted", "erased", "objected"},
}


class Request:
    def __init__(self, subject: str, kind: RequestKind, index: int, received: datetime, clients: bool) -> None:
        self.subject = subject
        self.kind = kind
        self.index = index
        self.received = received
        self.clients = clients  # about a client's own person
        self.due_at = due_after(received, 1, POLICY.calendar)
        self.stage = "open"
        self.verified = self.extended = self.missed = self.delivered = False


class Requesting(People):
    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[str, Request] = {}

    @rule(subject=PERSON, number=REQUEST, kind=st.sampled_from(RequestKind))
    def receive(self, subject: Any, number: int, kind: RequestKind) -> None:
        request_id: Any = an_id(f"request {number}")
        known = self.people.get(subject)
        command = ReceiveRequest(
            request_id=request_id, subject_id=subject, kind=kind, channel=Channel.PHONE, received_at=self.now
        )
        if known is None:
            self.do(command, SubjectUnknown)
        elif request_id in self.requests:
            self.do(command, RequestExists)
        else:
            index, clients = self.do(command), known.role is SubjectRole.PROCESSOR
            self.requests[request_id] = Request(subject, kind, index, self.now, clients)
            known.kept.add(RetentionClass.CONTRACT)

    def opened(self, subject: str, number: int) -> tuple[Any, Request | None, Refusal]:
        """Return the ids, the request if it is this person's and open, and why not."""
        ids = {"request_id": an_id(f"request {number}"), "subject_id": subject}
        found = self.requests.get(ids["request_id"])
        if found is None or found.subject != subject:
            return ids, None, RequestUnknown
        return (ids, found, None) if found.stage == "open" else (ids, None, RequestState)

    @precondition(lambda self: self.requests)
    @rule(subject=PERSON, number=REQUEST, aimed=AIMED)
    def verify(self, subject: Any, number: int, aimed: bool) -> None:
        ids, found, expected = self.of_open(subject, number, aimed)
        self.do(VerifyIdentity(**ids, method=IdentityCheck.CALL_BACK), expected)
        if found:
            found.verified = True

    @precondition(lambda self: self.requests)
    @rule(subject=PERSON, number=REQUEST, aimed=AIMED)
    def extend(self, subject: Any, number: int, aimed: bool) -> None:
        ids, found, expected = self.of_open(subject, number, aimed)
        if found and found.clients:
            expected = RequestOfClient
        elif found and found.extended:
            expected = RequestState
        elif found and self.now > found.due_at:
            expected = DeadlinePassed
        self.do(ExtendDeadline(**ids, months=2, ground=ExtensionGround.COMPLEXITY, channel=Channel.EMAIL), expected)
        if found and expected is None:
            found.extended, found.due_at = True, due_after(found.received, 3, POLICY.calendar)

    def of_open(self, subject: Any, number: int, aimed: bool) -> tuple[Any, Request | None, Refusal]:
        fitting = [
            (self.requests[name].subject, one)
            for one in range(4)
            if (name := an_id(f"request {one}")) in self.requests and self.requests[name].stage == "open"
        ]
        return self.opened(*self.aim(aimed, (subject, number), fitting))

    def not_answerable(self, found: Request) -> Refusal:
        if found.clients:
            return RequestOfClient
        return IdentityUnverified if found.kind in NEEDS_IDENTITY and not found.verified else None

    @precondition(lambda self: self.requests)
    @rule(subject=PERSON, number=REQUEST, aimed=AIMED)
    def deliver(self, subject: Any, number: int, aimed: bool) -> None:
        ids, found, expected = self.of_open(subject, number, aimed)
        if found:
            expected = self.not_answerable(found) or (None if found.kind in ANSWERED else RequestState)
        self.do(DeliverAnswer(**ids, sha256="0" * 64, media_type="application/json", channel=Channel.EMAIL), expected)
        if found and expected is None:
            found.delivered = True

    @precondition(lambda self: self.requests)
    @rule(subject=PERSON, number=REQUEST, aimed=AIMED)
    def fulfil(self, subject: Any, number: int, aimed: bool) -> None:
        ids, found, expected = self.of_open(subject, number, aimed)
        if found:
            expected = self.not_answerable(found) or (None if self.happened(found) else NotFulfilled)
        self.do(FulfilRequest(**ids, channel=Channel.EMAIL), expected)
        if found and expected is None:
            found.stage = "fulfilled"

    def happened(self, found: Request) -> bool:
        if found.kind in ANSWERED:
            return found.delivered
        proofs = self.people[found.subject].proofs
        return any(index > found.index and what in PROOFS[found.kind] for index, what in proofs)

    @precondition(lambda self: self.requests)
    @rule(subject=PERSON, number=REQUEST, aimed=AIMED)
    def refuse(self, subject: Any, number: int, aimed: bool) -> None:
        ids, found, expected = self.of_open(subject, number, aimed)
        if found and found.clients:
            expected = RequestOfClient
        self.do(RefuseRequest(**ids, ground=RequestGround.EXCESSIVE, channel=Channel.EMAIL), expected)
        if found and expected is None:
            found.stage = "refused"

    @precondition(lambda self: self.requests)
    @rule(subject=PERSON, number=REQUEST, aimed=AIMED)
    def forward(self, subject: Any, number: int, aimed: bool) -> None:
        ids, found, expected = self.of_open(subject, number, aimed)
        if found and not found.clients:
            expected = RequestState
        self.do(ForwardRequest(**ids, channel=Channel.EMAIL), expected)
        if found and expected is None:
            found.stage = "forwarded"

    @rule(subject=PERSON, number=REQUEST, kind=st.sampled_from(RequestKind), steps=STEPS)
    def answer(self, subject: Any, number: int, kind: RequestKind, steps: int) -> None:
        """Go some steps of the usual way."""
        self.receive(subject, number, kind)
        for step in (self.verify, self.deliver, self.fulfil, self.forward)[: steps - 1]:
            step(subject, number, False)

    def due(self, now: datetime) -> int:
        late = [one for one in self.requests.values() if one.stage == "open" and now > one.due_at and not one.missed]
        for one in late:
            one.missed = True
        return super().due(now) + len(late)

    def owed(self, now: datetime) -> list[str]:
        names = ["forward-request" if one.clients else "answer-request" for one in self.open_requests()]
        return super().owed(now) + names

    def open_requests(self) -> list[Request]:
        return [one for one in self.requests.values() if one.stage == "open"]

    def view(self) -> View:
        return super().view() | {
            "requests": {name: (one.stage, one.due_at, one.missed) for name, one in self.requests.items()}
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        return super().ask(as_of, then) | {
            "requests": {
                one.request_id: (one.stage, one.due_at, one.missed) for one in self.asked.requests(as_of=as_of)
            }
        }
