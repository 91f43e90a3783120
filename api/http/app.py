"""The application: `create_app(settings)` wires what is open to the operations, and every operation to the door.

Every request passes the same rings, from outside in: security headers, the log, limits of size, number and time, then
the door. What lives elsewhere: what an operation answers (routes), who may (permissions), how a server is run (cli).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http import routes
from api.http.asgi import App, Receive, Scope, Send
from api.http.commanding import Commanding, declare_commands
from api.http.door import Door
from api.http.exact_routes import Endpoint, ExactRoutes, with_head
from api.http.health import add_health
from api.http.openapi import describe
from api.http.operation import JSON, OPERATIONS, Kind, Operation
from api.http.problems import Problem
from api.http.rings import rings
from api.http.service import Service
from api.settings import Settings

assert routes.CAPABILITIES  # importing it is what fills OPERATIONS, besides the commands

# How many questions and uploads are worked on at once.
THREADS: Final = 64

_BY_STATUS: Final = {404: "not-found", 405: "method-not-allowed", 413: "length-unfit", 415: "media-type-unfit"}


class Application(FastAPI):
    """FastAPI inside of the rings: what is found by its address alone passes none of the layers that others need."""

    outermost: App

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.outermost(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as FastAPI does."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings) -> Application:
    """Return the ASGI application over this ledger. What it needs is opened when it starts, closed when it stops."""
    declare_commands(settings.limits.order_bytes)
    service = Service(settings, OPERATIONS)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        # By default there are few more than cores, and whoever waits for a commit holds one.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "prooftrail-door"))
        await service.aopen()
        try:
            yield
        finally:
            await service.aclose()

    # The description is ours, from the same declarations that answer; pages that load scripts from elsewhere are off.
    app = Application(
        title="Prooftrail", lifespan=life, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service = service
    door = Door(service)
    recording = Commanding(service, door)
    endpoints: dict[str, dict[str, Endpoint]] = {}
    for operation in OPERATIONS.values():
        endpoints.setdefault(operation.path, {})[operation.method] = _endpoint(operation, door, recording)
    for path, found in endpoints.items():
        if "{" in path:
            app.add_route(path, _by_method(with_head(found)), methods=[*found])
    _describe(app, service)
    add_health(app, service)

    async def unrouted(request: Request, error: Any) -> Response:
        code = _BY_STATUS.get(error.status_code, "malformed") if isinstance(error, HTTPException) else "internal"
        answer = door.problem(request, Problem(code))
        if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer

    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(404, unrouted)
    app.add_exception_handler(405, unrouted)
    # A hundred addresses without an id in them are found at once, instead of being tried one after the other.
    exact = {path: found for path, found in endpoints.items() if "{" not in path}
    app.outermost = rings(ExactRoutes(app.routed, exact, unrouted), service)
    return app


def _by_method(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await endpoints[request.method](request)

    return endpoint


def _endpoint(operation: Operation, door: Door, recording: Commanding) -> Endpoint:
    answers = {
        Kind.QUERY: door.answer,
        Kind.COMMAND: recording.answer,
        Kind.INTAKE: recording.intake,
        Kind.BATCH: recording.batch,
    }
    chosen = partial(answers[operation.kind], operation)

    async def endpoint(request: Request) -> Response:
        return await chosen(request)

    return endpoint


def _describe(app: FastAPI, service: Service) -> None:
    body = msgspec.json.encode(describe(OPERATIONS.values(), service.permissions, version=version("prooftrail")))

    async def openapi(_: Request) -> Response:
        return Response(body, 200, {"Content-Type": JSON})

    app.add_api_route("/v1/openapi.json", openapi, methods=["GET"], include_in_schema=False)
