"""Which restrictions of processing are in force for a subject, and what they forbid. GDPR Art. 18."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ledger.command import Boundary, Past, selector
from ledger.events import ConsentGiven, ProcessingRestricted, RestrictionLifted
from ledger.vocabulary import Purpose, RestrictionGround, RestrictionId, SubjectId, Word, subject_tag

# On these grounds the person wants the data kept: nothing expires while they stand.
KEEPING = frozenset((RestrictionGround.UNLAWFUL, RestrictionGround.CLAIMS))

# GDPR Art. 18(2): claims, and what the law asks for, go on.
UNBOUND = frozenset((Purpose.LEGAL,))


def restrictions(subject_id: SubjectId) -> Boundary:
    """The boundary of `open_restrictions` and `restricted`."""
    return (selector(ProcessingRestricted, RestrictionLifted, tags=[subject_tag(subject_id)]),)


def open_restrictions(past: Past, subject_id: SubjectId) -> dict[RestrictionId, ProcessingRestricted]:
    """Return the restrictions of a subject that are in force, oldest first."""
    found: dict[RestrictionId, ProcessingRestricted] = {}
    for recorded in past.all:
        match recorded.event:
            case ProcessingRestricted(restriction_id=restriction_id, subject_id=owner) as event if owner == subject_id:
                found[restriction_id] = event
            case RestrictionLifted(restriction_id=restriction_id, subject_id=owner) if owner == subject_id:
                found.pop(restriction_id, None)
    return found


def restricted(
    past: Past,
    subject_id: SubjectId,
    fields: Collection[Word] = (),
    *,
    purpose: Purpose | None = None,
    consents: Iterable[ConsentGiven] = (),
) -> RestrictionId | None:
    """Return a restriction that forbids to use these fields (all of them, when none is named), None when none does.

    `consents` are live ones to this very use. GDPR Art. 18(2): one that was given since the restriction lifts it for
    this use; one from before says nothing about data that is restricted.
    """
    if purpose in UNBOUND:
        return None
    permitted = {consent.consent_id for consent in consents}
    bound: dict[RestrictionId, ProcessingRestricted] = {}
    for recorded in past.all:
        match recorded.event:
            case ProcessingRestricted(restriction_id=restriction_id, subject_id=owner) as event if owner == subject_id:
                if not event.fields or not fields or not set(fields).isdisjoint(event.fields):
                    bound[restriction_id] = event
            case RestrictionLifted(restriction_id=restriction_id, subject_id=owner) if owner == subject_id:
                bound.pop(restriction_id, None)
            case ConsentGiven(consent_id=consent_id) if consent_id in permitted:
                bound.clear()
    return next(iter(bound), None)
