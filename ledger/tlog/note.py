"""Signed notes: a text with the signatures of one or more keys. c2sp.org/signed-note, with Ed25519 keys only.

Keys are written as golang.org/x/mod/sumdb/note writes them, so its tools can read ours:

    verifier   <name>+<key id, 8 hex digits>+<base64 of 0x01 ‖ public key>
    signer     PRIVATE+KEY+<name>+<key id, 8 hex digits>+<base64 of 0x01 ‖ seed>

Making a key or a note from wrong input raises Invalid; reading a verifier or a note raises VerificationError only.
"""

from __future__ import annotations

import base64
import re
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import Invalid, VerificationError

MAX_NOTE_BYTES: Final = 1_000_000
"""Most bytes of a note that is read. Our choice: the specification asks for some limit, and 100 post-quantum
signatures of nearly 5 kB (6.7 kB in base64) fit under it."""

MAX_SIGNATURES: Final = 100
"""Most signatures of a note that is read: as in golang.org/x/mod/sumdb/note. c2sp.org/signed-note: at least 16."""

KEY_BYTES: Final = 32
"""Bytes of an Ed25519 public key, and of the seed of a private one. RFC 8032 §5.1.5."""

KEY_ID_BYTES: Final = 4
ED25519: Final = b"\x01"
"""Signature type of plain Ed25519. c2sp.org/signed-note, "Signature types"."""

_SIGNATURE_PREFIX: Final = "— "
_SIGNER_PREFIX: Final = "PRIVATE+KEY+"

_NOT_TEXT: Final = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")
"""Control characters below U+0020 other than newline, and what UTF-8 cannot write."""

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
"""No Unicode space, no "+", nothing that a text may not hold."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A name and the Ed25519 public key (32 bytes) that its notes are checked with. Raises Invalid."""

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)
    """First 4 bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ public key): says which key to try, proves nothing."""

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise Invalid("name", "not empty, and without spaces, control characters and +")
        if len(self.public_key) != KEY_BYTES:
            raise Invalid("public_key", f"{KEY_BYTES} bytes")
        digest = sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()
        object.__setattr__(self, "key_id", digest[:KEY_ID_BYTES])

    @classmethod
    def parse(cls, encoded: str) -> Verifier:
        """Read `<name>+<key id>+<base64 key>`, in the one spelling that `str()` gives. Raises VerificationError."""
        step = "verifier key"
        name, _, rest = encoded.partition("+")
        _, _, key64 = rest.partition("+")
        key = decode_base64(key64, step)
        if key[:1] != ED25519:
            raise VerificationError(step, "not an Ed25519 key")
        try:
            verifier = cls(name, key[1:])
        except Invalid as error:
            raise VerificationError(step, str(error)) from error
        if str(verifier) != encoded:
            raise VerificationError(step, "the key id is not the one of this name and key")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(ED25519 + self.public_key)}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check an Ed25519 signature (64 bytes) over `message`. Raises VerificationError."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise VerificationError("signature", f"does not match key {self.name}+{self.key_id.hex()}") from error


