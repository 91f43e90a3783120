"""Canonical JSON: the one byte form of everything that is hashed (RFC 8785, without floating point).

Values are str, int, bool, None, list and dict. Amounts are decimal strings: a float has no exact form that two
programs agree on, so it is refused by name. NUL and lone surrogates are refused because other readers of the
same bytes cut or replace them.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

import msgspec

from ledger.errors import Invalid, VerificationError

# RFC 8785 §3.2.2.3 takes numbers through IEEE 754 doubles; beyond this an integer is not exact (RFC 7493 §2.2).
MAX_INTEGER: Final = 2**53 - 1

# Deeper JSON than this overflows careless readers; nothing here needs a tenth of it.
MAX_DEPTH: Final = 32

# The first byte of a character of four bytes in UTF-8.
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]

_encoder = msgspec.json.Encoder(order="sorted")


def encode(value: object, field: str = "value", *, nested_names: bool = True) -> bytes:
    """Return the canonical JSON of `value`, UTF-8.

    `field` names the value in errors; without `nested_names` nothing of the value itself is named: it is personal.
    Raises Invalid for a float, an integer beyond ±(2^53-1), NUL, a lone surrogate, an object name outside the Basic
    Multilingual Plane, or nesting deeper than 32. RFC 8785.
    """
    if type(value) is str:
        check_text(value, field)
    else:
        _check(value, field, 0, nested_names)
    return encode_trusted(value)


encode_trusted: Final = _encoder.encode
"""Return the canonical JSON of a value that is already known to be plain: no checks, for the hot path."""


def check_text(text: str, field: str) -> str:
    """Return `text`, or raise Invalid when it holds NUL or a lone surrogate."""
    if "\x00" in text:
        raise Invalid(field, "holds a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid(field, "holds a lone surrogate: it is not valid Unicode text") from None
    return text


def decode(data: bytes, step: str) -> Json:
    """Return the value whose canonical form is exactly `data`; raise VerificationError(step) for anything else."""
    try:
        value: Json = json.loads(
            data, object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float, parse_int=_integer
        )
        # The hooks saw every number and every object. What is left to refuse shows in the bytes, if only as a
        # possibility: an escaped NUL or surrogate, a character beyond the BMP, deep nesting.
        doubtful = b"\\u0000" in data or b"\\ud" in data or _BEYOND_BMP.search(data)
        canonical = encode(value) if doubtful or _brackets(data) > MAX_DEPTH else encode_trusted(value)
    except VerificationError as error:
        raise VerificationError(step, error.why) from None
    except (ValueError, RecursionError, Invalid) as error:
        raise VerificationError(step, f"not canonical JSON: {type(error).__name__}") from None
    if canonical != data:
        raise VerificationError(step, "not canonical JSON: another byte form of the same value")
    return value


def _brackets(data: bytes) -> int:
    """How deep `data` could be nested at the most: far more than it is, and quick to tell."""
    return data.count(b"[") + data.count(b"{")


def _check(value: object, field: str, depth: int, named: bool) -> None:
    if depth > MAX_DEPTH:
        raise Invalid(field, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        check_text(value, field)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise Invalid(field, f"is an integer beyond ±{MAX_INTEGER}; write it as a string")
    elif isinstance(value, dict):
        for name, member in value.items():
            if not isinstance(name, str):
                raise Invalid(field, "has an object name that is not text")
            check_text(name, field)
            # Sorting by UTF-16 code units (RFC 8785 §3.2.3) and by code points agree up to U+FFFF only.
            if name and max(name) > "\uffff":
                raise Invalid(field, "has an object name outside the Basic Multilingual Plane")
            _check(member, f"{field}.{name}" if named and name.isidentifier() else field, depth + 1, named)
    elif isinstance(value, (list, tuple)):
        for member in value:
            _check(member, field, depth + 1, named)
    elif isinstance(value, float):
        raise Invalid(field, "is a floating-point number or NaN; write amounts as decimal strings")
    else:
        raise Invalid(field, "is of a type that JSON does not have")


def _unique(pairs: list[tuple[str, Json]]) -> Json:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise VerificationError("json", "an object names a member twice")
    return members


def _no_float(_: str) -> NoReturn:
    raise VerificationError("json", "a floating-point number or NaN")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) > MAX_INTEGER:
        raise VerificationError("json", "an integer too large")
    return number
