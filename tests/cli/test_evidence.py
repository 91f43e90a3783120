"""prove, index: all of something, none of it, and as of then; each refused where it is not so."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from projections.evidence import verify
from tests.cli.conftest import CANARY, Program


def verdicts(program: Program, package: str) -> dict[str, str]:
    """Verify a package as a stranger does; return the verdict of every claim."""
    key = program("key").out.strip()
    command = [sys.executable, "-I", str(verify.__file__), package, "--key", key]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = verify.verify_package(Path(package).read_bytes(), verify.parse_key(key))
    return {claim.id: claim.verdict for claim in report.claims}


@pytest.fixture
def subject(program: Program, data: Path) -> str:
    Path("fields.json").write_text('{"given-name":"Mari","email":"mari@example.com"}')
    found: str = program("register", "--fields", "fields.json", "--json").json["subject"]
    return found


def test_all_about_a_person_is_proven_and_nothing_of_it_shown_unasked(program: Program, subject: str) -> None:
    ran = program("prove", "--subject", subject, "-o", "a.zip", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["kind"], ran.json["tag"]) == ("subject", f"subject:{subject}")
    assert ran.json["entries"] == ran.json["complete"]["count"] > 0
    assert ran.json["disclosed"] == []
    assert {one["field"] for one in ran.json["withheld"]} == {"values.email", "values.given-name"}
    assert b"mari@example.com" not in Path("a.zip").read_bytes()
    found = verdicts(program, "a.zip")
    assert (found["complete"], found["as-of"], found["fields"]) == ("proven", "not claimed", "not claimed")
    ran = program("prove", "--subject", subject, "-o", "b.zip", "--disclose", "values.email", "--json")
    assert [one["field"] for one in ran.json["disclosed"]] == ["values.email"]
    assert b"mari@example.com" in Path("b.zip").read_bytes()
    assert verdicts(program, "b.zip")["fields"] == "proven"


def test_an_absence_is_proven_in_words(program: Program, subject: str) -> None:
    other = program("new-id").out.strip()
    ran = program("prove", "--absent", f"consent:{other}", "-o", "none.zip")
    assert ran.code == 0, ran.err
    assert "Proven: none for tag consent:" in ran.out
    found = verdicts(program, "none.zip")
    assert (found["complete"], found["inclusion"]) == ("proven", "not claimed")
    with zipfile.ZipFile("none.zip") as package:
        readme = package.read("README.txt").decode()
        assert package.read("entries.jsonl") == b""
    assert "there is no event of it, among the first" in readme
    assert "that nothing was recorded about it later" in readme


def test_what_is_there_is_not_proven_absent_nor_the_other_way(program: Program, subject: str) -> None:
    ran = program("prove", "--absent", f"subject:{subject}", "-o", "x.zip", "--json")
    assert (ran.code, ran.error["code"]) == (1, "invalid")
    assert "--tag" in ran.error["message"]
    for kind in ("subject", "consent", "client"):
        ran = program("prove", f"--{kind}", program("new-id").out.strip(), "-o", "x.zip", "--json")
        assert (ran.code, ran.error["code"]) == (1, "invalid")
        assert "--absent" in ran.error["message"]
    assert not Path("x.zip").exists()


def test_a_past_moment_is_proven_and_one_to_come_is_not(program: Program, subject: str) -> None:
    program("register")
    log = program("replay", "--json").lines
    first = log[0]["recorded_at"]
    ran = program("prove", "--subject", subject, "--as-of", first, "-o", "then.zip", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["as_of"]["count"] >= 1
    assert verdicts(program, "then.zip")["as-of"] == "proven"
    for wrong in ("2999-01-01T00:00:00Z", "1999-01-01T00:00:00Z", "2026-11-22T10:00:00", "yesterday"):
        ran = program("prove", "--subject", subject, "--as-of", wrong, "-o", "x.zip")
        assert ran.code == 2, wrong
        assert "--as-of" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--order", CANARY),
        ("--subject", CANARY),
        ("--tag", ""),
        ("--absent", ""),
        ("--absent", "a", "--tag", "b"),
        ("--tag", "a", "--disclose", CANARY),
    ],
)
def test_wrong_usage_is_said_to_be_so_without_the_value(program: Program, data: Path, words: tuple[str, ...]) -> None:
    ran = program("prove", *words, "-o", "x.zip")
    assert ran.code == 2
    assert CANARY not in ran.err
    assert not Path("x.zip").exists()


def test_the_index_is_committed_once(program: Program, subject: str) -> None:
    first = program("index", "--json").json
    assert first["size"] == first["index"] > 0
    assert first["tags"] > 0
    assert program("index", "--json").json == first
    again = program("index", "--rebuild", "--json")
    assert again.json == first
    assert "Committed by entry" in program("index").out
    report: Any = program("verify", "--json").json
    assert (report["ok"], report["commitments"]) == (True, 1)
