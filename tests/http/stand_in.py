"""A tiny application behind the limits, under a real uvicorn: what the tests of the door's outer layers attack.

    python -m tests.http.stand_in <port file> [--off LAYER ...]

Its parts can be taken out, so that an injector is seen to fail without them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
from pathlib import Path

import uvicorn

from api.http.asgi import App, Message, Receive, Scope, Send
from api.http.exchange import Exchanges, answer_problem, exchange_of
from api.http.limits import BodyLimit, Concurrency, Deadline
from api.http.logs import REQUESTS, configure_logs, log_request
from api.http.protocol import DeadlineProtocol
from api.http.rates import Rate, RateLimits

MAX_BODY = 1024 * 1024
LAYERS = ("protocol", "body", "concurrency", "deadline", "rates", "graceful")
OPERATIONS = {f"/{name}".removesuffix("root"): name for name in ("root", "echo", "slow", "export", "raise", "large")}
RATES = {"read": Rate(per_second=10_000, burst=10_000), "export": Rate(per_second=2, burst=4)}


async def answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


class StandIn:
    """`/` answers, `/echo` counts the body, `/slow` works a while, `/export` is dear, `/raise` fails."""

    def __init__(self, rates: RateLimits | None) -> None:
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.operation = OPERATIONS.get(path)
            exchange.role, exchange.actor_id = "support", "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11"
        if path == "/raise":
            raise ValueError((await body_of(receive)).decode())
        if path == "/large":
            await answer(send, 200, bytes(8 * 1024 * 1024))
            return
        body = await body_of(receive)
        if path == "/slow":
            await asyncio.sleep(float(scope["query_string"] or b"0.5"))
        if path == "/export":
            caller = dict(scope["headers"]).get(b"authorization", b"").decode()
            wait_s = self._rates.take(caller, kind="export") if self._rates else 0.0
            if wait_s:
                await answer_problem(scope, send, 429, "too-many-requests", "too many requests", retry_after_s=wait_s)
                return
            # A dear question: it keeps a core busy.
            sum(range(200_000))
        status = resource.getrusage(resource.RUSAGE_SELF)
        found = {"bytes": len(body), "path": path, "max_rss_kb": status.ru_maxrss}
        await answer(send, 200, json.dumps(found).encode())

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message: Message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def built(off: set[str]) -> App:
    app: App = StandIn(None if "rates" in off else RateLimits(RATES))
    if "deadline" not in off:
        app = Deadline(app, seconds=3.0)
    if "concurrency" not in off:
        app = Concurrency(app, in_flight=64, waiting=128, wait_s=2.0)
    if "body" not in off:
        app = BodyLimit(app, lambda scope: MAX_BODY)
    return Exchanges(app, [log_request])


class _Announcing(uvicorn.Server):
    """Writes its port where the test waits for it."""

    def __init__(self, config: uvicorn.Config, port_file: Path) -> None:
        super().__init__(config)
        self._port_file = port_file

    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        port = self.servers[0].sockets[0].getsockname()[1]
        written = self._port_file.with_suffix(".new")
        written.write_text(str(port))
        os.replace(written, self._port_file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port_file", type=Path)
    parser.add_argument("--off", nargs="*", choices=LAYERS, default=[])
    parser.add_argument("--connections", type=int)
    parser.add_argument("--write-s", type=float, default=DeadlineProtocol.WRITE_S)
    arguments = parser.parse_args()
    DeadlineProtocol.WRITE_S = arguments.write_s
    if arguments.connections:
        DeadlineProtocol.MAX_CONNECTIONS = arguments.connections
    off = set(arguments.off)
    configure_logs()
    DeadlineProtocol.watchers.append(lambda reason: REQUESTS.info("cut: %s", reason))
    config = uvicorn.Config(
        built(off),
        host="127.0.0.1",
        port=0,
        http="httptools" if "protocol" in off else DeadlineProtocol,
        ws="none",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=0 if "graceful" in off else 20,
        log_config=None,
    )
    _Announcing(config, arguments.port_file).run()


if __name__ == "__main__":
    main()
