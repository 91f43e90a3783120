"""JSON objects from strangers, with one meaning only: no name twice, no number that JSON does not have (RFC 8725 §2.4).

Where two parsers could read two things, the one that checks and the one that acts would see different callers.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` is. Raises ValueError, which repeats nothing of it."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError("not one unambiguous JSON object") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
