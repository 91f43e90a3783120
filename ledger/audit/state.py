"""What an auditor remembers between runs: the last checkpoint it saw, how far it read, and every tag's count and head.

A SQLite file of the auditor's own. It keeps memory flat at any size of the log, lets the next run go on from here, and
is what tells a log that was rolled back or shows two people two histories. Lose it and the next run begins anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from ledger.errors import StorageError, VerificationError
from ledger.signing_keys import LogKey, LogKeys
from ledger.storage.connect import connect, storage_errors
from ledger.tlog.note import Verifier

# "Prfa": see connect.
AUDIT_APPLICATION_ID: Final = 0x50726661
SCHEMA_VERSION: Final = 1

_CHUNK: Final = 500

TagHead = tuple[int, int, bytes]
"""(n, index of the last event, head over all of them)."""

Part = tuple[bytes, bool]
"""(hash, whether two tags or more stand there)."""


class Audited(msgspec.Struct, frozen=True):
    """How far a log is audited: `size` entries, the last of them at `recorded_at`; and the checkpoint that was seen."""

    origin: str
    size: int
    recorded_at: str
    keys: LogKeys | None
    seen_size: int
    seen_root: bytes
    seen_note: bytes


class AuditState:
    """The state file at `path`, made when it is absent. One run at a time: a second one raises StorageError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Of its own: to open and close the database itself would drop SQLite's locks on it.
        try:
            self._lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StorageError(f"{path}: another audit is at work with it; wait for it, or name another file") from None
        self._connection = connect(
            path, application_id=AUDIT_APPLICATION_ID, version=SCHEMA_VERSION, create=True, cache_kib=65_536
        )
        with storage_errors(path):
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._connection.execute("SELECT count(*) FROM sqlite_schema").get:
                for statement in _schema():
                    self._connection.execute(statement)
            self._connection.execute("COMMIT")

    def __enter__(self) -> AuditState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        os.close(self._lock)

    # --- how far ---------------------------------------------------------------------------------------------

    def audited(self) -> Audited | None:
        """Return how far this log is audited; None before the first run. Raises StorageError for a damaged file."""
        rows = self._run("SELECT origin, size, recorded_at, keys, seen_size, seen_root, seen_note FROM audited")
        if not rows:
            return None
        origin, size, recorded_at, keys, *seen = rows[0]
        return Audited(origin, size, recorded_at, _keys_from(keys, self._path), *seen)

    def begin(self) -> None:
        """Begin a batch: what follows is made durable together by `save`, or undone by `undo`."""
        self._run("BEGIN IMMEDIATE")

    def save(self, audited: Audited) -> None:
        """End a batch. Durable when it returns."""
        self._run(
            "INSERT OR REPLACE INTO audited VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            audited.origin, audited.size, audited.recorded_at, _keys_to(audited.keys),
            audited.seen_size, audited.seen_root, audited.seen_note,
        )  # fmt: skip
        self._run("COMMIT")

    def undo(self) -> None:
        """Undo the batch that is open, if one is."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def forget(self) -> None:
        """Begin anew: only the checkpoint that was seen stays, as what the log must still extend."""
        self._run("DELETE FROM tags")
        self._run("DELETE FROM parts")
        self._run("UPDATE audited SET size = 0, recorded_at = ''")

    # --- tags ------------------------------------------------------------------------------------------------

    def heads(self, keys: Sequence[bytes]) -> dict[bytes, TagHead]:
        """Return what is known of those of these tags that have events."""
        found: dict[bytes, TagHead] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            for key, n, last, head in self._run(f"SELECT * FROM tags WHERE key IN ({marks})", *chunk):
                found[key] = (n, last, head)
        return found

    def set_heads(self, heads: Iterable[tuple[bytes, TagHead]]) -> None:
        """Take over what tags have now."""
        with storage_errors(self._path):
            rows = sorted((key, *head) for key, head in heads)
            self._connection.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", rows)

    def tags_of(self, part: int) -> list[tuple[bytes, int, bytes]]:
        """Return (key, n, head) of every tag whose key begins with these 16 bits, in order of key."""
        first = part.to_bytes(2, "big")
        rows = self._run("SELECT key, n, head FROM tags WHERE key >= ? AND key <= ? ORDER BY key",
                         first + bytes(30), first + b"\xff" * 30)  # fmt: skip
        return list(rows)

    def tag_count(self) -> int:
        """Return how many tags there are."""
        return int(self._run("SELECT count(*) FROM tags")[0][0])

    def parts(self) -> dict[int, Part]:
        """Return every part of the tag index that holds a tag."""
        return {part: (hash, bool(many)) for part, hash, many in self._run("SELECT * FROM parts")}

    def set_parts(self, parts: dict[int, Part]) -> None:
        """Take over parts that were hashed anew."""
        with storage_errors(self._path):
            rows = [(part, hash, int(many)) for part, (hash, many) in sorted(parts.items())]
            self._connection.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", rows)

    def _run(self, sql: str, *parameters: Any) -> Sequence[Any]:
        with storage_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()


def _keys_to(keys: LogKeys | None) -> str:
    if keys is None:
        return "[]"
    return msgspec.json.encode([[str(key.verifier), key.since, key.until] for key in keys.keys]).decode()


def _keys_from(text: str, path: Path) -> LogKeys | None:
    try:
        rows = msgspec.json.decode(text, type=list[tuple[str, int, int | None]])
        keys = tuple(LogKey(Verifier.parse(key), since, until) for key, since, until in rows)
    except (msgspec.DecodeError, VerificationError):
        raise StorageError(f"{path}: is damaged; remove it, and the next run begins anew") from None
    return LogKeys(keys) if keys else None


def _schema() -> list[str]:
    files = resources.files("ledger.storage").joinpath("sql", "audit").iterdir()
    return [file.read_text() for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".sql")]
