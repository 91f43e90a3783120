"""How the program ends: exit codes, one line of error, nothing personal in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.failure import failure_of
from ledger import errors
from tests.cli.conftest import CANARY, Program

PROGRAM = [sys.executable, "-c", "from api.cli import main; main()"]
ROOT = Path(__file__).parents[2]


def environment(data: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PROOFTRAIL_DATA": str(data), "COLUMNS": "80"}


def shell(data: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words], env=environment(data), input=stdin, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        (CANARY,),
        ("register", CANARY),
        ("register", f"--{CANARY}"),
        ("register", f"--subject={CANARY}"),
        ("register", "--as", CANARY),
        ("register", "--purpose", CANARY),
        ("register", "--fields"),
        ("register", f"--json={CANARY}"),
        ("record",),
        ("record", f"{CANARY}/file"),
        ("record", "-", "--actor", CANARY),
        ("record-order", f"{CANARY}.xml"),
        ("record-order", "a", "--client", CANARY, "--subject", CANARY, "--channel", "software"),
        ("record-order", "a", "--client", "a", "--subject", "b", "--channel", CANARY),
        ("lookup", CANARY),
        ("lookup", "email", CANARY),
        ("state", "--subject", CANARY),
        ("state",),
        ("replay", "--from", CANARY),
        ("history", "--order", CANARY),
        ("prove", "--order", CANARY, "-o", "x.zip"),
        ("demo", "--events", CANARY),
        ("demo", "--events", "1"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_usage_is_one_line_that_repeats_nothing(
    program: Program, data: Path, words: tuple[str, ...], as_json: bool
) -> None:
    ran = program(*words, *(["--json"] if as_json and words != ("register", "--fields") else []))
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert CANARY not in ran.err
    if as_json and words != ("register", "--fields"):
        assert ran.error["code"] == "usage"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("stat",), "did you mean state"),
        (("replay", "--form", "1"), "--from"),
        (("record-order", "a"), "--client is needed"),
        (("record-order", "a", "--client", "a", "--subject", "b", "--channel", "fax"), "software, email"),
        (("replay", "--from", "x"), "--from: takes a whole number from 0"),
        (("replay", "--from", "5", "--to", "2"), "--to: is before --from"),
        (("lookup", "fax"), "KIND: takes one of email, "),
        (("register", "--purpose", "fun"), "--purpose: takes one of "),
        (("state",), "--subject is needed"),
        (("record",), "FILE|- is needed"),
    ],
)
def test_wrong_usage_says_what_would_be_right(program: Program, words: tuple[str, ...], told: str) -> None:
    assert told in program(*words).err


def test_help_and_version_need_no_ledger(program: Program) -> None:
    assert program("--version").out.startswith("prooftrail ")
    assert program("--help").code == 0
    bare = program()
    assert (bare.code, bare.err.count("Traceback")) == (2, 0)


@pytest.mark.parametrize(
    "word",
    [
        "init", "key", "new-id", "register", "record", "commands", "record-order", "prove", "state", "lookup",
        "history", "replay", "verify", "checkpoint", "rebuild", "copy", "demo",
    ],
)  # fmt: skip
def test_every_command_teaches_by_example_and_speaks_json(program: Program, word: str) -> None:
    told = program(word, "--help").out
    assert "Example:" in told
    assert "--json" in told
    assert "session" not in told


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (errors.SubjectUnknown(subject="x"), "subject-unknown", 1),
        (errors.Conflict("taken"), "conflict", 1),
        (errors.Busy("full"), "busy", 1),
        (errors.Tampered("entry 1", "changed"), "tampered", 1),
        (errors.RolledBack("guard", "older"), "rolled-back", 1),
        (errors.VerificationError("root", "differs"), "verification-failed", 1),
        (errors.StorageError("disk full"), "storage", 2),
        (errors.Stopped("stopped"), "stopped", 2),
        (OSError(5, f"io {CANARY}", CANARY), "system", 2),
        (ZeroDivisionError(CANARY), "internal", 2),
    ],
)
def test_every_kind_of_error_has_a_code_and_an_exit_code(error: Exception, code: str, exit_code: int) -> None:
    try:
        raise error
    except Exception as raised:
        failure = failure_of(raised)
    assert (failure.code, failure.exit_code) == (code, exit_code)
    if code == "internal":
        assert CANARY not in failure.message


def test_a_refusal_that_was_recorded_says_where(program: Program, subject: str) -> None:
    made = [program("new-id").out.strip() for _ in range(2)]
    request = {
        "command": "request-disclosure", "disclosure_id": made[0], "subject_id": subject, "recipient_id": made[1],
        "purpose": "partner-offers", "basis": "consent", "fields": ["email"],
    }  # fmt: skip
    authorize = {
        "command": "authorize-disclosure", "disclosure_id": made[0], "subject_id": subject, "token_sha256": "0" * 64,
    }  # fmt: skip
    ran = program("record", "-", stdin=f"{json.dumps(request)}\n{json.dumps(authorize)}\n")
    refused = ran.lines[1]["error"]
    assert (refused["code"], refused["evidence"]["recorded_at_index"]) == ("consent-missing", 3)
    assert program("replay", "--from", 3, "--json").lines[0]["type"] == "disclosure-refused"


# --- as a process ---------------------------------------------------------------------------------------------


def test_the_program_runs_as_a_process(data: Path) -> None:
    ran = shell(data, "register", "--fields", "-", "--json", stdin='{"given-name": "Mari"}')
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["position"] == 2
    assert shell(data, "state", "--subject", CANARY, "--json").returncode == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what runs in its background with SIGINT ignored, and a child inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_ends_with_130_and_nothing_half_done(data: Path, program: Program) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "record", "-"], env=environment(data), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write('{"command":"register-subject","subject_id":"2ba03a18-56dc-45ef-bb42-6c45819de0c2"}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["index"] == 0
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "nothing is half done" in told
    assert program("verify", "--json").json["entries"] == 1


def test_a_reader_that_goes_away_is_no_failure_of_the_ledger(data: Path, program: Program) -> None:
    assert program("register").code == 0
    for words in (("replay", "--json"), ("replay",)):
        process = subprocess.Popen(
            [*PROGRAM, *words], env=environment(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read()
        process.stderr.close()
        assert process.wait(20) == 141
        assert told == ""


def test_what_the_program_writes_is_its_owners(data: Path, program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<a/>")
    made = [program("register").out.strip(), program("new-id").out.strip()]
    options = ("--subject", made[0], "--client", made[1], "--channel", "software", "--receipts", "receipts")
    assert shell(data, "record-order", "a.xml", *options).returncode == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "receipts").iterdir())


def test_names_that_are_not_text_are_shown_replaced(data: Path, program: Program, tmp_path: Path) -> None:
    """Bytes that are not UTF-8 come in as lone surrogates, which no JSON holds."""
    file, other = (os.fsdecode(name) for name in (b"bad\xff.xml", b"o\xff"))
    (tmp_path / file).write_text("<a/>")
    subject, client = program("register").out.strip(), program("new-id").out.strip()
    options = ("--subject", subject, "--client", client, "--channel", "software", "--json")
    ran = shell(data, "record-order", file, "nowhere" + other, *options, "--receipts", other)
    assert ran.returncode == 1, ran.stderr
    recorded, failed = json.loads(ran.stdout)["orders"]
    assert (recorded["file"], failed["file"]) == ("bad\ufffd.xml", "nowhereo\ufffd")
    assert recorded["receipt"].startswith("o\ufffd/")
    opened = shell(data, "replay", "--from", "1", "--open", "--json")
    assert json.loads(opened.stdout)["data"]["file_name"] == "bad\ufffd.xml"
    for words in (
        ("checkpoint", "-o", other + "c"),
        ("prove", "--order", recorded["order"], "-o", other + "p"),
    ):
        ran = shell(data, *words, "--json")
        assert ran.returncode == 0, ran.stderr
        assert "o\ufffd" in ran.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("history", "--tag", "?"), ("init", "--origin", "?"), ("verify", "--since", "?"), ("record", "?"),
        ("checkpoint", "--data", "?"), ("key", "--data", "?"), ("init", "--data", "?"), ("demo", "--keep", "?"),
        ("register", "--fields", "?"), ("prove", "--order", "?"),
        ("state", "--subject", "?"), ("commands", "?"), ("lookup", "?"), ("?",), ("checkpoint", "-o", "?/c"),
        ("checkpoint", "?"),
    ],
)  # fmt: skip
def test_words_that_are_not_text_are_refused(program: Program, subject: str, words: tuple[str, ...]) -> None:
    ran = program(*(word.replace("?", os.fsdecode(b"o\xff")) for word in words), "--json")
    assert (ran.code in (1, 2), ran.error["code"] != "internal") == (True, True), ran.err
    assert not [name for name in os.listdir() if name.startswith("o")]


def test_a_key_that_is_not_text_is_refused(program: Program, subject: str, client: str) -> None:
    Path("a.xml").write_text("<a/>")
    options = ("--subject", subject, "--client", client, "--channel", "software", "--json")
    ran = program("record-order", "a.xml", *options, "--idempotency-key", os.fsdecode(b"a\xff"))
    assert (ran.code, ran.json["orders"][0]["error"]["code"]) == (1, "invalid")
