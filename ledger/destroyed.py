"""Which keys are recorded as destroyed: from that entry on nothing is sealed under them and nothing is opened.

Kept in memory and current, because every sealing and every reading asks; what another process recorded is read from the
log by its type. What does not live here: carrying a destruction out (Ledger, keys, engine).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ledger.command import Recorded
from ledger.errors import Tampered
from ledger.events import KeyDestroyed
from ledger.storage.engine import Engine, EventRow, QueryItem
from ledger.vocabulary import KeyId


class DestroyedKeys:
    """The destroyed keys of a ledger. Safe for many threads; `grown` is called by the one writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._keys: set[KeyId] = set()
        self._position = 0

    def contains(self, key_id: KeyId, position: int) -> bool:
        """Whether the destruction of a key is recorded at or before `position`, or known of later."""
        self.read_up_to(position)
        return key_id in self._keys

    def grown(self, rows: Sequence[EventRow], size: int) -> bool:
        """Take in what was committed; return whether a key was destroyed in it."""
        destroyed = {_key(row.entry) for row in rows if row.type == KeyDestroyed.TOPIC}
        with self._lock:
            self._keys |= destroyed
            if self._position + len(rows) == size:
                self._position = size
        return bool(destroyed)

    def read_up_to(self, position: int) -> None:
        """Take in what others recorded, when that is not done yet: once for all who seal after it."""
        if self._position >= position:
            return
        with self._lock:
            query = (QueryItem((KeyDestroyed.TOPIC,)),)
            self._keys |= {_key(s.entry) for s in self._engine.select(query, after=self._position, end=position)}
            self._position = max(self._position, position)


def _key(entry: bytes) -> KeyId:
    recorded = Recorded.parse(entry)
    if not isinstance(recorded.event, KeyDestroyed):
        raise Tampered(f"entry {recorded.index}", "is filed under another type than its own")
    return recorded.event.key_id
