"""The outcome of a batch is as if each line had waited for the one before, also where that decides who may."""

from __future__ import annotations

import json
from typing import Any

from api.http.operation import NDJSON
from ledger.vocabulary import ActorId, Role, new_id
from tests.http.office import Office


def batch(office: Office, who: Role | str, lines: list[dict[str, Any]]) -> list[str]:
    """Return the code of each line, `recorded` where there is a receipt."""
    content = "".join(json.dumps(one) + "\n" for one in lines).encode()
    answer = office.ask(who, "POST", "/v1/batch", content=content, headers={"Content-Type": NDJSON})
    assert answer.status_code == 200, answer.text
    found = [json.loads(line) for line in answer.text.splitlines()]
    return ["recorded" if "receipt" in one else one["problem"]["code"] for one in found]


def collect(subject: str) -> dict[str, Any]:
    return {
        "command": "collect-data", "subject_id": subject, "purpose": "contract", "basis": "contract",
        "source": "subject", "values": {"given-name": "Peeter"},
    }  # fmt: skip


def test_whom_a_client_enters_is_theirs_in_the_next_line(office: Office) -> None:
    entered, unknown = new_id(), new_id()
    register = {
        "command": "register-subject", "subject_id": entered, "role": "processor", "client_id": office.company,
    }  # fmt: skip
    lines = [collect(entered), register, collect(entered), collect(unknown), collect(office.other), collect(entered)]
    found = batch(office, Role.CLIENT_USER, lines)
    assert found == ["not-found", "recorded", "recorded", "not-found", "not-found", "recorded"]


def test_whoever_acknowledges_may_go_on_in_the_next_line(office: Office) -> None:
    employee = ActorId(new_id())
    office.employ(Role.SUPPORT, employee, acknowledged=False)
    acknowledge = {
        "command": "acknowledge-confidentiality", "employee_id": employee, "version": "2026-1", "language": "et",
        "text_sha256": office.text_sha256,
    }  # fmt: skip
    person = {"command": "register-subject", "subject_id": new_id(), "role": "controller"}
    again = person | {"subject_id": new_id()}
    found = batch(office, office.token(Role.SUPPORT, employee), [person, acknowledge, again])
    assert found == ["acknowledgement-missing", "recorded", "recorded"]
