"""Commands as JSON: read strictly, described, and shown by example.

    {"command":"withdraw-consent","consent_id":"…","subject_id":"…","channel":"email","idempotency_key":"…"}

`idempotency_key` is optional. Bytes are base64 (RFC 4648 §4), moments ISO 8601 with a zone. A name that stands twice
or an unknown field is refused: two readers of such text would see different commands. Errors name the field and
never repeat its value. What does not live here: whether a command may be carried out, and which
values can be recorded: no NaN, no half surrogate pair (ledger).
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

import ledger.commands
from ledger import canonical
from ledger.command import BY_NAME, Command
from ledger.commands.access import ACCESS_COMMANDS
from ledger.errors import Invalid

assert ledger.commands.__all__  # importing it is what fills BY_NAME

COMMANDS: Final[Mapping[str, type[Command]]] = {
    name: command for name, command in BY_NAME.items() if command not in ACCESS_COMMANDS
}
"""The commands that may be asked for as JSON: those of the records. Reads are recorded by the doors themselves."""

MAX_IDEMPOTENCY_KEY: Final = 255

_PATH: Final = re.compile(r" - at `\$\.?(.*)`$")
_MISSING: Final = re.compile(r"required field `(.*)`$")


class Asked(NamedTuple):
    """A command as it was asked for."""

    command: Command
    idempotency_key: str | None


class Field(NamedTuple):
    """A field of a command, for people: what it holds, and whether it must be there."""

    name: str
    holds: str
    required: bool


# --- reading --------------------------------------------------------------------------------------------------


def parse_command(data: bytes) -> Asked:
    """Return the command in a JSON object. Raises Invalid, naming the field and what would be right."""
    members = parse_object(data)
    name = members.pop("command", None)
    if not isinstance(name, str) or name not in COMMANDS:
        raise Invalid("command", "is the name of a command; `prooftrail commands` lists them")
    key = members.pop("idempotency_key", None)
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_IDEMPOTENCY_KEY):
        raise Invalid("idempotency_key", f"is a text of 1 to {MAX_IDEMPOTENCY_KEY} characters")
    return Asked(command_of(name, members), key)


def command_of(name: str, members: Mapping[str, Any]) -> Command:
    """Return the command of this name with these members. Raises Invalid, naming the field."""
    try:
        return msgspec.convert(members, COMMANDS[name])
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name) from None
    except UnicodeEncodeError:
        # Half a surrogate pair where the decoder has to read the text: the ledger's own check says which member.
        for member, value in members.items():
            canonical.encode(value, member if member in COMMANDS[name].__struct_fields__ else name, nested_names=False)
        raise Invalid(name, "holds a lone surrogate: it is not valid Unicode text") from None


def parse_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object, each name once. Raises Invalid."""
    try:
        value = _decoder.decode(data.decode())
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _NotJson) else "is not JSON in UTF-8, or nested too deeply"
        raise Invalid("json", why) from None
    if not isinstance(value, dict):
        raise Invalid("json", "is an object: {…}")
    return value


class _NotJson(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotJson("holds a name twice in one object")
    return found


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) >= 2**53:
        # What canonical JSON does not hold exactly (RFC 7493 §2.2), no two readers see alike.
        raise _NotJson("holds a number of 2^53 or more")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_whole)


def _invalid(message: str, name: str) -> Invalid:
    """Turn a decoder's message into ours: it would repeat the value."""
    where = _PATH.search(message)
    field = where[1] if where else ""
    text = message[: where.start()] if where else message
    if missing := _MISSING.search(text):
        return Invalid(f"{field}.{missing[1]}".lstrip("."), f"is needed; `prooftrail commands {name}` lists the fields")
    if "unknown field" in text:
        return Invalid(field or name, f"holds a field that is not known; `prooftrail commands {name}` lists the fields")
    holds = {one.name: one.holds for one in describe(COMMANDS[name])}.get(re.split(r"[.\[]", field)[0])
    return Invalid(field or name, f"is {holds}" if holds else f"is not valid; see `prooftrail commands {name}`")


# --- describing -----------------------------------------------------------------------------------------------


