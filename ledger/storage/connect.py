"""Opening a SQLite file the one safe way: WAL, synchronous=FULL, secure_delete, a checksum on every page.

Every page carries a checksum (SQLite's `cksumvfs`, shipped in the apsw wheel): SQLite alone does not notice a bit
that flips inside a value. Both the ledger and the key store are opened here; what is in them is theirs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import apsw
import apsw.sqlite_extra

from ledger.errors import Damaged, Full, StorageError

# "Prft": SQLite's application_id tells our files from any other database (sqlite.org/fileformat2.html §1.3.14).
LEDGER_APPLICATION_ID: Final = 0x50726674
KEYS_APPLICATION_ID: Final = 0x5072666B
PROJECTIONS_APPLICATION_ID: Final = 0x50726670

# cksumvfs keeps its checksum in the last 8 bytes of each page.
_CHECKSUM_BYTES: Final = 8
_VFS: Final = "cksmvfs"

# SQLite never writes the page of this byte; locks live there (sqlite.org/fileformat2.html §1.4).
_LOCK_BYTE: Final = 0x40000000

BUSY_TIMEOUT_MS: Final = 10_000

# recursive_triggers: without it a REPLACE deletes rows that no trigger sees.
PRAGMAS: Final = (
    ("synchronous", 2),  # FULL
    ("secure_delete", 1),
    ("recursive_triggers", 1),
    ("trusted_schema", 0),
    ("temp_store", 2),  # in memory
    ("wal_autocheckpoint", 4_000),
    ("journal_size_limit", 32 * 1024 * 1024),
)

# Rows that one statement reads or writes: each step of the engine gives up Python's interpreter lock and has to win it
# back from the threads that wait for it.
CHUNKS: Final = (64, 16, 4, 1)

_load_lock = threading.Lock()

T = TypeVar("T")


def connect(
    path: Path,
    *,
    application_id: int,
    version: int,
    create: bool = False,
    read_only: bool = False,
    cache_kib: int = 16_384,
) -> apsw.Connection:
    """Return a connection to our SQLite file at `path`.

    With `create` an absent file is made: page checksums on, `application_id` and `user_version` set. Raises
    StorageError when the file is absent, not ours, of a newer version, or damaged. Committed means durable: WAL with
    synchronous=FULL syncs at each commit. The connection may be used by one thread at a time.
    """
    _load_checksums()
    if not create and not path.is_file():
        raise StorageError(f"{path}: no such file; restore it from its backup")
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    if create:
        flags |= apsw.SQLITE_OPEN_CREATE
    try:
        if create:
            # Made here, for its owner alone; SQLite gives the WAL the same mode. O_EXCL: a file that is open elsewhere
            # in this process must not be closed, that would drop its locks.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = apsw.Connection(str(path), flags=flags | apsw.SQLITE_OPEN_NOMUTEX, vfs=_VFS)
    except apsw.Error as error:
        raise StorageError(f"{path}: {_advice(error)}") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        if create and not connection.pragma("application_id"):
            _initialise(connection, path, application_id, version)
        _check_ours(connection, path, application_id, version)
        for name, value in (*PRAGMAS, ("cache_size", -cache_kib)):
            # Fetched to its end: what stands behind a row that nobody takes is never carried out.
            connection.execute(f"PRAGMA {name} = {value}").fetchall()
    except apsw.Error as error:
        connection.close()
        raise _storage_error(path, error, _reason(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield all of the rows in parts of a few sizes, the largest first, so that few statements have to be prepared."""
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def insert_rows(connection: apsw.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows with all columns of a table, in their order, many with one statement."""
    for chunk in chunks(rows):
        assert all(len(row) == len(chunk[0]) for row in chunk), table
        values = tuple(value for row in chunk for value in row)
        connection.execute(_insertion(table, len(chunk[0]), len(chunk)), values)


@lru_cache(256)
def _insertion(table: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * rows)}"


def truncate_wal(connection: apsw.Connection, path: Path) -> None:
    """Move the WAL into the file and empty it, so that no byte of what was deleted stays in either.

    Waits for readers up to the busy timeout. Raises StorageError when one of them still holds an older state.
    """
    ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if busy:
        raise StorageError(f"{path}: a reader holds an older state; deleted bytes stay until it ends. Try again")


def damaged_pages(connection: apsw.Connection, path: Path) -> Iterator[int]:
    """Yield the numbers (from 1) of all pages of the file that do not match their checksum, free pages too.

    Reads the file itself, as SQLite reads only the pages that it needs. Moves the WAL into the file first.
    """
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    page_bytes = int(connection.pragma("page_size"))
    with path.open("rb") as file:
        number = 0
        while page := file.read(page_bytes):
            number += 1
            if (number - 1) * page_bytes == _LOCK_BYTE or _sound(connection, page):
                continue
            # The page may have been read while it was being written: under the write lock nobody writes.
            connection.execute("BEGIN IMMEDIATE")
            try:
                file.seek((number - 1) * page_bytes)
                sound = _sound(connection, file.read(page_bytes))
            finally:
                connection.execute("ROLLBACK")
            if not sound:
                yield number


def _sound(connection: apsw.Connection, page: bytes) -> bool:
    return bool(connection.execute("SELECT verify_checksum(?)", (page,)).get == 1)


def _load_checksums() -> None:
    with _load_lock:
        if _VFS not in apsw.vfs_names():
            # Any connection registers the VFS for the whole process, on top of the default one.
            with apsw.Connection(":memory:") as loader:
                apsw.sqlite_extra.load(loader, "cksumvfs")
            loader.close()


def _initialise(connection: apsw.Connection, path: Path, application_id: int, version: int) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise StorageError(f"{path}: is another program's database; nothing was changed in it")
    connection.reserve_bytes("main", _CHECKSUM_BYTES)
    # Fetched to its end: a statement that is still open would keep the first page from being written.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(f"PRAGMA user_version = {version}; PRAGMA application_id = {application_id}")


def _check_ours(connection: apsw.Connection, path: Path, application_id: int, version: int) -> None:
    if connection.pragma("application_id") != application_id:
        raise StorageError(f"{path}: is not this kind of Prooftrail database; nothing was changed in it")
    found = connection.pragma("user_version")
    if found > version:
        raise StorageError(f"{path}: is of version {found}, this program knows {version}: install a newer prooftrail")
    if connection.pragma("checksum_verification") != "1":
        raise StorageError(f"{path}: has lost its page checksums; restore it from a backup")


def _reason(error: apsw.Error) -> str:
    if isinstance(error, apsw.NotADBError):
        return "is not a database at all; nothing was changed in it"
    return _advice(error)


def strange_objects(connection: apsw.Connection, path: Path, schema: Sequence[str]) -> Iterator[str]:
    """Yield what the schema has, lacks or says differently than the one that `schema` makes.

    Who drops a trigger, or adds one, says something about every row that came after.
    """
    objects = "SELECT type, name, sql FROM sqlite_schema"
    with apsw.Connection(":memory:") as memory:
        for statement in schema:
            memory.execute(statement)
        made = set(memory.execute(objects).fetchall())
    memory.close()
    for kind, name, _ in sorted(set(connection.execute(objects).fetchall()) ^ made, key=str):
        yield f"{path.name}: {kind} {name} is not the one that was made"


class storage_errors:
    """Turns what the engine raises into StorageError, which names the file and says what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, apsw.Error):
            raise _storage_error(self._path, error, _advice(error)) from error
        if isinstance(error, UnicodeDecodeError):
            # We write UTF-8 only, so somebody else wrote it.
            raise Damaged(f"{self._path}: holds text that is not UTF-8: the file is damaged or was changed") from error


