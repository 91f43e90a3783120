"""A process that appends to a ledger on PostgreSQL: `python -m benchmarks.postgres_writer '<json>'`.

Prints `ready`, and for each number that comes on standard input appends as many events and prints the seconds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import store
from benchmarks.append import Appends
from benchmarks.history import People
from ledger.storage.server import Server


class Job(msgspec.Struct):
    """Which ledger, whose people are on it, and by how many threads."""

    data: str
    server: Server
    events: int
    callers: int


class Writer:
    """Such a process, from the outside."""

    def __init__(self, job: Job) -> None:
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.postgres_writer", msgspec.json.encode(job).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer("ready")

    def begin(self, count: int) -> None:
        stdin: Any = self._process.stdin
        stdin.write(f"{count}\n")
        stdin.flush()

    def seconds(self) -> float:
        return float(self._answer(""))

    def close(self) -> None:
        self._process.communicate()

    def _answer(self, expected: str) -> str:
        stdout: Any = self._process.stdout
        line: str = stdout.readline()
        assert line.startswith(expected), line
        return line


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    with store.reopen(Path(job.data), job.server) as ledger:
        appends = Appends(ledger, People(job.events), alone=False)
        print("ready", flush=True)
        for line in sys.stdin:
            print(appends.in_threads(job.callers, int(line)).seconds, flush=True)


if __name__ == "__main__":
    main()
