"""Power cuts: every disk that a trace allows, as far as a seed and a limit reach, and the store's verdict on each.

The model (POSIX, and no kinder than that):
- what was synced is on disk, whole; a sync of one file says nothing about another;
- of what was done to a file since its last sync, any part may be there: none, all, a prefix, any subset in any order,
  a write torn into 512-byte sectors, a file that has grown but holds zeros where the data should be;
- a name (create, delete, rename) is on disk after a sync of its directory; before, names arrive in order, as journaled
  metadata does, and independent of data;
- after a *failed* sync, what it should have covered may be lost for ever, whatever later syncs say.
Stricter than a disk: two writes to one sector may arrive one without the other, though a page cache merges them.
Not modelled: a sector half written or decayed (see bitflip.py), a sync that lies, foreign bytes in a grown file, and
directories that lose their own creation.

Only the moments just before a sync, and the end, are enumerated: what may be lost only grows until then, and the
acknowledgements given in between make the verdict stricter, so every earlier moment is contained in one of these.
"""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.faults.store import Ack, Oracle, Store
from tests.faults.trace import (
    Acknowledged,
    DirectorySync,
    Link,
    Rename,
    Sync,
    SyncFailed,
    Trace,
    Truncate,
    Unlink,
    Write,
)

SECTOR_BYTES = 512

# The fate of one operation: a bit for each sector that arrived, and above them one bit for "the file has grown".
Fate = int
LOST: Fate = 0
LANDED: Fate = -1
# Random choice gives up after so many draws in a row, in whole passes over the trace, that found nothing new.
DRY_DRAWS = 600

Fates = Mapping[int, Sequence[Fate]]


@dataclass(frozen=True, slots=True)
class CrashState:
    """A disk after a power cut at event `at`, and the promises given before it. `label` says what was lost."""

    files: dict[str, bytes]
    acks: Sequence[Ack]
    at: int
    label: str

    def materialise(self, directory: Path) -> None:
        materialise(self.files, directory)


