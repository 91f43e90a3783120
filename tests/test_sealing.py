"""Sealing: what is committed to is what opens, and only there."""

from __future__ import annotations

import itertools
from base64 import urlsafe_b64decode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.errors import Invalid, Tampered
from ledger.sealing import (
    NONCE_BYTES,
    SALT_BYTES,
    Box,
    SealedField,
    commitment,
    encode_digest,
    open_box,
    seal,
)
from ledger.vocabulary import EventId, KeyId
from tests.bench import ORIGIN, an_id

EVENT, OTHER_EVENT = EventId(an_id("event")), EventId(an_id("other event"))
KEY_ID, OTHER_KEY_ID = KeyId(an_id("key")), KeyId(an_id("other key"))
KEY, OTHER_KEY = sha256(b"key").digest(), sha256(b"other key").digest()

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
VALUES = (
    TEXT | st.binary() | st.integers(-(2**53) + 1, 2**53 - 1) | st.lists(TEXT) | st.dictionaries(st.just("a"), TEXT)
)


def sealed(values: dict[str, Any]) -> tuple[dict[str, str], Box]:
    return seal(values, ledger=ORIGIN, event_id=EVENT, key_id=KEY_ID, key=KEY)


def opened(box: Box, commitments: dict[str, str], **instead: Any) -> dict[str, SealedField]:
    options: dict[str, Any] = {"ledger": ORIGIN, "event_id": EVENT, "key": KEY} | instead
    return open_box(box, commitments, **options)


@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=6))
def test_what_is_sealed_opens_to_the_same_values(values: dict[str, Any]) -> None:
    commitments, box = sealed(values)
    fields = opened(box, commitments)
    assert {name: field.plain() for name, field in fields.items()} == values
    assert commitments.keys() == values.keys()


def test_the_commitment_is_the_one_of_the_format() -> None:
    salt = bytes(range(16))
    assert (
        commitment(salt, "email", b'"a"') == sha256(b"prooftrail/field/v1\x00" + salt + b"email\x00" + b'"a"').digest()
    )
    commitments, box = sealed({"values.email": "a", "content": b"<a/>"})
    for name, field in opened(box, commitments).items():
        assert commitments[name] == encode_digest(commitment(field.salt, name, field.value))
        assert field.value == (b"<a/>" if name == "content" else canonical.encode("a"))
        assert len(field.salt) == SALT_BYTES


def test_equal_values_have_different_commitments_and_boxes() -> None:
    commitments, box = sealed({"a": "same", "b": "same"})
    again, other_box = sealed({"a": "same", "b": "same"})
    assert len({*commitments.values(), *again.values()}) == 4
    assert box != other_box


def test_no_value_stands_in_the_box_or_the_commitments() -> None:
    commitments, box = sealed({"values.email": "mari@example.com"})
    assert b"mari" not in box.bytes
    assert b"email" not in box.bytes
    assert "mari" not in str(commitments)


def test_any_flipped_bit_of_a_box_is_tampering() -> None:
    commitments, box = sealed({"a": "x" * 40})
    for at, bit in itertools.product(range(len(box.bytes)), range(8)):
        flipped = bytearray(box.bytes)
        flipped[at] ^= 1 << bit
        with pytest.raises(Tampered):
            opened(Box(KEY_ID, bytes(flipped)), commitments)


@pytest.mark.parametrize("length", [0, 1, NONCE_BYTES - 1, NONCE_BYTES, NONCE_BYTES + 15, NONCE_BYTES + 16])
def test_a_box_cut_short_is_tampering(length: int) -> None:
    commitments, box = sealed({"a": "x"})
    with pytest.raises(Tampered):
        opened(Box(KEY_ID, box.bytes[:length]), commitments)


@pytest.mark.parametrize(
    "instead", [{"ledger": "example.com/other"}, {"event_id": OTHER_EVENT}, {"key": OTHER_KEY}], ids=str
)
def test_a_box_moved_to_another_place_does_not_open(instead: dict[str, Any]) -> None:
    commitments, box = sealed({"a": "x"})
    with pytest.raises(Tampered):
        opened(box, commitments, **instead)


def test_a_box_said_to_be_under_another_key_id_does_not_open() -> None:
    commitments, box = sealed({"a": "x"})
    with pytest.raises(Tampered):
        opened(Box(OTHER_KEY_ID, box.bytes), commitments)


def test_a_value_that_opens_but_was_not_committed_to_is_tampering() -> None:
    commitments, _ = sealed({"a": "x", "b": "y"})
    _, other = sealed({"a": "z"})
    with pytest.raises(Tampered):
        opened(other, commitments)
    with pytest.raises(Tampered):
        opened(other, {})


def test_what_is_not_asked_for_is_neither_opened_nor_checked() -> None:
    commitments, box = sealed({"a": "x", "b": "y"})
    assert opened(box, commitments, only={"a"}).keys() == {"a"}
    assert opened(box, commitments | {"b": "other"}, only={"a"}).keys() == {"a"}
    with pytest.raises(Tampered):
        opened(box, commitments | {"a": "other"}, only={"a"})


@pytest.mark.parametrize("packed", [b"", b"\x00", b"\xc1", msgspec.msgpack.encode({"a": 1}), b"\x81" * 5_000])
def test_a_box_that_holds_no_fields_is_tampering(packed: bytes) -> None:
    nonce = bytes(NONCE_BYTES)
    associated = f"{ORIGIN}{EVENT}{KEY_ID}".encode()
    with pytest.raises(Tampered):
        opened(Box(KEY_ID, nonce + AESGCM(KEY).encrypt(nonce, packed, associated)), {})


@pytest.mark.parametrize("value", [1.5, float("nan"), "\x00", "\ud800", {"a": object()}, 2**60])
def test_what_json_cannot_hold_is_refused_by_field(value: object) -> None:
    with pytest.raises(Invalid) as refused:
        sealed({"values.email": value})
    assert str(refused.value.evidence["field"]).startswith("values.email")


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_is_written_as_base64url_without_padding(digest: bytes) -> None:
    text = encode_digest(digest)
    assert len(text) == 43
    assert urlsafe_b64decode(text + "=") == digest


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text + "=", lambda text: text[:-1], lambda text: "é" + text]
)
def test_another_spelling_of_a_commitment_does_not_open(change: Callable[[str], str]) -> None:
    commitments, box = sealed({"a": "x"})
    with pytest.raises(Tampered):
        opened(box, {name: change(text) for name, text in commitments.items()})
