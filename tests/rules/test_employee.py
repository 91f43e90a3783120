"""Employees: no current acknowledgement, no access; violations sealed. Clause 5."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger import Actor
from ledger.commands import (
    AcknowledgeConfidentiality,
    AdoptPolicy,
    CollectData,
    ExpireViolation,
    LapseAcknowledgement,
    OffboardEmployee,
    OnboardEmployee,
    PublishDocument,
    RegisterSubject,
    ReportViolation,
    ResolveViolation,
    UseData,
)
from ledger.errors import (
    AcknowledgementCurrent,
    AcknowledgementMissing,
    DocumentNotInForce,
    DocumentUnknown,
    EmployeeExists,
    EmployeeUnknown,
    Invalid,
    RetentionRuns,
    RoleMissing,
    ViolationExists,
    ViolationUnknown,
)
from ledger.events import (
    AcknowledgementLapsed,
    ConfidentialityAcknowledged,
    DataUsed,
    EmployeeOffboarded,
    EmployeeOnboarded,
    UseDenied,
    ViolationReported,
    ViolationResolved,
    Withheld,
)
from ledger.policy import default_policy_text
from ledger.vocabulary import DocumentKind, LegalBasis, Purpose, Role, SourceKind
from projections import PROJECTIONS_FILE, open_projections
from projections.duties import run_duties
from tests.bench import OFFICER, START, SUPPORT, Bench, an_id

MARI, VIOLATION = an_id("mari"), an_id("violation")
EMPLOYEE = SUPPORT.id
CLOCK = Actor(id=an_id("clock"), role=Role.SERVICE)


def digest(text: str) -> Any:
    return sha256(text.encode()).hexdigest()


def procedure(version: str, **given: Any) -> PublishDocument:
    usual: dict[str, Any] = {
        "kind": DocumentKind.PROCEDURE,
        "language": "en",
        "text": f"Keep confidence, {version}",
        "published_at": START,
        "effective_at": START,
    }
    return PublishDocument(version=version, **usual | given)  # type: ignore[arg-type]


def onboard(**given: Any) -> OnboardEmployee:
    return OnboardEmployee(**{"employee_id": EMPLOYEE, "role": Role.SUPPORT} | given)


def acknowledge(version: str = "1", **given: Any) -> AcknowledgeConfidentiality:
    usual: dict[str, Any] = {"language": "en", "text_sha256": digest(f"Keep confidence, {version}")}
    return AcknowledgeConfidentiality(**{"employee_id": EMPLOYEE, "version": version} | usual | given)


def lapse(**given: Any) -> LapseAcknowledgement:
    return LapseAcknowledgement(**{"employee_id": EMPLOYEE} | given)


def offboard(**given: Any) -> OffboardEmployee:
    return OffboardEmployee(**{"employee_id": EMPLOYEE} | given)


def report(**given: Any) -> ReportViolation:
    usual: dict[str, Any] = {
        "violation_id": VIOLATION,
        "employee_id": EMPLOYEE,
        "category": "curiosity",
        "details": "Read",
    }
    return ReportViolation(**usual | given)


def resolve(**given: Any) -> ResolveViolation:
    return ResolveViolation(**{"violation_id": VIOLATION, "outcome": "warned", "details": "Talked to"} | given)


def expire(**given: Any) -> ExpireViolation:
    return ExpireViolation(**{"violation_id": VIOLATION} | given)


MAKERS = [onboard, acknowledge, lapse, offboard, report, resolve, expire]
FIELD_KINDS = {"employee_id": "id", "violation_id": "id", "details": "text", "report-violation.category": "word"}
OTHER_FIELDS: set[str] = set()
CODES = [
    "acknowledgement-current", "acknowledgement-missing", "employee-exists", "employee-unknown", "violation-exists",
    "violation-unknown",
]  # fmt: skip

USE = UseData(
    subject_id=MARI,
    purpose=Purpose.CONTRACT,
    fields=("email",),  # type: ignore[arg-type]
    case_reference="T-1",  # type: ignore[arg-type]
    employee_id=EMPLOYEE,
)
USED = DataUsed(
    subject_id=MARI,
    purpose=Purpose.CONTRACT,
    fields=("email",),  # type: ignore[arg-type]
    case_reference="T-1",  # type: ignore[arg-type]
    employee_id=EMPLOYEE,
)


def denied(reason: str) -> UseDenied:
    return UseDenied(
        command="use-data",  # type: ignore[arg-type]
        subject_id=MARI,
        purpose=Purpose.CONTRACT,
        fields=("email",),  # type: ignore[arg-type]
        reason=reason,  # type: ignore[arg-type]
        case_reference="T-1",  # type: ignore[arg-type]
        employee_id=EMPLOYEE,
    )


@pytest.fixture
def office(bench: Bench) -> Bench:
    """A company with a policy, a procedure and one person's data; nobody works there yet."""
    return bench.given(
        AdoptPolicy(text=default_policy_text()),
        procedure("1"),
        RegisterSubject(subject_id=MARI),
        CollectData(
            subject_id=MARI,
            purpose=Purpose.CONTRACT,
            basis=LegalBasis.CONTRACT,
            source=SourceKind.SUBJECT,
            values={"email": "mari@example.com"},
        ),
    )


