"""state, lookup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CANARY, Program


def test_state_shows_what_is_held_with_its_version(program: Program, subject: str) -> None:
    found = program("state", "--subject", subject, "--json").json
    assert found["fields"]["email"]["value"] == f"{CANARY}@example.com"
    assert found["fields"]["email"]["version"] == 1
    assert f"{CANARY}@example.com" in program("state", "--subject", subject).out


def test_state_of_a_moment_is_what_was_known_then(program: Program, subject: str) -> None:
    recorded_at = program("replay", "--from", 1, "--json").lines[0]["recorded_at"]
    correction = {
        "command": "correct-data", "subject_id": subject, "field": "email", "value": "new@example.com",
        "expected_version": 1, "channel": "phone",
    }  # fmt: skip
    assert program("record", "-", stdin=json.dumps(correction)).code == 0
    then = program("state", "--subject", subject, "--as-of", recorded_at, "--json").json
    now = program("state", "--subject", subject, "--json").json
    assert then["fields"]["email"]["value"] == f"{CANARY}@example.com"
    assert now["fields"]["email"]["value"] == "new@example.com"


def test_before_a_person_is_registered_nothing_is_known(program: Program, subject: str) -> None:
    ran = program("state", "--subject", subject, "--as-of", "2001-01-01T00:00:00Z", "--json")
    assert (ran.code, ran.error["code"]) == (1, "subject-unknown")


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", CANARY, ""])
def test_a_time_without_a_zone_is_refused_with_an_explanation(program: Program, subject: str, time: str) -> None:
    ran = program("state", "--subject", subject, "--as-of", time, "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert "Z" in ran.error["message"]
    assert CANARY not in ran.err


def test_an_id_that_is_none_is_wrong_usage(program: Program, data: Path) -> None:
    ran = program("state", "--subject", f"{CANARY}@example.com")
    assert ran.code == 2
    assert CANARY not in ran.err


@pytest.mark.parametrize(
    ("kind", "value"),
    [("email", f"{CANARY.upper()}@Example.COM \n"), ("phone", "+37255550123"), ("phone", "+372 5555-0123\n")],
)
def test_a_person_is_found_by_an_identifier_from_standard_input(
    program: Program, subject: str, kind: str, value: str
) -> None:
    assert program("lookup", kind, stdin=value).out.strip() == subject
    assert program("lookup", kind, "--json", stdin=value).json == {"kind": kind, "subjects": [subject]}


def test_nobody_is_found_by_what_nobody_has(program: Program, subject: str) -> None:
    ran = program("lookup", "email", stdin="other@example.com")
    assert (ran.code, ran.out) == (0, "")
    assert "other" not in ran.err
    assert program("lookup", "email", "--json", stdin="other@example.com").json["subjects"] == []


@pytest.mark.parametrize("value", ["", "\n", "x" * 5_000, f"{CANARY}\u200b@example.com"])
def test_what_is_no_identifier_is_refused_and_not_repeated(program: Program, data: Path, value: str) -> None:
    ran = program("lookup", "email", stdin=value)
    assert ran.code in (1, 2)
    assert CANARY not in ran.err + ran.out


def test_an_identifier_on_the_command_line_is_refused_and_not_repeated(program: Program, subject: str) -> None:
    ran = program("lookup", "email", f"{CANARY}@example.com")
    assert ran.code == 2
    assert "standard input" in ran.err
    assert CANARY not in ran.err + ran.out


def test_what_was_erased_reads_as_erased_and_is_not_found(program: Program, subject: str) -> None:
    decide = {
        "command": "decide-erasure", "subject_id": subject,
        "decisions": [{"retention_class": "contract", "outcome": "erased", "ground": "withdrawn"}],
    }  # fmt: skip
    destroy = {"command": "destroy-keys", "subject_id": subject, "retention_classes": ["contract"]}
    ran = program("record", "-", stdin=f"{json.dumps(decide)}\n{json.dumps(destroy)}\n")
    assert ran.code == 0, ran.out
    found = program("state", "--subject", subject, "--json").json
    assert {one["state"] for one in found["fields"].values()} == {"erased"}
    told = program("state", "--subject", subject).out
    assert "<erased>" in told
    assert CANARY not in told
    assert program("lookup", "email", "--json", stdin=f"{CANARY}@example.com").json["subjects"] == []
    assert program("verify").code == 0
