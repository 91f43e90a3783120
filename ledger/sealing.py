"""Personal fields: a salted commitment stays in the entry, the value is sealed outside it.

    commitment = SHA256("prooftrail/field/v1" ‖ 0x00 ‖ salt[16] ‖ field name ‖ 0x00 ‖ value)

The salt is random, so the commitment of an erased value says nothing about it. The box of (event, key) is
AES-256-GCM of {field: [salt, value]} under the data key, bound to ledger, event and key by its associated data: a
box moved to another event or subject does not open. `formats.md`, "Field commitment and sealed value".
"""

from __future__ import annotations

import hashlib
import os
from binascii import b2a_base64
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import canonical
from ledger.errors import Tampered
from ledger.vocabulary import EventId, KeyId

SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
_DOMAIN: Final = b"prooftrail/field/v1\x00"
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")

Random = Callable[[int], bytes]


class SealedField(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A field as it lies in its box: the salt, and the value's bytes (canonical JSON, or raw when `raw`)."""

    salt: bytes
    value: bytes
    raw: bool

    def plain(self) -> Any:
        """Return the value as it was recorded: bytes, or a JSON value."""
        return self.value if self.raw else msgspec.json.decode(self.value)


class Box(msgspec.Struct, frozen=True, gc=False):
    """A sealed row: which key it is under, and nonce ‖ ciphertext."""

    key_id: KeyId
    bytes: bytes


_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(dict[str, SealedField])


def commitment(salt: bytes, name: str, value: bytes) -> bytes:
    """Return the 32-byte commitment of a field."""
    return hashlib.sha256(b"%b%b%b\x00%b" % (_DOMAIN, salt, name.encode(), value)).digest()


def encode_digest(digest: bytes) -> str:
    """Return 32 bytes as base64url without padding, as they stand in an entry."""
    return b2a_base64(digest, newline=False).translate(_URL_SAFE, b"=").decode()


def seal(
    values: Mapping[str, Any], *, ledger: str, event_id: EventId, key_id: KeyId, key: bytes, random: Random = os.urandom
) -> tuple[dict[str, str], Box]:
    """Return the commitments by field name, and the box that holds salts and values.

    A value of type bytes is taken raw; any other as canonical JSON. Raises Invalid for what JSON cannot hold.
    """
    salts = random(SALT_BYTES * len(values) + NONCE_BYTES)
    nonce = salts[-NONCE_BYTES:]
    fields: dict[str, SealedField] = {}
    commitments: dict[str, str] = {}
    for i, (name, value) in enumerate(values.items()):
        salt = salts[SALT_BYTES * i : SALT_BYTES * (i + 1)]
        raw = isinstance(value, bytes)
        data = value if raw else canonical.encode(value, name, nested_names=False)
        fields[name] = SealedField(salt, data, raw)
        commitments[name] = encode_digest(commitment(salt, name, data))
    box = nonce + AESGCM(key).encrypt(nonce, _packer.encode(fields), _associated(ledger, event_id, key_id))
    return commitments, Box(key_id, box)


def open_box(
    box: Box,
    commitments: Mapping[str, str],
    *,
    ledger: str,
    event_id: EventId,
    key: bytes,
    only: Collection[str] | None = None,
) -> dict[str, SealedField]:
    """Return the fields of a box, or those in `only`, each matching its commitment in the entry.

    Raises Tampered when the box does not open here, or holds a value that is not the one committed to.
    """
    step = f"sealed value of event {event_id}"
    nonce, sealed = box.bytes[:NONCE_BYTES], box.bytes[NONCE_BYTES:]
    try:
        packed = AESGCM(key).decrypt(nonce, sealed, _associated(ledger, event_id, box.key_id))
        fields = _unpacker.decode(packed)
    except (InvalidTag, ValueError):
        raise Tampered(step, "does not open under its key for this event") from None
    if only is not None:
        fields = {name: field for name, field in fields.items() if name in only}
    for name, field in fields.items():
        # Compared as text: a commitment has one spelling, so another one never matches. It is public: no secret is
        # told by how long this takes.
        if commitments.get(name) != encode_digest(commitment(field.salt, name, field.value)):
            raise Tampered(step, f"field {name} does not match its commitment")
    return fields


def _associated(ledger: str, event_id: EventId, key_id: KeyId) -> bytes:
    # Ids have a fixed length, so the plain concatenation has one reading.
    return f"{ledger}{event_id}{key_id}".encode()
