"""The guard: the last signed checkpoint, in a file of its own, outside the database.

It is what refuses a database that was rolled back, truncated or cloned: nothing is signed that does not extend what
the guard holds. Its lock also makes one signer at a time of several processes. Put it on another disk if you can.

Two slots of 4 KiB are written in turn, each with a checksum: a write that is torn by a crash leaves the other one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from ledger.errors import Busy, Full, StorageError, Tampered

# How long another process may hold the right to sign: as long as SQLite waits for its lock (connect.BUSY_TIMEOUT_MS).
LOCK_TIMEOUT_S: Final = 10.0
# The system has no lock with a time limit. Short beside a commit, so that whoever polls is not passed over.
_LOCK_POLL_S: Final = 0.001

_SLOT_BYTES: Final = 4_096
_MAGIC: Final = b"prooftrail-guard-v1\n"
_HEAD_BYTES: Final = len(_MAGIC) + 8 + 2
MAX_KEPT_BYTES: Final = _SLOT_BYTES - _HEAD_BYTES - 32


class Guard:
    """The second store of the last signed checkpoint. One instance a process; `lock` excludes other processes."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            self._file = os.open(path, flags, 0o600)
            if create:
                # Its name too must outlive a power cut: a ledger does not start without its guard.
                directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                os.fsync(directory)
                os.close(directory)
        except OSError as error:
            raise StorageError(
                f"{path}: the guard cannot be opened ({error.strerror}); it is what tells a rolled-back ledger"
            ) from error
        self._path = path
        self._sequence = 0
        self._last: bytes | None = None
        self._data = b""  # the file as it was read or written last

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to sign. Waits for another process; the system frees it when its holder dies.

        Raises Busy when the other one holds it for LOCK_TIMEOUT_S: no process needs it for so long, unless it is
        stopped or its disk hangs.
        """
        self._acquire()
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _acquire(self) -> None:
        deadline = monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() > deadline:
                    raise Busy(
                        f"{self._path}: another process has held the guard for {LOCK_TIMEOUT_S:g} s and may be "
                        f"stopped; find it with `fuser -v {self._path}`, let it go on (kill -CONT) or end it, "
                        "then try again"
                    ) from None
            except OSError as error:
                raise StorageError(f"{self._path}: the guard cannot be locked ({error.strerror})") from error
            sleep(_LOCK_POLL_S)

    def read(self) -> bytes | None:
        """Return the last note that was kept, None when none ever was. Raises Tampered when both slots are damaged."""
        data = os.pread(self._file, 2 * _SLOT_BYTES, 0)
        if data == self._data:
            return self._last
        found: list[tuple[int, bytes]] = []
        for start in range(0, len(data), _SLOT_BYTES):
            slot = _parse(data[start : start + _SLOT_BYTES])
            if slot is not None:
                found.append(slot)
        if not found:
            if data.strip(b"\x00"):
                raise Tampered("guard", f"{self._path} is damaged in both slots")
            return None
        self._sequence, self._last = max(found)
        self._data = data
        return self._last

    def write(self, note: bytes) -> None:
        """Keep a note instead of the last one. Durable when it returns. Call it under `lock`, after `read`."""
        assert len(note) <= MAX_KEPT_BYTES
        sequence = self._sequence + 1
        start = (sequence % 2) * _SLOT_BYTES
        body = _MAGIC + sequence.to_bytes(8, "big") + len(note).to_bytes(2, "big") + note
        slot = (body + hashlib.sha256(body).digest()).ljust(_SLOT_BYTES, b"\x00")
        try:
            # The newest slot is the other one; if this write is torn, that one still holds.
            written = os.pwrite(self._file, slot, start)
            os.fdatasync(self._file)
            if written != len(slot):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            kind = Full if error.errno == errno.ENOSPC else StorageError
            raise kind(f"{self._path}: the guard cannot be written ({error.strerror})") from error
        data = self._data.ljust(2 * _SLOT_BYTES, b"\x00")
        self._data = data[:start] + slot + data[start + _SLOT_BYTES :]
        self._sequence, self._last = sequence, note


def _parse(slot: bytes) -> tuple[int, bytes] | None:
    # What is beyond the checksum is padding: a file cut short there (a torn first write) has lost nothing.
    if not slot.startswith(_MAGIC):
        return None
    sequence = int.from_bytes(slot[len(_MAGIC) : len(_MAGIC) + 8], "big")
    end = _HEAD_BYTES + int.from_bytes(slot[len(_MAGIC) + 8 : _HEAD_BYTES], "big")
    if end > _HEAD_BYTES + MAX_KEPT_BYTES or hashlib.sha256(slot[:end]).digest() != slot[end : end + 32]:
        return None
    return sequence, slot[_HEAD_BYTES:end]
