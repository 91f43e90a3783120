"""The stored tag index: counting entries into it, hashing what changed, and proofs from it. Flat memory at any size.

Every tag is a leaf, stored in the order of its key, so that the leaves below any place of the tree are one range. Where
more than SPLIT leaves stand below a place, the hashes of its sixteen subtrees four bits down are kept as a *pack*;
below that, hashes are computed from the leaves when they are needed. A pack exists only where the one above it does.

    count     entries → leaves, and marks where the tree is out of date
    settle    marks → packs
    node_at   the root, once no mark is left
    prove     what the tree says about a tag

Each step reads any committed state and gives a change for the store to make if that state still stands; it is the same
in a transaction. A kill at any point leaves the last whole step, from which whoever comes next goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from ledger.errors import Tampered
from ledger.storage.engine import AuditRow
from ledger.storage.tag_store import TagIndexChange, TagIndexReader, TagIndexState, TagLeaf
from ledger.tlog.index import (
    EMPTY,
    KEY_BITS,
    NO_HEAD,
    IndexProof,
    bit_of,
    hashed,
    key_of,
    next_head,
    prove_in,
    subtree_of,
)
from ledger.tlog.merkle import HASH_BYTES

# Bits from one pack to the next, and how many subtrees a pack has.
_BITS: Final = 4
_WIDTH: Final = 1 << _BITS

SPLIT: Final = 32
"""Leaves below a place that are hashed anew each time; where there are more, a pack is kept."""

MARK_BITS: Final = 20
"""A mark is so many leading bits of a key: a million parts of the tree, about one leaf each in a ledger of 1M tags."""


class Node(NamedTuple):
    """A subtree: its hash, and whether it has two leaves or more. One leaf stands as high as it can."""

    hash: bytes
    many: bool


class _Links(msgspec.Struct):
    """Of an entry, the tags alone: the rest is skipped, not decoded."""

    tags: list[tuple[str, int, int | None]]


_links = msgspec.json.Decoder(_Links)


# --- counting ---------------------------------------------------------------------------------------------------


def count(reader: TagIndexReader, state: TagIndexState, rows: Iterable[AuditRow], ledger: str) -> TagIndexChange:
    """Return the change that counts these entries, the next ones after `state.size`, into the leaves.

    Raises Tampered when they are not the next ones, or an entry counts the events of a tag in another way.
    """
    size = state.size
    events: dict[str, list[bytes]] = {}
    firsts: dict[str, int] = {}
    for row in rows:
        if row.index != size:
            raise Tampered("index", f"entry {size} is missing; run `prooftrail verify`")
        try:
            links = _links.decode(row.entry).tags
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Tampered("index", f"entry {size} cannot be read; run `prooftrail verify`") from None
        for tag, n, _ in links:
            known = events.get(tag)
            if known is None:
                events[tag], firsts[tag] = [row.leaf], n
            elif n == firsts[tag] + len(known):
                known.append(row.leaf)
            else:
                raise _miscounted(size)
        size += 1
    keys = {key_of(ledger, tag): tag for tag in events}
    before = {key: (n, head) for key, n, head in reader.leaves(sorted(keys))}
    leaves: list[TagLeaf] = []
    for key, tag in keys.items():
        n, head = before.get(key, (0, NO_HEAD))
        if firsts[tag] != n + 1:
            raise _miscounted(size - 1)
        for leaf in events[tag]:
            head = next_head(head, leaf)
        leaves.append((key, n + len(events[tag]), head))
    marked = {int.from_bytes(key[:4], "big") >> (32 - MARK_BITS) for key in keys}
    return TagIndexChange(size, state.tags + len(keys) - len(before), leaves, marked)


def _miscounted(index: int) -> Tampered:
    return Tampered("index", f"the tags up to entry {index} do not count on; run `prooftrail verify`")


# --- hashing ----------------------------------------------------------------------------------------------------


def settle(reader: TagIndexReader, state: TagIndexState, marks: Sequence[int]) -> TagIndexChange:
    """Return the change that hashes anew what these marks (ascending) say is out of date."""
    hashing = _Hashing(reader, marks)
    hashing.node(0, 0, 0, len(marks))
    return TagIndexChange(state.size, state.tags, packs=list(hashing.packs.items()), settled=marks)


class _Hashing:
    """Reads all that the marks lead to, level by level, and then hashes from below what stands there."""

    def __init__(self, reader: TagIndexReader, marks: Sequence[int]) -> None:
        self.marks = marks
        self.packs: dict[bytes, bytes] = {}
        self._stored: dict[bytes, bytes] = {}
        self._leaves: dict[tuple[int, int], list[TagLeaf]] = {}
        self._load(reader)

    def _load(self, reader: TagIndexReader) -> None:
        """Read packs and leaves: the round trips grow with the height of the packs, not with the marks."""
        depth, places = 0, [(0, 0, len(self.marks))]
        runs: list[Sequence[int]] = []
        while places or runs:
            stored = reader.packs([place_of(depth, prefix) for prefix, _, _ in places])
            self._stored.update(stored)
            below: list[tuple[int, int, int]] = []
            runs_below: list[Sequence[int]] = []
            for prefix, first, last in places:
                nodes = stored.get(place_of(depth, prefix))
                if nodes is None:
                    runs.append((prefix,))
                    continue
                packed, bare = _Pack.parse(nodes).packed, []
                for digit, start, end in self._changed(depth, prefix, first, last):
                    if packed >> digit & 1:
                        below.append((prefix << _BITS | digit, start, end))
                    else:
                        bare.append(prefix << _BITS | digit)
                if bare:
                    runs_below.append(bare)
            for prefix in self._load_leaves(reader, depth, runs):
                runs_below.append(range(prefix << _BITS, (prefix + 1) << _BITS))
            depth, places, runs = depth + _BITS, below, runs_below

    def _load_leaves(self, reader: TagIndexReader, depth: int, runs: Sequence[Sequence[int]]) -> list[int]:
        """Read the leaves below runs of places; return the places where more than SPLIT stand, not all of them read."""
        # Places side by side are one range: one read for all of them costs less than one for each.
        spans = [(span_of(depth, run[0])[0], span_of(depth, run[-1])[1], _most(run) + 1) for run in runs]
        alone: list[int] = []
        for run, leaves in zip(runs, reader.leaves_in(spans), strict=True):
            if len(run) > 1 and len(leaves) > _most(run):
                alone += run
            else:
                self._leaves.update(((depth, prefix), its) for prefix, its in _dealt(leaves, depth, run))
        read = reader.leaves_in([(*span_of(depth, prefix), SPLIT + 1) for prefix in alone])
        self._leaves.update(((depth, prefix), leaves) for prefix, leaves in zip(alone, read, strict=True))
        return [prefix for run in runs for prefix in run if self._many(depth, prefix)]

    def _many(self, depth: int, prefix: int) -> bool:
        return len(self._leaves[depth, prefix]) > SPLIT

    def node(self, depth: int, prefix: int, first: int, last: int) -> Node:
        """Return the subtree of `prefix` at `depth`, hashed anew where marks[first:last] say so."""
        stored = self._stored.get(place_of(depth, prefix))
        if stored is None:
            return self.fresh(depth, prefix)
        pack = _Pack.parse(stored)
        for digit, start, end in self._changed(depth, prefix, first, last):
            below = prefix << _BITS | digit
            if pack.packed >> digit & 1:
                pack.put(digit, self.node(depth + _BITS, below, start, end), packed=True)
            else:
                pack.put(digit, self.fresh(depth + _BITS, below), packed=self._many(depth + _BITS, below))
        return self._keep(depth, prefix, pack)

    def fresh(self, depth: int, prefix: int) -> Node:
        """Return the subtree of a place that has no pack, and make one if more than SPLIT leaves stand there by now."""
        if not self._many(depth, prefix):
            return _subtree(self._leaves[depth, prefix], depth)
        pack = _Pack(0, 0, [EMPTY] * _WIDTH)
        for digit in range(_WIDTH):
            below = prefix << _BITS | digit
            pack.put(digit, self.fresh(depth + _BITS, below), packed=self._many(depth + _BITS, below))
        return self._keep(depth, prefix, pack)

    def _changed(self, depth: int, prefix: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Yield (digit, first mark, last mark) of each subtree of a pack that has marks."""
        if depth + _BITS > MARK_BITS:
            # A mark is no finer than this: all that stands below it is looked at.
            yield from ((digit, first, last) for digit in range(_WIDTH))
            return
        shift = MARK_BITS - depth - _BITS
        while first < last:
            digit = self.marks[first] >> shift & (_WIDTH - 1)
            end = bisect_left(self.marks, ((prefix << _BITS | digit) + 1) << shift, first, last)
            yield digit, first, end
            first = end

    def _keep(self, depth: int, prefix: int, pack: _Pack) -> Node:
        self.packs[place_of(depth, prefix)] = pack.encode()
        return pack.top()


