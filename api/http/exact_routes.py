"""Routes by method and address; those without a variable part are found in one look-up, however many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http.asgi import App, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


def with_head(endpoints: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """Return the endpoints of an address by method, HEAD too where there is GET: RFC 9110 §9.1."""
    return {"HEAD": endpoints["GET"], **endpoints} if "GET" in endpoints else dict(endpoints)


class ExactRoutes:
    """Answers what is asked for by exactly this path, to each its endpoints by method; `app` answers all else.

    `refuse` answers where only the method differs, given a 405 that says which ones there are.
    """

    def __init__(
        self,
        app: App,
        endpoints: Mapping[str, Mapping[str, Endpoint]],
        refuse: Callable[[Request, HTTPException], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._endpoints = {path: with_head(found) for path, found in endpoints.items()}
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._endpoints.get(scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        endpoint = found.get(scope["method"])
        if endpoint is None:
            response = await self._refuse(request, HTTPException(405, headers={"Allow": ", ".join(sorted(found))}))
        else:
            response = await endpoint(request)
        await response(scope, receive, send)
