"""Projections in a SQLite file, disposable, rebuilt from the ledger at any time: the embedded default.

`projections.db` is a symbolic link to the generation in use, `projections-<random>.db`. A rebuild makes another
generation and turns the link, so that readers see the old state or the new one, whole. A link, because the WAL of a
database goes by its real name: were the file itself replaced, SQLite would find the log of one under the other.

Two locks, both freed by the system when their holder dies: `projections.lock` is held for each batch and for the turn
of the link; `projections.build.lock` for a whole build, and whoever holds it clears away what a killed one left.

Durability: synchronous=NORMAL. A killed process loses nothing. A power cut may lose the last batches, never a part of
one: rows and position are one transaction, so the state is behind, and catches up. What it damages is rebuilt.
"""

from __future__ import annotations

import fcntl
import os
import threading
import uuid
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import apsw

from ledger.errors import Misfit, StorageError
from ledger.storage.connect import PROJECTIONS_APPLICATION_ID, connect, insert_rows
from projections.storage.store import Generation, Row, Rows, Store

SCHEMA_VERSION: Final = 1

WRITER_CACHE_KIB: Final = 65_536
READER_CACHE_KIB: Final = 16_384

# A reader that meets a turn of the link opens again; builds are far apart, so that a second turn is our own bug.
_MAX_TURNS: Final = 10

# What SQLite raises for a row that does not fit its table; anything else is the engine's own failure.
_MISFITS: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)


