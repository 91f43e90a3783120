"""Routes whose address has no variable part: found in one look-up, however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class ExactRoutes(BaseRoute):
    """Answers what is asked for by exactly this method and path."""

    def __init__(self, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self._endpoints = dict(endpoints)
        methods: dict[str, list[str]] = {}
        for method, path in endpoints:
            methods.setdefault(path, []).append(method)
        self._allow = {path: ", ".join(sorted(found)) for path, found in methods.items()}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether this is one of them; where only the method differs, in part."""
        if scope["type"] != "http" or scope["path"] not in self._allow:
            return Match.NONE, {}
        return (Match.FULL if (scope["method"], scope["path"]) in self._endpoints else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        endpoint = self._endpoints.get((scope["method"], scope["path"]))
        if endpoint is None:
            raise HTTPException(405, headers={"Allow": self._allow[scope["path"]]})
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
