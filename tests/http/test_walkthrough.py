"""docs/api.md runs: every shell block of it, in one shell, in an empty directory, and says what the document shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
MARK = "==== {} ===="


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))


def shown_as(text: str) -> re.Pattern[str]:
    """Return what the output has to look like: … stands for anything."""
    return re.compile(".*?".join(map(re.escape, text.strip().split("…"))), re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed; .ci/run installs it")
def test_the_walk_through_does_what_it_says(tmp_path: Path) -> None:
    found = blocks()
    assert len(found) >= 6
    script = "set -eu\n" + "".join(f"{code}\necho; echo '{MARK.format(i)}'\n" for i, (code, _) in enumerate(found))
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PROOFTRAIL_")}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:] + done.stdout[-2_000:]
    rest = done.stdout
    for i, (_, expected) in enumerate(found):
        output, _, rest = rest.partition(MARK.format(i))
        assert shown_as(expected).match(output.strip()), f"block {i}: {output}"
    log = (tmp_path / "serve.log").read_text()
    assert "mari" not in log.lower(), "no personal value is in the log"


def test_a_document_that_says_something_else_is_noticed() -> None:
    assert not shown_as('{"status":"live"}').match('{"status":"ready"}')
    assert shown_as("a…c").match("abbbc")
