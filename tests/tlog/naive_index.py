"""A second implementation of the tag index, straight from its definition: slow, recursive, on dictionaries.

It shares nothing with the package, so that a mistake must be made twice to go unseen. Keys are strings of '0' and '1'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

EMPTY = bytes(32)

Tags = Mapping[str, Sequence[bytes]]
"""tag -> the leaf hashes of all its events, in order."""


def key(ledger: str, tag: str) -> bytes:
    return sha256(b"prooftrail/tag/v1" + b"\x00" + ledger.encode() + b"\x00" + tag.encode()).digest()


def bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def head(leaves: Sequence[bytes]) -> bytes:
    """head of n events: of none it is 32 zero bytes."""
    return EMPTY if not leaves else sha256(b"\x12" + head(leaves[:-1]) + leaves[-1]).digest()


def leaf(ledger: str, tag: str, leaves: Sequence[bytes]) -> bytes:
    return sha256(b"\x10" + key(ledger, tag) + len(leaves).to_bytes(8, "big") + head(leaves)).digest()


def leaves_of(ledger: str, tags: Tags) -> dict[str, bytes]:
    return {bits(key(ledger, tag)): leaf(ledger, tag, leaves) for tag, leaves in tags.items() if leaves}


def subtree(leaves: Mapping[str, bytes], prefix: str) -> bytes:
    """The hash of the subtree whose keys begin with `prefix`."""
    below = {bits: hash for bits, hash in leaves.items() if bits.startswith(prefix)}
    if not below:
        return EMPTY
    if len(below) == 1:
        return next(iter(below.values()))
    return sha256(b"\x11" + subtree(below, prefix + "0") + subtree(below, prefix + "1")).digest()


def root(ledger: str, tags: Tags) -> bytes:
    return subtree(leaves_of(ledger, tags), "")


def walk(ledger: str, tags: Tags, tag: str) -> tuple[list[bytes], str | None]:
    """The siblings on the way to a tag, the last one first, and the tag whose leaf the way ends in, if any."""
    leaves = leaves_of(ledger, tags)
    names = {bits(key(ledger, name)): name for name in tags}
    way = bits(key(ledger, tag))
    siblings: list[bytes] = []
    prefix = ""
    while sum(each.startswith(prefix) for each in leaves) > 1:
        siblings.insert(0, subtree(leaves, prefix + ("1" if way[len(prefix)] == "0" else "0")))
        prefix = way[: len(prefix) + 1]
    ends = [names[each] for each in leaves if each.startswith(prefix)]
    return siblings, ends[0] if ends else None
