"""Addresses: tiles are found by the paths that C2SP has, HEAD goes where GET goes, 405 names every method there is."""

from __future__ import annotations

import pytest

from ledger.events import PersonalDataRead
from ledger.vocabulary import Role
from tests.http.office import Office


def test_tiles_are_those_of_the_log(office: Office) -> None:
    size = office.ledger.size()
    hashes = office.ask(Role.SERVICE, "GET", f"/v1/log/tile/0/000.p/{size}")
    assert (hashes.status_code, len(hashes.content)) == (200, 32 * size)
    before = office.access_size
    bundle = office.ask(Role.AUDITOR, "GET", f"/v1/log/tile/entries/000.p/{size}")
    assert bundle.content == office.ledger.files().read(f"tile/entries/000.p/{size}")
    # Entries are about people, whichever door they leave by.
    (read,) = [one.event for one in office.access_since(before)]
    assert isinstance(read, PersonalDataRead)
    assert {office.mari, office.peeter, office.other} <= set(read.subjects)


@pytest.mark.parametrize("path", ["0/000.p/256", "0/001", "9/000", "entries/001", "0/x000/000"])
def test_tiles_that_are_not_there_are_not_found(office: Office, path: str) -> None:
    assert office.ask(Role.AUDITOR, "GET", f"/v1/log/tile/{path}").status_code == 404


@pytest.mark.parametrize("path", ["0/%2e%2e/%2e%2e/checkpoint", "entries", "0/%00", "0/000.p/1/%2e%2e/2", "a"])
def test_what_is_no_path_of_a_tile_is_refused(office: Office, path: str) -> None:
    answer = office.ask(Role.AUDITOR, "GET", f"/v1/log/tile/{path}")
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/subjects/{mari}", "/v1/subjects/{mari}/fields/email"])
def test_head_is_answered_and_recorded_like_get(office: Office, path: str) -> None:
    address = path.format(mari=office.mari)
    before = office.access_size
    head, got = (office.ask(Role.SUBJECT, method, address) for method in ("HEAD", "GET"))
    assert head.status_code == got.status_code == 200
    assert head.headers.get("etag") == got.headers.get("etag")
    assert len(office.access_since(before)) == (2 if "subjects" in path else 0)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/subjects/{mari}/fields/email", {"GET", "HEAD", "PUT"}),
        ("/v1/documents", {"GET", "HEAD"}),
        ("/v1/batch", {"POST"}),
    ],
)
def test_another_method_is_told_which_there_are(office: Office, path: str, allow: set[str]) -> None:
    answer = office.ask(Role.SUBJECT, "DELETE", path.format(mari=office.mari))
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == allow


def test_the_description_has_every_variable_of_an_address(office: Office) -> None:
    paths = office.ask(None, "GET", "/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        assert ":" not in path
        for operation in operations.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == {part.split("}")[0] for part in path.split("{")[1:]}, path


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/v1/orders", "post", {"Idempotency-Key", "File-Name"}),
        ("/v1/orders/email", "post", {"Idempotency-Key", "File-Name"}),
        ("/v1/subjects/{subject_id}/fields/{field}", "put", {"Idempotency-Key", "If-Match"}),
        ("/v1/access/flags/{flag_id}/review", "post", {"Idempotency-Key"}),
        ("/v1/commands/give-consent", "post", {"Idempotency-Key"}),
    ],
)
def test_the_description_has_the_headers_that_are_taken(
    office: Office, path: str, method: str, headers: set[str]
) -> None:
    described = office.ask(None, "GET", "/v1/openapi.json").json()["paths"][path][method]
    assert {one["name"] for one in described["parameters"] if one["in"] == "header"} == headers
    assert "201" in described["responses"]
