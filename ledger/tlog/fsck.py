"""Verification of a whole ledger: every entry, leaf, tile, counter, commitment, checkpoint and page, recomputed.

Nothing that the store derived is trusted: the tree grows again from the entry bytes, tags and counters are compared
with what the entries say, sealed values with their commitments. What is wrong is named. Memory stays flat: what does
not fit (the tags of a million events) is compared by keyed sums over ranges, and only a range that differs is looked
into. What does not live here: whether a decision was right (rules).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ledger import canonical, sealing
from ledger.command import Recorded
from ledger.entry import Entry, event_of, parse, parse_moment
from ledger.errors import LedgerError, SigningKeyState, StorageError, VerificationError
from ledger.events import BY_TOPIC, KeyDestroyed
from ledger.keys import DataKey
from ledger.ledger import Ledger
from ledger.sealing import Box
from ledger.signing_keys import TOPICS, read_log_keys
from ledger.storage.engine import AuditRow, QueryItem
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.index_check import IndexCheck
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.tiles import TILE_WIDTH
from ledger.tlog.tree import Tree
from ledger.vocabulary import KeyId

# Problems that are named; further ones are counted.
MAX_NAMED: Final = 100

# Tags are compared by sums over so many events; a range that differs is looked into.
_RANGE: Final = 4_096

# Keys that are remembered while sealed values are opened.
_CACHED_KEYS: Final = 50_000

Progress = Callable[[str, int, int], None]
"""(what is being checked, done, total)"""


class Problem(msgspec.Struct, frozen=True):
    """Evidence that does not hold: which check, where, and why. No personal data."""

    check: str
    where: str
    why: str


class Report(msgspec.Struct):
    """What was verified. `ok` says that nothing was changed; `missing` values are an alarm beside it.

    A value is missing when it neither opens nor is its key recorded as destroyed: a key store was lost, or rows were
    deleted by hand. The log itself still proves everything.
    """

    size: int
    since: int
    entries: int = 0
    tiles: int = 0
    checkpoints: int = 0
    tags: int = 0
    commitments: int = 0
    present: int = 0
    erased: int = 0
    missing: int = 0
    missing_at: list[int] = msgspec.field(default_factory=list)
    problems: list[Problem] = msgspec.field(default_factory=list)
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    def add(self, check: str, where: str, why: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_NAMED:
            self.problems.append(Problem(check, where, why))


def fsck(
    ledger: Ledger, *, since: Checkpoint | None = None, progress: Progress = lambda what, done, total: None
) -> Report:
    """Verify a ledger up to its present size and return what was found; it may be written to meanwhile.

    With `since`, a checkpoint that somebody kept, the log must extend it, and only what came after is recomputed.
    Problems of the evidence are in the report; raises StorageError only when the engine gives no answer at all.
    """
    return _Fsck(ledger, since, progress).run()


class _Fsck:
    def __init__(self, ledger: Ledger, since: Checkpoint | None, progress: Progress) -> None:
        self.ledger = ledger
        self.engine = ledger.engine
        self.first = since.size if since is not None else 0
        self.since = since
        self.progress = progress
        self.report = Report(size=self.engine.size(), since=self.first)
        # Keyed afresh at each run: whoever changes rows cannot aim at equal sums.
        self.secret = os.urandom(32)
        self.sums: dict[int, int] = {}
        self.tag_links = 0
        self.keys = read_log_keys(self.engine, self.first)

    def run(self) -> Report:
        steps = (
            self.check_pages, self.check_log, self.check_tags, self.check_index, self.check_sealed,
            self.check_idempotency,
        )  # fmt: skip
        for step in steps:
            try:
                step()
            except (StorageError, VerificationError) as error:
                self.report.add(step.__name__.removeprefix("check_"), "store", str(error))
        return self.report

    # (1) Every stored page is the one that was written.
    def check_pages(self) -> None:
        self.progress("pages", 0, 1)
        for damage in self.engine.damage():
            self.report.add("page", "ledger", damage)
        for damage in self.ledger.keys.check():
            self.report.add("key store", "keys", damage)
        self.progress("pages", 1, 1)

    # (2) Every entry is well formed, in its place, and leads to every tile and every signed checkpoint.
    def check_log(self) -> None:
        report, size = self.report, self.report.size
        if self.since is not None and self.first > size:
            report.add("since", "checkpoint", f"it is of {self.first} entries, the log has {size}: it was cut")
            return
        tree = self._tree_before()
        checkpoints = self._checkpoints()
        expected = next(checkpoints, None)
        last_moment = ""
        index = self.first
        for row in self.engine.audit(self.first, size):
            if row.index != index:
                report.add("index", f"entry {index}", f"is missing; the next one is {row.index}")
                return
            last_moment = self._check_entry(row, last_moment)
            tree.append(leaf_hash(row.entry))
            self._check_tiles(tree)
            index += 1
            while expected is not None and expected[0] <= index:
                self._check_checkpoint(tree, *expected)
                expected = next(checkpoints, None)
            if not index % 1_000:
                self.progress("entries", index - self.first, size - self.first)
        if index != size:
            report.add("index", f"entry {index}", f"is missing: the log has {size} entries")
        if expected is not None and expected[0] <= size:
            report.add("checkpoint", f"checkpoint {expected[0]}", "covers entries that are missing")
        last = self.engine.checkpoint(size)
        if size and (last is None or (last[0] > size and self.engine.size() == size)):
            report.add("checkpoint", f"checkpoint {size}", "the last entries are under no checkpoint")
        newest = self.engine.checkpoint()
        if newest is not None and newest[0] > self.engine.size():
            report.add("checkpoint", f"checkpoint {newest[0]}", "covers entries that are not there")
        self._check_no_other_tiles(size)
        self.progress("entries", size - self.first, size - self.first)

    def _tree_before(self) -> Tree:
        if self.since is None:
            return Tree(self._load_tile)
        tree = Tree.load(self.first, self._load_tile, self.engine.leaves)
        if tree.root() != self.since.root:
            self.report.add("since", "checkpoint", f"the first {self.first} entries are not the ones it was signed for")
        return tree

    def _checkpoints(self) -> Iterator[tuple[int, bytes]]:
        every = self.engine.checkpoints()
        # From the beginning also one of no entries, which nobody signs.
        return every if self.since is None else (checkpoint for checkpoint in every if checkpoint[0] > self.first)

    def _check_entry(self, row: AuditRow, last_moment: str) -> str:
        where = f"entry {row.index}"
        self.report.entries += 1
        try:
            canonical.decode(row.entry, where)
            entry = parse(row.entry)
            if (entry.index, entry.ledger, entry.v) != (row.index, self.ledger.origin, 1):
                raise VerificationError(where, "says another index, ledger or version than its place")
            parse_moment(entry.recorded_at)
            if entry.recorded_at < last_moment:
                raise VerificationError(where, "was recorded before the one before it")
            if entry.type in BY_TOPIC:
                event_of(entry)
            if leaf_hash(row.entry) != row.leaf:
                raise VerificationError(where, "is not the bytes that were hashed")
            if entry.type != row.type:
                raise VerificationError(where, "is filed under another type")
            if list(entry.tag_names) != sorted(set(entry.tag_names)):
                raise VerificationError(where, "has tags out of order")
            if entry.type in TOPICS:
                self.keys = self.keys.after(row.index, event_of(entry))
        except VerificationError as error:
            self.report.add("entry", where, error.why)
            return last_moment
        except SigningKeyState as error:
            self.report.add("entry", where, str(error))
            return last_moment
        self.tag_links += len(entry.tags)
        for link in entry.tags:
            self._sum(row.index, link.tag, link.n, link.prev, entry.type)
        return entry.recorded_at

    def _check_tiles(self, tree: Tree) -> None:
        if tree.size % TILE_WIDTH:
            return
        for level, n, hashes in tree.take_full_tiles():
            self.report.tiles += 1
            if self.engine.tile(level, n) != hashes:
                self.report.add("tile", f"tile {level}/{n}", "is not the hashes of its entries")
        tree.commit()

    def _check_no_other_tiles(self, size: int) -> None:
        for level, n in self.engine.tiles():
            if not 0 <= level <= 7 or n < 0 or (n + 1) * TILE_WIDTH ** (level + 1) > self.engine.size():
                self.report.add("tile", f"tile {level}/{n}", f"is beyond the {size} entries")

    def _check_checkpoint(self, tree: Tree, size: int, note: bytes) -> None:
        self.report.checkpoints += 1
        where = f"checkpoint {size}"
        try:
            checkpoint = self.keys.open(note)
        except VerificationError as error:
            self.report.add("checkpoint", where, str(error))
            return
        if checkpoint.size != size or tree.size != size or checkpoint.root != tree.root():
            self.report.add("checkpoint", where, "is not signed for the entries that it covers")

    # (3) The tag rows, by which everything is found, are exactly what the entries say.
    def check_tags(self) -> None:
        report = self.report
        tag, n, prev = "", 0, None
        found: dict[int, int] = {}
        self.sums, of_entries = found, self.sums
        for done, row in enumerate(self.engine.tags(), 1):
            if row.index >= report.size:
                # Of an entry that came meanwhile; a row of none would become the previous event of the next one.
                if row.index >= self.engine.size():
                    report.add("tags", f"entry {row.index}", "is filed under tags but is not there")
                continue
            if row.index < 0:
                report.add("tags", f"entry {row.index}", "is filed under tags but is not there")
            if row.tag != tag:
                tag, n, prev = row.tag, 0, None
            n += 1
            if row.index >= self.first:
                report.tags += 1
                self._sum(row.index, row.tag, row.n, prev, row.type)
            if row.n != n:
                report.add("tags", f"entry {row.index}", f"is filed as event {row.n} of a tag that has {n} by then")
                n = row.n
            prev = row.index
            if not done % 10_000:
                self.progress("tags", done, self.tag_links)
        for number in sorted(of_entries.keys() | found.keys()):
            if of_entries.get(number) != found.get(number):
                self._look_into(number * _RANGE, min((number + 1) * _RANGE, report.size))

    def _sum(self, index: int, tag: str, n: int, prev: int | None, type: str) -> None:
        # A sum of keyed hashes is the same for the same rows in any order.
        digest = hashlib.blake2b(f"{index} {tag} {n} {prev} {type}".encode(), digest_size=16, key=self.secret).digest()
        number = index // _RANGE
        self.sums[number] = (self.sums.get(number, 0) + int.from_bytes(digest, "big")) & ((1 << 128) - 1)

    def _look_into(self, first: int, end: int) -> None:
        """Name the events of a range whose tag rows differ from their entries."""
        stored: dict[int, set[tuple[str, int, str]]] = {}
        for tag_row in self.engine.tags(end):
            if tag_row.index >= first:
                stored.setdefault(tag_row.index, set()).add((tag_row.tag, tag_row.n, tag_row.type))
        named = 0
        for row in self.engine.audit(first, end):
            try:
                entry = parse(row.entry)
            except VerificationError:
                continue
            if stored.pop(row.index, set()) != {(link.tag, link.n, entry.type) for link in entry.tags}:
                self.report.add("tags", f"entry {row.index}", "is filed under other tags than it carries")
                named += 1
        for index in stored:
            self.report.add("tags", f"entry {index}", "is filed under tags but is not there")
            named += 1
        if not named:
            self.report.add(
                "tags", f"entries {first} to {end - 1}", "say another previous event of a tag than there is"
            )

    # (4) Every commitment of the tag index, and the stored index, are what the entries add up to.
    def check_index(self) -> None:
        if self.since is not None:
            # It grows from the first entry on, and would cost what verifying everything costs.
            return
        size = self.report.size
        check = IndexCheck(
            self.engine,
            size,
            resting=self.ledger.index.resting,
            add=lambda where, why: self.report.add("tag index", where, why),
            progress=lambda done: self.progress("tag index", done, size),
        )
        check.run()
        self.report.commitments = check.commitments

    # (5) Every sealed value that is there is the one that was committed to; every one that is not, was erased.
    def check_sealed(self) -> None:
        report, size = self.report, self.report.size
        destroyed = self._destroyed(size)
        boxes = self.engine.boxes_between(self.first, size)
        pending = next(boxes, None)
        keys: dict[KeyId, DataKey | None] = {}
        for stored in self.engine.entries(self.first, size):
            mine: list[Box] = []
            while pending is not None and pending[0] <= stored.index:
                if pending[0] == stored.index:
                    mine.append(pending[1])
                else:
                    report.add("sealed", f"entry {pending[0]}", "has a sealed row but is not there")
                pending = next(boxes, None)
            if mine or b'"sealed":{}' not in stored.entry:
                self._check_boxes(parse(stored.entry), mine, destroyed, keys)
            if not stored.index % 1_000:
                self.progress("sealed values", stored.index - self.first, size - self.first)
        while pending is not None:
            report.add("sealed", f"entry {pending[0]}", "has a sealed row but is not there")
            pending = next(boxes, None)

    def _destroyed(self, size: int) -> set[KeyId]:
        found: set[KeyId] = set()
        for stored in self.engine.select((QueryItem((KeyDestroyed.TOPIC,)),), end=size):
            event = Recorded.parse(stored.entry).event
            if isinstance(event, KeyDestroyed):
                found.add(event.key_id)
                # As the store has it: this process may remember a key that another one destroyed.
                self.ledger.keys.forget(event.key_id)
                if self.ledger.keys.get(event.key_id) is not None:
                    self.report.add("erasure", f"key {event.key_id}", "is recorded as destroyed but is still there")
        return found

    def _check_boxes(
        self, entry: Entry, boxes: list[Box], destroyed: set[KeyId], keys: dict[KeyId, DataKey | None]
    ) -> None:
        report, where = self.report, f"entry {entry.index}"
        tagged = {KeyId(tag.removeprefix("key:")) for tag in entry.tag_names if tag.startswith("key:")}
        closed = set(entry.sealed)
        opened: set[KeyId] = set()
        for box in boxes:
            if box.key_id not in tagged:
                report.add("sealed", where, "has a sealed row under a key that it does not name")
                continue
            if box.key_id in destroyed:
                report.add("erasure", where, "still has a sealed row under a key that is recorded as destroyed")
            try:
                if box.key_id not in keys:
                    if len(keys) > _CACHED_KEYS:
                        keys.clear()
                    keys[box.key_id] = self.ledger.keys.get(box.key_id)
                key = keys[box.key_id]
                if key is None:
                    continue
                fields = sealing.open_box(
                    box, entry.sealed, ledger=self.ledger.origin, event_id=entry.id, key=key.secret
                )
            except LedgerError as error:
                report.add("sealed", where, str(error))
                opened.add(box.key_id)
                closed.clear()
                continue
            opened.add(box.key_id)
            closed -= fields.keys()
            report.present += len(fields)
        if not closed:
            return
        unopened = tagged - opened
        if unopened and unopened <= destroyed:
            report.erased += len(closed)
        else:
            report.missing += len(closed)
            if len(report.missing_at) < MAX_NAMED:
                report.missing_at.append(entry.index)

    # (6) Idempotency keys point at entries that exist.
    def check_idempotency(self) -> None:
        for row in self.engine.idempotency():
            if row.first < 0 or row.count < 1 or row.first + row.count > self.engine.size():
                self.report.add("idempotency", f"entry {row.first}", "a used key points beyond the log")

    def _load_tile(self, level: int, n: int) -> bytes:
        hashes = self.engine.tile(level, n)
        if hashes is None:
            raise VerificationError("tile", f"tile {level}/{n} is missing")
        return hashes
