"""Rates: how often a caller may ask, by token buckets in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import Final

import msgspec

from api.http.asgi import App, Receive, Scope, Send, has_body
from api.http.exchange import answer_problem

# Callers whose buckets are remembered: about 200 bytes each.
MAX_CALLERS: Final = 50_000


class Rate(msgspec.Struct, frozen=True):
    """A token bucket: `burst` requests at once, then `per_second`."""

    per_second: float
    burst: float


class RateLimits:
    """Token buckets by caller and class of operation, in bounded memory. For one event loop; each worker has its own.

    `take` is quick and never waits. What is refused costs nothing.
    """

    def __init__(
        self,
        rates: Mapping[str, Rate],
        *,
        max_callers: int = MAX_CALLERS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._rates = dict(rates)
        self._max_callers = max_callers
        self._clock = clock
        # When each bucket is full again (the "theoretical arrival time" of GCRA): one number, and none once it is past.
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    @property
    def buckets(self) -> int:
        """How many buckets are remembered."""
        return len(self._full_at)

    def take(self, key: str, cost: float = 1.0, *, kind: str) -> float:
        """Take `cost` tokens of a caller's bucket for a class of operations; return 0, or the seconds to wait.

        More than a bucket holds is paid with a full one.
        """
        rate, now = self._rates[kind], self._clock()
        bucket = self._bucket((kind, key), now)
        full_at = max(self._full_at.get(bucket, now), now) + min(cost, rate.burst) / rate.per_second
        wait_s = full_at - now - rate.burst / rate.per_second
        # A bucket that was refilled exactly is not kept waiting for the last bit of a float.
        if wait_s > 1e-9:
            return wait_s
        self._full_at[bucket] = full_at
        self._full_at.move_to_end(bucket)
        return 0.0

    def _bucket(self, bucket: tuple[str, str], now: float) -> tuple[str, str]:
        """Return the bucket itself, or where there is no room for one more, the bucket that all of those share."""
        if bucket in self._full_at or len(self._full_at) < self._max_callers:
            return bucket
        for _ in range(8):
            oldest, full_at = self._full_at.popitem(last=False)
            if full_at <= now:
                return bucket
            # It is in use: to forget it would give its caller a new one.
            self._full_at[oldest] = full_at
        return bucket[0], ""


def address_key(scope: Scope) -> str:
    """Return what a caller who is not known yet is counted by: the address, of IPv6 the /64 that one customer has."""
    client = scope.get("client")
    return _customer(client[0]) if client else ""


@lru_cache(maxsize=4_096)
def _customer(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return address.packed[:8].hex()
    return str(address)


class AddressRate:
    """Refuses what comes too often from one address, before anybody is identified: 429 with Retry-After."""

    def __init__(self, app: App, rates: RateLimits, *, kind: str, exempt: Collection[str] = ()) -> None:
        self._app = app
        self._rates = rates
        self._kind = kind
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._exempt:
            wait_s = self._rates.take(address_key(scope), kind=self._kind)
            if wait_s:
                await answer_problem(
                    scope,
                    send,
                    429,
                    "too-many-requests",
                    "too many requests",
                    "Wait as long as Retry-After says.",
                    retry_after_s=wait_s,
                    close=has_body(scope),
                )
                return
        await self._app(scope, receive, send)
