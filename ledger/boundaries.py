"""Boundaries in memory: the events that recent decisions depended on, kept current as the log grows.

A cache can only be behind, never wrong: whatever is decided on it is appended on the condition that nothing in the
boundary came after the position it was read at, and a refusal is decided again on what the store says. Entries never
change, so nothing here is ever invalid but incomplete; growth by another process empties it. What is `unused` is not
looked for at all: only the append says whether it is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from ledger.command import Recorded
from ledger.storage.engine import Engine, EventRow, Query, QueryItem
from ledger.vocabulary import Tag

# The longest answer that is kept, and how many events in all: about 1.4 kB each, some tens of megabytes.
_EVENTS: Final = 64
_EVENTS_IN_ALL: Final = 30_000


class Boundaries:
    """Reads boundaries of an engine. Safe for many threads; `grown` is called by the one writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._position = engine.size()
        self._by_tag: OrderedDict[Tag, dict[QueryItem, list[Recorded | bytes]]] = OrderedDict()
        self._events = 0

    def read(self, query: Query, *, fresh: bool) -> tuple[list[Recorded], int]:
        """Return the events of a boundary in order, and the position they are complete up to.

        With `fresh` nothing comes from memory. Without it what is asked for `ever` is not read: whether there is
        nothing is for the condition of the append to say.
        """
        known, missing, position = self._known(query, fresh)
        for item in missing:
            found = [Recorded.parse(stored.entry) for stored in self._engine.select((item,), end=position)]
            if not fresh:
                self._keep(item, found, position)
            known += found
        if len(query) > 1 and len(known) > 1:
            known = sorted({recorded.index: recorded for recorded in known}.values(), key=lambda r: r.index)
        return known, position

    def grown(self, rows: Sequence[EventRow], size: int) -> None:
        """Take in what was committed: the events from the last size on, up to `size`."""
        with self._lock:
            if self._position + len(rows) != size:
                self._by_tag.clear()
                self._events = 0
            self._position = size
            if not self._by_tag:
                return
            for row in rows:
                for tag, _ in row.tags:
                    items = self._by_tag.get(tag)
                    if items is not None:
                        self._events += _add(items, row)
            self._forget()

    def _known(self, query: Query, fresh: bool) -> tuple[list[Recorded], list[QueryItem], int]:
        if fresh or not query:
            return [], list(query) or [QueryItem()], self._engine.size()
        known: list[Recorded] = []
        missing: list[QueryItem] = []
        with self._lock:
            for item in query:
                if item.ever:
                    continue
                kept = self._by_tag.get(item.tags[0], {}).get(item) if item.tags else None
                if kept is None:
                    missing.append(item)
                    continue
                self._by_tag.move_to_end(item.tags[0])
                for i, recorded in enumerate(kept):
                    if isinstance(recorded, bytes):
                        recorded = kept[i] = Recorded.parse(recorded)
                    known.append(recorded)
            return known, missing, self._position

    def _keep(self, item: QueryItem, found: Iterable[Recorded], position: int) -> None:
        kept: list[Recorded | bytes] = list(found)
        if not item.tags or len(kept) > _EVENTS:
            return
        with self._lock:
            # What was committed since the read would be missing for good.
            if self._position == position:
                items = self._by_tag.setdefault(item.tags[0], {})
                # That there is nothing is an answer too: it counts as one event.
                self._events += len(kept) + 1 - (len(items[item]) + 1 if item in items else 0)
                items[item] = kept
                self._forget()

    def _forget(self) -> None:
        """Drop what was asked for the longest ago, until the rest is within bounds."""
        while self._events > _EVENTS_IN_ALL:
            _, dropped = self._by_tag.popitem(last=False)
            self._events -= sum(len(one) + 1 for one in dropped.values())


def _add(items: dict[QueryItem, list[Recorded | bytes]], row: EventRow) -> int:
    """Add an event to the answers that it belongs to; return by how much they grew."""
    grown = 0
    for item, kept in list(items.items()):
        if (not item.types or row.type in item.types) and {tag for tag, _ in row.tags}.issuperset(item.tags):
            if len(kept) < _EVENTS:
                kept.append(row.entry)
                grown += 1
            else:
                grown -= len(kept) + 1
                del items[item]
    return grown
