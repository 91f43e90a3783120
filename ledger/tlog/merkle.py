"""The Merkle tree of RFC 6962 §2.1 (and RFC 9162 §2.1): hashes, proofs, and the checks of proofs.

Everything here is a pure function. Building asks a `HashReader` for the complete subtrees it needs and raises
`Invalid` for a leaf or size out of range; checking takes evidence from anywhere and raises `VerificationError`
only. Where the hashes are kept is for `tree` (in memory) and `tiles` (fetched, authenticated) to say.

Terms: *height* 0 is the leaves; the subtree (height, n) covers the leaves [n·2^height, (n+1)·2^height). The *edge*
of a tree of `size` leaves is the list of its rightmost subtrees, one for each height: edge[h] is the hash over the
leaves from the last multiple of 2^h to the end, so edge[0] is the last leaf and edge[-1] the root.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from ledger.errors import Invalid, VerificationError

HASH_BYTES: Final = 32
"""Bytes of a SHA-256 hash; every hash in this package."""

MAX_SIZE: Final = 2**63 - 1
"""Most leaves in a tree: a signed 64-bit integer, as in golang.org/x/mod/sumdb/tlog and in SQL databases."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree with no leaves. RFC 6962 §2.1."""

HashReader = Callable[[int, int], bytes]
"""(height, n) -> hash of the complete subtree over leaves [n·2^height, (n+1)·2^height)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of the leaf that holds `entry`. RFC 6962 §2.1."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees. RFC 6962 §2.1."""
    return sha256(b"\x01" + left + right).digest()


def pyramid(row: Sequence[bytes]) -> list[list[bytes]]:
    """Return the complete subtrees over `row`, by height: the row itself, its pairs, … up to the last that fits.

    A hash without a sibling is not carried upward, so every hash returned covers exactly 2^height of the row.
    """
    rows = [list(row)]
    while len(below := rows[-1]) > 1:
        rows.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return rows


# Building


def right_edge(size: int, read: HashReader) -> list[bytes]:
    """Return the edge of the tree of `size` leaves, by height, from the last leaf to the root.

    Asks `read` for at most one subtree at each height. Raises Invalid unless 1 <= size <= MAX_SIZE.
    """
    if not 1 <= size <= MAX_SIZE:
        raise Invalid("size", f"between 1 and {MAX_SIZE}")
    n = size - 1
    edge = [read(0, n)]
    for height in range(n.bit_length()):
        # An odd node has a complete left sibling; an even one is the last of its row and rises alone.
        edge.append(node_hash(read(height, n - 1), edge[-1]) if n & 1 else edge[-1])
        n >>= 1
    return edge


def root(size: int, read: HashReader) -> bytes:
    """Return the root of the tree of the first `size` leaves. Raises Invalid. RFC 6962 §2.1."""
    return EMPTY_ROOT if size == 0 else right_edge(size, read)[-1]


def inclusion_proof(
    index: int, size: int, read: HashReader, *, edge: Sequence[bytes] | None = None
) -> tuple[bytes, ...]:
    """Return the inclusion proof for leaf `index` in the tree of the first `size` leaves.

    Hashes: 32-byte SHA-256, the leaf's sibling first, at most 63. `edge` may pass `right_edge(size, read)` when it
    is known already. Raises Invalid unless 0 <= index < size <= MAX_SIZE. RFC 6962 §2.1.1.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise Invalid("index", f"a leaf of the tree: between 0 and {size - 1}")
    return _path(index, 0, size, read, edge)


def consistency_proof(
    old: int, new: int, read: HashReader, *, edge: Sequence[bytes] | None = None
) -> tuple[bytes, ...]:
    """Return the proof that the tree of `new` leaves extends the tree of its first `old` leaves.

    Empty when old is 0 (every tree extends the empty one) or equals new. `edge` may pass `right_edge(new, read)`.
    Raises Invalid unless 0 <= old <= new <= MAX_SIZE. RFC 6962 §2.1.2.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise Invalid("old", f"between 0 and the new size, {new}")
    if old in (0, new):
        return ()
    # The last complete subtree of the old tree is a node of the new one too: the proof is the path from there,
    # led by the node itself unless it is the whole old tree, whose root the verifier holds.
    height = (old & -old).bit_length() - 1
    n = (old >> height) - 1
    path = _path(n, height, new, read, edge)
    return path if n == 0 else (read(height, n), *path)


