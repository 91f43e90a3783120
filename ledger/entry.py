"""The entry: the canonical bytes of one event, the leaf of the log, and the way back from them.

    {"data":{…},"id":"…","index":41,"ledger":"…","recorded_at":"…","sealed":{…},"tags":[["…",n,prev]…],"type":"…","v":1}

Whatever is stored and hashed is made here once; nothing is ever re-serialised to be verified. What does not live
here: what may be recorded (commands) and where the values go (sealing).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from ledger import canonical
from ledger.errors import EntryTooLarge, Invalid, Tampered
from ledger.events import BY_TOPIC, SEALED, Event, Withheld, upcaster
from ledger.vocabulary import EventId, Tag

# An entry bundle gives each entry a 16-bit length (C2SP tlog-tiles, "Log Entries").
MAX_ENTRY_BYTES: Final = 65_535

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class TagLink(msgspec.Struct, frozen=True, array_like=True):
    """This is the n-th event (from 1) with `tag`; `prev` is the index of the one before it, or None."""

    tag: Tag
    n: int
    prev: int | None


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parsed entry. `data` is still its bytes, as most readers need only a few kinds of event."""

    data: msgspec.Raw
    id: EventId
    index: int
    ledger: str
    recorded_at: str
    sealed: dict[str, str]
    tags: tuple[TagLink, ...]
    type: str
    v: int

    @property
    def position(self) -> int:
        """The position that `eventsourcing` sees: index + 1."""
        return self.index + 1

    @property
    def tag_names(self) -> tuple[Tag, ...]:
        return tuple(link.tag for link in self.tags)


