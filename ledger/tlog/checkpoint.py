"""Checkpoints: what a log signs about itself, its size and root. c2sp.org/tlog-checkpoint.

    <origin>
    <tree size, decimal>
    <root hash, base64>
    [<extension line>]…

Our log's origin is also the name of its key, and it writes no extension lines; those of others are read and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.errors import Invalid, VerificationError
from ledger.tlog import note
from ledger.tlog.merkle import HASH_BYTES, MAX_SIZE
from ledger.tlog.note import Signer, Verifier

_NUMBER: Final = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)
"""Decimal without leading zeros, with no more digits than MAX_SIZE has."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of a log at one moment: `size` leaves under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Lines of other logs, opaque. Ours writes none: nobody can audit them."""

    def encode(self) -> str:
        """Return the note text. Raises Invalid for what could not be read back."""
        if not 0 <= self.size <= MAX_SIZE:
            raise Invalid("size", f"between 0 and {MAX_SIZE}")
        if len(self.root) != HASH_BYTES:
            raise Invalid("root", f"{HASH_BYTES} bytes")
        for field, line in (("origin", self.origin), *(("extensions", line) for line in self.extensions)):
            if not line or "\n" in line:
                raise Invalid(field, "one line each, and not empty")
        lines = (self.origin, str(self.size), note.encode_base64(self.root), *self.extensions)
        text = "".join(f"{line}\n" for line in lines)
        if not note.is_text(text):
            raise Invalid("origin", "without control characters")
        return text

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note text; says nothing about who signed it. Raises VerificationError only."""
        step = "checkpoint"
        if not note.is_text(text):
            raise VerificationError(step, "not lines of text")
        lines = text.split("\n")
        lines.pop()
        if len(lines) < 3 or "" in lines:
            raise VerificationError(step, "not three lines or more, none of them empty")
        origin, size, root64, *extensions = lines
        root = note.decode_base64(root64, step)
        if len(root) != HASH_BYTES:
            raise VerificationError(step, f"the root hash is not {HASH_BYTES} bytes")
        return cls(origin, parse_number(size, step), root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """Return the signed note of a checkpoint of our log. Several signers overlap while a key is replaced.

    The caller makes sure that it extends every checkpoint signed before. Raises Invalid when a signer is not named
    for the origin, or the checkpoint has extension lines.
    """
    if any(signer.name != checkpoint.origin for signer in signers):
        raise Invalid("signers", "named for the origin of the log")
    if checkpoint.extensions:
        raise Invalid("extensions", "none in a checkpoint of ours")
    return note.sign(checkpoint.encode(), *signers)


def open_checkpoint(signed: bytes, verifiers: Verifier | Iterable[Verifier], origin: str) -> Checkpoint:
    """Return the checkpoint in a signed note, once it is known to be of the log `origin` and signed by it.

    `verifiers` may hold other known keys (witnesses) too: their signatures must hold when present, and never stand in
    for the log's own. Raises VerificationError, and nothing else.
    """
    # (1) The note is well formed, every signature of a known key holds, and there is one.
    known = (verifiers,) if isinstance(verifiers, Verifier) else verifiers
    opened = note.open_note(signed, known)

    # (2) The log itself signed it: the key is named for the origin.
    if origin not in opened.verified:
        raise VerificationError("signature", f"not signed by {origin}")

    # (3) The text is a checkpoint, of this log and no other.
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin != origin:
        raise VerificationError("origin", f"a checkpoint of another log than {origin}")
    return checkpoint


def claimed_size(signed: bytes) -> int:
    """Return the size that a signed note states, whoever signed it: a claim. Raises VerificationError only."""
    return Checkpoint.parse(note.text_of(signed)).size


def parse_number(digits: str, step: str) -> int:
    """Read a decimal without leading zeros, up to MAX_SIZE. Raises VerificationError(step, …)."""
    if not _NUMBER.fullmatch(digits) or (number := int(digits)) > MAX_SIZE:
        raise VerificationError(step, f"not a decimal number up to {MAX_SIZE} without leading zeros")
    return number
