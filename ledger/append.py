"""The append: events to be recorded together or not at all, and what became of them.

What does not live here: how it is made (Ledger.seal), where it waits (queue), and what decides about it (sequencer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ledger.entry import Draft
from ledger.sealing import Box
from ledger.storage.engine import Condition, IdempotencyRow, Transaction
from ledger.tlog.view import TreeView
from ledger.vocabulary import KeyId


class Append(msgspec.Struct, frozen=True):
    """Events to be recorded together or not at all, on a condition."""

    drafts: Sequence[Draft]
    boxes: Sequence[Sequence[Box]]
    condition: Condition | None = None
    new_keys: Sequence[KeyId] = ()
    idempotency: tuple[bytes, bytes] | None = None  # keyed digests of the key and of the content

    def size_bytes(self) -> int:
        size = 0
        for boxes in self.boxes:
            for box in boxes:
                size += len(box.bytes)
        return size


class Deferred(msgspec.Struct, frozen=True):
    """An append that can only be made under the write lock, at the very end of the log: it begins its transaction.

    What `make` changes in the transaction is committed with it. Conflict and VerificationError settle it alone.
    """

    make: Callable[[Transaction], Append]

    def size_bytes(self) -> int:
        return 0


class Committed(msgspec.Struct, frozen=True):
    """What became of an append: its entries, and what proves them under the checkpoint of their transaction."""

    first: int
    entries: tuple[bytes, ...]
    checkpoint: bytes
    tree: TreeView

    def proofs(self) -> tuple[tuple[bytes, ...], ...]:
        """Return the inclusion proof of each entry."""
        return tuple(self.tree.inclusion_proof(self.first + i) for i in range(len(self.entries)))


class Replayed(msgspec.Struct, frozen=True):
    """The idempotency key was used before for the same content: nothing was recorded now."""

    row: IdempotencyRow


Outcome = Committed | Replayed
