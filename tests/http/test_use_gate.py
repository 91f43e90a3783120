"""What an employee is shown of a person passes the gate of every use, field by field: clauses 1-2, GDPR Art. 18(2)."""

from __future__ import annotations

import pytest

from ledger.commands import RegisterSubject, RestrictProcessing
from ledger.events import UseDenied
from ledger.vocabulary import Channel, RestrictionGround, RestrictionId, Role, SubjectId, Word, new_id
from tests.http.office import Office, collected

STATED = {"Purpose": "contract", "Case-Reference": "C-1"}


@pytest.fixture
def liis(office: Office) -> SubjectId:
    """Somebody with two fields, held for their contract."""
    subject = SubjectId(new_id())
    office.record(RegisterSubject(subject_id=subject))
    receipt = office.record(collected(subject, {"email": "liis@example.com", "given-name": "Liis"}))
    office.service.projections.wait_for(receipt.position)
    return subject


def shown(office: Office, subject: SubjectId, **headers: str) -> set[str]:
    state = office.ask(Role.SUPPORT, "GET", f"/v1/subjects/{subject}", headers=STATED | headers)
    history = office.ask(Role.SUPPORT, "GET", f"/v1/subjects/{subject}/history", headers=STATED | headers)
    assert (state.status_code, history.status_code) == (200, 200), state.text
    fields = set(state.json()["fields"])
    assert {one["field"] for one in history.json()["items"]} == fields, "the past is no way around"
    return fields


def test_an_employee_sees_what_the_purpose_allows(office: Office, liis: SubjectId) -> None:
    assert shown(office, liis) == {"email", "given-name"}
    assert shown(office, liis, Purpose="accounting") == set(), "collected for another purpose, and not assessed"


def test_restricted_data_is_not_shown_to_employees(office: Office, liis: SubjectId) -> None:
    command = RestrictProcessing(
        restriction_id=RestrictionId(new_id()), subject_id=liis, ground=RestrictionGround.CLAIMS,
        channel=Channel.EMAIL, fields=(Word("email"),),
    )  # fmt: skip
    office.service.projections.wait_for(office.record(command).position)
    assert shown(office, liis) == {"given-name"}
    before = office.ledger.size()
    named = office.ask(Role.SUPPORT, "GET", f"/v1/subjects/{liis}", headers=STATED, params={"field": "email"})
    assert named.json()["code"] == "restricted"
    (denied,) = [one.event for one in office.ledger.read(after=before)]
    assert isinstance(denied, UseDenied)
    assert denied.fields == ("email",)
    own = office.ask(office.token(Role.SUBJECT, liis), "GET", f"/v1/subjects/{liis}")
    assert set(own.json()["fields"]) == {"email", "given-name"}, "it is theirs to see"
