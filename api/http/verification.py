"""The verification that runs beside the service: the whole log at first, then what was added, in a process of its own.

It costs a lot of computing and must not slow what is served: a child with the lowest priority does it, by the same
program that an operator calls (`prooftrail verify`). What it found is part of GET /health/ledger.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from api.settings import Settings
from ledger import Ledger

EVERY_S: Final = 3_600.0
FIRST_AFTER_S: Final = 30.0

_PROGRAM: Final = "import os; os.nice(19); from api.cli import main; main()"


class Verified(msgspec.Struct, frozen=True):
    """What the last verification found: so many entries hold, or the first check that does not."""

    size: int | None = None
    at: datetime | None = None
    failure: str | None = None


class Verification:
    """Verifies a ledger again and again. `found` is the last result."""

    def __init__(self, settings: Settings, ledger: Ledger, *, every_s: float = EVERY_S) -> None:
        self.found = Verified()
        self._settings = settings
        self._ledger = ledger
        self._every_s = every_s
        self._since: bytes | None = None
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="verification", daemon=True)

    def start(self) -> None:
        """Begin, a while from now."""
        self._thread.start()

    def close(self) -> None:
        """End, and a verification that is at work with it."""
        self._stopping.set()
        if (child := self._child) is not None:
            child.terminate()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait_s = min(FIRST_AFTER_S, self._every_s)
        while not self._stopping.wait(wait_s):
            wait_s = self._every_s
            # A child that cannot be started is not a broken ledger: it is tried again.
            with suppress(OSError):
                self.verify()

    def verify(self) -> None:
        """Verify now, up to what is recorded now."""
        last = self._ledger.checkpoint()
        if last is None:
            return
        with tempfile.TemporaryDirectory(prefix="prooftrail-") as scratch:
            arguments = ["verify", "--json", "--data", str(self._settings.data)]
            if self._since is not None:
                kept = Path(scratch) / "checkpoint"
                kept.write_bytes(self._since)
                arguments += ["--since", str(kept)]
            self._child = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ, start_new_session=True,
            )  # fmt: skip
            if self._stopping.is_set():
                self._child.terminate()
            output, _ = self._child.communicate()
        if self._stopping.is_set():
            return
        self._take(output, last)

    def _take(self, output: bytes, last: tuple[int, bytes]) -> None:
        now = datetime.now(UTC)
        try:
            report = msgspec.json.decode(output)
            failure = None if report["ok"] else _first(report)
        except (msgspec.DecodeError, KeyError, TypeError):
            self.found = Verified(self.found.size, now, "verification gave no answer: run `prooftrail verify`")
            return
        self.found = Verified(report.get("size", last[0]) if failure is None else self.found.size, now, failure)
        if failure is None:
            self._since = last[1]


def _first(report: dict[str, object]) -> str:
    """Return the first check that failed, by its name and place."""
    problems = report.get("problems")
    if isinstance(problems, list) and problems:
        return f"{problems[0].get('check')}: {problems[0].get('where')}"
    return "values are missing" if report.get("missing") else "not verified: run `prooftrail verify`"
