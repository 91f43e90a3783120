"""The tag index: a compact sparse Merkle tree over all tags of a log, and what it proves. docs/spec/tag-index.md.

Everything here is a pure function of bytes; where the tree is kept is for `tag_map` to say, when it is committed for
`ledger.indexing`. Building raises Invalid for what cannot be; checking takes evidence from anywhere and raises
VerificationError only.

    key_of(ledger, tag)                     where a tag stands in the tree
    next_head(head, leaf), replay(leaves)   the chain over the events of a tag, from NO_HEAD
    leaf_node, inner_node, subtree_of       the hashes of the tree; `root_of` the whole of it
    TagState                                what the tree says about a tag: how many events, and their head
    IndexCommitment                         the data of an `index-committed` entry
    IndexProof                              encode, parse, verify: a tag's state under a root, or that it has none
    Index.rebuild(entries)                  the whole index in memory, from the bytes of the entries alone

A key is read from its most significant bit: 0 goes left. A subtree without a leaf is 32 zero bytes, one with a single
leaf is that leaf, any other is the hash of its halves: so one set of tags has one root, in whatever order they came.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import msgspec

from ledger import canonical
from ledger.canonical import MAX_INTEGER, check_text
from ledger.entry import MAX_ENTRY_BYTES, parse, parse_moment
from ledger.errors import Invalid, Tampered, VerificationError
from ledger.events import IndexCommitted
from ledger.tlog.merkle import HASH_BYTES, leaf_hash

EMPTY: Final = bytes(HASH_BYTES)
"""The hash of a subtree without leaves."""

NO_HEAD: Final = bytes(HASH_BYTES)
"""The head of a tag without events."""

KEY_BITS: Final = 256

MAX_PROOF_BYTES: Final = 64 * 1024
"""Most bytes of an index proof that is read: the longest path and tag come to less."""

Leaf = tuple[bytes, int, bytes]
"""(key, n, head): a tag that has events, as it stands in the tree."""

_DOMAIN: Final = b"prooftrail/tag/v1\x00"
_HEX_HASH: Final = re.compile("[0-9a-f]{64}", re.ASCII)


# --- the tree ---------------------------------------------------------------------------------------------------


def key_of(ledger: str, tag: str) -> bytes:
    """Return the 32 bytes under which a tag of this ledger stands."""
    return sha256(_DOMAIN + ledger.encode() + b"\x00" + tag.encode()).digest()


def next_head(head: bytes, leaf: bytes) -> bytes:
    """Return the head after one more event; `leaf` is the hash of its entry as a leaf of the log."""
    return sha256(b"\x12" + head + leaf).digest()


def replay(leaves: Iterable[bytes]) -> bytes:
    """Return the head of a tag from the leaf hashes of all its events, in order."""
    head = NO_HEAD
    for leaf in leaves:
        head = next_head(head, leaf)
    return head


def leaf_node(key: bytes, n: int, head: bytes) -> bytes:
    """Return the hash of the leaf of a tag that has `n` events, at least one."""
    return sha256(b"\x10" + key + n.to_bytes(8, "big") + head).digest()


def inner_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of a subtree with two leaves or more."""
    return sha256(b"\x11" + left + right).digest()


def bit_of(key: bytes, depth: int) -> int:
    """Return the bit of a key that decides at `depth`: 0 goes left."""
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


def subtree_of(leaves: Sequence[tuple[bytes, bytes]], depth: int) -> bytes:
    """Return the hash of the subtree at `depth` that holds exactly these (key, leaf hash), in order of key."""
    if len(leaves) < 2:
        return leaves[0][1] if leaves else EMPTY
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    middle = 0
    for key, _ in leaves:
        if key[byte] & mask:
            break
        middle += 1
    left, right = subtree_of(leaves[:middle], depth + 1), subtree_of(leaves[middle:], depth + 1)
    return sha256(b"\x11" + left + right).digest()


def hashed(leaves: Iterable[Leaf]) -> list[tuple[bytes, bytes]]:
    """Return (key, leaf hash) of each leaf."""
    return [(key, sha256(b"\x10" + key + n.to_bytes(8, "big") + head).digest()) for key, n, head in leaves]


class TagState(msgspec.Struct, frozen=True):
    """What the index says about a tag: it has `n` events, at least one, and they lead to `head`."""

    n: int
    head: bytes


# --- the commitment ---------------------------------------------------------------------------------------------


