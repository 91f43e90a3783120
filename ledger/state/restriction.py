"""Which restrictions of processing are in force for a subject, and what they forbid. GDPR Art. 18."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ledger.command import Boundary, Past, selector
from ledger.events import (
    ConsentGiven,
    OpenRestriction,
    ProcessingRestricted,
    RestrictionLifted,
    SubjectsMerged,
    SubjectsUnmerged,
)
from ledger.state.merge import after
from ledger.vocabulary import Purpose, RestrictionGround, RestrictionId, SubjectId, Word, subject_tag

# On these grounds the person wants the data kept: nothing expires while they stand.
KEEPING = frozenset((RestrictionGround.UNLAWFUL, RestrictionGround.CLAIMS))

# GDPR Art. 18(2): claims, and what the law asks for, go on.
UNBOUND = frozenset((Purpose.LEGAL,))

# What a restriction names that is of the orders of a person only.
ORDERS = Word("order")


def restrictions(subject_id: SubjectId) -> Boundary:
    """The boundary of `open_restrictions`, `binding` and `restricted`."""
    kinds = (ProcessingRestricted, RestrictionLifted, SubjectsMerged, SubjectsUnmerged)
    return (selector(*kinds, tags=[subject_tag(subject_id)]),)


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


def binding(past: Past, subject_id: SubjectId, consents: Iterable[ConsentGiven] = ()) -> list[OpenRestriction]:
    """Return what binds the use of a subject's data: restrictions of it, and of the person's other records.

    One that was in force before any of `consents` was given does not bind what they permit.
    """
    permitted = {consent.consent_id for consent in consents}
    found: dict[RestrictionId, OpenRestriction] = {}
    group = frozenset({subject_id})
    for recorded in past.all:
        match recorded.event:
            case SubjectsMerged() | SubjectsUnmerged() as event:
                before, group = group, after(group, event, subject_id)
                if isinstance(event, SubjectsMerged):
                    found |= {one.restriction_id: one for one in event.restrictions if one.subject_id not in before}
                found = {name: one for name, one in found.items() if one.subject_id in group}
            case ProcessingRestricted(subject_id=owner) as event if owner in group:
                found[event.restriction_id] = OpenRestriction(
                    restriction_id=event.restriction_id, subject_id=owner, ground=event.ground, fields=event.fields
                )
            case RestrictionLifted(restriction_id=restriction_id):
                found.pop(restriction_id, None)
            case ConsentGiven(consent_id=consent_id) if consent_id in permitted:
                found.clear()
    return list(found.values())


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
    this use; one from before says nothing about data that is restricted. A merge counts as the restriction's beginning.
    """
    if purpose in UNBOUND:
        return None
    for one in binding(past, subject_id, consents):
        if not one.fields or not fields or not set(fields).isdisjoint(one.fields):
            return one.restriction_id
    return None
