"""Log proofs: one file that shows, offline, that an entry is in the log. c2sp.org/tlog-proof.

    c2sp.org/tlog-proof@v1
    [extra <base64>]
    index <decimal>
    [<hash, base64>]…           the inclusion proof, the leaf's sibling first
                                a blank line
    <checkpoint, as signed>

A receipt is such a proof beside the bytes of the entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.errors import Invalid, VerificationError
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, parse_number
from ledger.tlog.merkle import HASH_BYTES, MAX_SIZE, leaf_hash, verify_inclusion
from ledger.tlog.note import MAX_NOTE_BYTES, Verifier, decode_base64, encode_base64

HEADER: Final = "c2sp.org/tlog-proof@v1"

MAX_HASHES: Final = 63
"""Longest path in a tree of MAX_SIZE leaves: its height."""

MAX_EXTRA_BYTES: Final = 65_535
"""Most bytes of extra data. Our choice, the specification sets none: as many as the longest entry of a bundle."""

MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 100_000
"""Most bytes of a proof that is read: the longest checkpoint, the longest extra data (87,380 bytes in base64) and the
longest path (2,835 bytes)."""


@dataclass(frozen=True, slots=True)
class LogProof:
    """That the entry number `index` is in the log, under a signed checkpoint. A claim, until `verify` returns."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, byte for byte as the log issued it."""
    extra: bytes = b""
    """Opaque and not authenticated: never trust it. Empty means none."""

    def encode(self) -> bytes:
        """Return the file. Raises Invalid for what could not be read back."""
        if not 0 <= self.index < MAX_SIZE:
            raise Invalid("index", f"between 0 and {MAX_SIZE - 1}")
        if len(self.hashes) > MAX_HASHES or any(len(item) != HASH_BYTES for item in self.hashes):
            raise Invalid("hashes", f"at most {MAX_HASHES} of {HASH_BYTES} bytes")
        if not 0 < len(self.checkpoint) <= MAX_NOTE_BYTES:
            raise Invalid("checkpoint", f"between 1 and {MAX_NOTE_BYTES} bytes")
        if len(self.extra) > MAX_EXTRA_BYTES:
            raise Invalid("extra", f"at most {MAX_EXTRA_BYTES} bytes")
        extra = [f"extra {encode_base64(self.extra)}"] if self.extra else []
        lines = [HEADER, *extra, f"index {self.index}", *map(encode_base64, self.hashes)]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> LogProof:
        """Read the file. The checkpoint is taken as it stands; `verify` opens it. Raises VerificationError only."""
        step = "log proof"
        if len(data) > MAX_PROOF_BYTES:
            raise VerificationError(step, f"longer than {MAX_PROOF_BYTES} bytes")
        head, blank, checkpoint = data.partition(b"\n\n")
        if not blank or not 0 < len(checkpoint) <= MAX_NOTE_BYTES:
            raise VerificationError(step, "no checkpoint after a blank line")
        try:
            header, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise VerificationError(step, "not ASCII before the checkpoint") from error
        if header != HEADER:
            raise VerificationError(step, f"does not begin with {HEADER}")
        extra = b""
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "), step)
            # No extra data is written as no line, so that a proof has one spelling.
            if not 0 < len(extra) <= MAX_EXTRA_BYTES:
                raise VerificationError(step, f"extra data is not between 1 and {MAX_EXTRA_BYTES} bytes")
        if not lines or not lines[0].startswith("index "):
            raise VerificationError(step, "no index line")
        index = parse_number(lines.pop(0).removeprefix("index "), step)
        if index >= MAX_SIZE or len(lines) > MAX_HASHES:
            raise VerificationError(step, "an index or a path that no tree has")
        hashes = tuple(decode_base64(line, step) for line in lines)
        if any(len(item) != HASH_BYTES for item in hashes):
            raise VerificationError(step, f"a hash that is not {HASH_BYTES} bytes")
        return cls(index, hashes, checkpoint, extra)

    def verify(self, entry: bytes, verifiers: Verifier | Iterable[Verifier], origin: str) -> Checkpoint:
        """Return the checkpoint, once `entry` is known to be number `index` of the log `origin` under it.

        Needs nothing but the log's key. Raises VerificationError, and nothing else.
        """
        # (1) The checkpoint is signed by the log and is of this log.
        checkpoint = open_checkpoint(self.checkpoint, verifiers, origin)

        # (2) The entry, hashed as a leaf, leads to the signed root along the path of its index.
        verify_inclusion(
            index=self.index, size=checkpoint.size, leaf=leaf_hash(entry), proof=self.hashes, root=checkpoint.root
        )
        return checkpoint
