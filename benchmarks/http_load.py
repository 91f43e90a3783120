"""A load generator, in a process of its own: so many connections, each asking as soon as it is answered.

    python -m benchmarks.http_load <port>     with one JSON job on standard input, one JSON outcome on standard output

A job is {"requests": [[method, path, media type, body or null]], "token", "connections"}. It speaks just enough
HTTP/1.1 to cost little beside the server that it loads.
"""

from __future__ import annotations

import asyncio
import sys
from time import perf_counter
from typing import Any

import msgspec


class Outcome(msgspec.Struct):
    """Answers a second, their median and 99th percentile in milliseconds, and how many were errors."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int


def encoded(token: str, method: str, path: str, media_type: str, body: str | None) -> bytes:
    """Return the bytes of a request."""
    content = (body or "").encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _connection(port: int, requests: list[bytes], seconds: list[float], errors: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    for request in requests:
        began = perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            body = await _chunks(reader)
        else:
            at = lower.index(b"content-length:") + 15
            body = await reader.readexactly(int(lower[at : lower.index(b"\r", at)]))
        seconds.append(perf_counter() - began)
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            errors.append(head[:12] + body[:200])
    writer.close()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


async def load(port: int, requests: list[bytes], connections: int) -> Outcome:
    """Send all requests over so many connections and return what came of it."""
    seconds: list[float] = []
    errors: list[bytes] = []
    began = perf_counter()
    shares = [requests[i::connections] for i in range(connections)]
    await asyncio.gather(*(_connection(port, share, seconds, errors) for share in shares))
    took = perf_counter() - began
    seconds.sort()
    if errors:
        print(errors[0], file=sys.stderr)
    return Outcome(
        len(seconds) / took, seconds[len(seconds) // 2] * 1_000, seconds[len(seconds) * 99 // 100] * 1_000, len(errors)
    )


if __name__ == "__main__":
    job: dict[str, Any] = msgspec.json.decode(sys.stdin.buffer.read())
    prepared = [encoded(job["token"], *one) for one in job["requests"]]
    outcome = asyncio.run(load(int(sys.argv[1]), prepared, job["connections"]))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
