"""The engine on SQLite through APSW: the embedded default.

One writing connection (`BEGIN IMMEDIATE`), a few reading ones, WAL, synchronous=FULL. Triggers refuse to
change or delete facts. A query by several tags walks the rarest one and probes the others, so a tag that stands on
every event costs nothing.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import apsw

from ledger.errors import Busy, StorageError, Tampered
from ledger.sealing import Box
from ledger.storage.connect import (
    LEDGER_APPLICATION_ID,
    chunks,
    connect,
    damaged_pages,
    insert_rows,
    storage_errors,
    strange_objects,
    truncate_wal,
)
from ledger.storage.engine import (
    NO_EVENTS,
    NOTHING_AHEAD,
    PAGE,
    TAIL,
    Ahead,
    AuditRow,
    Batch,
    Condition,
    Engine,
    Head,
    IdempotencyRow,
    Query,
    QueryItem,
    Stored,
    TagHead,
    TagRow,
    Transaction,
)
from ledger.storage.sqlite_tags import SqliteTagStore, SqliteTagWriter
from ledger.tlog.merkle import MAX_SIZE
from ledger.vocabulary import KeyId, Tag

SCHEMA_VERSION: Final = 2

# What each version added to the one before it, by the numbers of the files in sql/sqlite.
_ADDED: Final = {2: range(25, 29)}


# The working set of a million-event ledger (the upper pages of the tag index) stays in this cache.
WRITER_CACHE_KIB: Final = 131_072
READER_CACHE_KIB: Final = 16_384

_OBJECTS: Final = "SELECT count(*) FROM sqlite_schema"
_HEAD: Final = "SELECT idx, entry FROM events ORDER BY idx DESC LIMIT 1"
_LAST_CHECKPOINT: Final = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
_TAG_HEAD: Final = "SELECT n, idx FROM event_tags WHERE tag = ? ORDER BY idx DESC LIMIT 1"

# The same, packed into one column.
_PACKED_HEAD: Final = "(SELECT n || ' ' || idx FROM event_tags WHERE tag = ? ORDER BY idx DESC LIMIT 1)"

# It would take the place of a sealed value that is still to come.
_SEALED_BEYOND: Final = (
    "SELECT DISTINCT idx FROM sealed WHERE idx < 0 OR idx > (SELECT coalesce(max(idx), -1) FROM events) "
    "UNION SELECT idx FROM events WHERE idx < 0"
)

# Up to so many bytes, sealed values are inserted many with one statement.
_SMALL_BYTES: Final = 64 * 1024

# An answer that is read in pages, each ordered by index: SQL with its parameters but the lower bound and the limit.
_Stream = tuple[str, tuple[Any, ...]]


class SqliteEngine(Engine):
    """A ledger in one SQLite file. Raises StorageError when the file is absent, not ours, newer or damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._types: dict[str, int] = {}
        self._write_lock = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        self._writer = self._connect(cache_kib=WRITER_CACHE_KIB)
        try:
            with storage_errors(self._path):
                _migrate(self._writer, self._path)
                row = self._writer.execute("SELECT origin, verifier FROM ledger").fetchone()
                _check_schema(self._writer, self._path, SCHEMA_VERSION)
        except BaseException:
            self._writer.close()
            raise
        if row is None:
            raise StorageError(f"{path}: `prooftrail init` was interrupted here; remove the directory and run it again")
        self.origin, self.verifier = row
        self.tag_index = SqliteTagStore(self._rows, self._writer, self._write_lock, path)

    @classmethod
    def create(cls, path: Path, *, origin: str, verifier: str) -> SqliteEngine:
        """Make a ledger's database. Safe when several processes do it at once: the first one names the ledger."""
        connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION, create=True)
        try:
            with storage_errors(path):
                connection.execute("BEGIN IMMEDIATE")
                if not connection.execute(_OBJECTS).get:
                    for statement in _schema():
                        connection.execute(statement)
                    connection.execute("INSERT INTO ledger VALUES (1, ?, ?)", (origin, verifier))
                    # An older program may have been interrupted here before any of its tables was made.
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("COMMIT")
        finally:
            connection.close()
        return cls(path)

    def close(self) -> None:
        with self._idle_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        # One that is reading now is closed by whoever reads, when it is done.
        for reader in idle:
            reader.close()
        with self._write_lock:
            self._writer.close()

    def begin(self, ahead: Ahead = NOTHING_AHEAD) -> SqliteTransaction:
        return SqliteTransaction(self._writer, self._write_lock, self._path, self._types)

    # --- reading ---------------------------------------------------------------------------------------------

    def size(self) -> int:
        row = self._read("SELECT max(idx) FROM events")
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def entry(self, index: int) -> bytes | None:
        row = self._read("SELECT entry FROM events WHERE idx = ?", index)
        return None if row is None else row[0]

    def entries(self, first: int = 0, end: int | None = None) -> Iterator[Stored]:
        end = self.size() if end is None else end
        stream = ("SELECT idx, entry FROM events WHERE idx < ? AND idx >= ? ORDER BY idx LIMIT ?", (end,))
        return self._pages(stream, first)

    def select(self, query: Query, *, after: int = 0, end: int, limit: int | None = None) -> Iterator[Stored]:
        if not query:
            found = self.entries(after, end)
        else:
            streams = [stream for item in query for stream in self._streams(item, end)]
            page = PAGE if limit is None else min(limit, PAGE)
            if len(streams) == 1:
                found = self._pages(streams[0], after, page)
            else:
                found = _merge([self._pages(stream, after, page) for stream in streams])
        return found if limit is None else _first(found, limit)

    def last_of_type(self, type: str, end: int) -> Stored | None:
        code = self._code(type)
        if code is None:
            return None
        by_type = "SELECT idx, entry FROM events INDEXED BY events_by_type WHERE type = ? AND idx < ?"
        row = self._read(f"{by_type} ORDER BY idx DESC LIMIT 1", code, end)
        return None if row is None else Stored(row[0], row[1])

    def leaves(self, first: int, end: int) -> list[bytes]:
        return [
            row[0] for row in self._rows("SELECT leaf FROM events WHERE idx >= ? AND idx < ? ORDER BY idx", first, end)
        ]

    def tile(self, level: int, n: int) -> bytes | None:
        row = self._read("SELECT hashes FROM tiles WHERE level = ? AND n = ?", level, n)
        return None if row is None else row[0]

    def boxes(self, index: int) -> list[Box]:
        rows = self._rows("SELECT key_id, box FROM sealed WHERE idx = ? ORDER BY key_id", index)
        return [Box(KeyId(key_id), box) for key_id, box in rows]

    def boxes_of(self, indexes: Sequence[int]) -> dict[int, list[Box]]:
        found: dict[int, list[Box]] = {}
        for chunk in chunks(indexes):
            query = f"SELECT idx, key_id, box FROM sealed WHERE idx IN ({', '.join('?' * len(chunk))}) ORDER BY key_id"
            for index, key_id, box in self._rows(query, *chunk):
                found.setdefault(index, []).append(Box(KeyId(key_id), box))
        return found

    def boxes_between(self, first: int, end: int) -> Iterator[tuple[int, Box]]:
        query = "SELECT idx, key_id, box FROM sealed WHERE idx >= ? AND idx < ? ORDER BY idx, key_id"
        # By index range, not by count: one event may have several rows, and boxes may be as large as an order.
        for start in range(first, end, 64):
            for index, key_id, box in self._rows(query, start, min(start + 64, end)):
                yield index, Box(KeyId(key_id), box)

    def checkpoint(self, size: int | None = None) -> tuple[int, bytes] | None:
        if size is None:
            row = self._read(_LAST_CHECKPOINT)
        else:
            row = self._read("SELECT size, note FROM checkpoints WHERE size >= ? ORDER BY size LIMIT 1", size)
        return None if row is None else (row[0], row[1])

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        last = -1
        while rows := self._rows("SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT ?", last, PAGE):
            yield from rows
            last = rows[-1][0]

    def audit(self, first: int, end: int) -> Iterator[AuditRow]:
        query = (
            "SELECT e.idx, coalesce(t.type, ''), e.entry, e.leaf "
            "FROM events e LEFT JOIN event_types t ON t.code = e.type "
            "WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx LIMIT ?"
        )
        while rows := self._rows(query, first, end, PAGE):
            for row in rows:
                yield AuditRow(*row)
            first = rows[-1][0] + 1

    def tags(self, end: int | None = None) -> Iterator[TagRow]:
        query = (
            "SELECT r.tag, r.idx, r.n, coalesce(t.type, '') "
            "FROM event_tags r LEFT JOIN event_types t ON t.code = r.type "
            "WHERE (r.tag, r.idx) > (?, ?) AND r.idx <= ? ORDER BY r.tag, r.idx LIMIT ?"
        )
        # Also rows of indexes that cannot be: whoever verifies must see them.
        last: tuple[str, int] = ("", -MAX_SIZE)
        highest = MAX_SIZE if end is None else end - 1
        while rows := self._rows(query, *last, highest, PAGE):
            for row in rows:
                yield TagRow(*row)
            last = rows[-1][:2]

    def types(self) -> list[str]:
        return [row[0] for row in self._rows("SELECT type FROM event_types ORDER BY code")]

    def tiles(self) -> Iterator[tuple[int, int]]:
        yield from self._rows("SELECT level, n FROM tiles ORDER BY level, n")

    def idempotency(self) -> Iterator[IdempotencyRow]:
        last = b""
        while rows := self._rows("SELECT * FROM idempotency WHERE key > ? ORDER BY key LIMIT ?", last, PAGE):
            for row in rows:
                yield IdempotencyRow(*row)
            last = rows[-1][0]

    def damage(self) -> Iterator[str]:
        connection = self._connect(cache_kib=READER_CACHE_KIB)
        try:
            with storage_errors(self._path):
                for page in damaged_pages(connection, self._path):
                    yield f"{self._path.name}: page {page} does not match its checksum"
                yield from strange_objects(connection, self._path, _schema())
                # A page may be whole and an index still leave rows out: what is asked by type would not be found.
                for (found,) in connection.execute("PRAGMA integrity_check(100)").fetchall():
                    if found != "ok":
                        yield f"{self._path.name}: {found}"
                for (index,) in connection.execute(_SEALED_BEYOND).fetchall():
                    yield f"{self._path.name}: there is a row of entry {index}, which cannot be"
        finally:
            connection.close()

    def find_idempotent(self, key: bytes) -> IdempotencyRow | None:
        row = self._read("SELECT * FROM idempotency WHERE key = ?", key)
        return None if row is None else IdempotencyRow(*row)

    # --- erasure ---------------------------------------------------------------------------------------------

    def delete_boxes(self, key_ids: Collection[KeyId], end: int) -> int:
        deleted = 0
        with self._write_lock, storage_errors(self._path), self._writer:
            for key_id in key_ids:
                self._writer.execute(
                    "DELETE FROM sealed WHERE key_id = ? "
                    "AND idx IN (SELECT idx FROM event_tags WHERE tag = ? AND idx < ?)",
                    (key_id, f"key:{key_id}", end),
                )
                deleted += self._writer.changes()
        with self._write_lock, storage_errors(self._path):
            # secure_delete zeroed the pages; what stood in them must leave the WAL too.
            truncate_wal(self._writer, self._path)
        return deleted

    # --- inside ----------------------------------------------------------------------------------------------

    def _connect(self, *, read_only: bool = False, cache_kib: int) -> apsw.Connection:
        return connect(
            self._path,
            application_id=LEDGER_APPLICATION_ID,
            version=SCHEMA_VERSION,
            read_only=read_only,
            cache_kib=cache_kib,
        )

    def _rows(self, sql: str, *parameters: Any) -> list[Any]:
        with storage_errors(self._path):
            # The connection used last is the one whose cache is warm; there are as many as ever read at once.
            with self._idle_lock:
                if self._closed:
                    raise StorageError(f"{self._path}: the ledger is closed")
                reader = self._idle.pop() if self._idle else None
            reader = reader or self._connect(read_only=True, cache_kib=READER_CACHE_KIB)
            try:
                # fetchall resets the statement: an open read would hold back the WAL.
                return reader.execute(sql, parameters).fetchall()
            finally:
                self._give_back(reader)

    def _give_back(self, reader: apsw.Connection) -> None:
        with self._idle_lock:
            if not self._closed:
                self._idle.append(reader)
                return
        reader.close()

    def _read(self, sql: str, *parameters: Any) -> Any:
        rows = self._rows(sql, *parameters)
        return rows[0] if rows else None

    def _code(self, type: str) -> int | None:
        code = self._types.get(type)
        if code is None:
            row = self._read("SELECT code FROM event_types WHERE type = ?", type)
            if row is not None:
                code = self._types[type] = row[0]
        return code

    def _streams(self, item: QueryItem, end: int) -> list[_Stream]:
        codes = [code for code in map(self._code, item.types) if code is not None]
        if item.types and not codes:
            return []
        return _streams(item, codes, end, lambda tag: self._read(_TAG_HEAD, tag))

    def _pages(self, stream: _Stream, first: int, page: int = PAGE) -> Iterator[Stored]:
        sql, parameters = stream
        while rows := self._rows(sql, *parameters, first, page):
            for row in rows:
                yield Stored(row[0], row[1])
            if len(rows) < page:
                return
            first, page = rows[-1][0] + 1, PAGE


