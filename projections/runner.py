"""The runner: follows the ledger, rebuilds beside what is in use, and compares the two.

Every batch is one transaction of rows and position, under the store's lock: killed anywhere, in any of several
processes, each entry is taken in once. What follows another ledger, a ledger that was rolled back, or older code is
found by origin, leaf hash and version, and rebuilt.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Final

import msgspec

from ledger import Ledger
from ledger.errors import StorageError
from ledger.events import KeyDestroyed
from ledger.storage.engine import QueryItem
from projections.batch import BATCH, Applier
from projections.compare import Comparison, compare
from projections.projection import Projection
from projections.storage.store import Generation, Store

Progress = Callable[[int, int], None]
"""Is told (done, total) entries now and then."""

# How many differences `verify` names; it counts all.
MAX_DIFFERENCES: Final = 100
# How many quarantined entries `status` names; it counts all.
MAX_QUARANTINED: Final = 100

# How long a follower sleeps at most before it looks whether it should stop, and after a failure before it tries again.
_WAIT_S: Final = 0.2
_RETRY_S: Final = 1.0
# Once there is something to take in, it waits for more while more comes at this pace, for so long or so much at most.
_PAUSE_S: Final = 0.01
_GATHER_S: Final = 0.1
_GATHERED: Final = 1_024

# A key that is destroyed while a comparison runs makes it start again; so many in a row mean that it never ends.
_MAX_COMPARISONS: Final = 10


class Quarantined(msgspec.Struct, frozen=True):
    """An entry that a projection could not take in: `error` is the class of what was raised."""

    index: int
    projection: str
    error: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How far the projections are. `lag` is in entries; `failure` is the class of what stops the follower, or None."""

    built: bool
    position: int
    size: int
    lag: int
    following: bool
    failure: str | None
    quarantined: int
    quarantine: tuple[Quarantined, ...]  # the first MAX_QUARANTINED
    versions: dict[str, int]


