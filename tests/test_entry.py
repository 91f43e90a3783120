"""The entry: its exact bytes, the way back from them, old versions, and what is none of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.entry import (
    MAX_ENTRY_BYTES,
    draft,
    encode_data,
    event_of,
    format_moment,
    link,
    parse,
    parse_moment,
    personal_values,
    with_values,
)
from ledger.errors import EntryTooLarge, Invalid, Tampered
from ledger.events import BY_TOPIC, ConsentGiven, Event, IdentifierLinked, OrderRecorded, SubjectRegistered, Withheld
from ledger.vocabulary import EventId, Tag
from tests.bench import OFFICER, START, an_id

LEDGER = b'"example.com/ledger"'
AT = b"2026-11-22T10:00:00.123456Z"


def entry_of(
    event: Event, *, index: int = 0, sealed: dict[str, str] | None = None, tags: tuple[str, ...] = ("a",)
) -> bytes:
    made = draft(
        id=EventId(an_id("event")),
        type=event.TOPIC,
        tags=list(map(Tag, tags)),
        data=encode_data(event),
        sealed=sealed or {},
    )
    return made.entry(index, LEDGER, AT, [link(canonical.encode(tag), 1, None) for tag in made.tags])


def raw(topic: str, data: object, **changes: Any) -> bytes:
    """Return an entry with this data, whatever it is."""
    fields: dict[str, Any] = {
        "data": data,
        "id": an_id("event"),
        "index": 0,
        "ledger": "example.com/ledger",
        "recorded_at": AT.decode(),
        "sealed": {},
        "tags": [["a", 1, None]],
        "type": topic,
        "v": 1,
    } | changes
    return json.dumps(
        {name: value for name, value in fields.items() if value is not ...}, separators=(",", ":")
    ).encode()


REGISTERED: dict[str, Any] = {"subject_id": an_id("mari"), "role": "controller"}


def test_an_entry_is_the_canonical_json_of_the_format() -> None:
    made = draft(
        id=EventId(an_id("event")),
        type="subject-registered",
        tags=[Tag("b"), Tag("a"), Tag("b")],
        data=b'{"role":"controller"}',
        sealed={"value": "A" * 43},
    )
    assert made.tags == ("a", "b")
    entry = made.entry(41, LEDGER, AT, [link(b'"a"', 2, 17), link(b'"b"', 9, None)])
    assert entry == canonical.encode(
        {
            "v": 1,
            "ledger": "example.com/ledger",
            "index": 41,
            "id": an_id("event"),
            "type": "subject-registered",
            "recorded_at": AT.decode(),
            "tags": [["a", 2, 17], ["b", 9, None]],
            "data": {"role": "controller"},
            "sealed": {"value": "A" * 43},
        }
    )


@settings(deadline=None)
@given(
    type=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    tag=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
)
def test_an_entry_is_canonical_whatever_its_type_and_tags_are_called(type: str, tag: str) -> None:
    made = draft(id=EventId(an_id("event")), type=type, tags=[Tag(tag)], data=b"{}", sealed={})
    entry = made.entry(0, LEDGER, AT, [link(canonical.encode(tag), 1, None)])
    canonical.decode(entry, "entry")
    assert (parse(entry).type, parse(entry).tag_names) == (type, (tag,))


def consent() -> ConsentGiven:
    values: dict[str, Any] = {
        "by": OFFICER,
        "consent_id": an_id("consent"),
        "subject_id": an_id("mari"),
        "purpose": "own-offers",
        "recipient_id": None,
        "fields": ("email", "phone"),
        "text_sha256": sha256(b"text").hexdigest(),
        "language": "et",
        "channel": "link",
    }
    return ConsentGiven(**values)


def test_an_event_comes_back_from_its_entry() -> None:
    event = event_of(parse(entry_of(consent(), index=7)))
    assert isinstance(event, ConsentGiven)
    assert encode_data(event) == encode_data(consent())
    parsed = parse(entry_of(consent(), index=7))
    assert (parsed.index, parsed.position, parsed.type) == (7, 8, "consent-given")
    assert parse_moment(parsed.recorded_at) == START.replace(microsecond=123456)


def test_personal_values_never_stand_in_the_entry_and_come_back_sealed() -> None:
    event = IdentifierLinked(subject_id=an_id("mari"), kind="email", value="mari@example.com")  # type: ignore[arg-type]
    assert personal_values(event) == {"value": "mari@example.com"}
    entry = entry_of(event, sealed={"value": "A" * 43})
    assert b"mari@" not in entry
    found = event_of(parse(entry))
    assert isinstance(found, IdentifierLinked)
    assert found.value is Withheld.SEALED
    opened = with_values(found, {"value": "mari@example.com"})
    assert isinstance(opened, IdentifierLinked)
    assert opened.value == "mari@example.com"


ORDER_V1: dict[str, Any] = {
    "order_id": an_id("order"),
    "client_id": an_id("client"),
    "subject_id": an_id("mari"),
    "channel": "email",
    "media_type": "application/xml",
    "size_bytes": 4,
    "terms_version": "2026-01",
    "received_at": "2026-11-22T10:00:00Z",
}


def test_an_order_of_version_one_reads_as_one_whose_sender_was_not_checked() -> None:
    event = event_of(parse(raw("order-recorded", ORDER_V1, sealed={"content": "A" * 43})))
    assert isinstance(event, OrderRecorded)
    assert event.authentication == "not-checked"
    assert event.content is Withheld.SEALED
    assert event.file_name is None
    assert event.received_at == START


def test_an_order_of_today_is_written_with_its_version() -> None:
    order = OrderRecorded(**ORDER_V1 | {"authentication": "dkim-pass", "received_at": START, "content": b"<a/>"})
    data = json.loads(encode_data(order))
    assert (data["v"], data["authentication"]) == (2, "dkim-pass")
    assert "content" not in data
    found = event_of(parse(entry_of(order)))
    assert isinstance(found, OrderRecorded)
    assert found.authentication == "dkim-pass"


@pytest.mark.parametrize("version", [0, -1, 3, 999, "1", "2", None, 1.5, True, [1]])
def test_a_version_that_this_program_does_not_know_is_refused_and_never_guessed(version: object) -> None:
    data = ORDER_V1 | {"authentication": "dkim-pass", "v": version}
    with pytest.raises(Tampered):
        event_of(parse(raw("order-recorded", data)))


def test_an_entry_of_exactly_the_limit_fits_and_one_byte_more_does_not() -> None:
    def entry(padding: int) -> bytes:
        made = draft(id=EventId(an_id("event")), type="t", tags=[], data=b'"%b"' % (b"x" * padding), sealed={})
        return made.entry(0, LEDGER, AT, [])

    room = MAX_ENTRY_BYTES - len(entry(0))
    assert len(entry(room)) == MAX_ENTRY_BYTES == 65_535
    with pytest.raises(EntryTooLarge) as refused:
        entry(room + 1)
    assert refused.value.evidence == {"size": 65_536, "limit": 65_535}


def test_a_type_that_this_version_does_not_know_is_told_with_its_index() -> None:
    with pytest.raises(Tampered) as refused:
        event_of(parse(raw("from-the-future", {}, index=5)))
    assert refused.value.step == "entry 5"


TAMPERED: list[bytes] = [
    b"",
    b"{}",
    b"null",
    b"[]",
    b"\xff\xfe",
    b"{" * 100_000,
    b'{"data":' + b"[" * 100_000,
    raw("subject-registered", REGISTERED)[:-1],
    raw("subject-registered", REGISTERED) + b"x",
    raw("subject-registered", REGISTERED, extra=1),
    raw("subject-registered", REGISTERED, v=...),
    raw("subject-registered", REGISTERED, index="0"),
    raw("subject-registered", REGISTERED, index=1.5),
    raw("subject-registered", REGISTERED, tags=[["a", 1]]),
    raw("subject-registered", REGISTERED, tags=[["a", "1", None]]),
    raw("subject-registered", REGISTERED, tags="a"),
    raw("subject-registered", REGISTERED, sealed=[]),
    raw("subject-registered", REGISTERED, sealed={"value": 1}),
    raw("subject-registered", REGISTERED, type=1),
    raw("subject-registered", REGISTERED).replace(b"mari", b"\xff"),
    raw("subject-registered", []),
    raw("subject-registered", None),
    raw("subject-registered", "text"),
    raw("subject-registered", {}),
    raw("subject-registered", REGISTERED | {"role": "owner"}),
    raw("subject-registered", REGISTERED | {"role": 1}),
    raw("subject-registered", REGISTERED | {"surprise": 1}),
    raw("subject-registered", REGISTERED | {"v": 2}),
    raw("subject-registered", REGISTERED | {"by": {"id": "x"}}),
    raw("order-recorded", []),
    raw("order-recorded", None),
    raw("order-recorded", {}),
    raw("order-recorded", ORDER_V1 | {"received_at": "yesterday"}),
    raw("order-recorded", ORDER_V1 | {"size_bytes": 1.5}),
]


@pytest.mark.parametrize("entry", TAMPERED, ids=[ascii(case)[2:40] for case in TAMPERED])
def test_bytes_that_are_none_of_ours_are_tampering(entry: bytes) -> None:
    if entry == raw("subject-registered", REGISTERED).replace(b"mari", b"\xff"):
        entry = entry[:20] + b"\xff" + entry[21:]
    with pytest.raises(Tampered):
        event_of(parse(entry))


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_gives_another_event_or_tampering_and_nothing_else(at: int, byte: int) -> None:
    entry = raw("order-recorded", ORDER_V1)
    at %= len(entry)
    with suppress(Tampered):
        event_of(parse(entry[:at] + bytes([byte]) + entry[at + 1 :]))


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (SubjectRegistered(subject_id=an_id("m"), role="owner"), "an unknown word"),  # type: ignore[arg-type]
        (SubjectRegistered(subject_id=1, role="controller"), "a number"),  # type: ignore[arg-type]
        (SubjectRegistered(subject_id="\ud800", role="controller"), "a surrogate"),  # type: ignore[arg-type]
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_data_that_could_not_be_read_back_is_never_written(event: Event, why: str) -> None:
    with pytest.raises(Invalid):
        encode_data(event)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(9000, 1, 1)))
def test_a_moment_has_one_form_that_sorts_as_time_does(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC)
    text = format_moment(moment)
    assert parse_moment(text) == moment
    assert format_moment(moment.astimezone(timezone(timedelta(hours=3)))) == text
    assert format_moment(moment + timedelta(microseconds=1)) > text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00:00.123Z",
        "2026-11-22T10:00:00.123456+00:00",
        "2026-11-22 10:00:00.123456Z",
        "2026-13-22T10:00:00.123456Z",
        "2026-11-31T10:00:00.123456Z",
        "2026-11-22T24:00:00.123456Z",
        "2026-11-22T10:00:60.123456Z",
        "٢٠٢٦-11-22T10:00:00.123456Z",
        "2026-11-22T10:00:00.123456Z\n",
    ],
)
def test_another_spelling_of_a_moment_is_tampering(text: str) -> None:
    with pytest.raises(Tampered):
        parse_moment(text)


def test_every_event_class_can_be_found_by_its_type() -> None:
    assert all(topic == cls.TOPIC for topic, cls in BY_TOPIC.items())
