"""The storage contract: what a ledger needs of an engine, in set-wise steps so that a batch costs few round trips.

An engine keeps entries, tags, sealed values, tiles, checkpoints and idempotency keys, and gives one writer at a time
a transaction. It knows no rule, no key and no signature. Every engine passes tests/storage/contract.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import ClassVar, Final

import msgspec

from ledger.sealing import Box
from ledger.storage.tag_store import TagIndexStore, TagIndexWriter
from ledger.vocabulary import KeyId, Tag

# Rows that one read takes from the store at a time: flat memory whatever the size of the answer.
PAGE: Final = 1_000

# Entries at the end of the log that one read under the write lock takes.
TAIL: Final = 1_024


class QueryItem(msgspec.Struct, frozen=True, gc=False):
    """Matches events of any of `types` (all, when empty) that carry every one of `tags`.

    In the condition of an append `ever` says at any position, as nobody looked before: so the sequencer asks.
    """

    types: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()
    ever: bool = False


Query = tuple[QueryItem, ...]
"""Matches an event that any item matches; an empty query matches every event."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An entry as it lies in the store."""

    index: int
    entry: bytes


class Head(msgspec.Struct, frozen=True):
    """The end of the log under the write lock: its size and the last entry, None in an empty log.

    `copy` changes when this may be another copy of the log than before: a server reached anew may have taken over.
    """

    size: int
    last_entry: bytes | None
    copy: int = 0


TagHead = tuple[int, int | None]
"""(n, last): how many events a tag has, and the index of the last one, None when it has none."""

NO_EVENTS: Final[TagHead] = (0, None)


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """All that one event adds to the store."""

    index: int
    type: str
    entry: bytes
    leaf: bytes
    tags: Sequence[tuple[Tag, int]]
    boxes: Sequence[Box]


class IdempotencyRow(msgspec.Struct, frozen=True):
    """Which `count` entries from index `first` a request made. Key and content are keyed digests (32 bytes)."""

    key: bytes
    content: bytes
    first: int
    count: int


class Tile(msgspec.Struct, frozen=True):
    """A full tile: 256 hashes of 32 bytes."""

    level: int
    n: int
    hashes: bytes


class AuditRow(msgspec.Struct, frozen=True):
    """An event with what the store derived from it: what `fsck` compares."""

    index: int
    type: str
    entry: bytes
    leaf: bytes


class TagRow(msgspec.Struct, frozen=True):
    """The n-th event of a tag, as the store has it."""

    tag: Tag
    index: int
    n: int
    type: str


class Batch(msgspec.Struct, frozen=True):
    """What one transaction inserts. `earlier` checkpoints are of a copy, which takes several transactions in one."""

    events: Sequence[EventRow]
    tiles: Sequence[Tile]
    idempotency: Sequence[IdempotencyRow]
    size: int
    checkpoint: bytes
    recorded_at: str = ""
    earlier: Sequence[tuple[int, bytes]] = ()


class Condition(msgspec.Struct, frozen=True):
    """Fails when an event with position > `after` matches. Positions are index + 1."""

    query: Query
    after: int


class Ahead(msgspec.Struct, frozen=True):
    """What a transaction is going to be asked: an engine may fetch it in the round trip that takes the lock.

    `tail` is the index from which on entries are unknown, when the end of the log is known at all.
    """

    tail: int | None = None
    tags: Collection[Tag] = ()
    keys: Collection[bytes] = ()


NOTHING_AHEAD: Final = Ahead()


