"""The bytes of a problem: RFC 9457. What every layer of the door answers with, from the connection inwards.

Nothing of what was sent stands in it. Which errors become which problem is decided elsewhere (problems, each limit).
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

import msgspec

TYPE_PREFIX: Final = "urn:prooftrail:problem:"
MEDIA_TYPE: Final = "application/problem+json"

Headers = list[tuple[bytes, bytes]]


def members(status: int, code: str, title: str, detail: str | None = None) -> dict[str, Any]:
    """Return the members of a problem; `detail` only where there is one."""
    found: dict[str, Any] = {"type": TYPE_PREFIX + code, "title": title, "status": status, "code": code}
    return found if detail is None else found | {"detail": detail}


def retry_after(seconds: float) -> str:
    """Return the value of Retry-After: whole seconds, at least one (RFC 9110 §10.2.3)."""
    return str(max(1, ceil(seconds)))


def problem(
    status: int, code: str, title: str, detail: str | None = None, retry_after_s: float | None = None
) -> tuple[int, Headers, bytes]:
    """Return (status, headers, body) of a problem."""
    body = msgspec.json.encode(members(status, code, title, detail))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if retry_after_s is not None:
        headers.append((b"retry-after", retry_after(retry_after_s).encode()))
    return status, headers, body
