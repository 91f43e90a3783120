"""The demo, small: end to end, and what it leaves behind works as printed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from api.cli.demo import MARKER
from api.demo.story import scenario
from api.demo.workload import StoryClock, Workload
from api.settings import directory_settings
from ledger.command import Recorded
from ledger.events import RecipientRegistered
from tests.cli.conftest import CANARY, Program

EVENTS = 300
FEWER = 120


def test_the_demo_tells_its_story_and_its_commands_work(program: Program) -> None:
    ran = program("demo", "--events", EVENTS, "--keep", "kept")
    assert ran.code == 0, ran.err
    for number in "123456":
        assert f"\n{number}. " in "\n" + ran.out
    printed = [line.strip() for line in ran.out.splitlines() if line.startswith("  prooftrail ")]
    assert len(printed) == 6
    for command in printed:
        tried = program(*shlex.split(command)[1:])
        assert tried.code == 0, command + tried.err
    assert Path("order.zip").exists()


def test_the_summary_is_one_document(program: Program) -> None:
    ran = program("demo", "--events", 150, "--seed", "2", "--keep", "kept", "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert ran.out.count("\n") == 1
    assert told["verified"] is True
    assert told["problems"] == 0
    assert told["claims_proven"] == 13
    assert told["absence_proven"] is True
    assert (Path("kept") / "absence.zip").exists()
    assert told["erased_values"] > 0
    assert told["refused"] > 0
    assert told["events"] > 150
    assert ran.err == ""


def test_a_demo_replaces_a_demo_and_nothing_else(program: Program) -> None:
    assert program("demo", "--events", 100, "--keep", "kept").code == 0
    (Path("kept") / "left-over").write_text("")
    assert program("demo", "--events", 100, "--keep", "kept", "--json").code == 0
    assert not (Path("kept") / "left-over").exists()

    (Path("kept") / MARKER).unlink()
    before = sorted(Path("kept").iterdir())
    ran = program("demo", "--events", 100, "--keep", "kept", "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert sorted(Path("kept").iterdir()) == before


def test_a_demo_follows_no_link_and_takes_no_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / MARKER).write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    (tmp_path / CANARY).write_text("")
    for name in ("link", CANARY):
        ran = program("demo", "--events", 100, "--keep", name)
        assert ran.code == 2
        assert CANARY not in ran.err
    assert (tmp_path / "theirs" / MARKER).exists()


def test_a_demo_uses_its_own_keys_whatever_the_environment_says(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROOFTRAIL_KEK", "not a key")
    monkeypatch.setenv("PROOFTRAIL_GUARD", str(tmp_path / "nowhere" / "guard"))
    assert program("demo", "--events", 100, "--keep", "kept").code == 0


def test_without_faker_nothing_is_made(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faker", None)
    ran = program("demo", "--events", 100, "--keep", "kept")
    assert (ran.code, ran.out) == (2, "")
    assert "faker" in ran.err
    assert not Path("kept").exists()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Recorded], Workload]:
    settings = directory_settings(tmp_path_factory.mktemp("year"))
    settings.initialise()
    clock = StoryClock()
    with settings.open(clock=clock) as ledger:
        work = Workload(ledger, 5, clock)
        work.feed(scenario(5, people=10, clients=5, events=FEWER))
        return list(ledger.read()), work


def _of_the_story(one: Recorded) -> bool:
    """Whether it is a step of the story: the policy and the recipients are there before it begins."""
    return "policy:ledger" not in one.tags and not isinstance(one.event, RecipientRegistered)


def test_recorded_at_follows_the_story(year: tuple[list[Recorded], Workload]) -> None:
    recorded, _ = year
    days = {step.at.date() for step in scenario(5, people=10, clients=5, events=FEWER)}
    assert {one.recorded_at.date() for one in recorded if _of_the_story(one)} <= days
    for one in recorded:
        received_at = getattr(one.event, "received_at", None)
        if received_at is not None:
            assert received_at.date() == one.recorded_at.date()
            assert received_at <= one.recorded_at


def test_the_same_seed_gives_the_same_facts(year: tuple[list[Recorded], Workload], tmp_path: Path) -> None:
    def facts(recorded: list[Recorded]) -> list[Any]:
        keep = [[str(tag) for tag in one.tags if not tag.startswith("key:")] for one in recorded]
        return sorted([one.event.TOPIC, *tags] for one, tags in zip(recorded, keep, strict=True))

    settings = directory_settings(tmp_path / "again")
    settings.initialise()
    clock = StoryClock()
    with settings.open(clock=clock) as ledger:
        work = Workload(ledger, 5, clock)
        work.feed(scenario(5, people=10, clients=5, events=FEWER))
        again = list(ledger.read())
    assert facts(again) == facts(year[0])
    assert work.tally == year[1].tally
    assert work.subjects == year[1].subjects
