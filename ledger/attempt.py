"""One command on its way into the log: decided, sealed, appended, and tried again when somebody else was faster.

The same for threads, event loops and batches: they only differ in how they wait. What does not live here: the parts of
it (Ledger), and the order of the log (sequencer).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from ledger.append import Append, Committed, Outcome
from ledger.command import Command, CommandSlice, Fact
from ledger.entry import parse
from ledger.errors import Busy, Conflict, IdempotencyMismatch, Refused, refused_again
from ledger.events import Actor, KeyDestroyed
from ledger.receipt import Receipt
from ledger.tlog.proof import LogProof

if TYPE_CHECKING:
    from ledger.ledger import Ledger

# A conflict means that somebody else in the same boundary won; ten in a row mean that the caller should know.
MAX_ATTEMPTS: Final = 10
# The largest order that is sealed on the event loop: above it others would notice.
SMALL_BYTES: Final = 64 * 1024


class Attempt:
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
            with self._ledger.observer.step("decide"):
                decision, head = self._decide()
        except Refused as refused:
            # The same request may have been recorded while this one was being decided.
            if self._find_replay():
                return None
            self._ledger.observer.refused(refused.code)
            raise
        self._facts, self._refusal = decision.facts, decision.refusal
        append = self._ledger.seal(decision.facts, decision.query, head)
        return msgspec.structs.replace(append, idempotency=self._digests)

    def _decide(self) -> tuple[CommandSlice, int]:
        """Decide on what is in memory; after a conflict, or before a refusal stands, on what the store says."""
        if not self._attempts:
            with suppress(Refused):
                return self._ledger.decide(self._command, self._actor, fresh=False)
        return self._ledger.decide(self._command, self._actor)

    def succeed(self, outcome: Outcome) -> None:
        """Take in what became of the append."""
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
            if any(parse(entry).type == KeyDestroyed.TOPIC for entry in self._receipt.entries):
                # Whoever recorded it may have been cut off before it was carried out.
                self._ledger.carry_out_erasures()
        if self._refusal is not None:
            self._refusal.index = self._receipt.first
            self._ledger.observer.refused(self._refusal.code)
            raise self._refusal
        if self.erases:
            self._ledger.carry_out_due_erasures()
        return self._receipt

    @property
    def is_small(self) -> bool:
        """Whether it is decided and sealed at once: no order's bytes, and nobody else was faster already."""
        content = getattr(self._command, "content", b"")
        return not self._attempts and len(content) <= SMALL_BYTES

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
        self._ledger.confirm()
        self._replay = row.first, row.count
        self._receipt = self._ledger.receipt(row.first, row.count)
        return True

    def _raise_again(self, first: int, count: int) -> None:
        """A request whose refusal was recorded is refused again, in the same words."""
        for recorded in self._ledger.read(after=first, end=first + count):
            if isinstance(recorded.event, self._command.KEEPS):
                raise refused_again(getattr(recorded.event, "reason"), recorded.index)  # noqa: B009
