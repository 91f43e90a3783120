"""Which records are of one person, now and as of any moment. Clause 0."""

from __future__ import annotations

from ledger import Ledger
from ledger.command import Past, query_of
from ledger.events import SubjectsMerged, SubjectsUnmerged
from ledger.state.consent import consents
from ledger.state.merge import stances, together
from ledger.vocabulary import SubjectId
from projections.consents import Consent
from projections.projection import AsOf, bound, text
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


def narrowed(
    registers: Registers,
    ledger: Ledger,
    subject_id: SubjectId,
    found: tuple[Consent, ...],
    *,
    as_of: AsOf = None,
) -> tuple[Consent, ...]:
    """Return those of a record's live consents that no other record of the same person withdrew. See `stances`."""
    if not found or len(person(registers, subject_id, as_of=as_of)) == 1:
        return found
    known = bound(as_of)
    past = Past()
    past.all = [
        one
        for one in ledger.read(query_of(consents(subject_id)))
        if one.index < known.end and text(one.recorded_at) <= known.moment
    ]
    no = {
        (said.recipient_id, said.purpose)
        for said in stances(past, subject_id).withdrawn
        if said.subject_id != subject_id
    }
    return tuple(consent for consent in found if (consent.recipient_id, consent.purpose) not in no)
