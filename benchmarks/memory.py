"""The most memory that a rebuild and a verification need, each in a process of its own: `python -m benchmarks.memory`.

The peak is the resident set of that process since it began, as Linux counts it (VmHWM): a child's `ru_maxrss` would
start from what its parent held.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import store
from benchmarks.result import Result, measured
from ledger import Ledger
from ledger.tlog.fsck import fsck
from projections import PROJECTIONS_FILE, open_projections

# What the work of a million events may take: it must not grow with the log.
LIMIT_MB: Final = 300


def rows(data: Path) -> list[Result]:
    """Measure on a closed ledger."""
    return [_peak(what, data) for what in ("rebuild", "verify")]


def _peak(what: str, data: Path) -> Result:
    child = [sys.executable, "-m", "benchmarks.memory", what, str(data)]
    megabytes = float(subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return measured(f"memory-{what}", megabytes, unit="MB", at_most=LIMIT_MB, note="peak RSS of a process")


def _rebuild(ledger: Ledger) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_projections(ledger, Path(folder, PROJECTIONS_FILE)) as projections,
    ):
        assert projections.rebuild() == ledger.size()


def _verify(ledger: Ledger) -> None:
    assert fsck(ledger).ok


def _main(what: str, data: str) -> None:
    with store.reopen(Path(data)) as ledger:
        {"rebuild": _rebuild, "verify": _verify}[what](ledger)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    print(int(found.group(1)) / 1_024)


if __name__ == "__main__":
    _main(*sys.argv[1:])
