"""Routes by method and address; those without a variable part are found in one look-up, however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


def with_head(endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """Return the endpoints of an address by method, HEAD too where there is GET: RFC 9110 §9.1."""
    return {"HEAD": endpoints["GET"], **endpoints} if "GET" in endpoints else dict(endpoints)


class ExactRoutes(BaseRoute):
    """Answers what is asked for by exactly this path: to each its endpoints by method."""

    def __init__(self, endpoints: Mapping[str, Mapping[str, Endpoint]]) -> None:
        self._endpoints = {path: with_head(found) for path, found in endpoints.items()}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether this is one of them; where only the method differs, in part."""
        found = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            return Match.NONE, {}
        return (Match.FULL if scope["method"] in found else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        found = self._endpoints[scope["path"]]
        endpoint = found.get(scope["method"])
        if endpoint is None:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(found))})
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
