"""Merges, which move nothing and only narrow: what binds one record of a person binds the others. Clause 0."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import MergeSubjects, UnmergeSubjects
from ledger.errors import SubjectErased, SubjectsNotApart, SubjectsNotMerged, SubjectUnknown
from tests.model.base import PEOPLE, SELDOM, Refusal, View
from tests.model.people import People, Restriction


class Merging(People):
    """A capability overrides `joined` and `parted` for what the two records hear of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.merged: tuple[str, str] | None = None
        self.merged_at = 0

    def others(self, subject: str) -> list[str]:
        return [one for one in self.merged or () if one != subject and subject in (self.merged or ())]

    def binding(self, subject: str) -> list[Restriction]:
        """Return the restrictions that bind a record. One of another record begins with the merge at the earliest."""
        own = self.people[subject].restrictions.values()
        heard = (one for other in self.others(subject) for one in self.people[other].restrictions.values() if one)
        return [*filter(None, own), *(one._replace(since=max(one.since, self.merged_at)) for one in heard)]

    def restricted(self, subject: str, fields: Iterable[str], agreed: int = -1) -> bool:
        """Whether a restriction forbids to use fields for what the person agreed to at an entry, if they did."""
        return any(
            one.since > agreed and (not one.fields or not {*fields}.isdisjoint(one.fields))
            for one in self.binding(subject)
        )

    @rule(turned=st.booleans(), same=SELDOM)
    def merge(self, turned: bool, same: bool) -> None:
        one, two = PEOPLE[::-1] if turned else PEOPLE
        if same:
            two = one
        expected: Refusal = None
        for subject in (one, two):
            known = self.people.get(subject)
            if known is None:
                expected = SubjectUnknown
            elif known.erased and not known.kept:
                expected = SubjectErased
            if expected:
                break
        if expected is None and (same or self.merged):
            expected = SubjectsNotApart
        index = self.do(MergeSubjects(subject_id=one, merged_id=two, ground="same-person"), expected)
        if expected is None:
            self.joined(one, two, index)

    def joined(self, one: str, two: str, index: int) -> None:
        self.merged, self.merged_at = (one, two), index

    @precondition(lambda self: self.merged)
    @rule(turned=st.booleans())
    def unmerge(self, turned: bool) -> None:
        one, two = PEOPLE[::-1] if turned else PEOPLE
        fits = self.merged == (one, two)
        command = UnmergeSubjects(subject_id=one, merged_id=two, ground="another-person")
        self.do(command, None if fits else SubjectsNotMerged)
        if fits:
            self.parted()

    def parted(self) -> None:
        self.merged = None

    def view(self) -> View:
        return super().view() | {"person": {subject: {subject, *self.others(subject)} for subject in PEOPLE}}

    def ask(self, as_of: int | None, then: datetime) -> View:
        people = {subject: set(self.asked.person(subject, as_of=as_of)) for subject in PEOPLE}
        return super().ask(as_of, then) | {"person": people}
