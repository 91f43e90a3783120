"""The tag index as an auditor computes it, from its definition and on disk, to compare with each commitment in a log.

It is not the ledger's own way of keeping it (`tlog.tag_map`), and shares only the definition of its hashes: two
programs that agree on every root say more than one that agrees with itself. The tree is cut into 65,536 parts by the
first 16 bits of a key; a part whose tags changed is hashed anew from all of its tags, and the 16 levels above stay in
memory.
"""

from __future__ import annotations

from typing import Final

from ledger.audit.state import AuditState, Part
from ledger.tlog.index import EMPTY, hashed, inner_node, subtree_of

PART_BITS: Final = 16
_NOTHING: Final[Part] = (EMPTY, False)


class AuditedIndex:
    """The tag index over everything that was audited."""

    def __init__(self, state: AuditState) -> None:
        self._state = state
        self._dirty: set[int] = set()
        # As in a heap: node 1 is the root, node i has 2i and 2i + 1 below it, the parts stand at 65,536 and up.
        self._nodes: dict[int, Part] = {}
        parts = state.parts()
        self._rise({part + (1 << PART_BITS): node for part, node in parts.items()})

    def changed(self, key: bytes) -> None:
        """Say that the tag of this key has another count or head than before."""
        self._dirty.add(key[0] << 8 | key[1])

    def root(self) -> bytes:
        """Return the root; hashes what changed since the last call, from what the state has."""
        fresh: dict[int, Part] = {}
        for part in self._dirty:
            tags = self._state.tags_of(part)
            fresh[part] = (subtree_of(hashed(tags), PART_BITS), len(tags) > 1)
        self._dirty.clear()
        self._state.set_parts(fresh)
        self._rise({part + (1 << PART_BITS): node for part, node in fresh.items()})
        return self._nodes.get(1, _NOTHING)[0]

    def _rise(self, changed: dict[int, Part]) -> None:
        while changed:
            self._nodes.update(changed)
            above = {place >> 1 for place in changed if place > 1}
            changed = {place: self._over(place) for place in above}

    def _over(self, place: int) -> Part:
        """Return the node over two: nothing stays nothing, a single tag rises, two are hashed together."""
        left, right = self._nodes.get(place * 2, _NOTHING), self._nodes.get(place * 2 + 1, _NOTHING)
        for one, other in ((left, right), (right, left)):
            if one[0] == EMPTY and not other[1]:
                return other
        return inner_node(left[0], right[0]), True
