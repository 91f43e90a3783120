"""A second implementation, straight from the definitions of RFC 6962 §2.1: slow, recursive, on lists of entries.

It shares nothing with the package, so that a mistake must be made twice to go unseen. The figure of §2.1.3 (the tree
of seven leaves) is in the tests in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH of a list of leaf hashes. §2.1."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """PATH(m, D[n]). §2.1.1."""
    if len(leaves) == 1:
        return ()
    k = split(len(leaves))
    if m < k:
        return (*path(m, leaves[:k]), root(leaves[k:]))
    return (*path(m - k, leaves[k:]), root(leaves[:k]))


def proof(m: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """PROOF(m, D[n]) for 0 < m < n. §2.1.2."""
    return _subproof(m, leaves, True)


def _subproof(m: int, leaves: Sequence[bytes], whole: bool) -> tuple[bytes, ...]:
    if m == len(leaves):
        return () if whole else (root(leaves),)
    k = split(len(leaves))
    if m <= k:
        return (*_subproof(m, leaves[:k], whole), root(leaves[k:]))
    return (*_subproof(m - k, leaves[k:], False), root(leaves[:k]))
