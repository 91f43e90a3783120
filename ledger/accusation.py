"""The accusation: two things that a log signed and that cannot both be true of one honest, growing log.

Self-contained, and checked with nothing but the log's public keys, here or by the standard-library `verify.py`. It is
canonical JSON, so that one accusation has one form:

    {"claim":"…","evidence":{…},"kind":"accusation","ledger":"<origin>","v":1}

    claim            evidence                                    holds when
    two-roots        checkpoints: [note, note]                   one size, two root hashes
    not-extended     checkpoints: [older, newer], root, proof    the newer one extends another tree of that size
    two-hashes       entries: [proven, proven]                   one place of the tree has two hashes under them
    counters         entries: [proven, proven], tag              their counts of the tag's events contradict each other
    times            entries: [proven, proven]                   the later one was recorded before the earlier one
    beyond-count     entries: [proven], index, tag               the tag index covers the entry and counts less events

A *proven* entry is {"entry": its text, "proof": its tlog-proof}; `index` is {"entry":…,"proof":…,"state":…}: an
`index-committed` entry, proven, and the index proof of the tag. Hashes are base64. What does not live here: finding a
contradiction among files that somebody kept (projections.evidence.accuse).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger import canonical
from ledger.canonical import Json
from ledger.entry import MAX_ENTRY_BYTES, Entry, parse
from ledger.errors import VerificationError
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.index import IndexCommitment, IndexProof
from ledger.tlog.merkle import leaf_hash, node_hash, verify_consistency
from ledger.tlog.note import Verifier, decode_base64, encode_base64
from ledger.tlog.proof import MAX_HASHES, LogProof

MAX_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of an accusation that is read: two of the longest proofs and entries, escaped, come to less."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry with its proof: `checkpoint` and `parsed` are there once it is verified."""

    entry: bytes
    proof: LogProof
    checkpoint: Checkpoint
    parsed: Entry

    @classmethod
    def verify(cls, entry: bytes, proof: bytes, keys: Sequence[Verifier], origin: str) -> Proven:
        """Return the entry once it is shown to be in the log. Raises VerificationError, and nothing else."""
        if len(entry) > MAX_ENTRY_BYTES:
            raise VerificationError("entry", f"is larger than {MAX_ENTRY_BYTES} bytes")
        found = LogProof.parse(proof)
        checkpoint = found.verify(entry, keys, origin)
        # What the log holds may be anything; only what counts and dates itself can contradict something by that.
        canonical.decode(entry, "entry")
        parsed = parse(entry)
        if (parsed.index, parsed.ledger) != (found.index, origin):
            raise VerificationError("entry", "says another index or ledger than its place in the log")
        return cls(entry, found, checkpoint, parsed)

    def document(self) -> dict[str, Json]:
        return {"entry": self.entry.decode(), "proof": self.proof.encode().decode()}

    def subtrees(self) -> dict[tuple[int, int], bytes]:
        """Return the hash of every complete subtree (height, n) that the proof speaks of; none ever changes."""
        return subtrees(self.proof.index, self.checkpoint.size, leaf_hash(self.entry), self.proof.hashes)


@dataclass(frozen=True, slots=True)
class Accusation:
    """A claim about a log with its evidence; it holds once `verify` returns."""

    ledger: str
    claim: str
    evidence: Mapping[str, Json]

    def encode(self) -> bytes:
        """Return the file. Raises Invalid for what JSON cannot hold."""
        return canonical.encode(
            {"v": 1, "kind": "accusation", "ledger": self.ledger, "claim": self.claim, "evidence": dict(self.evidence)}
        )

    @classmethod
    def parse(cls, data: bytes) -> Accusation:
        """Read the file. Raises VerificationError only."""
        step = "accusation"
        if len(data) > MAX_BYTES:
            raise VerificationError(step, f"is larger than {MAX_BYTES} bytes")
        value = canonical.decode(data, step)
        if not isinstance(value, dict) or value.keys() != {"claim", "evidence", "kind", "ledger", "v"}:
            raise VerificationError(step, "has other members than claim, evidence, kind, ledger and v")
        if type(value["v"]) is not int or value["v"] != 1 or value["kind"] != "accusation":
            raise VerificationError(step, "is of a kind or version that this program does not know")
        ledger, claim, evidence = value["ledger"], value["claim"], value["evidence"]
        if not isinstance(ledger, str) or not isinstance(claim, str) or not isinstance(evidence, dict):
            raise VerificationError(step, "does not say which claim it makes about which ledger")
        return cls(ledger, claim, evidence)

    def verify(self, keys: Sequence[Verifier]) -> str:
        """Return in words what cannot be true of this log, whose keys these are. Raises VerificationError only."""
        check = _CLAIMS.get(self.claim)
        if check is None:
            raise VerificationError("claim", "is not one that this program knows")
        members, function = check
        if self.evidence.keys() != members:
            raise VerificationError("evidence", f"has other members than {', '.join(sorted(members))}")
        return function(_Evidence(self.evidence, keys, self.ledger))


