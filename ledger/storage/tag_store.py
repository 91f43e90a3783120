"""The storage contract of the tag index: leaves by key, packs of inner nodes, and marks of what is out of date.

All of it is derived from the entries and may be thrown away: it is changed in place, by whoever comes first, and
`prooftrail verify` compares it with the entries. Every engine passes tests/storage/contract.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

import msgspec

TagLeaf = tuple[bytes, int, bytes]
"""(key, n, head): a tag's key (32 bytes), how many events of it are counted, and what they lead to (32 bytes)."""

Span = tuple[bytes, bytes, int]
"""(first, last, limit): the first `limit` leaves with `first` ≤ key ≤ `last`, in order of key."""

Pack = tuple[bytes, bytes]
"""(place, nodes): the hashes of the subtrees below a place of the tree; what is in it is for `tlog.tag_map` to say."""


class TagIndexState(msgspec.Struct, frozen=True):
    """How far the stored index is: the leaves count the first `size` entries and are `tags` many.

    `revision` grows with every change, so that what was computed from one state is not written over another.
    """

    size: int = 0
    tags: int = 0
    revision: int = 0


class TagIndexChange(msgspec.Struct, frozen=True):
    """What one step changes: state, leaves (new or instead of the old ones), marks that are made, packs, marks done."""

    size: int
    tags: int
    leaves: Sequence[TagLeaf] = ()
    marked: Collection[int] = ()
    packs: Sequence[Pack] = ()
    settled: Sequence[int] = ()


class TagIndexReader(ABC):
    """Reading the stored index. Each call sees one committed state; two calls may see two (compare `state`)."""

    @abstractmethod
    def state(self) -> TagIndexState:
        """Return how far the index is; a fresh one is at TagIndexState()."""

    @abstractmethod
    def leaves(self, keys: Sequence[bytes]) -> list[TagLeaf]:
        """Return the leaves that there are of these keys, in any order."""

    @abstractmethod
    def leaves_between(self, first: bytes, last: bytes, limit: int) -> list[TagLeaf]:
        """Return the first `limit` leaves with `first` ≤ key ≤ `last`, in order of key."""

    @abstractmethod
    def leaves_in(self, spans: Sequence[Span]) -> list[list[TagLeaf]]:
        """Return the leaves of each span; for thousands of them at once, in few round trips."""

    @abstractmethod
    def packs(self, places: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the packs that there are at these places, by place; for thousands of them at once, as above."""

    @abstractmethod
    def pack(self, place: bytes) -> bytes | None:
        """Return the pack at a place, or None."""

    @abstractmethod
    def packs_after(self, place: bytes, limit: int) -> list[Pack]:
        """Return the first `limit` packs with a place > `place`, in order of place."""

    @abstractmethod
    def marks(self, limit: int) -> list[int]:
        """Return the lowest `limit` marks, ascending."""


class TagIndexWriter(TagIndexReader):
    """The index inside a transaction: reads see what was changed in it."""

    @abstractmethod
    def change(self, change: TagIndexChange) -> None:
        """Make a change; durable and visible when the transaction commits."""


class TagIndexStore(TagIndexReader):
    """The index as it is committed, with a way to change it in small transactions of their own."""

    @abstractmethod
    def write(self, change: TagIndexChange, found: TagIndexState) -> bool:
        """Make a change if the state is still `found`, durably and at once; return whether it was made.

        False when another thread or process changed the index meanwhile: nothing is changed then. An engine that
        recovers may say False of a change whose answer was lost on the way: look at the state again in either case.
        """

    @abstractmethod
    def clear(self) -> None:
        """Throw the whole index away, durably and at once; it is counted again from the entries."""


PAGE_LEAVES = 10_000
"""Leaves that one read takes at a time when all are wanted."""


def all_leaves(store: TagIndexReader) -> Iterator[TagLeaf]:
    """Yield every leaf in order of key, read in pages."""
    first = bytes(32)
    while page := store.leaves_between(first, b"\xff" * 32, PAGE_LEAVES):
        yield from page
        after = int.from_bytes(page[-1][0], "big") + 1
        if after >> 256:
            return
        first = after.to_bytes(32, "big")


def all_packs(store: TagIndexReader) -> Iterator[Pack]:
    """Yield every pack in order of place, read in pages."""
    place = b""
    while page := store.packs_after(place, 1_000):
        yield from page
        place = page[-1][0]
