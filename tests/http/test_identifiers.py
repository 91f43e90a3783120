"""Identifiers in every spelling: one person or a refusal, never an alias; what was recorded keeps its bytes."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import quote

import pytest

from ledger.vocabulary import Role, new_id
from tests.http.office import CANARY, Office

ADDRESS = "jüri.õun@näide.example"
# Spellings that people and programs send for the same address.
SAME = {
    "NFC": unicodedata.normalize("NFC", ADDRESS),
    "NFD": unicodedata.normalize("NFD", ADDRESS),
    "upper case": ADDRESS.upper(),
    "title case": ADDRESS.title(),
    "spaces around": f"  {ADDRESS}\t",
}
# What only looks the same: refused, as whoever sends it means to deceive.
LIKE = {
    "zero width space": ADDRESS[:3] + "\u200b" + ADDRESS[3:],
    "zero width joiner": ADDRESS[:3] + "\u200d" + ADDRESS[3:],
    "soft hyphen": ADDRESS[:3] + "\u00ad" + ADDRESS[3:],
    "byte order mark": "\ufeff" + ADDRESS,
    "right to left override": "\u202e" + ADDRESS,
    "bidirectional isolate": "\u2066" + ADDRESS + "\u2069",
    "full width": ADDRESS.replace("@", "\uff20"),
    "full width letters": "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in ADDRESS),
    "variation selector": ADDRESS[:3] + "\ufe0f" + ADDRESS[3:],
    "tag characters": ADDRESS + "\U000e0041",
    "NUL": ADDRESS[:3] + "\x00" + ADDRESS[3:],
    "line separator": ADDRESS + "\u2028x",
    "Hangul filler": ADDRESS + "\u3164",
}


def link(office: Office, subject: str, value: str) -> int:
    answer = office.post(Role.SERVICE, "link-identifier", {"subject_id": subject, "kind": "email", "value": value})
    assert ADDRESS not in answer.text
    if answer.status_code == 201:
        assert value not in answer.text
        office.service.projections.wait_for(answer.json()["position"])
    return answer.status_code


def found(office: Office, value: str, kind: str = "email") -> list[str] | int:
    answer = office.ask(Role.SERVICE, "POST", "/v1/subjects/lookup", json={"kind": kind, "value": value})
    assert value.strip() not in answer.text
    return list(answer.json()["subject_ids"]) if answer.status_code == 200 else answer.status_code


@pytest.fixture(scope="module")
def juri(office: Office) -> str:
    subject = new_id()
    assert office.post(Role.SERVICE, "register-subject", {"subject_id": subject}).status_code == 201
    assert link(office, subject, ADDRESS) == 201
    return subject


@pytest.mark.parametrize("value", SAME.values(), ids=SAME)
def test_every_spelling_finds_the_same_person(office: Office, juri: str, value: str) -> None:
    assert found(office, value) == [juri]


@pytest.mark.parametrize("value", LIKE.values(), ids=LIKE)
def test_what_only_looks_like_it_is_refused_or_finds_the_same_person(office: Office, juri: str, value: str) -> None:
    assert found(office, value) in (400, [juri])


@pytest.mark.parametrize("value", [*SAME.values(), *LIKE.values()], ids=[*SAME, *LIKE])
def test_what_is_linked_under_a_like_spelling_is_no_alias(office: Office, juri: str, value: str) -> None:
    """Whoever is linked under it is found together with whom it imitates: nobody passes for another unseen."""
    other = new_id()
    assert office.post(Role.SERVICE, "register-subject", {"subject_id": other}).status_code == 201
    if link(office, other, value) == 201:
        both = found(office, ADDRESS)
        assert isinstance(both, list)
        assert {juri, other} <= {*both} or value.endswith("x"), "an alias"


@pytest.mark.parametrize("value", [*SAME.values(), *LIKE.values()], ids=[*SAME, *LIKE])
def test_a_value_is_kept_to_the_byte(office: Office, value: str) -> None:
    subject = new_id()
    assert office.post(Role.SERVICE, "register-subject", {"subject_id": subject}).status_code == 201
    body = {
        "subject_id": subject, "purpose": "contract", "basis": "contract", "source": "subject",
        "values": {"given-name": value},
    }  # fmt: skip
    answer = office.post(Role.SERVICE, "collect-data", body)
    if answer.status_code == 400:
        assert value not in answer.text
        return
    path = f"/v1/subjects/{subject}/fields/given-name?min_position={answer.json()['position']}"
    read = office.ask(Role.SERVICE, "GET", path)
    assert json.loads(read.content)["value"] == value


IDS = {
    "upper case": "0B8FD1C6-5CF0-4B0E-9D7E-3F8C7A3D9F11",
    "braces": "{0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11}",
    "urn": "urn:uuid:0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11",
    "no hyphens": "0b8fd1c65cf04b0e9d7e3f8c7a3d9f11",
    "version 1": "0b8fd1c6-5cf0-1b0e-9d7e-3f8c7a3d9f11",
    "full width digit": "\uff10b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11",
    "Arabic digit": "\u0660b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11",
    "line break at the end": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11\n",
    "space at the end": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11 ",
    "NUL at the end": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11\x00",
    "zero width": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11\u200b",
    "text": CANARY,
    "SQL": "' OR 1=1 --" + CANARY,
}


@pytest.mark.parametrize("text", IDS.values(), ids=IDS)
def test_an_id_has_one_spelling(office: Office, text: str) -> None:
    """Also where it decides whose something is: what is no id is refused, and stands in no entry and no answer."""
    before, looked = office.ledger.size(), office.access_size
    for role in (Role.SUBJECT, Role.CLIENT_USER, Role.SERVICE):
        answers = [
            office.post(role, "attach-statement", {"subject_id": text, "field": "email", "statement": "x",
                                                   "channel": "api"}),
            office.ask(role, "GET", "/v1/subjects/" + _quoted(text)),
            office.ask(role, "GET", "/v1/subjects/" + _quoted(text) + "/consents"),
            office.ask(role, "POST", "/v1/orders", content=b"x", headers={"Content-Type": "text/xml"},
                       params={"client_id": text, "subject_id": office.mari}),
        ]  # fmt: skip
        for answer in answers:
            assert answer.status_code in (400, 404), answer.text
            assert CANARY not in answer.text
    assert office.ledger.size() == before
    entries = b"".join(one.entry for one in office.service.access.ledger.engine.entries())
    assert CANARY.encode() not in entries
    assert all(text not in getattr(one.event, "subjects", ()) for one in office.access_since(looked))


def _quoted(text: str) -> str:
    return quote(text, safe="")
