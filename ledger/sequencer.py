"""The sequencer: many commands, one transaction, one signed checkpoint.

Callers from any thread or event loop submit an Append and wait on its Ticket. One thread takes whatever waits and,
under the write lock, for each in turn: checks its condition, gives its events the next indexes and tag counters, stamps
`recorded_at`, builds the entries, extends the tree. One that fails is told so alone. Then one checkpoint, one commit.

What survives a crash, step by step, stands in `_commit`. After a failure of an embedded store nothing more is
acknowledged (a failed fsync leaves the truth unknown: only reading the file again tells); a restart recovers. A server
knows what it has: after a failure there the log is taken up again as it says, before anything else is decided.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from time import monotonic
from typing import Final

from ledger import canonical
from ledger.append import Append, Committed, Deferred, Outcome, Replayed
from ledger.entry import Draft, format_moment, link, parse
from ledger.errors import (
    Busy,
    Conflict,
    IdempotencyMismatch,
    LedgerError,
    RolledBack,
    Stopped,
    StorageError,
    Tampered,
    VerificationError,
)
from ledger.keys import KeyStore, lost_keys
from ledger.observer import Observer
from ledger.queue import Queue, Ticket
from ledger.signing_keys import TOPICS, LogKeys, SigningKeys
from ledger.storage.engine import (
    NOTHING_AHEAD,
    Ahead,
    Batch,
    Condition,
    Engine,
    EventRow,
    Head,
    IdempotencyRow,
    QueryItem,
    TagHead,
    Tile,
    Transaction,
)
from ledger.storage.guard import Guard
from ledger.tlog.checkpoint import Checkpoint, claimed_size
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.tree import Tree
from ledger.tlog.view import TreeView
from ledger.vocabulary import KeyId, Tag

# How many appends one transaction takes, and about how many bytes of sealed values.
MAX_BATCH: Final = 512
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
# How many bytes of sealed values wait at most: a queue that is full of large orders fits into memory too.
MAX_QUEUE_BYTES: Final = 256 * 1024 * 1024
# How long a transaction waits at most for callers that are expected back: about what it costs to commit.
LINGER_S: Final = 0.002
# Heads of tags that are kept between transactions: about 200 bytes each.
_CACHED_HEADS: Final = 100_000
# Events at the end of the log whose types and tags are kept: they decide conditions on what came since.
_RECENT: Final = 256


class _Pending:
    """What the transaction being built has accepted so far, for the conditions of the appends behind it."""

    def __init__(self, heads: dict[Tag, TagHead], keys: LogKeys) -> None:
        self.rows: list[EventRow] = []
        self.keys = keys  # that sign the log with the rows so far
        self.idempotency: dict[bytes, IdempotencyRow] = {}
        self.heads: dict[Tag, TagHead] = {}  # of the tags that occur in this transaction
        self.committed = heads  # of all tags that the transaction names, before it
        self.drafts: list[Draft] = []
        self._types: set[str] = set()

    def add(self, rows: Sequence[EventRow], drafts: Sequence[Draft], heads: dict[Tag, TagHead]) -> None:
        self.rows += rows
        self.heads.update(heads)
        self.drafts += drafts
        self._types.update(draft.type for draft in drafts)

    def matches(self, item: QueryItem) -> bool:
        """Whether an event accepted before in this transaction matches."""
        if item.types and self._types.isdisjoint(item.types):
            return False
        # Most conditions end here: one of their tags did not occur.
        for tag in item.tags:
            if tag not in self.heads:
                return False
        wanted = set(item.tags)
        return any(
            (not item.types or draft.type in item.types) and wanted.issubset(draft.tags) for draft in self.drafts
        )


class _Recent:
    """The last events of the log: whether something matches that came since is seldom a question for the store."""

    def __init__(self) -> None:
        self._events: deque[tuple[str, Collection[str]]] = deque(maxlen=_RECENT)
        self._size = 0

    def restart(self, size: int) -> None:
        """Know nothing of the first `size` events."""
        self._events.clear()
        self._size = size

    def add(self, events: Collection[tuple[str, Collection[str]]]) -> None:
        """Add the type and the tags of the next events."""
        self._events.extend(events)
        self._size += len(events)

    def match(self, query: Sequence[QueryItem], after: int) -> bool | None:
        """Whether an event with position > `after` matches; None when that reaches back too far."""
        since = self._size - after
        if since > len(self._events):
            return None
        for type, tags in islice(reversed(self._events), max(since, 0)):
            for item in query:
                if (not item.types or type in item.types) and all(tag in tags for tag in item.tags):
                    return True
        return False


class Sequencer:
    """The one writer of a ledger in this process. `start` checks store and guard; then `submit` from anywhere."""

    def __init__(
        self,
        engine: Engine,
        keys: KeyStore,
        guard: Guard,
        signing: SigningKeys,
        *,
        clock: Callable[[], datetime],
        queue_limit: int,
        committed: Callable[[Sequence[EventRow], int], None] = lambda rows, size: None,
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._guard = guard
        self._signing = signing
        self._origin = canonical.encode(engine.origin, "origin")
        self._clock = clock
        self._queue_limit = queue_limit
        self._committed = committed
        self.observer = Observer()
        self._queue = Queue()
        self._thread = threading.Thread(target=self._run, name="prooftrail-sequencer", daemon=True)
        self._submitting = threading.Lock()
        self._expected = 1
        self._stopped: Exception | None = None
        self._tree = Tree(self._load_tile)
        self.view = TreeView(self._tree)
        self._recorded_at = ""
        self._guarded: bytes | None = None
        # Whether what is in memory is what the store had when it was asked last, and which copy of it that was.
        self._current = False
        self._copy = 0
        self._heads: dict[Tag, TagHead] = {}
        self._recent = _Recent()

    def start(self) -> None:
        """Compare store, tree and guard, then accept work. Raises RolledBack or Tampered when they contradict."""
        with self._turn() as transaction:
            self._load(transaction)
            self._check_guard(transaction.head)
            if self._engine.recovers:
                # What is seen may not have reached the synchronous standby; nothing is built on it before it has.
                transaction.commit()
            # A crash between commit and guard left the guard behind; what is read from here on is under its protection.
            last = self._engine.checkpoint()
            if last is not None and last[1] != self._guarded:
                self._guard.write(last[1])
                self._guarded = last[1]
        self._thread.start()

    def close(self) -> None:
        """Finish what was accepted, then stop. Idempotent."""
        if self._thread.is_alive():
            with self._submitting:
                self._queue.close()
            self._thread.join()
        elif self._stopped is None:
            self._stopped = StorageError("the ledger is closed")

    @property
    def waiting(self) -> int:
        """How many appends wait for their transaction."""
        return len(self._queue)

    def submit(self, append: Append | Deferred, loop: asyncio.AbstractEventLoop | None = None) -> Ticket:
        """Queue an append, to be waited for in a thread, or in a task of `loop`.

        Raises Busy when as many appends or bytes wait already as may, and Stopped after a failure; then nothing was
        queued.
        """
        if isinstance(append, Append):
            assert append.drafts
            assert len(append.boxes) == len(append.drafts)
        ticket = Ticket(append, loop)
        # Under the lock nothing is queued behind the last look that the closing thread takes.
        with self._submitting:
            if self._stopped is not None:
                raise Stopped(f"nothing is recorded any more: {self._stopped}") from self._stopped
            if len(self._queue) >= self._queue_limit:
                raise Busy(f"{self._queue_limit} commands are waiting already")
            # One alone is always taken: the limits of a command bound it.
            if len(self._queue) and self._queue.size_bytes + ticket.size_bytes > MAX_QUEUE_BYTES:
                raise Busy(f"{self._queue.size_bytes} bytes of sealed values are waiting already")
            if loop is None:
                self._queue.put(ticket)
            elif self._queue.hold(ticket, loop):
                loop.call_soon(self._release, loop)
        return ticket

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Queue what was submitted in this turn of an event loop: one transaction for all, and one waking of ours."""
        with self._submitting:
            self._queue.release(loop)

    # --- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._take()
            if batch:
                self._settle(batch)
                # Whoever was answered now, or waits already, is likely to be here again in a moment.
                self._expected = min(len(batch) + len(self._queue), MAX_BATCH)
        with self._submitting:
            self._stopped = self._stopped or StorageError("the ledger is closed")
            self._queue.close()
        while len(self._queue):
            self._refuse(self._queue.take(MAX_BATCH, MAX_BATCH_BYTES)[0])

    def _take(self) -> tuple[list[Ticket], bool]:
        """Wait for work; return what goes into one transaction, and whether to close after it.

        With several callers at work it lingers a moment for the rest of them: one commit for all costs less than two
        for halves, and nobody waits longer for it. A single caller is never kept waiting.
        """
        self._queue.wait_for(1, None)
        if self._expected > 1:
            self._queue.wait_for(self._expected, LINGER_S)
        return self._queue.take(MAX_BATCH, MAX_BATCH_BYTES)

    def _settle(self, batch: Sequence[Ticket]) -> None:
        if self._stopped is not None:
            self._refuse(batch)
            return
        try:
            outcomes = self._commit([ticket.append for ticket in batch])
        except Busy as busy:
            # Another process holds the store: nothing was begun, and nothing is in doubt.
            outcomes = [busy] * len(batch)
        except Exception as error:
            if not isinstance(error, StorageError) or isinstance(error, Stopped) or not self._engine.recovers:
                # Whether the batch is durable is unknown from here: no acknowledgement, no further write, until a
                # restart has read the file again. Our own bugs end here too, not in a thread that dies in silence.
                self._stopped = error
                self._refuse(batch)
                return
            # A server knows whether the batch is durable; the next one begins with reading what it has.
            self._current = False
            outcomes = [error] * len(batch)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.settle(outcome)
        Ticket.wake(batch)
        now = monotonic()
        # Whoever measures does not stop what is measured.
        with suppress(Exception):
            self.observer.settled([now - ticket.queued_at for ticket in batch])

    def _refuse(self, batch: Sequence[Ticket]) -> None:
        for ticket in batch:
            stopped = Stopped(f"not acknowledged: {self._stopped}")
            stopped.__cause__ = self._stopped
            ticket.settle(stopped)
        Ticket.wake(batch)

    # --- one transaction -------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self, ahead: Ahead = NOTHING_AHEAD) -> Iterator[Transaction]:
        """Hold the right to write and the right to sign, of all processes the only one."""
        if self._engine.queues:
            with self._engine.begin(ahead) as transaction, self._guard.lock():
                yield transaction
        else:
            with self._guard.lock(), self._engine.begin(ahead) as transaction:
                yield transaction

    def _commit(self, waiting: Sequence[Append | Deferred]) -> list[Outcome | LedgerError]:
        # New keys are durable before the first event under them, and nobody waits for that under the lock. A crash
        # after this leaves unused keys; one that is destroyed meanwhile fails the condition of its event.
        lost = self._keys.persist([key for a in waiting if isinstance(a, Append) for key in a.new_keys])
        with self._turn(self._ahead(waiting)) as transaction:
            self._current = self._current and transaction.head.copy == self._copy
            if not self._current or transaction.head.size != self._tree.size:
                # Another process appended since our last transaction, or ours was cut off.
                self._load(transaction)
                self._committed((), transaction.head.size)
            self._check_guard(transaction.head)
            appends, unmade = _made(waiting, transaction)
            before = self._tree.snapshot()
            try:
                outcomes, pending = self._decide(transaction, appends, lost)
                keys = pending.keys
                if not pending.rows:
                    if self._engine.recovers:
                        # What is replayed was seen, and is acknowledged once more: as durable as if it were new.
                        transaction.commit()
                    return unmade + [outcome for outcome in outcomes if not isinstance(outcome, tuple)]
                size = self._tree.size
                checkpoint = Checkpoint(self._engine.origin, size, self._tree.root())
                note = self._signing.sign(checkpoint, keys)
                tiles = [Tile(*tile) for tile in self._tree.take_full_tiles()]
                used = list(pending.idempotency.values())
                transaction.insert(Batch(pending.rows, tiles, used, size, note, self._recorded_at))
                transaction.commit()
            except BaseException:
                self._tree.rollback(before)
                raise
            # Durable from here. A crash now leaves the guard one transaction behind: the next start sees that the
            # tree extends it and goes on. Nobody has been told yet, so nothing acknowledged depends on the guard.
            self._tree.commit()
            self._signing.grown(keys, size)
            self._keep(note)
        self._heads.update(pending.heads)
        self._recent.add([(draft.type, draft.tags) for draft in pending.drafts])
        self.view = TreeView(self._tree)
        self._committed(pending.rows, size)
        return unmade + [Committed(*o, note, self.view) if isinstance(o, tuple) else o for o in outcomes]

    def _keep(self, note: bytes) -> None:
        try:
            self._guard.write(note)
        except StorageError as error:
            # This disk, not the server: whatever the engine can do about its own failures, only a restart mends this.
            raise Stopped(str(error)) from error
        self._guarded = note

    def _decide(
        self, transaction: Transaction, appends: Sequence[Append], lost: set[KeyId]
    ) -> tuple[list[Outcome | LedgerError | tuple[int, tuple[bytes, ...]]], _Pending]:
        """Decide each append in turn: an error, a replay, or (first index, entries) added to the tree."""
        now = max(format_moment(self._clock()), self._recorded_at)
        recorded_at = now.encode()
        heads = self._load_heads(transaction, appends)
        failed = self._failed_conditions(transaction, appends, heads)
        used = transaction.idempotent({append.idempotency[0] for append in appends if append.idempotency})
        pending = _Pending(heads, self._signing.up_to(self._tree.size))
        outcomes: list[Outcome | LedgerError | tuple[int, tuple[bytes, ...]]] = []
        for number, append in enumerate(appends):
            if append.idempotency is not None:
                key, content = append.idempotency
                earlier = used.get(key) or pending.idempotency.get(key)
                if earlier is not None:
                    outcomes.append(Replayed(earlier) if earlier.content == content else IdempotencyMismatch())
                    continue
            if not lost.isdisjoint(append.new_keys):
                outcomes.append(lost_keys(lost.intersection(append.new_keys)))
                continue
            condition = append.condition
            if number in failed or (condition is not None and self._fails_inside(condition, pending)):
                outcomes.append(Conflict("something was recorded in this command's boundary since it was read"))
                continue
            try:
                rows, changed = self._rows(append, pending, recorded_at)
                # Under the lock every rotation sees the one before it, and none is recorded whose key is not here.
                keys = self._signing.admit(pending.keys, rows)
            except LedgerError as error:
                outcomes.append(error)
                continue
            for event in rows:
                self._tree.append(event.leaf)
            pending.add(rows, append.drafts, changed)
            pending.keys = keys
            if append.idempotency is not None:
                pending.idempotency[key] = IdempotencyRow(key, content, rows[0].index, len(rows))
            outcomes.append((rows[0].index, tuple(row.entry for row in rows)))
        if pending.rows:
            self._recorded_at = now
        return outcomes, pending

    def _rows(self, append: Append, pending: _Pending, recorded_at: bytes) -> tuple[list[EventRow], dict[Tag, TagHead]]:
        """Build the entries of one append; nothing is changed until all of them fit."""
        rows: list[EventRow] = []
        changed: dict[Tag, TagHead] = {}
        index = self._tree.size
        inside, committed, origin = pending.heads, pending.committed, self._origin
        for draft, boxes in zip(append.drafts, append.boxes, strict=True):
            tags: list[tuple[Tag, int]] = []
            links: list[bytes] = []
            for tag, text in zip(draft.tags, draft.tag_texts, strict=True):
                n, last = changed.get(tag) or inside.get(tag) or committed[tag]
                n += 1
                tags.append((tag, n))
                links.append(link(text, n, last))
                changed[tag] = (n, index)
            entry = draft.entry(index, origin, recorded_at, links)
            rows.append(EventRow(index, draft.type, entry, leaf_hash(entry), tags, boxes))
            index += 1
        return rows, changed

    def _ahead(self, waiting: Sequence[Append | Deferred]) -> Ahead:
        """Return what the transaction of these appends will ask the store, as far as is known before it."""
        if not self._current:
            return NOTHING_AHEAD
        appends = [append for append in waiting if isinstance(append, Append)]
        keys = {append.idempotency[0] for append in appends if append.idempotency is not None}
        return Ahead(self._tree.size, self._unknown(appends), keys)

    def _unknown(self, appends: Sequence[Append]) -> set[Tag]:
        """Return the tags that these appends name and whose heads are not in memory."""
        heads = self._heads
        unknown: set[Tag] = set()
        for append in appends:
            for draft in append.drafts:
                for tag in draft.tags:
                    if tag not in heads:
                        unknown.add(tag)
            if append.condition is not None:
                for item in append.condition.query:
                    for tag in item.tags:
                        if tag not in heads:
                            unknown.add(tag)
        return unknown

    def _load_heads(self, transaction: Transaction, appends: Sequence[Append]) -> dict[Tag, TagHead]:
        """Return the heads of all tags that the batch names, read from the store once."""
        if len(self._heads) > _CACHED_HEADS:
            self._heads.clear()
        unknown = self._unknown(appends)
        if unknown:
            found = transaction.tag_heads(unknown)
            for n, last in found.values():
                # A row that was planted would be signed as somebody's previous event: nothing is signed on it.
                if last is not None and not (0 <= last < transaction.head.size and 0 < n <= last + 1):
                    raise Tampered("tags", "a tag has an event that cannot be; run `prooftrail verify`")
            self._heads.update(found)
        return self._heads

    def _failed_conditions(
        self, transaction: Transaction, appends: Sequence[Append], heads: dict[Tag, TagHead]
    ) -> set[int]:
        """Return which appends fail on what is committed already. Most are settled by what is in memory."""
        failed: set[int] = set()
        unsure: list[int] = []
        conditions: list[Condition] = []
        for number, append in enumerate(appends):
            condition = append.condition
            if condition is None:
                continue
            open_items: dict[int, list[QueryItem]] = {}
            for item in condition.query or (QueryItem(),):
                after = 0 if item.ever else condition.after
                if _may_match(item, after, transaction.head.size, heads):
                    open_items.setdefault(after, []).append(item)
            for after, items in open_items.items():
                match self._recent.match(items, after):
                    case None:
                        unsure.append(number)
                        conditions.append(Condition(tuple(items), after))
                    case True:
                        failed.add(number)
        if unsure:
            asked = transaction.failed(conditions)
            failed.update(number for number, fails in zip(unsure, asked, strict=True) if fails)
        return failed

    @staticmethod
    def _fails_inside(condition: Condition, pending: _Pending) -> bool:
        if not condition.query:
            return bool(pending.rows)
        return any(map(pending.matches, condition.query))

    # --- store, tree and guard agree -------------------------------------------------------------------------

    def _load(self, transaction: Transaction) -> None:
        """Take up the log as it is in the store; its tree must be the one of its last checkpoint."""
        head = transaction.head
        current, self._current = self._current, False
        # What was loaded may be an older copy put in place while we ran: compare it with the guard again.
        self._guarded = None
        self._copy = head.copy
        if not (current and self._grow(transaction)):
            self._load_whole(transaction)
        self._current = True

    def _load_whole(self, transaction: Transaction) -> None:
        head = transaction.head
        self._heads.clear()
        self._recent.restart(head.size)
        self._signing.reload(head.size)
        self._recorded_at = ""
        if head.last_entry is not None:
            with _found_in(f"entry {head.size - 1}"):
                self._recorded_at = parse(head.last_entry).recorded_at
        checkpoint = self._last_checkpoint(transaction)
        self._tree = Tree.load(head.size, self._load_tile, self._engine.leaves)
        if checkpoint is not None and checkpoint.root != self._tree.root():
            raise Tampered(
                "start",
                f"the {head.size} entries are not the {checkpoint.size} of the last checkpoint; "
                "run `prooftrail verify` and restore from a backup",
            )
        if head.last_entry is not None and leaf_hash(head.last_entry) != self._tree.hash(0, head.size - 1):
            raise Tampered("start", f"entry {head.size - 1} is not the one that was hashed")

    def _grow(self, transaction: Transaction) -> bool:
        """Add what others appended to what is in memory; return whether that is the log of the checkpoint.

        Another tree (the store was put back meanwhile), many entries and a new key of the log are for `_load_whole`.
        """
        head, known = transaction.head, self._tree.size
        tail = transaction.tail(known)
        if not tail or known + len(tail) != head.size:
            return False
        with _found_in(f"the entries from {known} on"):
            entries = [parse(entry) for entry in tail]
        if any(entry.type in TOPICS for entry in entries):
            return False
        self._signing.grown(self._signing.up_to(known), head.size)
        checkpoint = self._last_checkpoint(transaction)
        for entry in tail:
            self._tree.append(leaf_hash(entry))
        # Whoever appended them stored these tiles.
        self._tree.take_full_tiles()
        self._tree.commit()
        if checkpoint is None or self._tree.root() != checkpoint.root:
            return False
        # From here they are what was signed, counters and all.
        for index, parsed in enumerate(entries, known):
            self._heads.update((Tag(link.tag), (link.n, index)) for link in parsed.tags)
        self._recent.add([(parsed.type, parsed.tag_names) for parsed in entries])
        self._recorded_at = entries[-1].recorded_at
        return True

    def _last_checkpoint(self, transaction: Transaction) -> Checkpoint | None:
        """Return the checkpoint that must cover the whole log, None for an empty one. Raises Tampered."""
        head = transaction.head
        if head.size == 0:
            return None
        last = transaction.last_checkpoint()
        if last is None:
            raise Tampered("start", f"there are {head.size} entries but no checkpoint")
        with _found_in(f"checkpoint {last[0]}"):
            checkpoint = self._signing.up_to(head.size).open(last[1])
        if not last[0] == checkpoint.size == head.size:
            raise Tampered(
                "start",
                f"the {head.size} entries are not the {checkpoint.size} of the last checkpoint; "
                "run `prooftrail verify` and restore from a backup",
            )
        return checkpoint

    def _check_guard(self, head: Head) -> None:
        """Refuse to go on unless the log extends the last checkpoint that was ever signed for it."""
        kept = self._guard.read()
        if kept == self._guarded and kept is not None:
            return
        if kept is None:
            if head.size:
                raise RolledBack("guard", f"the guard is empty but the log has {head.size} entries: it was replaced")
            # Never empty from here: a crash between the first commit and its guard must not look like another guard.
            empty = Checkpoint(self._engine.origin, 0, self._tree.root())
            kept = self._signing.sign(empty, self._signing.up_to(0))
            self._guard.write(kept)
        guard = f"guard {self._guard.path}"
        # Before its signatures: a database that was rolled back may not know the key that signed it.
        with _found_in(guard):
            claimed = claimed_size(kept)
        if claimed > head.size:
            raise RolledBack(
                "guard",
                f"the database has {head.size} entries, but a checkpoint of {claimed} was signed: "
                "it was rolled back or truncated. Restore the newest backup",
            )
        with _found_in(guard):
            signed = self._signing.up_to(head.size).open(kept)
        if self._tree.root(signed.size) != signed.root:
            raise RolledBack(
                "guard", f"the first {signed.size} entries are not the ones that were signed: it is a copy"
            )
        self._guarded = kept

    def _load_tile(self, level: int, n: int) -> bytes:
        hashes = self._engine.tile(level, n)
        if hashes is None:
            raise Tampered("tree", f"tile {level}/{n} is missing")
        return hashes


@contextmanager
def _found_in(thing: str) -> Iterator[None]:
    """Say of evidence that does not hold in which thing it was found."""
    try:
        yield
    except VerificationError as error:
        raise type(error)(thing, str(error)) from error


def _made(
    waiting: Sequence[Append | Deferred], transaction: Transaction
) -> tuple[list[Append], list[Outcome | LedgerError]]:
    """Return the appends of a transaction, the deferred one that may begin it made; or why that cannot be made now."""
    appends = [append for append in waiting if isinstance(append, Append)]
    unmade: list[Outcome | LedgerError] = []
    if len(appends) < len(waiting):
        (first,) = (append for append in waiting if isinstance(append, Deferred))
        try:
            appends.insert(0, first.make(transaction))
        except (Conflict, VerificationError) as error:
            unmade.append(error)
    return appends, unmade


def _may_match(item: QueryItem, after: int, size: int, heads: dict[Tag, TagHead]) -> bool:
    """Whether a committed event with position > `after` could match: its last event with each tag decides."""
    if not item.tags:
        return size > after
    for tag in item.tags:
        last = heads[tag][1]
        if last is None or last < after:
            return False
    return True
