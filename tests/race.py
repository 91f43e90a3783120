"""Commands carried out at once, from threads: what each was refused for."""

from __future__ import annotations

import threading

from ledger import Ledger
from ledger.command import Command
from ledger.errors import LedgerError
from tests.bench import OFFICER


def race(ledger: Ledger, *commands: Command) -> list[LedgerError | None]:
    """Carry out commands at once; return what each was refused for."""
    barrier = threading.Barrier(len(commands))
    results: list[LedgerError | None] = [None] * len(commands)

    def run(number: int, command: Command) -> None:
        barrier.wait(30)
        try:
            ledger.record(command, OFFICER)
        except LedgerError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(commands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results