# --- the claims -----------------------------------------------------------------------------------------------


class _Evidence:
    """Reads the members of the evidence, each verified under the log's keys."""

    def __init__(self, members: Mapping[str, Json], keys: Sequence[Verifier], origin: str) -> None:
        self._members = members
        self._keys = keys
        self._origin = origin

    def checkpoints(self) -> list[Checkpoint]:
        notes = self._list("checkpoints", 2)
        return [open_checkpoint(_text(note, "checkpoints"), self._keys, self._origin) for note in notes]

    def entries(self, count: int) -> list[Proven]:
        return [self._proven(item, {"entry", "proof"}) for item in self._list("entries", count)]

    def tag(self) -> str:
        tag = self._members["tag"]
        if not isinstance(tag, str) or not tag:
            raise VerificationError("tag", "is not named")
        return tag

    def hash(self) -> bytes:
        return _hash(self._members["root"], "root")

    def proof(self) -> list[bytes]:
        value = self._members["proof"]
        if not isinstance(value, list) or len(value) > MAX_HASHES + 1:
            raise VerificationError("proof", "is not a list of hashes")
        return [_hash(item, "proof") for item in value]

    def index_count(self, tag: str) -> tuple[IndexCommitment, int]:
        """Return the commitment and how many events of the tag it counts."""
        value = self._members["index"]
        proven = self._proven(value, {"entry", "proof", "state"})
        assert isinstance(value, dict)
        commitment = IndexCommitment.parse(proven.entry, self._origin)
        state = IndexProof.parse(_text(value["state"], "index"))
        if state.tag != tag:
            raise VerificationError("index", "is about another tag")
        found = state.verify(commitment.root, self._origin)
        return commitment, 0 if found is None else found.n

    def _proven(self, value: Json, members: set[str]) -> Proven:
        if not isinstance(value, dict) or value.keys() != members:
            raise VerificationError("evidence", f"an entry has other members than {', '.join(sorted(members))}")
        entry, proof = _text(value["entry"], "entry"), _text(value["proof"], "proof")
        return Proven.verify(entry, proof, self._keys, self._origin)

    def _list(self, name: str, count: int) -> list[Json]:
        value = self._members[name]
        if not isinstance(value, list) or len(value) != count:
            raise VerificationError(name, f"are not {count}")
        return value


def _two_roots(evidence: _Evidence) -> str:
    one, other = evidence.checkpoints()
    if one.size != other.size or one.root == other.root:
        raise VerificationError("two-roots", "are not two root hashes of one size")
    return f"two logs of {one.size} entries were signed: their root hashes differ"


def _not_extended(evidence: _Evidence) -> str:
    older, newer = evidence.checkpoints()
    root = evidence.hash()
    # The newer tree proves by itself which tree of the older one's size it extends.
    verify_consistency(
        old_size=older.size, new_size=newer.size, old_root=root, new_root=newer.root, proof=evidence.proof()
    )
    if root == older.root or older.size >= newer.size:
        raise VerificationError("not-extended", "is extended as it should be")
    return f"the log of {newer.size} entries does not extend the log of {older.size} entries: history was changed"


def _two_hashes(evidence: _Evidence) -> str:
    one, other = evidence.entries(2)
    place = differing(one, other)
    if place is None:
        raise VerificationError("two-hashes", "agree wherever they speak of the same place of the tree")
    height, n = place
    if height == 0:
        return f"the log has two entries at index {n}"
    return f"the log has two histories of the entries {n << height} to {((n + 1) << height) - 1}"


