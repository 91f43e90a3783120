"""The types of ASGI 3, as every server and framework of it has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a header, by its name in lower case; the first one when it is sent twice."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return every value of a header, by its name in lower case."""
    return [value.decode("latin-1") for found, value in scope["headers"] if found == name]


def has_body(scope: Scope) -> bool:
    """Whether the request announces a body that is still to come (RFC 9112 section 6.3)."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False
