"""A trace: what one store did to the disk, in order, with the acknowledgements it gave in between.

Here: the events, and the interface by which they are recorded. Not here: who calls it (recording_vfs.py) and which
disks a trace allows after a power cut (crash_states.py).

A file is a number, as an inode is: a name that is deleted and created again names another file. Names are relative
to the directory of the store. Shared memory (`-shm`) is no event: it never outlives a power cut.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.store import Ack


@dataclass(frozen=True, slots=True)
class Write:
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """Everything done to `file` before event number `upto` is on disk."""

    file: int
    upto: int


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """The system may have dropped what was not yet on disk, and no later sync brings it back."""

    file: int


@dataclass(frozen=True, slots=True)
class Link:
    name: str
    file: int


@dataclass(frozen=True, slots=True)
class Unlink:
    name: str


@dataclass(frozen=True, slots=True)
class Rename:
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class DirectorySync:
    """The names in `directory` ("." for the store's own) are on disk as they were at event number `upto`."""

    directory: str
    upto: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    ack: Ack


Event = Write | Truncate | Sync | SyncFailed | Link | Unlink | Rename | DirectorySync | Acknowledged


@dataclass(slots=True)
class Trace:
    """What was on disk at the beginning (durable), then the events."""

    base: dict[str, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def acks(self) -> list[Ack]:
        return [event.ack for event in self.events if isinstance(event, Acknowledged)]

    def names(self) -> dict[str, int]:
        """Return the file that each name of `base` stands for."""
        return {name: number for number, name in enumerate(sorted(self.base))}


class Recorder:
    """Appends to a trace. Threads may call it; one event is one moment.

    A write is recorded before it is done, because from then on it may reach the disk. A sync is recorded after it
    returned, and covers what was recorded before it began.
    """

    def __init__(self, directory: Path) -> None:
        """Record what happens below `directory`; what it holds now is taken for durable."""
        self._root = directory.resolve()
        self.trace = Trace(base=contents(self._root))
        self._files = self.trace.names()
        self._created = len(self._files)
        self._lock = threading.RLock()

    def name_of(self, path: str | Path) -> str | None:
        """Return the name of `path` in the trace, or None when it is not recorded."""
        try:
            name = Path(path).relative_to(self._root).as_posix()
        except ValueError:
            return None
        return None if name.endswith("-shm") else name

    @property
    def now(self) -> int:
        """The number of events: take it before a sync begins."""
        return len(self.trace.events)

    def record_create(self, path: str | Path) -> None:
        """`path` exists from here; nothing happens if it did already."""
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                self._number(name)

    def record_file_write(self, path: str | Path, offset: int, data: bytes) -> None:
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                self.trace.events.append(Write(self._number(name), offset, data))

    def record_truncate(self, path: str | Path, size: int) -> None:
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                self.trace.events.append(Truncate(self._number(name), size))

    def record_sync(self, path: str | Path, upto: int | None = None) -> None:
        """An fsync or fdatasync of `path` returned; it began when `now` was `upto` (default: just now)."""
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                self.trace.events.append(Sync(self._number(name), self.now if upto is None else upto))

    def record_sync_failed(self, path: str | Path) -> None:
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                self.trace.events.append(SyncFailed(self._number(name)))

    def record_delete(self, path: str | Path) -> None:
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                if self._files.pop(name, None) is not None:
                    self.trace.events.append(Unlink(name))

    def record_rename(self, source: str | Path, target: str | Path) -> None:
        """`source` now has the name `target`. Both must be below the directory of the store."""
        old, new = self.name_of(source), self.name_of(target)
        if old is None and new is None:
            return
        assert old is not None, "a file renamed into the store was not recorded"
        assert new is not None, "a file renamed out of the store cannot be recorded"
        with self._lock:
            self._files[new] = self._files.pop(old)
            self.trace.events.append(Rename(old, new))

    def record_directory_sync(self, path: str | Path, upto: int | None = None) -> None:
        name = self.name_of(path)
        if name is not None:
            with self._lock:
                self.trace.events.append(DirectorySync(name, self.now if upto is None else upto))

    def ack(self, payload: Ack) -> None:
        """The store promised `payload`: every disk from here on must keep it."""
        with self._lock:
            self.trace.events.append(Acknowledged(payload))

    def unrecorded(self) -> list[str]:
        """Return the names whose bytes on disk are not what the trace says: something wrote past the recorder."""
        from tests.faults.crash_states import final_state

        replayed, actual = final_state(self.trace).files, contents(self._root)
        return sorted(name for name in replayed.keys() | actual.keys() if replayed.get(name) != actual.get(name))

    def _number(self, name: str) -> int:
        if name not in self._files:
            self._files[name] = self._created
            self.trace.events.append(Link(name, self._created))
            self._created += 1
        return self._files[name]


def contents(root: Path) -> dict[str, bytes]:
    """Return the files below `root` by name, without shared memory."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
