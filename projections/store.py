"""The projections database: one SQLite file, disposable, rebuilt from the ledger at any time.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import apsw

from ledger.errors import StorageError
from ledger.storage.connect import PROJECTIONS_APPLICATION_ID, connect

SCHEMA_VERSION: Final = 1

WRITER_CACHE_KIB: Final = 65_536
READER_CACHE_KIB: Final = 16_384

# A reader that meets a turn of the link opens again; builds are far apart, so that a second turn is our own bug.
_MAX_TURNS: Final = 10

Rows = Callable[..., list[tuple[Any, ...]]]
"""Runs one query: `rows(sql, *parameters)`."""


class Store:
    """The file of the projections. Safe for many threads and processes: readers never wait, writers take turns."""

    def __init__(self, path: Path) -> None:
        """`path` is where the link stands; its directory must exist."""
        self.path = path
        self._local = threading.local()
        self._readers: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._writer: apsw.Connection | None = None
        self._writer_name = ""
        self._lock = _FileLock(path.with_suffix(".lock"))
        self._build_lock = _FileLock(path.with_suffix(".build.lock"))

    def close(self) -> None:
        """Close every connection. No other thread may be reading."""
        for reader in list(self._readers):
            reader.close()
        self._drop_writer()

    # --- reading ---------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether anything was built."""
        return self._current() is not None

    @contextmanager
    def read(self) -> Iterator[Rows]:
        """Read from one state: all queries inside see the same position, whatever is written meanwhile.

        Raises StorageError when nothing is built yet, or what is there is damaged or of another version.
        """
        connection = self._reader()
        with storage_errors(self.path):
            connection.execute("BEGIN")
        try:
            with storage_errors(self.path):
                yield lambda sql, *parameters: connection.execute(sql, parameters).fetchall()
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """Read one state through a connection of its own, for an answer as large as the database."""
        connection = self._open_current(read_only=True, cache_kib=READER_CACHE_KIB)[0]
        try:
            with storage_errors(self.path):
                connection.execute("BEGIN")
                yield connection
        finally:
            connection.close()

    # --- writing ---------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to write, among all threads and processes. Not reentrant."""
        with self._lock:
            yield

    def writer(self) -> apsw.Connection | None:
        """Return the writing connection to the generation in use, None when there is none. Call it under `lock`."""
        name = self._current()
        if self._writer is None or name != self._writer_name:
            self._drop_writer()
            if name is None:
                return None
            self._writer, self._writer_name = self._open_current(read_only=False, cache_kib=WRITER_CACHE_KIB)
            self._writer.execute("PRAGMA synchronous = NORMAL")
        return self._writer

    # --- building --------------------------------------------------------------------------------------------

    @contextmanager
    def building(self) -> Iterator[Path]:
        """Hold the right to build and yield the path of a new generation; removed at the end unless it was `turn`ed to.

        Waits for another build to end.
        """
        with self._build_lock:
            self._clear()
            path = self.path.with_name(f"{self.path.stem}-{uuid.uuid4().hex}.db")
            try:
                yield path
            finally:
                if self._current() != path.name:
                    _remove(path)

    def create(self, path: Path) -> apsw.Connection:
        """Return a connection to a new file that nobody reads yet: nothing is synced before `finish`."""
        connection = connect(
            path,
            application_id=PROJECTIONS_APPLICATION_ID,
            version=SCHEMA_VERSION,
            create=True,
            cache_kib=WRITER_CACHE_KIB,
        )
        # The journal in memory undoes a savepoint; a crash loses the whole file, which nobody has seen. Sorting for
        # an index goes to a file, so that memory stays flat.
        connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
        connection.execute("PRAGMA synchronous = OFF; PRAGMA temp_store = FILE")
        return connection

    def finish(self, connection: apsw.Connection, path: Path) -> None:
        """Close a built file and make it durable."""
        with storage_errors(path):
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.close()
        sync(path)

    def turn(self, path: Path) -> None:
        """Make a finished file the generation in use. Atomic and durable when it returns. Call it under `lock`."""
        with suppress(StorageError):
            self.writer()
        old = self._current()
        link = path.with_suffix(".link")
        try:
            os.symlink(path.name, link)
            os.replace(link, self.path)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be put in place ({error.strerror})") from error
        # A crash from here on finds the new state; the old files are then cleared away by the next build.
        sync(self.path.parent)
        self._retire(old)

    # --- inside ----------------------------------------------------------------------------------------------

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
        reader, self._local.name = self._open_current(read_only=True, cache_kib=READER_CACHE_KIB)
        self._local.reader = reader
        self._readers.add(reader)
        return reader

    def _open_current(self, *, read_only: bool, cache_kib: int) -> tuple[apsw.Connection, str]:
        for _ in range(_MAX_TURNS):
            name = self._current()
            if name is None:
                break
            try:
                connection = connect(
                    self.path.with_name(name),
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
                return connection, name
        raise StorageError(f"{self.path}: nothing is built yet; `prooftrail rebuild` makes it from the ledger")

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _retire(self, name: str | None) -> None:
        """Remove the generation that was in use. Readers that have it open go on with it."""
        if name is None or self._writer is None or self._writer_name != name:
            return
        # Whoever is just opening it must find all of it in the file alone. While its log is still read by others,
        # both are left to the next build.
        whole = False
        with suppress(apsw.Error):
            whole = self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE) == (0, 0)
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


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into StorageError with the file and what to do."""
    try:
        yield
    except apsw.FullError as error:
        raise StorageError(f"{path}: the disk is full") from error
    except apsw.BusyError as error:
        raise StorageError(f"{path}: another process has held it for too long") from error
    except apsw.Error as error:
        raise StorageError(
            f"{path}: cannot be used ({type(error).__name__}); `prooftrail rebuild` makes it anew from the ledger"
        ) from error


def sync(path: Path) -> None:
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
