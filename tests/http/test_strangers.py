"""A client user names people in orders and mandates: whom another client entered is not there, nor are strangers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from ledger.commands import GiveMandate
from ledger.events import AccessRefused
from ledger.vocabulary import MandateId, Reference, Role, SubjectId, new_id
from tests.http.office import Office

CONTENT: dict[str, Any] = {"channel": "software", "media_type": "application/xml", "content": "PGEvPg=="}


def naming(office: Office, subject: SubjectId) -> Mapping[str, dict[str, Any]]:
    """Return every command by which a client user names a person beside what is the client's own."""
    now = datetime.now(UTC).isoformat()
    new = {"client_id": office.company, "subject_id": subject}
    there = {"order_id": office.peeter_order, "subject_id": subject}
    return {
        "record-order": {**new, **CONTENT, "order_id": new_id(), "terms_version": "2026-1", "received_at": now},
        "give-mandate": {**new, "mandate_id": new_id(), "evidence": "E-1"},
        "amend-order": {**there, **CONTENT, "received_at": now},
        "dispute-order": {**there, "case_id": new_id(), "ground": "not-done"},
    }


@pytest.mark.parametrize("name", ["record-order", "give-mandate", "amend-order", "dispute-order"])
def test_nothing_is_written_about_somebody_of_another_client(office: Office, name: str) -> None:
    before, looks = office.ledger.size(), office.access_size
    answer = office.post(Role.CLIENT_USER, name, naming(office, office.other)[name])
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert office.ledger.size() == before
    (refused,) = [one.event for one in office.access_since(looks)]
    assert isinstance(refused, AccessRefused)


def test_an_uploaded_order_names_nobody_of_another_client(office: Office) -> None:
    about = {"client_id": office.company, "subject_id": office.other}
    answer = office.ask(Role.CLIENT_USER, "POST", "/v1/orders", params=about, content=b"<order/>")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("name", ["amend-order", "dispute-order"])
def test_an_order_concerns_whoever_gave_it_or_may_give_others(office: Office, name: str) -> None:
    """Whom no client entered is a stranger to another's order, until the client says that they may order."""
    assert office.post(Role.CLIENT_USER, name, naming(office, office.mari)[name]).status_code == 404
    assert office.post(Role.CLIENT_USER, name, naming(office, office.peeter)[name]).status_code == 201
    mandate = MandateId(new_id())
    office.record(
        GiveMandate(
            mandate_id=mandate, client_id=office.company, subject_id=office.mari, evidence=Reference("E-1")
        )
    )  # fmt: skip
    assert office.post(Role.CLIENT_USER, name, naming(office, office.mari)[name]).status_code == 201
    ended = {"mandate_id": mandate, "client_id": office.company, "subject_id": office.mari, "reason": "ended"}
    assert office.post(Role.CLIENT_USER, "revoke-mandate", ended).status_code == 201


@pytest.mark.parametrize("name", ["record-order", "give-mandate"])
def test_whom_nobody_entered_may_be_named(office: Office, name: str) -> None:
    assert office.post(Role.CLIENT_USER, name, naming(office, office.mari)[name]).status_code == 201


def test_a_message_of_one_neither_tells_of_nor_stops_that_of_another(office: Office) -> None:
    """A Message-ID is the sender's to choose: the same one of another client is another order."""
    mail = b"From: a@example.com\r\nMessage-ID: <1@example.com>\r\nSubject: x\r\n\r\nbuy"
    others = office.token(Role.CLIENT_USER, new_id(), office.other_company)

    def sent(who: Role | str, client: str, subject: str) -> httpx.Response:
        return office.ask(
            who, "POST", "/v1/orders", params={"client_id": client, "subject_id": subject, "channel": "email"},
            content=mail, headers={"Content-Type": "message/rfc822"},
        )  # fmt: skip

    for who, client, subject in (
        (Role.CLIENT_USER, office.company, office.peeter), (others, office.other_company, office.other),
        (Role.SUBJECT, office.company, office.mari),
    ):  # fmt: skip
        # Whoever runs the mailbox takes mail in: nobody else can occupy a Message-ID, or ask whether it is known.
        answer = sent(who, client, subject)
        assert (answer.status_code, answer.json()["field"]) == (400, "channel")
    for again in (False, True):
        answer = sent(Role.SERVICE, office.company, office.peeter)
        assert (answer.status_code, answer.json()["again"]) == (200 if again else 201, again)
