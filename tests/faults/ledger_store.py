"""The real ledger as a store under test, and defects that can be planted in it from outside.

One append is one sealed event on its way through everything: boundary, fold, data key, sealing, sequencer, database,
guard, signed checkpoint, receipt; about every tenth is for a subject of its own, whose data key is new. What is
acknowledged is the receipt: its index, and the size and root of its checkpoint once the receipt was verified.

Below the directory of the store, as an installation that follows the advice to keep the guard elsewhere:

    data/    ledger.db, keys.db
    guard/   guard: another directory, as it may be another disk
    made/    done: the operator's memory that `create_ledger` returned; from there a start must find a ledger

A start without `made/done` creates the ledger (again), as `init` after a power cut would; with it the ledger is only
opened, so whatever creation left to luck shows as a refusal. `made/` is synced, and nothing else by the adapter.

`verify` starts the ledger as the service does, reads every entry, opens every acknowledged value, compares the root at
every acknowledged size, and runs `fsck`. What `fsck` names, and values that are missing, count as root_mismatch and
stand in words in `findings`. With `incremental` a long campaign stays practical: a verification begins at the
checkpoint that the last one kept (in a file beside the store), and each `full_every`-th begins at 0; likewise where a
test sets `verified` to what all its stores have in common.

A defect is a change of the ledger's own code or settings while this store is open: no line of it is in ledger/.
Without `guard` the ledger never compares itself with the guard, so that a loss is counted rather than refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, cast
from unittest import mock

import apsw

from ledger import Actor, Ledger, Receipt, create_ledger, indexing, open_ledger
from ledger.command import Recorded
from ledger.commands import CollectData, RegisterSubject
from ledger.errors import LedgerError, StorageError
from ledger.events import PersonalDataCollected
from ledger.keys import KeyStore
from ledger.sequencer import Sequencer
from ledger.storage import connect as _connect
from ledger.storage import sqlite as _sqlite
from ledger.storage import sqlite_keys as _sqlite_keys
from ledger.storage.engine import Batch
from ledger.storage.sqlite import SqliteEngine, SqliteTransaction
from ledger.storage.sqlite_keys import SqliteKeyTable
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.fsck import fsck
from ledger.tlog.note import Signer
from ledger.vocabulary import ActorId, KeyId, LegalBasis, Purpose, Role, SourceKind, SubjectId
from tests.faults.store import Ack, Oracle

ORIGIN: Final = "example.com/ledger"
KEK: Final = sha256(b"the key-encryption key of the fault tests").digest()
SIGNER: Final = Signer(ORIGIN, sha256(b"the signing key of the fault tests").digest())
LEDGER_STORE: Final = "tests.faults.ledger_store:LedgerStore"

DATABASE: Final = "data/ledger.db"
KEYS: Final = "data/keys.db"
GUARD: Final = "guard/guard"
MADE: Final = "made/done"

# About every so many appends one is for a new subject.
FRESH: Final = 10

LedgerDefect = Literal[
    "none",
    "synchronous-normal",  # commits without fsync of the WAL
    "synchronous-off",  # never syncs the database
    "keys-not-synced",  # a new data key may be lost after the event under it is acknowledged
    "keys-after-commit",  # a new data key is made durable only after the event under it
    "early-acknowledgement",  # answers before the commit
    "guard-first",  # the guard is ahead of the database between its write and the commit
    "acknowledges-after-error",  # takes a failed commit for a commit
    "no-page-checksums",  # nobody looks at the checksums of the pages
]


def id_of(name: str) -> str:
    """Return the id that stands for `name`: a UUID 4 like any other, and always the same."""
    return str(uuid.UUID(bytes=sha256(name.encode()).digest()[:16], version=4))


ACTOR: Final = Actor(id=ActorId(id_of("officer")), role=Role.OFFICER)


class LedgerStore:
    """A ledger in a directory, as the injectors want a store."""

    def __init__(
        self,
        *,
        defect: LedgerDefect = "none",
        guard: bool = True,
        autocheckpoint: int = 0,
        padding: int = 0,
        incremental: bool = False,
        full_every: int = 25,
        index_every: int = 0,
    ) -> None:
        """`autocheckpoint` in pages (0: as the ledger has it), small so that a short trace has some.

        With `index_every` about every so many appends are followed by a commitment of the tag index, in small steps.
        """
        self.findings: list[str] = []
        # A test that counts the system calls of a thread runs this at the beginning of the one that writes.
        self.on_writing_thread: Callable[[], None] | None = None
        # What every store that is verified has in common at its beginning, for a test that verified that part.
        self.verified = Verified()
        self._defect = defect
        self._compares = guard
        self._autocheckpoint = autocheckpoint
        self._padding = "." * padding
        self._incremental = incremental
        self._full_every = full_every
        self._index_every = index_every
        self._ledger: Ledger | None = None
        self._planted = ExitStack()
        self._subject = SubjectId("")
        self._unpersisted: list[KeyId] = []
        self._last: Ack | None = None

    @property
    def ledger(self) -> Ledger:
        """The open ledger."""
        if self._ledger is None:
            raise StorageError("the store is not open")
        return self._ledger

    def open(self, directory: Path) -> None:
        self._start(directory)
        try:
            self._subject = self._register("the first subject")
        except BaseException:
            self.close()
            raise

    def append(self, payload: str) -> Ack:
        self._commit_late()
        if zlib.crc32(payload.encode()) % FRESH == 0:
            self._subject = self._register(f"the subject of {payload}")
        try:
            receipt = self.ledger.record(self.command(payload), ACTOR, idempotency_key=payload)
        except StorageError:
            self._read_on()
            raise
        if self._index_every and zlib.crc32(payload.encode()) % self._index_every == 0:
            self.ledger.commit_index()
        self._last = self._ack(payload, receipt)
        return self._last

    def append_many(self, payloads: Sequence[str]) -> list[Ack]:
        """Append at once, as many callers do: a few transactions of many entries."""

        async def record() -> list[Receipt]:
            commands = (self.ledger.arecord(self.command(p), ACTOR, idempotency_key=p) for p in payloads)
            return await asyncio.gather(*commands)

        return [self._ack(*pair) for pair in zip(payloads, asyncio.run(record()), strict=True)]

    def close(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            with suppress(LedgerError, apsw.Error, OSError):
                self._commit_late(ledger)
            # The last checkpoint may fail for the reason that stopped the ledger; a restart repeats it.
            with suppress(LedgerError, apsw.Error, OSError):
                ledger.close()
        self._planted.close()

    def verify(self, directory: Path, acks: Sequence[Ack]) -> Oracle:
        self.findings = []
        try:
            self._start(directory)
            oracle = self._judge(directory, acks)
        except LedgerError as error:
            return Oracle(refused=f"{type(error).__name__}: {error}")
        finally:
            self.close()
        left = open_below(directory)
        return Oracle(refused=f"left open: {left}") if left else oracle

    def command(self, payload: str) -> CollectData:
        """Return the command that records `payload` about the present subject."""
        return CollectData(
            subject_id=self._subject,
            purpose=Purpose.CONTRACT,
            basis=LegalBasis.CONTRACT,
            source=SourceKind.SUBJECT,
            values={"name": payload, **({"address": self._padding} if self._padding else {})},
        )

    def _ack(self, payload: str, receipt: Receipt) -> Ack:
        checkpoint = receipt.verify(self.ledger.verifier, self.ledger.origin)
        return Ack(payload, receipt.index, checkpoint.size, checkpoint.root.hex())

    def _read_on(self) -> None:
        """Writing stopped: what was acknowledged can be read all the same."""
        if self._last is not None:
            event = cast(PersonalDataCollected, self.ledger.open(self._last.index))
            assert event.values["name"] == self._last.payload, "reading stopped too"

    # --- starting --------------------------------------------------------------------------------------------

    def _start(self, directory: Path) -> None:
        self._plant()
        try:
            for name in (DATABASE, GUARD, MADE):
                (directory / name).parent.mkdir(exist_ok=True)
            data, guard = (directory / DATABASE).parent, directory / GUARD
            if not (directory / MADE).exists():
                create_ledger(data, origin=ORIGIN, kek=KEK, signer=SIGNER, guard=guard)
                _remember(directory / MADE)
            self._ledger = open_ledger(data, kek=KEK, signer=SIGNER, guard=guard, index_every_s=None)
            self._set_up(self._ledger)
        except BaseException:
            self.close()
            raise

    def _set_up(self, ledger: Ledger) -> None:
        writer, keys = engine_of(ledger)._writer, keys_of(ledger)
        if self._autocheckpoint:
            writer.pragma("wal_autocheckpoint", self._autocheckpoint)
            keys.pragma("wal_autocheckpoint", self._autocheckpoint)
        if self._defect in ("synchronous-normal", "synchronous-off"):
            writer.pragma("synchronous", self._defect.removeprefix("synchronous-"))
        if self._defect == "keys-not-synced":
            keys.pragma("synchronous", "off")

    def _register(self, name: str) -> SubjectId:
        subject = SubjectId(id_of(name))
        self.ledger.record(RegisterSubject(subject_id=subject), ACTOR, idempotency_key=name)
        self._commit_late()
        return subject

    # --- judging ---------------------------------------------------------------------------------------------

    def _judge(self, directory: Path, acks: Sequence[Ack]) -> Oracle:
        kept = Verified.read(directory) if self._incremental else self.verified
        since = kept.checkpoint if kept.rounds % self._full_every else None
        done = kept.acks if since is not None else 0
        ledger, first = self.ledger, since.size if since is not None else 0
        report = fsck(ledger, since=since)
        self.findings += [f"{p.check}: {p.where} {p.why}" for p in report.problems]
        self.findings += [f"missing: entry {index}" for index in report.missing_at]
        if self._index_every:
            # What a kill left of the index goes on to a commitment that holds.
            ledger.commit_index()
            again = fsck(ledger)
            self.findings += [f"after: {p.check}: {p.where} {p.why}" for p in again.problems]
            report.problem_count += again.problem_count
        payloads, gaps = self._payloads(first)
        tree, size = ledger.tree(), ledger.size()
        fresh = acks[done:]
        promised = {ack.payload: ack.index for ack in acks}
        oracle = Oracle(
            acked_missing=sum(1 for ack in fresh if payloads.get(ack.index) != ack.payload),
            gaps=gaps,
            duplicates=len(payloads)
            - len(set(payloads.values()))
            + sum(1 for index, payload in payloads.items() if promised.get(payload, index) != index),
            root_mismatch=report.problem_count
            + report.missing
            + sum(1 for ack in fresh if ack.size > size or tree.root(ack.size).hex() != ack.root),
        )
        if self._incremental:
            Verified(kept.rounds + 1, len(acks), ledger.checkpoint()).write(directory)
        else:
            self.verified = replace(kept, rounds=kept.rounds + 1)
        return oracle

    def _payloads(self, first: int) -> tuple[dict[int, str], int]:
        """Return the values from index `first` as the ledger opens them, and how often the next index is another."""
        payloads: dict[int, str] = {}
        gaps, expected = 0, first
        for stored in self.ledger.engine.entries(first):
            gaps += stored.index != expected
            expected = stored.index + 1
            try:
                if isinstance(Recorded.parse(stored.entry).event, PersonalDataCollected):
                    event = cast(PersonalDataCollected, self.ledger.open(stored.index))
                    payloads[stored.index] = str(event.values["name"])
            except LedgerError as error:
                self.findings.append(f"open: entry {stored.index}: {error}")
        return payloads, gaps

    # --- defects ---------------------------------------------------------------------------------------------

    def _plant(self) -> None:
        def plant(target: Any, name: str, value: Any) -> None:
            self._planted.enter_context(mock.patch.object(target, name, value))

        if not self._compares:
            plant(Sequencer, "_check_guard", lambda sequencer, head: None)
        if self._index_every:
            for name, value in {"STEP_ENTRIES": 3, "STEP_MARKS": 4, "LAST_ENTRIES": 2, "LAST_MARKS": 3}.items():
                plant(indexing, name, value)
        if self.on_writing_thread is not None:
            run, begin = Sequencer._run, self.on_writing_thread
            plant(Sequencer, "_run", lambda sequencer: (begin(), run(sequencer)))
        commit, insert, leave = SqliteTransaction.commit, SqliteTransaction.insert, SqliteTransaction._roll_back
        match self._defect:
            case "guard-first":

                def insert_and_guard(transaction: SqliteTransaction, batch: Batch) -> None:
                    insert(transaction, batch)
                    self.ledger._guard.write(batch.checkpoint)

                plant(SqliteTransaction, "insert", insert_and_guard)
            case "early-acknowledgement":
                late: set[int] = set()

                def leave_open(transaction: SqliteTransaction) -> None:
                    if id(transaction) not in late:
                        return leave(transaction)
                    late.discard(id(transaction))
                    return transaction._lock.release()

                plant(SqliteTransaction, "commit", lambda transaction: late.add(id(transaction)))
                plant(SqliteTransaction, "_roll_back", leave_open)
            case "acknowledges-after-error":

                def commit_regardless(transaction: SqliteTransaction) -> None:
                    with suppress(StorageError):
                        commit(transaction)

                plant(SqliteTransaction, "commit", commit_regardless)
            case "keys-after-commit":
                persist = KeyStore.persist

                def persist_later(keys: KeyStore, key_ids: Iterable[KeyId]) -> set[KeyId]:
                    self._unpersisted = list(key_ids)
                    return set()

                def commit_and_persist(transaction: SqliteTransaction) -> None:
                    commit(transaction)
                    persist(self.ledger.keys, self._unpersisted)

                plant(KeyStore, "persist", persist_later)
                plant(SqliteTransaction, "commit", commit_and_persist)
            case "no-page-checksums":
                check = _connect._check_ours

                def check_and_forget(connection: apsw.Connection, *rest: Any) -> None:
                    check(connection, *rest)
                    connection.pragma("checksum_verification", "off")

                plant(_connect, "_check_ours", check_and_forget)
                for module in (_sqlite, _sqlite_keys):
                    plant(module, "damaged_pages", lambda connection, path: iter(()))

    def _commit_late(self, ledger: Ledger | None = None) -> None:
        if self._defect == "early-acknowledgement":
            engine = engine_of(ledger or self.ledger)
            with engine._write_lock:
                if engine._writer.in_transaction:
                    engine._writer.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class Verified:
    """How far a store was verified: in how many rounds, how many acknowledgements, up to which (size, note)."""

    rounds: int = 0
    acks: int = 0
    last: tuple[int, bytes] | None = None

    @property
    def checkpoint(self) -> Checkpoint | None:
        return open_checkpoint(self.last[1], SIGNER.verifier, ORIGIN) if self.last is not None else None

    @classmethod
    def read(cls, directory: Path) -> Verified:
        try:
            rounds, acks, size, note = json.loads(_kept_path(directory).read_text())
        except FileNotFoundError:
            return cls()
        return cls(rounds, acks, (size, b64decode(note)) if note else None)

    def write(self, directory: Path) -> None:
        size, note = self.last or (0, b"")
        _kept_path(directory).write_text(json.dumps([self.rounds, self.acks, size, b64encode(note).decode()]))


def _kept_path(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.verified")


def _remember(path: Path) -> None:
    """Make the empty file `path` and its name durable, whatever happens to anything else."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def engine_of(ledger: Ledger) -> SqliteEngine:
    return cast(SqliteEngine, ledger.engine)


def keys_of(ledger: Ledger) -> apsw.Connection:
    """The connection of a ledger's key store."""
    return cast(SqliteKeyTable, ledger.keys._table)._connection


def open_below(directory: Path) -> list[str]:
    """Return the files below `directory` that this process has open. Linux only (/proc)."""
    found: list[str] = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path.is_relative_to(directory.resolve()):
                found.append(path.name)
    return sorted(found)
