"""rotate-key and key: both steps, what is kept, and a process that is killed anywhere between."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.settings import NEXT_SIGNING_KEY_FILE, SIGNING_KEY_FILE, directory_settings
from ledger.commands import RegisterSubject
from ledger.tlog.fsck import fsck
from ledger.vocabulary import SubjectId, new_id
from projections.evidence import verify
from tests.bench import OFFICER
from tests.cli.conftest import Program

# Dies before the k-th step that makes anything durable or names a file; prints how far it came when there is no such.
_CHILD = """
import os, sys
from api.cli import app
from ledger.storage.sqlite import SqliteTransaction

left = int(sys.argv[1])

def dying(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*arguments, **named)
    return call

for name in ("fsync", "fdatasync", "link", "replace"):
    setattr(os, name, dying(getattr(os, name)))
SqliteTransaction.commit = dying(SqliteTransaction.commit)
for arguments in (["rotate-key"], ["rotate-key", "--finish"]):
    try:
        app([*arguments, "--data", sys.argv[2]])
    except SystemExit as end:
        if end.code:
            sys.exit(end.code)
"""


def rotate_and_die(data: Path, before: int) -> int:
    return subprocess.run([sys.executable, "-c", _CHILD, str(before), str(data)], capture_output=True).returncode


def check(data: Path) -> None:
    """Check that the ledger opens, records and verifies, whatever the rotation is at."""
    with directory_settings(data).open() as ledger:
        ledger.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER)
        report = fsck(ledger)
        assert report.ok, report.problems


def test_a_rotation_that_is_killed_anywhere_goes_on(tmp_path: Path) -> None:
    steps = 0
    while True:
        data = tmp_path / str(steps)
        settings = directory_settings(data)
        settings.initialise("example.com/rotation")
        first = settings.signer().verifier
        code = rotate_and_die(data, steps + 1)
        check(data)
        with settings.open() as ledger:
            done = len(ledger.log_keys().keys) == 2 and not ledger.log_keys().overlaps
            if not done and not ledger.log_keys().overlaps:
                ledger.rotate_key(settings.next_signer(ledger.origin).verifier)
            if not done:
                ledger.retire_key()
            settings.adopt_next_signer(ledger.verifier)
            newest = ledger.verifier
        check(data)
        # Neither key is lost, whenever it died, and the new one has the old one's name.
        assert not (data / NEXT_SIGNING_KEY_FILE).exists()
        assert settings.signer().verifier == newest != first
        assert {signer.verifier for signer in settings.signers()} == {first, newest}
        if code != 9:
            assert code == 0
            break
        steps += 1
    assert steps > 10


def test_both_steps_say_what_to_do_next(program: Program, data: Path) -> None:
    old = program("key").out.strip()
    ran = program("rotate-key")
    assert ran.code == 0
    assert "rotate-key --finish" in ran.out
    new = program("key").out.strip()
    assert new in ran.out
    assert new != old
    assert program("rotate-key").code == 1
    finished = program("rotate-key", "--finish", "--json").json
    assert [key["key"] for key in finished["keys"]] == [old, new]
    kept = Path(finished["kept"])
    assert kept.name == f"{SIGNING_KEY_FILE}.{old.split('+')[1]}"
    assert kept.stat().st_mode & 0o777 == 0o600
    ran = program("key", "--all")
    assert old in ran.out
    assert new in ran.out
    assert program("verify").code == 0


def test_finishing_what_was_not_begun_is_refused(program: Program, data: Path) -> None:
    ran = program("rotate-key", "--finish")
    assert ran.code == 1
    assert "only the older key" in ran.err


def test_init_again_after_a_rotation_finds_the_ledger(program: Program, data: Path) -> None:
    program("rotate-key")
    program("rotate-key", "--finish")
    assert program("init").code == 0


@pytest.mark.parametrize("name", [SIGNING_KEY_FILE, NEXT_SIGNING_KEY_FILE])
def test_without_one_of_both_keys_the_ledger_says_which(program: Program, data: Path, name: str) -> None:
    program("rotate-key")
    (data / name).unlink()
    ran = program("verify")
    assert ran.code == 2
    assert "signing" in ran.err


def test_how_things_stood_before_a_rotation_is_proven_with_both_keys(
    program: Program, data: Path, tmp_path: Path
) -> None:
    subject = program("register").out.strip()
    old = program("key").out.strip()
    time.sleep(0.01)
    then = datetime.now(UTC).isoformat()
    program("rotate-key")
    program("rotate-key", "--finish")
    new = program("key").out.strip()
    to = tmp_path / "then.zip"
    ran = program("prove", "--subject", subject, "--as-of", then, "-o", to)
    assert ran.code == 0, ran.err
    assert f"--key '{new}' --key '{old}'" in ran.out
    assert verify.main([str(to), "--key", new, "--key", old]) == 0
    assert verify.main([str(to), "--key", new]) == 1
    assert verify.main([str(to), "--key", old]) == 1
    # How things stand now needs the new key alone; what was handed out under the old one, the old one.
    now = tmp_path / "now.zip"
    assert program("prove", "--subject", subject, "-o", now).code == 0
    assert verify.main([str(now), "--key", new]) == 0
