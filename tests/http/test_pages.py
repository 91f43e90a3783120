"""Pages, states and versions: stable while somebody writes, whole in every form; nothing newer is overwritten."""

from __future__ import annotations

import csv
import io
import json
import threading
from typing import Any

import pytest

from ledger.vocabulary import Role, new_id
from tests.http.office import Office

MANY = 57


def collect(office: Office, subject: str, **values: Any) -> int:
    body = {"subject_id": subject, "purpose": "contract", "basis": "contract", "source": "subject", "values": values}
    answer = office.post(Role.SERVICE, "collect-data", body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["position"])


@pytest.fixture(scope="module")
def anna(office: Office) -> str:
    """Somebody with a long history."""
    subject = new_id()
    assert office.post(Role.SERVICE, "register-subject", {"subject_id": subject}).status_code == 201
    for number in range(MANY):
        position = collect(office, subject, email=f"anna{number}@example.com")
    assert office.service.projections.wait_for(position)
    return subject


def pages(office: Office, path: str, token: str, limit: int) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        asked = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = office.ask(token, "GET", path, params=asked).json()
        assert len(page["items"]) <= limit
        found.append(page)
        cursor = page.get("next_cursor")
        if cursor is None:
            return found


def test_pages_are_of_one_state_while_somebody_writes(office: Office, anna: str) -> None:
    token, path, stop = office.token(Role.SUBJECT, anna), f"/v1/subjects/{anna}/history", threading.Event()

    def write() -> None:
        while not stop.is_set():
            collect(office, anna, phone="+372 5555")

    before = office.ask(token, "GET", path, params={"limit": 1000}).json()["items"]
    size, thread = office.ledger.size(), threading.Thread(target=write)
    thread.start()
    try:
        read = [pages(office, path, token, limit) for limit in (1, 7, 1000)]
    finally:
        stop.set()
        thread.join()
    for found in read:
        items = [one for page in found for one in page["items"]]
        assert len({page["position"] for page in found}) == 1, "one state"
        assert items[: len(before)] == before, "nothing is lost or twice, whatever is written meanwhile"
        assert len({one["index"] if "index" in one else json.dumps(one, sort_keys=True) for one in items}) == len(items)
    assert len(read[0]) >= MANY
    assert office.ledger.size() > size + 2, "somebody wrote meanwhile"


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_other_forms_are_whole(office: Office, anna: str, form: str) -> None:
    token, path = office.token(Role.SUBJECT, anna), f"/v1/subjects/{anna}/history"
    state = office.ask(token, "GET", path, params={"limit": 1000}).json()
    answer = office.ask(token, "GET", path, params={"format": form, "as_of": state["position"], "limit": 1})
    assert answer.status_code == 200, answer.text
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [row["field"] for row in rows] == [one["field"] for one in state["items"]]
    else:
        assert [json.loads(line) for line in answer.text.splitlines()] == state["items"]


def test_as_of_a_position_is_what_was_known_then(office: Office, anna: str) -> None:
    token, path = office.token(Role.SUBJECT, anna), f"/v1/subjects/{anna}/fields/email"
    first = collect(office, anna, email="earlier@example.com")
    second = collect(office, anna, email="later@example.com")
    for position, email in ((first, "earlier@example.com"), (second, "later@example.com")):
        answer = office.ask(token, "GET", path, params={"as_of": position, "min_position": second})
        assert answer.json()["value"] == email
    moment = office.ask(token, "GET", path, params={"as_of": "2020-01-01T00:00:00Z"})
    assert moment.status_code == 404


def test_a_writer_reads_their_own_write(office: Office, anna: str) -> None:
    token, path = office.token(Role.SUBJECT, anna), f"/v1/subjects/{anna}/fields/email"
    for number in range(20):
        position = collect(office, anna, email=f"own{number}@example.com")
        answer = office.ask(token, "GET", path, params={"min_position": position})
        assert answer.json()["value"] == f"own{number}@example.com"


def test_who_waits_for_what_is_not_there_is_told_to_ask_again(
    office: Office, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.door.CATCH_UP_S", 0.05)
    monkeypatch.setattr("projections.Projections.position", lambda self: 0)
    params = {"min_position": office.ledger.size()}
    answer = office.ask(office.token(Role.SUBJECT, anna), "GET", f"/v1/subjects/{anna}", params=params)
    assert (answer.status_code, answer.json()["code"]) == (503, "not-caught-up")
    assert answer.headers["retry-after"] == "1"
    beyond = office.ask(office.token(Role.SUBJECT, anna), "GET", f"/v1/subjects/{anna}", params={"min_position": 10**9})
    assert (beyond.status_code, beyond.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    "text", ["x", "AAAA", "WzAsMF0=", "WzAsIDBd", "Wy0xLDBd", "WzAsMTg0NDY3NDQwNzM3MDk1NTE2MTZd", "W10", "\u00e4", "A"]
)
def test_a_cursor_that_no_page_gave_is_refused(office: Office, anna: str, text: str) -> None:
    answer = office.ask(
        office.token(Role.SUBJECT, anna), "GET", f"/v1/subjects/{anna}/history", params={"cursor": text}
    )
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize("text", ["0", "-1", "1001", "1.0", "\u0661", "", " 1", "1e3", "9" * 30])
def test_a_page_has_a_size_of_its_range(office: Office, anna: str, text: str) -> None:
    answer = office.ask(office.token(Role.SUBJECT, anna), "GET", f"/v1/subjects/{anna}/history", params={"limit": text})
    assert (answer.status_code, answer.json()["field"]) == (400, "limit")


def test_a_correction_names_what_it_corrects(office: Office, anna: str) -> None:
    token, path = office.token(Role.SUBJECT, anna), f"/v1/subjects/{anna}/fields/given-name"
    office.service.projections.wait_for(collect(office, anna, **{"given-name": "Ann"}))
    etag = office.ask(token, "GET", path).headers["etag"]
    without = office.ask(token, "PUT", path, json={"value": "Anna"})
    assert (without.status_code, without.json()["code"]) == (428, "precondition-needed")
    done = office.ask(token, "PUT", path, json={"value": "Anna"}, headers={"If-Match": etag})
    assert done.status_code == 201, done.text
    stale = office.ask(token, "PUT", path, json={"value": "Annika"}, headers={"If-Match": etag})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition-failed")
    read = office.ask(token, "GET", path, params={"min_position": done.json()["position"]})
    assert read.json()["value"] == "Anna"
    assert read.headers["etag"] != etag


def test_the_feed_is_whole_and_in_order(office: Office) -> None:
    size, found, first = office.ledger.size(), [], 0
    while first < size:
        answer = office.ask(Role.AUDITOR, "GET", "/v1/log/events", params={"from": first, "to": size})
        found += [json.loads(line)["index"] for line in answer.text.splitlines()]
        first = int(answer.headers["next-index"])
    assert found == list(range(size))