def materialise(files: dict[str, bytes], directory: Path) -> None:
    """Make `directory` hold exactly `files`. Fast: for a tmpfs; nothing is synced."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in files:
            path.unlink()
    for name, content in files.items():
        if "/" in name:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
        with open(directory / name, "wb", buffering=0) as file:
            file.write(content)


@dataclass(slots=True)
class _Step:
    """One operation that is not, or not for certain, on disk."""

    op: Write | Truncate
    at: int
    settled: bool = False
    doomed: bool = False


@dataclass(frozen=True, slots=True)
class _Image:
    content: bytes
    digest: bytes


@dataclass(slots=True)
class _File:
    base: bytearray
    steps: list[_Step] = field(default_factory=list)
    # Most files do not change between two moments, and most fates are drawn more than once.
    images: dict[tuple[Fate, ...], _Image] = field(default_factory=dict)

    def add(self, step: _Step) -> None:
        self.steps.append(step)
        self.images.clear()

    def unsettled(self) -> list[Write | Truncate]:
        return [step.op for step in self.steps if not step.settled]

    def sync(self, upto: int) -> None:
        self.images.clear()
        for step in self.steps:
            step.settled = step.settled or (step.at < upto and not step.doomed)
        folded = 0
        while folded < len(self.steps) and self.steps[folded].settled:
            _apply(self.base, self.steps[folded].op, LANDED)
            folded += 1
        del self.steps[:folded]

    def fail(self) -> None:
        for step in self.steps:
            step.doomed = step.doomed or not step.settled

    def image(self, fates: Sequence[Fate]) -> _Image:
        key = tuple(fates)
        if key not in self.images:
            content = bytearray(self.base)
            chosen = iter(fates)
            for step in self.steps:
                _apply(content, step.op, LANDED if step.settled else next(chosen))
            self.images[key] = _Image(bytes(content), hashlib.blake2b(content, digest_size=16).digest())
        return self.images[key]


class _Disk:
    """Replays a trace; at each moment knows what is on disk for certain and what may be."""

    def __init__(self, trace: Trace) -> None:
        self.files = {number: _File(bytearray(trace.base[name])) for name, number in trace.names().items()}
        self._names = trace.names()
        self._name_steps: list[tuple[Link | Unlink | Rename, int, list[bool]]] = []
        self._trace = trace
        self.acked = 0

    def moments(self) -> Iterator[int]:
        """Stop just before each sync that has something to do, and at the end; then `self` is that moment's disk."""
        for at, event in enumerate(self._trace.events):
            if isinstance(event, Sync | SyncFailed):
                if self.files[event.file].steps:
                    yield at
            elif isinstance(event, DirectorySync) and self._name_steps:
                yield at
            self._play(at, event)
        yield len(self._trace.events)

    def _play(self, at: int, event: object) -> None:
        match event:
            case Write() | Truncate():
                self.files[event.file].add(_Step(event, at))
            case Sync():
                self.files[event.file].sync(event.upto)
            case SyncFailed():
                self.files[event.file].fail()
            case Link():
                self.files[event.file] = _File(bytearray())
                self._name_steps.append((event, at, [False]))
            case Unlink() | Rename():
                self._name_steps.append((event, at, [False]))
            case DirectorySync():
                self._sync_names(event)
            case Acknowledged():
                self.acked += 1

    def _sync_names(self, sync: DirectorySync) -> None:
        for op, at, settled in self._name_steps:
            name = op.target if isinstance(op, Rename) else op.name
            settled[0] = settled[0] or (at < sync.upto and str(PurePosixPath(name).parent) == sync.directory)
        while self._name_steps and self._name_steps[0][2][0]:
            _rename(self._names, self._name_steps.pop(0)[0])

    def names_pending(self) -> int:
        return sum(not settled[0] for _, _, settled in self._name_steps)

    def names(self, arrived: int) -> dict[str, int]:
        """Return the names when the first `arrived` of the pending operations are on disk."""
        names = dict(self._names)
        for op, _, settled in self._name_steps:
            if settled[0] or arrived > 0:
                _rename(names, op)
            arrived -= not settled[0]
        return names

    def state(self, fates: Fates, arrived: int) -> dict[str, _Image]:
        return {name: self.files[number].image(fates[number]) for name, number in self.names(arrived).items()}


def crash_states(trace: Trace, *, seed: int, limit: int) -> Iterator[CrashState]:
    """Yield at most `limit` distinct states: the systematic ones first, evenly thinned when they are too many.

    The rest are random. The same trace, seed and limit give the same states. A state counts as another one when its
    bytes or its promises differ. Ends early when random choice stops finding new ones.
    """
    rng = random.Random(seed)
    disk = _Disk(trace)
    systematic = sum(1 for _ in disk.moments() for _ in _systematic(disk))
    keep = min(1.0, limit / max(1, systematic))
    seen: set[bytes] = set()
    acks = trace.acks
    choices = functools.partial(_thinned, rng=rng, keep=keep)
    dry = 0
    while len(seen) < limit and dry < DRY_DRAWS:
        before, drawn = len(seen), 0
        disk = _Disk(trace)
        for at in disk.moments():
            for label, fates, arrived in choices(disk):
                drawn += 1
                images = disk.state(fates, arrived)
                digest = _digest(images, disk.acked)
                if digest in seen:
                    continue
                seen.add(digest)
                yield CrashState(_contents(images), acks[: disk.acked], at, label)
                if len(seen) == limit:
                    return
        dry = dry + drawn if len(seen) == before else 0
        choices = functools.partial(_random, rng=rng, count=4)


def final_state(trace: Trace) -> CrashState:
    """Return the disk when everything arrived: what a reader sees who comes without a crash."""
    disk = _Disk(trace)
    for _ in disk.moments():
        pass
    fates = {number: [LANDED] * len(file.unsettled()) for number, file in disk.files.items()}
    return CrashState(_contents(disk.state(fates, disk.names_pending())), trace.acks, len(trace.events), "all")