def _path(n: int, height: int, size: int, read: HashReader, edge: Sequence[bytes] | None) -> tuple[bytes, ...]:
    """Return the siblings on the way from the node (height, n) to the root of the tree of `size` leaves."""
    edge = right_edge(size, read) if edge is None else edge
    path = []
    last = (size - 1) >> height
    while last:
        if n & 1:
            path.append(read(height, n - 1))
        elif n < last:
            path.append(edge[height] if n + 1 == last else read(height, n + 1))
        n, last, height = n >> 1, last >> 1, height + 1
    return tuple(path)


# Checking


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) is number `index`, from 0, of the tree with `size` leaves and this `root`.

    Raises VerificationError, and nothing else, for whatever it is given. RFC 9162 §2.1.3.2.
    """
    step = "inclusion proof"
    _check_numbers(step, index=index, size=size)
    _check_hashes(step, proof, leaf, root)
    if index >= size:
        raise VerificationError(step, f"index {index} is beyond size {size}")
    n, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError(step, "more hashes than the path has")
        if n & 1 or n == last:
            node = node_hash(sibling, node)
            # The last node of a row rises alone until it is a right child.
            while not n & 1:
                n, last = n >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        n, last = n >> 1, last >> 1
    if last != 0:
        raise VerificationError(step, "fewer hashes than the path has")
    if node != root:
        raise VerificationError(step, "the path does not lead to the root")


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree (new_size, new_root) extends the tree (old_size, old_root): same leaves, in the same order.

    The empty tree is extended by every tree, with an empty proof; its root must be EMPTY_ROOT. Raises
    VerificationError, and nothing else, for whatever it is given. RFC 9162 §2.1.4.2.
    """
    step = "consistency proof"
    _check_numbers(step, old_size=old_size, new_size=new_size)
    _check_hashes(step, proof, old_root, new_root)
    if old_size > new_size:
        raise VerificationError(step, f"the new tree is smaller: {new_size} after {old_size}")
    for size, tree_root in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and tree_root != EMPTY_ROOT:
            raise VerificationError(step, "an empty tree has another root")
    if old_size in (0, new_size):
        if proof:
            raise VerificationError(step, "more hashes than the path has")
        if old_size == new_size and old_root != new_root:
            raise VerificationError(step, "two roots for one size")
        return
    _verify_extension(step, old_size, new_size, old_root, new_root, proof)


def _verify_extension(
    step: str, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check a consistency proof for 0 < old_size < new_size. RFC 9162 §2.1.4.2, steps 2 to 8."""
    if old_size & (old_size - 1) == 0:
        proof = (old_root, *proof)
    if not proof:
        raise VerificationError(step, "fewer hashes than the path has")
    n, last = old_size - 1, new_size - 1
    while n & 1:
        n, last = n >> 1, last >> 1
    old_node = new_node = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            raise VerificationError(step, "more hashes than the path has")
        if n & 1 or n == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while n and not n & 1:
                n, last = n >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        n, last = n >> 1, last >> 1
    if last != 0:
        raise VerificationError(step, "fewer hashes than the path has")
    if old_node != old_root:
        raise VerificationError(step, "the path does not lead to the old root")
    if new_node != new_root:
        raise VerificationError(step, "the path does not lead to the new root")


def _check_numbers(step: str, **numbers: int) -> None:
    for name, number in numbers.items():
        # `type`, not `isinstance`: True is no size.
        if type(number) is not int or not 0 <= number <= MAX_SIZE:
            raise VerificationError(step, f"{name} is not between 0 and {MAX_SIZE}")


def _check_hashes(step: str, proof: Sequence[bytes], *hashes: bytes) -> None:
    if not isinstance(proof, tuple | list):
        raise VerificationError(step, "the proof is not a sequence of hashes")
    for item in (*hashes, *proof):
        if type(item) is not bytes or len(item) != HASH_BYTES:
            raise VerificationError(step, f"not a hash of {HASH_BYTES} bytes")
