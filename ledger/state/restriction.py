"""Which restrictions of processing are in force for a subject. GDPR Art. 18."""

from __future__ import annotations

from collections.abc import Collection

from ledger.command import Boundary, Past, selector
from ledger.events import ProcessingRestricted, RestrictionLifted
from ledger.vocabulary import RestrictionGround, RestrictionId, SubjectId, Word, subject_tag

# On these grounds the person wants the data kept: nothing expires while they stand.
KEEPING = frozenset((RestrictionGround.UNLAWFUL, RestrictionGround.CLAIMS))


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


def restricted(past: Past, subject_id: SubjectId, fields: Collection[Word] = ()) -> RestrictionId | None:
    """Return a restriction that forbids to use these fields (all of them, when none is named), None when none does.

    GDPR Art. 18(2): with the person's consent to this very use, for claims, or where law requires it, it does not bind.
    """
    for restriction_id, event in open_restrictions(past, subject_id).items():
        if not event.fields or not fields or not set(fields).isdisjoint(event.fields):
            return restriction_id
    return None
