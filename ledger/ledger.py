"""Ledger: record, read, open, prove. `open_ledger` wires engine, keys, guard, signer and clock.

`record` is the whole write path: boundary, fold, decide, seal, sequence, receipt. The rules are in commands/, the order
of the log in the sequencer, the bytes in entry and sealing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final

import msgspec

from ledger import canonical, sealing
from ledger.boundaries import Boundaries
from ledger.canonical import check_text
from ledger.command import Command, CommandSlice, Context, Fact, Limits, Recorded, query_of
from ledger.destroyed import DestroyedKeys
from ledger.entry import Draft, draft, encode_data, event_of, parse, personal_values, with_values
from ledger.errors import (
    Busy,
    Conflict,
    IdempotencyMismatch,
    Invalid,
    Refused,
    StorageError,
    refused_again,
)
from ledger.events import Actor, Event, KeyDestroyed, Withheld
from ledger.keys import DataKey, KeyScope, KeyStore
from ledger.receipt import Receipt
from ledger.sealing import Box, SealedField
from ledger.sequencer import Append, Committed, Outcome, Sequencer, Ticket
from ledger.storage.engine import Condition, Engine, EventRow, Query, QueryItem
from ledger.storage.guard import MAX_KEPT_BYTES, Guard
from ledger.storage.sqlite import SqliteEngine
from ledger.suppression import Suppression
from ledger.tlog.files import LogFiles
from ledger.tlog.note import Signer, Verifier, is_name
from ledger.tlog.proof import LogProof
from ledger.tlog.tree import Tree
from ledger.tlog.view import TreeView
from ledger.vocabulary import EventId, KeyId, Tag, check_id, key_tag, new_id

# A conflict means that somebody else in the same boundary won; ten in a row mean that the caller should know.
MAX_ATTEMPTS: Final = 10

# The database, key store and guard of a data directory.
LEDGER_FILE: Final = "ledger.db"
KEYS_FILE: Final = "keys.db"
GUARD_FILE: Final = "guard"

MAX_ORIGIN: Final = 200


class Opened(msgspec.Struct, frozen=True):
    """The personal fields of an event: what opens with its salt, and for the rest why it does not."""

    fields: dict[str, SealedField]
    withheld: dict[str, Withheld]

    def values(self) -> dict[str, Any]:
        """Return each field's value, or the Withheld that stands for it."""
        return {name: field.plain() for name, field in self.fields.items()} | dict(self.withheld)