_Choice = tuple[str, Fates, int]


def _thinned(disk: _Disk, *, rng: random.Random, keep: float) -> Iterator[_Choice]:
    return (choice for choice in _systematic(disk) if keep == 1.0 or rng.random() < keep)


def _systematic(disk: _Disk) -> Iterator[_Choice]:
    """None and all; for each file every prefix, drop-one, only-one and torn write, with the others lost or landed."""
    pending = {number: file.unsettled() for number, file in disk.files.items()}
    none = {number: [LOST] * len(ops) for number, ops in pending.items()}
    every = {number: [LANDED] * len(ops) for number, ops in pending.items()}
    names = disk.names_pending()
    for arrived in range(names + 1):
        yield f"data lost, {arrived}/{names} names", none, arrived
        yield f"data landed, {arrived}/{names} names", every, arrived
    for number, ops in pending.items():
        for label, fates in _patterns(ops):
            yield f"file {number}: {label}, others lost", {**none, number: fates}, names
            yield f"file {number}: {label}, others landed", {**every, number: fates}, names


def _patterns(ops: Sequence[Write | Truncate]) -> Iterator[tuple[str, list[Fate]]]:
    count = len(ops)
    for i, op in enumerate(ops):
        before, after = [LANDED] * i, count - i - 1
        yield f"prefix {i}/{count}", before + [LOST] * (after + 1)
        yield f"drop {i}", [*before, LOST, *[LANDED] * after]
        yield f"only {i}", [*[LOST] * i, LANDED, *[LOST] * after]
        if isinstance(op, Write):
            sectors = _sectors(op)
            grown = 1 << sectors
            yield f"prefix {i}/{count}, then grown without data", [*before, grown, *[LOST] * after]
            if sectors > 1:
                yield f"prefix {i}/{count}, then torn: last sector lost", [*before, (grown >> 1) - 1, *[LOST] * after]
                yield f"drop first sector of {i}", [*before, grown | (grown - 2), *[LANDED] * after]
    if count:
        yield "grown without data", [1 << _sectors(op) if isinstance(op, Write) else LANDED for op in ops]


def _random(disk: _Disk, *, rng: random.Random, count: int) -> Iterator[_Choice]:
    pending = {number: file.unsettled() for number, file in disk.files.items()}
    for _ in range(count):
        landing, tearing = rng.choice((0.1, 0.5, 0.9)), rng.choice((0.0, 0.2, 0.6))
        fates = {number: [_fate(op, rng, landing, tearing) for op in ops] for number, ops in pending.items()}
        yield f"random, landing {landing}, tearing {tearing}", fates, rng.randint(0, disk.names_pending())


def _fate(op: Write | Truncate, rng: random.Random, landing: float, tearing: float) -> Fate:
    if isinstance(op, Write) and rng.random() < tearing:
        return rng.getrandbits(_sectors(op) + 1)
    return LANDED if rng.random() < landing else LOST


def _sectors(op: Write) -> int:
    return (op.offset + len(op.data) - 1) // SECTOR_BYTES - op.offset // SECTOR_BYTES + 1


def _apply(image: bytearray, op: Write | Truncate, fate: Fate) -> None:
    """Change `image` as `op` does when only the sectors in `fate` arrive."""
    if fate == LOST:
        return
    if isinstance(op, Truncate):
        del image[op.size :]
        image.extend(bytes(op.size - len(image)))
        return
    end = op.offset + len(op.data)
    if fate == LANDED:
        image.extend(bytes(max(0, op.offset - len(image))))
        image[op.offset : end] = op.data
        return
    sectors, first = _sectors(op), op.offset // SECTOR_BYTES
    for sector in range(sectors):
        if fate >> sector & 1:
            low = max(op.offset, (first + sector) * SECTOR_BYTES)
            high = min(end, (first + sector + 1) * SECTOR_BYTES)
            image.extend(bytes(max(0, low - len(image))))
            image[low:high] = op.data[low - op.offset : high - op.offset]
    if fate >> sectors & 1:
        image.extend(bytes(max(0, end - len(image))))


