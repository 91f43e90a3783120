"""Mass assignment: members, parameters and ids that nobody asked for are refused, and change nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.http.operation import NDJSON
from ledger.vocabulary import ActorId, Role, new_id
from tests.http.cells import allowed_target, body_of, commands, in_order, members, path_of, queries, send, target, who
from tests.http.office import CANARY, STATED, Office

EXTRA: dict[str, Any] = {
    "by": {"id": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11", "role": "officer"},
    "actor": {"id": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11", "role": "officer"},
    "actor_id": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11",
    "index": 0,
    "position": 1,
    "recorded_at": "2020-01-01T00:00:00Z",
    "tags": ["subject:0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11"],
    "v": 1,
    "ledger": CANARY,
    "prev": None,
    "sealed": {},
    "approved": True,
    "is_admin": True,
    "reason_": CANARY,
    "idempotency_key": CANARY,
    "__class__": CANARY,
    "__proto__": {"role": "officer"},
    "constructor": {"prototype": {}},
    "$ref": "#/",
    "type": CANARY,
    "command": "adopt-policy",
}
# Members that some commands do have: each is extra for all others.
SOMETIMES = {
    "role": "officer", "client_id": new_id(), "employee_id": new_id(), "mandate_id": new_id(), "consent_id": new_id(),
    "subject_id": new_id(), "outcome": "erased", "verification": "login", "expires_at": "2030-01-01T00:00:00Z",
    "received_at": "2020-01-01T00:00:00Z", "evidence": "C-1", "fields": ["email"],
}  # fmt: skip


def test_members_that_nobody_asked_for_are_refused_everywhere(office: Office) -> None:
    before, tried = office.ledger.size(), 0
    for operation in (*commands(), *queries()):
        body = members(office, operation)
        struct = operation.body.struct if operation.body else None
        assert struct is not None
        for name, value in (EXTRA | SOMETIMES).items():
            if name in struct.__struct_fields__:
                continue
            answer = send(office, operation, json.dumps({**body, name: value}).encode())
            assert answer.status_code in (400, 404), (operation.id, name, answer.text)
            assert answer.json()["code"] in ("invalid", "not-found"), (operation.id, name)
            assert CANARY not in answer.text
            tried += 1
    assert office.ledger.size() == before
    assert tried > 2_000


def test_a_nested_member_that_nobody_asked_for_is_refused(office: Office) -> None:
    before = office.ledger.size()
    decision = {"retention_class": "identity", "outcome": "erased", "ground": "withdrawn", "by": CANARY}
    transaction = {"reference": "PT1", "result_digest": office.text_sha256, "recorded_at": CANARY}
    for role, name, body in (
        (Role.OFFICER, "decide-erasure", {"subject_id": office.mari, "decisions": [decision]}),
        (Role.SERVICE, "execute-order", {"order_id": office.mari_order, "transactions": [transaction]}),
    ):
        answer = office.post(role, name, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text
        assert CANARY not in answer.text
    assert office.ledger.size() == before


def test_lines_of_a_batch_have_no_extra_members_either(office: Office) -> None:
    before = office.ledger.size()
    good = {"command": "register-subject", "subject_id": new_id()}
    lines = [{**good, name: value} for name, value in EXTRA.items() if name not in ("command", "idempotency_key")]
    answer = office.ask(
        Role.SERVICE, "POST", "/v1/batch", content="\n".join(map(json.dumps, lines)), headers={"Content-Type": NDJSON}
    )
    assert [json.loads(line)["problem"]["code"] for line in answer.text.splitlines()] == ["invalid"] * len(lines)
    assert CANARY not in answer.text
    assert office.ledger.size() == before


def test_parameters_that_nobody_asked_for_are_refused_everywhere(office: Office) -> None:
    before, tried = office.ledger.size(), 0
    for operation in in_order():
        token, about = office.tokens[who(operation)], allowed_target(office, operation)
        path, parameters = path_of(office, operation, about)
        for name in ("role", "actor", "subject_id", "limit", CANARY, "as_of[$gt]", "access_token"):
            if name in {one.name for one in operation.parameters}:
                continue
            more = body_of(office, operation, about)
            headers = {**STATED, **more.pop("headers", {})}
            answer = office.ask(
                token,
                operation.method,
                path,
                params={**parameters, name: CANARY},
                headers=headers,
                **more,
            )
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), (operation.id, name)
            assert CANARY not in answer.text
            tried += 1
    assert office.ledger.size() == before
    assert tried > 800


def test_a_parameter_that_stands_twice_is_refused(office: Office) -> None:
    path = f"/v1/subjects/{office.mari}/consents"
    answer = office.ask(Role.SUBJECT, "GET", path, params=[("limit", "1"), ("limit", "2")])
    assert (answer.status_code, answer.json()["field"]) == (400, "limit")


def test_who_acts_is_who_the_token_says(office: Office) -> None:
    """A command that names its own employee is not another's to send."""
    employee = ActorId(new_id())
    office.employ(Role.SUPPORT, employee, acknowledged=False)
    body = {"employee_id": employee, "version": "2026-1", "language": "et", "text_sha256": office.text_sha256}
    before = office.ledger.size()
    for role in (Role.SUPPORT, Role.OFFICER, Role.LAWYER, Role.OPERATOR):
        answer = office.post(role, "acknowledge-confidentiality", body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert office.ledger.size() == before
    use = {
        "subject_id": office.mari, "purpose": "contract", "fields": ["email"], "case_reference": "C-1",
        "employee_id": employee,
    }  # fmt: skip
    answer = office.post(Role.SUPPORT, "use-data", use)
    assert (answer.status_code, answer.json()["field"]) == (400, "employee_id")


@pytest.mark.parametrize("role", [Role.SUBJECT, Role.CLIENT_USER])
def test_nobody_says_of_their_own_order_that_the_sender_was_checked(office: Office, role: Role) -> None:
    about = target(office, role, "own")
    before = office.ledger.size()
    upload = office.ask(
        role, "POST", "/v1/orders", content=b"<order/>", headers={"Content-Type": "application/xml"},
        params={
            "client_id": about.client_id, "subject_id": about.subject_id, "channel": "email",
            "authentication": "dkim-pass",
        },
    )  # fmt: skip
    assert (upload.status_code, upload.json()["field"]) == (400, "authentication")
    command = {
        "order_id": new_id(), "client_id": about.client_id, "subject_id": about.subject_id, "channel": "email",
        "media_type": "application/xml", "content": "PG9yZGVyLz4=", "terms_version": "2026-1",
        "received_at": office.ledger.now().isoformat(), "authentication": "dkim-pass",
    }  # fmt: skip
    alone = office.post(role, "record-order", command)
    assert (alone.status_code, alone.json()["field"]) == (400, "authentication")
    assert office.ledger.size() == before
    honest = {**command, "authentication": "not-checked"}
    mail = office.post(role, "record-order", honest)
    assert (mail.status_code, mail.json()["field"]) == (400, "channel")
    honest["channel"] = "software"
    earlier = office.post(role, "record-order", {**honest, "received_at": "2026-01-01T10:00:00Z"})
    assert (earlier.status_code, earlier.json()["field"]) == (400, "received_at")
    assert office.ledger.size() == before
    without = office.post(role, "record-order", honest)
    assert without.status_code == 201, without.text
    assert office.ledger.size() == before + 1


def test_an_order_has_no_id_of_anothers(office: Office) -> None:
    """The id is the caller's to choose, as long as nobody else did."""
    before = office.ledger.size()
    about = target(office, Role.SUBJECT, "own")
    answer = office.ask(
        Role.SUBJECT, "POST", "/v1/orders", content=b"<order/>", headers={"Content-Type": "application/xml"},
        params={"client_id": about.client_id, "subject_id": about.subject_id, "order_id": office.other_order},
    )  # fmt: skip
    assert answer.status_code == 409
    assert office.ledger.size() == before
