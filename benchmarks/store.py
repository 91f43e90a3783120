"""The ledgers that are measured: opened like any other, with keys that protect nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ledger import Actor, Ledger, create_ledger, open_ledger
from ledger.copy import Place, copy_ledger
from ledger.opening import LEDGER_FILE
from ledger.storage.server import Server
from ledger.tlog.note import Signer
from ledger.vocabulary import ActorId, Role, new_id

ORIGIN: Final = "bench.example/records"
# Fixed, so that a cached ledger opens again. What is sealed under them is made up.
_KEK: Final = bytes(range(32))
_SIGNER: Final = Signer(ORIGIN, bytes(32))

LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR: Final = Actor(id=ActorId(new_id()), role=Role.OFFICER)


def create(data: Path, server: Server | None = None) -> Ledger:
    """Make an empty ledger in `data`, or on a server, and open it."""
    create_ledger(data, origin=ORIGIN, kek=_KEK, signer=_SIGNER, server=server)
    return reopen(data, server)


def reopen(data: Path, server: Server | None = None) -> Ledger:
    """Open a ledger that was made here, or copied to a server."""
    # What is measured is committed when the benchmark says so.
    return open_ledger(data, kek=_KEK, signer=_SIGNER, server=server, index_every_s=None)


def copy(ledger: Ledger, place: Place) -> None:
    """Copy a ledger that was made here."""
    copy_ledger(ledger, place, kek=_KEK, signer=_SIGNER)


def database(data: Path) -> Path:
    """The database file of a ledger."""
    return data / LEDGER_FILE
