"""activities, documents, employees, violations, breaches, consent-record, audit-events on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from ledger.policy import default_policy_text
from tests.cli.conftest import Program

BREACH = "00000000-0000-4000-8000-00000000b4ea"
TEXT = "Tingimused\r\nõ"


def test_a_document_is_refused_by_rule_and_by_form(program: Program, office: Path) -> None:
    words = ("publish", "-", "--kind", "terms", "--document-version", "1", "--language", "et", "--effective")
    ran = program(*words, "2020-01-01T00:00:00Z", "--json", stdin=b"Terms")
    assert (ran.code, ran.error["evidence"]["field"]) == (1, "effective_at")
    assert program(*words, "2020-01-01", stdin=b"Terms").code == 2
    ran = program(*words, "2020-01-01T00:00:00Z", "--json", stdin=b"\xff")
    assert (ran.code, ran.error["evidence"]["field"]) == (1, "text")


@pytest.fixture
def office(program: Program, data: Path) -> Path:
    assert program("policy", "adopt", "-", "--as", "officer", stdin=default_policy_text()).code == 0
    return data


def record(program: Program, **command: object) -> None:
    ran = program("record", "-", "--as", "officer", stdin=json.dumps(command))
    assert ran.code == 0, ran.out + ran.err


def test_the_record_of_activities_as_table_csv_and_json(program: Program, office: Path) -> None:
    found = program("activities", "--json").json["activities"]
    assert {"30(1)", "30(2)"} == {one["article"] for one in found}
    rows = list(csv.DictReader(io.StringIO(program("activities", "--csv").out, newline="")))
    assert [row["activity"] for row in rows] == [one["activity"] for one in found]
    assert rows[0].keys() == found[0].keys()
    assert "customer-contract" in program("activities").out


def test_no_policy_no_record(program: Program, data: Path) -> None:
    assert program("activities").code == 1


def test_a_published_text_comes_back_to_the_byte(program: Program, office: Path) -> None:
    words = ("publish", "-", "--kind", "terms", "--document-version", "1", "--language", "et", "--effective")
    ran = program(*words, "2026-01-01T00:00:00Z", "--published", "2026-01-01T00:00:00Z", "--json", stdin=TEXT.encode())
    assert ran.json["version"] == "1"
    (found,) = program("documents", "--json").json["documents"]
    assert found["version"] == "1"
    # What runs the program here makes one line end of both; tests/projections compares the bytes.
    assert program("document-text", found["text_sha256"]).out == TEXT.replace("\r\n", "\n")
    assert program("document-text", "0" * 64).code == 1
    assert program("document-text", "x").code == 2
    subject = program("register").out.strip()
    (bound,) = program("bindings", "--subject", subject, "--at", "2026-06-01T00:00:00Z", "--json").json["bindings"]
    assert (bound["version"], bound["accepted"]) == ("1", None)


def test_formulas_in_a_register_are_text(program: Program, office: Path) -> None:
    record(
        program,
        command="suspect-breach",
        breach_id=BREACH,
        natures=["integrity"],
        suspected_at="2026-01-01T00:00:00Z",
        facts="=cmd|' /C calc'!A0",
    )
    (row,) = csv.DictReader(io.StringIO(program("breaches", "--open", "--csv").out, newline=""))
    assert row["facts"] == "'=cmd|' /C calc'!A0"
    (sealed,) = program("breaches", "--json").json["breaches"]
    assert sealed["facts"] == {"withheld": "sealed"}
    assert BREACH in program("breaches").out


def test_violations_need_the_officer(program: Program, office: Path) -> None:
    record(
        program,
        command="report-violation",
        violation_id=BREACH,
        employee_id=BREACH,
        category="curiosity",
        details="Read",
    )
    assert program("violations").code == 1
    (found,) = program("violations", "--as", "officer", "--json").json["violations"]
    assert (found["employee"], found["details"]) == (BREACH, "Read")


def test_employees_are_listed(program: Program, office: Path) -> None:
    record(program, command="onboard-employee", employee_id=BREACH, role="support")
    (found,) = program("employees", "--json").json["employees"]
    assert (found["employee_id"], found["has_access"]) == (BREACH, False)


def test_a_receipt_and_audit_events(program: Program, office: Path) -> None:
    subject = program("register").out.strip()
    record(
        program,
        command="give-consent",
        consent_id=BREACH,
        subject_id=subject,
        purpose="e-invoice-delivery",
        fields=["email"],
        text_sha256="0" * 64,
        language="et",
        channel="link",
    )
    receipt = program("consent-record", "--subject", subject, "--consent", BREACH, "--receipt").json
    assert receipt["@type"] == "dpv:ConsentReceipt"
    assert program("consent-record", "--subject", subject, "--consent", subject).code == 1
    assert program("audit-events", "--subject", subject).out == ""
    record(
        program,
        command="request-disclosure",
        disclosure_id=BREACH,
        subject_id=subject,
        recipient_id=BREACH,
        purpose="e-invoice-delivery",
        basis="consent",
        fields=["email"],
    )
    (event,) = program("audit-events", "--subject", subject).lines
    assert event["resourceType"] == "AuditEvent"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("activities", "activities"), ("documents", "documents"), ("employees", "employees"), ("breaches", "breaches"),
        ("violations --as officer", "violations"), ("requests", "requests"), ("holds", "holds"),
        ("quarantine", "orders"), ("recipients", "recipients"), ("obligations", "obligations"),
        ("owed", "owed"), ("suppression", "objections"), ("imports", "batches"), ("campaign list", "campaigns"),
        ("disclosures --subject {}", "disclosures"), ("recipients --subject {}", "recipients"),
        ("retention --subject {}", "terms"), ("bindings --subject {} --at 2026-06-01T00:00:00Z", "bindings"),
    ],
)  # fmt: skip
def test_every_register_is_a_table_csv_or_json(program: Program, office: Path, words: str, name: str) -> None:
    """An empty one too: its CSV has the header, its JSON the list."""
    asked = words.format(program("register").out.strip()).split()
    assert isinstance(program(*asked, "--json").json[name], list)
    header, *rows = csv.reader(io.StringIO(program(*asked, "--csv").out, newline=""))
    assert header
    assert all(len(row) == len(header) for row in rows)
    assert program(*asked).code == 0
    both = program(*asked, "--csv", "--json")
    assert (both.code, both.error["code"]) == (2, "usage")


def test_the_account_of_disclosures_as_csv_has_a_row_for_each_step(program: Program, office: Path) -> None:
    subject, partner, disclosure = program("register").out.strip(), BREACH, BREACH
    record(
        program, command="register-recipient", recipient_id=partner, category="other", name="=Partner OÜ",
        country="EE", contract="DPA-1", valid_from="2026-01-01T00:00:00Z",
    )  # fmt: skip
    record(
        program, command="request-disclosure", disclosure_id=disclosure, subject_id=subject, recipient_id=partner,
        purpose="e-invoice-delivery", basis="consent", fields=["email", "phone"],
    )  # fmt: skip
    ran = program("disclosures", "--subject", subject, "--csv")
    (row,) = csv.DictReader(io.StringIO(ran.out, newline=""))
    assert (row["recipient"], row["fields"], row["stage"]) == ("'=Partner OÜ", "email; phone", "requested")
    assert "=Partner OÜ" in program("disclosures", "--subject", subject).out
