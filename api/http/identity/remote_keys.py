"""The keys of an issuer elsewhere: fetched from its one address, kept for a while, fetched again when one is missing.

A key that the issuer withdrew is trusted for FRESH_S more, or STALE_S while it cannot be reached. However many tokens
name keys that nobody has, the issuer is asked once in REFRESH_EVERY_S.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from api.http.errors import KeysUnavailable
from api.http.identity.keys import KeySet, PublicKey, parse_key_set
from ledger.addresses import Networks, Url
from ledger.errors import Unreachable
from ledger.exchange import Bounds, exchange

FRESH_S: Final = 300.0
STALE_S: Final = 3_600.0
REFRESH_EVERY_S: Final = 15.0

BOUNDS: Final = Bounds(deadline_s=5.0, max_bytes=256 * 1024)

Fetch = Callable[[], bytes]


def fetch_from(url: Url, networks: Networks) -> Fetch:
    """Return what fetches a document from there. It raises Unreachable, also for an answer that is not 200."""

    def fetch() -> bytes:
        answer = exchange("GET", url, headers={"Accept": "application/json"}, networks=networks, bounds=BOUNDS)
        if answer.status != 200:
            raise Unreachable(f"it answered with status {answer.status}; redirects are not followed")
        return answer.body

    return fetch


class RemoteKeys:
    """Keys that `fetch` returns as a JWK set, or raises Unreachable. One thread fetches at a time."""

    def __init__(self, fetch: Fetch, *, seconds: Callable[[], float] = monotonic) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._fetching = threading.Lock()
        self._keys: KeySet = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self.failure: str | None = None

    def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        return self._keys.get((key_id, algorithm)) if self._age_within(STALE_S) else None

    def is_due(self, key_id: str, algorithm: str) -> bool:
        if self.find(key_id, algorithm) is not None:
            return not self._age_within(FRESH_S) and self._may_try()
        return self._may_try() or self._fetching.locked() or not self._age_within(STALE_S)

    def refresh(self) -> None:
        with self._fetching:
            if self._may_try():
                self._tried_at = self._seconds()
                try:
                    self._keys = parse_key_set(self._fetch())
                    self._fetched_at, self.failure = self._tried_at, None
                except Unreachable as error:
                    self.failure = str(error)
                except ValueError:
                    self.failure = "it answered with something that is no set of keys that sign access tokens"
            if not self._age_within(STALE_S):
                raise KeysUnavailable(self.failure or "they were fetched too long ago")

    def _age_within(self, limit_s: float) -> bool:
        return self._fetched_at is not None and self._seconds() - self._fetched_at < limit_s

    def _may_try(self) -> bool:
        return self._tried_at is None or self._seconds() - self._tried_at >= REFRESH_EVERY_S
