"""Where a ledger lies, in files of a directory or on a server: making it there, opening it, its public keys.

`open_ledger` wires engine, keys, guard, signing keys, witnesses and clock. What does not live here: what is done with
a ledger once it is open (ledger).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from ledger.command import Limits
from ledger.errors import Invalid, StorageError
from ledger.keys import KeyStore
from ledger.ledger import Ledger
from ledger.signing_keys import LogKeys, Signers, SigningKeys, read_log_keys
from ledger.storage.cosignatures import CosignatureStore
from ledger.storage.engine import Engine
from ledger.storage.guard import MAX_KEPT_BYTES, Guard
from ledger.storage.key_table import KeyTable
from ledger.storage.server import Server
from ledger.storage.sqlite import SqliteEngine
from ledger.storage.sqlite_keys import SqliteKeyTable
from ledger.tlog.ask import WitnessAddress
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import Signer, Verifier, is_name

# The database, key store, guard and cosignatures of a data directory.
LEDGER_FILE: Final = "ledger.db"
KEYS_FILE: Final = "keys.db"
GUARD_FILE: Final = "guard"
COSIGNATURES_FILE: Final = "cosignatures.db"

MAX_ORIGIN: Final = 200

# How often the tag index is committed while anything is recorded, unless a setting says otherwise.
INDEX_EVERY_S: Final = 60.0


def create_ledger(
    data: Path, *, origin: str, kek: bytes, signer: Signer, guard: Path | None = None, server: Server | None = None
) -> None:
    """Make a new ledger: database, key store, guard. Safe when several processes do it at once.

    All of it in `data`; with a `server` the guard alone, and the rest in its schemas. There a ledger that others made
    is joined: this host's guard begins at its last checkpoint. Raises Invalid for an origin that no checkpoint can
    carry, StorageError when directory or server cannot be used.
    """
    if not is_name(origin) or len(origin) > MAX_ORIGIN or not origin.isascii():
        raise Invalid("origin", f"is a name like example.com/ledger: ASCII without spaces or '+', at most {MAX_ORIGIN}")
    if signer.name != origin:
        raise Invalid("signer", "is named for the origin of the ledger")
    assert MAX_ORIGIN * 4 < MAX_KEPT_BYTES
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"{data}: cannot be made ({error.strerror})") from error
    # The name of the directory too must outlive a power cut.
    parent = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fsync(parent)
    os.close(parent)
    if server is None and (data / LEDGER_FILE).exists() and not (data / KEYS_FILE).exists():
        # An empty one in its place would hide the loss: values would read as missing, idempotency keys as new.
        raise StorageError(
            f"{data / KEYS_FILE}: is missing, but {LEDGER_FILE} was made with it; restore it from a backup"
        )
    kept = Guard(guard or data / GUARD_FILE, create=True)
    try:
        if server is None:
            with kept.lock():
                # Where a ledger is, its key store was finished before it; one that is not is a copy that was cut off.
                fresh = not (data / LEDGER_FILE).exists()
                KeyStore(SqliteKeyTable(data / KEYS_FILE, create=True), kek, create=fresh).close()
                engine = SqliteEngine.create(data / LEDGER_FILE, origin=origin, verifier=str(signer.verifier))
                try:
                    _check_signer(engine, signer, str(data))
                finally:
                    engine.close()
        else:
            _create_on(server, kek, signer, kept)
    finally:
        kept.close()


def existing_stores(data: Path, server: Server | None = None) -> Iterator[tuple[str, bool]]:
    """Yield what there is of a ledger, the data keys first: its name, and whether it is the log itself."""
    if server is None:
        for name in (KEYS_FILE, LEDGER_FILE):
            if (data / name).exists():
                yield name, name == LEDGER_FILE
        return
    with postgres_driver():
        from ledger.storage.postgres import PostgresEngine
        from ledger.storage.postgres_keys import PostgresKeyTable
    if PostgresKeyTable.exists(server):
        yield f"schema {server.keys_schema}", False
    if PostgresEngine.exists(server):
        yield f"schema {server.schema}", True


def _create_on(server: Server, kek: bytes, signer: Signer, guard: Guard) -> None:
    """Make key store and ledger on a server, or join the ones that are there. Others may be recording meanwhile."""
    with postgres_driver():
        from ledger.storage.postgres import PostgresEngine
        from ledger.storage.postgres_keys import PostgresKeyTable
    # The log is looked for first: whoever makes both at the same time makes the keys before it. So where a log is, its
    # key store was finished; one that is not is a copy that was cut off.
    fresh = not PostgresEngine.exists(server)
    if not fresh and not PostgresKeyTable.exists(server):
        # An empty one in its place would hide the loss: values would read as missing, idempotency keys as new.
        raise StorageError(
            f"schema {server.keys_schema}: is missing, but {server.schema} was made with it; restore it from a backup"
        )
    KeyStore(PostgresKeyTable.create(server), kek, create=fresh).close()
    engine = PostgresEngine.create(server, origin=signer.name, verifier=str(signer.verifier))
    try:
        _check_signer(engine, signer, engine.place)
        # Whoever records holds the server's lock before the guard's: here too.
        with engine.begin() as transaction, guard.lock():
            transaction.commit()
            if guard.read() is None:
                # Of an empty log too: others may record before this host does, and find its guard no younger than it.
                guard.write(_last_note(engine, signer))
    finally:
        engine.close()


def _last_note(engine: Engine, signer: Signer) -> bytes:
    """Return the last signed checkpoint of a log, of an empty one a fresh one."""
    last = engine.checkpoint()
    if last is None:
        return sign_checkpoint(Checkpoint(engine.origin, 0, EMPTY_ROOT), signer)
    read_log_keys(engine, last[0]).open(last[1])
    return last[1]


def _check_signer(engine: Engine, signer: Signer, place: str) -> None:
    known = read_log_keys(engine, engine.size())
    if signer.verifier not in (key.verifier for key in known.keys if key.until is None):
        raise StorageError(f"{place}: holds the ledger {engine.origin} already, signed by another key")


@contextmanager
def postgres_driver() -> Iterator[None]:
    """Import the driver of PostgreSQL: an extra, and nothing that a ledger in a file needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StorageError("PostgreSQL needs an extra; install it with: pip install 'prooftrail[postgres]'") from error