class Transaction(ABC):
    """The one writer's transaction. Leaving without `commit` undoes everything.

    `tag_index` is the stored tag index as this transaction sees it; what is changed there is committed with the rest.
    """

    head: Head
    tag_index: TagIndexWriter

    @abstractmethod
    def tail(self, first: int) -> list[bytes]:
        """Return the committed entries from index `first` on; only the first TAIL when there are more."""

    @abstractmethod
    def last_checkpoint(self) -> tuple[int, bytes] | None:
        """Return (size, note) of the last committed checkpoint, or None."""

    @abstractmethod
    def tag_heads(self, tags: Collection[Tag]) -> dict[Tag, TagHead]:
        """Return the head of each tag, NO_EVENTS for an unused one."""

    @abstractmethod
    def failed(self, conditions: Sequence[Condition]) -> list[bool]:
        """Return for each condition whether a committed event fails it."""

    @abstractmethod
    def idempotent(self, keys: Collection[bytes]) -> dict[bytes, IdempotencyRow]:
        """Return the rows of those keys that were used before."""

    @abstractmethod
    def insert(self, batch: Batch) -> None:
        """Insert a batch."""

    @abstractmethod
    def insert_idempotency(self, rows: Sequence[IdempotencyRow]) -> None:
        """Insert rows of a copied log for entries that are there; the rows of keys that are there stay."""

    @abstractmethod
    def commit(self) -> None:
        """Make all of it durable and visible at once, and whatever this transaction saw durable.

        Raises StorageError: nothing of it is there. Raises InDoubt: it may or may not be there, or be there and be lost
        yet. An engine that does not recover may raise either for both.
        """

    @abstractmethod
    def __enter__(self) -> Transaction: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(ABC):
    """A store of one ledger. Reads may run in any thread beside the writer and see committed batches whole.

    `tag_index` is the stored tag index, beside the log and derived from it: see `tag_store`.
    """

    origin: str
    verifier: str
    tag_index: TagIndexStore

    recovers: ClassVar[bool] = False
    """Whether after a failure the store itself can be asked what is durable; otherwise only opening it again tells."""

    is_local: ClassVar[bool] = True
    """Whether reading is a look-up in files of this machine: short enough to be done on an event loop."""

    queues: ClassVar[bool] = False
    """Whether `begin` queues the writers of all processes as they come; otherwise the guard's lock comes first."""

    @abstractmethod
    def begin(self, ahead: Ahead = NOTHING_AHEAD) -> Transaction:
        """Start the transaction of the one writer; waits for another process that holds it.

        What is named `ahead` may be read already when it is asked for; everything else may be asked too.
        """

    @abstractmethod
    def size(self) -> int:
        """Return the number of committed entries."""

    @abstractmethod
    def entries(self, first: int = 0, end: int | None = None) -> Iterator[Stored]:
        """Yield entries `first` ≤ index < `end` (the size at the call, when None) in order, read in pages."""

    @abstractmethod
    def select(self, query: Query, *, after: int = 0, end: int, limit: int | None = None) -> Iterator[Stored]:
        """Yield the matching entries with `after` < position ≤ `end` in order, at most `limit`, read in pages."""

    @abstractmethod
    def entry(self, index: int) -> bytes | None:
        """Return an entry, or None beyond the end."""

    @abstractmethod
    def last_of_type(self, type: str, end: int) -> Stored | None:
        """Return the last entry of a type with index < `end`, or None."""

    @abstractmethod
    def leaves(self, first: int, end: int) -> list[bytes]:
        """Return the leaf hashes `first` ≤ index < `end`; at most 256 are asked for."""

    @abstractmethod
    def tile(self, level: int, n: int) -> bytes | None:
        """Return the hashes of a full tile (8,192 bytes), or None."""

    @abstractmethod
    def boxes(self, index: int) -> list[Box]:
        """Return the sealed rows of an event that are still there."""

    @abstractmethod
    def boxes_of(self, indexes: Sequence[int]) -> dict[int, list[Box]]:
        """Return the sealed rows that are still there of each of these events; for many at once, none twice."""

    @abstractmethod
    def boxes_between(self, first: int, end: int) -> Iterator[tuple[int, Box]]:
        """Yield the sealed rows of `first` ≤ index < `end` in order of index, read in pages."""

    @abstractmethod
    def delete_boxes(self, key_ids: Collection[KeyId], end: int) -> int:
        """Delete the sealed rows under these keys of events below `end`, from the file and its log; return how many."""

    @abstractmethod
    def checkpoint(self, size: int | None = None) -> tuple[int, bytes] | None:
        """Return (size, note) of the first checkpoint of at least `size` entries, or of the last one."""

    @abstractmethod
    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield every checkpoint in order, read in pages."""

    @abstractmethod
    def find_idempotent(self, key: bytes) -> IdempotencyRow | None:
        """Return the row of an idempotency key that was used before."""

    @abstractmethod
    def audit(self, first: int, end: int) -> Iterator[AuditRow]:
        """Yield the events `first` ≤ index < `end` in order of index, read in pages."""

    @abstractmethod
    def tags(self, end: int | None = None) -> Iterator[TagRow]:
        """Yield the tag rows below `end` (all there are, when None) in order of tag and index, read in pages."""

    @abstractmethod
    def types(self) -> list[str]:
        """Return every type of event that was ever recorded."""

    @abstractmethod
    def tiles(self) -> Iterator[tuple[int, int]]:
        """Yield (level, n) of every full tile in order."""

    @abstractmethod
    def idempotency(self) -> Iterator[IdempotencyRow]:
        """Yield every idempotency row, read in pages."""

    @abstractmethod
    def damage(self) -> Iterator[str]:
        """Yield a description of each stored page that does not match its checksum; reads everything that is stored."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""
