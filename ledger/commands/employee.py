"""Employees: onboarded, acknowledging the procedure, answering for violations, offboarded. Clause 5."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.errors import (
    AcknowledgementCurrent,
    AcknowledgementMissing,
    DocumentNotInForce,
    DocumentUnknown,
    EmployeeExists,
    EmployeeUnknown,
    Invalid,
    PolicyMissing,
    RetentionRuns,
    RoleMissing,
    ViolationExists,
    ViolationUnknown,
)
from ledger.events import (
    AcknowledgementLapsed,
    ConfidentialityAcknowledged,
    EmployeeOffboarded,
    EmployeeOnboarded,
    Event,
    KeyDestroyed,
    PersonalDataErased,
    RetentionExpired,
    ViolationReported,
    ViolationResolved,
)
from ledger.keys import KeyScope
from ledger.rule import rule
from ledger.state.case_file import case_expiry, case_scope
from ledger.state.document import published, versions
from ledger.state.employee import STAFF, acknowledged, current_until, employment, onboarded
from ledger.state.policy import policies, policy_needed
from ledger.vocabulary import (
    ActorId,
    DocumentKind,
    Language,
    Reference,
    Role,
    Sha256Hex,
    ViolationId,
    Word,
    employee_tag,
    violation_tag,
)

ONBOARDED_ONCE = rule(
    "employee-is-onboarded-once",
    clause="5",
    promise="Whoever sees personal data is onboarded in a role, by the officer or operator, once at a time",
    source="GDPR Art. 29, 32(4)",
    refusals=(RoleMissing, EmployeeExists, Invalid),
)
ACKNOWLEDGES_IN_PERSON = rule(
    "acknowledgement-binds-to-the-procedure",
    clause="5",
    promise="An employee acknowledges in person, and exactly the procedure that is in force or comes into force",
    source="GDPR Art. 32(4)",
    refusals=(RoleMissing, EmployeeUnknown, DocumentUnknown, DocumentNotInForce),
)
GRACE_THEN_LAPSE = rule(
    "acknowledgement-lapses-after-grace",
    clause="5",
    promise="A new version of the procedure gives a grace period, then the old acknowledgement lapses",
    source="Principles, clause 5; GDPR Art. 32(4)",
    refusals=(EmployeeUnknown, AcknowledgementMissing, AcknowledgementCurrent, PolicyMissing),
)
OFFBOARDED_AT_ONCE = rule(
    "offboarding-ends-access",
    clause="5",
    promise="Offboarding ends access at once; the duty of confidence does not end",
    source="GDPR Art. 28(3)(b), 32(4)",
    refusals=(RoleMissing, EmployeeUnknown),
)
VIOLATIONS_SEALED = rule(
    "violations-are-the-officers",
    clause="5",
    promise="Who violated the principles, and how, is sealed in the record, and resolved by the officer only",
    source="GDPR Art. 5(1)(f), 38(5)",
    refusals=(RoleMissing, ViolationExists, ViolationUnknown, Invalid),
)
VIOLATIONS_EXPIRE = rule(
    "violation-texts-expire",
    clause="erasure",
    promise="What is written about a violation is erased by itself when the limitation period since its end is over",
    source="GDPR Art. 5(1)(e)",
    refusals=(RetentionRuns, ViolationUnknown, PolicyMissing),
)


@command
class OnboardEmployee(Command, frozen=True):
    """Say that somebody works here now, under an opaque id and in a role."""

    NAME: ClassVar[str] = "onboard-employee"
    RECORDS = (EmployeeOnboarded,)
    RULES = (ONBOARDED_ONCE,)
    employee_id: ActorId
    role: Role

    def boundary(self) -> Boundary:
        return employment(self.employee_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_management(context)
        if self.role not in STAFF:
            raise Invalid("role", f"is one of {', '.join(sorted(STAFF))} for an employee")
        if isinstance(past.last(EmployeeOnboarded, EmployeeOffboarded), EmployeeOnboarded):
            raise EmployeeExists(employee=self.employee_id)
        return [Fact(EmployeeOnboarded(employee_id=self.employee_id, role=self.role), [employee_tag(self.employee_id)])]


@command
class AcknowledgeConfidentiality(Command, frozen=True):
    """Record that an employee read the procedure and keeps confidence. Nobody does that for another."""

    NAME: ClassVar[str] = "acknowledge-confidentiality"
    RECORDS = (ConfidentialityAcknowledged,)
    RULES = (ACKNOWLEDGES_IN_PERSON,)
    employee_id: ActorId
    version: Reference
    language: Language
    text_sha256: Sha256Hex

    def boundary(self) -> Boundary:
        return employment(self.employee_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.id != self.employee_id:
            raise RoleMissing(needed="employee who acknowledges")
        onboarded(past, self.employee_id)
        published(past, DocumentKind.PROCEDURE, self.text_sha256, self.language, self.version)
        known = versions(past, DocumentKind.PROCEDURE)
        superseded = [version for version, _ in known[: _place_in_force(known, context)]]
        if self.version in superseded:
            raise DocumentNotInForce(
                kind=DocumentKind.PROCEDURE, version=self.version, in_force=known[len(superseded)][0]
            )
        event = ConfidentialityAcknowledged(
            employee_id=self.employee_id,
            version=self.version,
            language=self.language,
            text_sha256=self.text_sha256,
        )
        return [Fact(event, [employee_tag(self.employee_id)])]


@command
class LapseAcknowledgement(Command, frozen=True):
    """End an acknowledgement: anybody once its grace period is over, the officer at any time."""

    NAME: ClassVar[str] = "lapse-acknowledgement"
    RECORDS = (AcknowledgementLapsed,)
    RULES = (GRACE_THEN_LAPSE,)
    employee_id: ActorId
    ground: Word = Word("new-version")

    def boundary(self) -> Boundary:
        return (*employment(self.employee_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        onboarded(past, self.employee_id)
        given = acknowledged(past)
        if given is None:
            raise AcknowledgementMissing(employee=self.employee_id)
        until = current_until(past, given, policy_needed(past))
        over = until is not None and until <= context.now
        if not over and context.actor.role is not Role.OFFICER:
            raise AcknowledgementCurrent(employee=self.employee_id)
        event = AcknowledgementLapsed(employee_id=self.employee_id, version=given.version, ground=self.ground)
        return [Fact(event, [employee_tag(self.employee_id)])]


@command
class OffboardEmployee(Command, frozen=True):
    """Say that somebody works here no longer: no access from here on."""

    NAME: ClassVar[str] = "offboard-employee"
    RECORDS = (EmployeeOffboarded,)
    RULES = (OFFBOARDED_AT_ONCE,)
    employee_id: ActorId

    def boundary(self) -> Boundary:
        return employment(self.employee_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _by_management(context)
        onboarded(past, self.employee_id)
        return [Fact(EmployeeOffboarded(employee_id=self.employee_id), [employee_tag(self.employee_id)])]


@command
class ReportViolation(Command, frozen=True):
    """Report that somebody violated the principles. Anybody may; who it was and what happened is sealed."""

    NAME: ClassVar[str] = "report-violation"
    RECORDS = (ViolationReported,)
    RULES = (VIOLATIONS_SEALED,)
    violation_id: ViolationId
    employee_id: ActorId
    category: Word
    details: str

    def boundary(self) -> Boundary:
        return _violation(self.violation_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if past.all:
            raise ViolationExists(violation=self.violation_id)
        if not self.details:
            raise Invalid("details", "says what happened")
        event = ViolationReported(
            violation_id=self.violation_id, category=self.category, employee=str(self.employee_id), details=self.details
        )
        return [Fact(event, [violation_tag(self.violation_id)], _scope(self.violation_id))]


@command
class ResolveViolation(Command, frozen=True):
    """Close a violation with its outcome."""

    NAME: ClassVar[str] = "resolve-violation"
    RECORDS = (ViolationResolved,)
    RULES = (VIOLATIONS_SEALED,)
    violation_id: ViolationId
    outcome: Word
    details: str

    def boundary(self) -> Boundary:
        return _violation(self.violation_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.role is not Role.OFFICER:
            raise RoleMissing(needed="officer")
        if past.last(ViolationReported) is None or past.last(ViolationResolved) is not None:
            raise ViolationUnknown(violation=self.violation_id)
        if not self.details:
            raise Invalid("details", "says what was done")
        event = ViolationResolved(violation_id=self.violation_id, outcome=self.outcome, details=self.details)
        return [Fact(event, [violation_tag(self.violation_id)], _scope(self.violation_id))]


@command
class ExpireViolation(Command, frozen=True):
    """Destroy the key of a resolved violation whose retention period is over. The clock asks for it."""

    NAME: ClassVar[str] = "expire-violation"
    RECORDS = (RetentionExpired, KeyDestroyed, PersonalDataErased)
    RULES = (VIOLATIONS_EXPIRE,)
    violation_id: ViolationId

    @classmethod
    def decided(cls, event: Event) -> bool:
        kinds = RetentionExpired | KeyDestroyed | PersonalDataErased
        return isinstance(event, kinds) and event.violation_id is not None

    def boundary(self) -> Boundary:
        return (selector(tags=[violation_tag(self.violation_id)]), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        resolved = next((one for one in past.all if isinstance(one.event, ViolationResolved)), None)
        if resolved is None:
            raise ViolationUnknown(violation=self.violation_id)
        return case_expiry(
            past, context, self.violation_id, closed_at=resolved.recorded_at, policy=policy_needed(past), breach=False
        )


def _by_management(context: Context) -> None:
    if context.actor.role not in (Role.OFFICER, Role.OPERATOR):
        raise RoleMissing(needed="officer or operator")


def _place_in_force(known: Sequence[tuple[Reference, datetime]], context: Context) -> int:
    in_force = [i for i, (_, since) in enumerate(known) if since <= context.now]
    return in_force[-1] if in_force else 0


def _violation(violation_id: ViolationId) -> Boundary:
    return (selector(ViolationReported, ViolationResolved, tags=[violation_tag(violation_id)]),)


def _scope(violation_id: ViolationId) -> KeyScope:
    # A key of its own: it is destroyed with the violation's retention, whoever it is about.
    return case_scope(violation_id)