def _open_stores(data: Path, server: Server | None) -> tuple[Engine, Callable[[], KeyTable]]:
    if server is None:
        return SqliteEngine(data / LEDGER_FILE), partial(SqliteKeyTable, data / KEYS_FILE)
    with postgres_driver():
        from ledger.storage.postgres import PostgresEngine
        from ledger.storage.postgres_keys import PostgresKeyTable
    return PostgresEngine(server), partial(PostgresKeyTable, server)


def public_key(data: Path, server: Server | None = None) -> Verifier:
    """Return the public key of a ledger; needs none of its secrets. Raises StorageError."""
    return public_keys(data, server).newest


def public_keys(data: Path, server: Server | None = None) -> LogKeys:
    """Return every key that signs or signed a ledger; needs none of its secrets. Raises StorageError."""
    engine, _ = _open_stores(data, server)
    try:
        return read_log_keys(engine, engine.size())
    finally:
        engine.close()


def open_ledger(
    data: Path,
    *,
    kek: bytes,
    signer: Signer | Signers,
    guard: Path | None = None,
    server: Server | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    limits: Limits | None = None,
    queue_limit: int = 4_096,
    index_every_s: float | None = INDEX_EVERY_S,
    witnesses: Sequence[WitnessAddress] = (),
) -> Ledger:
    """Open the ledger in `data`, or on a `server` with its guard in `data`, for reading and recording.

    A ledger of an older version is brought to this one.

    The tag index is committed every `index_every_s` seconds while anything is recorded; None leaves it to whoever asks.

    The `witnesses` are asked in the background to cosign what is recorded; `Ledger.cosigning` says how that goes.
    `signer` is the key that signs it, or what reads the keys that are here: while a key is replaced two of them sign.
    Raises StorageError (absent, not ours, newer, damaged, wrong key), RolledBack when the database is older than its
    guard, Tampered when its tree is not the signed one.
    """
    opened: list[Any] = []
    try:
        engine, open_keys = _open_stores(data, server)
        opened.append(engine)
        signing = SigningKeys(engine, (lambda: (signer,)) if isinstance(signer, Signer) else signer)
        signing.reload(engine.size())
        keys = KeyStore(open_keys(), kek)
        opened.append(keys)
        kept = Guard(guard or data / GUARD_FILE)
        opened.append(kept)
        ledger = Ledger(
            engine, keys, kept, signing,
            clock=clock, limits=limits or Limits(), queue_limit=queue_limit, index_every_s=index_every_s,
        )  # fmt: skip
        opened = [ledger]
        if witnesses or (data / COSIGNATURES_FILE).exists():
            ledger.collect_cosignatures(CosignatureStore(data / COSIGNATURES_FILE), witnesses)
        return ledger
    except BaseException:
        for part in opened:
            part.close()
        raise