def at_work(office: Bench) -> Bench:
    return office.given(onboard()).given(acknowledge(), by=SUPPORT)


@pytest.mark.rule("employee-is-onboarded-once")
def test_an_employee_is_onboarded_once_by_the_officer_in_a_role(office: Bench) -> None:
    office.when(onboard()).then(EmployeeOnboarded(employee_id=EMPLOYEE, role=Role.SUPPORT))
    office.when(onboard()).refused(EmployeeExists, employee=EMPLOYEE)
    office.when(onboard(employee_id=an_id("x")), by=SUPPORT).refused(RoleMissing)
    office.when(onboard(employee_id=an_id("x"), role=Role.SUBJECT)).refused(Invalid, field="role")
    office.given(offboard())
    assert office.when(onboard()).refusal is None, "somebody who comes back"


@pytest.mark.rule("acknowledgement-binds-to-the-procedure")
def test_an_employee_acknowledges_in_person_exactly_the_procedure(office: Bench) -> None:
    office.when(acknowledge(), by=SUPPORT).refused(EmployeeUnknown, employee=EMPLOYEE)
    office.given(onboard())
    office.when(acknowledge(), by=OFFICER).refused(RoleMissing)
    office.when(acknowledge(text_sha256=digest("x")), by=SUPPORT).refused(DocumentUnknown, kind="procedure")
    office.when(acknowledge(), by=SUPPORT).then(
        ConfidentialityAcknowledged(
            employee_id=EMPLOYEE,
            version="1",  # type: ignore[arg-type]
            language="en",  # type: ignore[arg-type]
            text_sha256=digest("Keep confidence, 1"),
        )
    )


@pytest.mark.rule("acknowledgement-binds-to-the-procedure")
def test_a_superseded_procedure_is_not_acknowledged_and_a_coming_one_is(office: Bench) -> None:
    office.given(onboard(), procedure("2", effective_at=START + timedelta(30)))
    assert office.when(acknowledge("2"), by=SUPPORT).refusal is None
    assert office.when(acknowledge("1"), by=SUPPORT).refusal is None
    office.clock.forward(days=30)
    office.when(acknowledge("1"), by=SUPPORT).refused(DocumentNotInForce, version="1", in_force="2")


@pytest.mark.rule("access-needs-acknowledgement")
def test_without_a_current_acknowledgement_there_is_no_access(office: Bench) -> None:
    office.when(USE, by=SUPPORT).refused(EmployeeUnknown, denied("employee-unknown"))
    office.given(onboard())
    office.when(USE, by=SUPPORT).refused(AcknowledgementMissing, denied("acknowledgement-missing"))
    office.given(acknowledge(), by=SUPPORT)
    office.when(USE, by=SUPPORT).then(USED)


@pytest.mark.rule("access-needs-acknowledgement")
def test_an_employee_asks_as_themselves(office: Bench) -> None:
    at_work(office)
    office.when(USE, by=OFFICER).refused(Invalid, field="employee_id")
    office.when(USE, by=CLOCK).refused(Invalid, field="employee_id")
    nobody = UseData(**{name: getattr(USE, name) for name in USE.__struct_fields__} | {"employee_id": None})
    office.when(nobody, by=SUPPORT).refused(Invalid, field="employee_id")


@pytest.mark.rule("access-needs-acknowledgement")
@pytest.mark.rule("acknowledgement-lapses-after-grace")
def test_a_new_version_gives_a_grace_period_and_then_suspends(office: Bench) -> None:
    at_work(office).given(procedure("2", effective_at=START + timedelta(31)))
    office.clock.now = START + timedelta(31 + 14) - timedelta(microseconds=1)
    office.when(lapse(), by=CLOCK).refused(AcknowledgementCurrent, employee=EMPLOYEE)
    office.when(USE, by=SUPPORT).then(USED)
    office.clock.now = START + timedelta(31 + 14)
    office.when(USE, by=SUPPORT).refused(AcknowledgementMissing, denied("acknowledgement-missing"))
    lapsed = AcknowledgementLapsed(employee_id=EMPLOYEE, version="1", ground="new-version")  # type: ignore[arg-type]
    office.when(lapse(), by=CLOCK).then(lapsed)
    office.when(lapse(), by=CLOCK).refused(AcknowledgementMissing)
    office.given(acknowledge("2"), by=SUPPORT)
    office.when(USE, by=SUPPORT).then(USED)


