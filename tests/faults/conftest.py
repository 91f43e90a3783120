"""Where the injectors work, and how long.

PROOFTRAIL_KILLS, PROOFTRAIL_CRASH_STATES and PROOFTRAIL_MUTATIONS (environment) make the runs against the ledger
longer, and those against the stand-in with them; pytest takes options only from the conftest at the top, and an
injector should not need that one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

KILLS = int(os.environ.get("PROOFTRAIL_KILLS", "200"))
CRASH_STATES = int(os.environ.get("PROOFTRAIL_CRASH_STATES", "2000"))
MUTATIONS = int(os.environ.get("PROOFTRAIL_MUTATIONS", "300"))

_MEMORY = Path("/dev/shm")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty directory in memory where there is one: thousands of small stores are written to it."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="prooftrail-faults-", dir=_MEMORY))
    yield directory
    shutil.rmtree(directory)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which fault was not injected here and why, also when nobody asked: a skipped fault proves nothing."""
    for report in terminalreporter.getreports("skipped"):
        if "/faults/" in report.nodeid and isinstance(report.longrepr, tuple):
            terminalreporter.write_line(f"not injected: {report.nodeid}: {report.longrepr[2]}")
