"""The bytes of an answer: JSON, a page of a list, or the whole list as CSV or NDJSON. Nothing is ever cut silently."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from api.csv_text import cell_text, plain, struct_rows, write_rows
from api.http.ask import Ask
from api.http.operation import CSV, JSON, NDJSON, Reply
from api.http.parameters import DEFAULT_PAGE, Cursor

_encode: Final = msgspec.json.Encoder().encode


def render(ask: Ask, reply: Reply) -> tuple[bytes, Reply]:
    """Return the bytes to serve, and the reply as far as it is shown: of a list, the items of this page."""
    if reply.items is None:
        return reply.body if isinstance(reply.body, bytes) else _encode(reply.body), reply
    form = ask.get("format")
    if form is None or form == "json":
        return _page(ask, reply)
    shown = _with_subjects(reply)
    if form == "ndjson":
        lines = b"".join(_encode(item) + b"\n" for item in reply.items)
        return lines, msgspec.structs.replace(shown, media_type=NDJSON)
    text = io.StringIO(newline="")
    write_rows(text, *_rows(ask, reply.items))
    return text.getvalue().encode(), msgspec.structs.replace(shown, media_type=CSV)


def _rows(ask: Ask, items: Sequence[Any]) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    """Return header and rows; the header is there also when there are no rows."""
    kind = ask.operation.result
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct_rows(kind, items)
    found = [plain(item) for item in items]
    header = list(found[0]) if found else []
    return header, ([cell_text(row.get(name)) for name in header] for row in found)


def _page(ask: Ask, reply: Reply) -> tuple[bytes, Reply]:
    assert reply.items is not None
    limit = ask.get("limit") or DEFAULT_PAGE
    start = ask.cursor.shown if ask.cursor is not None else 0
    page = reply.items[start : start + limit]
    more = len(reply.items) > start + limit
    # An `as_of` that is a moment is a state too: what was recorded by then never changes.
    position = ask.as_of if isinstance(ask.as_of, int) else ask.position
    body: dict[str, Any] = {"items": page, "position": position}
    if more:
        body["next_cursor"] = Cursor(position, start + limit).encode()
    return _encode(body), _with_subjects(msgspec.structs.replace(reply, items=page, media_type=JSON))


def _with_subjects(reply: Reply) -> Reply:
    """Return the reply with everybody that its items are about."""
    if reply.subject_of is None or reply.items is None:
        return reply
    found = (reply.subject_of(item) for item in reply.items)
    return msgspec.structs.replace(reply, subjects=(*reply.subjects, *(one for one in found if one is not None)))
