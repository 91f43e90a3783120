"""The tag proof: that these are ALL the events with a tag up to a moment, or that there is NONE. Verifies offline.

It holds the entries themselves; an `index-committed` entry of the log with its inclusion under a signed checkpoint; and
what that index says about the tag: how many events, and the head that their leaf hashes lead to. So one signature
covers that nothing is left out. docs/spec/tag-index.md, "Completeness, absence, as of".

What it does not show: what was recorded at or after the index entry, and what was never recorded at all.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ledger import canonical
from ledger.entry import MAX_ENTRY_BYTES, parse, parse_moment
from ledger.errors import Tampered, VerificationError
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.index import IndexCommitment, IndexProof, replay
from ledger.tlog.merkle import leaf_hash, verify_consistency
from ledger.tlog.note import Verifier
from ledger.tlog.proof import LogProof


class Cut(msgspec.Struct, frozen=True):
    """Where a history is cut for a past moment: the last checkpoint at or before it, which the later one extends.

    `as_of` is the moment as it would stand in an entry; `consistency` is the proof from this checkpoint to that of
    the tag proof (RFC 6962 §2.1.2).
    """

    as_of: str
    checkpoint: bytes
    consistency: tuple[bytes, ...]


class TagHistory(msgspec.Struct, frozen=True):
    """What a tag proof proves: of all entries before index `size`, exactly `count` carry the tag, the ones shown.

    With a cut, exactly the first `count_then` of them were recorded by `as_of`, in a log of `size_then` entries.
    """

    tag: str
    checkpoint: Checkpoint
    commitment: IndexCommitment
    count: int
    as_of: str | None = None
    size_then: int = 0
    count_then: int = 0

    @property
    def size(self) -> int:
        return self.commitment.size


class TagProof(msgspec.Struct, frozen=True):
    """All events with a tag (or none), proven complete. A claim, until `verify` returns.

    `entries` in order; `index_entry` the entry that commits to the index; `inclusion` its tlog-proof, which holds the
    checkpoint; `index_proof` the file of an IndexProof.
    """

    tag: str
    entries: tuple[bytes, ...]
    index_entry: bytes
    inclusion: bytes
    index_proof: bytes
    cut: Cut | None = None

    def size_bytes(self) -> int:
        """Return the bytes of the proof beside the entries that it is about."""
        cut = 0 if self.cut is None else len(self.cut.checkpoint) + 32 * len(self.cut.consistency)
        return len(self.index_entry) + len(self.inclusion) + len(self.index_proof) + cut

    def verify(self, verifiers: Verifier | Iterable[Verifier], origin: str) -> TagHistory:
        """Return what is proven about the tag in the log `origin`.

        Needs nothing but the log's key. Raises VerificationError, and nothing else.
        """
        known = (verifiers,) if isinstance(verifiers, Verifier) else tuple(verifiers)

        # (1) The log holds the index entry, under a checkpoint that it signed.
        inclusion = LogProof.parse(self.inclusion)
        checkpoint = inclusion.verify(self.index_entry, known, origin)

        # (2) That entry commits to the index over all entries before it.
        commitment = IndexCommitment.parse(self.index_entry, origin)
        if commitment.size != inclusion.index:
            raise VerificationError("index entry", "stands at another index than it says")

        # (3) The index says how many events the tag has, and their head; or that it has none.
        proof = IndexProof.parse(self.index_proof)
        if proof.tag != self.tag:
            raise VerificationError("index proof", "is about another tag")
        state = proof.verify(commitment.root, origin)

        # (4) The entries are so many, each the next event of the tag, and lead to that head.
        count = 0 if state is None else state.n
        if len(self.entries) != count:
            raise VerificationError("entries", f"{len(self.entries)} are shown, the index counts {count}")
        places = self._places(commitment, origin)
        if state is not None and replay(map(leaf_hash, self.entries)) != state.head:
            raise VerificationError("entries", "are not the ones that the index counts")

        # (5) The cut is where the log stood at that moment.
        history = TagHistory(self.tag, checkpoint, commitment, count)
        return history if self.cut is None else self._verify_cut(self.cut, history, places, known, origin)

    def _places(self, commitment: IndexCommitment, origin: str) -> list[tuple[int, str]]:
        """Return (index, recorded_at) of each entry, once each says that it is the next event of the tag."""
        places: list[tuple[int, str]] = []
        previous: int | None = None
        moment = ""
        for n, data in enumerate(self.entries, 1):
            step = f"entry {n} of {len(self.entries)}"
            if len(data) > MAX_ENTRY_BYTES:
                raise VerificationError(step, f"is larger than {MAX_ENTRY_BYTES} bytes")
            canonical.decode(data, step)
            try:
                entry = parse(data)
                parse_moment(entry.recorded_at)
            except Tampered as error:
                raise VerificationError(step, error.why) from None
            if (entry.ledger, entry.v) != (origin, 1) or not 0 <= entry.index < commitment.size:
                raise VerificationError(step, "is of another ledger, or not before the index entry")
            if [(link.n, link.prev) for link in entry.tags if link.tag == self.tag] != [(n, previous)]:
                raise VerificationError(step, "does not say that it is the next event of the tag")
            if (previous is not None and entry.index <= previous) or entry.recorded_at < moment:
                raise VerificationError(step, "was recorded before the one before it")
            previous, moment = entry.index, entry.recorded_at
            places.append((previous, moment))
        if moment > commitment.recorded_at:
            raise VerificationError("index entry", "was recorded before an entry that it covers")
        return places

    def _verify_cut(
        self,
        cut: Cut,
        history: TagHistory,
        places: list[tuple[int, str]],
        known: tuple[Verifier, ...],
        origin: str,
    ) -> TagHistory:
        step = "as of"
        try:
            parse_moment(cut.as_of)
        except Tampered as error:
            raise VerificationError(step, error.why) from None
        then, now = open_checkpoint(cut.checkpoint, known, origin), history.checkpoint
        verify_consistency(
            old_size=then.size, new_size=now.size, old_root=then.root, new_root=now.root, proof=cut.consistency
        )
        # The index entry came after the moment, so it covers everything that was recorded by then.
        if not 0 < then.size <= history.size or history.commitment.recorded_at <= cut.as_of:
            raise VerificationError(step, "the index does not cover everything that was recorded by then")
        for index, moment in places:
            if (index < then.size) != (moment <= cut.as_of):
                raise VerificationError(step, f"entry {index} is on the wrong side of the cut")
        return msgspec.structs.replace(
            history,
            as_of=cut.as_of,
            size_then=then.size,
            count_then=sum(index < then.size for index, _ in places),
        )