class Ledger:
    """One ledger. Safe for many threads and event loops; several processes may open the same files."""

    def __init__(
        self,
        engine: Engine,
        keys: KeyStore,
        guard: Guard,
        signer: Signer,
        *,
        clock: Callable[[], datetime],
        limits: Limits,
        queue_limit: int,
    ) -> None:
        self.engine = engine
        self.keys = keys
        self.origin = engine.origin
        self.verifier = Verifier.parse(engine.verifier)
        self.limits = limits
        self._clock = clock
        self._guard = guard
        self._idempotency_secret = keys.secret("idempotency")
        self._erasing = threading.Lock()
        self._grown = threading.Condition()
        self._size = engine.size()
        self._boundaries = Boundaries(engine)
        self._destroyed = DestroyedKeys(engine)
        self._addresses = Suppression(self)
        # Up to where destructions are recorded here, and carried out: each written by one side only.
        self._erasures_recorded = 0
        self._erasures_done = 0
        self._foreign = TreeView(Tree(self._load_tile))
        self._sequencer = Sequencer(
            engine, keys, guard, signer, clock=clock, queue_limit=queue_limit, committed=self._on_committed
        )
        self._sequencer.start()
        try:
            # A key store restored from an older backup replays the destructions it missed before anything is served.
            self.carry_out_erasures()
        except BaseException:
            self._sequencer.close()
            raise

    def close(self) -> None:
        """Finish what was accepted, then close every file."""
        self._sequencer.close()
        self.engine.close()
        self.keys.close()
        self._guard.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- recording -------------------------------------------------------------------------------------------

    def record(self, command: Command, actor: Actor, *, idempotency_key: str | None = None) -> Receipt:
        """Carry out a command and return its receipt: durable, verifiable offline.

        With an idempotency key the same content gives the first receipt again, for ever. Raises Refused (by name;
        `index` says where a refusal was itself recorded), Conflict after ten lost races, Busy, Stopped, StorageError.
        On StorageError the outcome is in doubt: ask again with the same idempotency key.
        """
        attempt = _Attempt(self, command, actor, idempotency_key)
        while (append := attempt.prepare()) is not None:
            try:
                attempt.succeed(self._sequencer.submit(append).wait())
            except Conflict as conflict:
                attempt.fail(conflict)
        return attempt.receipt()

    async def arecord(self, command: Command, actor: Actor, *, idempotency_key: str | None = None) -> Receipt:
        """The same as `record` without blocking the event loop: decided in a worker thread, awaited here."""
        loop = asyncio.get_running_loop()
        attempt = _Attempt(self, command, actor, idempotency_key)
        while (append := await asyncio.to_thread(attempt.prepare)) is not None:
            settled: asyncio.Future[Ticket] = loop.create_future()
            try:
                self._sequencer.submit(append, partial(_settle_in, loop, settled))
                attempt.succeed((await asyncio.shield(settled)).outcome())
            except Conflict as conflict:
                attempt.fail(conflict)
        return await asyncio.to_thread(attempt.receipt) if attempt.erases else attempt.receipt()

    def append(self, append: Append) -> Outcome:
        """Record prepared events: the low door, for the `eventsourcing` recorder and for measuring."""
        return self._sequencer.submit(append).wait()

    def decide(self, command: Command, actor: Actor, *, fresh: bool = True) -> tuple[CommandSlice, int]:
        """Read a command's boundary, fold it and decide, recording nothing. Returns the slice and the position read.

        Without `fresh` the boundary may be taken from memory: then only an append on its condition settles it.
        """
        command.check()
        # An actor stands in the entry: an opaque id, never a name or an address.
        check_id(actor.id, "actor.id")
        context = Context(self._clock(), actor, self.limits, self.keys.of_subject, self._addresses)
        decision = CommandSlice(command, context)
        past, position = self._boundaries.read(decision.query(), fresh=fresh)
        for recorded in past:
            decision.fold(recorded)
        decision.execute()
        return decision, position

    def seal(self, facts: Collection[Fact], query: Query, after: int) -> Append:
        """Turn decided facts into an append: data encoded, personal fields committed to and sealed."""
        drafts: list[Draft] = []
        boxes: list[list[Box]] = []
        new_keys: set[KeyId] = set()
        guards: list[QueryItem] = []
        for fact in facts:
            event = fact.decision
            guards += query_of(fact.guards)
            event_id = EventId(new_id())
            values = personal_values(event)
            tags = list(map(Tag, fact.tags))
            commitments: dict[str, str] = {}
            sealed: list[Box] = []
            if values:
                assert fact.scope is not None, event.TOPIC
                key = self._key_for(fact.scope, after)
                commitments, box = sealing.seal(
                    values, ledger=self.origin, event_id=event_id, key_id=key.id, key=key.secret
                )
                sealed.append(box)
                new_keys.add(key.id)
                tags.append(key_tag(key.id))
                # A key that is destroyed meanwhile takes no new value: erasure and this event have one order.
                guards.append(QueryItem((KeyDestroyed.TOPIC,), (key_tag(key.id),)))
            drafts.append(draft(id=event_id, type=event.TOPIC, tags=tags, data=encode_data(event), sealed=commitments))
            boxes.append(sealed)
        return Append(drafts, boxes, Condition((*query, *guards), after), tuple(new_keys))

    def _key_for(self, scope: KeyScope, position: int) -> DataKey:
        key = self.keys.obtain(scope)
        if self._destroyed.contains(key.id, position):
            # Another process recorded its destruction, or was cut off before it carried it out.
            self.carry_out_erasures()
            self.keys.forget(key.id)
            key = self.keys.obtain(scope)
        return key

    # --- reading ---------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Return the number of entries recorded."""
        return self.engine.size()

    def now(self) -> datetime:
        """The moment by the ledger's clock, UTC."""
        return self._clock()

    def read(self, query: Query = (), *, after: int = 0, end: int | None = None) -> Iterator[Recorded]:
        """Yield the matching events, `after` < position ≤ `end` (the size now), in order and pages, fields sealed."""
        end = self.engine.size() if end is None else end
        for stored in self.engine.select(query, after=after, end=end):
            yield Recorded.parse(stored.entry)

    def open(self, index: int) -> Event:
        """Return the event at `index` with its personal fields opened, or the Withheld that says why one is not.

        Raises Invalid beyond the end and Tampered when a value is not the one recorded. Whoever calls this shows
        personal data: the doors record the access first.
        """
        entry = self.entry(index)
        return with_values(event_of(parse(entry)), self.open_fields(entry).values())

    def open_fields(self, entry: bytes) -> Opened:
        """Return the personal fields of an entry: opened, erased or missing. Raises Tampered."""
        parsed = parse(entry)
        fields: dict[str, SealedField] = {}
        if not parsed.sealed:
            return Opened({}, {})
        opened: set[str] = set()
        for box in self.engine.boxes(parsed.index):
            # GDPR Art. 17: what is recorded as destroyed is not read, also before it is deleted.
            key = None if self.is_destroyed(box.key_id) else self.keys.get(box.key_id)
            if key is not None:
                fields |= sealing.open_box(box, parsed.sealed, ledger=self.origin, event_id=parsed.id, key=key.secret)
                opened.add(box.key_id)
        closed = parsed.sealed.keys() - fields.keys()
        if not closed:
            return Opened(fields, {})
        keys = [KeyId(tag.removeprefix("key:")) for tag in parsed.tag_names if tag.startswith("key:")]
        unopened = [key for key in keys if key not in opened]
        erased = bool(unopened) and all(self.is_destroyed(key) for key in unopened)
        return Opened(fields, dict.fromkeys(closed, Withheld.ERASED if erased else Withheld.MISSING))

    def is_destroyed(self, key_id: KeyId) -> bool:
        """Whether the destruction of a key is recorded, carried out yet or not."""
        return self._destroyed.contains(key_id, self.engine.size())

    def entry(self, index: int) -> bytes:
        """Return the entry bytes at `index`. Raises Invalid beyond the end."""
        entry = self.engine.entry(index) if index >= 0 else None
        if entry is None:
            raise Invalid("index", f"there is no entry {index}")
        return entry

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Wait until the log has grown to `position`; return whether it has. Sees other processes within 0.2 s."""
        deadline = monotonic() + timeout_s
        while (size := self.engine.size()) < position:
            left = deadline - monotonic()
            if left <= 0:
                return False
            with self._grown:
                if self._size <= size:
                    self._grown.wait(min(left, 0.2))
        return True

    # --- proving ---------------------------------------------------------------------------------------------

    def checkpoint(self, size: int | None = None) -> tuple[int, bytes] | None:
        """Return (size, signed note) of the last checkpoint, or of the first one of at least `size` entries."""
        return self.engine.checkpoint(size)

    def tree(self) -> TreeView:
        """Return the tree of everything that is committed now, for proofs."""
        view = max(self._sequencer.view, self._foreign, key=lambda known: known.size)
        if view.size < (size := self.engine.size()):
            # Another process recorded something since we did.
            view = self._foreign = TreeView(Tree.load(size, self._load_tile, self.engine.leaves))
        return view

    def files(self) -> LogFiles:
        """Return the log as it is now in the files of C2SP tlog-tiles, for whoever audits or serves it."""
        return LogFiles(self.engine, self.tree())

    def prove(self, index: int, *, size: int | None = None, tree: TreeView | None = None) -> bytes:
        """Return the tlog-proof of an entry under the first checkpoint of at least `size` entries (the last one)."""
        checkpoint = self.engine.checkpoint(size)
        if checkpoint is None or not 0 <= index < checkpoint[0]:
            raise Invalid("index", f"there is no entry {index} under that checkpoint")
        tree = tree or self.tree()
        return LogProof(index, tree.inclusion_proof(index, checkpoint[0]), checkpoint[1]).encode()

    def receipt(self, first: int, count: int) -> Receipt:
        """Return again the receipt of the `count` entries from `first`, under the checkpoint of their transaction."""
        checkpoint = self.engine.checkpoint(first + count)
        assert checkpoint is not None
        tree = self.tree()
        entries = tuple(self.entry(first + i) for i in range(count))
        proofs = tuple(self.prove(first + i, size=checkpoint[0], tree=tree) for i in range(count))
        return Receipt(first, entries, proofs)

    def recorded_under(self, idempotency_key: str) -> range | None:
        """Return the indexes of the entries that the first request under this key made, None when there was none."""
        row = self.engine.find_idempotent(self._mac(b"key", check_text(idempotency_key, "idempotency_key").encode()))
        return None if row is None else range(row.first, row.first + row.count)

    # --- inside ----------------------------------------------------------------------------------------------

    def idempotency_digests(self, key: str, command: Command, actor: Actor) -> tuple[bytes, bytes]:
        """Keyed digests of an idempotency key and of what was asked: both may hold personal data in plain."""
        try:
            content = msgspec.json.encode([type(command).NAME, command, actor], order="sorted")
        except (TypeError, ValueError):
            with suppress(TypeError):
                for name in command.__struct_fields__:
                    canonical.encode(msgspec.to_builtins(getattr(command, name)), name, nested_names=False)
            raise Invalid(type(command).NAME, "holds a value that JSON cannot hold") from None
        return self._mac(b"key", check_text(key, "idempotency_key").encode()), self._mac(b"content", content)

    def _mac(self, what: bytes, data: bytes) -> bytes:
        return hmac.digest(self._idempotency_secret, what + b"\x00" + data, hashlib.sha256)

    def carry_out_due_erasures(self) -> None:
        """Carry out erasures when a key destruction was recorded here and is not carried out yet."""
        if self._erasures_recorded > self._erasures_done:
            self.carry_out_erasures()

    def carry_out_erasures(self) -> None:
        """Do what recorded key destructions ask for: delete the sealed values, then the keys. Idempotent.

        Raises StorageError when something keeps the bytes from going (a long read, say); the next call, or the next
        start, does it again. Until then nobody reads them.
        """
        with self._erasing:
            done = self.keys.erasures_applied_to()
            end = self.engine.size()
            if done == end:
                self._erasures_done = end
                return
            if done > end:
                # The database is an older one than the key store has seen: nothing of what it says can be skipped.
                done = 0
            query = (QueryItem((KeyDestroyed.TOPIC,)),)
            destroyed = [
                recorded.event.key_id
                for recorded in self.read(query, after=done, end=end)
                if isinstance(recorded.event, KeyDestroyed)
            ]
            if destroyed:
                try:
                    self.engine.delete_boxes(destroyed, end)
                finally:
                    # Whatever keeps the sealed values from going, without their key nobody opens them.
                    self.keys.destroy(destroyed)
            # A crash before this line does the same again: deleting twice is deleting once.
            self.keys.set_erasures_applied_to(end)
            self._erasures_done = end

    def _on_committed(self, rows: Sequence[EventRow], size: int) -> None:
        self._boundaries.grown(rows, size)
        if self._destroyed.grown(rows, size):
            self._erasures_recorded = size
        with self._grown:
            self._size = size
            self._grown.notify_all()

    def _load_tile(self, level: int, n: int) -> bytes:
        hashes = self.engine.tile(level, n)
        if hashes is None:
            raise StorageError(f"tile {level}/{n} is missing: run `prooftrail verify`")
        return hashes


class _Attempt:
    """One command on its way through, tried again on conflicts; the same for threads and event loops."""

    def __init__(self, ledger: Ledger, command: Command, actor: Actor, idempotency_key: str | None) -> None:
        self._ledger = ledger
        self._command = command
        self._actor = actor
        self._digests = (
            ledger.idempotency_digests(idempotency_key, command, actor) if idempotency_key is not None else None
        )
        self._attempts = 0
        self._facts: Collection[Fact] = ()
        self._refusal: Refused | None = None
        self._receipt: Receipt | None = None
        self._replay: tuple[int, int] | None = None

    def prepare(self) -> Append | None:
        """Return what to append next, None when it is settled. Raises Refused."""
        if self._receipt is not None or self._find_replay():
            return None
        try:
            decision, head = self._decide()
        except Refused:
            # The same request may have been recorded while this one was being decided.
            if self._find_replay():
                return None
            raise
        self._facts, self._refusal = decision.facts, decision.refusal
        append = self._ledger.seal(decision.facts, decision.query(), head)
        return msgspec.structs.replace(append, idempotency=self._digests)

    def _decide(self) -> tuple[CommandSlice, int]:
        """Decide on what is in memory; after a conflict, or before a refusal stands, on what the store says."""
        if not self._attempts:
            with suppress(Refused):
                return self._ledger.decide(self._command, self._actor, fresh=False)
        return self._ledger.decide(self._command, self._actor)

    def succeed(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Committed):
            self._replay = outcome.row.first, outcome.row.count
            self._receipt = self._ledger.receipt(*self._replay)
            return
        proofs = tuple(
            LogProof(outcome.first + i, hashes, outcome.checkpoint).encode()
            for i, hashes in enumerate(outcome.proofs())
        )
        self._receipt = Receipt(outcome.first, outcome.entries, proofs)

    def fail(self, conflict: Conflict) -> None:
        """Note a lost race; raise it when there were too many, or when the queue is what is full."""
        self._attempts += 1
        if isinstance(conflict, Busy) or self._attempts == MAX_ATTEMPTS:
            raise conflict

    def receipt(self) -> Receipt:
        """Return the receipt; raise the refusal that was recorded. Carries out what the facts ask for."""
        assert self._receipt is not None
        if self._replay is not None:
            self._raise_again(*self._replay)
        if self._refusal is not None:
            self._refusal.index = self._receipt.first
            raise self._refusal
        if self.erases:
            self._ledger.carry_out_due_erasures()
        return self._receipt

    @property
    def erases(self) -> bool:
        """Whether a destruction of keys was asked for: others neither wait for one nor fail with it."""
        return self._replay is not None or any(isinstance(fact.decision, KeyDestroyed) for fact in self._facts)

    def _find_replay(self) -> bool:
        if self._digests is None:
            return False
        row = self._ledger.engine.find_idempotent(self._digests[0])
        if row is None:
            return False
        if row.content != self._digests[1]:
            raise IdempotencyMismatch
        self._replay = row.first, row.count
        self._receipt = self._ledger.receipt(row.first, row.count)
        return True

    def _raise_again(self, first: int, count: int) -> None:
        """A request whose refusal was recorded is refused again, in the same words."""
        for recorded in self._ledger.read(after=first, end=first + count):
            if isinstance(recorded.event, self._command.KEEPS):
                raise refused_again(getattr(recorded.event, "reason"), recorded.index)  # noqa: B009


def create_ledger(data: Path, *, origin: str, kek: bytes, signer: Signer, guard: Path | None = None) -> None:
    """Make the files of a new ledger in `data`: database, key store, guard. Safe when several processes do it at once.

    Raises Invalid for an origin that no checkpoint can carry, StorageError when the directory cannot be used.
    """
    if not is_name(origin) or len(origin) > MAX_ORIGIN or not origin.isascii():
        raise Invalid("origin", f"is a name like example.com/ledger: ASCII without spaces or '+', at most {MAX_ORIGIN}")
    if signer.name != origin:
        raise Invalid("signer", "is named for the origin of the ledger")
    assert MAX_ORIGIN * 4 < MAX_KEPT_BYTES
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"{data}: cannot be made ({error.strerror})") from error
    # The name of the directory too must outlive a power cut.
    parent = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fsync(parent)
    os.close(parent)
    if (data / LEDGER_FILE).exists() and not (data / KEYS_FILE).exists():
        # An empty one in its place would hide the loss: values would read as missing, idempotency keys as new.
        raise StorageError(
            f"{data / KEYS_FILE}: is missing, but {LEDGER_FILE} was made with it; restore it from a backup"
        )
    kept = Guard(guard or data / GUARD_FILE, create=True)
    try:
        with kept.lock():
            KeyStore(data / KEYS_FILE, kek, create=True).close()
            engine = SqliteEngine.create(data / LEDGER_FILE, origin=origin, verifier=str(signer.verifier))
            engine.close()
            if engine.verifier != str(signer.verifier):
                raise StorageError(f"{data}: holds the ledger {engine.origin} already, signed by another key")
    finally:
        kept.close()


def public_key(data: Path) -> Verifier:
    """Return the public key of the ledger in `data`; needs none of its secrets. Raises StorageError."""
    engine = SqliteEngine(data / LEDGER_FILE)
    try:
        return Verifier.parse(engine.verifier)
    finally:
        engine.close()


def open_ledger(
    data: Path,
    *,
    kek: bytes,
    signer: Signer,
    guard: Path | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    limits: Limits | None = None,
    queue_limit: int = 4_096,
) -> Ledger:
    """Open the ledger in `data` for reading and recording.

    Raises StorageError (absent, not ours, newer, damaged, wrong key), RolledBack when the database is older than its
    guard, Tampered when its tree is not the signed one.
    """
    opened: list[Any] = []
    try:
        engine = SqliteEngine(data / LEDGER_FILE)
        opened.append(engine)
        if engine.verifier != str(signer.verifier):
            raise StorageError(f"{data}: this signing key is not the one of the ledger; give the one `init` made")
        keys = KeyStore(data / KEYS_FILE, kek)
        opened.append(keys)
        kept = Guard(guard or data / GUARD_FILE)
        opened.append(kept)
        return Ledger(engine, keys, kept, signer, clock=clock, limits=limits or Limits(), queue_limit=queue_limit)
    except BaseException:
        for part in opened:
            part.close()
        raise


def _settle_in(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Ticket], ticket: Ticket) -> None:
    def resolve() -> None:
        # The caller may have gone away; what it asked for is recorded all the same.
        if not future.done():
            future.set_result(ticket)

    # A loop that is closed has nobody left to tell; the sequencer goes on for all others.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(resolve)
