"""Which legal holds stand on a subject's data."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.command import Past
from ledger.events import LegalHoldPlaced, LegalHoldReleased, OpenHold, SubjectsMerged, SubjectsUnmerged
from ledger.state.merge import after
from ledger.vocabulary import HoldId, RetentionClass, SubjectId


def open_holds(past: Past, subject_id: SubjectId) -> dict[HoldId, LegalHoldPlaced]:
    """Return the holds on a subject's data that are not released, oldest first."""
    found: dict[HoldId, LegalHoldPlaced] = {}
    for recorded in past.all:
        match recorded.event:
            case LegalHoldPlaced(hold_id=hold_id, subject_id=owner) as placed if owner == subject_id:
                found[hold_id] = placed
            case LegalHoldReleased(hold_id=hold_id):
                found.pop(hold_id, None)
    return found


def holds_over(past: Past, subject_id: SubjectId) -> dict[HoldId, OpenHold]:
    """Return the holds that defer the erasure of a subject's data: on it, and on the person's other records."""
    found: dict[HoldId, OpenHold] = {}
    group = frozenset({subject_id})
    for recorded in past.all:
        match recorded.event:
            case SubjectsMerged() | SubjectsUnmerged() as event:
                before, group = group, after(group, event, subject_id)
                if isinstance(event, SubjectsMerged):
                    found |= {one.hold_id: one for one in event.holds if one.subject_id not in before}
                found = {name: one for name, one in found.items() if one.subject_id in group}
            case LegalHoldPlaced(subject_id=owner) as placed if owner in group:
                found[placed.hold_id] = OpenHold(
                    hold_id=placed.hold_id, subject_id=owner, retention_classes=placed.retention_classes
                )
            case LegalHoldReleased(hold_id=hold_id):
                found.pop(hold_id, None)
    return found


def hold_on(holds: Mapping[HoldId, OpenHold], retention_class: RetentionClass) -> HoldId | None:
    """Return a hold that covers a retention class, None when none does."""
    for hold_id, hold in holds.items():
        if not hold.retention_classes or retention_class in hold.retention_classes:
            return hold_id
    return None
