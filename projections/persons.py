"""Which records are of one person, now and as of any moment. Clause 0."""

from __future__ import annotations

from ledger.events import SubjectsMerged, SubjectsUnmerged
from ledger.state.merge import together
from ledger.vocabulary import SubjectId
from projections.projection import AsOf
from projections.registers import Register, Registers


def person(registers: Registers, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[SubjectId, ...]:
    """Return the records of the person whose record this is, sorted, this one among them."""
    own = registers.past((Register.PERSONS, subject_id), as_of=as_of)
    # A group is a star: everything that changed it is about the record that the others were merged into.
    centres = {one.event.subject_id for one in own.all if isinstance(one.event, SubjectsMerged | SubjectsUnmerged)} | {
        subject_id
    }
    past = registers.past(*((Register.PERSONS, centre) for centre in sorted(centres)), as_of=as_of)
    past.all = [one for one in past.all if _concerns(one.event, subject_id, centres)]
    return tuple(sorted(together(past, subject_id)))


def _concerns(event: object, subject_id: SubjectId, centres: set[SubjectId]) -> bool:
    if isinstance(event, SubjectsMerged):
        return subject_id in event.members
    return isinstance(event, SubjectsUnmerged) and event.subject_id in centres
