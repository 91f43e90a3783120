"""Merging: saying that two records are of one person, and taking it back. Clause 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.errors import SubjectErased, SubjectsNotApart, SubjectsNotMerged, SubjectUnknown
from ledger.events import (
    Event,
    KeyDestroyed,
    PersonalDataErased,
    SubjectsMerged,
    SubjectsUnmerged,
)
from ledger.rule import rule
from ledger.state.hold import holds_over
from ledger.state.marketing import standing_of
from ledger.state.merge import merges, person_tags, stances, together
from ledger.state.restriction import binding
from ledger.state.subject import registered
from ledger.vocabulary import SubjectId, Word, subject_tag

NEVER_WIDENS = rule(
    "merge-never-widens-permission",
    clause="0",
    promise="While records are merged, what was withdrawn, refused, restricted or held on one holds for all of them",
    source="GDPR Art. 5(1)(a), 7(3), 18, 21(3)",
    refusals=(SubjectUnknown,),
)
APART_BEFORE = rule(
    "merge-is-of-two-records",
    clause="0",
    promise="A record is merged with another one, that is not erased, and belongs to one person at a time",
    source="GDPR Art. 5(1)(d)",
    refusals=(SubjectsNotApart, SubjectErased, SubjectUnknown),
)
BOTH_HISTORIES = rule(
    "unmerge-restores-both",
    clause="0",
    promise="An unmerge restores both histories: each record is as it would have been alone",
    source="GDPR Art. 5(1)(d)",
    refusals=(SubjectsNotMerged,),
)


@command
class MergeSubjects(Command, frozen=True):
    """Say that the record `merged_id` is of the same person as `subject_id`. Nothing moves, and nobody is erased."""

    NAME: ClassVar[str] = "merge-subjects"
    RECORDS = (SubjectsMerged,)
    RULES = (NEVER_WIDENS, APART_BEFORE)
    subject_id: SubjectId
    merged_id: SubjectId
    ground: Word

    def boundary(self) -> Boundary:
        # Everything about both: what either withdrew, and whether it is erased.
        return (
            selector(tags=[subject_tag(self.subject_id)]),
            selector(tags=[subject_tag(self.merged_id)]),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        for one in (self.subject_id, self.merged_id):
            registered(past, one)
            if _is_erased(past, one):
                raise SubjectErased(subject=one)
        # Groups are stars: a record that is merged into one person is in no other, and brings nobody along.
        apart = _alone(past, self.merged_id) and _standing(past, self.subject_id) is None
        if self.subject_id == self.merged_id or not apart:
            raise SubjectsNotApart(subject=self.merged_id)
        sides = [_Side(one, _of(past, one)) for one in (self.subject_id, self.merged_id)]
        members = together(sides[0].past, self.subject_id) | {self.merged_id}
        kept, brought = (stances(one.past, one.id) for one in sides)
        stand = [(one.id, standing_of(one.past, one.id)) for one in sides]
        event = SubjectsMerged(
            subject_id=self.subject_id,
            merged_id=self.merged_id,
            members=tuple(sorted(members)),
            ground=self.ground,
            live=kept.live | brought.live,
            withdrawn=tuple(sorted(kept.withdrawn | brought.withdrawn, key=repr)),
            offers_refused=tuple(no for who, standing in stand for no in standing.refusals(who)),
            restrictions=tuple(no for one in sides for no in binding(one.past, one.id)),
            holds=tuple(hold for one in sides for hold in holds_over(one.past, one.id).values()),
            partner_offers=tuple(offer for who, standing in stand for offer in standing.partner_offers(who)),
        )
        return [Fact(event, [subject_tag(one) for one in sorted(members)])]


@command
class UnmergeSubjects(Command, frozen=True):
    """Take a merge back: the two records are of different people after all."""

    NAME: ClassVar[str] = "unmerge-subjects"
    RECORDS = (SubjectsUnmerged,)
    RULES = (BOTH_HISTORIES,)
    subject_id: SubjectId
    merged_id: SubjectId
    ground: Word

    def boundary(self) -> Boundary:
        return merges(self.merged_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        standing = _standing(past, self.merged_id)
        if standing is None or standing.subject_id != self.subject_id:
            raise SubjectsNotMerged(subject=self.subject_id, merged=self.merged_id)
        event = SubjectsUnmerged(
            subject_id=self.subject_id,
            merged_id=self.merged_id,
            ground=self.ground,
            members=tuple(sorted(together(past, self.merged_id))),
        )
        return [Fact(event, person_tags(past, self.merged_id))]


class _Side(NamedTuple):
    """One of two records, and what it sees."""

    id: SubjectId
    past: Past


def _standing(past: Past, merged_id: SubjectId) -> SubjectsMerged | None:
    """Return the merge by which a record was merged into another, None when there is none or it was taken back."""
    last = None
    for recorded in past.all:
        match recorded.event:
            case SubjectsMerged(merged_id=merged) as event if merged == merged_id:
                last = event
            case SubjectsUnmerged(merged_id=merged) if merged == merged_id:
                last = None
    return last


def _alone(past: Past, subject_id: SubjectId) -> bool:
    return len(together(_of(past, subject_id), subject_id)) == 1


def _of(past: Past, subject_id: SubjectId) -> Past:
    """Return what one of the two records sees: the boundary is of both."""
    found = Past()
    found.all = [recorded for recorded in past.all if subject_tag(subject_id) in recorded.tags]
    return found


def _is_erased(past: Past, subject_id: SubjectId) -> bool:
    """Whether something was erased of a record and nothing is held of it any more."""
    held: set[object] = set()
    erased = False
    for recorded in past.all:
        event: Event = recorded.event
        if getattr(event, "subject_id", None) != subject_id:
            continue
        if isinstance(event, KeyDestroyed):
            held.discard(event.retention_class)
        elif isinstance(event, PersonalDataErased):
            erased = True
            held -= {*event.retention_classes}
        elif event.retention is not None:
            held.add(event.retention)
    return erased and not held