class SqliteTransaction(Transaction):
    """`BEGIN IMMEDIATE` … `COMMIT` on the writing connection: durable when `commit` returns (synchronous=FULL)."""

    def __init__(self, connection: apsw.Connection, lock: threading.Lock, path: Path, types: dict[str, int]) -> None:
        self._connection = connection
        self._lock = lock
        self._path = path
        self._types = types
        self._new_types: dict[str, int] = {}
        self._types_read = False
        self.tag_index = SqliteTagWriter(connection, path)

    def __enter__(self) -> SqliteTransaction:
        self._lock.acquire()
        try:
            with storage_errors(self._path):
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                except apsw.BusyError as error:
                    raise Busy(f"{self._path}: another process has held the write lock for too long") from error
                row = self._connection.execute(_HEAD).fetchone()
        except BaseException:
            self._roll_back()
            raise
        self.head = Head(0, None) if row is None else Head(row[0] + 1, row[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._roll_back()

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as failure:
            # SQLite rolls back by itself after most I/O errors; a second failure adds nothing to the first.
            if self._connection.in_transaction:
                raise StorageError(f"{self._path}: cannot roll back ({failure})") from failure
        finally:
            self._lock.release()

    def tail(self, first: int) -> list[bytes]:
        with storage_errors(self._path):
            rows: Any = self._connection.execute(
                "SELECT entry FROM events WHERE idx >= ? ORDER BY idx LIMIT ?", (first, TAIL)
            )
            return [entry for (entry,) in rows]

    def last_checkpoint(self) -> tuple[int, bytes] | None:
        with storage_errors(self._path):
            row: Any = self._connection.execute(_LAST_CHECKPOINT).fetchone()
        return None if row is None else (row[0], row[1])

    def tag_heads(self, tags: Collection[Tag]) -> dict[Tag, TagHead]:
        heads: dict[Tag, TagHead] = {}
        with storage_errors(self._path):
            for chunk in chunks(list(tags)):
                # One row of many columns: one step of the engine, see CHUNKS.
                (found,) = self._connection.execute(
                    f"SELECT {', '.join([_PACKED_HEAD] * len(chunk))}", chunk
                ).fetchall()
                for tag, packed in zip(chunk, found if isinstance(found, tuple) else (found,), strict=True):
                    heads[tag] = NO_EVENTS if packed is None else _unpack(packed)
        return heads

    def failed(self, conditions: Sequence[Condition]) -> list[bool]:
        with storage_errors(self._path):
            return [self._fails(condition) for condition in conditions]

    def _fails(self, condition: Condition) -> bool:
        if not condition.query:
            return self.head.size > condition.after
        execute = self._connection.execute
        for item in condition.query:
            codes = [code for code in map(self._code, item.types) if code is not None]
            if item.types and not codes:
                continue
            streams = _streams(item, codes, self.head.size, lambda tag: execute(_TAG_HEAD, (tag,)).fetchone())
            for sql, parameters in streams:
                if execute(sql, (*parameters, condition.after, 1)).fetchall():
                    return True
        return False

    def idempotent(self, keys: Collection[bytes]) -> dict[bytes, IdempotencyRow]:
        found: dict[bytes, IdempotencyRow] = {}
        with storage_errors(self._path):
            for key in keys:
                row = self._connection.execute("SELECT * FROM idempotency WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = IdempotencyRow(*row)
        return found

    def insert(self, batch: Batch) -> None:
        codes = {type: self._code_or_new(type) for type in {row.type for row in batch.events}}
        with storage_errors(self._path):
            self._insert("events", [(row.index, codes[row.type], row.entry, row.leaf) for row in batch.events])
            # In the order of the table, so that rows of one page are inserted together.
            tags = sorted((tag, row.index, n, codes[row.type]) for row in batch.events for tag, n in row.tags)
            self._insert("event_tags", tags)
            self._insert_sealed([(row.index, box.key_id, box.bytes) for row in batch.events for box in row.boxes])
            self._insert("tiles", [(tile.level, tile.n, tile.hashes) for tile in batch.tiles])
            self._insert("idempotency", [(row.key, row.content, row.first, row.count) for row in batch.idempotency])
            self._insert("checkpoints", [*batch.earlier, (batch.size, batch.checkpoint)])

    def insert_idempotency(self, rows: Sequence[IdempotencyRow]) -> None:
        with storage_errors(self._path):
            self._connection.executemany(
                "INSERT INTO idempotency VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(row.key, row.content, row.first, row.count) for row in rows],
            )

    def _insert_sealed(self, rows: Sequence[tuple[int, str, bytes]]) -> None:
        self._insert("sealed", [row for row in rows if len(row[2]) <= _SMALL_BYTES])
        for row in rows:
            if len(row[2]) > _SMALL_BYTES:
                # A statement that is kept keeps what was last bound to it.
                self._connection.execute("INSERT INTO sealed VALUES (?, ?, ?)", row, can_cache=False)

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        insert_rows(self._connection, table, rows)

    def commit(self) -> None:
        with storage_errors(self._path):
            self._connection.execute("COMMIT")
        # Only now: a code given in a transaction that was undone means nothing.
        self._types.update(self._new_types)

    def _code(self, type: str) -> int | None:
        code = self._types.get(type) or self._new_types.get(type)
        if code is None and not self._types_read:
            # All of them, once: a condition on a type that never occurred is asked again and again.
            with storage_errors(self._path):
                rows: Any = self._connection.execute("SELECT type, code FROM event_types").fetchall()
            self._new_types.update(rows)
            self._types_read = True
            code = self._new_types.get(type)
        return code

    def _code_or_new(self, type: str) -> int:
        with storage_errors(self._path):
            code = self._code(type)
            if code is None:
                self._connection.execute("INSERT INTO event_types (type) VALUES (?)", (type,))
                code = self._new_types[type] = self._connection.last_insert_rowid()
            return code


def _streams(
    item: QueryItem, codes: Sequence[int], end: int, tag_head: Callable[[Tag], tuple[int, int] | None]
) -> list[_Stream]:
    """Return the ordered streams of an item: (sql, parameters) that still want the lower bound and the limit."""
    if not item.tags:
        if not item.types:
            return [("SELECT idx, entry FROM events WHERE idx < ? AND idx >= ? ORDER BY idx LIMIT ?", (end,))]
        # One stream a type: the index gives each in order, where an IN would sort the whole answer.
        by_type = (
            "SELECT idx, entry FROM events INDEXED BY events_by_type "
            "WHERE type = ? AND idx < ? AND idx >= ? ORDER BY idx LIMIT ?"
        )
        return [(by_type, (code, end)) for code in codes]
    tags: list[Tag] = list(item.tags)
    if len(tags) > 1:
        heads = [(tag_head(tag), tag) for tag in set(tags)]
        if any(head is None for head, _ in heads):
            return []
        tags = [tag for _, tag in sorted((head[0], tag) for head, tag in heads if head is not None)]
    in_types = f" AND r.type IN ({', '.join('?' * len(codes))})" if codes else ""
    probes = " AND EXISTS (SELECT 1 FROM event_tags o WHERE o.tag = ? AND o.idx = r.idx)" * (len(tags) - 1)
    sql = (
        "SELECT r.idx, e.entry FROM event_tags r CROSS JOIN events e ON e.idx = r.idx "
        f"WHERE r.tag = ?{in_types}{probes} AND r.idx < ? AND r.idx >= ? ORDER BY r.idx LIMIT ?"
    )
    return [(sql, (tags[0], *codes, *tags[1:], end))]


def _unpack(packed: str) -> TagHead:
    n, last = packed.split()
    return int(n), int(last)


def _merge(streams: Iterable[Iterator[Stored]]) -> Iterator[Stored]:
    last = -1
    for stored in heapq.merge(*streams, key=lambda stored: stored.index):
        if stored.index != last:
            yield stored
            last = stored.index


def _first(found: Iterator[Stored], limit: int) -> Iterator[Stored]:
    for _, stored in zip(range(limit), found, strict=False):
        yield stored


def _migrate(connection: apsw.Connection, path: Path) -> None:
    """Bring a ledger of an older version to this one: whole or not at all, and only if it is what that version made.

    Safe when several processes open it at once: whoever comes second finds it done.
    """
    if connection.pragma("user_version") == SCHEMA_VERSION or not connection.execute(_OBJECTS).get:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(int(connection.pragma("user_version")) + 1, SCHEMA_VERSION + 1):
            _check_schema(connection, path, version - 1)
            for statement in _schema_files(_ADDED[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _check_schema(connection: apsw.Connection, path: Path, version: int) -> None:
    """Raise Tampered unless the schema is the one that `version` made."""
    later = {number for added, numbers in _ADDED.items() if added > version for number in numbers}
    strange = list(strange_objects(connection, path, _schema_files(set(range(1, 100)) - later)))
    if strange:
        raise Tampered("schema", "; ".join(strange))


def _schema() -> list[str]:
    return _schema_files(range(1, 100))


def index_schema() -> list[str]:
    """Return the SQL of the tables of the tag index alone, for a scratch index."""
    return _schema_files(_ADDED[2])


def _schema_files(numbers: Collection[int]) -> list[str]:
    files = sorted(resources.files("ledger.storage").joinpath("sql", "sqlite").iterdir(), key=lambda file: file.name)
    return [file.read_text() for file in files if file.name.endswith(".sql") and int(file.name[:2]) in numbers]
