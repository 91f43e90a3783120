"""Parameters in the address: each with its name, its form, and how its text is read. Unknown ones are refused."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from ledger.command import EARLIEST, LATEST
from ledger.errors import Invalid
from ledger.vocabulary import check_id, check_reference, check_sha256, check_word
from projections import AsOf

# The largest index that canonical JSON holds exactly (RFC 7493 §2.2).
MAX_NUMBER: Final = 2**53 - 1
_TILE: Final = re.compile(r"[0-9x/]{1,64}(\.p/[0-9]{1,3})?")
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1_000


@dataclass(frozen=True)
class Parameter:
    """A query parameter. `schema` is its JSON Schema; `read` raises Invalid, naming the parameter and not the value."""

    name: str
    description: str
    read: Callable[[str, str], Any]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    many: bool = False


def number(text: str, name: str) -> int:
    """Return a whole number from 0 on."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= MAX_NUMBER):
        raise Invalid(name, f"is a whole number from 0 to {MAX_NUMBER}")
    return int(text)


def moment(text: str, name: str) -> datetime:
    """Return a moment with its zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(name, "is a moment such as 2026-11-22T10:00:00Z") from None
    if found.tzinfo is None or not EARLIEST <= found <= LATEST:
        raise Invalid(name, "is a moment with its zone, such as 2026-11-22T10:00:00Z")
    return found


def as_of(text: str, name: str) -> AsOf:
    """Return a recorded moment, or a position: that many entries."""
    return number(text, name) if text.isascii() and text.isdigit() else moment(text, name)


def truth(text: str, name: str) -> bool:
    """Return true or false."""
    if text not in ("true", "false"):
        raise Invalid(name, "is true or false")
    return text == "true"


def identifier(text: str, name: str) -> str:
    """Return an id."""
    return check_id(text, name)


def one_of(kind: type[StrEnum]) -> Callable[[str, str], StrEnum]:
    """Return the reader of a closed vocabulary."""

    def read(text: str, name: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise Invalid(name, f"is one of {', '.join(kind)}") from None

    return read


def page_size(text: str, name: str) -> int:
    """Return how many items a page has."""
    found = number(text, name)
    if not 1 <= found <= MAX_PAGE:
        raise Invalid(name, f"is a whole number from 1 to {MAX_PAGE}")
    return found


def tile_path(text: str, name: str) -> str:
    """Return the path of a tile below its level: digits in groups, as C2SP tlog-tiles has them."""
    if not _TILE.fullmatch(text):
        raise Invalid(name, "is a path of C2SP tlog-tiles, such as 0/x001/234 or 0/000.p/17")
    return text


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a next page begins: what was known when the first was shown, and how many items were shown since."""

    position: int
    shown: int

    def encode(self) -> str:
        """Return the text of a cursor: opaque to whoever pages."""
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def cursor(text: str, name: str) -> Cursor:
    """Return a cursor that a page gave."""
    try:
        found = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Cursor)
    except (ValueError, msgspec.DecodeError):
        found = Cursor(-1, -1)
    if not (0 <= found.position <= MAX_NUMBER and 0 <= found.shown <= MAX_NUMBER) or found.encode() != text:
        raise Invalid(name, "is the next_cursor of a page")
    return found


ID_SCHEMA: Final = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
}
_INDEX: Final = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}

AS_OF: Final = Parameter("as_of", "What was known then: a moment with zone, or a position (that many entries).", as_of)
VALID_AT: Final = Parameter(
    "valid_at", "What was true then, of what is known.", moment, {"type": "string", "format": "date-time"}
)
MIN_POSITION: Final = Parameter(
    "min_position", "Wait until this position is taken in: the `position` of a receipt, to read your own write.",
    number, _INDEX,
)  # fmt: skip
FIELDS: Final = Parameter(
    "field", "Only these fields; may be repeated.", check_word, {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$"},
    many=True,
)  # fmt: skip
LIMIT: Final = Parameter(
    "limit", f"How many items a page has (default {DEFAULT_PAGE}).", page_size,
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
)  # fmt: skip
CURSOR: Final = Parameter("cursor", "The next_cursor of the page before.", cursor)
FROM: Final = Parameter("from", "The first index.", number, _INDEX)
TO: Final = Parameter("to", "The index after the last.", number, _INDEX)


class Form(StrEnum):
    """In which form a list is answered."""

    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


FORMAT: Final = Parameter(
    "format", "json, csv or ndjson.", one_of(Form),
    {"type": "string", "enum": ["json", "csv", "ndjson"]},
)  # fmt: skip
# What every list takes.
PAGE: Final = (AS_OF, MIN_POSITION, LIMIT, CURSOR, FORMAT)
OPEN_ONLY: Final = Parameter("open", "Only those that are open.", truth, {"type": "boolean"})


def id_parameter(name: str, description: str, *, required: bool = False) -> Parameter:
    """Return a parameter that is an id."""
    return Parameter(name, description, identifier, ID_SCHEMA, required=required)


def word_parameter(name: str, description: str, *, required: bool = False) -> Parameter:
    """Return a parameter that is a public word."""
    return Parameter(
        name, description, check_word, {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$"}, required=required
    )


# What stands in a path, by its name; every other name is an id.
IN_PATH: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "index": number,
    "size": number,
    "field": check_word,
    "tile": tile_path,
    "text_sha256": check_sha256,
    "version": check_reference,
}
PATH_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "index": _INDEX,
    "size": _INDEX,
    "field": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$"},
    "text_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "tile": {"type": "string", "pattern": f"^{_TILE.pattern}$"},
}
