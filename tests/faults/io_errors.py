"""The disk says no: fsync fails (EIO), the disk is full (ENOSPC), at the k-th call and for as long as the plan says.

For SQLite's files by a VFS that raises from xSync or xWrite; for plain files the same `Fault` is asked by
`recording_vfs.watch_os`. A failed fsync is modelled as Linux behaves: the pages that it should have written count as
clean afterwards, so the next fsync succeeds and says nothing about them (crash_states.py keeps them uncertain for
ever). A full disk takes the first half of the write. Not modelled: read errors, a file system that turns read-only.
Louder than the real thing in one place: SQLite ignores the failure of an automatic checkpoint, but APSW raises what
its VFS raised. A store that must notice it has to run its checkpoints itself.

Expected of a store: nothing is acknowledged from the failure to the restart, the error says why, a restart recovers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import apsw


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Fail the `at`-th `call` (from 1) after arming, and the `lasting` − 1 after it (0: until cleared).

    Only files whose path ends in `suffix` count; "" is every file of the store.
    """

    call: Literal["sync", "write"]
    error: Literal["EIO", "ENOSPC"]
    at: int
    lasting: int = 1
    suffix: str = ""


class Fault:
    """A plan with its counters. Nothing fails before `arm` or after `clear`."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.struck = 0
        self._calls = 0
        self._armed = False

    def arm(self) -> None:
        self._armed = True

    def clear(self) -> None:
        self._armed = False

    def strikes(self, call: str, path: str) -> bool:
        """Count this call; true when it must fail."""
        if not self._armed or call != self.plan.call or not path.endswith(self.plan.suffix):
            return False
        self._calls += 1
        late = self._calls - self.plan.at
        if late < 0 or (self.plan.lasting and late >= self.plan.lasting):
            return False
        self.struck += 1
        return True

    def sqlite_error(self) -> Exception:
        if self.plan.error == "ENOSPC":
            return apsw.FullError("database or disk is full")
        code = apsw.SQLITE_IOERR_FSYNC if self.plan.call == "sync" else apsw.SQLITE_IOERR_WRITE
        # With words, as SQLite's own: a store should pass them on.
        error = apsw.exception_for(code)
        error.args = ("disk I/O error",)
        return error


class FaultyFile(apsw.VFSFile):
    def __init__(
        self,
        base: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
        fault: Fault,
        on_failed_sync: Callable[[str], None],
    ) -> None:
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._fault = fault
        self._on_failed_sync = on_failed_sync
        super().__init__(base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._path and self._fault.strikes("write", self._path):
            if self._fault.plan.error == "ENOSPC" and len(data) > 1:
                super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise self._fault.sqlite_error()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._path and self._fault.strikes("sync", self._path):
            self._on_failed_sync(self._path)
            raise self._fault.sqlite_error()
        super().xSync(flags)

    def excepthook(self, *_: object) -> bool:
        """The error is planted, and SQLite reports it to the caller: nothing to print."""
        return True


class FaultyVFS(apsw.VFS):
    """The VFS "faulty" on top of `base`. Becomes the default: register it before cksumvfs is loaded."""

    def __init__(
        self, fault: Fault, *, base: str = "unix", on_failed_sync: Callable[[str], None] = lambda path: None
    ) -> None:
        self._fault = fault
        self._base = base
        self._on_failed_sync = on_failed_sync
        super().__init__("faulty", base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> FaultyFile:
        return FaultyFile(self._base, name, flags, self._fault, self._on_failed_sync)
