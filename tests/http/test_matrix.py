"""The permission matrix: every operation × every role × own, another's, nobody's; each refused attempt is recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest

from api.http.operation import NDJSON, OPERATIONS, Operation
from api.http.permissions import Grant, Permissions
from ledger.events import AccessRefused
from ledger.vocabulary import Role
from tests.http import permissions_document
from tests.http.cells import WHOSE, Target, ask, expected_grants, in_order, members_of, names_somebody, target
from tests.http.office import Office

REFUSED = {"forbidden": 403, "own-access": 403, "not-found": 404}


def expected(grant: Grant, whose: str, operation: Operation) -> str | None:
    """Return the code with which the matrix refuses a cell, None where it lets pass."""
    if grant is Grant.NONE:
        return "forbidden"
    if grant is Grant.OWN and whose != "own":
        return "not-found"
    return "own-access" if grant is Grant.OTHERS and whose == "own" else None


def try_cells(office: Office, role: Role, operations: Sequence[Operation], tried: Counter[str]) -> list[str]:
    """Try the cells of a role; return what is not as the matrix says."""
    grants = expected_grants()
    wrong: list[str] = []
    for operation in operations:
        missing: list[bytes] = []
        for whose in WHOSE:
            about, before = target(office, role, whose), office.access_size
            answer = ask(office, operation, role, about)
            code = answer.json().get("code") if "problem" in answer.headers["content-type"] else None
            wanted = expected(grants[operation.id][role], whose, operation)
            cell = f"{operation.id} × {role} × {whose}: {answer.status_code} {code}, wanted {wanted}"
            tried[wanted or "let pass"] += 1
            if answer.status_code >= 500:
                wrong.append(cell)
            if wanted is None:
                # What the rules say then is theirs: but nobody is turned away as a stranger.
                if answer.status_code == 401 or code in ("forbidden", "not-found"):
                    wrong.append(cell)
                continue
            if (answer.status_code, code) != (REFUSED[wanted], wanted):
                wrong.append(cell)
            if whose != "own":
                missing.append(answer.content)
            if not is_recorded(office, operation, role, about, wanted, before):
                wrong.append(f"{cell}: the attempt is not in the access log")
        if len(set(missing)) > 1:
            wrong.append(f"{operation.id} × {role}: what is another's is told from what is not there")
    return wrong


def is_recorded(office: Office, operation: Operation, role: Role, about: Target, code: str, before: int) -> bool:
    events = [one.event for one in office.access_since(before) if isinstance(one.event, AccessRefused)]
    if len(events) != 1:
        return False
    (event,) = events
    # Who may not do it at all is turned away before what it is about is read.
    named = event.subjects in ((), (about.subject_id,))
    return named and (event.operation, event.by, event.reason) == (operation.id, office.actor(role), code)


def test_every_cell_of_the_matrix_is_as_its_file_says(office: Office) -> None:
    tried: Counter[str] = Counter()
    wrong = [line for role in Role for line in try_cells(office, role, in_order(), tried)]
    assert not wrong, "\n".join(wrong)
    assert tried.total() == len(OPERATIONS) * len(Role) * len(WHOSE), tried
    assert min(tried[code] for code in (*REFUSED, "let pass")) > 3


@pytest.mark.parametrize(
    ("name", "role", "cells"),
    [
        ("read-subject", Role.AUDITOR, "subject=own client-user=own support officer lawyer auditor service"),
        ("read-order", Role.CLIENT_USER, "subject=own client-user support officer lawyer service"),
        ("who-looked", Role.OFFICER, "subject=own officer auditor"),
        ("give-consent", Role.SUBJECT, "support officer service"),
    ],
)
def test_a_cell_that_is_another_than_its_file_says_is_found(
    office: Office, monkeypatch: pytest.MonkeyPatch, name: str, role: Role, cells: str
) -> None:
    """The check above must be able to fail."""
    rows = {
        row: " ".join(f"{one}={grant}" for one, grant in grants.items() if grant is not Grant.NONE)
        for row, grants in expected_grants().items()
    } | {name: cells}
    text = "[all]\n" + "\n".join(f'{row} = "{text}"' for row, text in rows.items())
    monkeypatch.setattr(office.service, "permissions", Permissions(text, OPERATIONS))
    some = [OPERATIONS[one] for one in (name, "list-consents", "list-client-orders", "place-hold", "read-person")]
    wrong = try_cells(office, role, some, Counter())
    assert wrong
    assert all(line.startswith(f"{name} × {role}") for line in wrong), wrong


def test_whoever_may_do_only_with_their_own_says_whose(office: Office) -> None:
    grants = expected_grants()
    limited = {name for name, row in grants.items() if {Grant.OWN, Grant.OTHERS} & set(row.values())}
    assert limited
    assert not [name for name in limited if not names_somebody(OPERATIONS[name])]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic dTpw"])
def test_nobody_without_a_token_is_let_in_anywhere(office: Office, header: str | None) -> None:
    about, before = target(office, Role.SUBJECT, "own"), office.ledger.size()
    for operation in in_order():
        answer = ask(office, operation, None, about, {} if header is None else {"Authorization": header})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), operation.id
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert office.ledger.size() == before


@pytest.mark.parametrize("role", Role)
def test_a_line_of_a_batch_may_do_no_more_than_the_command_alone(office: Office, role: Role) -> None:
    grants = expected_grants()
    cells = [
        (one, whose, members_of(one, target(office, role, whose)))
        for one in in_order() if one.command is not None
        for whose in WHOSE
    ]  # fmt: skip
    lines = b"".join(msgspec.json.encode({"command": one.id, **members}) + b"\n" for one, _, members in cells)
    before = office.access_size
    answer = office.ask(role, "POST", "/v1/batch", content=lines, headers={"Content-Type": NDJSON})
    if grants["batch"][role] is Grant.NONE:
        assert answer.status_code == 403
        return
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["line"] for one in answers] == list(range(1, len(cells) + 1))
    refused = 0
    for (operation, whose, _), found in zip(cells, answers, strict=True):
        code = found.get("problem", {}).get("code")
        wanted = expected(grants[operation.id][role], whose, operation)
        refused += wanted is not None
        assert code == wanted if wanted else code not in REFUSED, (operation.id, whose, found)
    recorded = [one for one in office.access_since(before) if isinstance(one.event, AccessRefused)]
    assert len(recorded) == refused


def test_the_document_is_what_the_matrix_says() -> None:
    assert permissions_document.FILE.read_text(encoding="utf-8") == permissions_document.current(), "run: make rules"


@pytest.mark.parametrize(
    "name", ["record-read", "record-refused-access", "flag-reading", "reveal-actor", "review-flag"]
)
def test_the_access_log_is_not_written_by_a_batch(office: Office, name: str) -> None:
    members = {"command": name, "operation": "read-subject", "door": "http", "subjects": [], "records": 1, "items": 1}
    before = office.ledger.size(), office.access_size
    answer = office.ask(Role.OFFICER, "POST", "/v1/batch", json=members, headers={"Content-Type": NDJSON})
    assert answer.json()["problem"]["code"] == "invalid"
    assert (office.ledger.size(), office.access_size) == before
    alone = office.post(Role.OFFICER, name, {})
    assert (alone.status_code, alone.json()["code"]) == (404, "not-found")
