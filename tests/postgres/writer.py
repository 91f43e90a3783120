"""A process that records on a ledger and notes what was acknowledged, in a file of its own.

    python -m tests.postgres.writer '<json of Job>'

Prints `ready` when the ledger is open, and begins when a line comes on standard input. After an error it asks again
with the same idempotency key, as a caller should, until it has an answer or its time is up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

import msgspec

from ledger import Ledger, open_ledger
from ledger.commands import RegisterSubject
from ledger.errors import Conflict, LedgerError
from ledger.storage.server import Server
from tests.bench import KEK, OFFICER, SIGNER, an_id

ROOT = Path(__file__).parents[2]


class Job(msgspec.Struct):
    """What one writing process does: `threads` callers for `seconds`, or until it is ended."""

    name: str
    directory: str
    server: Server | None
    acknowledged: str
    threads: int = 4
    seconds: float = 5.0


def acknowledged(path: Path) -> dict[str, int]:
    """Return index by subject of everything that was acknowledged; a last line that was cut off was not."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return {subject: int(index) for subject, index in (line.split() for line in lines)}


class Writer:
    """A writing process, from the outside."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.postgres.writer", msgspec.json.encode(job).decode()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def finish(self, timeout_s: float = 120) -> dict[str, int]:
        """Wait for its end; return what was acknowledged."""
        self._process.communicate(timeout=timeout_s)
        assert self._process.returncode == 0
        return acknowledged(Path(self.job.acknowledged))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def _record(ledger: Ledger, job: Job, number: int, file: int, deadline: float) -> None:
    done = 0
    while monotonic() < deadline:
        subject = an_id(f"{job.name}/{number}/{done}")
        while True:
            try:
                receipt = ledger.record(RegisterSubject(subject_id=subject), OFFICER, idempotency_key=subject)
                # One write: what stands in the file whole was acknowledged before.
                os.write(file, f"{subject} {receipt.index}\n".encode())
                break
            except (Conflict, LedgerError):
                # In doubt, or not reached: the same key gives the same receipt, whichever it was.
                if monotonic() > deadline:
                    return
                sleep(0.02)
        done += 1


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    file = os.open(job.acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open_ledger(Path(job.directory), kek=KEK, signer=SIGNER, server=job.server) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        deadline = monotonic() + job.seconds
        threads = [
            threading.Thread(target=_record, args=(ledger, job, number, file, deadline))
            for number in range(job.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
