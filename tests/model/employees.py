"""Employees who acknowledge the procedure, use data for a purpose, and violations. Clauses 1–2 and 5."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger import Actor
from ledger.commands import (
    AcknowledgeConfidentiality,
    AssessPurposeChange,
    LapseAcknowledgement,
    OffboardEmployee,
    OnboardEmployee,
    ReportViolation,
    ResolveViolation,
    UseData,
)
from ledger.errors import (
    AcknowledgementMissing,
    DocumentNotInForce,
    DocumentUnknown,
    EmployeeExists,
    EmployeeUnknown,
    FieldNotAllowed,
    FieldsNotHeld,
    FieldUnknown,
    PurposeNotAssessed,
    Restricted,
    SubjectUnknown,
    ViolationExists,
    ViolationUnknown,
)
from ledger.vocabulary import Compatibility, LegalBasis, Purpose, Role, SubjectRole
from tests.bench import OFFICER, an_id
from tests.model.base import AIMED, NUMBERS, PERSON, POLICY, Refusal, View
from tests.model.documents import PROCEDURE, VERSION, Publishing, digest
from tests.model.merges import Merging

STAFF = [Actor(id=an_id(f"employee {number}"), role=Role.SUPPORT) for number in range(2)]
EMPLOYEE = st.sampled_from(STAFF)
GRACE = timedelta(days=POLICY.deadlines.acknowledgement_grace_days)
PURPOSE = st.sampled_from([Purpose.CONTRACT, Purpose.SERVICE, Purpose.ACCOUNTING])
FIELDS = st.sampled_from([("email",), ("given-name",), ("position",)])


class Employee:
    def __init__(self) -> None:
        self.here = True
        self.acknowledged: str | None = None


class Working(Publishing, Merging):
    def __init__(self) -> None:
        super().__init__()
        self.employees: dict[str, Employee] = {}
        self.assessed: dict[tuple[Purpose, Purpose, str], Compatibility] = {}
        self.violations: dict[str, bool] = {}  # resolved?

    @rule(who=EMPLOYEE)
    def onboard(self, who: Actor) -> None:
        found = self.employees.get(who.id)
        self.do(OnboardEmployee(employee_id=who.id, role=who.role), EmployeeExists if found and found.here else None)
        if found is None or not found.here:
            self.employees[who.id] = Employee()

    @precondition(lambda self: self.employees)
    @rule(who=EMPLOYEE)
    def offboard(self, who: Actor) -> None:
        found = self.employees.get(who.id)
        self.do(OffboardEmployee(employee_id=who.id), None if found and found.here else EmployeeUnknown)
        if found:
            found.here = False

    @precondition(lambda self: self.employees)
    @rule(who=EMPLOYEE, version=VERSION, aimed=AIMED)
    def acknowledge(self, who: Actor, version: Any, aimed: bool) -> None:
        current: Any = self.in_force(PROCEDURE, self.now)
        version = self.aim(aimed, version, [current] if current else [])
        found, known = self.employees.get(who.id), self.versions[PROCEDURE]
        expected: Refusal = None
        if found is None or not found.here:
            expected = EmployeeUnknown
        elif version not in known:
            expected = DocumentUnknown
        elif current is not None and known[version] < known[current]:
            expected = DocumentNotInForce
        command = AcknowledgeConfidentiality(
            employee_id=who.id, version=version, language="en", text_sha256=digest(PROCEDURE, version)
        )
        self.do(command, expected, by=who)
        if found and expected is None:
            found.acknowledged = version

    @precondition(lambda self: self.employees)
    @rule(who=EMPLOYEE)
    def lapse(self, who: Actor) -> None:
        found = self.employees.get(who.id)
        expected: Refusal = None
        if found is None or not found.here:
            expected = EmployeeUnknown
        elif found.acknowledged is None:
            expected = AcknowledgementMissing
        self.do(LapseAcknowledgement(employee_id=who.id), expected)
        if found and expected is None:
            found.acknowledged = None

    def access_until(self, found: Employee) -> datetime | None:
        """Return when the grace period after the first version that an acknowledgement misses is over."""
        known = self.versions[PROCEDURE]
        if found.acknowledged is None:
            return None
        later = [since for since in known.values() if since > known[found.acknowledged]]
        return min(later) + GRACE if later else None

    def has_access(self, found: Employee, now: datetime) -> bool:
        until = self.access_until(found)
        return found.here and found.acknowledged is not None and (until is None or now < until)

    def due(self, now: datetime) -> int:
        over = [
            found
            for found in self.employees.values()
            if found.here and found.acknowledged and not self.has_access(found, now)
        ]
        for found in over:
            found.acknowledged = None
        return super().due(now) + len(over)

    # --- use -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.employees)
    @rule(subject=PERSON, who=EMPLOYEE, purpose=PURPOSE, fields=FIELDS, aimed=AIMED)
    def use(self, subject: Any, who: Actor, purpose: Purpose, fields: Any, aimed: bool) -> None:
        able = [one for one in STAFF if one.id in self.employees and self.has_access(self.employees[one.id], self.now)]
        who = self.aim(aimed, who, able)
        known, found = self.people.get(subject), self.employees.get(who.id)
        command = UseData(subject_id=subject, purpose=purpose, fields=fields, case_reference="T-1", employee_id=who.id)
        if known is None:
            self.do(command, SubjectUnknown, by=who)
            return
        expected: Refusal = None
        if found is None or not found.here:
            expected = EmployeeUnknown
        elif not self.has_access(found, self.now):
            expected = AcknowledgementMissing
        else:
            expected = self.denied(subject, fields[0], purpose)
        self.do(command, expected, by=who, kept=expected is not None)

    @rule(subject=PERSON, who=EMPLOYEE, version=VERSION, fields=FIELDS)
    def work(self, subject: Any, who: Actor, version: Any, fields: Any) -> None:
        """Go the usual way: onboarded, with the procedure acknowledged, an employee uses data."""
        if not self.versions[PROCEDURE]:
            self.publish(PROCEDURE, version, 0)
        if who.id not in self.employees:
            self.onboard(who)
        if self.employees[who.id].acknowledged is None:
            self.acknowledge(who, version, True)
        self.use(subject, who, Purpose.CONTRACT, fields, False)

    def denied(self, subject: str, field: str, purpose: Purpose) -> Refusal:
        """Return why a field of a person may not be used for a purpose, None when it may."""
        known = self.people[subject]
        ours = known.role is SubjectRole.CONTROLLER
        allowed = {
            Purpose.CONTRACT: True,
            Purpose.SERVICE: ours,
            Purpose.ACCOUNTING: ours and field != "position",
        }
        if not allowed[purpose]:
            return FieldNotAllowed
        if field not in known.held:
            return FieldUnknown
        if not self.usable(known.held[field]):
            return FieldsNotHeld
        reasons = [reason for reason in known.reasons if reason.field == field]
        compatible = any(reason.purpose is purpose for reason in reasons) or any(
            self.assessed.get((reason.purpose, purpose, field)) is Compatibility.COMPATIBLE
            for reason in reasons
            if reason.basis is not LegalBasis.CONSENT
        )
        if not compatible:
            return PurposeNotAssessed
        return Restricted if self.restricted(subject, (field,)) else None

    @rule(from_purpose=PURPOSE, purpose=PURPOSE, fields=FIELDS, outcome=st.sampled_from(Compatibility))
    def assess(self, from_purpose: Purpose, purpose: Purpose, fields: Any, outcome: Compatibility) -> None:
        if from_purpose is purpose:
            return
        self.do(
            AssessPurposeChange(
                from_purpose=from_purpose, purpose=purpose, fields=fields, outcome=outcome, reference="A-1"
            )
        )
        self.assessed |= {(from_purpose, purpose, field): outcome for field in fields}

    # --- violations ------------------------------------------------------------------------------------------------

    @rule(number=NUMBERS, who=EMPLOYEE, resolve=st.booleans())
    def violate(self, number: int, who: Actor, resolve: bool) -> None:
        violation_id: Any = an_id(f"violation {number}")
        if resolve:
            stands = self.violations.get(violation_id) is False
            command: Any = ResolveViolation(violation_id=violation_id, outcome="warned", details="Talked to")
            self.do(command, None if stands else ViolationUnknown)
            self.violations |= {violation_id: True} if stands else {}
        else:
            command = ReportViolation(
                violation_id=violation_id, employee_id=who.id, category="curiosity", details="Read"
            )
            self.do(command, ViolationExists if violation_id in self.violations else None, by=who)
            self.violations.setdefault(violation_id, False)

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        return super().view() | {
            "employees": {
                name: (found.here, found.acknowledged, self.has_access(found, self.now), self.access_until(found))
                for name, found in self.employees.items()
            }
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        if as_of is None:
            violations = {one.violation_id: one.outcome is not None for one in self.asked.violations(OFFICER)}
            assert violations == self.violations
        return super().ask(as_of, then) | {
            "employees": {
                one.employee_id: (one.offboarded_at is None, one.acknowledged, one.has_access, one.access_until)
                for one in self.asked.employees(then, as_of=as_of)
            }
        }