class Signer:
    """A name and its Ed25519 private key. Keep the key secret: `repr` and errors never show it."""

    __slots__ = ("_key", "_seed", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        """Make the key of `name` from a seed of 32 random bytes. Raises Invalid."""
        if len(seed) != KEY_BYTES:
            raise Invalid("seed", f"{KEY_BYTES} bytes")
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, encoded: str) -> Signer:
        """Read `PRIVATE+KEY+<name>+<key id>+<base64 key>`, in the one spelling of `encode`. Raises Invalid."""
        name, _, rest = encoded.removeprefix(_SIGNER_PREFIX).partition("+")
        try:
            key = decode_base64(rest.partition("+")[2], "signer key")
        except VerificationError as error:
            raise Invalid("signer key", error.why) from None
        if key[:1] != ED25519:
            raise Invalid("signer key", "an Ed25519 key")
        signer = cls(name, key[1:])
        if signer.encode() != encoded:
            raise Invalid("signer key", "PRIVATE+KEY+<name>+<key id of this key>+<base64>")
        return signer

    def encode(self) -> str:
        """Return the private key as text, for a file that only the signer can read."""
        key_id = self.verifier.key_id.hex()
        return f"{_SIGNER_PREFIX}{self.name}+{key_id}+{encode_base64(ED25519 + self._seed)}"

    @property
    def name(self) -> str:
        return self.verifier.name

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) over `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"Signer({self.verifier})"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that at least one known key has signed."""

    text: str
    """With its last newline, without the blank line before the signatures."""
    verified: tuple[str, ...]
    """Names whose known keys signed the text, in the order of the note, each once."""
    unverified: tuple[str, ...]
    """Signature lines of keys that are not known, without newlines. They say nothing."""


def sign(text: str, *signers: Signer) -> bytes:
    """Return the note of `text` with one signature for each signer, in their order.

    Raises Invalid unless the text ends in a newline, has no other control character below U+0020 and is UTF-8,
    and the signers are at least one and all different.
    """
    if not is_text(text):
        raise Invalid("text", "ends in a newline, and holds no other control character")
    if not signers or len({signer.verifier for signer in signers}) != len(signers):
        raise Invalid("signers", "at least one, and each once")
    message = text.encode()
    lines = [signature_line(signer.name, signer.verifier.key_id, signer.sign(message)) for signer in signers]
    return message + b"\n" + "".join(f"{line}\n" for line in lines).encode()


def signature_line(name: str, key_id: bytes, signature: bytes) -> str:
    """Return a signature line, without its newline."""
    return f"{_SIGNATURE_PREFIX}{name} {encode_base64(key_id + signature)}"


def signatures(note: bytes) -> tuple[str, list[tuple[str, bytes, bytes, str]]]:
    """Return the text of a note and (key name, key id, signature, line) of each signature; nothing is verified.

    Raises VerificationError, and nothing else.
    """
    text, lines = _split(note)
    return text, [(*_parse_signature(line), line) for line in lines]


def open_note(note: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Return the text of `note` once its signatures have been checked with the known keys, `verifiers`.

    Signatures of other keys are ignored; a signature of a known key that fails refuses the whole note.
    Raises VerificationError, and nothing else. c2sp.org/signed-note, "Format" and "Signatures".
    """
    # (1) Text and signatures are separated by the last blank line; both are clean UTF-8.
    text, lines = _split(note)

    # (2) A name and key id find at most one known key.
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise VerificationError("signature", f"two known keys share {verifier.name}+{verifier.key_id.hex()}")

    # (3) Every signature of a known key holds, also when the key signed twice.
    verified: dict[str, None] = {}
    unverified: dict[str, None] = {}
    message = text.encode()
    for line in lines:
        name, key_id, signature = _parse_signature(line)
        if (key := known.get((name, key_id))) is None:
            unverified[line] = None
        else:
            key.verify(message, signature)
            verified[name] = None

    # (4) At least one known key signed.
    if not verified:
        raise VerificationError("signature", "no known key signed this note")
    return Note(text, tuple(verified), tuple(unverified))


def text_of(note: bytes) -> str:
    """Return the text of a note, with its last newline, whoever signed it: a claim. Raises VerificationError only."""
    return _split(note)[0]


def _split(note: bytes) -> tuple[str, list[str]]:
    """Return the text of a note, with its last newline, and its signature lines, without newlines."""
    if len(note) > MAX_NOTE_BYTES:
        raise VerificationError("note", f"longer than {MAX_NOTE_BYTES} bytes")
    try:
        decoded = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError("note", "not UTF-8") from error
    if _NOT_TEXT.search(decoded):
        raise VerificationError("note", "a control character other than newline")
    text, blank, signatures = decoded.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise VerificationError("note", "no signature lines after a blank line")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise VerificationError("note", f"more than {MAX_SIGNATURES} signatures")
    return text + "\n", lines


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    """Return the key name, the key id and the signature bytes of a signature line."""
    name, _, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or not is_name(name):
        raise VerificationError("note", "not a signature line")
    data = decode_base64(encoded, "note")
    if len(data) <= KEY_ID_BYTES:
        raise VerificationError("note", "a signature without bytes")
    return name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:]


def is_name(name: str) -> bool:
    """Say whether this can name a key: not empty, no Unicode space, no "+", no control character, UTF-8."""
    return _NAME.fullmatch(name) is not None


def is_text(text: str) -> bool:
    """Say whether this may be signed: ends in a newline, no other control character below U+0020, UTF-8."""
    return text.endswith("\n") and not _NOT_TEXT.search(text)


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding. RFC 4648 §4."""
    return b2a_base64(data, newline=False).decode("ascii")


def decode_base64(encoded: str, step: str) -> bytes:
    """Return the bytes of `encoded`, which must be the one spelling that `encode_base64` gives them.

    Raises VerificationError(step, …). RFC 4648 §3.5: other spellings of the last bits would let a note be altered.
    """
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise VerificationError(step, "not base64") from error
    if encode_base64(data) != encoded:
        raise VerificationError(step, "not the canonical base64 of its bytes")
    return data
