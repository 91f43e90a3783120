"""witness: made once, served until stopped, and refused where the options make no sense."""

from __future__ import annotations

import json
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

from tests.cli.conftest import Program
from tests.tlog.test_witness import LOG, request


def test_a_witness_is_made_once(program: Program, tmp_path: Path) -> None:
    made = program("witness", "--init", "witness.example/w1", "--data", tmp_path / "w", "--json").json
    assert made["key"].startswith("witness.example/w1+")
    assert (tmp_path / "w" / "witness-key").stat().st_mode & 0o777 == 0o600
    again = program("witness", "--init", "witness.example/w1", "--data", tmp_path / "w")
    assert again.code == 2
    assert made["key"] in again.err


def test_wrong_usage_is_told(program: Program, tmp_path: Path) -> None:
    assert program("witness").code == 2
    assert program("witness", "--init", "no spaces", "--data", tmp_path).code == 1
    program("witness", "--init", "w", "--data", tmp_path / "w")
    for words in (
        ["--listen", "8090", "--log", LOG.verifier],
        ["--listen", "127.0.0.1:x", "--log", LOG.verifier],
        ["--listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--log", "key"],
    ):
        assert program("witness", *words, "--data", tmp_path / "w").code == 2


def test_it_serves_until_it_is_stopped_and_remembers(program: Program, tmp_path: Path) -> None:
    program("witness", "--init", "w", "--data", tmp_path / "w")
    words = ["witness", "--listen", "127.0.0.1:0", "--log", str(LOG.verifier), "--data", str(tmp_path / "w"), "--json"]
    code = "from api.cli import main; main()"
    # Killed after each answer: what was answered is remembered.
    for old, new, expected in ((0, 5, 200), (5, 9, 200), (5, 12, 409)):
        with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["listening"]
            connection = HTTPConnection(url.split("/")[2], timeout=5)
            connection.request("POST", "/add-checkpoint", request(old, new))
            answer = connection.getresponse()
            assert answer.status == expected
            answer.read()
            connection.close()
            process.kill()
