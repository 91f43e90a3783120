"""Canonical JSON: the bytes of another implementation of RFC 8785, and everything ambiguous refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.canonical import MAX_DEPTH, MAX_INTEGER, check_text, decode, encode, encode_trusted
from ledger.errors import Invalid, VerificationError

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"], max_codepoint=0xFFFF))
HOSTILE = st.text(
    st.sampled_from("\x01\x08\t\n\x0b\x0c\r\x1f \"\\/<>&'\x7f\x80\xa0\u2028\u2029\ufeff\ufffd\uffff\u0301é\U0001f600")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT | HOSTILE,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES | st.just("€"), inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None, max_examples=400)
@given(VALUES)
@example({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\x80": 5, "\u00f6": 6})
@example('\u20ac$\x0f\nA\'B"\\\\"/')
@example({"": {"": ""}})
def test_the_bytes_are_those_of_rfc_8785_and_lead_back(value: Any) -> None:
    encoded = encode(value)
    assert encoded == rfc8785.dumps(value)
    assert encode_trusted(value) == encoded
    assert decode(encoded, "step") == value


def test_every_character_below_the_surrogates_is_written_as_rfc_8785_does() -> None:
    for first in range(1, 0xD800, 0x400):
        text = "".join(map(chr, range(first, min(first + 0x400, 0xD800))))
        assert encode(text) == rfc8785.dumps(text)


REFUSED: list[tuple[object, str]] = [
    (1.0, "value"),
    (0.1, "value"),
    (math.nan, "value"),
    (math.inf, "value"),
    (-0.0, "value"),
    (MAX_INTEGER + 1, "value"),
    (-MAX_INTEGER - 1, "value"),
    (10**400, "value"),
    ("a\x00b", "value"),
    ("\ud800", "value"),
    ("\udfff\ud800", "value"),
    ({"amount": 1.5}, "value.amount"),
    ({"a": {"b": [1, {"c": math.nan}]}}, "value.a.b.c"),
    ({"a\x00": 1}, "value"),
    ({"\ud800": 1}, "value"),
    ({"\U0001f600": 1}, "value"),
    ({1: 2}, "value"),
    ({None: 2}, "value"),
    (b"bytes", "value"),
    ({1, 2}, "value"),
    (object(), "value"),
    ([[[b"x"]]], "value"),
]


@pytest.mark.parametrize(("value", "field"), REFUSED, ids=[ascii(case[0])[:30] for case in REFUSED])
def test_what_has_no_exact_form_is_refused_by_field_name(value: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        encode(value)
    assert refused.value.evidence["field"] == field


@pytest.mark.parametrize("value", [MAX_INTEGER, -MAX_INTEGER, 0, True, "\uffff", {"\uffff": 1}])
def test_the_last_values_before_each_limit_are_taken(value: object) -> None:
    assert decode(encode(value), "step") == value


def test_depth_has_a_limit_that_is_told() -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode(encode(value), "step") == value
    with pytest.raises(Invalid):
        encode([value])
    with pytest.raises(Invalid):
        encode({"a": value})


BOTTOMLESS = 200_000

NOT_CANONICAL: list[bytes] = [
    b"",
    b" ",
    b"nul",
    b"1.0",
    b"1e3",
    b"-0",
    b"01",
    b"+1",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"9007199254740992",
    b"1" * 5_000,
    b'{"a":1,"a":1}',
    b'{"a":1,"a":2}',
    b'{"x":{"a":1,"\\u0061":2}}',
    b'{"b":1,"a":2}',
    b'{"a": 1}',
    b'{"a":1}\n',
    b' {"a":1}',
    b'{"a":1}{}',
    b"[1,]",
    b'"\\u0041"',
    b'"\\/"',
    b'"\\u001F"',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"a\x00"',
    b'"\t"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc0\xaf"',
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    "{}".encode("utf-32"),
    '"ä"'.encode("latin-1"),
    b"'a'",
    b"[" * BOTTOMLESS,
    b'{"a":' * BOTTOMLESS,
    b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
    b"true false",
    b"undefined",
]


@pytest.mark.parametrize("data", NOT_CANONICAL, ids=[ascii(case)[:30] for case in NOT_CANONICAL])
def test_reading_takes_exactly_the_canonical_form(data: bytes) -> None:
    with pytest.raises(VerificationError) as refused:
        decode(data, "the step")
    assert refused.value.step == "the step"


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\ u0123eE+-.truefalsn\x00é'), max_size=30).map(str.encode)
)
def test_reading_any_bytes_gives_a_value_of_these_bytes_or_a_verification_error(data: bytes) -> None:
    try:
        value = decode(data, "step")
    except VerificationError:
        return
    assert encode(value) == data


@pytest.mark.parametrize("text", ["", "a", "ä", "\U0001f600", "\x01", "\u202e"])
def test_valid_text_is_returned_unchanged(text: str) -> None:
    assert check_text(text, "field") == text


@pytest.mark.parametrize("text", ["\x00", "a\x00", "\ud800", "\udc00a"])
def test_text_that_others_cut_or_replace_is_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_text(text, "field")
    assert refused.value.evidence["field"] == "field"
