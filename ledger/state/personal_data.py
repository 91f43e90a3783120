"""At which version each field of a subject is, and which class it is kept in. Values are not needed to decide."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ledger.command import Boundary, Past, Recorded, selector
from ledger.errors import FieldsNotHeld
from ledger.events import DataCorrected, KeyDestroyed, PersonalDataCollected
from ledger.rule import rule
from ledger.vocabulary import GuaranteeId, LegalBasis, Purpose, RetentionClass, SubjectId, Word, subject_tag

ONLY_USABLE = rule(
    "quarantined-data-is-not-used",
    clause="10",
    promise="What is quarantined, or suspended by a revocation, is neither used nor sent to a processor",
    source="Principles, clause 10; GDPR Art. 5(1)(a)",
    refusals=(FieldsNotHeld,),
)


class Field(msgspec.Struct, frozen=True):
    """`version` is the index of the event that set the field last."""

    version: int
    retention_class: RetentionClass
    guarantee_id: GuaranteeId | None = None
    quarantined: bool = False


def personal_data(subject_id: SubjectId) -> Boundary:
    """The boundary of `fields`."""
    return (selector(PersonalDataCollected, DataCorrected, KeyDestroyed, tags=[subject_tag(subject_id)]),)


def fields(past: Past) -> dict[Word, Field]:
    """Return the fields of a subject that are set and not erased."""
    found: dict[Word, Field] = {}
    for recorded in past.all:
        event = recorded.event
        if isinstance(event, PersonalDataCollected | DataCorrected):
            field = Field(recorded.index, event.retention_class)
            if isinstance(event, PersonalDataCollected):
                field = Field(recorded.index, event.retention_class, event.guarantee_id, event.quarantined)
            for name in event.values:
                found[Word(name)] = field
        elif isinstance(event, KeyDestroyed):
            found = {name: f for name, f in found.items() if f.retention_class != event.retention_class}
    return found


def reasons(past: Past) -> dict[Word, set[tuple[Purpose, LegalBasis]]]:
    """Return for which purposes, and on which bases, each field that is held was collected."""
    found: dict[Word, set[tuple[Purpose, LegalBasis]]] = {}
    held = fields(past)
    erased_at = {event.retention_class: recorded.index for recorded, event in _destroyed(past)}
    for recorded in past.all:
        event = recorded.event
        if isinstance(event, PersonalDataCollected) and erased_at.get(event.retention_class, -1) < recorded.index:
            for name in held.keys() & event.values.keys():
                found.setdefault(Word(name), set()).add((event.purpose, event.basis))
    return found


def _destroyed(past: Past) -> list[tuple[Recorded, KeyDestroyed]]:
    return [(recorded, recorded.event) for recorded in past.all if isinstance(recorded.event, KeyDestroyed)]


def usable(past: Past, revoked: Collection[GuaranteeId]) -> dict[Word, Field]:
    """Return the fields that may be used: neither quarantined nor suspended by a revocation (clause 10)."""
    return {
        name: field
        for name, field in fields(past).items()
        if not field.quarantined and (field.guarantee_id is None or field.guarantee_id not in revoked)
    }


def unusable(past: Past, revoked: Collection[GuaranteeId], names: Collection[Word]) -> list[Word]:
    """Return those of `names` that are held and may not be used, sorted."""
    return sorted((fields(past).keys() - usable(past, revoked).keys()) & {*names})
