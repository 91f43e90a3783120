"""A process that races others on one ledger: for conditions that one of them can win, or to index it.

    python -m tests.postgres.racer '<json of Race>'

Prints `ready` when the ledger is open, begins when a line comes on standard input, and prints a number for each win.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from ledger import Ledger, open_ledger
from ledger.errors import Conflict
from ledger.queue import Ticket
from ledger.storage.engine import QueryItem
from ledger.storage.server import Server
from ledger.vocabulary import Tag
from tests.bench import KEK, SIGNER, an_append, append

ROOT = Path(__file__).parents[2]
_AT_ONCE = 64


class Race(msgspec.Struct):
    """Which ledger, and what to do there: `count` conditions to race for, or events to add and index one by one."""

    directory: str
    server: Server
    count: int
    index: bool = False


class Racer:
    """Such a process, from the outside."""

    def __init__(self, race: Race) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.postgres.racer", msgspec.json.encode(race).decode()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        stdout: Any = self._process.stdout
        assert stdout.readline() == "ready\n"

    def go(self) -> None:
        stdin: Any = self._process.stdin
        stdin.write("go\n")
        stdin.flush()

    def wins(self, timeout_s: float) -> list[int]:
        """Wait for its end; return what it won."""
        output, _ = self._process.communicate(timeout=timeout_s)
        assert self._process.returncode == 0
        return list(map(int, output.split()))

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _race(ledger: Ledger, count: int) -> None:
    for start in range(0, count, _AT_ONCE):
        tickets: list[tuple[int, Ticket]] = []
        for seat in range(start, min(start + _AT_ONCE, count)):
            free = (QueryItem(tags=(Tag(f"seat:{seat}"),)),)
            tickets.append((seat, ledger._sequencer.submit(an_append(f"seat:{seat}", query=free))))
        for seat, ticket in tickets:
            try:
                ticket.wait()
            except Conflict:
                continue
            print(seat)


def _index(ledger: Ledger, count: int) -> None:
    for number in range(count):
        append(ledger, "all", f"t:{number % 7}")
        committed = ledger.commit_index()
        print(committed.size)


def main() -> None:
    race = msgspec.json.decode(sys.argv[1], type=Race)
    with open_ledger(Path(race.directory), kek=KEK, signer=SIGNER, server=race.server) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        (_index if race.index else _race)(ledger, race.count)


if __name__ == "__main__":
    main()
