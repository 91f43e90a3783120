"""Breaches of personal data: the register and its clocks. Clause 4; GDPR Art. 33, 34; EDPB Guidelines 9/2022."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.errors import BreachExists, BreachState, BreachUnknown, Invalid, PolicyMissing, RetentionRuns, RoleMissing
from ledger.events import (
    AuthorityNotified,
    BreachAssessed,
    BreachClosed,
    BreachConfirmed,
    BreachSuspected,
    Event,
    KeyDestroyed,
    PersonalDataErased,
    RetentionExpired,
    SubjectsNotified,
)
from ledger.keys import KeyScope
from ledger.rule import rule
from ledger.state.breach import Breach, aware_of, breach, breach_steps
from ledger.state.case_file import case_expiry, case_scope
from ledger.state.policy import policies, policy_needed
from ledger.vocabulary import (
    BreachId,
    BreachNature,
    BreachRisk,
    Channel,
    Reference,
    Role,
    Word,
    breach_tag,
)

ANYBODY_SUSPECTS = rule(
    "anybody-reports-a-breach",
    clause="4",
    promise="Anybody may report a suspicion; it says of what nature, since when, and the facts, which are sealed",
    source="GDPR Art. 33(2), 33(5)",
    refusals=(BreachExists, Invalid),
)
CLOCK_FROM_AWARENESS = rule(
    "breach-clock-starts-at-awareness",
    clause="4",
    promise="The 72 hours for telling the authority run from the moment the company is aware",
    source="GDPR Art. 33(1)",
    refusals=(BreachState, BreachUnknown, RoleMissing, PolicyMissing, Invalid),
)
LATE_SAYS_WHY = rule(
    "late-notice-says-why",
    clause="4",
    promise="A notice to the authority after the deadline says why it is late; dates are in order",
    source="GDPR Art. 33(1)",
    refusals=(BreachState, BreachUnknown, RoleMissing, Invalid),
)
CLOSED_WHEN_TOLD = rule(
    "breach-closes-when-told",
    clause="4",
    promise="A breach with a risk closes once the authority was told, one with a high risk once people were told",
    source="GDPR Art. 33(1), 34(1), 34(3)",
    refusals=(BreachState, BreachUnknown, RoleMissing, Invalid),
)
DOCUMENTED = rule(
    "breach-is-documented",
    clause="4",
    promise="Its facts, effects and remedial action are recorded, whether or not anybody has to be told",
    source="GDPR Art. 33(5)",
    refusals=(BreachState, BreachUnknown, RoleMissing, Invalid),
)
BREACH_EXPIRES = rule(
    "breach-texts-expire",
    clause="erasure",
    promise="What is written about a breach is erased by itself when the limitation period since its close is over",
    source="GDPR Art. 5(1)(e), 33(5)",
    refusals=(RetentionRuns, BreachUnknown, PolicyMissing),
)


@command
class SuspectBreach(Command, frozen=True):
    """Report that there may be a breach: of what nature, since when it is suspected, and what is known."""

    NAME: ClassVar[str] = "suspect-breach"
    RECORDS = (BreachSuspected,)
    RULES = (ANYBODY_SUSPECTS,)
    breach_id: BreachId
    natures: tuple[BreachNature, ...]
    suspected_at: datetime
    facts: str

    def boundary(self) -> Boundary:
        return breach_steps(self.breach_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if past.all:
            raise BreachExists(breach=self.breach_id)
        if not self.natures:
            raise Invalid("natures", "names at least one")
        if not self.facts:
            raise Invalid("facts", "says what is known")
        if self.suspected_at > context.now:
            raise Invalid("suspected_at", "is in the future")
        event = BreachSuspected(
            breach_id=self.breach_id,
            natures=tuple(sorted(set(self.natures))),
            suspected_at=self.suspected_at,
            facts=self.facts,
        )
        return [Fact(event, [breach_tag(self.breach_id)], _scope(self.breach_id))]


@command
class ConfirmBreach(Command, frozen=True):
    """Say that it is a breach, and since when the company is aware of that: the clock starts there."""

    NAME: ClassVar[str] = "confirm-breach"
    RECORDS = (BreachConfirmed,)
    RULES = (CLOCK_FROM_AWARENESS,)
    breach_id: BreachId
    aware_at: datetime

    def boundary(self) -> Boundary:
        return (*breach_steps(self.breach_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_officer(context)
        found = breach(past, self.breach_id)
        if found.confirmed is not None:
            raise BreachState(breach=self.breach_id, state="confirmed already", needed="its clock runs")
        if not found.suspected.suspected_at <= self.aware_at <= context.now:
            raise Invalid("aware_at", "is between the suspicion and now")
        hours = policy_needed(past).deadlines.breach_notice_hours
        event = BreachConfirmed(
            breach_id=self.breach_id, aware_at=self.aware_at, notice_due_at=self.aware_at + timedelta(hours=hours)
        )
        return [Fact(event, [breach_tag(self.breach_id)])]


@command
class AssessBreach(Command, frozen=True):
    """Say how it may affect people, about how many, and what is done about it. May be said again as more is known."""

    NAME: ClassVar[str] = "assess-breach"
    RECORDS = (BreachAssessed,)
    RULES = (DOCUMENTED,)
    breach_id: BreachId
    risk: BreachRisk
    subjects: int
    records: int
    categories: tuple[Word, ...]
    effects: str
    measures: str

    def boundary(self) -> Boundary:
        return breach_steps(self.breach_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_officer(context)
        aware_of(breach(past, self.breach_id))
        for name in ("subjects", "records"):
            if not 0 <= getattr(self, name) <= 2**53 - 1:
                raise Invalid(name, "is a number from 0 on")
        for name in ("effects", "measures"):
            if not getattr(self, name):
                raise Invalid(name, "is said for every breach: GDPR Art. 33(5)")
        event = BreachAssessed(
            breach_id=self.breach_id,
            risk=self.risk,
            subjects=self.subjects,
            records=self.records,
            categories=tuple(sorted(set(self.categories))),
            effects=self.effects,
            measures=self.measures,
        )
        return [Fact(event, [breach_tag(self.breach_id)], _scope(self.breach_id))]


@command
class NotifyAuthority(Command, frozen=True):
    """Record that the supervisory authority was told. `reference` is theirs; a late notice says why."""

    NAME: ClassVar[str] = "notify-authority"
    RECORDS = (AuthorityNotified,)
    RULES = (LATE_SAYS_WHY,)
    breach_id: BreachId
    authority: Word
    reference: Reference
    notified_at: datetime
    delay_reason: str | None = None

    def boundary(self) -> Boundary:
        return breach_steps(self.breach_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_officer(context)
        aware = aware_of(breach(past, self.breach_id))
        if not aware.aware_at <= self.notified_at <= context.now:
            raise Invalid("notified_at", "is between awareness and now")
        if (self.notified_at > aware.notice_due_at) != bool(self.delay_reason):
            raise Invalid("delay_reason", "is needed for a notice after the deadline, and only there")
        event = AuthorityNotified(
            breach_id=self.breach_id,
            authority=self.authority,
            reference=self.reference,
            notified_at=self.notified_at,
            delay_reason=self.delay_reason,
        )
        return [Fact(event, [breach_tag(self.breach_id)], _scope(self.breach_id))]


@command
class NotifySubjects(Command, frozen=True):
    """Record that the people concerned were told, how, and how many."""

    NAME: ClassVar[str] = "notify-subjects"
    RECORDS = (SubjectsNotified,)
    RULES = (LATE_SAYS_WHY,)
    breach_id: BreachId
    channel: Channel
    subjects: int
    notified_at: datetime

    def boundary(self) -> Boundary:
        return breach_steps(self.breach_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_officer(context)
        aware = aware_of(breach(past, self.breach_id))
        if not 0 < self.subjects <= 2**53 - 1:
            raise Invalid("subjects", "is a number from 1 on")
        if not aware.aware_at <= self.notified_at <= context.now:
            raise Invalid("notified_at", "is between awareness and now")
        event = SubjectsNotified(
            breach_id=self.breach_id, channel=self.channel, subjects=self.subjects, notified_at=self.notified_at
        )
        return [Fact(event, [breach_tag(self.breach_id)])]


@command
class CloseBreach(Command, frozen=True):
    """Close a breach, or a suspicion that was none. `exemption` is why people at high risk were not told."""

    NAME: ClassVar[str] = "close-breach"
    RECORDS = (BreachClosed,)
    RULES = (CLOSED_WHEN_TOLD,)
    breach_id: BreachId
    outcome: Word
    exemption: Word | None = None

    def boundary(self) -> Boundary:
        return breach_steps(self.breach_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_officer(context)
        found = breach(past, self.breach_id)
        if found.confirmed is not None:
            self._check_told(found)
        event = BreachClosed(breach_id=self.breach_id, outcome=self.outcome, exemption=self.exemption)
        return [Fact(event, [breach_tag(self.breach_id)])]

    def _check_told(self, found: Breach) -> None:
        if found.assessed is None:
            raise BreachState(breach=self.breach_id, state="not assessed", needed="assess its risk first")
        # GDPR Art. 33(1): only a breach that is unlikely to be a risk to anybody need not be notified.
        if found.assessed.risk is not BreachRisk.UNLIKELY and found.authority is None:
            raise BreachState(breach=self.breach_id, state="not notified", needed="tell the authority first")
        untold = found.assessed.risk is BreachRisk.HIGH and found.subjects is None
        if untold and self.exemption is None:
            raise BreachState(
                breach=self.breach_id, state="of high risk", needed="tell the people, or name the exemption"
            )
        if self.exemption is not None and not untold:
            raise Invalid("exemption", "is for people at high risk who were not told, and only there")


@command
class ExpireBreach(Command, frozen=True):
    """Destroy the key of a closed breach whose retention period is over. The clock asks for it."""

    NAME: ClassVar[str] = "expire-breach"
    RECORDS = (RetentionExpired, KeyDestroyed, PersonalDataErased)
    RULES = (BREACH_EXPIRES,)
    breach_id: BreachId

    @classmethod
    def decided(cls, event: Event) -> bool:
        kinds = RetentionExpired | KeyDestroyed | PersonalDataErased
        return isinstance(event, kinds) and event.breach_id is not None

    def boundary(self) -> Boundary:
        return (selector(tags=[breach_tag(self.breach_id)]), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        closed = next((one for one in past.all if isinstance(one.event, BreachClosed)), None)
        if closed is None:
            raise BreachUnknown(breach=self.breach_id)
        return case_expiry(
            past, context, self.breach_id, closed_at=closed.recorded_at, policy=policy_needed(past), breach=True
        )


def _by_officer(context: Context) -> None:
    if context.actor.role is not Role.OFFICER:
        raise RoleMissing(needed="officer")


def _scope(breach_id: BreachId) -> KeyScope:
    # A key of its own: what is written about a breach is about many people, or nobody.
    return case_scope(breach_id)
