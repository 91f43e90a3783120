"""Indexing: when the tag index is counted on, and committed into the log: at a steady pace, and when asked.

Counting and hashing run beside the appends in short transactions of their own; only the last few hundred entries, and
the entry that commits to all of it, share a transaction with appends. Nothing here is lost by a kill: the next one,
in this process or another, goes on from the last step. What the index is stands in `tlog.index`, how it is stored in
`tlog.tag_map`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Final

from ledger.append import Append, Deferred
from ledger.entry import draft, encode_data
from ledger.errors import Busy, Conflict, LedgerError, Tampered, VerificationError
from ledger.events import IndexCommitted
from ledger.queue import Ticket
from ledger.storage.engine import Condition, Engine, QueryItem, Transaction
from ledger.storage.tag_store import TagIndexChange, TagIndexReader, TagIndexState
from ledger.tlog import tag_map
from ledger.tlog.index import IndexCommitment, IndexProof
from ledger.vocabulary import EventId, Sha256Hex, new_id

# Entries that one step counts, and marks that one step settles: each writes for some ten milliseconds.
STEP_ENTRIES: Final = 2_048
STEP_MARKS: Final = 4_096

# What may be left for the transaction of the commitment, where appends wait for it.
LAST_ENTRIES: Final = 256
LAST_MARKS: Final = 1_024

# Commitments that are tried before whoever asked is told that others are always quicker.
MAX_ATTEMPTS: Final = 100

Submit = Callable[[Append | Deferred], Ticket]


class Indexer:
    """Keeps the tag index of one open ledger. Safe for many threads; several processes may index one ledger."""

    def __init__(self, engine: Engine, submit: Submit, *, every_s: float | None) -> None:
        """`every_s` is the pace of commitments while anything changes; None leaves them to whoever asks."""
        self._engine = engine
        self._submit = submit
        self._every_s = every_s
        self._working = threading.Lock()
        self._woken = threading.Condition()
        self._grown = False
        self._closing = False
        self.failure: LedgerError | None = None
        """Why the last commitment of the steady pace could not be made; None when it was."""
        self._thread = threading.Thread(target=self._run, name="prooftrail-indexer", daemon=True)

    def start(self) -> None:
        """Begin to commit at the pace, if there is one."""
        if self._every_s is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop after the step that is being done. What is not committed yet is committed next time."""
        with self._woken:
            self._closing = True
            self._woken.notify()
        if self._thread.is_alive():
            self._thread.join()

    def grown(self) -> None:
        """Say that the log has grown. Quick."""
        if not self._grown and self._every_s is not None:
            with self._woken:
                self._grown = True
                self._woken.notify()

    def last(self, end: int | None = None) -> IndexCommitment | None:
        """Return the last commitment whose entry has index < `end` (of all, when None). Raises Tampered."""
        found = self._engine.last_of_type(IndexCommitted.TOPIC, self._engine.size() if end is None else end)
        return None if found is None else IndexCommitment.parse(found.entry, self._engine.origin)

    def commit(self, after: str | None = None, *, covering: int | None = None) -> IndexCommitment:
        """Commit the index over everything recorded by now, unless that is done; return the last commitment.

        With `covering`, one over so many entries is enough. With `after`, a moment in the past as it would stand in an
        entry, it is one that was recorded later. Appends go on meanwhile. Raises Tampered when entries and index do
        not fit, Busy, Stopped, StorageError.
        """
        size = self._engine.size() if covering is None else covering
        with self._working:
            for _ in range(MAX_ATTEMPTS):
                last = self.last()
                # Its own entry has no tags: with nothing after it, the index is what it says.
                if last is not None and last.size + 1 >= size and (after is None or last.recorded_at > after):
                    return last
                self._catch_up()
                position = 0 if last is None else last.size + 1
                try:
                    self._submit(Deferred(partial(self._make, position))).wait()
                except Busy:
                    raise
                except Conflict:
                    # Another process committed, or much was recorded since the last look.
                    continue
        raise Busy("the index could not be committed: entries come faster than they are counted")

    def prove(self, tag: str, *, after: str | None = None) -> tuple[IndexCommitment, IndexProof]:
        """Return the last commitment, made now if need be, and what it says about a tag; verified. Raises as `commit`.

        The commitment covers everything recorded by now and, with `after`, was recorded later than that moment.
        """
        reader = self._engine.tag_index
        # Once: two processes that prove would drive each other on with what they commit.
        size = self._engine.size()
        for _ in range(MAX_ATTEMPTS):
            committed = self.commit(after, covering=size)
            with self._working:
                before = reader.state()
                try:
                    proof = tag_map.prove(reader, self._engine.origin, tag)
                except Tampered:
                    # As in `_catch_up`: only what was read in one state says something about it.
                    if before == reader.state():
                        raise
                    continue
                whole = before == reader.state() and before.size == committed.size and not reader.marks(1)
            if whole:
                self._check(committed, proof)
                return committed, proof
            if before.size > committed.size:
                # Another process counted on, and may not have come to commit it.
                size = before.size + 1
        raise Busy("the index changes faster than it is read")

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Keep this process from changing the stored index, so that it can be compared."""
        with self._working:
            yield

    def rebuild(self) -> IndexCommitment:
        """Throw the stored index away, count it again from the entries, commit it. For one that was damaged."""
        with self._working:
            self._engine.tag_index.clear()
        return self.commit()

    # --- inside ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._every_s is not None
        due = monotonic() + self._every_s
        while True:
            with self._woken:
                while not self._closing and not (self._grown and monotonic() >= due):
                    self._woken.wait(due - monotonic() if self._grown else None)
                if self._closing:
                    return
                self._grown = False
            try:
                self.commit()
                self.failure = None
            except LedgerError as error:
                # Appends do not depend on it: whoever asks for a proof is told, and the next turn tries again.
                self.failure = error
            due = monotonic() + self._every_s

    def _check(self, committed: IndexCommitment, proof: IndexProof) -> None:
        """A stranger will do the same: what does not hold is not handed out."""
        try:
            proof.verify(committed.root, self._engine.origin)
        except VerificationError as error:
            raise Tampered(
                "index", "the stored index is not the committed one; run `prooftrail verify`, then `prooftrail index`"
            ) from error

    def _catch_up(self) -> None:
        """Count and hash until little is left for the transaction of the commitment."""
        index = self._engine.tag_index
        while not self._closing:
            state = index.state()
            try:
                change = self._next_step(index, state)
            except Tampered:
                # Another process changed it while it was read: two states do not fit, and neither is wrong.
                if index.state() == state:
                    raise
                continue
            if change is None:
                return
            index.write(change, state)

    def _next_step(self, index: TagIndexReader, state: TagIndexState) -> TagIndexChange | None:
        if self._engine.size() - state.size > LAST_ENTRIES:
            return self._count(index, state, state.size + STEP_ENTRIES)
        marks = index.marks(STEP_MARKS)
        return tag_map.settle(index, state, marks) if len(marks) > LAST_MARKS else None

    def _count(self, index: TagIndexReader, state: TagIndexState, end: int) -> TagIndexChange:
        rows = self._engine.audit(state.size, min(end, self._engine.size()))
        return tag_map.count(index, state, rows, self._engine.origin)

    def _make(self, position: int, transaction: Transaction) -> Append:
        """Finish the index under the write lock and return the append that commits to it."""
        index, size = transaction.tag_index, transaction.head.size
        state = index.state()
        if size - state.size > STEP_ENTRIES:
            raise Conflict("much was recorded since the last look")
        if state.size < size:
            index.change(self._count(index, state, size))
        if marks := index.marks(STEP_MARKS + 1):
            if len(marks) > STEP_MARKS:
                raise Conflict("much was recorded since the last look")
            index.change(tag_map.settle(index, index.state(), marks))
        state = index.state()
        if state.size != size:
            raise Tampered("index", f"counts {state.size} entries of {size}; run `prooftrail verify`")
        event = IndexCommitted(root=Sha256Hex(tag_map.node_at(index).hash.hex()), size=size, tags=state.tags)
        made = draft(id=EventId(new_id()), type=event.TOPIC, tags=[], data=encode_data(event), sealed={})
        return Append([made], [()], Condition((QueryItem((event.TOPIC,)),), position))