def _counters(evidence: _Evidence) -> str:
    one, other = evidence.entries(2)
    tag = evidence.tag()
    why = miscounted(one.parsed, other.parsed, tag)
    if why is None:
        raise VerificationError("counters", "the entries do not contradict each other about this tag")
    return f"entries {one.parsed.index} and {other.parsed.index} contradict each other: {why}"


def _times(evidence: _Evidence) -> str:
    one, other = evidence.entries(2)
    if not (one.parsed.index < other.parsed.index and one.parsed.recorded_at > other.parsed.recorded_at):
        raise VerificationError("times", "are in order")
    return f"entry {other.parsed.index} says that it was recorded before entry {one.parsed.index}, which precedes it"


def _beyond_count(evidence: _Evidence) -> str:
    (shown,) = evidence.entries(1)
    tag = evidence.tag()
    commitment, count = evidence.index_count(tag)
    counted = [link.n for link in shown.parsed.tags if link.tag == tag]
    if not counted or shown.parsed.index >= commitment.size or counted[0] <= count:
        raise VerificationError("beyond-count", "the index may well count this entry")
    return (
        f"entry {shown.parsed.index} is event {counted[0]} of its tag, but the index over {commitment.size} entries, "
        f"this one among them, counts {count}: it was left out"
    )


_CLAIMS: Final[dict[str, tuple[set[str], Callable[[_Evidence], str]]]] = {
    "two-roots": ({"checkpoints"}, _two_roots),
    "not-extended": ({"checkpoints", "proof", "root"}, _not_extended),
    "two-hashes": ({"entries"}, _two_hashes),
    "counters": ({"entries", "tag"}, _counters),
    "times": ({"entries"}, _times),
    "beyond-count": ({"entries", "index", "tag"}, _beyond_count),
}


# --- what contradicts what ------------------------------------------------------------------------------------


def subtrees(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """Return (height, n) → hash of each complete subtree on or beside the path of a verified inclusion proof.

    A subtree is complete when all its leaves are there: its hash is the same in every later tree.
    """
    n, last, height, node = index, size - 1, 0, leaf
    found = {(0, index): leaf}
    for sibling in proof:
        # The last node of a row rises alone until it is a right child.
        while n == last and not n & 1:
            n, last, height = n >> 1, last >> 1, height + 1
        found[height, n ^ 1] = sibling
        node = node_hash(sibling, node) if n & 1 else node_hash(node, sibling)
        n, last, height = n >> 1, last >> 1, height + 1
        found[height, n] = node
    return {(height, n): node for (height, n), node in found.items() if (n + 1) << height <= size}


def differing(one: Proven, other: Proven) -> tuple[int, int] | None:
    """Return the lowest place of the tree at which the proofs of two entries have different hashes, or None."""
    these, those = one.subtrees(), other.subtrees()
    return min((place for place in these.keys() & those.keys() if these[place] != those[place]), default=None)


def miscounted(one: Entry, other: Entry, tag: str) -> str | None:
    """Return why two entries cannot both count the events of `tag` right, or None."""
    first, second = (next((link for link in entry.tags if link.tag == tag), None) for entry in (one, other))
    if first is None or second is None or one.index == other.index:
        return None
    if one.index > other.index:
        one, other, first, second = other, one, second, first
    # From here `other` is the later entry.
    if second.n <= first.n:
        return "the later one has no higher count of a tag"
    if second.n - first.n > other.index - one.index:
        return "there are not enough entries between them for the events of a tag that are counted there"
    if (second.n == first.n + 1) != (second.prev == one.index):
        return "the one does not follow the other as its previous event of a tag"
    return None


def document_of(checkpoint: bytes) -> Json:
    """Return a signed checkpoint as it stands in the evidence."""
    return checkpoint.decode()


def hash_text(digest: bytes) -> str:
    """Return a hash as it stands in the evidence."""
    return encode_base64(digest)


def _text(value: Json, step: str) -> bytes:
    if not isinstance(value, str):
        raise VerificationError(step, "is not text")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise VerificationError(step, "is not text") from None


def _hash(value: Json, step: str) -> bytes:
    if not isinstance(value, str) or len(found := decode_base64(value, step)) != 32:
        raise VerificationError(step, "is not a hash of 32 bytes")
    return found