@pytest.mark.rule("acknowledgement-lapses-after-grace")
def test_a_row_of_new_versions_does_not_prolong_the_grace(office: Bench) -> None:
    at_work(office).given(procedure("2", effective_at=START + timedelta(31)))
    office.given(procedure("3", effective_at=START + timedelta(40)))
    office.clock.now = START + timedelta(31 + 14)
    office.when(USE, by=SUPPORT).refused(AcknowledgementMissing, denied("acknowledgement-missing"))


@pytest.mark.rule("acknowledgement-lapses-after-grace")
def test_the_officer_ends_an_acknowledgement_at_any_time(office: Bench) -> None:
    office.when(lapse()).refused(EmployeeUnknown)
    at_work(office).given(lapse(ground="under-investigation"))
    office.when(USE, by=SUPPORT).refused(AcknowledgementMissing, denied("acknowledgement-missing"))


@pytest.mark.rule("offboarding-ends-access")
def test_offboarding_ends_access_at_once_and_coming_back_needs_a_new_acknowledgement(office: Bench) -> None:
    at_work(office)
    office.when(offboard(), by=SUPPORT).refused(RoleMissing)
    office.when(offboard()).then(EmployeeOffboarded(employee_id=EMPLOYEE))
    office.when(USE, by=SUPPORT).refused(EmployeeUnknown, denied("employee-unknown"))
    office.when(offboard()).refused(EmployeeUnknown)
    office.given(onboard())
    office.when(USE, by=SUPPORT).refused(AcknowledgementMissing, denied("acknowledgement-missing"))


@pytest.mark.rule("violations-are-the-officers")
def test_a_violation_is_sealed_with_whom_it_is_about(office: Bench) -> None:
    done = office.when(report(details="Looked up a neighbour"), by=SUPPORT)
    done.then(
        ViolationReported(
            violation_id=VIOLATION,
            category="curiosity",  # type: ignore[arg-type]
            employee=EMPLOYEE,
            details="Looked up a neighbour",
        )
    )
    entry = office.ledger.entry(done.before)
    assert b"neighbour" not in entry
    (recorded,) = office.ledger.read(after=done.before)
    assert not [tag for tag in recorded.tags if tag.startswith("employee:")]


@pytest.mark.rule("violations-are-the-officers")
def test_the_officer_resolves_an_open_violation_once(office: Bench) -> None:
    office.when(resolve()).refused(ViolationUnknown, violation=VIOLATION)
    office.when(report(details=""), by=SUPPORT).refused(Invalid, field="details")
    office.given(report())
    office.when(report()).refused(ViolationExists, violation=VIOLATION)
    office.when(resolve(), by=SUPPORT).refused(RoleMissing, needed="officer")
    office.when(resolve(details="")).refused(Invalid, field="details")
    office.when(resolve()).then(
        ViolationResolved(violation_id=VIOLATION, outcome="warned", details="Talked to")  # type: ignore[arg-type]
    )
    office.when(resolve()).refused(ViolationUnknown)


@pytest.mark.rule("violation-texts-expire")
def test_what_is_written_about_a_violation_is_erased_when_its_limitation_period_is_over(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=default_policy_text()), report())
    first = bench.ledger.size() - 1
    bench.when(expire()).refused(ViolationUnknown, violation=VIOLATION)
    bench.given(resolve())
    bench.when(expire()).refused(RetentionRuns)
    bench.clock.forward(days=3 * 366)
    with open_projections(bench.ledger, bench.directory / PROJECTIONS_FILE) as projections:
        done = run_duties(projections, bench.ledger, bench.clock.now).done
        assert [(one.duty, one.command) for one in done] == [("violation-expiry", "expire-violation")]
        assert not run_duties(projections, bench.ledger, bench.clock.now).done
        (violation,) = projections.violations(OFFICER)
    assert {violation.employee, violation.details, violation.resolution} == {Withheld.ERASED}
    assert bench.ledger.open(first).details is Withheld.ERASED  # type: ignore[attr-defined]
