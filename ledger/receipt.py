"""The receipt: what the recorder of a fact keeps, and which proves itself with nothing but the log's public key."""

from __future__ import annotations

import msgspec

from ledger.errors import VerificationError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Verifier
from ledger.tlog.proof import LogProof


class Receipt(msgspec.Struct, frozen=True):
    """The entries that one command recorded, each with its proof under one signed checkpoint.

    `proofs` are C2SP tlog-proof files, in the order of `entries`; the checkpoint stands in each. Asking again with the
    same idempotency key gives the same receipt, byte for byte.
    """

    first: int
    entries: tuple[bytes, ...]
    proofs: tuple[bytes, ...]

    @property
    def index(self) -> int:
        """The index of the first entry."""
        return self.first

    @property
    def position(self) -> int:
        """The position to wait for, to read what this receipt is for."""
        return self.first + len(self.entries)

    def verify(self, verifier: Verifier, origin: str) -> Checkpoint:
        """Return the checkpoint, once every entry is proven under it. Raises VerificationError. Works offline."""
        proofs = [LogProof.parse(proof) for proof in self.proofs]
        indexes = [proof.index for proof in proofs]
        if not self.entries or indexes != list(range(self.first, self.position)):
            raise VerificationError("receipt", "does not hold one proof for each entry, in their order")
        found = [proof.verify(entry, verifier, origin) for proof, entry in zip(proofs, self.entries, strict=True)]
        return found[0]
