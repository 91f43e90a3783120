"""The audit of a published log: every tile, entry, counter, link, commitment and signature, from the files alone.

    (1) the checkpoint is signed by a key that was given, or that this auditor learned from the log under one that was
    (2) it extends the checkpoint that was seen last
    (3) every tile and every bundle of entries is the one that its root says (`tiles.TileReader`)
    (4) every entry is in its place, none was recorded before the one before it, and no tag skips or repeats a count
    (5) every commitment to the tag index is the index over the entries before it, computed here anew
    (6) every key that the log says signs today has signed the checkpoint, and so have the witnesses that were given

What is wrong is named; then nothing of the batch it was found in is remembered. Memory is flat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger import canonical
from ledger.audit.source import Source
from ledger.audit.state import Audited, AuditState, TagHead
from ledger.audit.tag_index import AuditedIndex
from ledger.entry import Entry, event_of, parse, parse_moment
from ledger.errors import Invalid, LedgerError, StorageError, VerificationError
from ledger.events import IndexCommitted, SigningKeyRotated
from ledger.signing_keys import TOPICS, LogKeys
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.cosignature import Cosignature, WitnessKey, cosignatures
from ledger.tlog.files import CHECKPOINT
from ledger.tlog.index import NO_HEAD, IndexCommitment, key_of, next_head
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Verifier
from ledger.tlog.tiles import TILE_WIDTH, TileReader

# Problems that are named; further ones are counted.
MAX_NAMED: Final = 100

# Bundles of one batch: what is read, checked and remembered together.
BATCH_BUNDLES: Final = 16

Progress = Callable[[int, int], None]
"""(entries audited in this run, entries to audit)."""


@dataclass
class AuditReport:
    """What an audit found. `ok` says that everything held; `problems` name (where, why) of what did not."""

    origin: str
    size: int
    root: bytes
    since: int
    """Where the last run ended: only what came after was read now."""
    entries: int = 0
    tags: int = 0
    commitments: int = 0
    cosigned: tuple[Cosignature, ...] = ()
    keys: LogKeys | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    def add(self, where: str, why: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_NAMED:
            self.problems.append((where, why))


def audit(
    source: Source,
    state: AuditState,
    keys: Sequence[Verifier],
    *,
    witnesses: Sequence[WitnessKey] = (),
    full: bool = False,
    progress: Progress = lambda done, total: None,
) -> AuditReport:
    """Audit a log from where `state` is, or with `full` from its beginning, and return what was found.

    What does not hold is in the report, but for the checkpoint itself: VerificationError when it is not signed by a
    trusted key or contradicts the one seen before, as there is nothing to audit then. Raises Invalid when the keys are
    of another log than the state, StorageError when a file cannot be read.
    """
    known = state.audited()
    origin = keys[0].name if keys else known.origin if known is not None else ""
    if not origin or any(key.name != origin for key in keys) or (known is not None and known.origin != origin):
        raise Invalid("keys", "are all of one log, the one that this auditor has seen before")

    # (1) A key that the log named under one that we trust is trusted too: that is what the overlap is for.
    trusted = [*keys]
    if known is not None and known.keys is not None:
        trusted += [key.verifier for key in known.keys.keys if key.until is None and key.verifier not in keys]
    note = source.fetch(CHECKPOINT)
    checkpoint = open_checkpoint(note, trusted, origin)

    # (2) Two signed checkpoints that contradict each other are evidence by themselves: both are kept.
    tiles = TileReader(checkpoint.size, checkpoint.root, source.fetch)
    if known is not None:
        _check_extends(tiles, checkpoint, known)
        if full:
            state.forget()
            known = state.audited()
    return _Audit(tiles, checkpoint, note, state, known, trusted, progress).run(witnesses)


def _check_extends(tiles: TileReader, checkpoint: Checkpoint, known: Audited) -> None:
    if checkpoint.size < known.seen_size:
        raise VerificationError(
            "checkpoint", f"is of {checkpoint.size} entries, {known.seen_size} were seen before: the log was cut"
        )
    if merkle.root(known.seen_size, tiles.hash) != known.seen_root:
        raise VerificationError(
            "checkpoint", f"does not extend the one of {known.seen_size} entries seen before: another history"
        )


class _Audit:
    def __init__(
        self,
        tiles: TileReader,
        checkpoint: Checkpoint,
        note: bytes,
        state: AuditState,
        known: Audited | None,
        trusted: Sequence[Verifier],
        progress: Progress,
    ) -> None:
        self.tiles = tiles
        self.checkpoint = checkpoint
        self.note = note
        self.state = state
        self.position = known.size if known is not None else 0
        self.moment = known.recorded_at if known is not None else ""
        # Without a rotation so far, the key that signed is the one that the log began with, as far as is known.
        signed = next(key for key in trusted if _signs(key, note))
        self.keys = (known.keys if known is not None and self.position else None) or LogKeys.of_first(signed)
        self.trusted = trusted
        self.progress = progress
        self.report = AuditReport(checkpoint.origin, checkpoint.size, checkpoint.root, self.position)
        self.index = AuditedIndex(state)
        self.heads: dict[bytes, TagHead] = {}
        self.unsaved: set[bytes] = set()

    def run(self, witnesses: Sequence[WitnessKey]) -> AuditReport:
        report = self.report
        try:
            while self.position < self.checkpoint.size and report.ok:
                self._batch()
            if report.ok:
                self._check_signers(witnesses)
            if report.ok:
                self.state.begin()
                self._save()
            report.tags = self.state.tag_count()
        except VerificationError as error:
            report.add(error.step, error.why)
        finally:
            self.state.undo()
        report.keys = self.keys
        return report

    def _batch(self) -> None:
        first = self.position // TILE_WIDTH
        last = min(first + BATCH_BUNDLES, -(-self.checkpoint.size // TILE_WIDTH))
        # (3) What comes out of here is under the signed root.
        found = [entry for n in range(first, last) for entry in self.tiles.entries(n)]
        found = found[self.position - first * TILE_WIDTH :]
        self.state.begin()
        self._check_entries(found)
        self._flush()
        if self.report.ok:
            self._save()
        self.progress(self.report.entries, self.checkpoint.size - self.report.since)

    def _save(self) -> None:
        # The checkpoint is what must still be extended next time, also when this run is cut off in the middle.
        seen = self.checkpoint
        self.state.save(Audited(seen.origin, self.position, self.moment, self.keys, seen.size, seen.root, self.note))

    # (4) and (5)
    def _check_entries(self, found: Sequence[bytes]) -> None:
        parsed: list[Entry | None] = []
        keys: dict[str, bytes] = {}
        for index, data in enumerate(found, self.position):
            try:
                canonical.decode(data, f"entry {index}")
                entry = parse(data)
            except VerificationError as error:
                self.report.add(f"entry {index}", error.why)
                parsed.append(None)
                continue
            parsed.append(entry)
            for link in entry.tags:
                if link.tag not in keys:
                    keys[link.tag] = key_of(self.checkpoint.origin, link.tag)
        self.heads = self.state.heads(sorted(keys.values()))
        for data, one in zip(found, parsed, strict=True):
            if one is not None:
                self._check_entry(data, one, keys)
            self.position += 1
            self.report.entries += 1

    def _check_entry(self, data: bytes, entry: Entry, keys: dict[str, bytes]) -> None:
        where = f"entry {self.position}"
        try:
            if (entry.index, entry.ledger, entry.v) != (self.position, self.checkpoint.origin, 1):
                raise VerificationError(where, "says another index, ledger or version than its place")
            parse_moment(entry.recorded_at)
            if entry.recorded_at < self.moment:
                raise VerificationError(where, "was recorded before the one before it")
            self.moment = entry.recorded_at
            if entry.type == IndexCommitted.TOPIC:
                self._check_commitment(data)
            elif entry.type in TOPICS:
                self._take_key(entry)
        except LedgerError as error:
            if isinstance(error, StorageError):
                raise
            self.report.add(where, error.why if isinstance(error, VerificationError) else str(error))
        self._check_tags(where, data, entry, keys)

    def _check_tags(self, where: str, data: bytes, entry: Entry, keys: dict[str, bytes]) -> None:
        leaf = leaf_hash(data)
        last_tag = ""
        for link in entry.tags:
            if link.tag <= last_tag:
                self.report.add(where, "has tags that are empty, repeated or out of order")
            last_tag = link.tag
            key = keys[link.tag]
            n, last, head = self.heads.get(key) or (0, -1, NO_HEAD)
            if link.n != n + 1:
                self.report.add(where, f"says that it is event {link.n} of a tag that has {n} before it")
            if link.prev != (last if n else None):
                self.report.add(where, "names another event before it than the last one of a tag")
            self.heads[key] = (n + 1, self.position, next_head(head, leaf))
            self.unsaved.add(key)
            self.index.changed(key)

    def _check_commitment(self, data: bytes) -> None:
        where = f"entry {self.position}"
        commitment = IndexCommitment.parse(data, self.checkpoint.origin)
        self._flush()
        self.report.commitments += 1
        if self.index.root() != commitment.root:
            raise VerificationError(where, "commits to another tag index than the one over the entries before it")
        if self.state.tag_count() != commitment.tags:
            raise VerificationError(where, "commits to another number of tags than there are")

    def _flush(self) -> None:
        self.state.set_heads((key, self.heads[key]) for key in self.unsaved)
        self.unsaved.clear()

    def _take_key(self, entry: Entry) -> None:
        event = event_of(entry)
        if len(self.keys.keys) == 1 and isinstance(event, SigningKeyRotated):
            # The first rotation tells which key the log began with; whether that is one we trust is for (6).
            self.keys = LogKeys.of_first(Verifier.parse(event.replaces))
        self.keys = self.keys.after(entry.index, event)

    # (6)
    def _check_signers(self, witnesses: Sequence[WitnessKey]) -> None:
        if not any(key.verifier in self.trusted for key in self.keys.keys):
            self.report.add("keys", "the log names other keys as its own than those that were given")
        for verifier in self.keys.at(self.checkpoint.size):
            if not _signs(verifier, self.note):
                self.report.add("checkpoint", f"is not signed by {verifier.key_id.hex()}, which the log names")
        self.report.cosigned = cosignatures(self.note, witnesses)
        there = {cosignature.witness for cosignature in self.report.cosigned}
        for witness in witnesses:
            if witness not in there:
                self.report.add("checkpoint", f"is not cosigned by {witness.name}")


def _signs(verifier: Verifier, note: bytes) -> bool:
    try:
        open_checkpoint(note, verifier, verifier.name)
    except VerificationError:
        return False
    return True
