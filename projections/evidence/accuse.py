"""Finding a contradiction among what somebody kept: receipts, packages, checkpoints, and the log as published now.

Everything is verified under the log's keys before it counts: what the log did not sign proves nothing against it. What
a contradiction is, and the file that shows one, is in `ledger.accusation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ledger.accusation import Accusation, Proven, differing, document_of, hash_text, miscounted
from ledger.canonical import Json
from ledger.errors import VerificationError
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.index import IndexCommitment, IndexProof
from ledger.tlog.note import Verifier
from ledger.tlog.proof import HEADER
from ledger.tlog.tiles import TileReader
from projections.evidence import verify


@dataclass
class Kept:
    """What was kept of one log, verified: its checkpoints, its proven entries, and what its tag index said."""

    keys: Sequence[Verifier]
    checkpoints: list[tuple[Checkpoint, bytes]] = field(default_factory=list)
    entries: list[Proven] = field(default_factory=list)
    states: list[tuple[Proven, IndexProof]] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.keys[0].name

    def add_checkpoint(self, note: bytes) -> None:
        """Take a signed checkpoint. Raises VerificationError."""
        found = open_checkpoint(note, self.keys, self.origin)
        if all(known != found for known, _ in self.checkpoints):
            self.checkpoints.append((found, note))

    def add_entry(self, entry: bytes, proof: bytes) -> Proven:
        """Take an entry with its tlog-proof, which is what a receipt is. Raises VerificationError."""
        proven = Proven.verify(entry, proof, self.keys, self.origin)
        self.entries.append(proven)
        self.add_checkpoint(proven.proof.checkpoint)
        return proven

    def add_state(self, index_entry: bytes, proof: bytes, state: bytes) -> None:
        """Take what the tag index said about a tag: an `index-committed` entry, proven, and the index proof."""
        proven = self.add_entry(index_entry, proof)
        found = IndexProof.parse(state)
        found.verify(IndexCommitment.parse(index_entry, self.origin).root, self.origin)
        self.states.append((proven, found))

    def add_package(self, package: bytes) -> None:
        """Take the checkpoint and the proven entries of an evidence package. Raises VerificationError."""
        try:
            members = verify.read_package(package)
        except verify.Failed as failed:
            raise VerificationError("package", failed.why) from None
        if "checkpoint" not in members or "entries.jsonl" not in members:
            raise VerificationError("package", "has no checkpoint or no entries")
        self.add_checkpoint(members["checkpoint"])
        lines = members["entries.jsonl"].split(b"\n")[:-1]
        names = sorted(
            (name for name in members if name.startswith("proofs/")), key=lambda name: verify.member_order(name)
        )
        if len(lines) != len(names):
            raise VerificationError("package", "has not one proof for each entry")
        for line, name in zip(lines, names, strict=True):
            self.add_entry(line, members[name])
        if "index/entry.json" in members:
            try:
                index = [members[f"index/{name}"] for name in ("entry.json", "entry.tlog-proof", "proof.json")]
            except KeyError as error:
                raise VerificationError("package", f"{error.args[0]} is missing") from None
            self.add_state(*index)
        for name, note in members.items():
            if name.endswith("/checkpoint") or name.endswith(".checkpoint"):
                self.add_checkpoint(note)


def kind_of(data: bytes) -> str:
    """Return what a kept file is: package, receipt (its proof), entry, or checkpoint."""
    if data.startswith(b"PK"):
        return "package"
    if data.startswith(HEADER.encode()):
        return "receipt"
    return "entry" if data.startswith(b"{") else "checkpoint"


def find_contradiction(kept: Kept, published: tuple[TileReader, bytes] | None = None) -> Accusation | None:
    """Return the accusation that can be made of what was kept, and of the log as published; None when it agrees.

    `published` is a reader of the tree of a signed checkpoint, and that note. What comes back was verified as a
    stranger will verify it. Raises VerificationError for published files that are not under their checkpoint.
    """
    if published is not None:
        kept.add_checkpoint(published[1])
    found = (
        _two_roots(kept)
        or (_not_extended(kept, *published) if published is not None else None)
        or _two_hashes(kept)
        or _counters(kept)
        or _beyond_count(kept)
        or _times(kept)
    )
    if found is not None:
        Accusation.parse(found.encode()).verify(kept.keys)
    return found


def _two_roots(kept: Kept) -> Accusation | None:
    known: dict[int, tuple[Checkpoint, bytes]] = {}
    for checkpoint, note in kept.checkpoints:
        other, before = known.setdefault(checkpoint.size, (checkpoint, note))
        if other.root != checkpoint.root:
            notes = [document_of(before), document_of(note)]
            return Accusation(kept.origin, "two-roots", {"checkpoints": notes})
    return None


def _not_extended(kept: Kept, tiles: TileReader, note: bytes) -> Accusation | None:
    for checkpoint, before in kept.checkpoints:
        if not 0 < checkpoint.size < tiles.size:
            continue
        root = merkle.root(checkpoint.size, tiles.hash)
        if root != checkpoint.root:
            proof = merkle.consistency_proof(checkpoint.size, tiles.size, tiles.hash)
            return Accusation(
                kept.origin,
                "not-extended",
                {
                    "checkpoints": [document_of(before), document_of(note)],
                    "root": hash_text(root),
                    "proof": [hash_text(item) for item in proof],
                },
            )
    return None


def _two_hashes(kept: Kept) -> Accusation | None:
    known: dict[tuple[int, int], tuple[bytes, Proven]] = {}
    for proven in kept.entries:
        for place, digest in proven.subtrees().items():
            before, other = known.setdefault(place, (digest, proven))
            if before != digest and differing(other, proven) is not None:
                return Accusation(kept.origin, "two-hashes", {"entries": [other.document(), proven.document()]})
    return None


def _counters(kept: Kept) -> Accusation | None:
    by_tag: dict[str, list[Proven]] = {}
    for proven in sorted(kept.entries, key=lambda one: one.parsed.index):
        for link in proven.parsed.tags:
            by_tag.setdefault(link.tag, []).append(proven)
    for tag, entries in by_tag.items():
        # Neighbours suffice: what agrees with its neighbours on both sides agrees with all.
        for one, other in pairwise(entries):
            if miscounted(one.parsed, other.parsed, tag) is not None:
                pair: list[Json] = [one.document(), other.document()]
                return Accusation(kept.origin, "counters", {"entries": pair, "tag": tag})
    return None


def _beyond_count(kept: Kept) -> Accusation | None:
    for committed, state in kept.states:
        count = state.end.n if state.end is not None and state.end_key is None else 0
        for proven in kept.entries:
            if proven.parsed.index >= committed.parsed.index:
                continue
            if any(link.tag == state.tag and link.n > count for link in proven.parsed.tags):
                index: Json = {**committed.document(), "state": state.encode().decode()}
                evidence: dict[str, Json] = {"entries": [proven.document()], "index": index, "tag": state.tag}
                return Accusation(kept.origin, "beyond-count", evidence)
    return None


def _times(kept: Kept) -> Accusation | None:
    ordered = sorted(kept.entries, key=lambda one: one.parsed.index)
    for one, other in pairwise(ordered):
        if one.parsed.index < other.parsed.index and one.parsed.recorded_at > other.parsed.recorded_at:
            return Accusation(kept.origin, "times", {"entries": [one.document(), other.document()]})
    return None
