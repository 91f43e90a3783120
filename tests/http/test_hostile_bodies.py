"""Bodies that are meant to confuse: refused as problem+json, never a 5xx, nothing recorded, nothing repeated."""

from __future__ import annotations

import json

import httpx
import pytest

from api.http.operation import NDJSON
from ledger.vocabulary import Role, new_id
from tests.http.cells import commands, members, path_of, queries, send, target, who
from tests.http.office import CANARY, STATED, Office

C = json.dumps(CANARY).encode()

# Each is no JSON object that is read the same way by every reader.
NOT_READ = {
    "empty": b"",
    "blank": b" \n",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000 + C + b"}" * 50_000,
    "deep in a member": b'{"a":' + b"[" * 5_000 + C + b"]" * 5_000 + b"}",
    "a name twice": b'{"a":1,"a":' + C + b"}",
    "a name twice, escaped": b'{"a":1,"\\u0061":' + C + b"}",
    "UTF-16": json.dumps({"a": CANARY}).encode("utf-16"),
    "UTF-32": json.dumps({"a": CANARY}).encode("utf-32"),
    "Latin-1": '{"a":"õ'.encode("latin-1") + CANARY.encode() + b'"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "UTF-8 of a surrogate": b'{"a":"\xed\xa0\x80"}',
    "trailing object": b'{"a":' + C + b"}{}",
    "trailing text": b"{}" + CANARY.encode(),
    "comment": b"/* " + C + b" */{}",
    "single quotes": b"{'a':1}",
    "trailing comma": b'{"a":' + C + b",}",
    "cut off": b'{"a":' + C,
    "string": C,
    "number": b"1",
    "null": b"null",
    "true": b"true",
    "list": b"[" + C + b"]",
    "raw control character": b'{"a":"\x00' + CANARY.encode() + b'"}',
    "raw line break": b'{"a":"\n"}',
    "form": b"a=" + CANARY.encode(),
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
}
# Values that JSON has, or some readers take, and that no member may hold.
NOT_HELD: dict[str, bytes] = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "a huge exponent": b"1e999999",
    "a huge number": b"9" * 5_000,
    "a number beyond 2^53": b"9007199254740993",
    "a fraction": b"0.1",
    "a lone surrogate": b'"\\ud800' + CANARY.encode() + b'"',
    "a low surrogate alone": b'"\\udc00"',
    "an object": b'{"' + CANARY.encode() + b'":' + C + b"}",
    "a deep list": b"[" * 200 + b"]" * 200,
    "minus zero exponent": b"1E400",
}


def check(answer: httpx.Response, what: object, statuses: tuple[int, ...] = (400, 413)) -> None:
    assert answer.status_code in statuses, (what, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json", what
    assert answer.json()["type"].startswith("urn:prooftrail:problem:"), what
    assert CANARY not in answer.text, what
    assert CANARY not in str(answer.headers), what


def test_what_is_not_read_is_refused_by_every_operation(office: Office) -> None:
    before, tried = office.ledger.size(), 0
    for operation in (*commands(), *queries()):
        for name, content in NOT_READ.items():
            check(send(office, operation, content), (operation.id, name))
            tried += 1
    assert office.ledger.size() == before
    assert tried == (len(commands()) + len(queries())) * len(NOT_READ) > 2_000


def test_what_no_member_holds_is_refused_in_every_member(office: Office) -> None:
    before, tried = office.ledger.size(), 0
    bodies = [(one, members(office, one)) for one in (*commands(), *queries())]
    cells = [(one, name, whole) for one, whole in bodies for name in whole]
    for place, (operation, name, body) in enumerate(cells):
        for turn, (what, value) in enumerate(NOT_HELD.items()):
            # Every member meets a third of them, and every operation all.
            if (place + turn) % 3 == 0 and not may_hold(name, what):
                marked = json.dumps({**body, name: CANARY + "here"}).encode()
                content = marked.replace(json.dumps(CANARY + "here").encode(), value)
                # An id that is none may be answered as one that is not there; a value is looked at last.
                statuses = (400, 404, 409, 412) if name in ("value", "values") else (400, 404)
                check(send(office, operation, content), (operation.id, name, what), statuses)
                tried += 1
    assert office.ledger.size() == before
    assert tried > 1_200


def may_hold(name: str, what: str) -> bool:
    """Whether a member may hold that: values are whatever JSON can hold, without fractions; counts are large."""
    if name in ("value", "values"):
        return what in ("an object", "a deep list")
    return False


@pytest.mark.parametrize("content", NOT_READ.values(), ids=NOT_READ)
def test_a_line_that_is_not_read_fails_alone(office: Office, content: bytes) -> None:
    """The lines before and after it are recorded; what holds a line break is several lines."""
    good = [{"command": "register-subject", "subject_id": new_id()} for _ in range(2)]
    first, last = (json.dumps(one).encode() for one in good)
    before = office.ledger.size()
    answer = office.ask(
        Role.SERVICE, "POST", "/v1/batch", content=first + b"\n" + content + b"\n" + last,
        headers={"Content-Type": NDJSON},
    )  # fmt: skip
    assert answer.status_code == 200
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert "receipt" in found[0]
    assert "receipt" in found[-1]
    for one in found[1:-1]:
        assert one["problem"]["status"] in (400, 413), one
    assert CANARY not in answer.text
    assert office.ledger.size() == before + 2


def test_ten_thousand_members_are_refused(office: Office) -> None:
    before = office.ledger.size()
    content = json.dumps({f"{CANARY}{i}": i for i in range(10_000)}).encode()
    for operation in (*commands(), *queries()):
        check(send(office, operation, content), operation.id)
    assert office.ledger.size() == before


def test_a_body_that_is_too_long_is_refused(office: Office) -> None:
    before = office.ledger.size()
    content = b'{"a":"' + b"x" * (2 * 1024 * 1024) + b'"}'
    for operation in queries():
        assert send(office, operation, content).status_code == 413, operation.id
    assert send(office, next(one for one in commands() if one.id == "give-consent"), content).status_code == 413
    assert office.ledger.size() == before


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
     "application/json-patch+json", "application/json, text/plain", "text/json", NDJSON],
)  # fmt: skip
def test_only_json_is_taken_as_json(office: Office, media_type: str) -> None:
    """What a page elsewhere can make a browser send without asking first is none of it."""
    before = office.ledger.size()
    for operation in (*commands(), *queries()):
        role = who(operation)
        about = target(office, role, "other")
        path, parameters = path_of(office, operation, about)
        answer = office.ask(
            office.tokens[role], operation.method, path, params=parameters, content=b"{}",
            headers={**STATED, "Content-Type": media_type},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (415, "media-type-unfit"), operation.id
    assert office.ledger.size() == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Purpose", CANARY), ("Purpose", "contract, own-offers"), ("Case-Reference", "a b " + CANARY),
        ("Case-Reference", "x" * 129), ("If-Match", f'"{CANARY}"'), ("If-Match", "*"), ("If-Match", '"-1"'),
        ("If-Match", '"1", "2"'), ("If-Match", '"99999999999999999"'), ("Idempotency-Key", CANARY * 40),
    ],
)  # fmt: skip
def test_headers_that_say_nothing_known_are_refused(office: Office, name: str, text: str) -> None:
    before = office.ledger.size()
    answer = office.ask(
        Role.SUPPORT, "PUT", f"/v1/subjects/{office.mari}/fields/email", json={"value": "x@example.com"},
        headers={"If-Match": '"1"', **{name: text}},
    )  # fmt: skip
    check(answer, name)
    assert office.ledger.size() == before
