"""Which legal holds stand on a subject's data."""

from __future__ import annotations

from ledger.command import Past
from ledger.events import LegalHoldPlaced, LegalHoldReleased
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


def hold_on(holds: dict[HoldId, LegalHoldPlaced], retention_class: RetentionClass) -> HoldId | None:
    """Return a hold that covers a retention class, None when none does."""
    for hold_id, placed in holds.items():
        if not placed.retention_classes or retention_class in placed.retention_classes:
            return hold_id
    return None
