"""The keys that sign the log: which ones sign a checkpoint of which size, by what the log itself says.

The first key is the one that the ledger was made with. A rotation is an event in the log: from the checkpoint that
covers it on, the old and the new key sign every checkpoint; a second event ends the overlap, and the new key signs
alone. So the keys of a checkpoint follow from the entries that it covers, and from nothing else: a restart at any point
reads them again. What does not live here: where private keys are kept (whoever opens the ledger), and when a checkpoint
is signed (sequencer).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ledger.entry import event_of, parse
from ledger.errors import LedgerError, SigningKeyState, StorageError, Tampered, VerificationError
from ledger.events import Event, SigningKeyRetired, SigningKeyRotated
from ledger.storage.engine import Engine, EventRow, QueryItem, Stored
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.tlog.note import Signer, Verifier

Signers = Callable[[], Iterable[Signer]]
"""Reads the signing keys that are here. Asked again when the log names one that was not among them."""

TOPICS: Final = frozenset((SigningKeyRotated.TOPIC, SigningKeyRetired.TOPIC))
_QUERY: Final = (QueryItem((SigningKeyRotated.TOPIC, SigningKeyRetired.TOPIC)),)


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key of the log: it signs every checkpoint of `since` ≤ size ≤ `until` entries (None: it signs today)."""

    verifier: Verifier
    since: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Every key that ever signed the log, in the order of their rotations; at most two of them sign today."""

    keys: tuple[LogKey, ...]

    @classmethod
    def of_first(cls, verifier: Verifier) -> LogKeys:
        return cls((LogKey(verifier, 0),))

    @property
    def origin(self) -> str:
        return self.keys[0].verifier.name

    @property
    def newest(self) -> Verifier:
        """The key to give to whoever verifies from now on."""
        return self.keys[-1].verifier

    @property
    def overlaps(self) -> bool:
        """Whether two keys sign today."""
        return len(self.keys) > 1 and self.keys[-2].until is None

    def at(self, size: int) -> tuple[Verifier, ...]:
        """Return the keys that all sign a checkpoint of `size` entries: one, or two in an overlap."""
        return tuple(
            key.verifier for key in self.keys if key.since <= size and (key.until is None or size <= key.until)
        )

    def open(self, note: bytes) -> Checkpoint:
        """Return the checkpoint in a signed note, once every key of its size is known to have signed it.

        Raises VerificationError, and nothing else.
        """
        # (1) One of the log's keys signed it: only then is its size worth looking at.
        checkpoint = open_checkpoint(note, [key.verifier for key in self.keys], self.origin)

        # (2) Every key of that size did, and a former one alone proves nothing of a later size.
        for verifier in self.at(checkpoint.size):
            open_checkpoint(note, verifier, self.origin)
        return checkpoint

    def after(self, index: int, event: Event) -> LogKeys:
        """Return the keys after an event at `index`. Raises SigningKeyState for a rotation that cannot follow."""
        last = self.keys[-1]
        match event:
            case SigningKeyRotated():
                verifier = self._parse(event.verifier)
                if self.overlaps:
                    raise SigningKeyState(why="a rotation is under way; end its overlap first")
                if event.replaces != str(last.verifier):
                    raise SigningKeyState(why="the key that is replaced is not the one that signs")
                # By key id: two keys of one id could not be told apart in a note.
                if any(verifier.key_id == key.verifier.key_id for key in self.keys):
                    raise SigningKeyState(why="a key that signed before never signs again")
                return LogKeys((*self.keys, LogKey(verifier, index + 1)))
            case SigningKeyRetired():
                if not self.overlaps or event.verifier != str(self.keys[-2].verifier):
                    raise SigningKeyState(why="only the older key of an overlap can be retired")
                return LogKeys((*self.keys[:-2], replace(self.keys[-2], until=index), last))
        return self

    def _parse(self, encoded: str) -> Verifier:
        try:
            verifier = Verifier.parse(encoded)
        except VerificationError as error:
            raise SigningKeyState(why=f"the new key is not a verifier key ({error.why})") from None
        if verifier.name != self.origin:
            raise SigningKeyState(why="the new key is named for another log")
        return verifier


class SigningKeys:
    """The keys of one open ledger, and the private ones that are here. Safe for many threads."""

    def __init__(self, engine: Engine, signers: Signers) -> None:
        self._engine = engine
        self._find = signers
        self._lock = threading.Lock()
        self._signers: dict[Verifier, Signer] = {}
        self._first = LogKeys.of_first(Verifier.parse(engine.verifier))
        self._keys = self._first
        self._position = 0

    def up_to(self, size: int) -> LogKeys:
        """Return the keys after the first `size` entries (later ones may be known too). Raises Tampered."""
        if self._position < size:
            with self._lock:
                for stored in self._engine.select(_QUERY, after=self._position, end=size):
                    self._keys = _taken_in(self._keys, stored)
                self._position = max(self._position, size)
        return self._keys

    def reload(self, size: int) -> None:
        """Read the keys anew, as the log may be another now. Raises StorageError unless those that sign are here."""
        with self._lock:
            self._keys, self._position = self._first, 0
        for verifier in self.up_to(size).at(size):
            self._signer(verifier)

    def admit(self, keys: LogKeys, rows: Sequence[EventRow]) -> LogKeys:
        """Return the keys after `rows` of a transaction being built. Raises SigningKeyState, or StorageError when a
        key that would have to sign is not here."""
        for row in rows:
            if row.type in TOPICS:
                keys = keys.after(row.index, event_of(parse(row.entry)))
                self._signer(keys.newest)
        return keys

    def grown(self, keys: LogKeys, size: int) -> None:
        """Take over what `admit` returned: the transaction of `size` entries is durable."""
        with self._lock:
            self._keys, self._position = keys, size

    def sign(self, checkpoint: Checkpoint, keys: LogKeys) -> bytes:
        """Return the note of a checkpoint, signed by every key of its size. Raises StorageError without one of them."""
        return sign_checkpoint(checkpoint, *map(self._signer, keys.at(checkpoint.size)))

    def _signer(self, verifier: Verifier) -> Signer:
        if verifier not in self._signers:
            # Another process may have put it there since we looked.
            self._signers = {signer.verifier: signer for signer in self._find()}
        try:
            return self._signers[verifier]
        except KeyError:
            raise StorageError(
                f"the signing key {verifier.key_id.hex()} of the ledger {verifier.name} is not here: this signing key "
                "is not the one of the ledger; put back the file of the one that `prooftrail key` names"
            ) from None


def read_log_keys(engine: Engine, size: int) -> LogKeys:
    """Return the keys of a log after its first `size` entries, as its events say. Raises Tampered."""
    return SigningKeys(engine, lambda: ()).up_to(size)


def _taken_in(keys: LogKeys, stored: Stored) -> LogKeys:
    try:
        parsed = parse(stored.entry)
        return keys.after(parsed.index, event_of(parsed))
    except LedgerError as error:
        why = error.why if isinstance(error, VerificationError) else str(error)
        raise Tampered(f"entry {stored.index}", why) from error
