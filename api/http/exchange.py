"""An exchange: one request and its answer, as logs, metrics and traces see them. It holds ids and closed words only.

`Exchanges` is the outermost layer of the door. It gives each request its id, answers it back, and tells the observers
when the answer has gone. What the layers inside know about the request, they note: `exchange_of(scope).operation = …`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import getrandbits
from time import perf_counter
from traceback import extract_tb
from typing import Final

from api.http.asgi import App, Message, Receive, Scope, Send, header
from api.http.problem import problem

_KEY: Final = "prooftrail.exchange"
# A UUID, or the 32 hexadecimal digits of a trace. Free text might be a name, and eleven digits a personal code.
_REQUEST_ID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")


class Exchange:
    """What may be said about a request in a log line, a label or a span."""

    __slots__ = (
        "actor_id",
        "bytes_in",
        "bytes_out",
        "error",
        "method",
        "operation",
        "problem",
        "request_id",
        "role",
        "seconds",
        "status",
    )

    def __init__(self, request_id: str, method: str) -> None:
        self.request_id = request_id
        self.method = method
        self.operation: str | None = None
        """The id of the operation, None where no operation has that address."""
        self.role: str | None = None
        self.actor_id: str | None = None
        self.problem: str | None = None
        """The code of the problem that was answered."""
        self.status: int | None = None
        """None when the caller had gone before there was an answer."""
        self.error: str | None = None
        """What was raised out of the application and where, without its text: a mistake of ours."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.seconds = 0.0


Observer = Callable[[Exchange], None]


def exchange_of(scope: Scope) -> Exchange | None:
    """Return the exchange of a request, None outside of `Exchanges`."""
    found: Exchange | None = scope.get(_KEY)
    return found


def request_id_of(scope: Scope) -> str:
    """Return the id that the caller gave the request, when it is one, else a new one."""
    given = header(scope, b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    # Nobody has to be kept from guessing it, and the system's randomness would cost more than the rest of this.
    return f"{getrandbits(128):032x}"


def place_of(error: BaseException) -> str:
    """Return the class of an error and where it was raised. Its text may hold what was sent, and is not in it."""
    frames = extract_tb(error.__traceback__)
    where = f" in {frames[-1].name} ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return type(error).__name__ + where


async def answer_problem(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    title: str,
    detail: str | None = None,
    *,
    retry_after_s: float | None = None,
    close: bool = False,
) -> None:
    """Answer a request with a problem. With `close` nothing more is read from this connection."""
    status, headers, body = problem(status, code, title, detail, retry_after_s)
    if close:
        headers.append((b"connection", b"close"))
    if (exchange := exchange_of(scope)) is not None:
        exchange.problem = code
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Exchanges:
    """Outermost middleware: the exchange, `X-Request-Id`, and the observers, told once each request has ended."""

    def __init__(self, app: App, observers: Sequence[Observer] = ()) -> None:
        self._app = app
        self._observers = tuple(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[_KEY] = Exchange(request_id_of(scope), scope["method"])
        request_id = (b"x-request-id", exchange.request_id.encode())

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), request_id]
            else:
                exchange.bytes_out += len(message.get("body", b""))
            await send(message)

        began = perf_counter()
        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            exchange.error = place_of(error)
            if exchange.status is not None:
                # Half an answer must not look like a whole one: the server cuts the connection.
                raise
            await answer_problem(
                scope, answer, 500, "internal", "internal", "This is our mistake; quote the request id.", close=True
            )
        finally:
            exchange.seconds = perf_counter() - began
            for observe in self._observers:
                observe(exchange)
