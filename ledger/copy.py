"""Copying a ledger to another place and engine, byte for byte: every checkpoint and receipt holds for the copy too.

    copy_ledger(ledger, Place(data=…, guard=…, server=Server(dsn=…)), kek=…, signer=…)

Entries, leaves, sealed rows, checkpoints and idempotency rows are copied as they are, tags and tiles made anew from
them, and each page is compared with a signed checkpoint before it is written. Data keys are copied as they are wrapped,
under the same key-encryption key; destructions are replayed before the copy is handed over.

A copy that was cut off does not open: its key store has no check value and it has no guard, both of which come last.
Copying again goes on where it ended; so does copying once more after the source has grown. What is derived (the
projections) is not copied: it is rebuilt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import groupby, islice
from pathlib import Path
from typing import Final

import msgspec

from ledger.entry import parse
from ledger.errors import StorageError, Tampered
from ledger.ledger import KEYS_FILE, LEDGER_FILE, Ledger, open_ledger, postgres_driver
from ledger.sealing import Box
from ledger.storage.engine import Batch, Engine, EventRow, Tile
from ledger.storage.guard import Guard
from ledger.storage.key_table import KeyTable
from ledger.storage.server import Server
from ledger.storage.sqlite import SqliteEngine
from ledger.storage.sqlite_keys import SqliteKeyTable
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.tree import Tree

Progress = Callable[[str, int, int | None], None]
"""Is told (part, done, total if known) now and then."""

# What one transaction of the copy takes at least, unless it is the last one.
_PAGE_EVENTS: Final = 2_000
_PAGE_BYTES: Final = 16 * 1024 * 1024
_PAGE_IDEMPOTENCY: Final = 2_000


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger lies: its directory, its guard, and its server if it is not in files of the directory."""

    data: Path
    guard: Path
    server: Server | None = None

    def make_engine(self, ledger: Ledger) -> Engine:
        """Make an empty ledger of the same name and key, or open the one that is here."""
        name = {"origin": ledger.origin, "verifier": str(ledger.verifier)}
        if self.server is None:
            return SqliteEngine.create(self.data / LEDGER_FILE, **name)
        with postgres_driver():
            from ledger.storage.postgres import PostgresEngine
        return PostgresEngine.create(self.server, **name)

    def keys(self, *, create: bool) -> KeyTable | None:
        """Open the rows of the key store, or make them; None where there are none, without `create`."""
        if self.server is None:
            path = self.data / KEYS_FILE
            return SqliteKeyTable(path, create=create) if create or path.exists() else None
        with postgres_driver():
            from ledger.storage.postgres_keys import PostgresKeyTable
        if create:
            return PostgresKeyTable.create(self.server)
        return PostgresKeyTable(self.server) if PostgresKeyTable.exists(self.server) else None


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A finished copy: `size` entries under `root` (32 bytes), of which `found` were there before; `keys` data keys."""

    size: int
    root: bytes
    found: int
    keys: int


def copy_ledger(
    ledger: Ledger,
    target: Place,
    *,
    kek: bytes,
    signer: Signer,
    progress: Progress = lambda what, done, total: None,
) -> Copied:
    """Copy an open ledger to `target`, and open the copy once, with a guard of its own, to see that it is the same.

    What is recorded meanwhile is copied too: it ends when both are equal. Memory stays flat. Raises StorageError for a
    target that is another ledger or has gone its own way, VerificationError for a source that does not verify, and
    whatever the stores raise; then nothing of the source is changed, and copying again goes on.
    """
    with ExitStack() as opened:
        try:
            target.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(f"{target.data}: cannot be made ({os.strerror(error.errno or 0)})") from error
        engine = opened.enter_context(closing(target.make_engine(ledger)))
        _check_target(ledger, engine, target)
        found = engine.size()
        while True:
            size = _copy_log(ledger, engine, progress)
            _copy_idempotency(ledger.engine, engine, size, progress)
            if ledger.size() == size:
                break
        # After the log, so that no key of it is missing: a key is durable before what is sealed under it.
        table = target.keys(create=True)
        assert table is not None
        keys = ledger.keys.copy_to(opened.enter_context(closing(table)), lambda done: progress("keys", done, None))
    _keep_checkpoint(ledger, target, size)
    with open_ledger(target.data, kek=kek, signer=signer, guard=target.guard, server=target.server) as copy:
        root = copy.tree().root(size)
        if copy.size() < size or root != ledger.tree().root(size):
            raise Tampered("copy", "is not the same log; nothing may be recorded in it")
    return Copied(size=size, root=root, found=found, keys=keys)


# --- what may be copied to ----------------------------------------------------------------------------------


def _check_target(ledger: Ledger, engine: Engine, target: Place) -> None:
    """Refuse whatever is not empty, or not the beginning of the same ledger with the same keys."""
    where = target.data if target.server is None else f"schema {target.server.schema}"
    if (engine.origin, engine.verifier) != (ledger.origin, str(ledger.verifier)):
        raise StorageError(f"{where}: holds the ledger {engine.origin}; name an empty place")
    size, last = engine.size(), engine.checkpoint()
    if size and (size > ledger.size() or last is None or last != ledger.checkpoint(size) or last[0] != size):
        raise StorageError(f"{where}: has gone its own way: its {size} entries are no beginning of this ledger")
    if size and _tree(engine, size).root() != _root(ledger, size):
        raise Tampered("copy", f"{where}: its {size} entries are not those of its checkpoint; name an empty place")
    kept = _kept(ledger, target)
    if kept is not None and kept.root != _root(ledger, kept.size):
        raise StorageError(f"{target.guard}: is the guard of another log; name another file, or remove it if it is old")
    table = target.keys(create=False)
    if table is not None:
        with closing(table):
            if not set(table.secrets()) <= set(ledger.keys.wrapped_secrets()):
                raise StorageError(f"{table.place}: holds keys of its own; name a place where no init was run")


def _kept(ledger: Ledger, target: Place) -> Checkpoint | None:
    if not target.guard.exists():
        return None
    with closing(Guard(target.guard)) as guard, guard.lock():
        note = guard.read()
    return None if note is None else open_checkpoint(note, ledger.verifier, ledger.origin)


def _root(ledger: Ledger, size: int) -> bytes | None:
    return ledger.tree().root(size) if size <= ledger.size() else None


# --- the log ------------------------------------------------------------------------------------------------


def _copy_log(ledger: Ledger, engine: Engine, progress: Progress) -> int:
    """Copy what is missing of the log, in pages that each end with a checkpoint; return the size that was reached."""
    first, end = engine.size(), ledger.size()
    tree = _tree(engine, first)
    for events, notes in _pages(ledger.engine, first, end):
        for event in events:
            tree.append(event.leaf)
        size, note = notes[-1]
        if open_checkpoint(note, ledger.verifier, ledger.origin) != Checkpoint(ledger.origin, size, tree.root()):
            raise Tampered("copy", f"the checkpoint of {size} entries is of others: run `prooftrail verify`")
        tiles = [Tile(*tile) for tile in tree.take_full_tiles()]
        batch = Batch(events, tiles, (), size, note, parse(events[-1].entry).recorded_at, notes[:-1])
        with engine.begin() as transaction:
            if transaction.head.size != events[0].index:
                raise StorageError("something else writes to the copy; end it and copy again")
            transaction.insert(batch)
            transaction.commit()
        tree.commit()
        progress("entries", size, end)
    return end


def _pages(source: Engine, first: int, end: int) -> Iterator[tuple[list[EventRow], list[tuple[int, bytes]]]]:
    """Yield the events from `first` on with the checkpoints among them; each page ends with one."""
    boxes = _boxes(source, first, end)
    checkpoints = (each for each in source.checkpoints() if each[0] > first)
    events: list[EventRow] = []
    notes: list[tuple[int, bytes]] = []
    checkpoint, stored = next(checkpoints, None), 0
    for row in source.audit(first, end):
        entry = parse(row.entry)
        expected = first + len(events)
        if (entry.index, row.index, row.type) != (expected, expected, entry.type) or leaf_hash(row.entry) != row.leaf:
            raise Tampered(f"entry {row.index}", "is not the one that was recorded: run `prooftrail verify`")
        sealed = next(boxes)
        events.append(
            EventRow(row.index, row.type, row.entry, row.leaf, [(tag.tag, tag.n) for tag in entry.tags], sealed)
        )
        stored += len(row.entry) + sum(len(box.bytes) for box in sealed)
        if checkpoint is None or checkpoint[0] != row.index + 1:
            continue
        notes.append(checkpoint)
        checkpoint = next(checkpoints, None)
        if len(events) >= _PAGE_EVENTS or stored >= _PAGE_BYTES or row.index + 1 == end:
            yield events, notes
            first, stored, events, notes = first + len(events), 0, [], []
    if events or first != end:
        raise Tampered("copy", "the log does not end with a checkpoint: run `prooftrail verify`")


def _boxes(source: Engine, first: int, end: int) -> Iterator[list[Box]]:
    """Yield the sealed rows of each event in turn, none where there are none."""
    index = first
    for at, rows in groupby(source.boxes_between(first, end), key=lambda row: row[0]):
        while index < at:
            yield []
            index += 1
        yield [box for _, box in rows]
        index += 1
    while index < end:
        yield []
        index += 1


def _tree(engine: Engine, size: int) -> Tree:
    def load_tile(level: int, n: int) -> bytes:
        hashes = engine.tile(level, n)
        if hashes is None:
            raise Tampered("copy", f"tile {level}/{n} is missing in it; name an empty place")
        return hashes

    return Tree.load(size, load_tile, engine.leaves)


def _copy_idempotency(source: Engine, engine: Engine, size: int, progress: Progress) -> None:
    """Copy the rows of requests that made entries below `size`. They have no order to go on from: all are offered."""
    rows = (row for row in source.idempotency() if row.first + row.count <= size)
    done = 0
    while some := list(islice(rows, _PAGE_IDEMPOTENCY)):
        with engine.begin() as transaction:
            transaction.insert_idempotency(some)
            transaction.commit()
        done += len(some)
        progress("requests", done, None)


def _keep_checkpoint(ledger: Ledger, target: Place, size: int) -> None:
    """Begin the copy's own guard, or bring it forward."""
    last = ledger.checkpoint(size) if size else None
    with closing(Guard(target.guard, create=True)) as guard, guard.lock():
        if last is not None and guard.read() != last[1]:
            guard.write(last[1])
