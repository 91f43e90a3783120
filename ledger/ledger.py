"""Ledger: record, read, open values, prove. Where a ledger lies, and what it is wired from, is in `opening`.

`record` is the whole write path: boundary, fold, decide, seal, sequence, receipt. The rules are in commands/, the order
of the log in the sequencer, the bytes in entry and sealing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal

import msgspec

from ledger import canonical, sealing
from ledger.append import Append, Committed, Outcome
from ledger.attempt import Attempt
from ledger.boundaries import Boundaries
from ledger.canonical import check_text
from ledger.command import Boundary, Command, CommandSlice, Context, Fact, Limits, Recorded, query_of
from ledger.cosigning import Cosigning
from ledger.destroyed import DestroyedKeys
from ledger.entry import (
    Draft,
    draft,
    encode_data,
    event_of,
    format_moment,
    parse,
    personal_values,
    with_values,
)
from ledger.errors import (
    Conflict,
    Invalid,
    LedgerError,
    StorageError,
    Tampered,
    Uncosigned,
)
from ledger.events import Actor, Event, KeyDestroyed, SigningKeyRetired, SigningKeyRotated, Withheld
from ledger.indexing import Indexer
from ledger.keys import DataKey, KeyScope, KeyStore
from ledger.observer import Observer
from ledger.queue import Ticket
from ledger.receipt import Receipt
from ledger.sealing import Box, SealedField
from ledger.sequencer import Sequencer
from ledger.signing_keys import LogKeys, SigningKeys
from ledger.storage.cosignatures import CosignatureStore
from ledger.storage.engine import Condition, Engine, EventRow, Query, QueryItem
from ledger.storage.guard import Guard
from ledger.suppression import Suppression
from ledger.tlog.ask import WitnessAddress
from ledger.tlog.checkpoint import claimed_size
from ledger.tlog.cosignature import with_lines
from ledger.tlog.files import LogFiles
from ledger.tlog.index import IndexCommitment
from ledger.tlog.note import Verifier
from ledger.tlog.proof import LogProof
from ledger.tlog.tag_proof import Cut, TagProof
from ledger.tlog.tree import Tree
from ledger.tlog.view import TreeView
from ledger.vocabulary import SIGNING_KEYS_TAG, EventId, KeyId, Tag, check_id, key_tag, new_id
from ledger.waiting import Waiting

Wait = Literal["recorded", "cosigned"]
"""What `record` waits for: that the fact is durable, or that witnesses have seen it too."""

# Most events that one proof of completeness shows, unless more are asked for.
MAX_PROVEN: Final = 10_000


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
        signing: SigningKeys,
        *,
        clock: Callable[[], datetime],
        limits: Limits,
        queue_limit: int,
        index_every_s: float | None,
    ) -> None:
        self.engine = engine
        self.keys = keys
        self.origin = engine.origin
        self.closed = False
        self.limits = limits
        self._clock = clock
        self._guard = guard
        self._signing = signing
        self.cosigning: Cosigning | None = None
        self.observer = Observer()
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
            engine, keys, guard, signing, clock=clock, queue_limit=queue_limit, committed=self._on_committed
        )
        self.index = Indexer(engine, self._sequencer.submit, every_s=index_every_s)
        self._sequencer.start()
        try:
            # A key store restored from an older backup replays the destructions it missed before anything is served.
            self.carry_out_erasures()
        except BaseException:
            self._sequencer.close()
            raise
        self.index.start()

    def collect_cosignatures(self, store: CosignatureStore, witnesses: Sequence[WitnessAddress]) -> None:
        """Ask these witnesses from now on, and keep what they say in `store`, which is closed with the ledger."""

        def proof(old: int, new: int) -> tuple[bytes, ...]:
            return self.tree().consistency_proof(old, new)

        self.cosigning = Cosigning(store, witnesses, newest=self.checkpoint, proof=proof)

    def observe(self, observer: Observer) -> None:
        """Tell this one from now on what is done and how long it takes."""
        self.observer = self._sequencer.observer = observer

    def close(self) -> None:
        """Finish what was accepted, then close every file."""
        self.closed = True
        if self.cosigning is not None:
            self.cosigning.close()
        self.index.close()
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

    def record(
        self,
        command: Command,
        actor: Actor,
        *,
        idempotency_key: str | None = None,
        wait: Wait = "recorded",
        timeout_s: float = 30.0,
    ) -> Receipt:
        """Carry out a command and return its receipt: durable, verifiable offline.

        With an idempotency key the same content gives the first receipt again, for ever. Raises Refused (by name;
        `index` says where a refusal was itself recorded), Conflict after ten lost races, Busy, Stopped, StorageError.
        On StorageError the outcome is in doubt: ask again with the same idempotency key.

        With `wait="cosigned"` the receipt is under a checkpoint that witnesses cosigned: at most `timeout_s` seconds
        after it was recorded, or Uncosigned is raised, which has the receipt: the fact is recorded all the same.
        """
        self._check_wait(wait)
        attempt = Attempt(self, command, actor, idempotency_key)
        while (append := attempt.prepare()) is not None:
            try:
                attempt.succeed(self.append(append))
            except Conflict as conflict:
                attempt.fail(conflict)
        receipt = attempt.receipt()
        return self.cosigned(receipt, timeout_s) if wait == "cosigned" else receipt

    async def arecord(
        self,
        command: Command,
        actor: Actor,
        *,
        idempotency_key: str | None = None,
        wait: Wait = "recorded",
        timeout_s: float = 30.0,
    ) -> Receipt:
        """The same as `record` without blocking the event loop: what may take a while is done in a worker thread."""
        self._check_wait(wait)
        attempt = Attempt(self, command, actor, idempotency_key)
        while (append := await self._aprepare(attempt)) is not None:
            try:
                attempt.succeed(await self.aappend(append))
            except Conflict as conflict:
                attempt.fail(conflict)
        receipt = await asyncio.to_thread(attempt.receipt) if attempt.erases else attempt.receipt()
        return await asyncio.to_thread(self.cosigned, receipt, timeout_s) if wait == "cosigned" else receipt

    def record_many(self, asked: Sequence[tuple[Command, Actor, str | None]]) -> list[Receipt | LedgerError]:
        """Carry out many commands in their order, each succeeding or failing alone; return a receipt or an error each.

        They share transactions as far as none depends on another; the outcome is as if each had been waited for.
        """
        done: dict[int, Receipt | LedgerError] = {}
        pending: list[tuple[int, Attempt, Ticket]] = []
        waiting = Waiting()

        def settle() -> None:
            for number, attempt, ticket in pending:
                done[number] = self._settle(attempt, ticket)
            pending.clear()
            waiting.clear()

        for number, (command, actor, key) in enumerate(asked):
            try:
                attempt = Attempt(self, command, actor, key)
                if waiting.has_key(key) or waiting.may_match(query_of(command.boundary())):
                    settle()
                append = attempt.prepare()
                if append is not None and append.condition and waiting.may_match(append.condition.query):
                    # What guards a decision is known only once there is one.
                    settle()
                    append = attempt.prepare()
                if append is None:
                    done[number] = attempt.receipt()
                    continue
                if waiting.may_be_changed_by(append):
                    settle()
                waiting.add(append, key)
                pending.append((number, attempt, self._sequencer.submit(append)))
            except LedgerError as error:
                done[number] = error
        settle()
        return [done[number] for number in range(len(asked))]

    def _settle(self, attempt: Attempt, ticket: Ticket) -> Receipt | LedgerError:
        """Wait for what was submitted, and try it again alone when somebody else was first."""
        try:
            while True:
                try:
                    attempt.succeed(ticket.wait())
                except Conflict as conflict:
                    attempt.fail(conflict)
                if (append := attempt.prepare()) is None:
                    return attempt.receipt()
                ticket = self._sequencer.submit(append)
        except LedgerError as error:
            return error

    async def _aprepare(self, attempt: Attempt) -> Append | None:
        """Decide on the loop what memory or a local file answers in a fraction of a millisecond, else in a thread."""
        if self.engine.is_local and attempt.is_small:
            return attempt.prepare()
        return await asyncio.to_thread(attempt.prepare)

    def _check_wait(self, wait: Wait) -> None:
        if wait not in ("recorded", "cosigned"):
            raise Invalid("wait", "is recorded or cosigned")
        if wait == "cosigned" and (self.cosigning is None or not self.cosigning.names):
            raise Invalid("wait", "nobody would cosign: this ledger has no witnesses")

    def append(self, append: Append) -> Outcome:
        """Record prepared events: the low door, for the `eventsourcing` recorder and for measuring."""
        with self.observer.step("append"):
            return self._sequencer.submit(append).wait()

    async def aappend(self, append: Append) -> Outcome:
        """The same as `append` without blocking the event loop."""
        with self.observer.step("append"):
            return await self._sequencer.submit(append, asyncio.get_running_loop())

    def decide(self, command: Command, actor: Actor, *, fresh: bool = True) -> tuple[CommandSlice, int]:
        """Read a command's boundary, fold it and decide, recording nothing. Returns the slice and the position read.

        Without `fresh` the boundary may be taken from memory: then only an append on its condition settles it.
        """
        command.check()
        # An actor stands in the entry: an opaque id, never a name or an address.
        check_id(actor.id, "actor.id")
        context = Context(self._clock(), actor, self.limits, self.keys.of_subject, self._addresses)
        decision = CommandSlice(command, context, trusting=not fresh)
        query = decision.query
        # An empty query would be every event; an empty boundary is none.
        past, position = self._boundaries.read(query, fresh=fresh) if query else ([], self._size)
        for recorded in past:
            decision.fold(recorded)
        decision.execute()
        return decision, position

    def seal(self, facts: Collection[Fact], query: Query, after: int) -> Append:
        """Turn decided facts into an append: data encoded, personal fields committed to and sealed.

        What rests on nothing, and needs no key, is appended on no condition.
        """
        drafts: list[Draft] = []
        boxes: list[list[Box]] = []
        new_keys: set[KeyId] = set()
        guards: list[QueryItem] = []
        for fact in facts:
            event = fact.decision
            guards += query_of(fact.guards)
            event_id = EventId(new_id())
            values = personal_values(event)
            tags: list[Any] = [*fact.tags]
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
        condition = Condition((*query, *guards), after) if query or guards else None
        return Append(drafts, boxes, condition, tuple(new_keys))

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

    def waiting(self) -> int:
        """Return the number of appends that wait for their transaction in this process."""
        return self._sequencer.waiting

    def now(self) -> datetime:
        """The moment by the ledger's clock, UTC."""
        return self._clock()

    def read(self, query: Query = (), *, after: int = 0, end: int | None = None) -> Iterator[Recorded]:
        """Yield the matching events, `after` < position ≤ `end` (the size now), in order and pages, fields sealed."""
        end = self.engine.size() if end is None else end
        for stored in self.engine.select(query, after=after, end=end):
            yield Recorded.parse(stored.entry)

    def recall(self, boundary: Boundary) -> list[Recorded]:
        """Return the events of a boundary as far as this process knows them, from memory where they are there."""
        return self._boundaries.read(query_of(boundary), fresh=False)[0]

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

    # --- the keys that sign --------------------------------------------------------------------------------------

    @property
    def verifier(self) -> Verifier:
        """The public key to verify with from now on: the newest one; `log_keys` has those of older checkpoints."""
        return self.log_keys().newest

    def log_keys(self) -> LogKeys:
        """Return every key that signs or signed the log, each with the sizes that it signs."""
        return self._signing.up_to(self.engine.size())

    def rotate_key(self, verifier: Verifier) -> int:
        """Record that this key replaces the one that signs, and return where. From then on both sign.

        Its private half must be where this ledger reads signing keys. Raises SigningKeyState, StorageError.
        """
        event = SigningKeyRotated(verifier=str(verifier), replaces=str(self.verifier))
        return self._append_about_keys(event)

    def retire_key(self) -> int:
        """End the overlap of a rotation: the newest key signs alone. Return the index. Raises SigningKeyState."""
        older = self.log_keys().keys[-2:][0].verifier
        return self._append_about_keys(SigningKeyRetired(verifier=str(older)))

    def _append_about_keys(self, event: Event) -> int:
        fact = draft(
            id=EventId(new_id()), type=event.TOPIC, tags=[SIGNING_KEYS_TAG], data=encode_data(event), sealed={}
        )
        outcome = self.append(Append([fact], [[]]))
        assert isinstance(outcome, Committed)
        return outcome.first

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

    def tree_at(self, size: int) -> TreeView:
        """Return the tree of the first `size` entries, for proofs and files. Raises Invalid beyond the end."""
        return TreeView(Tree.load(size, self._load_tile, self.engine.leaves))

    def prove(self, index: int, *, size: int | None = None, tree: TreeView | None = None) -> bytes:
        """Return the tlog-proof of an entry under the first checkpoint of at least `size` entries (the last one)."""
        checkpoint = self.engine.checkpoint(size)
        if checkpoint is None or not 0 <= index < checkpoint[0]:
            raise Invalid("index", f"there is no entry {index} under that checkpoint")
        tree = tree or self.tree()
        return LogProof(index, tree.inclusion_proof(index, checkpoint[0]), checkpoint[1]).encode()

    def commit_index(self) -> IndexCommitment:
        """Commit the tag index over everything recorded by now, unless that is done; return the last commitment.

        Appends go on meanwhile. Raises Tampered when entries and index do not fit, Busy, Stopped, StorageError.
        """
        return self.index.commit()

    def prove_tag(self, tag: Tag, *, as_of: datetime | None = None, limit: int = MAX_PROVEN) -> TagProof:
        """Return the proof that certain events are all that carry `tag` by now, or that there is none.

        The index is committed first if it does not cover everything yet. With `as_of`, a moment in the past, the
        history is also cut there. Raises Invalid for a moment that is not past or before the first entry and for a tag
        of more than `limit` events, Tampered, Busy, Stopped, StorageError.
        """
        check_text(tag, "tag")
        if not tag:
            raise Invalid("tag", "is not empty")
        moment = None if as_of is None else format_moment(as_of)
        if moment is not None and moment >= format_moment(self._clock()):
            raise Invalid("as_of", "is not past yet: a moment is proven once something was recorded after it")
        committed, proof = self.index.prove(tag, after=moment)
        count = 0 if proof.end is None or proof.end_key is not None else proof.end.n
        if count > limit:
            raise Invalid("tag", f"has {count} events; a proof of all of them shows at most {limit}")
        found = self.engine.select((QueryItem((), (tag,)),), end=committed.size)
        entries = tuple(stored.entry for stored in found)
        tree = self.tree()
        inclusion = self.prove(committed.size, size=committed.size + 1, tree=tree)
        cut = None if moment is None else self._cut(moment, committed.size, LogProof.parse(inclusion).checkpoint, tree)
        made = TagProof(tag, entries, self.entry(committed.size), inclusion, proof.encode(), cut)
        # A stranger will do the same: what does not hold is not handed out.
        made.verify([key.verifier for key in self.log_keys().keys], self.origin)
        return made

    def _cut(self, moment: str, end: int, checkpoint: bytes, tree: TreeView) -> Cut:
        """Return the cut of the log at a moment before the entry at `end`."""
        size = bisect_right(range(end), moment, key=lambda index: parse(self.entry(index)).recorded_at)
        if size == 0:
            raise Invalid("as_of", "is before the first entry")
        # What shares a moment shares a transaction, or follows it: a checkpoint was signed exactly here.
        found = self.engine.checkpoint(size)
        if found is None or found[0] != size:
            raise Tampered("checkpoint", f"the one of {size} entries is missing; run `prooftrail verify`")
        later = self.log_keys().open(checkpoint)
        return Cut(moment, found[1], tree.consistency_proof(size, later.size))

    def receipt(self, first: int, count: int) -> Receipt:
        """Return again the receipt of the `count` entries from `first`, under the checkpoint of their transaction."""
        checkpoint = self.engine.checkpoint(first + count)
        assert checkpoint is not None
        tree = self.tree()
        entries = tuple(self.entry(first + i) for i in range(count))
        proofs = tuple(self.prove(first + i, size=checkpoint[0], tree=tree) for i in range(count))
        return Receipt(first, entries, proofs)

    def cosigned(self, receipt: Receipt, timeout_s: float) -> Receipt:
        """Wait for the witnesses; return the receipt under the first checkpoint from then on that they cosigned.

        Raises Uncosigned when one has not within `timeout_s` seconds.
        """
        assert self.cosigning is not None
        if missing := self.cosigning.wait_for(receipt.position, timeout_s):
            raise Uncosigned(receipt, missing)
        store = self.cosigning.store
        sizes = store.sizes(above=receipt.position - 1, limit=64)
        # The first that all cosigned, if there is one; else the first that most did.
        size = max(sizes, key=lambda one: (len(store.of(one)), -one))
        found = self.engine.checkpoint(size)
        assert found is not None
        note, tree = self.with_cosignatures(*found), self.tree()
        proofs = (
            LogProof(index, tree.inclusion_proof(index, size), note).encode()
            for index in range(receipt.first, receipt.position)
        )
        return Receipt(receipt.first, receipt.entries, tuple(proofs))

    def cosigned_size(self) -> int:
        """Return the size of the newest checkpoint that every witness of this ledger has cosigned, 0 when none is."""
        if self.cosigning is None:
            return 0
        store, wanted = self.cosigning.store, {one.key for one in self.cosigning.status()}
        found = (size for size in store.sizes(newest=True, limit=1_000))
        return next((size for size in found if wanted <= {one.witness for one in store.of(size)}), 0)

    def prove_cosigned(self, index: int) -> bytes:
        """Return the tlog-proof of an entry under a checkpoint with its cosignatures.

        It is the first one with the entry that every witness has cosigned, else the last one. Raises Invalid.
        """
        size = None
        if self.cosigning is not None and (wanted := {one.key for one in self.cosigning.status()}):
            store = self.cosigning.store
            sizes = store.sizes(above=index, limit=1_000)
            size = next((one for one in sizes if wanted <= {found.witness for found in store.of(one)}), None)
        proof = LogProof.parse(self.prove(index, size=size))
        checkpoint = claimed_size(proof.checkpoint)
        return LogProof(index, proof.hashes, self.with_cosignatures(checkpoint, proof.checkpoint)).encode()

    def with_cosignatures(self, size: int, note: bytes) -> bytes:
        """Return the checkpoint of `size` entries with every cosignature of it that was collected."""
        if self.cosigning is None:
            return note
        return with_lines(note, (one.line for one in self.cosigning.store.of(size)))

    def recorded_under(self, idempotency_key: str) -> range | None:
        """Return the indexes of the entries that the first request under this key made, None when there was none."""
        row = self.engine.find_idempotent(self._mac(b"key", check_text(idempotency_key, "idempotency_key").encode()))
        if row is None:
            return None
        self.confirm()
        return range(row.first, row.first + row.count)

    def confirm(self) -> None:
        """Return when what was read is as durable as what is acknowledged: a commit that was cut off may be neither."""
        if self.engine.recovers:
            with self.engine.begin() as transaction:
                transaction.commit()

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
        """Take in that the log grew: by `rows`, or, when they do not reach up to `size`, by what others appended."""
        self._boundaries.grown(rows, size)
        if self._destroyed.grown(rows, size) or self._size + len(rows) != size:
            self._erasures_recorded = size
        if rows:
            # What this fails to read, whoever seals or reads next will.
            with suppress(StorageError):
                self._destroyed.read_up_to(size)
        with self._grown:
            self._size = size
            self._grown.notify_all()
        self.index.grown()
        if self.cosigning is not None:
            self.cosigning.notify(size)

    def _load_tile(self, level: int, n: int) -> bytes:
        hashes = self.engine.tile(level, n)
        if hashes is None:
            raise StorageError(f"tile {level}/{n} is missing: run `prooftrail verify`")
        return hashes