class IndexCommitment(msgspec.Struct, frozen=True):
    """The index over the entries below `size`, committed to by the entry at index `size`: its root, and how many tags.

    `recorded_at` is the moment of that entry, as it stands there.
    """

    size: int
    root: bytes
    tags: int
    recorded_at: str

    @classmethod
    def parse(cls, entry: bytes, ledger: str) -> IndexCommitment:
        """Read an `index-committed` entry of a ledger. It is a claim until the entry is proven to be in the log.

        Raises VerificationError, and nothing else.
        """
        step = "index entry"
        if len(entry) > MAX_ENTRY_BYTES:
            raise VerificationError(step, f"is larger than {MAX_ENTRY_BYTES} bytes")
        canonical.decode(entry, step)
        try:
            parsed = parse(entry)
        except Tampered as error:
            raise VerificationError(step, error.why) from None
        if (parsed.type, parsed.ledger, parsed.v) != (IndexCommitted.TOPIC, ledger, 1):
            raise VerificationError(step, f"is not an {IndexCommitted.TOPIC} of {ledger}")
        data = canonical.decode(bytes(parsed.data), step)
        if parsed.tags or parsed.sealed or not isinstance(data, dict) or data.keys() != {"root", "size", "tags"}:
            raise VerificationError(step, "has other members than root, size and tags")
        root, size, tags = data["root"], data["size"], data["tags"]
        if not isinstance(root, str) or not _HEX_HASH.fullmatch(root):
            raise VerificationError(step, f"has no root of {HASH_BYTES} bytes in lower-case hexadecimal digits")
        if not _is_count(size) or not _is_count(tags) or size != parsed.index:
            raise VerificationError(step, "does not cover exactly the entries before it")
        try:
            parse_moment(parsed.recorded_at)
        except Tampered as error:
            raise VerificationError(step, error.why) from None
        return cls(parsed.index, bytes.fromhex(root), int(str(tags)), parsed.recorded_at)


def _is_count(value: object) -> bool:
    # `type`, not `isinstance`: True is no number.
    return type(value) is int and 0 <= value <= MAX_INTEGER


# --- the proof --------------------------------------------------------------------------------------------------


class IndexProof(msgspec.Struct, frozen=True):
    """What an index says about a tag. A claim, until `verify` returns.

    The walk from the root along the tag's key ends in `end`: its own leaf, another key's leaf, or (None) an empty
    subtree. `path` is the siblings on the way, the one at the end first; EMPTY stands for an empty one. One form:

        {"end":{"head":"…","n":7},"path":["…","",…],"tag":"…","v":1}        it has these events
        {"end":{"head":"…","key":"…","n":2},"path":[…],"tag":"…","v":1}     another tag stands where it would be
        {"end":null,"path":[…],"tag":"…","v":1}                             nothing stands where it would be

    in canonical JSON; hashes in base64url without padding, "" for an empty subtree.
    """

    tag: str
    path: tuple[bytes, ...]
    end: TagState | None
    end_key: bytes | None = None
    """The key of the leaf at the end when it is another tag's, else None."""

    def encode(self) -> bytes:
        """Return the file. Raises Invalid for what could not be read back."""
        if not self.tag:
            raise Invalid("tag", "is not empty")
        end: dict[str, object] | None = None
        if self.end is not None:
            end = {"head": _to_text(self.end.head), "n": self.end.n}
            if self.end_key is not None:
                end["key"] = _to_text(self.end_key)
        path = ["" if node == EMPTY else _to_text(node) for node in self.path]
        return canonical.encode({"end": end, "path": path, "tag": check_text(self.tag, "tag"), "v": 1})

    @classmethod
    def parse(cls, data: bytes) -> IndexProof:
        """Read the file. Raises VerificationError only."""
        step = "index proof"
        if len(data) > MAX_PROOF_BYTES:
            raise VerificationError(step, f"is larger than {MAX_PROOF_BYTES} bytes")
        value = canonical.decode(data, step)
        if not isinstance(value, dict) or value.keys() != {"end", "path", "tag", "v"}:
            raise VerificationError(step, "has other members than end, path, tag and v")
        if type(value["v"]) is not int or value["v"] != 1:
            raise VerificationError(step, "is of a version that this program does not know")
        tag, path = value["tag"], value["path"]
        if not isinstance(tag, str) or not tag:
            raise VerificationError(step, "names no tag")
        if not isinstance(path, list) or len(path) > KEY_BITS:
            raise VerificationError(step, f"has no path of at most {KEY_BITS} hashes")
        end, end_key = _parse_end(value["end"], step)
        return cls(tag, tuple(EMPTY if node == "" else _to_hash(node, step) for node in path), end, end_key)

    def verify(self, root: bytes, ledger: str) -> TagState | None:
        """Return what the index with this root says about the tag: its state, or None that it has no event.

        Raises VerificationError, and nothing else.
        """
        step = "index proof"
        self._check_form(step)
        key = key_of(ledger, self.tag)
        node = EMPTY
        if self.end is not None:
            # (1) Another tag's leaf shows an absence only where the tag's own would stand.
            if self.end_key is not None:
                if self.end_key == key:
                    raise VerificationError(step, "ends in another tag's leaf, which is its own")
                shared = len(self.path)
                if _prefix(self.end_key, shared) != _prefix(key, shared):
                    raise VerificationError(step, "ends in a leaf that is not on the way to the tag")
            node = leaf_node(self.end_key or key, self.end.n, self.end.head)
        # (2) A subtree is compact: what stands alone stands as high as it can, so its last sibling is not empty.
        if self.path and self.path[0] == EMPTY:
            raise VerificationError(step, "goes deeper than the index does")
        # (3) The way back up leads to the root.
        for depth, sibling in zip(range(len(self.path) - 1, -1, -1), self.path, strict=True):
            node = inner_node(sibling, node) if bit_of(key, depth) else inner_node(node, sibling)
        if node != root:
            raise VerificationError(step, "does not lead to the committed root")
        return None if self.end_key is not None else self.end

    def _check_form(self, step: str) -> None:
        hashes = [*self.path, *((self.end.head,) if self.end else ()), *((self.end_key,) if self.end_key else ())]
        if len(self.path) > KEY_BITS or any(type(node) is not bytes or len(node) != HASH_BYTES for node in hashes):
            raise VerificationError(step, f"not at most {KEY_BITS} hashes of {HASH_BYTES} bytes")
        if self.end is not None and not (_is_count(self.end.n) and self.end.n >= 1):
            raise VerificationError(step, "ends in a tag without events")
        if self.end is None and self.end_key is not None:
            raise VerificationError(step, "ends in a leaf that is not there")
        try:
            self.tag.encode()
        except (UnicodeEncodeError, AttributeError):
            raise VerificationError(step, "names no tag") from None