def _most(run: Sequence[int]) -> int:
    """Return how many leaves stand below a run of places without a pack, gaps between them included."""
    return SPLIT * (run[-1] - run[0] + 1)


def _dealt(leaves: Sequence[TagLeaf], depth: int, run: Sequence[int]) -> Iterator[tuple[int, list[TagLeaf]]]:
    """Yield the leaves below each place of a run, all of them in order of key; those of gaps are left out."""
    at = 0
    for prefix in run:
        low, high = span_of(depth, prefix)
        while at < len(leaves) and leaves[at][0] < low:
            at += 1
        end = at
        while end < len(leaves) and leaves[end][0] <= high:
            end += 1
        yield prefix, list(leaves[at:end])
        at = end


def _subtree(leaves: Sequence[TagLeaf], depth: int) -> Node:
    return Node(subtree_of(hashed(leaves), depth), len(leaves) > 1)


def node_at(reader: TagIndexReader, depth: int = 0, prefix: int = 0) -> Node:
    """Return the subtree of `prefix` at `depth` (the whole index) as it is stored; marks are not looked at."""
    stored = reader.pack(place_of(depth, prefix))
    if stored is not None:
        return _Pack.parse(stored).top()
    leaves = reader.leaves_between(*span_of(depth, prefix), SPLIT + 1)
    if len(leaves) > SPLIT:
        raise Tampered("index", "a pack is missing; run `prooftrail verify`")
    return _subtree(leaves, depth)


