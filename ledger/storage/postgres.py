"""The engine on PostgreSQL through psycopg 3: for several processes and hosts that record at once.

The one row of `head` is lock, allocator of indexes and last moment of a ledger: its UPDATE begins a transaction, the
commit ends it. Everything is set-wise: a batch costs the same few round trips whatever its size. Nobody is let past: an
advisory lock before the row queues writers in the order in which they came, which the row itself does not.

A lost connection loses nothing: what was being committed is *in doubt* (InDoubt), and the server is asked again.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from ledger.errors import InDoubt, StorageError, Tampered
from ledger.sealing import Box
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
from ledger.storage.postgres_arrays import Bigints, Byteas, Texts
from ledger.storage.postgres_schema import LOCK_CLASS, Schema, check_schema, lock_key, strange_objects
from ledger.storage.postgres_session import (
    APP_ROLE,
    RECONNECT_S,
    Connection,
    Readers,
    Sessions,
    advice,
    is_lost,
    storage_errors,
    warnings_of,
)
from ledger.storage.postgres_tags import TAG_STATEMENTS, PostgresTagStore, PostgresTagWriter
from ledger.storage.postgres_wire import Call
from ledger.storage.server import Server
from ledger.tlog.merkle import MAX_SIZE
from ledger.vocabulary import KeyId, Tag

_WHAT: Final = "PROOFTRAIL_DSN"
_OWNER: Final = "PROOFTRAIL_OWNER_DSN"

_FIRST_ROWS: Final = sql.SQL(
    "WITH l AS (INSERT INTO {schema}.ledger VALUES (1, %s, %s)) INSERT INTO {schema}.head VALUES (1, 0, '')"
)

_STATEMENTS: Final = {
    # The queue, and the lock. What is read behind them in the same round trip sees all that was committed before.
    "queue": "SELECT FROM pg_advisory_xact_lock({lock_class}, {lock_key})",
    "lock": "UPDATE {s}.head SET size = size WHERE one = 1 RETURNING size",
    "last": "SELECT idx, entry FROM {s}.events ORDER BY idx DESC LIMIT 1",
    "tail": "SELECT idx, entry FROM {s}.events WHERE idx >= %s ORDER BY idx LIMIT %s",
    "tag_heads": (
        "SELECT t.tag, h.n, h.idx FROM unnest(%s) t(tag) CROSS JOIN LATERAL "
        "(SELECT n, idx FROM {s}.event_tags WHERE tag = t.tag ORDER BY idx DESC LIMIT 1) h"
    ),
    # Each condition walks the rarest of its tags and probes the others. LIMIT and scalar subqueries keep the planner
    # from joining whole tables.
    "failed_by_tag": (
        "SELECT i.number FROM unnest(%s, %s, %s, %s, %s) i(number, tag, after, others, codes) CROSS JOIN LATERAL ("
        "SELECT 1 FROM {s}.event_tags r WHERE r.tag = i.tag AND r.idx >= i.after "
        "AND (i.codes = '{{}}' OR r.type = ANY (i.codes::int[])) "
        "AND (i.others = '{{}}' OR (SELECT bool_and((SELECT p.n FROM {s}.event_tags p "
        "WHERE p.tag = o.tag AND p.idx = r.idx) IS NOT NULL) FROM unnest(i.others::text[]) o(tag))) "
        "ORDER BY r.idx LIMIT 1) hit"
    ),
    "failed_by_type": (
        "SELECT i.number FROM unnest(%s, %s, %s) i(number, code, after) CROSS JOIN LATERAL ("
        "SELECT 1 FROM {s}.events e WHERE e.type = i.code::int AND e.idx >= i.after ORDER BY e.idx LIMIT 1) hit"
    ),
    "idempotent": (
        "SELECT i.* FROM unnest(%s) k(key) CROSS JOIN LATERAL "
        "(SELECT key, content, first, count FROM {s}.idempotency WHERE key = k.key LIMIT 1) i"
    ),
    "types": "SELECT type, code FROM {s}.event_types ORDER BY code",
    "insert_types": "INSERT INTO {s}.event_types (type, code) SELECT t, c FROM unnest(%s, %s) r(t, c)",
    # All of a batch in one statement: each one costs the driver and the server more than its rows do.
    "insert": (
        "WITH e AS (INSERT INTO {s}.events (idx, type, entry, leaf) "
        "SELECT i, t, e, l FROM unnest(%s, %s, %s, %s) r(i, t, e, l)), "
        "g AS (INSERT INTO {s}.event_tags (tag, idx, n, type) "
        "SELECT g, i, n, t FROM unnest(%s, %s, %s, %s) r(g, i, n, t)), "
        "b AS (INSERT INTO {s}.sealed (idx, key_id, box) SELECT i, k, b FROM unnest(%s, %s, %s) r(i, k, b)), "
        "h AS (INSERT INTO {s}.tiles (level, n, hashes) SELECT l, n, h FROM unnest(%s, %s, %s) r(l, n, h)), "
        "k AS (INSERT INTO {s}.idempotency (key, content, first, count) "
        "SELECT k, c, f, n FROM unnest(%s, %s, %s, %s) r(k, c, f, n)), "
        "c AS (INSERT INTO {s}.checkpoints (size, note) VALUES (%s, %s)) "
        "UPDATE {s}.head SET size = %s, recorded_at = %s WHERE one = 1"
    ),
    # Of a log that is copied.
    "insert_earlier": "INSERT INTO {s}.checkpoints (size, note) SELECT s, n FROM unnest(%s, %s) r(s, n)",
    "add_idempotency": (
        "INSERT INTO {s}.idempotency (key, content, first, count) "
        "SELECT k, c, f, n FROM unnest(%s, %s, %s, %s) r(k, c, f, n) ON CONFLICT DO NOTHING"
    ),
    # --- reading
    "ledger": "SELECT origin, verifier FROM {s}.ledger",
    "size": "SELECT size FROM {s}.head",
    "entry": "SELECT entry FROM {s}.events WHERE idx = %s",
    "entries": "SELECT idx, entry FROM {s}.events WHERE idx < %s AND idx >= %s ORDER BY idx LIMIT %s",
    "by_type": "SELECT idx, entry FROM {s}.events WHERE type = %s AND idx < %s AND idx >= %s ORDER BY idx LIMIT %s",
    "by_tag": (
        "SELECT r.idx, e.entry FROM (SELECT r.idx FROM {s}.event_tags r "
        "WHERE r.tag = %s AND (%s = '{{}}' OR r.type = ANY (%s::int[])) "
        "AND (%s = '{{}}' OR (SELECT bool_and((SELECT p.n FROM {s}.event_tags p "
        "WHERE p.tag = o.tag AND p.idx = r.idx) IS NOT NULL) FROM unnest(%s::text[]) o(tag))) "
        "AND r.idx < %s AND r.idx >= %s ORDER BY r.idx LIMIT %s) r JOIN {s}.events e ON e.idx = r.idx ORDER BY r.idx"
    ),
    # By the pair, so that only the index by type will do.
    "last_of_type": (
        "SELECT idx, entry FROM (SELECT type, idx, entry FROM {s}.events WHERE (type, idx) < (%s, %s) "
        "ORDER BY type DESC, idx DESC LIMIT 1) e WHERE type = %s"
    ),
    "leaves": "SELECT leaf FROM {s}.events WHERE idx >= %s AND idx < %s ORDER BY idx",
    "tile": "SELECT hashes FROM {s}.tiles WHERE level = %s AND n = %s",
    "tiles": "SELECT level, n FROM {s}.tiles ORDER BY level, n",
    "boxes": "SELECT key_id, box FROM {s}.sealed WHERE idx = %s ORDER BY key_id",
    "boxes_of": (
        "SELECT b.* FROM unnest(%s) i(idx) CROSS JOIN LATERAL "
        "(SELECT idx, key_id, box FROM {s}.sealed WHERE idx = i.idx ORDER BY key_id LIMIT 1000) b"
    ),
    "boxes_between": "SELECT idx, key_id, box FROM {s}.sealed WHERE idx >= %s AND idx < %s ORDER BY idx, key_id",
    "delete_boxes": (
        "DELETE FROM {s}.sealed USING (SELECT t.idx, k.key_id FROM unnest(%s, %s) k(key_id, tag) "
        "JOIN {s}.event_tags t ON t.tag = k.tag WHERE t.idx < %s) d "
        "WHERE sealed.idx = d.idx AND sealed.key_id = d.key_id"
    ),
    "last_checkpoint": "SELECT size, note FROM {s}.checkpoints ORDER BY size DESC LIMIT 1",
    "checkpoint_of": "SELECT size, note FROM {s}.checkpoints WHERE size >= %s ORDER BY size LIMIT 1",
    "checkpoints": "SELECT size, note FROM {s}.checkpoints WHERE size > %s ORDER BY size LIMIT %s",
    "audit": (
        "SELECT e.idx, coalesce((SELECT t.type FROM {s}.event_types t WHERE t.code = e.type), ''), e.entry, e.leaf "
        "FROM {s}.events e WHERE e.idx >= %s AND e.idx < %s ORDER BY e.idx LIMIT %s"
    ),
    "tags": (
        "SELECT r.tag, r.idx, r.n, coalesce((SELECT t.type FROM {s}.event_types t WHERE t.code = r.type), '') "
        "FROM {s}.event_tags r WHERE (r.tag, r.idx) > (%s, %s) AND r.idx <= %s ORDER BY r.tag, r.idx LIMIT %s"
    ),
    "idempotency": "SELECT key, content, first, count FROM {s}.idempotency WHERE key > %s ORDER BY key LIMIT %s",
    "find_idempotent": "SELECT key, content, first, count FROM {s}.idempotency WHERE key = %s",
    # --- what cannot be
    "beyond": (
        "SELECT format('there is a row of entry %%s, which cannot be', b.idx) FROM "
        "((SELECT idx FROM {s}.sealed WHERE idx >= (SELECT size FROM {s}.head) ORDER BY idx LIMIT 10) UNION ALL "
        "(SELECT idx FROM {s}.sealed WHERE idx < 0 ORDER BY idx LIMIT 10) UNION ALL "
        "(SELECT idx FROM {s}.events WHERE idx < 0 ORDER BY idx LIMIT 10) UNION ALL "
        "(SELECT idx FROM {s}.events WHERE idx >= (SELECT size FROM {s}.head) ORDER BY idx LIMIT 10)) b"
    ),
}

# Each index gives as many rows as its table has.
_COUNTS: Final = (("events", "idx >= 0 OR idx < 0"), ("event_tags", "tag >= ''"), ("sealed", "idx >= 0 OR idx < 0"))

_BEGIN: Final[Call] = (b"BEGIN", ())
_COMMIT: Final[Call] = (b"COMMIT", ())
_ROLLBACK: Final[Call] = (b"ROLLBACK", ())

# An answer that is read in pages, ordered by index: statement and parameters but the lower bound and the limit.
_Stream = tuple[str, tuple[Any, ...]]


class PostgresEngine(Engine):
    """A ledger in one schema of a PostgreSQL database. Raises StorageError when it is absent, not ours, or newer."""

    recovers = True
    is_local = False
    queues = True

    def __init__(self, server: Server) -> None:
        self._sessions = Sessions(server.dsn, schema=server.schema, role=APP_ROLE, what=_WHAT)
        self.schema = server.schema
        self.place = self._sessions.place
        names = {
            "s": sql.Identifier(server.schema),
            "lock_class": sql.Literal(LOCK_CLASS),
            "lock_key": sql.Literal(lock_key(server.schema)),
        }
        # As bytes: composed once, and not at each use.
        self.statements = {
            name: sql.SQL(text).format(**names).as_bytes() for name, text in (_STATEMENTS | TAG_STATEMENTS).items()
        }
        # The size of the log as this connection left it; where it still is, no type is unknown here.
        self.left = -1
        self._connected = 0
        self.codes: dict[str, int] = {}
        """The numbers of the types that are known here; only what is committed."""
        self._write_lock = threading.Lock()
        self._writer: Connection | None = None
        self._closed = False
        connection = self._sessions.connect()
        try:
            check_schema(connection, server.schema, "ledger", role=APP_ROLE, place=self.place)
            with storage_errors(self.place):
                row = connection.execute(self.statements["ledger"]).fetchone()
            if row is None:
                raise StorageError(f"{self.place}: its `ledger` row is missing; restore it from a backup")
            self.origin, self.verifier = row
        except BaseException:
            connection.close()
            raise
        self._writer = connection
        self._readers = Readers(self._sessions)
        self._tags = PostgresTagStore(self._rows, self._sessions, self.statements)
        self.tag_index = self._tags

    @classmethod
    def create(cls, server: Server, *, origin: str, verifier: str) -> PostgresEngine:
        """Make a ledger's schema, or bring it forward. Safe when several do it at once: the first names the ledger."""
        _schema(server).make(_FIRST_ROWS, (origin, verifier), role=APP_ROLE, user_of=server.dsn)
        return cls(server)

    @classmethod
    def exists(cls, server: Server) -> bool:
        """Whether there is one already. Raises StorageError for a schema that is not ours."""
        return _schema(server).exists()

    def close(self) -> None:
        self._closed = True
        self._readers.close()
        self._tags.close()
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def begin(self, ahead: Ahead = NOTHING_AHEAD) -> PostgresTransaction:
        return PostgresTransaction(self, ahead)

    # --- reading ---------------------------------------------------------------------------------------------

    def size(self) -> int:
        return int(self._read("size")[0])

    def entry(self, index: int) -> bytes | None:
        row = self._read("entry", index)
        return None if row is None else row[0]

    def entries(self, first: int = 0, end: int | None = None) -> Iterator[Stored]:
        end = self.size() if end is None else end
        return self._pages(("entries", (end,)), first)

    def select(self, query: Query, *, after: int = 0, end: int, limit: int | None = None) -> Iterator[Stored]:
        if not query:
            found = self.entries(after, end)
        else:
            streams = [stream for item in query for stream in self._streams(item, end)]
            page = PAGE if limit is None else min(limit, PAGE)
            found = _merge([self._pages(stream, after, page) for stream in streams])
        return found if limit is None else _first(found, limit)

    def last_of_type(self, type: str, end: int) -> Stored | None:
        codes = self._codes([type])
        row = self._read("last_of_type", codes[0], end, codes[0]) if codes else None
        return None if row is None else Stored(row[0], row[1])

    def leaves(self, first: int, end: int) -> list[bytes]:
        return [row[0] for row in self._rows("leaves", first, end)]

    def tile(self, level: int, n: int) -> bytes | None:
        row = self._read("tile", level, n)
        return None if row is None else row[0]

    def boxes(self, index: int) -> list[Box]:
        return [Box(KeyId(key_id), box) for key_id, box in self._rows("boxes", index)]

    def boxes_of(self, indexes: Sequence[int]) -> dict[int, list[Box]]:
        found: dict[int, list[Box]] = {}
        for start in range(0, len(indexes), PAGE):
            for index, key_id, box in self._rows("boxes_of", Bigints(indexes[start : start + PAGE])):
                found.setdefault(index, []).append(Box(KeyId(key_id), box))
        return found

    def boxes_between(self, first: int, end: int) -> Iterator[tuple[int, Box]]:
        # By index range, not by count: one event may have several rows, and boxes may be as large as an order.
        for start in range(first, end, 64):
            for index, key_id, box in self._rows("boxes_between", start, min(start + 64, end)):
                yield index, Box(KeyId(key_id), box)

    def checkpoint(self, size: int | None = None) -> tuple[int, bytes] | None:
        row = self._read("last_checkpoint") if size is None else self._read("checkpoint_of", size)
        return None if row is None else (row[0], row[1])

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        last = -1
        while rows := self._rows("checkpoints", last, PAGE):
            yield from rows
            last = rows[-1][0]

    def audit(self, first: int, end: int) -> Iterator[AuditRow]:
        while rows := self._rows("audit", first, end, PAGE):
            for row in rows:
                yield AuditRow(*row)
            first = rows[-1][0] + 1

    def tags(self, end: int | None = None) -> Iterator[TagRow]:
        # Also rows of indexes that cannot be: whoever verifies must see them.
        last: tuple[str, int] = ("", -MAX_SIZE)
        highest = MAX_SIZE if end is None else end - 1
        while rows := self._rows("tags", *last, highest, PAGE):
            for row in rows:
                yield TagRow(*row)
            last = rows[-1][:2]

    def types(self) -> list[str]:
        return [type for type, _ in self._rows("types")]

    def tiles(self) -> Iterator[tuple[int, int]]:
        yield from self._rows("tiles")

    def idempotency(self) -> Iterator[IdempotencyRow]:
        last = b""
        while rows := self._rows("idempotency", last, PAGE):
            for row in rows:
                yield IdempotencyRow(*row)
            last = rows[-1][0]

    def find_idempotent(self, key: bytes) -> IdempotencyRow | None:
        row = self._read("find_idempotent", key)
        return None if row is None else IdempotencyRow(*row)

    def damage(self) -> Iterator[str]:
        """Schema, head, and the indexes against their tables; pages are the server's to check (data checksums)."""
        connection = self._sessions.connect()
        try:
            with storage_errors(self.place):
                for line in strange_objects(connection, self.schema, "ledger"):
                    yield f"{self.place}: {line}"
                yield from self._contradictions(connection)
        finally:
            connection.close()

    def _contradictions(self, connection: Connection) -> Iterator[str]:
        name = sql.Identifier(self.schema)
        with connection.transaction():
            # One state of the log for all of it, while others go on recording.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            for (line,) in connection.execute(self.statements["beyond"], ()).fetchall():
                yield f"{self.place}: {line}"
            for table, all_rows in _COUNTS:
                counts = []
                for scan, other in (("enable_seqscan", "enable_indexscan"), ("enable_indexscan", "enable_seqscan")):
                    connection.execute(f"SET LOCAL {scan} = on; SET LOCAL {other} = off", prepare=False)
                    connection.execute(
                        f"SET LOCAL enable_indexonlyscan = {'off' if 'seq' in scan else 'on'}", prepare=False
                    )
                    query = sql.SQL(f"SELECT count(*) FROM {{}}.{table} WHERE {all_rows}")
                    counts += connection.execute(query.format(name), prepare=False).fetchall()
                if counts[0] != counts[1]:
                    found, there = counts[1][0], counts[0][0]
                    yield f"{self.place}: the index of {table} finds {found} of its {there} rows; REINDEX it"

    # --- erasure ---------------------------------------------------------------------------------------------

    def delete_boxes(self, key_ids: Collection[KeyId], end: int) -> int:
        keys = list(key_ids)
        parameters = (Texts(keys), Texts([f"key:{key}" for key in keys]), end)
        connection = self._sessions.connect()
        try:
            with storage_errors(self.place), warnings_of(connection) as warnings:
                deleted = connection.execute(self.statements["delete_boxes"], parameters).rowcount
            if warnings:
                raise InDoubt(f"{self.place}: {warnings[0]}")
            return deleted
        finally:
            connection.close()

    # --- the writing connection ------------------------------------------------------------------------------

    def lend(self, ahead: Ahead) -> tuple[Connection, _Found]:
        """Begin a transaction under the lock, on the one writing connection; connect again when it was lost.

        Nothing was begun before this returns, so it may try again. Raises Busy and StorageError; then nothing is held.
        """
        self._write_lock.acquire()
        try:
            deadline = monotonic() + RECONNECT_S
            while True:
                try:
                    if self._closed:
                        raise StorageError(f"{self.place}: the ledger is closed")
                    if self._writer is None:
                        self._writer = self._sessions.connect()
                        self._connected += 1
                        self.left = -1
                    return self._writer, self._lock(self._writer, ahead)
                except psycopg.Error as error:
                    assert self._writer is not None
                    lost = is_lost(self._writer, error)
                    self.drop()
                    if not lost or monotonic() > deadline:
                        with storage_errors(self.place):
                            raise
                except StorageError:
                    if self._writer is not None or self._closed or monotonic() > deadline:
                        raise
                    sleep(0.05)
        except BaseException:
            self.drop()
            self._write_lock.release()
            raise

    def take_back(self) -> None:
        """End a transaction; what was not committed is undone."""
        try:
            if self._writer is not None and self._writer.info.transaction_status:
                self._writer.wire.run(_ROLLBACK)
        except psycopg.Error:
            # The server undoes it when it notices; the next transaction has a new connection.
            self.drop()
        finally:
            self._write_lock.release()

    def drop(self) -> None:
        """Give up the writing connection."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _lock(self, connection: Connection, ahead: Ahead) -> _Found:
        """Take the lock, and read in the same round trip what the transaction begins with."""
        # With the entry before the tail there is always a last one, unless the log is empty.
        before = 0 if ahead.tail is None else max(ahead.tail - 1, 0)
        sql = self.statements
        _, _, sizes, end, notes, heads, used = connection.wire.run(
            _BEGIN,
            (sql["queue"], ()),
            (sql["lock"], ()),
            (sql["last"], ()) if ahead.tail is None else (sql["tail"], (before, TAIL + 1)),
            (sql["last_checkpoint"], ()),
            (sql["tag_heads"], (Texts(list(ahead.tags)),)),
            (sql["idempotent"], (Byteas(list(ahead.keys)),)),
        )
        size = sizes[0][0] if sizes else None
        if len(end) > TAIL:
            ((last, entry),) = connection.wire.run((sql["last"], ()))[0]
        else:
            last, entry = end[-1] if end else (-1, None)
        if size != last + 1:
            raise Tampered("head", f"{self.place}: says {size} entries, the last one is {last}")
        return _Found(
            Head(size, entry, self._connected),
            [(index, entry) for index, entry in end if index != before or not ahead.tail],
            notes[0] if notes else None,
            dict.fromkeys(ahead.tags, NO_EVENTS) | {Tag(tag): (n, last) for tag, n, last in heads},
            dict.fromkeys(ahead.keys) | {row[0]: IdempotencyRow(*row) for row in used},
        )

    # --- inside ----------------------------------------------------------------------------------------------

    def _rows(self, name: str, *parameters: Any) -> list[Any]:
        return self._readers.rows(self.statements[name], parameters)

    def _read(self, name: str, *parameters: Any) -> Any:
        rows = self._rows(name, *parameters)
        return rows[0] if rows else None

    def _codes(self, types: Iterable[str]) -> list[int]:
        if not self.codes.keys() >= set(types):
            self.codes.update(self._rows("types"))
        return [self.codes[type] for type in types if type in self.codes]

    def _streams(self, item: QueryItem, end: int) -> list[_Stream]:
        codes = self._codes(item.types)
        if item.types and not codes:
            return []
        if not item.tags:
            # One stream a type: the index gives each in order, where one for all would sort the whole answer.
            return [("by_type", (code, end)) for code in codes] if item.types else [("entries", (end,))]
        tags = list(dict.fromkeys(item.tags))
        if len(tags) > 1:
            heads = {tag: n for tag, n, _ in self._rows("tag_heads", Texts(tags))}
            if len(heads) < len(tags):
                return []
            tags.sort(key=lambda tag: (heads[tag], tag))
        among, others = _literal(map(str, codes)), _literal(tags[1:])
        return [("by_tag", (tags[0], among, among, others, others, end))]

    def _pages(self, stream: _Stream, first: int, page: int = PAGE) -> Iterator[Stored]:
        name, parameters = stream
        while rows := self._rows(name, *parameters, first, page):
            for row in rows:
                yield Stored(row[0], row[1])
            if len(rows) < page:
                return
            first, page = rows[-1][0] + 1, PAGE


class _Found(NamedTuple):
    """What a transaction begins with: the end of the log, and what was to be read ahead; None is an unused key."""

    head: Head
    tail: list[tuple[int, bytes]]
    checkpoint: tuple[int, bytes] | None
    heads: dict[Tag, TagHead]
    used: dict[bytes, IdempotencyRow | None]


class PostgresTransaction(Transaction):
    """From the UPDATE of `head` to its commit: durable, on a synchronous standby too, when `commit` returns."""

    def __init__(self, engine: PostgresEngine, ahead: Ahead) -> None:
        self._engine = engine
        self._ahead = ahead
        self._sql = engine.statements
        self._new_types: dict[str, int] = {}
        self._inserts: list[tuple[str, tuple[Any, ...]]] = []
        self.tag_index = PostgresTagWriter(self._rows)

    def __enter__(self) -> PostgresTransaction:
        self._connection, self._found = self._engine.lend(self._ahead)
        self.head = self._found.head
        # Where nobody else appended, no type is unknown.
        self._types_read = self.head.size == self._engine.left
        self._left = self.head.size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.take_back()

    def tail(self, first: int) -> list[bytes]:
        if first != self._ahead.tail:
            return [entry for _, entry in self._rows("tail", first, TAIL)]
        return [entry for _, entry in self._found.tail[:TAIL]]

    def last_checkpoint(self) -> tuple[int, bytes] | None:
        return self._found.checkpoint

    def tag_heads(self, tags: Collection[Tag]) -> dict[Tag, TagHead]:
        known = self._found.heads
        heads: dict[Tag, TagHead] = {tag: known.get(tag, NO_EVENTS) for tag in tags}
        unknown = [tag for tag in tags if tag not in known]
        if unknown:
            heads.update((Tag(tag), (n, last)) for tag, n, last in self._rows("tag_heads", Texts(unknown)))
        return heads

    def failed(self, conditions: Sequence[Condition]) -> list[bool]:
        failed = [False] * len(conditions)
        by_tag: list[tuple[int, Sequence[Tag], int, str]] = []
        by_type: list[tuple[int, int, int]] = []
        for number, condition in enumerate(conditions):
            for item in condition.query or (QueryItem(),):
                codes = [code for code in map(self._code, item.types) if code is not None]
                if item.types and not codes:
                    continue
                if item.tags:
                    by_tag.append((number, item.tags, condition.after, _literal(map(str, codes))))
                elif item.types:
                    by_type += [(number, code, condition.after) for code in codes]
                else:
                    failed[number] = failed[number] or self.head.size > condition.after
        for number in self._failed_by_tag(by_tag) | self._failed_by_type(by_type):
            failed[number] = True
        return failed

    def _failed_by_tag(self, items: Sequence[tuple[int, Sequence[Tag], int, str]]) -> set[int]:
        several = {tag for _, tags, _, _ in items if len(tags) > 1 for tag in tags}
        heads = self.tag_heads(several)
        walks = [
            (number, sorted(set(tags), key=lambda tag: (heads[tag][0], tag)) if len(tags) > 1 else tags, after, codes)
            for number, tags, after, codes in items
        ]
        # A tag that no event has decides at once.
        walks = [walk for walk in walks if len(walk[1]) == 1 or heads[walk[1][0]][0]]
        if not walks:
            return set()
        numbers, tags, afters, codes = zip(*walks, strict=True)
        parameters = (
            Bigints(numbers),
            Texts([each[0] for each in tags]),
            Bigints(afters),
            Texts([_literal(each[1:]) for each in tags]),
            Texts(codes),
        )
        return {number for (number,) in self._rows("failed_by_tag", *parameters)}

    def _failed_by_type(self, items: Sequence[tuple[int, int, int]]) -> set[int]:
        if not items:
            return set()
        return {number for (number,) in self._rows("failed_by_type", *map(Bigints, zip(*items, strict=True)))}

    def idempotent(self, keys: Collection[bytes]) -> dict[bytes, IdempotencyRow]:
        known = self._found.used
        unknown = [key for key in keys if key not in known]
        rows = self._rows("idempotent", Byteas(unknown)) if unknown else ()
        found = {row[0]: IdempotencyRow(*row) for row in rows}
        return found | {key: row for key in keys if (row := known.get(key)) is not None}

    def insert(self, batch: Batch) -> None:
        """Prepare the rows; they go to the server in one round trip with the commit."""
        events = batch.events
        codes = [self._code_or_new(row.type) for row in events]
        if self._new_types:
            self._inserts.append(
                ("insert_types", (Texts(list(self._new_types)), Bigints(list(self._new_types.values()))))
            )
        rows = [(row.index, code, row.entry, row.leaf) for row, code in zip(events, codes, strict=True)]
        # In the order of the index, so that rows of one page are inserted together.
        tags = sorted((tag, row.index, n, code) for row, code in zip(events, codes, strict=True) for tag, n in row.tags)
        boxes = [(row.index, box.key_id, box.bytes) for row in events for box in row.boxes]
        tiles = [(tile.level, tile.n, tile.hashes) for tile in batch.tiles]
        used = [(row.key, row.content, row.first, row.count) for row in batch.idempotency]
        parameters = (
            *_columns(rows, Bigints, Bigints, Byteas, Byteas),
            *_columns(tags, Texts, Bigints, Bigints, Bigints),
            *_columns(boxes, Bigints, Texts, Byteas),
            *_columns(tiles, Bigints, Bigints, Byteas),
            *_columns(used, Byteas, Byteas, Bigints, Bigints),
            batch.size, batch.checkpoint, batch.size, batch.recorded_at,
        )  # fmt: skip
        if batch.earlier:
            self._inserts.append(("insert_earlier", tuple(_columns(batch.earlier, Bigints, Byteas))))
        self._inserts.append(("insert", parameters))
        self._left = batch.size

    def insert_idempotency(self, rows: Sequence[IdempotencyRow]) -> None:
        used = [(row.key, row.content, row.first, row.count) for row in rows]
        self._inserts.append(("add_idempotency", tuple(_columns(used, Byteas, Byteas, Bigints, Bigints))))

    def commit(self) -> None:
        connection = self._connection
        try:
            with warnings_of(connection) as warnings:
                connection.wire.run(*((self._sql[name], parameters) for name, parameters in self._inserts), _COMMIT)
            if connection.wire.said != "COMMIT":
                raise StorageError(
                    f"{self._engine.place}: the server rolled the transaction back; nothing was recorded"
                )
        except psycopg.Error as error:
            if is_lost(connection, error):
                self._engine.drop()
                raise InDoubt(f"{self._engine.place}: the connection was lost at commit ({advice(error)})") from error
            with storage_errors(self._engine.place):
                raise
        if warnings:
            # Committed here, but the wait for the synchronous standby was cancelled: a fail-over would lose it.
            raise InDoubt(f"{self._engine.place}: {warnings[0]}")
        # Only now: a code given in a transaction that was undone means nothing.
        self._engine.codes.update(self._new_types)
        if self._types_read:
            self._engine.left = self._left

    def _rows(self, name: str, *parameters: Any) -> list[Any]:
        with storage_errors(self._engine.place):
            return self._connection.wire.run((self._sql[name], parameters))[0]

    def _code(self, type: str) -> int | None:
        code = self._engine.codes.get(type) or self._new_types.get(type)
        if code is None and not self._types_read:
            # All of them, once: a condition on a type that never occurred is asked again and again.
            self._engine.codes.update(self._rows("types"))
            self._types_read = True
            code = self._engine.codes.get(type)
        return code

    def _code_or_new(self, type: str) -> int:
        code = self._code(type)
        if code is None:
            # Under the lock nobody else numbers types.
            code = max([*self._engine.codes.values(), *self._new_types.values()], default=0) + 1
            self._new_types[type] = code
        return code


def _columns(rows: Sequence[tuple[Any, ...]], *kinds: Callable[[Sequence[Any]], Any]) -> Iterator[Any]:
    """Yield the rows turned into an array for each column."""
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return (kind(column) for kind, column in zip(kinds, columns, strict=True))


def _schema(server: Server) -> Schema:
    what = _OWNER if server.owner_dsn else _WHAT
    return Schema(server.owner_dsn or server.dsn, schema=server.schema, kind="ledger", what=what)


def _literal(items: Iterable[str]) -> str:
    """Return texts as PostgreSQL writes an array, for `::text[]`: an array of arrays cannot be ragged."""
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"


def _merge(streams: Sequence[Iterator[Stored]]) -> Iterator[Stored]:
    if len(streams) == 1:
        yield from streams[0]
        return
    last = -1
    for stored in heapq.merge(*streams, key=lambda stored: stored.index):
        if stored.index != last:
            yield stored
            last = stored.index


def _first(found: Iterator[Stored], limit: int) -> Iterator[Stored]:
    for _, stored in zip(range(limit), found, strict=False):
        yield stored
