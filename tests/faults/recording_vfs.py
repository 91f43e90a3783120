"""Records what a store writes: an APSW VFS for SQLite's files, and a watch on `os` for plain ones.

The real engine stacks cksumvfs on whatever VFS is the default when it is loaded, and never again. So the recorder
must be the default before that, in a process of its own: `record` starts one, runs a workload against a store and
brings the trace home. What the recorder sees is then what reaches the disk, page checksums included.

Recorded: write, truncate, sync, create and delete of the database, its WAL and its journal; of other files below the
directory of the store what goes through the functions of `os` (not through `open()`; `Recorder.unrecorded` finds
what escaped). Not recorded: shared memory, temporary files, a memory-mapped database (`mmap_size` must stay 0).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import apsw

from tests.faults.io_errors import Fault, FaultPlan, FaultyVFS
from tests.faults.store import Ack, Store, StoreSpec
from tests.faults.trace import Recorder, Trace

_JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class RecordingFile(apsw.VFSFile):
    """A file whose changes are recorded, then done."""

    def __init__(
        self, name: str | apsw.URIFilename | None, flags: list[int], recorder: Recorder, *, drop_sync_every: int
    ) -> None:
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._recorder = recorder
        self._drop_sync_every = drop_sync_every
        self._syncs = 0
        if self._path:
            recorder.record_create(self._path)
        # SQLite's unix VFS syncs the directory with the first sync of a journal or WAL that it may have created.
        self._syncs_directory = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _JOURNALS)
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._path:
            self._recorder.record_file_write(self._path, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        if self._path:
            self._recorder.record_truncate(self._path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        upto = self._recorder.now
        super().xSync(flags)
        self._syncs += 1
        if not self._path or (self._drop_sync_every and self._syncs % self._drop_sync_every == 0):
            return
        self._recorder.record_sync(self._path, upto)
        if self._syncs_directory:
            self._recorder.record_directory_sync(os.path.dirname(self._path), upto)
            self._syncs_directory = False


class RecordingVFS(apsw.VFS):
    """The VFS "recording", on top of "unix". Becomes the default: register it before cksumvfs is loaded."""

    def __init__(self, recorder: Recorder, *, drop_sync_every: int = 0) -> None:
        """`drop_sync_every` = n plants a defect: every n-th sync of each file counts for nothing."""
        self._recorder = recorder
        self._drop_sync_every = drop_sync_every
        super().__init__("recording", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> RecordingFile:
        return RecordingFile(name, flags, self._recorder, drop_sync_every=self._drop_sync_every)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._recorder.record_delete(filename)
        if syncdir:
            self._recorder.record_directory_sync(os.path.dirname(filename))


def _path_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


@contextmanager
def watch_os(recorder: Recorder, fault: Fault | None = None) -> Iterator[None]:
    """Record what this process does to plain files through `os`, until the block ends; `fault` may strike there too.

    For modules that call `os.pwrite` and the like by their full name, as the engine does for its guard file.
    Linux only (/proc). Not thread-safe at its begin and end.
    """
    originals: dict[str, Callable[..., Any]] = {}

    def replace(name: str, wrapper: Callable[..., Any]) -> None:
        originals[name] = getattr(os, name)
        setattr(os, name, wrapper)

    def strike(call: str, path: str) -> None:
        if fault is not None and recorder.name_of(path) is not None and fault.strikes(call, path):
            if call == "sync":
                recorder.record_sync_failed(path)
            code = getattr(errno, fault.plan.error)
            raise OSError(code, os.strerror(code), path)

    def wrote(descriptor: int, offset: int, data: bytes) -> None:
        path = _path_of(descriptor)
        strike("write", path)
        recorder.record_file_write(path, offset, data)

    def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        descriptor = cast(int, originals["open"](path, flags, *rest, **options))
        if flags & (os.O_WRONLY | os.O_RDWR):
            recorder.record_create(_path_of(descriptor))
            if flags & os.O_TRUNC:
                recorder.record_truncate(_path_of(descriptor), 0)
        return descriptor

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        wrote(descriptor, offset, bytes(data))
        count = cast(int, originals["pwrite"](descriptor, data, offset))
        synced_by_flag(descriptor)
        return count

    def write(descriptor: int, data: Any) -> int:
        if recorder.name_of(_fd_path_or_nothing(descriptor)) is None:
            return cast(int, originals["write"](descriptor, data))
        appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
        offset = os.fstat(descriptor).st_size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)
        wrote(descriptor, offset, bytes(data))
        count = cast(int, originals["write"](descriptor, data))
        synced_by_flag(descriptor)
        return count

    def synced_by_flag(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC:
            recorder.record_sync(_path_of(descriptor))

    def sync(name: str) -> Callable[[int], None]:
        def wrapper(descriptor: int) -> None:
            path, upto = _path_of(descriptor), recorder.now
            if os.path.isdir(path):
                originals[name](descriptor)
                recorder.record_directory_sync(path, upto)
                return
            strike("sync", path)
            originals[name](descriptor)
            recorder.record_sync(path, upto)

        return wrapper

    def ftruncate(descriptor: int, size: int) -> None:
        recorder.record_truncate(_path_of(descriptor), size)
        originals["ftruncate"](descriptor, size)

    def renamed(name: str) -> Callable[[Any, Any], None]:
        def wrapper(source: Any, target: Any) -> None:
            originals[name](source, target)
            recorder.record_rename(os.path.abspath(source), os.path.abspath(target))

        return wrapper

    def removed(name: str) -> Callable[..., None]:
        def wrapper(path: Any, **options: Any) -> None:
            originals[name](path, **options)
            recorder.record_delete(os.path.abspath(path))

        return wrapper

    for name, wrapper in (("open", opened), ("pwrite", pwrite), ("write", write), ("ftruncate", ftruncate)):
        replace(name, wrapper)
    for name in ("fsync", "fdatasync"):
        replace(name, sync(name))
    for name in ("rename", "replace"):
        replace(name, renamed(name))
    for name in ("unlink", "remove"):
        replace(name, removed(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def _fd_path_or_nothing(descriptor: int) -> str:
    try:
        return _path_of(descriptor)
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Workload:
    """What the recorded process does: `appends` entries, a restart after every `reopen_every` (0: none).

    With a `fault`, the first append that raises is followed by `insist` more, which must not be acknowledged, then
    the fault is over, the store restarts and the rest is appended. `close` = False leaves the store as it runs: the
    WAL is not folded into the database at the end.
    """

    appends: int = 20
    reopen_every: int = 0
    prefix: str = "entry"
    close: bool = True
    drop_sync_every: int = 0
    fault: FaultPlan | None = None
    insist: int = 3


@dataclass(slots=True)
class Recording:
    """The trace, and what the workload met: its errors in words, and acknowledgements between error and restart."""

    trace: Trace = field(default_factory=Trace)
    errors: list[str] = field(default_factory=list)
    acked_while_failed: list[Ack] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    struck: int = 0


def record(store: StoreSpec, directory: Path, workload: Workload, *, timeout_s: float = 120) -> Recording:
    """Run `workload` on the store in `directory`, in a fresh process under the recorder, and return the recording.

    What `directory` holds before is taken for durable, so a crash state can be the beginning of the next recording.
    Raises CalledProcessError when the process fails, with its traceback on stderr.
    """
    directory.mkdir(parents=True, exist_ok=True)
    job = json.dumps({"store": asdict(store), "directory": str(directory), "workload": asdict(workload)})
    done = subprocess.run(
        [sys.executable, "-c", "from tests.faults.recording_vfs import main; main()", job],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
        timeout=timeout_s,
    )
    return cast(Recording, pickle.loads(done.stdout))


def main() -> None:
    """The recorded process: takes the job as its argument, writes the pickled recording to stdout."""
    job = json.loads(sys.argv[1])
    plan = job["workload"].pop("fault")
    workload = Workload(**job["workload"], fault=FaultPlan(**plan) if plan else None)
    directory = Path(job["directory"])
    recorder = Recorder(directory)
    fault = Fault(workload.fault) if workload.fault else None
    # The order matters: "unix", recorder, faults, and on top cksumvfs, which the store loads.
    vfs = [RecordingVFS(recorder, drop_sync_every=workload.drop_sync_every)]
    layers: list[apsw.VFS] = [*vfs]
    if fault is not None:
        layers.append(FaultyVFS(fault, base="recording", on_failed_sync=recorder.record_sync_failed))
    recording = Recording(trace=recorder.trace)
    with watch_os(recorder, fault):
        _run(StoreSpec(**job["store"]).build(), directory, workload, recorder, recording, fault)
    recording.unrecorded = recorder.unrecorded()
    recording.struck = fault.struck if fault is not None else 0
    sys.stdout.buffer.write(pickle.dumps(recording))
    sys.stdout.buffer.flush()
    # Without the interpreter's own end: a store left open must not fold its WAL on the way out.
    os._exit(0)


def _run(
    store: Store, directory: Path, workload: Workload, recorder: Recorder, recording: Recording, fault: Fault | None
) -> None:
    def restart() -> None:
        store.close()
        store.open(directory)

    def append(number: int) -> Ack | None:
        try:
            ack = store.append(f"{workload.prefix}-{number}")
        except Exception as error:
            recording.errors.append(f"{type(error).__name__}: {error}")
            return None
        recorder.ack(ack)
        return ack

    store.open(directory)
    if fault is not None:
        fault.arm()
    numbers = iter(range(workload.appends + workload.insist))
    for count in range(1, workload.appends + 1):
        struck_before = fault.struck if fault is not None else 0
        ack = append(next(numbers))
        if fault is not None and (ack is None or fault.struck > struck_before):
            extra = [append(next(numbers)) for _ in range(workload.insist)]
            recording.acked_while_failed += [late for late in [ack, *extra] if late is not None]
            fault.clear()
            restart()
            fault = None
        elif workload.reopen_every and count % workload.reopen_every == 0:
            restart()
    if workload.close:
        store.close()