class _Pack:
    """The sixteen subtrees four bits below a place.

    Stored as two sets of sixteen bits, the lowest for the first subtree (which of them have two leaves or more, and
    which have a pack of their own), then sixteen hashes.
    """

    __slots__ = ("hashes", "many", "packed")

    def __init__(self, many: int, packed: int, hashes: list[bytes]) -> None:
        self.many = many
        self.packed = packed
        self.hashes = hashes

    @classmethod
    def parse(cls, data: bytes) -> _Pack:
        if len(data) != 4 + _WIDTH * HASH_BYTES:
            raise Tampered("index", "a pack is of another length; run `prooftrail verify`")
        hashes = [data[start : start + HASH_BYTES] for start in range(4, len(data), HASH_BYTES)]
        return cls(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), hashes)

    def encode(self) -> bytes:
        return self.many.to_bytes(2, "big") + self.packed.to_bytes(2, "big") + b"".join(self.hashes)

    def put(self, digit: int, node: Node, *, packed: bool) -> None:
        bit = 1 << digit
        self.hashes[digit] = node.hash
        self.many = self.many | bit if node.many else self.many & ~bit
        self.packed = self.packed | bit if packed else self.packed & ~bit

    def top(self) -> Node:
        """Return the subtree over all sixteen."""
        (hash,), many = self.rows()[0]
        return Node(hash, bool(many))

    def rows(self) -> list[tuple[list[bytes], int]]:
        """Return the rows of the tree from the top to the sixteen: hashes, and the bits of those of two leaves or more.

        A single leaf rises, and nothing stays nothing.
        """
        hashes, many = self.hashes, self.many
        rows = [(hashes, many)]
        while len(hashes) > 1:
            above, above_many = [], 0
            for i in range(0, len(hashes), 2):
                left, right = hashes[i], hashes[i + 1]
                if not many >> i & 3 and (left == EMPTY or right == EMPTY):
                    above.append(left if right == EMPTY else right)
                else:
                    above.append(sha256(b"\x11" + left + right).digest())
                    above_many |= 1 << (i >> 1)
            hashes, many = above, above_many
            rows.insert(0, (hashes, many))
        return rows


# --- proving ----------------------------------------------------------------------------------------------------


def prove(reader: TagIndexReader, ledger: str, tag: str) -> IndexProof:
    """Return what the stored index says about a tag. Verify it against the committed root before it is handed out.

    Reads one pack for each four bits of the way, then the leaves that are left. Raises Tampered.
    """
    key = key_of(ledger, tag)
    number = int.from_bytes(key, "big")
    above: list[bytes] = []
    depth = 0
    while (stored := reader.pack(place_of(depth, number >> (KEY_BITS - depth)))) is not None:
        rows = _Pack.parse(stored).rows()
        at = 0
        for (_, many), (hashes, _) in pairwise(rows):
            if not many >> at & 1:
                break
            at = at << 1 | bit_of(key, len(above))
            above.append(hashes[at ^ 1])
        if len(above) < depth + _BITS or not rows[_BITS][1] >> at & 1:
            depth = len(above)
            break
        depth += _BITS
    leaves = reader.leaves_between(*span_of(depth, number >> (KEY_BITS - depth)), SPLIT + 1)
    if len(leaves) > SPLIT:
        raise Tampered("index", "a pack is missing; run `prooftrail verify`")
    return prove_in(leaves, key, tag, depth, above)


# --- places -----------------------------------------------------------------------------------------------------


def place_of(depth: int, prefix: int) -> bytes:
    """Return the name of a place: its depth in one byte, then its leading bits in whole bytes, from the left."""
    whole = -(-depth // 8) * 8
    return bytes((depth,)) + (prefix << (whole - depth)).to_bytes(whole // 8, "big")


def span_of(depth: int, prefix: int) -> tuple[bytes, bytes]:
    """Return the lowest and the highest key below a place."""
    first = prefix << (KEY_BITS - depth)
    return first.to_bytes(32, "big"), (first + (1 << (KEY_BITS - depth)) - 1).to_bytes(32, "big")
