"""At which version each field of a subject is, and which class it is kept in. Values are not needed to decide."""

from __future__ import annotations

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.events import DataCorrected, KeyDestroyed, PersonalDataCollected
from ledger.vocabulary import RetentionClass, SubjectId, Word, subject_tag


class Field(msgspec.Struct, frozen=True):
    """`version` is the index of the event that set the field last."""

    version: int
    retention_class: RetentionClass


def personal_data(subject_id: SubjectId) -> Boundary:
    """The boundary of `fields`."""
    return (selector(PersonalDataCollected, DataCorrected, KeyDestroyed, tags=[subject_tag(subject_id)]),)


def fields(past: Past) -> dict[Word, Field]:
    """Return the fields of a subject that are set and not erased."""
    found: dict[Word, Field] = {}
    for recorded in past.all:
        event = recorded.event
        if isinstance(event, PersonalDataCollected | DataCorrected):
            for name in event.values:
                found[Word(name)] = Field(recorded.index, event.retention_class)
        elif isinstance(event, KeyDestroyed):
            found = {name: f for name, f in found.items() if f.retention_class != event.retention_class}
    return found