class SqliteGeneration(Generation):
    """A generation in a file of its own."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self.connection = connection

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        with _storage_errors(self.path):
            return self.connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str) -> Iterator[Row]:
        with _storage_errors(self.path):
            yield from self.connection.execute(sql)

    def execute(self, sql: str, *parameters: Any) -> None:
        with _storage_errors(self.path):
            self.connection.execute(sql, parameters).fetchall()

    def insert(self, table: str, rows: Collection[Row]) -> None:
        with _storage_errors(self.path):
            insert_rows(self.connection, table, tuple(rows))

    def delete(self, table: str, column: str, values: Collection[str]) -> None:
        with _storage_errors(self.path):
            self.connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(value,) for value in values])

    def columns(self, table: str) -> tuple[list[str], list[str]]:
        found = self.rows("SELECT name, pk FROM pragma_table_info(?) ORDER BY cid", table)
        return [name for name, _ in found], [name for name, pk in sorted(found, key=lambda column: column[1]) if pk]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with _storage_errors(self.path), self.connection:
            yield


class SqliteStore(Store):
    """The file of the projections. Safe for many threads and processes: readers never wait, writers take turns."""

    def __init__(self, path: Path) -> None:
        """`path` is where the link stands; its directory must exist."""
        self.path = path
        self._local = threading.local()
        self._readers: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._writer: SqliteGeneration | None = None
        self._lock = _FileLock(path.with_suffix(".lock"))
        self._build_lock = _FileLock(path.with_suffix(".build.lock"))

    def close(self) -> None:
        """Close every connection. No other thread may be reading."""
        for reader in list(self._readers):
            reader.close()
        self._drop_writer()

    # --- reading ---------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        return self._current() is not None

    @contextmanager
    def read(self) -> Iterator[Rows]:
        connection = self._reader()
        with _storage_errors(self.path):
            connection.execute("BEGIN")
        try:
            with _storage_errors(self.path):
                yield lambda sql, *parameters: connection.execute(sql, parameters).fetchall()
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[Generation]:
        found = self._open_current(read_only=True, cache_kib=READER_CACHE_KIB)
        try:
            with _storage_errors(self.path):
                found.connection.execute("BEGIN")
                yield found
        finally:
            found.connection.close()

    # --- writing ---------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Generation | None]:
        with self._lock, _storage_errors(self.path):
            yield self._in_use()

    # --- building --------------------------------------------------------------------------------------------

    @contextmanager
    def building(self) -> Iterator[Generation]:
        with self._build_lock:
            self._clear()
            generation = _create(self.path.with_name(f"{self.path.stem}-{uuid.uuid4().hex}.db"))
            try:
                with _storage_errors(generation.path):
                    yield generation
            finally:
                generation.connection.close()
                if self._current() != generation.path.name:
                    _remove(generation.path)

    @contextmanager
    def turning(self, generation: Generation) -> Iterator[None]:
        assert isinstance(generation, SqliteGeneration)
        with self._lock:
            yield
            _finish(generation)
            self._turn(generation.path)

    # --- inside ----------------------------------------------------------------------------------------------

    def _turn(self, path: Path) -> None:
        """Make a finished file the generation in use. Atomic and durable when it returns."""
        with suppress(StorageError):
            self._in_use()
        old = self._current()
        link = path.with_suffix(".link")
        try:
            os.symlink(path.name, link)
            os.replace(link, self.path)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be put in place ({error.strerror})") from error
        # A crash from here on finds the new state; the old files are then cleared away by the next build.
        _sync(self.path.parent)
        self._retire(old)

    def _in_use(self) -> SqliteGeneration | None:
        """Return the generation in use, open for writing, None when there is none. Call it under the lock."""
        name = self._current()
        if self._writer is None or name != self._writer.path.name:
            self._drop_writer()
            if name is None:
                return None
            self._writer = self._open_current(read_only=False, cache_kib=WRITER_CACHE_KIB)
            self._writer.connection.execute("PRAGMA synchronous = NORMAL")
        return self._writer

    def _current(self) -> str | None:
        try:
            return os.readlink(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"{self.path}: is not the link that Prooftrail makes; remove it, it is rebuilt from the ledger"
            ) from error

    def _reader(self) -> apsw.Connection:
        reader: apsw.Connection | None = getattr(self._local, "reader", None)
        if reader is not None and self._local.name == self._current():
            return reader
        if reader is not None:
            self._local.reader = None
            reader.close()
        found = self._open_current(read_only=True, cache_kib=READER_CACHE_KIB)
        self._local.reader, self._local.name = found.connection, found.path.name
        self._readers.add(found.connection)
        return found.connection

    def _open_current(self, *, read_only: bool, cache_kib: int) -> SqliteGeneration:
        for _ in range(_MAX_TURNS):
            name = self._current()
            if name is None:
                break
            path = self.path.with_name(name)
            try:
                connection = connect(
                    path,
                    application_id=PROJECTIONS_APPLICATION_ID,
                    version=SCHEMA_VERSION,
                    read_only=read_only,
                    cache_kib=cache_kib,
                )
            except StorageError as error:
                # The link may have been turned, and its old target removed, between the two steps above.
                if self._current() == name:
                    raise StorageError(f"{self.path}: cannot be read; `prooftrail rebuild` makes it anew") from error
            else:
                return SqliteGeneration(path, connection)
        raise StorageError(f"{self.path}: nothing is built yet; `prooftrail rebuild` makes it from the ledger")

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None

    def _retire(self, name: str | None) -> None:
        """Remove the generation that was in use. Readers that have it open go on with it."""
        if name is None or self._writer is None or self._writer.path.name != name:
            return
        # Whoever is just opening it must find all of it in the file alone. While its log is still read by others,
        # both are left to the next build.
        whole = False
        with suppress(apsw.Error):
            whole = self._writer.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE) == (0, 0)
        self._drop_writer()
        if whole:
            _remove(self.path.with_name(name))

    def _clear(self) -> None:
        current = self._current()
        for path in self.path.parent.glob(f"{self.path.stem}-{'[0-9a-f]' * 32}.*"):
            if current is None or not path.name.startswith(current):
                path.unlink(missing_ok=True)


class _FileLock:
    """An exclusive lock among threads (a mutex) and processes (flock on a file)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._file = -1

    def __enter__(self) -> None:
        self._mutex.acquire()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException as error:
            self._free()
            if isinstance(error, OSError):
                raise StorageError(f"{self._path}: cannot be locked ({error.strerror})") from error
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free()

    def _free(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._mutex.release()


def _create(path: Path) -> SqliteGeneration:
    """Return a new file that nobody reads yet: nothing is synced before it is finished."""
    connection = connect(
        path, application_id=PROJECTIONS_APPLICATION_ID, version=SCHEMA_VERSION, create=True, cache_kib=WRITER_CACHE_KIB
    )
    # The journal in memory undoes a savepoint; a crash loses the whole file, which nobody has seen. Sorting for
    # an index goes to a file, so that memory stays flat.
    connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
    connection.execute("PRAGMA synchronous = OFF; PRAGMA temp_store = FILE")
    return SqliteGeneration(path, connection)


def _finish(generation: SqliteGeneration) -> None:
    """Close a built file and make it durable."""
    with _storage_errors(generation.path):
        generation.connection.execute("PRAGMA journal_mode = WAL").fetchall()
        generation.connection.close()
    _sync(generation.path)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into Misfit, or StorageError with the file and what to do."""
    try:
        yield
    except _MISFITS as error:
        raise Misfit(f"{path}: a row does not fit its table") from error
    except apsw.FullError as error:
        raise StorageError(f"{path}: the disk is full") from error
    except apsw.BusyError as error:
        raise StorageError(f"{path}: another process has held it for too long") from error
    except apsw.Error as error:
        raise StorageError(
            f"{path}: cannot be used ({type(error).__name__}); `prooftrail rebuild` makes it anew from the ledger"
        ) from error


def _sync(path: Path) -> None:
    """Make a file, or the names in a directory, durable. Raises StorageError."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise StorageError(f"{path}: cannot be synced ({error.strerror})") from error


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