def _storage_error(path: Path, error: apsw.Error, advice: str) -> StorageError:
    """Return Damaged when the file is wrong, Full without room, else StorageError: a disk that fails, a lock."""
    if isinstance(error, apsw.FullError):
        return Full(f"{path}: {advice}")
    if isinstance(error, apsw.IOError):
        damaged = getattr(error, "extendedresult", None) == apsw.SQLITE_IOERR_DATA
    else:
        damaged = isinstance(error, apsw.CorruptError | apsw.NotADBError)
    return (Damaged if damaged else StorageError)(f"{path}: {advice}")


def _advice(error: apsw.Error) -> str:
    if isinstance(error, apsw.FullError):
        return "the disk is full; nothing more is recorded until there is space and the ledger is opened again"
    if isinstance(error, apsw.BusyError):
        return "another process has held the write lock for too long"
    if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", None) == apsw.SQLITE_IOERR_DATA:
        return "a page does not match its checksum: the file is damaged or was changed; restore it from a backup"
    if isinstance(error, apsw.IOError):
        return (
            f"the disk failed or has no space left ({error}); nothing more is recorded until that is mended "
            "and the ledger is opened again"
        )
    if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError):
        return f"cannot be opened for writing ({error}); to look at a read-only copy, copy it where you may write"
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return f"the file is damaged ({error}); restore it from a backup"
    return str(error)
