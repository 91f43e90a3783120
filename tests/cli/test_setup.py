"""init, key, new-id; and stores that cannot be opened."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from ledger.tlog.note import Verifier
from tests.cli.conftest import ORIGIN, Program


def test_init_says_what_it_made_and_how_to_go_on(program: Program, tmp_path: Path) -> None:
    ran = program("init", "--data", tmp_path / "new", "--origin", ORIGIN)
    assert ran.code == 0
    assert ORIGIN in ran.out
    assert "prooftrail register" in ran.out
    again = program("init", "--data", tmp_path / "new", "--json").json
    assert again["created"] is False
    assert Verifier.parse(again["key"]).name == again["origin"] == ORIGIN


def test_ledgers_without_a_name_get_different_ones(program: Program, tmp_path: Path) -> None:
    names = {program("init", "--data", tmp_path / one, "--json").json["origin"] for one in "ab"}
    assert len(names) == 2


def test_init_refuses_a_wrong_name_by_rule(program: Program, tmp_path: Path) -> None:
    ran = program("init", "--data", tmp_path / "new", "--origin", "a b", "--json")
    assert (ran.code, ran.error["code"], ran.out) == (1, "invalid", "")


def test_key_needs_no_secret(program: Program, data: Path) -> None:
    expected = program("key").out
    for secret in ("kek", "signing-key"):
        (data / secret).unlink()
    ran = program("key")
    assert ran.code == 0
    assert ran.out == expected
    assert Verifier.parse(expected.strip()).name == ORIGIN
    assert program("key", "--json").json == {
        "origin": ORIGIN,
        "key": expected.strip(),
        "keys": [{"key": expected.strip(), "from_size": 0, "to_size": None}],
    }


def test_new_ids_are_random_uuids(program: Program) -> None:
    first, second = program("new-id").out.strip(), program("new-id", "--json").json["id"]
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)


@pytest.mark.parametrize("words", [("key",), ("verify",), ("replay",), ("register",), ("checkpoint",), ("rebuild",)])
def test_without_a_ledger_a_command_says_to_init(program: Program, tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = program(*words, "--data", tmp_path / "nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "prooftrail init" in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def damaged(data: Path, how: str) -> None:
    file = data / "ledger.db"
    for extra in ("ledger.db-wal", "ledger.db-shm"):
        (data / extra).unlink(missing_ok=True)
    if how == "text":
        file.write_text("not a database\n" * 1000)
    elif how == "truncated":
        file.write_bytes(file.read_bytes()[:5000])
    elif how == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
        with apsw.Connection(str(file)) as connection:
            connection.execute("CREATE TABLE theirs (x); PRAGMA application_id = 7")
        connection.close()


@pytest.mark.parametrize("how", ["text", "truncated", "empty", "theirs"])
def test_a_database_that_is_not_ours_is_left_alone(program: Program, data: Path, how: str) -> None:
    damaged(data, how)
    before = (data / "ledger.db").read_bytes()
    # An empty file is what an interrupted init leaves: that one may finish it.
    for command in ("verify", "register") if how == "empty" else ("verify", "register", "init"):
        ran = program(command, "--json")
        assert (ran.code, ran.error["code"], ran.out) == (2, "storage", "")
    assert (data / "ledger.db").read_bytes() == before


def test_an_emptied_ledger_is_not_begun_anew(program: Program, data: Path) -> None:
    assert program("register").code == 0
    damaged(data, "empty")
    ran = program("init", "--json")
    assert (ran.code, ran.error["code"]) == (1, "rolled-back")


def test_a_newer_version_is_refused_with_what_to_do(program: Program, data: Path) -> None:
    raw = bytearray((data / "ledger.db").read_bytes())
    # The user_version of the database header, big-endian: sqlite.org/fileformat2.html §1.3.
    raw[60:64] = (99).to_bytes(4, "big")
    (data / "ledger.db").write_bytes(raw)
    ran = program("replay")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "newer" in ran.err or "damaged" in ran.err, "the page checksum may be what tells first"


def test_a_rolled_back_ledger_is_evidence_that_does_not_hold(program: Program, data: Path) -> None:
    old = {path.name: path.read_bytes() for path in data.glob("ledger.db*")}
    assert program("register").code == 0
    for path in data.glob("ledger.db*"):
        path.unlink()
    for name, content in old.items():
        (data / name).write_bytes(content)
    ran = program("replay", "--json")
    assert ran.code == 1
    assert ran.error["code"] == "rolled-back"
