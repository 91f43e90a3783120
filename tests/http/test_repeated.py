"""The same request many times at once: one event and one answer; another body is refused; keys are their caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ledger.vocabulary import ActorId, Role, new_id
from tests.http.office import CANARIES, Office

TIMES = 50


def at_once(ask: Callable[[], httpx.Response], times: int = TIMES) -> list[httpx.Response]:
    with ThreadPoolExecutor(times) as threads:
        return [one.result() for one in [threads.submit(ask) for _ in range(times)]]


def a_consent(office: Office, **changes: str) -> dict[str, object]:
    return {
        "consent_id": new_id(), "subject_id": office.mari, "purpose": "e-invoice-delivery", "fields": ["email"],
        "text_sha256": office.consent_sha256, "language": "et", "channel": "software",
        "recipient_id": office.recipient, **changes,
    }  # fmt: skip


def test_fifty_of_one_request_are_one_event_and_one_answer(office: Office) -> None:
    members, before = a_consent(office), office.ledger.size()
    answers = at_once(lambda: office.post(Role.SUBJECT, "give-consent", members, Idempotency_Key="k-1"))
    assert Counter(one.status_code for one in answers) == {201: TIMES}
    assert len({one.content for one in answers}) == 1
    assert office.ledger.size() == before + 1
    again = office.post(Role.SUBJECT, "give-consent", members, Idempotency_Key="k-1")
    assert again.content == answers[0].content


def test_without_a_key_one_of_fifty_wins(office: Office) -> None:
    """What the test above would see if keys were not heeded."""
    members, before = a_consent(office), office.ledger.size()
    answers = at_once(lambda: office.post(Role.SUBJECT, "give-consent", members))
    assert Counter(one.status_code for one in answers) == {201: 1, 409: TIMES - 1}
    assert office.ledger.size() == before + 1


def test_another_body_under_the_same_key_is_refused(office: Office) -> None:
    bodies = [a_consent(office) for _ in range(TIMES)]
    before = office.ledger.size()
    with ThreadPoolExecutor(TIMES) as threads:
        answers = list(
            threads.map(lambda one: office.post(Role.SUBJECT, "give-consent", one, Idempotency_Key="k-2"), bodies)
        )
    assert Counter(one.status_code for one in answers) == {201: 1, 422: TIMES - 1}
    assert {one.json()["code"] for one in answers if one.status_code == 422} == {"idempotency-mismatch"}
    assert office.ledger.size() == before + 1


def test_a_refusal_under_a_key_leaves_the_key_free(office: Office) -> None:
    wrong = a_consent(office, subject_id=new_id())
    assert office.post(Role.SERVICE, "give-consent", wrong, Idempotency_Key="k-3").status_code == 404
    assert office.post(Role.SERVICE, "give-consent", a_consent(office), Idempotency_Key="k-3").status_code == 201


def test_two_callers_with_one_key_asked_for_two_things(office: Office) -> None:
    before = office.ledger.size()
    for role in (Role.SUBJECT, Role.SERVICE, Role.SUPPORT):
        answer = office.post(role, "give-consent", a_consent(office), Idempotency_Key="k-4")
        assert answer.status_code == 201, answer.text
    assert office.ledger.size() == before + 3


def test_a_key_cannot_be_made_to_be_anothers(office: Office) -> None:
    """A key is kept with who chose it: what reads like both together is still one's own."""
    first = office.post(Role.SUBJECT, "give-consent", a_consent(office), Idempotency_Key="k-5")
    assert first.status_code == 201
    stolen = office.post(Role.SERVICE, "give-consent", a_consent(office), Idempotency_Key=f"{office.mari}:k-5")
    assert stolen.status_code == 201
    assert stolen.content != first.content
    token = office.token(Role.SUPPORT, ActorId(office.actors[Role.SERVICE]))
    answer = office.post(token, "give-consent", a_consent(office), Idempotency_Key=f"{office.mari}:k-5")
    assert answer.status_code in (403, 422), "the same id in another role is the same caller, and another content"


def test_an_uploaded_order_is_one_order_also_when_fifty_are_sent(office: Office) -> None:
    before = office.ledger.size()
    parameters = {"client_id": office.company, "subject_id": office.mari}
    answers = at_once(
        lambda: office.ask(
            Role.SUBJECT, "POST", "/v1/orders", params=parameters, content=b"<order>1</order>",
            headers={"Idempotency-Key": "o-1", "Content-Type": "application/xml"},
        )
    )  # fmt: skip
    assert {one.status_code for one in answers} <= {200, 201}, [one.text for one in answers if one.status_code > 201]
    assert len({one.json()["order_id"] for one in answers}) == 1
    assert len({str(one.json()["receipt"]) for one in answers}) == 1
    assert office.ledger.size() == before + 1
    other = office.ask(
        Role.SUBJECT, "POST", "/v1/orders", params=parameters, content=b"<order>2</order>",
        headers={"Idempotency-Key": "o-1", "Content-Type": "application/xml"},
    )  # fmt: skip
    assert other.status_code in (409, 422)


def test_a_mail_that_comes_fifty_times_is_one_order(office: Office) -> None:
    before = office.ledger.size()
    mail = b"Message-ID: <once@example.com>\r\nSubject: order\r\n\r\nplease\r\n"
    answers = at_once(
        lambda: office.ask(
            Role.SERVICE, "POST", "/v1/orders/email", content=mail, headers={"Content-Type": "message/rfc822"},
            params={"client_id": office.company, "subject_id": office.mari},
        )
    )  # fmt: skip
    assert {one.status_code for one in answers} <= {200, 201}
    assert len({one.json()["order_id"] for one in answers}) == 1
    assert office.ledger.size() - before in (1, 2), "recorded once, and perhaps put into quarantine with it"


def test_fifty_corrections_of_one_version_change_it_once(office: Office) -> None:
    path = f"/v1/subjects/{office.mari}/fields/given-name"
    read = office.ask(Role.SUBJECT, "GET", path)
    etag, before = read.headers["etag"], office.ledger.size()
    answers = at_once(
        lambda: office.ask(Role.SUBJECT, "PUT", path, json={"value": new_id()}, headers={"If-Match": etag})
    )
    assert Counter(one.status_code for one in answers) == {201: 1, 412: TIMES - 1}, answers[0].text
    assert office.ledger.size() == before + 1
    assert CANARIES["given-name"] not in "".join(one.text for one in answers)


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(office: Office, key: str) -> None:
    before = office.ledger.size()
    answer = office.post(Role.SUBJECT, "give-consent", a_consent(office), Idempotency_Key=key)
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
    assert office.ledger.size() == before
