"""Breaches: suspected, confirmed with their clock, assessed, told of, closed. Clause 4; GDPR Art. 33, 34."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import (
    AssessBreach,
    CloseBreach,
    ConfirmBreach,
    NotifyAuthority,
    NotifySubjects,
    SuspectBreach,
)
from ledger.errors import BreachExists, BreachState, BreachUnknown, Invalid
from ledger.vocabulary import BreachNature, BreachRisk, Channel
from tests.bench import an_id
from tests.model.base import NUMBERS, POLICY, STEPS, Model, Refusal, View

HOURS = timedelta(hours=POLICY.deadlines.breach_notice_hours)


class Breach:
    def __init__(self) -> None:
        self.due_at: datetime | None = None
        self.risk: BreachRisk | None = None
        self.authority = False
        self.subjects = False
        self.closed = False


class Breaching(Model):
    def __init__(self) -> None:
        super().__init__()
        self.breaches: dict[str, Breach] = {}

    @rule(number=NUMBERS)
    def suspect(self, number: int) -> None:
        breach_id: Any = an_id(f"breach {number}")
        command = SuspectBreach(
            breach_id=breach_id, natures=(BreachNature.INTEGRITY,), suspected_at=self.now, facts="A door stood open"
        )
        self.do(command, BreachExists if breach_id in self.breaches else None)
        self.breaches.setdefault(breach_id, Breach())

    def breach(self, number: int) -> tuple[Any, Breach | None, Refusal]:
        breach_id = an_id(f"breach {number}")
        found = self.breaches.get(breach_id)
        if found is None:
            return breach_id, None, BreachUnknown
        return (breach_id, None, BreachState) if found.closed else (breach_id, found, None)

    @precondition(lambda self: self.breaches)
    @rule(number=NUMBERS)
    def confirm(self, number: int) -> None:
        breach_id, found, expected = self.breach(number)
        if found and found.due_at:
            expected = BreachState
        # Nobody is aware of it before it is suspected.
        self.do(ConfirmBreach(breach_id=breach_id, aware_at=self.now), expected)
        if found and expected is None:
            found.due_at = self.now + HOURS

    @precondition(lambda self: self.breaches)
    @rule(number=NUMBERS, risk=st.sampled_from(BreachRisk))
    def assess_breach(self, number: int, risk: BreachRisk) -> None:
        breach_id, found, expected = self.breach(number)
        if found and not found.due_at:
            expected = BreachState
        self.do(
            AssessBreach(
                breach_id=breach_id, risk=risk, subjects=3, records=5, categories=("contact",), effects="None seen",
                measures="The door is shut",
            ),
            expected,
        )  # fmt: skip
        if found and expected is None:
            found.risk = risk

    @precondition(lambda self: self.breaches)
    @rule(number=NUMBERS, excused=st.booleans())
    def notify_authority(self, number: int, excused: bool) -> None:
        breach_id, found, expected = self.breach(number)
        if found and not found.due_at:
            expected = BreachState
        elif found and found.due_at and (self.now > found.due_at) != excused:
            expected = Invalid
        self.do(
            NotifyAuthority(
                breach_id=breach_id, authority="aki", reference="N-1", notified_at=self.now,
                delay_reason="We looked for the door" if excused else None,
            ),
            expected,
        )  # fmt: skip
        if found and expected is None:
            found.authority = True

    @precondition(lambda self: self.breaches)
    @rule(number=NUMBERS)
    def notify_subjects(self, number: int) -> None:
        breach_id, found, expected = self.breach(number)
        if found and not found.due_at:
            expected = BreachState
        self.do(NotifySubjects(breach_id=breach_id, channel=Channel.EMAIL, subjects=3, notified_at=self.now), expected)
        if found and expected is None:
            found.subjects = True

    @precondition(lambda self: self.breaches)
    @rule(number=NUMBERS, exempt=st.booleans())
    def close(self, number: int, exempt: bool) -> None:
        breach_id, found, expected = self.breach(number)
        if found and found.due_at:
            untold = found.risk is BreachRisk.HIGH and not found.subjects
            if found.risk is None or (found.risk is not BreachRisk.UNLIKELY and not found.authority):
                expected = BreachState
            elif untold != exempt:
                expected = BreachState if untold else Invalid
        self.do(CloseBreach(breach_id=breach_id, outcome="mended", exemption="encrypted" if exempt else None), expected)
        if found and expected is None:
            found.closed = True

    @rule(number=NUMBERS, risk=st.sampled_from(BreachRisk), steps=STEPS)
    def handle(self, number: int, risk: BreachRisk, steps: int) -> None:
        """Go some steps of the usual way."""
        self.suspect(number)
        self.confirm(number)
        self.assess_breach(number, risk)
        if steps > 1:
            self.notify_authority(number, False)
        if steps > 2:
            self.notify_subjects(number)
        if steps > 3:
            self.close(number, False)

    def owed(self, now: datetime) -> list[str]:
        stand = [one for one in self.breaches.values() if one.due_at and not one.closed]
        notices = sum(not one.authority and one.risk is not BreachRisk.UNLIKELY for one in stand)
        communications = sum(one.risk is BreachRisk.HIGH and not one.subjects for one in stand)
        return super().owed(now) + ["breach-notice"] * notices + ["breach-communication"] * communications

    def view(self) -> View:
        return super().view() | {
            "breaches": {
                name: (one.due_at, one.risk, one.authority, one.subjects, one.closed)
                for name, one in self.breaches.items()
            }
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        return super().ask(as_of, then) | {
            "breaches": {
                one.breach_id: (
                    one.notice_due_at,
                    one.risk,
                    one.authority is not None,
                    one.subjects_notified_at is not None,
                    one.closed_at is not None,
                )
                for one in self.asked.breaches(as_of=as_of)
            }
        }
