"""history, replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli import history as door
from tests.cli.conftest import CANARY, Program


def test_replay_keeps_values_sealed_unless_asked(program: Program, subject: str) -> None:
    sealed, told = program("replay", "--json"), program("replay")
    assert CANARY not in sealed.out + told.out
    assert sealed.lines[1]["data"]["values"]["email"] == {"withheld": "sealed"}
    assert "<sealed>" in told.out
    assert program("replay", "--open", "--json").lines[1]["data"]["values"]["email"] == f"{CANARY}@example.com"
    assert CANARY in program("replay", "--open").out


def test_replay_takes_a_range(program: Program, data: Path) -> None:
    for _ in range(5):
        program("register")

    def indices(*words: object) -> list[int]:
        return [one["index"] for one in program("replay", "--json", *words).lines]

    assert indices() == [0, 1, 2, 3, 4]
    assert indices("--from", 1, "--to", 3) == [1, 2, 3]
    assert indices("--from", 4) == [4]
    assert indices("--to", 99) == [0, 1, 2, 3, 4]
    assert indices("--from", 3, "--to", 2) == []
    assert program("replay", "--from", 5).code == 1
    assert program("replay", "--from", -1).code == 2
    assert program("replay", "--from", "x").code == 2


def test_an_empty_log_is_no_error(program: Program, data: Path) -> None:
    assert program("replay", "--json").out == ""
    assert program("replay").code == 0


def test_history_is_by_person_order_or_tag(program: Program, subject: str, client: str) -> None:
    Path("a.xml").write_text("<a/>")
    words = ("--client", client, "--subject", subject, "--channel", "software", "--json")
    order = program("record-order", "a.xml", *words).json["orders"][0]["order"]
    assert [one["type"] for one in program("history", "--order", order, "--json").lines] == ["order-recorded"]
    assert [one["index"] for one in program("history", "--subject", subject, "--json").lines] == [0, 1, 2]
    assert [one["index"] for one in program("history", "--tag", f"client:{client}", "--json").lines] == [2]
    table = program("history", "--order", order).out
    assert order in table
    assert "<sealed>" in table


def test_history_of_what_is_not_there_is_refused(program: Program, data: Path, client: str) -> None:
    assert program("history", "--subject", client, "--json").error["code"] == "subject-unknown"
    assert program("history", "--order", client, "--json").error["code"] == "order-unknown"
    ran = program("history", "--tag", "nothing")
    assert ran.code == 0
    assert "nothing is recorded" in ran.out


@pytest.mark.parametrize("words", [(), ("--tag", "a", "--order", "b")])
def test_history_is_of_one_thing(program: Program, data: Path, words: tuple[str, ...]) -> None:
    assert program("history", *words).code == 2


def test_what_a_terminal_would_obey_is_made_visible(program: Program, data: Path) -> None:
    made = program("register", "--fields", "-", stdin='{"given-name": "\\u001b[2J[red]\\u202e"}').out.strip()
    for told in (program("replay", "--open").out, program("state", "--subject", made).out):
        assert "\x1b" not in told
        assert "\u202e" not in told
        assert "\\x1b[2J[red]" in told


def test_a_long_log_is_printed_in_parts(program: Program, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "TABLE_ROWS", 3)
    lines = (f'{{"command":"register-subject","subject_id":"{n:08x}-0000-4000-8000-000000000000"}}\n' for n in range(5))
    assert program("record", "-", stdin="".join(lines)).code == 0
    assert program("replay").out.count("recorded at") == 2
