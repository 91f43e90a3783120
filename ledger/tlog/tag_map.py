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
from collections.abc import Iterable, Sequence
from hashlib import sha256
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

_PACK_BYTES: Final = 2 + _WIDTH * HASH_BYTES


class Node(NamedTuple):
    """A subtree: its hash, and whether it has two leaves or more. One leaf stands as high as it can."""

    hash: bytes
    many: bool


_NOTHING: Final = Node(EMPTY, False)


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
    def __init__(self, reader: TagIndexReader, marks: Sequence[int]) -> None:
        self.reader = reader
        self.marks = marks
        self.packs: dict[bytes, bytes] = {}

    def node(self, depth: int, prefix: int, first: int, last: int) -> Node:
        """Return the subtree of `prefix` at `depth`, hashed anew where marks[first:last] say so."""
        stored = self.reader.pack(place_of(depth, prefix))
        if stored is None:
            return self.fresh(depth, prefix)
        nodes = _parse_pack(stored)
        for digit in range(_WIDTH):
            below = prefix << _BITS | digit
            start, end = first, last
            if depth + _BITS <= MARK_BITS:
                shift = MARK_BITS - depth - _BITS
                start = bisect_left(self.marks, below << shift, first, last)
                end = bisect_left(self.marks, (below + 1) << shift, start, last)
            if start < end:
                nodes[digit] = self.node(depth + _BITS, below, start, end)
        return self._keep(depth, prefix, nodes)

    def fresh(self, depth: int, prefix: int) -> Node:
        """Return the subtree of a place that has no pack, and make one if more than SPLIT leaves stand there by now."""
        leaves = self.reader.leaves_between(*span_of(depth, prefix), SPLIT + 1)
        if len(leaves) <= SPLIT:
            return Node(subtree_of(hashed(leaves), depth), len(leaves) > 1)
        return self._keep(
            depth, prefix, [self.fresh(depth + _BITS, prefix << _BITS | digit) for digit in range(_WIDTH)]
        )

    def _keep(self, depth: int, prefix: int, nodes: Sequence[Node]) -> Node:
        self.packs[place_of(depth, prefix)] = _encode_pack(nodes)
        return _rows_of(nodes)[0][0]


def node_at(reader: TagIndexReader, depth: int = 0, prefix: int = 0) -> Node:
    """Return the subtree of `prefix` at `depth` (the whole index) as it is stored; marks are not looked at."""
    stored = reader.pack(place_of(depth, prefix))
    if stored is not None:
        return _rows_of(_parse_pack(stored))[0][0]
    leaves = reader.leaves_between(*span_of(depth, prefix), SPLIT + 1)
    if len(leaves) > SPLIT:
        raise Tampered("index", "a pack is missing; run `prooftrail verify`")
    return Node(subtree_of(hashed(leaves), depth), len(leaves) > 1)


def _combine(left: Node, right: Node) -> Node:
    """Return the subtree over two halves: a single leaf rises, and nothing stays nothing."""
    if left.hash == EMPTY and not right.many:
        return right
    if right.hash == EMPTY and not left.many:
        return left
    return Node(sha256(b"\x11" + left.hash + right.hash).digest(), True)


def _rows_of(nodes: Sequence[Node]) -> list[list[Node]]:
    """Return the rows of the tree over a pack's subtrees, from its one top to the subtrees themselves."""
    rows = [list(nodes)]
    while len(row := rows[0]) > 1:
        rows.insert(0, [_combine(row[i], row[i + 1]) for i in range(0, len(row), 2)])
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
        rows = _rows_of(_parse_pack(stored))
        at = 0
        for row in rows[1:]:
            if not rows[len(above) - depth][at].many:
                break
            at = at << 1 | bit_of(key, len(above))
            above.append(row[at ^ 1].hash)
        if len(above) < depth + _BITS or not rows[_BITS][at].many:
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


def _parse_pack(data: bytes) -> list[Node]:
    if len(data) != _PACK_BYTES:
        raise Tampered("index", "a pack is of another length; run `prooftrail verify`")
    flags = int.from_bytes(data[:2], "big")
    return [Node(data[2 + 32 * digit : 34 + 32 * digit], bool(flags >> digit & 1)) for digit in range(_WIDTH)]


def _encode_pack(nodes: Sequence[Node]) -> bytes:
    flags = sum(1 << digit for digit, node in enumerate(nodes) if node.many)
    return flags.to_bytes(2, "big") + b"".join(node.hash for node in nodes)
