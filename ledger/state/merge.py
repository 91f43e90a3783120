"""Which records are of one person, and what any of them said no to. Clause 0.

A merge moves nothing: each record keeps its events and its consents. What one of them withdrew holds for all while they
are together, so a merge can only narrow what is permitted; when they part, each is as it would have been.
"""

from __future__ import annotations

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.events import ConsentGiven, ConsentWithdrawn, Stance, SubjectsMerged, SubjectsUnmerged
from ledger.vocabulary import ConsentId, SubjectId, Tag, subject_tag


class Stances(msgspec.Struct, frozen=True):
    """What the records of a person say: consents that are live, and what was withdrawn with none live in its place."""

    live: dict[ConsentId, Stance]
    withdrawn: frozenset[Stance]


def merges(subject_id: SubjectId) -> Boundary:
    """The boundary of `together`."""
    return (selector(SubjectsMerged, SubjectsUnmerged, tags=[subject_tag(subject_id)]),)


def together(past: Past, subject_id: SubjectId) -> frozenset[SubjectId]:
    """Return the records that are of the same person now, this one among them."""
    found = frozenset({subject_id})
    for recorded in past.all:
        if isinstance(recorded.event, SubjectsMerged | SubjectsUnmerged):
            found = after(found, recorded.event, subject_id)
    return found


def after(
    group: frozenset[SubjectId], event: SubjectsMerged | SubjectsUnmerged, subject_id: SubjectId
) -> frozenset[SubjectId]:
    """Return the records that are together with this one after a merge or its undoing."""
    if isinstance(event, SubjectsMerged):
        return frozenset(event.members)
    return frozenset({subject_id}) if event.merged_id == subject_id else group - {event.merged_id}


def person_tags(past: Past, subject_id: SubjectId) -> list[Tag]:
    """Return the tags of all records of a person: what one says yes or no to must be seen from each."""
    return [subject_tag(one) for one in sorted(together(past, subject_id))]


def others(past: Past, subject_id: SubjectId) -> tuple[SubjectId, ...]:
    """Return the other records of the same person, sorted. Needs the boundary `merges`."""
    return tuple(sorted(together(past, subject_id) - {subject_id}))


def stances(past: Past, subject_id: SubjectId) -> Stances:
    """Return what the records of this person say, seen from this one. Needs the boundary `consents`.

    What another record withdrew is lifted by a consent on that record, or by a later one on this.
    """
    live: dict[ConsentId, Stance] = {}
    no: set[Stance] = set()
    group = frozenset({subject_id})
    for recorded in past.all:
        match recorded.event:
            case SubjectsMerged() | SubjectsUnmerged() as event:
                group = after(group, event, subject_id)
                if isinstance(event, SubjectsMerged):
                    live |= event.live
                    no |= {*event.withdrawn}
                live = {consent_id: said for consent_id, said in live.items() if said.subject_id in group}
                no = {said for said in no if said.subject_id in group}
            case ConsentGiven(subject_id=owner) as given if owner in group:
                yes = Stance(subject_id=owner, recipient_id=given.recipient_id, purpose=given.purpose)
                live[given.consent_id] = yes
                no = {said for said in no if not _lifts(yes, said, subject_id)}
            case ConsentWithdrawn(subject_id=owner, consent_id=consent_id) if owner in group:
                said = live.pop(consent_id, None)
                if said is not None and said not in live.values():
                    no.add(said)
    return Stances(live, frozenset(no))


def _lifts(yes: Stance, no: Stance, subject_id: SubjectId) -> bool:
    same = (yes.recipient_id, yes.purpose) == (no.recipient_id, no.purpose)
    return same and yes.subject_id in (subject_id, no.subject_id)
