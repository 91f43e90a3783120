"""What browsers are told: nobody frames, guesses or keeps an answer; other sites ask only where they are allowed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from starlette.middleware.cors import CORSMiddleware

from api.http.asgi import App, Message, Receive, Scope, Send
from ledger.errors import Invalid

HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# A year; the sub-domains are not ours to decide about.
HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
NO_STORE: Final = (b"cache-control", b"no-store")

# What scripts of an allowed origin may send, and what they may read of an answer.
ALLOWED_HEADERS: Final = (
    "Authorization", "Case-Reference", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Purpose",
    "Traceparent", "X-Request-Id",
)  # fmt: skip
EXPOSED_HEADERS: Final = ("ETag", "Location", "Retry-After", "X-Request-Id")

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")


class SecurityHeaders:
    """Middleware: adds each header that the application has not set itself. HSTS only where TLS was used."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = (*HEADERS, NO_STORE, HSTS) if scope.get("scheme") == "https" else (*HEADERS, NO_STORE)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                set_already = {name.lower() for name, _ in headers}
                message["headers"] = headers + [header for header in wanted if header[0] not in set_already]
            await send(message)

        await self._app(scope, receive, secured)


class Cors:
    """Middleware: lets scripts of exactly these origins ask, with a token, never with cookies; of no others.

    Raises Invalid for what is not an origin as browsers send it: scheme, host in lower case, port unless the default.
    """

    def __init__(self, app: App, origins: Collection[str]) -> None:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise Invalid("origin", "is like https://app.example.com: no path, no '*', and never 'null'")
        self._app: App = app
        if origins:
            self._app = CORSMiddleware(
                app,
                allow_origins=tuple(origins),
                allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
                allow_headers=ALLOWED_HEADERS,
                expose_headers=EXPOSED_HEADERS,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