def _parse_end(value: Any, step: str) -> tuple[TagState | None, bytes | None]:
    if value is None:
        return None, None
    if not isinstance(value, dict) or value.keys() not in ({"head", "n"}, {"head", "key", "n"}):
        raise VerificationError(step, "ends in something else than a leaf or nothing")
    if not _is_count(value["n"]) or value["n"] < 1:
        raise VerificationError(step, "ends in a tag without events")
    key = _to_hash(value["key"], step) if "key" in value else None
    return TagState(value["n"], _to_hash(value["head"], step)), key


def _prefix(key: bytes, bits: int) -> int:
    return int.from_bytes(key, "big") >> (KEY_BITS - bits)


def _to_text(node: bytes) -> str:
    if len(node) != HASH_BYTES:
        raise Invalid("hash", f"is {HASH_BYTES} bytes")
    return urlsafe_b64encode(node).rstrip(b"=").decode()


def _to_hash(value: Any, step: str) -> bytes:
    """Return the 32 bytes of canonical base64url without padding (RFC 4648 §5)."""
    node = b""
    if isinstance(value, str) and len(value) == 43 and value.isascii():
        with suppress(ValueError):
            node = urlsafe_b64decode(value + "=")
    if len(node) != HASH_BYTES or _to_text(node) != value:
        raise VerificationError(step, f"has a hash that is not {HASH_BYTES} bytes in canonical base64url")
    if node == EMPTY:
        raise VerificationError(step, 'writes an empty subtree in another form than ""')
    return node


def prove_in(leaves: Sequence[Leaf], key: bytes, tag: str, depth: int = 0, above: Sequence[bytes] = ()) -> IndexProof:
    """Return the proof for a tag from the leaves of the subtree at `depth` on its way, in order of key.

    `above` is the siblings on the way from the root to that subtree, the topmost first.
    """
    path = list(above)
    rest = hashed(leaves)
    first, last = 0, len(rest)
    while last - first > 1:
        middle = first
        while middle < last and not bit_of(rest[middle][0], depth):
            middle += 1
        depth += 1
        if bit_of(key, depth - 1):
            path.append(subtree_of(rest[first:middle], depth))
            first = middle
        else:
            path.append(subtree_of(rest[middle:last], depth))
            last = middle
    path.reverse()
    if first == last:
        return IndexProof(tag, tuple(path), None)
    end_key, n, head = leaves[first]
    return IndexProof(tag, tuple(path), TagState(n, head), None if end_key == key else end_key)


# --- the whole of it, in memory ---------------------------------------------------------------------------------


class Index:
    """The whole index in memory, about 400 bytes a tag: for auditors of files, and for tests. `tag_map` scales."""

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger
        self.size = 0
        self.states: dict[str, TagState] = {}

    @classmethod
    def rebuild(cls, entries: Iterable[bytes], ledger: str) -> Index:
        """Return the index over these entries, the first ones of the log. Raises VerificationError."""
        index = cls(ledger)
        for entry in entries:
            index.add(entry)
        return index

    def add(self, entry: bytes) -> None:
        """Count the next entry of the log. Raises VerificationError for one that is not, or that counts wrongly."""
        parsed = parse(entry)
        if parsed.index != self.size or parsed.ledger != self.ledger:
            raise VerificationError("index", f"not entry {self.size} of {self.ledger}")
        leaf = leaf_hash(entry)
        for link in parsed.tags:
            before = self.states.get(link.tag)
            n, head = (before.n, before.head) if before is not None else (0, NO_HEAD)
            if link.n != n + 1:
                raise VerificationError("index", f"entry {self.size} says event {link.n} of a tag that has {n} before")
            self.states[link.tag] = TagState(link.n, next_head(head, leaf))
        self.size += 1

    def root(self) -> bytes:
        """Return the root; hashes all of it."""
        return subtree_of(hashed(self._leaves()), 0)

    def prove(self, tag: str) -> IndexProof:
        """Return the proof of what the index says about `tag`; hashes all of it."""
        return prove_in(self._leaves(), key_of(self.ledger, tag), tag)

    def _leaves(self) -> list[Leaf]:
        return sorted((key_of(self.ledger, tag), state.n, state.head) for tag, state in self.states.items())
