"""How long each retention class of a subject is kept: from when its period runs, until when, and what the law forbids.

A class has one key, so its period runs from the last thing that is kept in it. A relationship ends when that is
recorded; with a person who has no contract, with the last contact. GDPR Art. 5(1)(e); Raamatupidamise seadus § 12.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.deadline import financial_year_end, kept_until
from ledger.errors import KeptByLaw
from ledger.events import (
    ConsentGiven,
    ConsentWithdrawn,
    KeyDestroyed,
    OrderExecuted,
    OrderRecorded,
    PersonalDataCollected,
    RelationshipEnded,
    RelationshipResumed,
    RequestReceived,
    SubjectRegistered,
)
from ledger.policy import Policy, RetentionStart
from ledger.state.policy import policy
from ledger.vocabulary import LegalBasis, RetentionClass, SubjectId, SubjectRole, subject_tag


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """The period of one class. `started_at` and `until` are None while it does not run yet.

    `mandatory_until` is the last second in which the law forbids to erase it, None when it does not.
    """

    retention_class: RetentionClass
    started_at: datetime | None
    until: datetime | None
    mandatory_until: datetime | None


class _Life(msgspec.Struct):
    """What a subject's events add up to, as far as periods ask."""

    kept: dict[RetentionClass, datetime] = msgspec.field(default_factory=dict)
    live: set[str] = msgspec.field(default_factory=set)
    bound: bool = False  # by a contract, or as a client's own person
    contact_at: datetime | None = None
    ended_at: datetime | None = None
    withdrawn_at: datetime | None = None
    booked_at: datetime | None = None


def everything(subject_id: SubjectId) -> Boundary:
    """The boundary of `terms`: whatever is recorded of a subject may be kept under a key."""
    return (selector(tags=[subject_tag(subject_id)]),)


def terms(past: Past, subject_id: SubjectId, policy: Policy) -> dict[RetentionClass, Term]:
    """Return the period of each class in which something of the subject is kept."""
    life = _life(past, subject_id)
    return {retention_class: _term(retention_class, life, policy) for retention_class in sorted(life.kept)}


def expired(past: Past, subject_id: SubjectId, policy: Policy, now: datetime) -> dict[RetentionClass, Term]:
    """Return the classes whose period is over."""
    found = terms(past, subject_id, policy)
    return {name: term for name, term in found.items() if term.until is not None and term.until < now}


def longest(retention_class: RetentionClass, policy: Policy, now: datetime) -> datetime:
    """Return until when a class is kept at most by a decision of now: as long as if its period began with now.

    An order may be booked yet: then it is an accounting document (clause 11).
    """
    rules = [policy.retention[retention_class]]
    if retention_class is RetentionClass.ORDER:
        rules.append(policy.retention[RetentionClass.ACCOUNTING])
    calendar = policy.calendar
    starts = RetentionStart.FINANCIAL_YEAR_END
    return max(
        kept_until(financial_year_end(now, calendar) if rule.starts is starts else now, rule.months, calendar)
        for rule in rules
    )


def check_not_kept_by_law(
    past: Past, subject_id: SubjectId, retention_classes: Collection[RetentionClass], now: datetime
) -> None:
    """Raise KeptByLaw when a class must not be erased yet."""
    for name, until in kept_by_law(past, subject_id, now).items():
        if name in retention_classes:
            raise KeptByLaw(subject=subject_id, retention_class=name, until=until.strftime("%Y-%m-%dT%H:%M:%SZ"))


def kept_by_law(past: Past, subject_id: SubjectId, now: datetime) -> dict[RetentionClass, datetime]:
    """Return the classes that must not be erased yet, and until when. Without a policy there is no such rule."""
    in_force = policy(past)
    found = {} if in_force is None else terms(past, subject_id, in_force)
    return {
        name: term.mandatory_until
        for name, term in found.items()
        if term.mandatory_until is not None and now <= term.mandatory_until
    }


def _life(past: Past, subject_id: SubjectId) -> _Life:
    life = _Life()
    for recorded in past.all:
        event, at = recorded.event, recorded.recorded_at
        if getattr(event, "subject_id", None) != subject_id:
            continue
        sealed = event.retention
        if sealed is not None and any(tag.startswith("key:") for tag in recorded.tags):
            life.kept[sealed] = life.contact_at = at
        match event:
            case SubjectRegistered(role=SubjectRole.PROCESSOR):
                life.bound = True
            case PersonalDataCollected(basis=LegalBasis.CONTRACT) | OrderRecorded():
                life.bound = True
            case RequestReceived():
                life.contact_at = at
            case ConsentGiven(consent_id=consent_id):
                life.live.add(consent_id)
                life.contact_at = at
            case ConsentWithdrawn(consent_id=consent_id):
                life.live.discard(consent_id)
                life.withdrawn_at = at
            case OrderExecuted(transactions=done) if any(one.booked_document for one in done):
                life.booked_at = at
            case RelationshipEnded(ended_at=ended_at):
                life.ended_at = ended_at
            case RelationshipResumed():
                life.ended_at = None
            case KeyDestroyed(retention_class=retention_class):
                life.kept.pop(retention_class, None)
                if retention_class is RetentionClass.ORDER:
                    life.booked_at = None
    return life


def _term(retention_class: RetentionClass, life: _Life, policy: Policy) -> Term:
    rule, calendar = policy.retention[retention_class], policy.calendar
    kept_at = life.kept[retention_class]
    start: datetime | None = kept_at
    if rule.starts is RetentionStart.FINANCIAL_YEAR_END:
        start = financial_year_end(kept_at, calendar)
    elif rule.starts is RetentionStart.RELATIONSHIP_END:
        start = _relationship_end(life)
    elif rule.starts is RetentionStart.WITHDRAWAL:
        start = None if life.live else life.withdrawn_at or kept_at
    started_at = None if start is None else max(start, kept_at)
    until = None if started_at is None else kept_until(started_at, rule.months, calendar)
    mandatory_until = until if rule.mandatory else None
    # Clause 11: the accounting rule holds for an order once it is linked to a booked document, and not before.
    if retention_class is RetentionClass.ORDER and life.booked_at is not None:
        months = policy.retention[RetentionClass.ACCOUNTING].months
        mandatory_until = kept_until(financial_year_end(life.booked_at, calendar), months, calendar)
        until = None if until is None else max(until, mandatory_until)
    return Term(retention_class=retention_class, started_at=started_at, until=until, mandatory_until=mandatory_until)


def _relationship_end(life: _Life) -> datetime | None:
    if life.ended_at is not None:
        return life.ended_at
    return None if life.bound else life.contact_at
