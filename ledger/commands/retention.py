"""Retention: relationships that end, and periods whose expiry erases by itself. GDPR Art. 5(1)(e)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command, selector
from ledger.errors import Invalid, KeptByRestriction, RelationshipState, RetentionRuns, UnderHold
from ledger.events import (
    ErasureDeferred,
    KeyDestroyed,
    PersonalDataErased,
    RelationshipEnded,
    RelationshipResumed,
    RetentionExpired,
)
from ledger.rule import rule
from ledger.state.erasure import deferred, destruction, expiry
from ledger.state.hold import hold_on, holds_over
from ledger.state.policy import policies, policy_needed
from ledger.state.restriction import KEEPING, binding
from ledger.state.retention import everything, expired
from ledger.state.subject import registered, registration
from ledger.vocabulary import RetentionClass, SubjectId, Word, subject_tag

EXPIRY_ERASES = rule(
    "expiry-erases-by-itself",
    clause="erasure",
    promise="When the period of a retention class is over its data is erased, and not before",
    source="GDPR Art. 5(1)(e); policy, retention",
    refusals=(RetentionRuns,),
)
ENDS_ONCE = rule(
    "relationship-ends-once",
    clause="erasure",
    promise="The end of a relationship is recorded once, not ahead, and undone only by its resumption",
    source="GDPR Art. 5(1)(e)",
    refusals=(RelationshipState, Invalid),
)
NOT_UNDER_HOLD = rule(
    "expiry-waits-for-hold",
    clause="erasure",
    promise="What is under a hold, or what the person wants kept, does not expire; the deferral is recorded",
    source="GDPR Art. 17(3)(e), 18(1)(b), 18(1)(c)",
    refusals=(UnderHold, KeptByRestriction),
)


@command
class EndRelationship(Command, frozen=True):
    """Record since when a person is no customer and no client's contact any more: periods run from it."""

    NAME: ClassVar[str] = "end-relationship"
    RECORDS = (RelationshipEnded,)
    RULES = (ENDS_ONCE,)
    subject_id: SubjectId
    ended_at: datetime
    reason: Word

    def boundary(self) -> Boundary:
        return _relationship(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if self.ended_at > context.now:
            raise Invalid("ended_at", "is in the future")
        if isinstance(past.last(RelationshipEnded, RelationshipResumed), RelationshipEnded):
            raise RelationshipState(subject=self.subject_id, state="ended already")
        event = RelationshipEnded(subject_id=self.subject_id, ended_at=self.ended_at, reason=self.reason)
        return [Fact(event, [subject_tag(self.subject_id)])]


@command
class ResumeRelationship(Command, frozen=True):
    """Record that an ended relationship goes on: its periods stop running."""

    NAME: ClassVar[str] = "resume-relationship"
    RECORDS = (RelationshipResumed,)
    RULES = (ENDS_ONCE,)
    subject_id: SubjectId

    def boundary(self) -> Boundary:
        return _relationship(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if not isinstance(past.last(RelationshipEnded, RelationshipResumed), RelationshipEnded):
            raise RelationshipState(subject=self.subject_id, state="not ended")
        return [Fact(RelationshipResumed(subject_id=self.subject_id), [subject_tag(self.subject_id)])]


@command
class ExpireRetention(Command, frozen=True):
    """Erase a retention class whose period is over. The clock asks for it; whoever else asks gets the same answer."""

    NAME: ClassVar[str] = "expire-retention"
    RECORDS = (RetentionExpired, KeyDestroyed, PersonalDataErased)
    KEEPS = (ErasureDeferred,)
    RULES = (EXPIRY_ERASES, NOT_UNDER_HOLD)
    subject_id: SubjectId
    retention_class: RetentionClass

    def boundary(self) -> Boundary:
        return (*everything(self.subject_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        over = expired(past, self.subject_id, policy_needed(past), context.now).get(self.retention_class)
        if over is None:
            raise RetentionRuns(subject=self.subject_id, retention_class=self.retention_class)
        for restriction in binding(past, self.subject_id):
            if restriction.ground in KEEPING:
                raise KeptByRestriction(restriction=restriction.restriction_id, retention_class=self.retention_class)
        hold_id = hold_on(holds_over(past, self.subject_id), self.retention_class)
        if hold_id is not None:
            refusal = UnderHold(hold=hold_id, retention_class=self.retention_class)
            if self.retention_class in deferred(past):
                raise refusal
            event = ErasureDeferred(
                subject_id=self.subject_id,
                retention_classes=(self.retention_class,),
                hold_id=hold_id,
                reason=Word(refusal.code),
            )
            raise KeptRefusal(refusal, Fact(event, [subject_tag(self.subject_id)]))
        erased = destruction(past, context, self.subject_id, [self.retention_class])
        return [expiry(self.subject_id, over), *erased]


def _relationship(subject_id: SubjectId) -> Boundary:
    tags = [subject_tag(subject_id)]
    return (*registration(subject_id), selector(RelationshipEnded, RelationshipResumed, tags=tags))
