"""Mandates: whom a client names to order for it. Clause 11."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.errors import Invalid, MandateExists, MandateUnknown
from ledger.events import MandateGiven, MandateRevoked
from ledger.rule import rule
from ledger.state.mandate import live_mandates, mandates
from ledger.state.subject import registered, registration
from ledger.vocabulary import (
    ClientId,
    MandateId,
    Reference,
    SubjectId,
    Tag,
    Word,
    client_tag,
    mandate_tag,
    subject_tag,
)

CLIENT_NAMES = rule(
    "client-names-who-orders",
    clause="11",
    promise="Who may order for a client is what the client said, on evidence, until it runs out or is revoked",
    source="Principles, clause 11",
    refusals=(MandateExists, MandateUnknown, Invalid),
)


class _Mandate(Command, frozen=True):
    mandate_id: MandateId
    client_id: ClientId
    subject_id: SubjectId

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *mandates(self.client_id))

    def tags(self) -> list[Tag]:
        return [mandate_tag(self.mandate_id), client_tag(self.client_id), subject_tag(self.subject_id)]


@command
class GiveMandate(_Mandate, frozen=True):
    """Record that a client names a person who may order for it. From the first one on nobody else may."""

    NAME: ClassVar[str] = "give-mandate"
    RECORDS = (MandateGiven,)
    RULES = (CLIENT_NAMES,)
    evidence: Reference
    valid_to: datetime | None = None

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if any(event.mandate_id == self.mandate_id for event in past.of(MandateGiven)):
            raise MandateExists(mandate=self.mandate_id)
        if self.valid_to is not None and self.valid_to <= context.now:
            raise Invalid("valid_to", "is past")
        event = MandateGiven(
            mandate_id=self.mandate_id,
            client_id=self.client_id,
            subject_id=self.subject_id,
            evidence=self.evidence,
            valid_to=self.valid_to,
        )
        return [Fact(event, self.tags())]


@command
class RevokeMandate(_Mandate, frozen=True):
    """Record that a person may not order for a client any more."""

    NAME: ClassVar[str] = "revoke-mandate"
    RECORDS = (MandateRevoked,)
    RULES = (CLIENT_NAMES,)
    reason: Word

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        given = live_mandates(past, self.client_id, context.now).get(self.mandate_id)
        if given is None or given.subject_id != self.subject_id:
            raise MandateUnknown(mandate=self.mandate_id, client=self.client_id)
        event = MandateRevoked(
            mandate_id=self.mandate_id, client_id=self.client_id, subject_id=self.subject_id, reason=self.reason
        )
        return [Fact(event, self.tags())]
