"""Cosignatures: what a witness says about a checkpoint, and when. c2sp.org/tlog-cosignature, the Ed25519 kind.

    — <witness name> <base64 of key id ‖ time as 8 bytes ‖ Ed25519 signature>

The signature is over two lines, `cosignature/v1` and `time <POSIX seconds>`, and the whole text of the checkpoint. It
says: at that time this was the largest consistent tree of this log that the witness had seen. Keys are written as those
of notes, with the signature type 0x04; so a log cannot pass its own signature off as a cosignature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from ledger.errors import Invalid, VerificationError
from ledger.tlog import note
from ledger.tlog.merkle import MAX_SIZE
from ledger.tlog.note import KEY_BYTES, KEY_ID_BYTES, Signer, Verifier

COSIGNATURE: Final = b"\x04"
"""Signature type of a timestamped Ed25519 cosignature. c2sp.org/signed-note, "Signature types"."""

TIME_BYTES: Final = 8
SIGNATURE_BYTES: Final = TIME_BYTES + 64

_SIGNER_PREFIX: Final = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A name and the Ed25519 public key (32 bytes) that its cosignatures are checked with. Raises Invalid."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)
    """First 4 bytes of SHA-256(name ‖ newline ‖ 0x04 ‖ public key)."""

    def __post_init__(self) -> None:
        plain = Verifier(self.name, self.public_key)
        digest = sha256(plain.name.encode() + b"\n" + COSIGNATURE + plain.public_key).digest()
        object.__setattr__(self, "key_id", digest[:KEY_ID_BYTES])

    @classmethod
    def parse(cls, encoded: str) -> WitnessKey:
        """Read `<name>+<key id>+<base64 of 0x04 ‖ key>` in its one spelling. Raises VerificationError only."""
        step = "witness key"
        name, _, rest = encoded.partition("+")
        key = note.decode_base64(rest.partition("+")[2], step)
        if key[:1] != COSIGNATURE:
            raise VerificationError(step, "not the key of a witness (type 0x04)")
        try:
            found = cls(name, key[1:])
        except Invalid as error:
            raise VerificationError(step, str(error)) from error
        if str(found) != encoded:
            raise VerificationError(step, "the key id is not the one of this name and key")
        return found

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{note.encode_base64(COSIGNATURE + self.public_key)}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a timestamped signature (72 bytes) over the text of a checkpoint. Raises VerificationError."""
        if len(signature) != SIGNATURE_BYTES:
            raise VerificationError("cosignature", f"not {SIGNATURE_BYTES} bytes")
        time_s = int.from_bytes(signature[:TIME_BYTES], "big")
        if time_s > MAX_SIZE:
            raise VerificationError("cosignature", f"a time beyond {MAX_SIZE}")
        Verifier(self.name, self.public_key).verify(_signed(message, time_s), signature[TIME_BYTES:])


class WitnessSigner:
    """A witness's name and its Ed25519 private key. Keep the key secret: `repr` and errors never show it."""

    __slots__ = ("_seed", "_signer", "key")

    def __init__(self, name: str, seed: bytes) -> None:
        """Make the key of `name` from a seed of 32 random bytes. Raises Invalid."""
        self._signer = Signer(name, seed)
        self._seed = seed
        self.key = WitnessKey(name, self._signer.verifier.public_key)

    @classmethod
    def parse(cls, encoded: str) -> WitnessSigner:
        """Read `PRIVATE+KEY+<name>+<key id>+<base64 of 0x04 ‖ seed>`, as `encode` spells it. Raises Invalid."""
        name, _, rest = encoded.removeprefix(_SIGNER_PREFIX).partition("+")
        try:
            key = note.decode_base64(rest.partition("+")[2], "witness key")
        except VerificationError as error:
            raise Invalid("witness key", error.why) from None
        if key[:1] != COSIGNATURE or len(key) != 1 + KEY_BYTES:
            raise Invalid("witness key", "the private key of a witness (type 0x04)")
        signer = cls(name, key[1:])
        if signer.encode() != encoded:
            raise Invalid("witness key", "PRIVATE+KEY+<name>+<key id of this key>+<base64>")
        return signer

    def encode(self) -> str:
        """Return the private key as text, for a file that only the witness can read."""
        return f"{_SIGNER_PREFIX}{self.key.name}+{self.key.key_id.hex()}+{note.encode_base64(COSIGNATURE + self._seed)}"

    def cosign(self, text: str, time_s: int) -> str:
        """Return the cosignature line, with its newline, of a checkpoint's text. The caller has verified the tree."""
        if not 0 <= time_s <= MAX_SIZE:
            raise Invalid("time_s", f"between 0 and {MAX_SIZE}")
        signature = time_s.to_bytes(TIME_BYTES, "big") + self._signer.sign(_signed(text.encode(), time_s))
        return note.signature_line(self.key.name, self.key.key_id, signature) + "\n"

    def __repr__(self) -> str:
        return f"WitnessSigner({self.key})"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """That `witness` had seen this tree, and none larger, at `time_s` (POSIX seconds); `line` is the signature line."""

    witness: WitnessKey
    time_s: int
    line: str


def cosignatures(signed: bytes, witnesses: Iterable[WitnessKey]) -> tuple[Cosignature, ...]:
    """Return the cosignatures of these witnesses in a signed note, in its order; none is no error.

    Those of other keys are ignored, one of a known witness that fails refuses the note. Whether the log signed it is
    for `open_checkpoint`. Raises VerificationError, and nothing else.
    """
    known = {(key.name, key.key_id): key for key in witnesses}
    text, signatures = note.signatures(signed)
    message = text.encode()
    found = []
    for name, key_id, signature, line in signatures:
        if (key := known.get((name, key_id))) is not None:
            key.verify(message, signature)
            found.append(Cosignature(key, int.from_bytes(signature[:TIME_BYTES], "big"), line))
    return tuple(found)


def with_lines(signed: bytes, lines: Iterable[str]) -> bytes:
    """Return a signed note with more signature lines (without newlines), each once. Raises VerificationError."""
    _, present = note.signatures(signed)
    there = {line for *_, line in present}
    more = "".join(f"{line}\n" for line in dict.fromkeys(lines) if line not in there)
    grown = signed + more.encode()
    note.signatures(grown)
    return grown


def _signed(text: bytes, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + text
