"""Employees and what they acknowledged; violations, for the officer only; acknowledgements that lapse. Clause 5."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ledger import Actor, Ledger
from ledger.command import Command, Past
from ledger.commands import ExpireViolation, LapseAcknowledgement
from ledger.errors import Refused, RoleMissing
from ledger.events import (
    EmployeeOffboarded,
    EmployeeOnboarded,
    ViolationReported,
    ViolationResolved,
    Withheld,
)
from ledger.state.case_file import case_kept_until
from ledger.state.employee import acknowledged, check_access, current_until
from ledger.state.policy import policy
from ledger.vocabulary import ActorId, DocumentKind, Reference, Role, ViolationId, Word
from projections.duties import duty
from projections.projection import AsOf, text
from projections.registers import ALL, Register, Registers

if TYPE_CHECKING:
    from projections import Projections


class Employee(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who works here, or did. `access_until` is when the grace period ends, where one runs."""

    employee_id: ActorId
    role: Role
    onboarded_at: datetime
    offboarded_at: datetime | None
    acknowledged: Reference | None
    has_access: bool
    access_until: datetime | None


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A violation with its details opened, or the reason why one is gone. `outcome` is None while it is open."""

    violation_id: ViolationId
    category: Word
    employee: str | Withheld | None
    details: str | Withheld | None
    reported_at: datetime
    outcome: Word | None
    resolution: str | Withheld | None


def employees(registers: Registers, now: datetime, *, as_of: AsOf = None) -> tuple[Employee, ...]:
    """Return everybody who was ever onboarded, as they stand at `now`, the first known first."""
    return tuple(
        _employee(registers.past(*_about(employee_id), as_of=as_of), ActorId(employee_id), now)
        for employee_id in registers.about(Register.EMPLOYEES, as_of=as_of)
    )


def violations(registers: Registers, ledger: Ledger, actor: Actor) -> tuple[Violation, ...]:
    """Return every violation, opened. Raises RoleMissing for anybody but the officer: they are nobody else's to see."""
    if actor.role is not Role.OFFICER:
        raise RoleMissing(needed="officer")
    found: list[Violation] = []
    for violation_id in registers.about(Register.VIOLATIONS):
        first, *more = registers.past((Register.VIOLATIONS, violation_id)).all
        reported = ledger.open(first.index)
        resolved = ledger.open(more[-1].index) if more else None
        assert isinstance(reported, ViolationReported)
        assert resolved is None or isinstance(resolved, ViolationResolved)
        found.append(
            Violation(
                violation_id=reported.violation_id,
                category=reported.category,
                employee=reported.employee,
                details=reported.details,
                reported_at=first.recorded_at,
                outcome=resolved.outcome if resolved else None,
                resolution=resolved.details if resolved else None,
            )
        )
    return tuple(found)


@duty("acknowledgement-lapse")
def lapses(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    """Find acknowledgements whose grace period is over."""
    for employee in projections.employees(now):
        over = employee.access_until is not None and employee.access_until <= now
        if over and employee.acknowledged is not None and employee.offboarded_at is None:
            yield (
                LapseAcknowledgement(employee_id=employee.employee_id),
                f"{employee.employee_id}:{employee.acknowledged}",
            )


def resolved_violations(registers: Registers) -> Iterator[tuple[ViolationId, datetime]]:
    """Yield the violations that are resolved, and since when; nothing of what they are about."""
    for violation_id in registers.about(Register.VIOLATIONS):
        for recorded in registers.past((Register.VIOLATIONS, violation_id)).all:
            if isinstance(recorded.event, ViolationResolved):
                yield ViolationId(violation_id), recorded.recorded_at


@duty("violation-expiry")
def expiries(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    """Find resolved violations whose texts were kept long enough."""
    in_force = projections.policy()
    if in_force is None:
        return
    for violation_id, since in projections.resolved_violations():
        if (until := case_kept_until(since, in_force)) < now:
            yield ExpireViolation(violation_id=violation_id), f"{violation_id}:{text(until)}"


def _about(employee_id: str) -> tuple[tuple[Register, str], ...]:
    return (
        (Register.EMPLOYEES, employee_id),
        (Register.DOCUMENTS, DocumentKind.PROCEDURE),
        (Register.POLICIES, ALL),
    )


def _employee(past: Past, employee_id: ActorId, now: datetime) -> Employee:
    steps = [one for one in past.all if isinstance(one.event, EmployeeOnboarded | EmployeeOffboarded)]
    onboarded = next(one for one in reversed(steps) if isinstance(one.event, EmployeeOnboarded))
    assert isinstance(onboarded.event, EmployeeOnboarded)
    left = steps[-1].recorded_at if isinstance(steps[-1].event, EmployeeOffboarded) else None
    given, rules = acknowledged(past), policy(past)
    return Employee(
        employee_id=employee_id,
        role=onboarded.event.role,
        onboarded_at=onboarded.recorded_at,
        offboarded_at=left,
        acknowledged=None if given is None else given.version,
        has_access=_has_access(past, employee_id, now),
        access_until=None if given is None or rules is None else current_until(past, given, rules),
    )


def _has_access(past: Past, employee_id: ActorId, now: datetime) -> bool:
    rules = policy(past)
    if rules is None:
        return False
    try:
        check_access(past, employee_id, now, rules)
    except Refused:
        return False
    return True
