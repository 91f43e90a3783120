"""Events as JSON and as rows: what was recorded, with a personal value only where it was opened.

A value that is not shown stands as {"withheld":"sealed"}, "erased" or "missing". What does not live here: who may see a
value (the doors), and opening it (ledger).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ledger.command import Recorded
from ledger.entry import format_moment
from ledger.events import Event, Withheld


def recorded_document(recorded: Recorded, event: Event | None = None) -> dict[str, Any]:
    """Return an event with its place in the log; `event` stands in for one whose values were opened."""
    event = event or recorded.event
    return {
        "index": recorded.index,
        "recorded_at": format_moment(recorded.recorded_at),
        "type": event.TOPIC,
        "by": msgspec.to_builtins(event.by),
        "tags": list(recorded.tags),
        "data": event_data(event),
    }


def event_data(event: Event) -> dict[str, Any]:
    """Return the fields of an event, without who caused it. Bytes are base64."""
    data: dict[str, Any] = msgspec.to_builtins(event)
    data.pop("by", None)
    for name in event.PERSONAL:
        value = getattr(event, name)
        if value is None:
            data.pop(name, None)
        elif isinstance(value, Withheld):
            data[name] = withheld(value)
    if event.PERSONAL_MAP is not None:
        values = getattr(event, event.PERSONAL_MAP)
        data[event.PERSONAL_MAP] = {
            name: withheld(value) if isinstance(value, Withheld) else value for name, value in values.items()
        }
    return data


def withheld(why: Withheld) -> dict[str, str]:
    """Return what stands in place of a value."""
    return {"withheld": why.value}


def facts(event: Event, tags: tuple[str, ...] = ()) -> str:
    """Return an event's data on a few lines for people: `name: value`, without the ids that its tags name."""
    named = {tag.partition(":")[2] for tag in tags}
    lines = [f"{name}: {_words(value)}" for name, value in event_data(event).items() if not _is_one_of(value, named)]
    return "\n".join(lines)


def _is_one_of(value: object, named: set[str]) -> bool:
    return isinstance(value, str) and value in named


def _words(value: object) -> str:
    if isinstance(value, dict):
        if value.keys() == {"withheld"}:
            return f"<{value['withheld']}>"
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return "; ".join(map(_words, value)) if any(isinstance(one, dict) for one in value) else ", ".join(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
