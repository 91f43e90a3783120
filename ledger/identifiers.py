"""Identifiers as keyed digests: whom an e-mail address, a phone number or a personal code belongs to.

    digest = HMAC-SHA256(secret "lookup", kind ‖ 0x00 ‖ normal form)

Without the secret of the key store a digest says nothing, and it is deleted with the key of the event that it is from.
One person must not be found under two spellings, so what is recorded is indexed in its normal form, however unusual;
what is looked up must be unambiguous, or it is refused (Unicode TR 36, TR 39).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from typing import Final

from ledger.canonical import check_text
from ledger.errors import Invalid
from ledger.vocabulary import IdentifierKind

# The fields of personal data that identify their subject.
FIELDS: Final = {kind.value: kind for kind in IdentifierKind}

# Controls (Cc), format characters such as zero width and bidirectional overrides (Cf), line separators (Zl, Zp).
_INVISIBLE: Final = ("Cc", "Cf", "Zl", "Zp")
# What else shows nothing: the rest of Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties.txt).
_FILLERS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
# Folding, composing and removing undo each other at most so often in known Unicode; the rest is for the unknown.
_MAX_ROUNDS: Final = 8


def normal_form(kind: IdentifierKind, value: str) -> str:
    """Return the form under which an identifier is indexed; "" when nothing of it identifies anybody.

    E-mail: NFKC, case folded, without invisible characters and outer space. Phone: its digits, and + in front.
    Personal code: its digits.
    """
    plain = value.isascii() and value.isprintable()
    # Most are: then composing changes nothing, and there is nothing invisible.
    text = (value if plain else _visible(unicodedata.normalize("NFKC", value))).strip()
    if kind is IdentifierKind.EMAIL:
        if plain:
            return text.casefold()
        for _ in range(_MAX_ROUNDS):
            before, text = text, unicodedata.normalize("NFKC", _visible(text).casefold()).strip()
            if text == before:
                break
        return text
    digits = "".join(c for c in text if c in "0123456789")
    return "+" + digits if digits and kind is IdentifierKind.PHONE and text[0] == "+" else digits


def checked_normal_form(kind: IdentifierKind, value: str) -> str:
    """Return the normal form of what somebody looks up.

    Raises Invalid naming the kind, never the value: for invisible or bidirectional control characters, for characters
    that only look like others (NFKC would change them), and when nothing is left.
    """
    text = unicodedata.normalize("NFC", check_text(value, kind).strip())
    if _visible(text) != text:
        raise Invalid(kind, "holds invisible or control characters; type it anew")
    if unicodedata.normalize("NFKC", text) != text:
        raise Invalid(kind, "holds characters that only look like the usual ones; type it anew")
    normal = normal_form(kind, text)
    if not normal:
        raise Invalid(kind, "is empty" if kind is IdentifierKind.EMAIL else "has no digits")
    return normal


def digest(secret: bytes, kind: IdentifierKind, normal: str) -> bytes:
    """Return the 32-byte digest of a normal form."""
    return hmac.digest(secret, b"%b\x00%b" % (kind.encode(), normal.encode()), hashlib.sha256)


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return _FILLERS.sub("", "".join(c for c in text if unicodedata.category(c) not in _INVISIBLE))