def describe(command: type[msgspec.Struct]) -> list[Field]:
    """Return the fields of a command, those that are needed first as they are declared."""
    hints = typing.get_type_hints(command, include_extras=True)
    return [
        Field(one.name, holds(hints[one.name]) + _default(one.default), one.required)
        for one in msgspec.structs.fields(command)
    ]


def summary(command: type[Command]) -> str:
    """Return what a command does, in one sentence."""
    return " ".join((command.__doc__ or "").split("\n\n")[0].split())


def holds(hint: Any) -> str:
    """Say in words what a value of this type is."""
    name = getattr(hint, "__name__", "")
    if name.endswith("Id") and hasattr(hint, "__supertype__"):
        return f"an id of a {name.removesuffix('Id').lower()} (UUID 4)"
    if name in _WORDS:
        return _WORDS[name]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(holds(one) for one in arguments if one is not types.NoneType)
    if origin is tuple:
        return f"a list, each {holds(arguments[0])}"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return f"one of {', '.join(hint)}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return f"an object of {', '.join(one.name + ('' if one.required else '?') for one in describe(hint))}"
    if origin is not None and issubclass(origin, Mapping):
        return "an object: field name → value"
    return "any JSON value without fractions"


_WORDS: Final[Mapping[str, str]] = {
    "Word": "a public word (a-z, 0-9, -)",
    "Reference": "a reference (letters, digits, ._/:-)",
    "Sha256Hex": "a SHA-256 digest in 64 hexadecimal digits",
    "MediaType": "a media type such as application/xml",
    "Language": "a language tag such as et or en",
    "Country": "a country code such as EE (ISO 3166-1)",
    "bool": "true or false",
    "str": "a text",
    "int": "a whole number",
    "bytes": "bytes in base64",
    "datetime": "a moment such as 2026-11-22T10:00:00Z",
}


def _default(default: object) -> str:
    return "" if default is msgspec.NODEFAULT or default is None else f" [default: {default}]"


# --- examples -------------------------------------------------------------------------------------------------


def example(command: type[Command]) -> dict[str, Any]:
    """Return a command that could be sent: every needed field, and the optional ones that a reader would look for."""
    return {"command": command.NAME, **_members(command)}


def _members(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = typing.get_type_hints(struct, include_extras=True)
    return {
        one.name: _EXAMPLES[one.name]() if _has_example(one.name, hints[one.name]) else _value(hints[one.name])
        for one in msgspec.structs.fields(struct)
        if one.required or one.name in _SHOWN
    }


def _has_example(name: str, hint: Any) -> bool:
    """Whether a field of this name and type has an example of its own: one name may be of several vocabularies."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return name in _EXAMPLES and _EXAMPLES[name]() in list(hint)
    return name in _EXAMPLES


def _value(hint: Any) -> Any:
    name = getattr(hint, "__name__", "")
    if name in _VALUES:
        return _VALUES[name]
    if name.endswith("Id"):
        return _id(name)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(arguments[0])
    if origin is tuple:
        return [_value(arguments[0])]
    if issubclass(hint, StrEnum):
        return str(next(iter(hint)))
    return _members(hint)


def _id(name: str) -> str:
    """Return the same made-up id for the same kind of thing, so that examples fit together."""
    number = sum(name.encode())
    return f"{number:08x}-7a11-4e55-8a11-{number:012x}"


_VALUES: Final[Mapping[str, Any]] = {
    "Word": "not-needed",
    "Reference": "PT000123",
    "Sha256Hex": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "MediaType": "application/xml",
    "Language": "et",
    "Country": "EE",
    "bool": True,
    "str": "text",
    "int": 41,
    "bytes": "PG9yZGVyLz4=",
    "datetime": "2026-11-22T10:00:00Z",
}
_SHOWN: Final = frozenset(("recipient_id", "retention_class"))
_EXAMPLES: Final[Mapping[str, Callable[[], Any]]] = {
    "values": lambda: {"given-name": "Mari", "email": "mari@example.com"},
    "fields": lambda: ["email", "given-name"],
    "field": lambda: "email",
    "value": lambda: "mari@example.org",
    "outcome": lambda: "erased",
    "ground": lambda: "withdrawn",
    "token": lambda: "the token whose SHA-256 authorized it",
    "basis": lambda: "consent",
    "language": lambda: "et",
}
