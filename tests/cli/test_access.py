"""access on the command line: asked, reviewed, revealed, and each look at the log recorded in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.http.access import open_access_log
from api.settings import read_settings
from projections.access_log import Read
from tests.bench import OFFICER, SUPPORT, an_id
from tests.cli.conftest import Program

MARI, OTHER = an_id("mari"), an_id("other officer")
BY_OFFICER = ("--as", "officer", "--actor", OFFICER.id)


@pytest.fixture
def read(data: Path) -> None:
    """Somebody of the staff has read a list of a hundred people."""
    subjects = (MARI, *(an_id(f"person {i}") for i in range(99)))
    operation: Any = "list-subjects"
    with open_access_log(read_settings(data), watch=False) as log:
        log.record(Read(actor=SUPPORT, operation=operation, subjects=subjects, records=1, items=100))


def operations(program: Program) -> list[str]:
    """Return what the officer was shown or refused, as another one sees it."""
    ran = program("access", "by", "--reader", OFFICER.id, "--actor", OTHER, "--json")
    return [one["refused"] or one["operation"] for one in ran.json["accesses"]]


def test_who_looked_is_shown_by_pseudonym_and_the_look_is_recorded(program: Program, read: None) -> None:
    ran = program("access", "who-looked", "--subject", MARI, *BY_OFFICER, "--json")
    (look,) = ran.json["looks"]
    assert (look["role"], look["operation"], look["actor_id"]) == ("support", "list-subjects", None)
    assert SUPPORT.id not in ran.out
    table = program("access", "who-looked", "--subject", MARI, "--as", "subject", "--actor", MARI)
    assert look["pseudonym"] in table.out
    assert operations(program) == ["who-looked"]


def test_pages_go_on_where_the_last_one_ended(program: Program, read: None) -> None:
    for _ in range(3):
        program("access", "who-looked", "--subject", MARI, *BY_OFFICER)
    first = program("access", "who-looked", "--subject", MARI, "--limit", 2, *BY_OFFICER)
    before = first.out.rpartition("--before ")[2].strip()
    rest = program("access", "who-looked", "--subject", MARI, "--before", before, *BY_OFFICER, "--json").json
    assert [look["operation"] for look in rest["looks"]] == ["who-looked", "list-subjects"]


def test_who_it_was_is_revealed_on_a_ground(program: Program, read: None) -> None:
    look = program("access", "who-looked", "--subject", MARI, *BY_OFFICER, "--json").json["looks"][0]
    words = ("access", "reveal", "--subject", MARI, "--pseudonym", look["pseudonym"], "--case", "C-1", *BY_OFFICER)
    assert program(*words).code == 2, "a ground is needed"
    assert program(*words, "--ground", "breach").out.strip() == SUPPORT.id
    assert program(*words, "--ground", "breach", "--json").json["actor_id"] == SUPPORT.id
    shown = program("access", "who-looked", "--subject", MARI, *BY_OFFICER, "--json").json["looks"]
    assert [look["actor_id"] for look in shown] == [None, SUPPORT.id]
    ran = program("access", "reveal", "--subject", an_id("nobody"), "--pseudonym", "x", "--ground", "breach",
                  "--case", "C-1", *BY_OFFICER, "--json")  # fmt: skip
    assert (ran.code, ran.error["code"]) == (1, "read-unknown")


def test_unusual_reading_is_flagged_and_reviewed(program: Program, read: None) -> None:
    found = program("access", "flags", "--open", *BY_OFFICER, "--json").json["flags"]
    breadth = next(flag for flag in found if flag["kind"] == "breadth")
    assert (breadth["reader_id"], breadth["count"], breadth["outcome"]) == (SUPPORT.id, 61, None)
    words = ("access", "review", "--flag", breadth["flag_id"], "--outcome", "justified", "--case", "C-2")
    ran = program(*words, "--as", "support", "--actor", SUPPORT.id, "--json")
    assert (ran.code, ran.error["code"]) == (1, "role-missing")
    assert "justified" in program(*words, *BY_OFFICER).out
    ran = program(*words, *BY_OFFICER, "--json")
    assert (ran.code, ran.error["code"]) == (1, "flag-state")
    open_ones = program("access", "flags", "--open", *BY_OFFICER, "--json").json["flags"]
    assert breadth["flag_id"] not in [flag["flag_id"] for flag in open_ones]
    assert breadth["flag_id"] in program("access", "flags", *BY_OFFICER).out


def test_who_may_not_look_is_refused_and_that_is_recorded(program: Program, read: None) -> None:
    ran = program("access", "by", "--reader", OFFICER.id, *BY_OFFICER, "--json")
    assert (ran.code, ran.error["code"]) == (1, "own-access")
    ran = program("access", "flags", "--as", "support", "--actor", OFFICER.id, "--json")
    assert (ran.code, ran.error["code"]) == (1, "role-missing")
    assert operations(program) == ["role-missing", "own-access"]
    assert "own-access" in program("access", "by", "--reader", OFFICER.id, "--actor", OTHER).out


def test_a_read_is_not_a_command_that_anybody_may_give(program: Program, data: Path) -> None:
    assert "record-read" not in program("commands").out
    ran = program("record", "-", "--json", stdin='{"command":"record-read"}')
    assert ran.code == 1
    assert ran.lines[0]["error"]["evidence"]["field"] == "command"
