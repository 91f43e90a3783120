"""Erasure decided, deferred by holds, and carried out. The clauses on erasure, retention and holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import DecideErasure, DestroyKeys, PlaceHold, ReleaseHold
from ledger.errors import (
    ErasureUndecided,
    HoldExists,
    HoldUnknown,
    Invalid,
    KeptByLaw,
    SubjectUnknown,
    SuppressionStays,
    UnderHold,
)
from ledger.events import ClassDecision
from ledger.vocabulary import ErasureOutcome, RetentionClass
from tests.bench import an_id
from tests.model.base import AIMED, NUMBERS, PEOPLE, PERSON, View
from tests.model.merges import Merging
from tests.model.people import Person

CLASS = st.sampled_from([RetentionClass.CONTRACT, RetentionClass.ORDER, RetentionClass.MARKETING])
# Until when what is kept is kept: not at all, within every period, and beyond each.
KEPT_DAYS = st.sampled_from([None, None, None, -1, 30, 40_000])


class Erasing(Merging):
    def __init__(self) -> None:
        super().__init__()
        self.holds: dict[str, dict[str, bool]] = {subject: {} for subject in PEOPLE}
        self.decided: dict[str, set[RetentionClass]] = {subject: set() for subject in PEOPLE}
        self.deferred: dict[str, set[RetentionClass]] = {subject: set() for subject in PEOPLE}

    def by_law(self, known: Person, name: RetentionClass) -> bool:
        """Whether the law forbids to erase a class: orders that were booked."""
        return False

    def held(self, subject: str) -> bool:
        """Whether a hold stands on any record of a person."""
        return any(any(self.holds[one].values()) for one in [subject, *self.others(subject)])

    def runs(self, subject: str) -> set[RetentionClass]:
        """Return the classes of which a decided erasure was deferred and that nothing defers any more."""
        if self.held(subject) or subject not in self.people:
            return set()
        known = self.people[subject]
        return {name for name in self.deferred[subject] & self.decided[subject] if not self.by_law(known, name)}

    def carry_out(self, subject: str, classes: set[RetentionClass], index: int) -> None:
        known = self.people[subject]
        self.erase(known, classes)
        self.decided[subject] -= classes
        self.deferred[subject] -= classes
        known.proofs.append((index, "erased"))
        for name in classes:
            self.changed(subject, index, name, "erasure")

    @rule(subject=PERSON, name=CLASS | st.just(RetentionClass.SUPPRESSION), kept_days=KEPT_DAYS)
    def decide(self, subject: Any, name: RetentionClass, kept_days: int | None) -> None:
        known = self.people.get(subject)
        outcome = ErasureOutcome.ERASED if kept_days is None else ErasureOutcome.KEPT
        until = None if kept_days is None else self.now + timedelta(days=kept_days)
        decision = ClassDecision(retention_class=name, outcome=outcome, ground="asked", until=until)
        command = DecideErasure(subject_id=subject, decisions=(decision,))
        if known is None:
            self.do(command, SubjectUnknown)
        elif kept_days is not None:
            # From now on, and no longer than the period of a class.
            self.do(command, None if kept_days == 30 else Invalid)
            if kept_days == 30:
                self.decided[subject].discard(name)
        elif name is RetentionClass.SUPPRESSION:
            self.do(command, SuppressionStays)
        elif self.by_law(known, name):
            self.do(command, KeptByLaw)
        else:
            self.do(command)
            self.decided[subject].add(name)

    @precondition(lambda self: any(self.decided.values()))
    @rule(subject=PERSON, name=CLASS, aimed=AIMED)
    def destroy(self, subject: Any, name: RetentionClass, aimed: bool) -> None:
        decided = [(who, one) for who, classes in self.decided.items() for one in sorted(classes)]
        subject, name = self.aim(aimed, (subject, name), decided)
        known, command = self.people.get(subject), DestroyKeys(subject_id=subject, retention_classes=(name,))
        if known is None:
            self.do(command, SubjectUnknown)
        elif name not in self.decided[subject]:
            self.do(command, ErasureUndecided)
        elif self.by_law(known, name):
            self.do(command, KeptByLaw)
        elif self.held(subject):
            self.do(command, UnderHold, kept=True)
            self.deferred[subject].add(name)
        else:
            self.do(command)
            self.carry_out(subject, {name}, self.ledger.size() - 1)

    def forget(self, subject: Any) -> None:
        self.decide(subject, RetentionClass.CONTRACT, None)
        self.destroy(subject, RetentionClass.CONTRACT, False)

    @rule(subject=PERSON, number=NUMBERS)
    def hold(self, subject: Any, number: int) -> None:
        hold_id = an_id(f"hold {subject} {number}")
        command = PlaceHold(
            hold_id=hold_id, subject_id=subject, case_id=an_id("case"), ground="claim", owner=an_id("lawyer"),
            review_at=self.now + timedelta(days=100),
        )  # fmt: skip
        if subject not in self.people:
            self.do(command, SubjectUnknown)
        elif hold_id in self.holds[subject]:
            self.do(command, HoldExists)
        else:
            self.do(command)
            self.holds[subject][hold_id] = True

    @precondition(lambda self: any(self.holds.values()))
    @rule(subject=PERSON, number=NUMBERS)
    def release(self, subject: Any, number: int) -> None:
        hold_id = an_id(f"hold {subject} {number}")
        stands = self.holds[subject].get(hold_id, False)
        self.do(
            ReleaseHold(hold_id=hold_id, subject_id=subject, reason="settled"),
            None if stands else HoldUnknown,
        )
        if stands:
            self.holds[subject][hold_id] = False
            if run := self.runs(subject):
                self.carry_out(subject, run, self.ledger.size() - 1)

    def due(self, now: datetime) -> int:
        found = super().due(now)
        for subject in PEOPLE:
            for name in sorted(self.runs(subject)):
                # Each is one command of the clock, after all that is recorded by now.
                self.carry_out(subject, {name}, self.ledger.size() + found)
                found += 1
        return found

    @rule(subject=PERSON, number=NUMBERS, elsewhere=st.booleans(), end=st.sampled_from(["", "release", "part"]))
    def postpone(self, subject: Any, number: int, elsewhere: bool, end: str) -> None:
        """Go the usual way: a hold, here or on another record of the person, an erasure under it, and its end."""
        if elsewhere and not self.merged:
            self.merge(False, False)
        held = self.others(subject)[0] if elsewhere and self.merged else subject
        self.hold(held, number)
        self.forget(subject)
        if end == "release" and any(self.holds.values()):
            self.release(held, number)
        elif end == "part" and self.merged:
            self.unmerge(self.merged != (PEOPLE[0], PEOPLE[1]))
        self.tick()

    def owed(self, now: datetime) -> list[str]:
        return super().owed(now) + ["review-hold"] * sum(sum(holds.values()) for holds in self.holds.values())

    def view(self) -> View:
        return super().view() | {"holds": {subject: dict(holds) for subject, holds in self.holds.items()}}

    def ask(self, as_of: int | None, then: datetime) -> View:
        holds = {
            subject: {one.hold_id: one.released_at is None for one in self.asked.holds(subject, as_of=as_of)}
            for subject in PEOPLE
        }
        return super().ask(as_of, then) | {"holds": holds}
