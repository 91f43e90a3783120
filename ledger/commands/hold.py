"""Legal holds: placed for a case, reviewed, released; what a hold deferred is erased with its release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.errors import HoldExists, HoldUnknown, Invalid, RoleMissing
from ledger.events import (
    KeyDestroyed,
    LegalHoldPlaced,
    LegalHoldReleased,
    LegalHoldReviewed,
    PersonalDataErased,
    RetentionExpired,
)
from ledger.policy import Policy
from ledger.rule import rule
from ledger.state.erasure import deferred, destruction, expiry, open_decisions
from ledger.state.hold import hold_on, holds_over, open_holds
from ledger.state.merge import person_tags
from ledger.state.policy import policies, policy_needed
from ledger.state.retention import everything, expired, kept_by_law
from ledger.state.subject import registered
from ledger.vocabulary import (
    ActorId,
    CaseId,
    ErasureOutcome,
    HoldId,
    RetentionClass,
    Role,
    SubjectId,
    Tag,
    Word,
    case_tag,
    hold_tag,
)

HOLD_IS_OWNED = rule(
    "hold-has-owner-and-review",
    clause="erasure",
    promise="A hold names its case, ground and owner, and a review no later than the policy allows",
    source="GDPR Art. 5(1)(e), 17(3)(e)",
    refusals=(RoleMissing, HoldExists, HoldUnknown),
)
RELEASE_RUNS = rule(
    "release-runs-what-was-deferred",
    clause="erasure",
    promise="The release of the last hold erases in the same transaction what holds deferred",
    source="GDPR Art. 17(1)",
)

_PLACE_HOLDS = (Role.OFFICER, Role.LAWYER)


class _Hold(Command, frozen=True):
    hold_id: HoldId
    subject_id: SubjectId

    def boundary(self) -> Boundary:
        return (*everything(self.subject_id), *policies())

    def tags(self, past: Past, case_id: CaseId) -> list[Tag]:
        # A hold on one record of a person defers the erasure of the others too.
        return [*person_tags(past, self.subject_id), hold_tag(self.hold_id), case_tag(case_id)]

    def opened(self, past: Past, context: Context) -> LegalHoldPlaced:
        _allowed(context)
        placed = open_holds(past, self.subject_id).get(self.hold_id)
        if placed is None:
            raise HoldUnknown(hold=self.hold_id, subject=self.subject_id)
        return placed


@command
class PlaceHold(_Hold, frozen=True):
    """Forbid the erasure of a subject's data, or of some retention classes, while a case runs."""

    NAME: ClassVar[str] = "place-hold"
    RECORDS = (LegalHoldPlaced,)
    RULES = (HOLD_IS_OWNED,)
    case_id: CaseId
    ground: Word
    owner: ActorId
    review_at: datetime
    retention_classes: tuple[RetentionClass, ...] = ()

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        _allowed(context)
        if any(event.hold_id == self.hold_id for event in past.of(LegalHoldPlaced)):
            raise HoldExists(hold=self.hold_id)
        _check_review(self.review_at, policy_needed(past), context)
        event = LegalHoldPlaced(
            hold_id=self.hold_id,
            subject_id=self.subject_id,
            case_id=self.case_id,
            ground=self.ground,
            owner=self.owner,
            review_at=self.review_at,
            retention_classes=tuple(sorted(set(self.retention_classes))),
        )
        return [Fact(event, self.tags(past, self.case_id))]


@command
class ReviewHold(_Hold, frozen=True):
    """Record that a hold is needed still, and when it is looked at again."""

    NAME: ClassVar[str] = "review-hold"
    RECORDS = (LegalHoldReviewed,)
    RULES = (HOLD_IS_OWNED,)
    review_at: datetime

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        placed = self.opened(past, context)
        _check_review(self.review_at, policy_needed(past), context)
        event = LegalHoldReviewed(hold_id=self.hold_id, subject_id=self.subject_id, review_at=self.review_at)
        return [Fact(event, self.tags(past, placed.case_id))]


@command
class ReleaseHold(_Hold, frozen=True):
    """End a hold. What it deferred, and no other hold defers still, is erased with it."""

    NAME: ClassVar[str] = "release-hold"
    RECORDS = (LegalHoldReleased, RetentionExpired, KeyDestroyed, PersonalDataErased)
    RULES = (HOLD_IS_OWNED, RELEASE_RUNS)
    reason: Word

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        placed = self.opened(past, context)
        event = LegalHoldReleased(hold_id=self.hold_id, subject_id=self.subject_id, reason=self.reason)
        facts = [Fact(event, self.tags(past, placed.case_id))]
        others = holds_over(past, self.subject_id)
        del others[self.hold_id]
        policy = policy_needed(past)
        over = expired(past, self.subject_id, policy, context.now)
        by_law = kept_by_law(past, self.subject_id, context.now)
        erased = {name for name, outcome in open_decisions(past).items() if outcome is ErasureOutcome.ERASED}
        run = {
            name
            for name in deferred(past)
            if (name in erased or name in over) and name not in by_law and hold_on(others, name) is None
        }
        for name in sorted(run & over.keys()):
            facts.append(expiry(self.subject_id, over[name]))
        return [*facts, *destruction(past, context, self.subject_id, run)] if run else facts


def _allowed(context: Context) -> None:
    if context.actor.role not in _PLACE_HOLDS:
        raise RoleMissing(needed="officer or lawyer")


def _check_review(review_at: datetime, policy: Policy, context: Context) -> None:
    if review_at <= context.now:
        raise Invalid("review_at", "is past: a hold is looked at again")
    if review_at > context.now + timedelta(days=policy.deadlines.hold_review_days):
        raise Invalid("review_at", f"is at most {policy.deadlines.hold_review_days} days ahead")
