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


def problem(
    status: int, code: str, title: str, detail: str | None = None, retry_after_s: float | None = None
) -> tuple[int, Headers, bytes]:
    """Return (status, headers, body) of a problem. `Retry-After` is in whole seconds, at least one (RFC 9110)."""
    members: dict[str, Any] = {"type": TYPE_PREFIX + code, "title": title, "status": status, "code": code}
    if detail is not None:
        members["detail"] = detail
    body = msgspec.json.encode(members)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, ceil(retry_after_s))).encode()))
    return status, headers, body
