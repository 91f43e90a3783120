"""policy, explain, and a new ledger that starts with a policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.policy import default_policy_text, parse_policy
from tests.cli.conftest import Program

TEXT = default_policy_text()
NEXT = TEXT.replace('"ee-accounting-1"', '"ee-accounting-2"')
ENTRIES = 1 + len(parse_policy(TEXT).activities)


@pytest.fixture
def fresh(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "fresh"
    monkeypatch.setenv("PROOFTRAIL_DATA", str(path))
    assert program("init").code == 0
    return path


def test_a_new_ledger_starts_with_a_policy_and_an_old_one_goes_on_without(
    program: Program, fresh: Path, data: Path
) -> None:
    assert program("policy", "show", "--data", fresh).out == TEXT
    assert program("init", "--data", fresh, "--json").json["policy"] is None, "once"
    assert program("register", "--data", data).code == 0
    assert program("init", "--data", data, "--json").json["policy"] is None
    ran = program("policy", "show", "--data", data, "--json")
    assert (ran.code, ran.error["code"]) == (1, "policy-missing")


def test_init_takes_a_policy_and_makes_nothing_with_a_bad_one(program: Program, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(NEXT)
    ran = program("init", "--data", tmp_path / "own", "--policy", tmp_path / "own.toml", "--json")
    assert ran.json["policy"] == "ee-accounting-2"
    (tmp_path / "bad.toml").write_text(TEXT.replace("partner_offers = 2", "partner_offers = -1"))
    ran = program("init", "--data", tmp_path / "none", "--policy", tmp_path / "bad.toml", "--json")
    assert (ran.code, ran.error["code"]) == (1, "invalid")
    assert "(line " in ran.error["message"]
    assert not (tmp_path / "none").exists()


def test_a_policy_is_checked_without_a_ledger(program: Program, tmp_path: Path) -> None:
    assert "ee-accounting-1 is valid" in program("policy", "check", "-", stdin=TEXT).out
    ran = program("policy", "check", "-", stdin=TEXT.replace("[retention.order]", "[retention.orders]"))
    assert ran.code == 1
    assert "retention" in ran.err
    ran = program("policy", "check", "-", "--json", stdin=b"\xff\xfe")
    assert (ran.code, ran.error["code"]) == (1, "invalid")


def test_a_policy_is_adopted_and_shown(program: Program, fresh: Path) -> None:
    ran = program("policy", "adopt", "-", "--as", "officer", "--json", stdin=NEXT)
    assert ran.json == {"index": ENTRIES, "version": "ee-accounting-2", "activities_registered": 0}
    assert program("policy", "show").out == NEXT
    assert program("policy", "show", "--default").out == TEXT
    assert program("policy", "show", "--json").json["index"] == ENTRIES
    ran = program("policy", "adopt", "-", "--as", "support", "--json", stdin=TEXT)
    assert (ran.code, ran.error["code"]) == (1, "role-missing")


def test_a_field_that_the_policy_does_not_allow_is_refused_by_name(program: Program, fresh: Path) -> None:
    ran = program("register", "--fields", "-", "--json", stdin='{"email":"secret@example.com","shoe-size":41}')
    assert ran.code == 1
    assert "shoe-size" in ran.err
    assert "secret" not in ran.err + ran.out


def test_a_decision_is_explained(program: Program, fresh: Path) -> None:
    assert program("register").code == 0
    ran = program("explain", ENTRIES)
    assert "register-subject: allowed" in ran.out
    assert "policy ee-accounting-1, adopted in entry 0" in ran.out
    found = program("explain", ENTRIES, "--json").json
    assert found["index"] == ENTRIES
    assert found["facts"] == []
    assert program("policy", "adopt", "-", stdin=NEXT).code == 0
    assert program("explain", ENTRIES, "--json").json == found


def test_a_command_is_explained_without_being_recorded(program: Program, fresh: Path) -> None:
    asked = program("commands", "withdraw-consent", "--json").json["example"]
    ran = program("explain", "--command", "-", "--json", stdin=json.dumps(asked)).json
    assert (ran["allowed"], ran["refusal"], ran["index"]) == (False, "consent-unknown", None)
    assert program("replay", "--json", "--from", ENTRIES - 1).lines[-1]["index"] == ENTRIES - 1
    assert "refused, consent-unknown" in program("explain", "--command", "-", stdin=json.dumps(asked)).out


@pytest.mark.parametrize("words", [(), (0, "--command", "-")])
def test_explain_is_asked_for_one_thing(program: Program, fresh: Path, words: tuple[object, ...]) -> None:
    assert program("explain", *words).code == 2


def test_what_is_not_there_is_not_explained(program: Program, fresh: Path) -> None:
    ran = program("explain", 999, "--json")
    assert (ran.code, ran.error["code"]) == (1, "invalid")