class Runner:
    """Keeps the tables of some projections up with a ledger. Safe for many threads and processes."""

    def __init__(self, ledger: Ledger, store: Store, projections: Sequence[Projection], *, batch: int = BATCH) -> None:
        self._ledger = ledger
        self._store = store
        self._applier = Applier(ledger, projections)
        self._versions = {projection.NAME: projection.VERSION for projection in projections}
        self._batch = batch
        self._position = 0
        self._moved = threading.Condition()
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    # --- following -------------------------------------------------------------------------------------------

    def catch_up(self, progress: Progress | None = None) -> int:
        """Take in what the ledger has now and return the position reached: at least its size at the call.

        Builds everything when there is nothing, or nothing that fits. Raises StorageError; what was taken in stays.
        """
        size = self._ledger.size()
        while True:
            with self._store.writing() as generation:
                position = None if generation is None else self._step(generation)
            if position is None:
                self._rebuild(progress, unless_fit=True)
                continue
            self._note(position)
            if progress is not None:
                progress(min(position, size), size)
            if position >= size:
                return position

    def follow(self) -> None:
        """Start to follow the ledger in a thread of its own, until `stop`. Starting twice is starting once."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._follow, name="prooftrail-projections", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop following, after the batch that is under way."""
        if self._thread is not None:
            self._stopping.set()
            self._hurried.set()
            self._thread.join()
            self._thread = None

    def wait_for(self, position: int, timeout_s: float) -> bool:
        """Wait until everything below `position` is taken in; return whether it is. For who reads what it just wrote.

        Without a follower in this process the caller's thread does the work itself.
        """
        deadline = monotonic() + timeout_s
        if self._thread is None:
            if not self._ledger.wait_for(position, timeout_s):
                return False
            return self._position >= position or self.catch_up() >= position
        self.hurry()
        with self._moved:
            return self._moved.wait_for(lambda: self._position >= position, max(0.0, deadline - monotonic()))

    def hurry(self) -> None:
        """Have the follower take in what there is at once: somebody waits for it."""
        self._hurried.set()

    def _follow(self) -> None:
        behind = True  # also an empty ledger has tables, so that questions can be asked
        while not self._stopping.is_set():
            try:
                if behind or self._ledger.wait_for(self._position + 1, _WAIT_S):
                    self._gather()
                    self.catch_up()
                behind, self._failure = False, None
            except Exception as error:
                # A full disk or a lost key store passes; until then the state is old, and the status says why.
                self._failure = type(error).__name__
                self._stopping.wait(_RETRY_S)

    def _gather(self) -> None:
        """Wait for what follows at once: a transaction for each commit would cost as much again as the commit."""
        ends = monotonic() + _GATHER_S
        size = self._ledger.size()
        while not self._hurried.wait(_PAUSE_S) and monotonic() < ends:
            before, size = size, self._ledger.size()
            if size == before or size - self._position > _GATHERED:
                break
        self._hurried.clear()

    def _step(self, generation: Generation) -> int | None:
        """Take in one batch and return the position, None when what is there does not fit."""
        position = self._fit(generation)
        if position is None:
            return None
        end = min(position + self._batch, self._ledger.size())
        if end > position:
            self._applier.advance(generation, position, end)
        return end

    def _fit(self, generation: Generation) -> int | None:
        """Return the position of what is built, None when it is not what this code would build of this ledger.

        Raises StorageError for a newer version: two programs must not rebuild in turn for ever.
        """
        found = generation.rows("SELECT name, version, position FROM projection")
        versions = {name: version for name, version, _ in found}
        if any(version > self._versions.get(name, version) for name, version in versions.items()):
            raise StorageError("the projections are of a newer version: install a newer prooftrail")
        positions = {position for _, _, position in found}
        if versions != self._versions or len(positions) != 1:
            return None
        position: int = positions.pop()
        origin, leaf = generation.rows("SELECT origin, leaf FROM source")[0]
        # A ledger restored from an older backup has other entries, or none, where this one was built from.
        leaves = self._ledger.engine.leaves(position - 1, position) if position else [b""]
        return position if origin == self._ledger.origin and leaves == [leaf] else None

    def _note(self, position: int) -> None:
        with self._moved:
            self._position = position
            self._moved.notify_all()

    # --- building --------------------------------------------------------------------------------------------

    def rebuild(self, progress: Progress | None = None) -> int:
        """Build everything anew beside what is in use, then turn to it at once; return the position reached.

        Readers see the old state until they see the new one, which is never behind it. Killed anywhere, the one or the
        other is in use, whole. Raises StorageError, and then the old state stays.
        """
        return self._rebuild(progress, unless_fit=False)

    def _rebuild(self, progress: Progress | None, *, unless_fit: bool) -> int:
        with self._store.building() as fresh:
            if unless_fit and (position := self._fit_now()) is not None:
                # Another process has built it while this one waited.
                return position
            self._build(fresh, self._ledger.size(), progress)
            # What was recorded meanwhile, until so little is left that followers may wait for it.
            while self._ledger.size() - _position(fresh) > self._batch:
                self._extend(fresh, self._ledger.size())
            with self._store.turning(fresh):
                position = self._extend(fresh, self._ledger.size())
        self._note(position)
        return position

    def _fit_now(self) -> int | None:
        with self._store.writing() as generation:
            return None if generation is None else self._fit(generation)

    def _build(self, fresh: Generation, end: int, progress: Progress | None) -> int:
        self._applier.lay_out(fresh)
        position = self._extend(fresh, end, progress)
        self._applier.lay_out_indexes(fresh)
        return position

    def _extend(self, fresh: Generation, end: int, progress: Progress | None = None) -> int:
        """Take in everything below `end`, in batches."""
        position = _position(fresh)
        with _collected_between() as collect:
            while position < end:
                first, position = position, min(position + self._batch, end)
                self._applier.advance(fresh, first, position)
                collect()
                if progress is not None:
                    progress(position, end)
        return position

    # --- comparing -------------------------------------------------------------------------------------------

    def verify(self, progress: Progress | None = None, *, limit: int = MAX_DIFFERENCES) -> Comparison:
        """Build everything anew and compare it with what is in use, row by row, in flat memory; change nothing in it.

        Names the first `limit` differences and counts all. Raises StorageError when what is in use cannot be read.
        """
        reached = self.catch_up()
        with self._store.building() as fresh:
            # No further than what is in use, which only grows: another process may be recording.
            self._build(fresh, reached, progress)
            for _ in range(_MAX_COMPARISONS):
                with self._store.snapshot() as live:
                    position = _position(live)
                    self._extend(fresh, position)
                    found = compare(live, fresh, self._applier.projections, position=position, limit=limit)
                # The digests under a key go with it. One destroyed after the position of the snapshot may be gone
                # from what was just built and not yet from what is in use: then look again, further on.
                if not found.count or not self._keys_destroyed_since(position):
                    return found
                self.catch_up()
        raise StorageError("keys are destroyed without a pause: verify again when it is quieter")

    def _keys_destroyed_since(self, position: int) -> bool:
        query = (QueryItem((KeyDestroyed.TOPIC,)),)
        found = self._ledger.engine.select(query, after=position, end=self._ledger.size(), limit=1)
        return next(found, None) is not None

    # --- status ----------------------------------------------------------------------------------------------

    def position(self) -> int:
        """Return how many entries are taken in, 0 when nothing is built. Raises StorageError for a damaged file."""
        if not self._store.exists():
            return 0
        with self._store.read() as rows:
            return min((position for (position,) in rows("SELECT position FROM projection")), default=0)

    def status(self) -> Status:
        """Return how far the projections are and what is quarantined. Raises StorageError for a damaged file."""
        size = self._ledger.size()
        versions: dict[str, int] = {}
        position = count = 0
        quarantine: tuple[Quarantined, ...] = ()
        built = self._store.exists()
        if built:
            with self._store.read() as rows:
                found = rows("SELECT name, version, position FROM projection ORDER BY name")
                versions = {name: version for name, version, _ in found}
                position = min((position for _, _, position in found), default=0)
                count = rows("SELECT count(*) FROM quarantine")[0][0]
                quarantine = tuple(
                    Quarantined(*row)
                    for row in rows("SELECT * FROM quarantine ORDER BY idx, projection LIMIT ?", MAX_QUARANTINED)
                )
        return Status(
            built=built,
            position=position,
            size=size,
            lag=max(0, size - position),
            following=self._thread is not None,
            failure=self._failure,
            quarantined=count,
            quarantine=quarantine,
            versions=versions,
        )


@contextmanager
def _collected_between() -> Iterator[Callable[[], object]]:
    """Look for garbage in circles when the caller says so: a batch makes none, and looking through it costs a tenth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield partial(gc.collect, 1)
    finally:
        if enabled:
            gc.enable()


def _position(generation: Generation) -> int:
    position: int = generation.rows("SELECT min(position) FROM projection")[0][0]
    return position