_decoder = msgspec.json.Decoder(Entry)
_plain = msgspec.json.Decoder(dict[str, Any])
_set = msgspec.structs.force_setattr


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event on its way in: all of the entry that does not depend on its place in the log.

    `tags` sorted and unique; `head` is the entry's bytes up to the index, `sealed` the object of commitments.
    """

    id: EventId
    type: str
    type_text: bytes  # the type as a JSON string
    tags: tuple[Tag, ...]
    tag_texts: tuple[bytes, ...]  # each tag as a JSON string
    head: bytes
    sealed: bytes

    def entry(self, index: int, ledger: bytes, recorded_at: bytes, links: Sequence[bytes]) -> bytes:
        """Return the entry bytes at `index`; `ledger` is a JSON string, `links` are made by `link`.

        Raises EntryTooLarge.
        """
        entry = b'%b,"index":%d,"ledger":%b,"recorded_at":"%b","sealed":%b,"tags":[%b],"type":%b,"v":1}' % (
            self.head, index, ledger, recorded_at, self.sealed, b",".join(links), self.type_text,
        )  # fmt: skip
        if len(entry) > MAX_ENTRY_BYTES:
            raise EntryTooLarge(size=len(entry), limit=MAX_ENTRY_BYTES)
        return entry


def draft(*, id: EventId, type: str, tags: Sequence[Tag], data: bytes, sealed: Mapping[str, str]) -> Draft:
    """Return a draft from canonical `data` bytes and commitments by field name."""
    unique = tuple(sorted(set(tags)))
    return Draft(
        id=id,
        type=type,
        type_text=_type_text(type),
        tags=unique,
        tag_texts=tuple(map(canonical.encode_trusted, unique)),
        head=b'{"data":%b,"id":"%b"' % (data, id.encode()),
        sealed=canonical.encode_trusted(sealed),
    )


_type_text = lru_cache(256)(canonical.encode_trusted)


def link(tag: bytes, n: int, prev: int | None) -> bytes:
    """Return the JSON of a tag link; `tag` is a JSON string."""
    return b"[%b,%d,null]" % (tag, n) if prev is None else b"[%b,%d,%d]" % (tag, n, prev)


def encode_data(event: Event) -> bytes:
    """Return the canonical data of an event without its personal fields. Raises Invalid for what JSON cannot hold.

    What is recorded can be read back: the bytes are decoded into the event's type and encoded again, so a value of a
    wrong type is found here and not by the reader of a poisoned log.
    """
    topic = event.TOPIC
    try:
        encoded = canonical.encode_trusted(without_personal(event))
        again = canonical.encode_trusted(_data_decoders[topic].decode(encoded))
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        canonical.encode(msgspec.to_builtins(without_personal(event)), topic)
        # The library's words repeat the value; where it stands is enough.
        _, _, where = str(error).rpartition("`$.")
        raise Invalid(
            f"{topic}.{where.rstrip('`')}" if where else topic, "is not of its type or not a word of its list"
        ) from None
    if again != encoded or b"\\u0000" in encoded:
        # A float that looks like an integer, or an escaped NUL: the slow way names the field, or finds it harmless.
        canonical.encode(msgspec.to_builtins(without_personal(event)), topic)
    if event.VERSION > 1:
        return canonical.encode_trusted(_plain.decode(encoded) | {"v": event.VERSION})
    return encoded


def without_personal(event: Event) -> Event:
    """Return the event with its personal fields at their defaults, which are left out when it is encoded."""
    return msgspec.structs.replace(event, **event.BLANK) if event.BLANK else event


def parse(entry: bytes) -> Entry:
    """Return the parsed entry; raise Tampered when the bytes are none of ours."""
    try:
        return _decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Tampered("entry", f"cannot be read: {type(error).__name__}") from None


def event_of(entry: Entry) -> Event:
    """Return the event of an entry, upcast to today's version, its personal fields SEALED.

    Raises Tampered for an unknown type or data that does not fit it.
    """
    cls = BY_TOPIC.get(entry.type)
    if cls is None:
        raise Tampered(f"entry {entry.index}", "is of a type that this version does not know")
    try:
        if cls.VERSION == 1:
            event = _data_decoders[entry.type].decode(entry.data)
        elif (data := bytes(entry.data)).endswith(mark := b',"v":%d}' % cls.VERSION):
            # Of today's version, as most are, and `v` its last member: without it nothing is left to turn.
            event = _data_decoders[entry.type].decode(data[: -len(mark)] + b"}")
        else:
            event = msgspec.convert(_upcast(cls, _plain.decode(data)), cls)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Tampered(f"entry {entry.index}", f"its data does not fit its type ({type(error).__name__})") from None
    for name in cls.PERSONAL:
        _set(event, name, SEALED if name in entry.sealed else None)
    if entry.sealed and cls.PERSONAL_MAP is not None:
        start = len(cls.PERSONAL_MAP) + 1
        _set(event, cls.PERSONAL_MAP, {name[start:]: SEALED for name in entry.sealed})
    return event


def _upcast(cls: type[Event], data: dict[str, Any]) -> dict[str, Any]:
    version = data.pop("v", 1)
    if type(version) is not int or not 1 <= version <= cls.VERSION:
        raise Tampered("entry", "its data is of a version that this program does not know")
    for old in range(version, cls.VERSION):
        data = upcaster(cls, old)(data)
    return data


def with_values(event: Event, values: Mapping[str, Any]) -> Event:
    """Return the event with personal fields replaced by `values` (sealed field name → value or Withheld)."""
    changes: dict[str, Any] = {name: values[name] for name in event.PERSONAL if name in values}
    if event.PERSONAL_MAP is not None:
        prefix = event.PERSONAL_MAP + "."
        changes[event.PERSONAL_MAP] = {name.removeprefix(prefix): value for name, value in values.items()}
    return msgspec.structs.replace(event, **changes)


def personal_values(event: Event) -> dict[str, Any]:
    """Return what must be sealed: sealed field name → value. A value that is None is absent."""
    values: dict[str, Any] = {}
    for name in event.PERSONAL:
        if (value := getattr(event, name)) is not None:
            values[name] = value
    if event.PERSONAL_MAP is not None:
        for name, value in getattr(event, event.PERSONAL_MAP).items():
            if value is not None:
                values[f"{event.PERSONAL_MAP}.{name}"] = value
    assert Withheld not in map(type, values.values()), event.TOPIC
    return values


def format_moment(moment: datetime) -> str:
    """Return a moment as it stands in an entry: UTC, six decimals, Z. Naive moments are our own bug."""
    assert moment.tzinfo is not None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_moment(text: str) -> datetime:
    """Return the moment of an entry; raise Tampered unless it has exactly the form that we write."""
    if not _MOMENT.fullmatch(text):
        raise Tampered("recorded_at", "is not a moment in UTC with six decimals")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Tampered("recorded_at", "is not a moment in UTC with six decimals") from None


_data_decoders = {topic: msgspec.json.Decoder(cls) for topic, cls in BY_TOPIC.items()}
