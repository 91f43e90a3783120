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
    KeptByLaw,
    SubjectUnknown,
    SuppressionStays,
    UnderHold,
)
from ledger.events import ClassDecision
from ledger.vocabulary import ErasureOutcome, RetentionClass
from tests.bench import an_id
from tests.model.base import AIMED, NUMBERS, PEOPLE, PERSON, View
from tests.model.people import People, Person

CLASS = st.sampled_from([RetentionClass.CONTRACT, RetentionClass.ORDER, RetentionClass.MARKETING])


class Erasing(People):
    def __init__(self) -> None:
        super().__init__()
        self.holds: dict[str, dict[str, bool]] = {subject: {} for subject in PEOPLE}
        self.decided: dict[str, set[RetentionClass]] = {subject: set() for subject in PEOPLE}
        self.deferred: dict[str, set[RetentionClass]] = {subject: set() for subject in PEOPLE}

    def by_law(self, known: Person, name: RetentionClass) -> bool:
        """Whether the law forbids to erase a class: orders that were booked."""
        return False

    def carry_out(self, subject: str, classes: set[RetentionClass]) -> None:
        known = self.people[subject]
        self.erase(known, classes)
        self.decided[subject] -= classes
        self.deferred[subject] -= classes
        index = self.ledger.size() - 1
        known.proofs.append((index, "erased"))
        for name in classes:
            self.changed(subject, index, name, "erasure")

    @rule(subject=PERSON, name=CLASS | st.just(RetentionClass.SUPPRESSION))
    def decide(self, subject: Any, name: RetentionClass) -> None:
        known = self.people.get(subject)
        decision = ClassDecision(retention_class=name, outcome=ErasureOutcome.ERASED, ground="asked")
        command = DecideErasure(subject_id=subject, decisions=(decision,))
        if known is None:
            self.do(command, SubjectUnknown)
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
        elif any(self.holds[subject].values()):
            self.do(command, UnderHold, kept=True)
            self.deferred[subject].add(name)
        else:
            self.do(command)
            self.carry_out(subject, {name})

    def forget(self, subject: Any) -> None:
        self.decide(subject, RetentionClass.CONTRACT)
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
            known = self.people[subject]
            run = {name for name in self.deferred[subject] & self.decided[subject] if not self.by_law(known, name)}
            if run and not any(self.holds[subject].values()):
                self.carry_out(subject, run)

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
