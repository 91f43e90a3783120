"""Waiting holds nobody up: what is not recorded is refused at once, and many who wait leave room for others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from api.http.parameters import MAX_NUMBER, Cursor
from ledger.vocabulary import Role, new_id
from tests.http.office import Office

MANY = 40


@pytest.mark.parametrize("name", ["min_position", "as_of", "cursor"])
def test_a_state_that_there_is_not_yet_is_refused_at_once(office: Office, name: str) -> None:
    beyond = office.ledger.size() + 1
    for position in (beyond, MAX_NUMBER):
        value = Cursor(position, 0).encode() if name == "cursor" else position
        began = monotonic()
        answer = office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}/consents", params={name: value})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert monotonic() - began < 2
    now = office.ledger.size()
    value = Cursor(now, 0).encode() if name == "cursor" else now
    answer = office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}/consents", params={name: value})
    assert (answer.status_code, answer.json()["position"]) == (200, now)


def test_a_moment_to_come_is_refused(office: Office) -> None:
    address, tomorrow = f"/v1/subjects/{office.mari}/consents", datetime.now(UTC) + timedelta(days=1)
    answer = office.ask(Role.SUBJECT, "GET", address, params={"as_of": tomorrow.isoformat()})
    assert (answer.status_code, answer.json()["field"]) == (400, "as_of")


@pytest.mark.parametrize("wait", ["for an event", "for the projections"])
def test_many_who_wait_keep_nobody_from_being_answered(
    office: Office, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """More wait than there are threads to answer with."""
    size = office.ledger.size()
    if wait == "for an event":
        path, parameters, status = "/v1/log/events", {"from": size, "wait_s": 3}, 200
    else:
        monkeypatch.setattr(office.service.projections, "position", lambda: size - 1)
        path, parameters, status = f"/v1/subjects/{office.mari}/consents", {"min_position": size}, 503
    with ThreadPoolExecutor(MANY) as threads:
        waiting = [threads.submit(office.ask, Role.OFFICER, "GET", path, params=parameters) for _ in range(MANY)]
        for _ in range(10):
            assert office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}").status_code == 200
        assert not any(one.done() for one in waiting), "others were answered while these waited"
        assert {one.result().status_code for one in waiting} == {status}


def test_an_event_that_is_waited_for_comes(office: Office) -> None:
    size = office.ledger.size()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(office.ask, Role.OFFICER, "GET", "/v1/log/events", params={"from": size, "wait_s": 20})
        assert office.post(
            Role.SUBJECT, "withdraw-consent",
            {"consent_id": office.consent, "subject_id": office.mari, "channel": "api"},
        ).status_code == 201  # fmt: skip
        assert waiting.result().text.count("\n") >= 1


@pytest.mark.parametrize("seconds", ["21", "30", "1e3", "-1"])
def test_nobody_waits_longer_than_a_request_may_take(office: Office, seconds: str) -> None:
    answer = office.ask(Role.OFFICER, "GET", "/v1/log/events", params={"wait_s": seconds})
    assert (answer.status_code, answer.json()["field"]) == (400, "wait_s")


def test_one_credential_is_sent(office: Office) -> None:
    one = ("Authorization", f"Bearer {office.tokens[Role.SUBJECT]}")
    for other in (one, ("authorization", "Bearer x"), ("Authorization", "Basic dTpw")):
        for headers in ([one, other], [other, one]):
            answer = office.client.request("GET", f"/v1/subjects/{office.mari}", headers=headers)
            assert (answer.status_code, answer.json()["reason"]) == (401, "credential-repeated")


@pytest.mark.parametrize("name", ["Purpose", "Case-Reference"])
def test_what_is_stated_is_stated_once(office: Office, name: str) -> None:
    headers = [
        ("Authorization", f"Bearer {office.tokens[Role.OFFICER]}"), ("Purpose", "contract"),
        ("Case-Reference", "C-1"), (name, "contract"),
    ]  # fmt: skip
    answer = office.client.request("GET", f"/v1/subjects/{office.mari}", headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (400, name.lower())


def test_a_command_has_one_key(office: Office) -> None:
    before = office.ledger.size()
    headers = [
        ("Authorization", f"Bearer {office.tokens[Role.SERVICE]}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b"),
    ]  # fmt: skip
    body = {"subject_id": new_id(), "role": "controller"}
    answer = office.client.request("POST", "/v1/commands/register-subject", headers=headers, json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, "idempotency-key")
    assert office.ledger.size() == before
