"""Personal values stand where they belong and nowhere else; nothing that a spreadsheet would calculate is served."""

from __future__ import annotations

import base64
import csv
import io
import json
import logging
from urllib.parse import quote

import pytest

from api.http.operation import OPERATIONS
from ledger.vocabulary import Role, new_id
from tests.http.cells import in_order, path_of, target
from tests.http.office import CANARIES, ORDER_CANARY, STATED, Office

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
# What a cell would start with, also behind blanks and quotes.
CELLS = [
    '=HYPERLINK("http://127.0.0.1/","x")', "+372 5555", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", "  =1+1", "\n=1+1",
    '"=1+1', "=cmd|' /C calc'!A0",
]  # fmt: skip


def with_csv() -> list[str]:
    return [one.id for one in in_order() if any(parameter.name == "format" for parameter in one.parameters)]


@pytest.fixture(scope="module")
def filled(office: Office) -> Office:
    """An office with formulas in every text that a list may show."""
    for value in CELLS:
        values = {"given-name": value, "email": value}
        body = {"subject_id": office.mari, "purpose": "contract", "basis": "contract", "source": "subject"}
        assert office.post(Role.SERVICE, "collect-data", {**body, "values": values}).status_code in (201, 400)
        office.post(
            Role.OFFICER, "register-recipient",
            {
                "recipient_id": new_id(), "category": "other", "country": "EE", "name": value,
                "valid_from": "2026-01-01T00:00:00Z", "valid_to": "2027-01-01T00:00:00Z",
            },
        )  # fmt: skip
        office.post(
            Role.OFFICER, "report-violation",
            {"violation_id": new_id(), "employee_id": new_id(), "category": "curiosity", "details": value},
        )  # fmt: skip
        office.post(
            Role.OFFICER, "suspect-breach",
            {
                "breach_id": new_id(), "natures": ["integrity"], "suspected_at": "2026-11-22T10:00:00Z",
                "facts": value,
            },
        )  # fmt: skip
    office.service.projections.catch_up()
    return office


@pytest.mark.parametrize("name", with_csv())
def test_no_cell_is_a_formula(filled: Office, name: str) -> None:
    operation = OPERATIONS[name]
    role = Role.SUBJECT if "subject_id" in operation.path else Role.OFFICER
    role = role if filled.service.permissions.of(name, role) != "none" else Role.SERVICE
    path, parameters = path_of(filled, operation, target(filled, Role.SUBJECT, "own"))
    extra = {"show": "true"} if name == "list-breaches" else {}
    answer = filled.ask(role, "GET", path, params={**parameters, **extra, "format": "csv"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith(FORMULAS) or cell.lstrip().startswith(FORMULAS)]
    assert all(len(row) == len(rows[0]) for row in rows)
    if name in ("export-subject", "list-recipients", "list-violations", "list-breaches", "read-subject-history"):
        assert any("=cmd" in cell for cell in cells), "the formulas are there, as text"


def spellings(value: str) -> list[bytes]:
    """Return how a value could stand somewhere: in clear, in an address, in JSON, in base64."""
    raw = value.encode()
    return [raw, quote(value, safe="").encode(), json.dumps(value)[1:-1].encode(), base64.b64encode(raw)]


def everything(office: Office) -> list[bytes]:
    return [form for value in (*CANARIES.values(), ORDER_CANARY.decode()) for form in spellings(value)]


def test_personal_values_stand_in_no_log_error_metric_address_or_entry(
    office: Office, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every operation is asked with the values in its body; what is left behind is searched for each of them."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    problems = [_send_values(office), _ask_wrongly(office)]
    left = {
        "logs": caplog.text.encode() + b"".join(str(vars(one)).encode() for one in caplog.records),
        "output": "".join(capfd.readouterr()).encode(),
        "problems": b"".join(problems),
        "metrics": office.ask(None, "GET", "/metrics").content,
        "health": office.ask(None, "GET", "/health/ledger").content,
        "description": office.ask(None, "GET", "/v1/openapi.json").content,
        "entries": b"".join(one.entry for one in office.ledger.engine.entries()),
        "access entries": b"".join(one.entry for one in office.service.access.ledger.engine.entries()),
    }
    assert left["problems"]
    assert len(left["entries"]) > 10_000
    found = [(place, form) for place, text in left.items() for form in everything(office) if form in text]
    assert not found


def test_what_is_searched_for_would_be_found(office: Office) -> None:
    """The search above must be able to fail."""
    read = office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}").content
    assert {form for form in everything(office) if form in read}
    order = office.ask(Role.SUBJECT, "GET", f"/v1/orders/{office.mari_order}").content
    assert base64.b64encode(ORDER_CANARY) in order


def _send_values(office: Office) -> bytes:
    """Send personal values in every way that is refused, and some that are not; return what was answered."""
    answers = []
    for value in CANARIES.values():
        body = {"subject_id": office.mari, "field": "email", "value": value, "expected_version": 1, "channel": "api"}
        answers += [
            office.post(Role.SUBJECT, "correct-data", body),
            office.post(Role.SUBJECT, "correct-data", {**body, value: value}),
            office.post(Role.SUBJECT, "correct-data", {**body, "field": value}),
            office.post(Role.SUBJECT, "correct-data", {**body, "channel": value}),
            office.post(Role.SUBJECT, "correct-data", {**body, "expected_version": value}),
            office.post(Role.SUBJECT, "correct-data", body, Idempotency_Key=quote(value)),
            office.post(Role.SERVICE, "register-subject", {"subject_id": value}),
            office.ask(Role.SERVICE, "POST", "/v1/subjects/lookup", json={"kind": "email", "value": "\u202e" + value}),
            office.ask(Role.SERVICE, "POST", "/v1/subjects/lookup", json={"kind": value, "value": value}),
            office.ask(
                Role.SERVICE, "POST", "/v1/batch", content=json.dumps({"command": value, value: value}),
                headers={"Content-Type": "application/x-ndjson"},
            ),
        ]  # fmt: skip
    return b"".join(one.content for one in answers)


def _ask_wrongly(office: Office) -> bytes:
    """Put personal values where none belongs: into addresses, parameters and headers."""
    answers = []
    for value in CANARIES.values():
        there = quote(value, safe="")
        for path in (
            f"/v1/{there}", f"/v1/subjects/{there}", f"/v1/subjects/{office.mari}/fields/{there}",
            f"/v1/subjects/{office.mari}?{there}={there}", f"/v1/subjects/{office.mari}/consents?cursor={there}",
            f"/v1/subjects/{office.mari}/consents?as_of={there}", f"/v1/documents/{there}/text",
            f"/v1/log/tile/{there}", f"/v1/evidence?tag=email:{there}", f"/v1/orders/{there}/content",
        ):  # fmt: skip
            answers.append(office.ask(Role.SUBJECT, "GET", path))
        # A case reference is recorded: whoever states one says that it is public.
        for name in ("Purpose", "Idempotency-Key", "X-Request-Id", "If-Match", "Origin", "Accept"):
            sent = {**STATED, name: there}
            answers.append(office.ask(office.tokens[Role.SUPPORT], "GET", f"/v1/subjects/{office.mari}", headers=sent))
        answers.append(office.ask(there, "GET", f"/v1/subjects/{office.mari}"))
    return b"".join(one.content + str(one.headers).encode() for one in answers if one.status_code >= 400)