def _rename(names: dict[str, int], op: Link | Unlink | Rename) -> None:
    match op:
        case Link():
            names[op.name] = op.file
        case Unlink():
            names.pop(op.name, None)
        case Rename():
            if op.source in names:
                names[op.target] = names.pop(op.source)


def _contents(images: dict[str, _Image]) -> dict[str, bytes]:
    return {name: image.content for name, image in images.items()}


def _digest(images: dict[str, _Image], acked: int) -> bytes:
    digest = hashlib.blake2b(acked.to_bytes(8, "big"), digest_size=16)
    for name in sorted(images):
        digest.update(f"{name}\0".encode() + images[name].digest)
    return digest.digest()


@dataclass(slots=True)
class Report:
    """What a run of states found. `violations` keeps the first ones; `counts` adds up all of them.

    `refused` is the number of states in which the store would not start: a power cut must not cause that either.
    """

    states: int = 0
    violated: int = 0
    refused: int = 0
    counts: Oracle = field(default_factory=Oracle)
    violations: list[tuple[CrashState, Oracle]] = field(default_factory=list)
    elapsed_s: float = 0.0

    def add(self, state: CrashState, oracle: Oracle) -> None:
        self.states += 1
        if oracle.holds:
            return
        self.violated += 1
        self.refused += bool(oracle.refused)
        self.counts = Oracle(
            self.counts.acked_missing + oracle.acked_missing,
            self.counts.gaps + oracle.gaps,
            self.counts.duplicates + oracle.duplicates,
            self.counts.root_mismatch + oracle.root_mismatch,
            self.counts.refused or oracle.refused,
        )
        if len(self.violations) < 10:
            self.violations.append((state, oracle))

    def __str__(self) -> str:
        rate = self.states / self.elapsed_s if self.elapsed_s else 0.0
        first = "".join(f"\n  at {s.at}, {len(s.acks)} acked, {s.label}: {o}" for s, o in self.violations[:5])
        found = f"{self.violated} violated, {self.refused} refused: {self.counts}"
        return f"{self.states} states, {rate:.0f}/s, {found}{first}"


def check_states(
    store: Store,
    trace: Trace,
    scratch: Path,
    *,
    seed: int,
    limit: int,
    promised: Sequence[Ack] = (),
    append_every: int = 8,
) -> Report:
    """Materialise each state in `scratch` (a tmpfs, emptied) and ask the store's oracle.

    `promised` is what had been acknowledged before the trace began. Every `append_every`-th store must also take one
    more entry and still hold: recovery that looks right but hands out a used index is found here.
    """
    report = Report()
    begin = time.perf_counter()
    for number, state in enumerate(crash_states(trace, seed=seed, limit=limit)):
        state.materialise(scratch)
        acks = [*promised, *state.acks]
        oracle = verdict(store, scratch, acks)
        if oracle.holds and number % append_every == 0:
            oracle = _append_and_verify(store, scratch, acks, f"after crash {number}")
        report.add(state, oracle)
    report.elapsed_s = time.perf_counter() - begin
    with suppress(FileNotFoundError):
        shutil.rmtree(scratch)
    return report


def _append_and_verify(store: Store, directory: Path, acks: Sequence[Ack], payload: str) -> Oracle:
    try:
        store.open(directory)
        ack = store.append(payload)
    except Exception as error:  # Whatever stops a healthy store from going on is a finding, not a failed test run.
        return Oracle(refused=f"{type(error).__name__}: {error}")
    finally:
        store.close()
    return verdict(store, directory, [*acks, ack])


def verdict(store: Store, directory: Path, acks: Sequence[Ack]) -> Oracle:
    """Ask the store's oracle; an exception is a refusal that nobody planned, and counts as one."""
    try:
        return store.verify(directory, acks)
    except Exception as error:
        return Oracle(refused=f"verify raised {type(error).__name__}: {error}")
