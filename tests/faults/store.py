"""What the injectors need of a store, and the stand-in that proves them.

The contract is `Store`; an injector gets one by a `StoreSpec`, because most of them run it in another process.
The stand-in is a hash chain of rows in SQLite (WAL, synchronous=FULL, page checksums by cksumvfs) beside a small
`guard` file with the last acknowledged head. It is not the ledger: it is the smallest store with the same promises,
and each `Defect` breaks exactly one of them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, cast

import apsw
import apsw.sqlite_extra


@dataclass(frozen=True, slots=True)
class Ack:
    """What a store promised: `payload` is entry `index`, and the first `size` entries have root hash `root` (hex)."""

    payload: str
    index: int
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Oracle:
    """The verdict on a store after a fault: four counts that must be 0, and why it would not start, or ""."""

    acked_missing: int = 0
    gaps: int = 0
    duplicates: int = 0
    root_mismatch: int = 0
    refused: str = ""

    @property
    def holds(self) -> bool:
        return self == Oracle()


class Store(Protocol):
    """A store under test. One instance is used by one process and one thread; payloads are unique.

    An acknowledgement is the return of `append`: from there the entry must survive anything. Whatever `append`
    raises means *not acknowledged*; the entry may be there after a restart or not.
    """

    def open(self, directory: Path) -> None:
        """Open or create the store and recover it, as a start of the service does. Raises when it refuses."""

    def append(self, payload: str) -> Ack:
        """Append one entry durably. Raises when it does not acknowledge."""

    def close(self) -> None:
        """Release every file, whatever happened before; never raises. The instance may be opened again."""

    def verify(self, directory: Path, acks: Sequence[Ack]) -> Oracle:
        """Judge the store at rest in `directory` against `acks`; never raises, leaves nothing open.

        Starts it first, as the service would. Reads the stored entries rather than believe a stored count.
        """


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """Names a store so that another process can build it: "module:callable" and keyword arguments (JSON values)."""

    factory: str
    options: dict[str, str | int | bool] = field(default_factory=dict)

    def build(self) -> Store:
        module, _, name = self.factory.partition(":")
        return cast(Store, getattr(importlib.import_module(module), name)(**self.options))


Defect = Literal[
    "none",
    "synchronous-normal",  # commits without fsync of the WAL
    "synchronous-off",  # never syncs the database
    "early-acknowledgement",  # returns before the commit
    "guard-first",  # the guard is ahead of the database between its write and the commit
    "no-page-checksums",  # the database has no room for them
    "off-by-one",  # after a restart the next index leaves one out
    "acknowledges-after-error",  # takes a failed commit for a commit
]

PAGE_BYTES = 4096
CHECKSUM_BYTES = 8
DATABASE = "store.db"
GUARD = "guard"
GENESIS = bytes(32)

_GUARD_RECORD = struct.Struct(">Q32s")
_GUARD_SLOT_BYTES = 512  # A torn write of one slot leaves the other one whole.


class Refused(Exception):
    """The stand-in refuses to start or to go on."""


@functools.cache
def load_checksums() -> None:
    """Load cksumvfs, once for the process: it stacks on the VFS that is the default at this moment."""
    connection = apsw.Connection(":memory:")
    apsw.sqlite_extra.load(connection, "cksumvfs")
    connection.close()


def page_checksum(page: bytes) -> bytes:
    """Return the checksum that cksumvfs puts in the last 8 bytes of `page`.

    A Fletcher-like sum over pairs of little-endian 32-bit words; written here a second time so that a test does not
    ask the extension whether the extension works.
    """
    words = struct.unpack(f"<{(len(page) - CHECKSUM_BYTES) // 4}I", page[:-CHECKSUM_BYTES])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack("<2I", first, second)


class StandIn:
    """A hash chain on SQLite: root₀ = 32 zero bytes, rootₙ₊₁ = SHA256(rootₙ ‖ payloadₙ)."""

    def __init__(
        self, *, defect: Defect = "none", guard: bool = True, autocheckpoint: int = 24, padding: int = 0
    ) -> None:
        """`autocheckpoint` in pages, small so that a short trace has checkpoints; `padding` widens the rows.

        Without `guard` a store that lost something starts all the same, and only the oracle can tell.
        """
        self._defect = defect
        self._autocheckpoint = autocheckpoint
        self._padding = "." * padding
        self._connection: apsw.Connection | None = None
        self._guards = guard
        self._guard = -1
        self._stopped = False
        self._size = 0
        self._root = GENESIS
        self._next = 0

    def open(self, directory: Path) -> None:
        load_checksums()
        self._stopped = False
        try:
            self._connection = self._connect(directory / DATABASE)
            self._load_head()
            if self._guards:
                self._guard = os.open(directory / GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._sync_directory(directory)
                self._compare_guard()
        except BaseException:
            self.close()
            raise

    def append(self, payload: str) -> Ack:
        if self._stopped or self._connection is None:
            raise Refused("stopped by an earlier failure; a restart recovers")
        connection = self._connection
        index, size = self._next, self._size + 1
        stored = payload + self._padding
        root = hashlib.sha256(self._root + stored.encode()).digest()
        try:
            if connection.in_transaction:
                connection.execute("COMMIT")
            if self._defect == "guard-first":
                self._write_guard(size, root)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO entry(id, payload, root) VALUES (?, ?, ?)", (index, stored, root))
            if self._defect != "early-acknowledgement":
                connection.execute("COMMIT")
                # The row is durable from here; the guard never runs ahead of it.
                self._write_guard(size, root)
        except (apsw.Error, OSError) as error:
            if self._defect != "acknowledges-after-error":
                self._stopped = True
                raise Refused(f"stopped: {error}") from error
        self._size, self._root, self._next = size, root, index + 1
        return Ack(payload, index, size, root.hex())

    def close(self) -> None:
        if self._guard >= 0:
            os.close(self._guard)
            self._guard = -1
        if self._connection is not None:
            # A checkpoint at close may fail for the reason that stopped the store; a restart repeats it.
            with suppress(apsw.Error, OSError):
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
            with suppress(apsw.Error, OSError):
                self._connection.close(True)
            self._connection = None

    def verify(self, directory: Path, acks: Sequence[Ack]) -> Oracle:
        try:
            self.open(directory)
            assert self._connection is not None
            rows = list(self._connection.execute("SELECT id, payload, root FROM entry ORDER BY id"))
            self.close()
            # Only now: after a crash within a checkpoint a page may be torn, and the WAL makes it whole again.
            self._read_every_page(directory / DATABASE)
        except (apsw.Error, OSError, Refused) as error:
            return Oracle(refused=f"{type(error).__name__}: {error}")
        finally:
            self.close()
        return self._judge(rows, acks)

    def _judge(self, rows: list[tuple[int, str, bytes]], acks: Sequence[Ack]) -> Oracle:
        roots = [GENESIS]
        mismatched = 0
        # Stored bytes may be anything: NULL where the schema forbids it, when a page is damaged.
        rows = [(index, str(stored), root) for index, stored, root in rows]
        for _, stored, root in rows:
            roots.append(hashlib.sha256(roots[-1] + stored.encode()).digest())
            mismatched += roots[-1] != root
        payloads = Counter(stored[: len(stored) - len(self._padding)] for _, stored, _ in rows)
        by_index = {index: stored for index, stored, _ in rows}
        mismatched += sum(1 for ack in acks if ack.size >= len(roots) or roots[ack.size].hex() != ack.root)
        return Oracle(
            acked_missing=sum(1 for ack in acks if by_index.get(ack.index) != ack.payload + self._padding),
            gaps=sum(1 for expected, row in enumerate(rows) if row[0] != expected),
            duplicates=sum(count - 1 for count in payloads.values()),
            root_mismatch=mismatched,
        )

    def _connect(self, path: Path) -> apsw.Connection:
        connection = apsw.Connection(str(path), vfs="cksmvfs")
        try:
            connection.set_busy_timeout(2000)
            if self._defect != "no-page-checksums":
                if connection.pragma("page_count") == 0:
                    connection.reserve_bytes("main", CHECKSUM_BYTES)
                # cksumvfs looks at this byte of page 1 to decide whether to check anything: a change there would
                # silence it.
                elif connection.reserve_bytes("main") != CHECKSUM_BYTES:
                    raise Refused("the database has no page checksums")
            connection.pragma("journal_mode", "wal")
            levels = {"synchronous-normal": "normal", "synchronous-off": "off"}
            connection.pragma("synchronous", levels.get(self._defect, "full"))
            connection.pragma("wal_autocheckpoint", self._autocheckpoint)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, payload TEXT NOT NULL, root BLOB NOT NULL)"
            )
        except BaseException:
            connection.close(True)
            raise
        return connection

    @staticmethod
    def _sync_directory(directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _load_head(self) -> None:
        assert self._connection is not None
        head = list(self._connection.execute("SELECT id, root FROM entry ORDER BY id DESC LIMIT 1"))
        last, self._root = cast("tuple[int, bytes]", head[0]) if head else (-1, GENESIS)
        self._size = cast(int, self._connection.execute("SELECT count(*) FROM entry").get)
        self._next = last + 1
        if self._defect == "off-by-one" and head:
            self._next += 1

    def _write_guard(self, size: int, root: bytes) -> None:
        if not self._guards:
            return
        record = _GUARD_RECORD.pack(size, root)
        record += hashlib.sha256(record).digest()
        os.pwrite(self._guard, record, size % 2 * _GUARD_SLOT_BYTES)
        os.fdatasync(self._guard)

    def _compare_guard(self) -> None:
        """Refuse a database that is older than the head that was acknowledged last."""
        assert self._connection is not None
        for slot in (0, 1):
            stored = os.pread(self._guard, _GUARD_RECORD.size + 32, slot * _GUARD_SLOT_BYTES)
            record, digest = stored[: _GUARD_RECORD.size], stored[_GUARD_RECORD.size :]
            if len(record) < _GUARD_RECORD.size or hashlib.sha256(record).digest() != digest:
                continue
            size, root = _GUARD_RECORD.unpack(record)
            if size and self._connection.execute(
                "SELECT root FROM entry ORDER BY id LIMIT 1 OFFSET ?", (size - 1,)
            ).fetchall() != [(root,)]:
                raise Refused(f"rolled back: the guard knows {size} entries")

    def _read_every_page(self, path: Path) -> None:
        """Read the file page by page through cksumvfs, free pages too: it raises for a page that changed."""
        flags = [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0]
        file = apsw.VFSFile("cksmvfs", str(path), flags)
        try:
            for offset in range(0, file.xFileSize() - PAGE_BYTES + 1, PAGE_BYTES):
                file.xRead(PAGE_BYTES, offset)
        finally:
            file.xClose()
