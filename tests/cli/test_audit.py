"""verify, checkpoint, rebuild."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import apsw
import pytest

from ledger.errors import StorageError
from ledger.storage.connect import LEDGER_APPLICATION_ID, connect
from ledger.storage.sqlite import SCHEMA_VERSION
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import Verifier
from tests.cli.conftest import ORIGIN, Program


def test_verify_recomputes_everything(program: Program, subject: str) -> None:
    ran = program("verify", "--json")
    assert ran.code == 0
    assert (ran.json["ok"], ran.json["entries"], ran.json["present"], ran.json["problem_count"]) == (True, 2, 3, 0)
    assert "Nothing was changed" in program("verify").out


def test_verify_of_an_empty_ledger_holds(program: Program, data: Path) -> None:
    assert program("verify", "--json").json["size"] == 0


def test_a_changed_entry_is_named(program: Program, subject: str, data: Path) -> None:
    file = data / "ledger.db"
    # Read whole, as the last connection left it: the log of the database is folded in.
    raw = file.read_bytes()
    assert raw.count(b'"type":"subject-registered"') == 1
    file.write_bytes(raw.replace(b'"role":"controller"', b'"role":"processor!"'))
    ran = program("verify", "--json")
    assert ran.code != 0


def test_lost_values_are_an_alarm_though_the_log_holds(program: Program, subject: str, data: Path) -> None:
    from api.settings import read_settings

    with read_settings(data, {}).open() as ledger:
        ledger.keys.destroy([key.id for key in ledger.keys.of_subject(subject)])  # type: ignore[arg-type]
    ran = program("verify")
    assert ran.code == 1
    assert "3 personal values are missing" in ran.err
    assert "Nothing was changed" not in ran.out
    found = program("verify", "--json")
    assert (found.code, found.json["ok"], found.json["missing"], found.json["problem_count"]) == (1, False, 3, 0)


def test_verify_since_a_kept_checkpoint(program: Program, subject: str) -> None:
    assert program("checkpoint", "-o", "kept").code == 0
    assert "Verified: nothing was recorded since entry 1." in program("verify", "--since", "kept").out
    program("register")
    assert "Verified: entries 2 to 2." in program("verify", "--since", "kept").out
    ran = program("verify", "--since", "kept", "--json")
    assert (ran.code, ran.json["since"], ran.json["entries"]) == (0, 2, 1)


def test_an_entry_changed_before_a_kept_checkpoint_is_found_though_its_hash_was_left(
    program: Program, subject: str, data: Path
) -> None:
    assert program("checkpoint", "-o", "kept").code == 0
    _behind_its_back(
        data, "UPDATE events SET entry = CAST(replace(CAST(entry AS TEXT), 'controller', 'processor') AS BLOB)"
    )
    ran = program("verify", "--since", "kept")
    assert ran.code == 1
    assert "not the ones it was signed for" in ran.out
    assert "Nothing was changed" not in ran.out


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO event_tags VALUES (CAST(x'ff' AS TEXT), 0, 1, 1)",
        "UPDATE sealed SET key_id = CAST(x'ff' AS TEXT)",
        "INSERT INTO event_types (type) VALUES (CAST(x'ff' AS TEXT))",
        "INSERT INTO event_types (type) VALUES ('planted')",
    ],
)
def test_text_that_was_planted_is_named_and_nothing_else_is_left_out(
    program: Program, subject: str, data: Path, statement: str
) -> None:
    _behind_its_back(data, statement)
    found = program("verify", "--json")
    assert found.code == 1
    assert found.json["problem_count"] >= 1
    assert found.json["entries"] == 2 or "types" in statement


def test_a_disk_that_fails_is_no_evidence_of_tampering(
    program: Program, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise StorageError("ledger.db: the disk is full")

    monkeypatch.setattr("ledger.storage.sqlite.SqliteEngine.damage", full)
    ran = program("verify", "--json")
    assert (ran.code, ran.error["code"]) == (2, "storage")


def _behind_its_back(data: Path, statement: str) -> None:
    """Change the database as its administrator could, who puts every trigger back."""
    connection = connect(data / "ledger.db", application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement)
    for _, sql in triggers:
        connection.execute(sql)
    connection.close()


def test_a_kept_checkpoint_of_another_log_is_refused(program: Program, subject: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    program("init", "--data", other, "--origin", ORIGIN)
    program("register", "--data", other)
    program("checkpoint", "--data", other, "-o", "theirs")
    ran = program("verify", "--since", "theirs", "--json")
    assert (ran.code, ran.error["code"]) == (1, "verification-failed")
    Path("garbage").write_bytes(os.urandom(100))
    ran = program("verify", "--since", "garbage")
    assert ran.code == 1
    assert ran.err.startswith("prooftrail: --since: ")
    assert program("verify", "--since", "nowhere").code == 2


def test_the_checkpoint_is_a_signed_note(program: Program, subject: str) -> None:
    note = program("checkpoint").out.encode()
    verifier = Verifier.parse(program("key").out.strip())
    assert open_checkpoint(note, verifier, ORIGIN).size == 2
    found = program("checkpoint", "--json").json
    assert (found["size"], found["note"].encode(), found["file"]) == (2, note, None)


def test_a_kept_checkpoint_is_not_overwritten(program: Program, subject: str) -> None:
    assert program("checkpoint", "-o", "kept", "--json").json["file"] == "kept"
    assert stat.S_IMODE(Path("kept").stat().st_mode) & 0o600 == 0o600
    program("register")
    before = Path("kept").read_bytes()
    assert program("checkpoint", "-o", "kept").code == 2
    assert Path("kept").read_bytes() == before


def test_there_is_no_checkpoint_before_the_first_entry(program: Program, data: Path) -> None:
    assert program("checkpoint").code == 1


def test_rebuild_makes_the_same_again(program: Program, subject: str) -> None:
    ran = program("rebuild", "--json")
    assert (ran.code, ran.json["position"], ran.json["lag"]) == (0, 2, 0)
    compared = program("rebuild", "--verify", "--json").json
    assert (compared["ok"], compared["count"]) == (True, 0)
    assert "Verified" in program("rebuild", "--verify").out
    assert "personal_data" in program("rebuild").out


def test_a_changed_projection_is_found_and_mended(program: Program, subject: str, data: Path) -> None:
    from ledger.storage.connect import PROJECTIONS_APPLICATION_ID, connect

    assert program("rebuild").code == 0
    connection: apsw.Connection = connect(
        (data / "projections.db").resolve(), application_id=PROJECTIONS_APPLICATION_ID, version=99
    )
    connection.execute("DELETE FROM field_versions")
    connection.close()
    ran = program("rebuild", "--verify")
    assert ran.code == 1
    assert "prooftrail rebuild" in ran.out
    assert program("rebuild").code == 0
    assert program("rebuild", "--verify").code == 0


@pytest.mark.parametrize("word", ["verify", "checkpoint", "rebuild"])
def test_help_shows_an_example(program: Program, word: str) -> None:
    assert f"Example: prooftrail {word}" in program(word, "--help").out
