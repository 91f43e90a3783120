"""Verification of the tag index: every commitment in the log, and the stored index, against the entries alone.

The index grows again in a scratch file, entry by entry: flat memory whatever the size. Nothing stored is trusted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Final, TypeVar

from ledger.errors import VerificationError
from ledger.events import IndexCommitted
from ledger.storage.engine import AuditRow, Engine
from ledger.storage.sqlite import index_schema
from ledger.storage.sqlite_tags import scratch_index
from ledger.storage.tag_store import Pack, TagLeaf, all_leaves, all_packs
from ledger.tlog import tag_map
from ledger.tlog.index import IndexCommitment, key_of

# Entries that are counted at a time, and marks settled at a time.
_STEP: Final = 2_048
_MARKS: Final = 65_536

# Times that the stored index is compared while another process changes it under our eyes.
_ATTEMPTS: Final = 10

Row = TypeVar("Row", TagLeaf, Pack)

Add = Callable[[str, str], None]
"""Names a problem: (where, why)."""


class IndexCheck:
    """The index of a ledger, rebuilt from its first `size` entries and compared on the way.

    `resting` keeps this process from changing the stored index while it is compared; other processes are waited for.
    """

    def __init__(
        self,
        engine: Engine,
        size: int,
        *,
        resting: Callable[[], AbstractContextManager[None]],
        add: Add,
        progress: Callable[[int], None],
    ) -> None:
        self.commitments = 0
        self._engine = engine
        self._size = size
        self._resting = resting
        self._add = add
        self._progress = progress
        self._scratch = scratch_index(index_schema())
        self._stored = engine.tag_index.state()
        self._compared = False

    def run(self) -> None:
        """Compare every commitment, and the stored index at the size where it is. Raises StorageError."""
        if self._stored.size > self._engine.size():
            self._add("index", f"counts {self._stored.size} entries, the log has {self._engine.size()}")
            self._compared = True
        pending: list[AuditRow] = []
        try:
            for row in self._engine.audit(0, self._size):
                if not self._compared and row.index == self._stored.size:
                    self._advance(pending)
                    self._compare()
                if row.type == IndexCommitted.TOPIC:
                    self._advance(pending)
                    self._check_commitment(row)
                pending.append(row)
                if len(pending) == _STEP:
                    self._advance(pending)
            self._advance(pending)
            self._compare_at_the_end()
        except VerificationError as error:
            self._add("entries", error.why)

    def _compare_at_the_end(self) -> None:
        """The index is further than the entries were when this began."""
        for _ in range(_ATTEMPTS):
            mine = self._scratch.state().size
            if not self._compared and self._stored.size >= mine:
                self._advance(list(self._engine.audit(mine, self._stored.size)))
                self._compare()
        if not self._compared:
            self._add("index", "was changed again and again while it was compared; verify once more")

    def _advance(self, rows: list[AuditRow]) -> None:
        """Count these entries and hash what changed; empties the list."""
        state = self._scratch.state()
        if rows:
            self._scratch.write(tag_map.count(self._scratch, state, rows, self._engine.origin), state)
            self._progress(rows[-1].index + 1)
            rows.clear()

    def _settle(self) -> None:
        while marks := self._scratch.marks(_MARKS):
            state = self._scratch.state()
            self._scratch.write(tag_map.settle(self._scratch, state, marks), state)

    def _check_commitment(self, row: AuditRow) -> None:
        self.commitments += 1
        where = f"entry {row.index}"
        try:
            committed = IndexCommitment.parse(row.entry, self._engine.origin)
        except VerificationError as error:
            self._add(where, str(error))
            return
        self._settle()
        tags = self._scratch.state().tags
        if committed.tags != tags:
            self._add(where, f"commits to {committed.tags} tags, the entries before it have {tags}")
        if committed.root != tag_map.node_at(self._scratch).hash:
            self._add(where, "commits to another index than the entries before it add up to")

    # --- the stored index ------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Compare the stored index with ours of the same entries, unless it has moved on meanwhile."""
        self._settle()
        store = self._engine.tag_index
        with self._resting():
            found = [*self._different_leaves()]
            places = [*self._different_packs()]
            after = store.state()
        if after != self._stored:
            self._stored = after
            return
        self._compared = True
        tags = self._scratch.state().tags
        if after.tags != tags:
            self._add("index", f"counts {after.tags} tags, the entries have {tags}")
        names = self._names({key for key, _ in found})
        for key, why in found:
            self._add(names.get(key, f"tag key {key.hex()}"), why)
        for place in places:
            self._add(f"index node {place.hex()}", "is not the hash of what stands below it")

    def _different_leaves(self) -> Iterator[tuple[bytes, str]]:
        for key, stored, mine in _paired(all_leaves(self._engine.tag_index), all_leaves(self._scratch)):
            if mine is None:
                yield key, "is in the index but on no entry"
            elif stored is None:
                yield key, "is missing from the index"
            elif stored[1] != mine[1]:
                yield key, f"counts {stored[1]} events in the index, the entries have {mine[1]}"
            elif stored[2] != mine[2]:
                yield key, "has another head in the index than its entries lead to"

    def _different_packs(self) -> Iterator[bytes]:
        marks = self._engine.tag_index.marks(1 << tag_map.MARK_BITS)
        for place, stored, mine in _paired(all_packs(self._engine.tag_index), all_packs(self._scratch)):
            if stored != mine and not _is_marked(place, marks):
                yield place

    def _names(self, keys: set[bytes]) -> dict[bytes, str]:
        """Return the names of tags by key, as the entries' rows have them."""
        names: dict[bytes, str] = {}
        if keys:
            for tag, _ in groupby(self._engine.tags(), key=lambda row: row.tag):
                key = key_of(self._engine.origin, tag)
                if key in keys:
                    names[key] = f"tag {tag}"
        return names


def _paired(stored: Iterator[Row], mine: Iterator[Row]) -> Iterator[tuple[bytes, Row | None, Row | None]]:
    """Yield (key, row of the store, row of the scratch file) for every key of either; both come in order of key."""
    left, right = next(stored, None), next(mine, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None
            yield left[0], left, None
            left = next(stored, None)
        elif left is None or right[0] < left[0]:
            yield right[0], None, right
            right = next(mine, None)
        else:
            yield left[0], left, right
            left, right = next(stored, None), next(mine, None)


def _is_marked(place: bytes, marks: list[int]) -> bool:
    """Whether a place holds a part of the tree that is known to be out of date."""
    depth = place[0] if place else 0
    prefix = int.from_bytes(place[1:], "big") >> (-depth % 8)
    shift = tag_map.MARK_BITS - depth
    first = prefix << shift if shift >= 0 else prefix >> -shift
    end = first + (1 << shift if shift >= 0 else 1)
    at = bisect_left(marks, first)
    return at < len(marks) and marks[at] < end
