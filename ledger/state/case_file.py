"""How long the sealed texts of a breach or violation are kept, and what destroys their key. GDPR Art. 5(1)(e).

Each has a key of its own, of the class `contract`: the limitation period, from the day on which it was closed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger.command import Context, Fact, Past
from ledger.deadline import kept_until
from ledger.errors import RetentionRuns
from ledger.events import KeyDestroyed, PersonalDataErased, RetentionExpired
from ledger.keys import KeyScope
from ledger.policy import Policy
from ledger.vocabulary import (
    BreachId,
    KeyId,
    RetentionClass,
    SubjectId,
    SubjectRole,
    ViolationId,
    breach_tag,
    key_tag,
    violation_tag,
)

_CLASS = RetentionClass.CONTRACT


def case_scope(case: str) -> KeyScope:
    """The key scope of a breach or violation: it stands where others have a subject."""
    return KeyScope(SubjectId(case), SubjectRole.CONTROLLER, _CLASS)


def case_kept_until(closed_at: datetime, policy: Policy) -> datetime:
    """Return the last second in which the texts of what was closed then are kept."""
    return kept_until(closed_at, policy.retention[_CLASS].months, policy.calendar)


def case_expiry(
    past: Past, context: Context, case: BreachId | ViolationId, *, closed_at: datetime, policy: Policy, breach: bool
) -> list[Fact]:
    """Return the facts that end a period and destroy its key. Raises RetentionRuns before, and once it is done.

    `past` has all that carries its tag: whatever is sealed meanwhile is in the boundary.
    """
    whose: dict[str, Any] = {"breach_id" if breach else "violation_id": case}
    tag = breach_tag(BreachId(case)) if breach else violation_tag(ViolationId(case))
    until, owner = case_kept_until(closed_at, policy), SubjectId(case)
    keys = {key.id for key in context.keys_of(owner)}
    keys |= {KeyId(t.removeprefix("key:")) for one in past.all for t in one.tags if t.startswith("key:")}
    keys -= {event.key_id for event in past.of(KeyDestroyed)}
    if until >= context.now or not keys:
        raise RetentionRuns(subject=owner, retention_class=_CLASS)
    over = RetentionExpired(subject_id=owner, retention_class=_CLASS, started_at=closed_at, until=until, **whose)
    destroyed = [
        Fact(KeyDestroyed(subject_id=owner, key_id=key, retention_class=_CLASS, **whose), [tag, key_tag(key)])
        for key in sorted(keys)
    ]
    erased = PersonalDataErased(subject_id=owner, retention_classes=(_CLASS,), keys=len(destroyed), **whose)
    return [Fact(over, [tag]), *destroyed, Fact(erased, [tag])]
