"""A tree of a fixed size that many threads may ask for proofs, while the writer's own tree grows on."""

from __future__ import annotations

import threading

from ledger.tlog.tree import Tree


class TreeView:
    """The tree as one transaction left it. Everything is for the first `size` leaves, or fewer when asked."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree.copy()
        self._lock = threading.Lock()
        self.size = tree.size

    def root(self, size: int | None = None) -> bytes:
        """Return the root hash, 32 bytes. Raises Invalid beyond the size."""
        with self._lock:
            return self._tree.root(size)

    def hash(self, height: int, n: int) -> bytes:
        """Return the hash of the complete subtree (height, n). Raises Invalid unless it is covered."""
        with self._lock:
            return self._tree.hash(height, n)

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the proof of leaf `index`, its sibling first. Raises Invalid. RFC 6962 §2.1.1."""
        with self._lock:
            return self._tree.inclusion_proof(index, size)

    def consistency_proof(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the tree of `new` leaves extends that of `old`. Raises Invalid. RFC 6962 §2.1.2."""
        with self._lock:
            return self._tree.consistency_proof(old, new)
