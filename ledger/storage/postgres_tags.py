"""The tag index on PostgreSQL: four small tables in the ledger's schema, read and changed set-wise.

The one row of `tag_index` is its lock. A change of its own is one statement, which does nothing unless that row is
still the one that was read; a transaction that reads or changes the index holds the row to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final

import psycopg

from ledger.errors import StorageError, Tampered
from ledger.storage.postgres_arrays import Bigints, Byteas
from ledger.storage.postgres_session import RECONNECT_S, Connection, Sessions, is_lost, storage_errors
from ledger.storage.tag_store import (
    Pack,
    Span,
    TagIndexChange,
    TagIndexReader,
    TagIndexState,
    TagIndexStore,
    TagIndexWriter,
    TagLeaf,
)

Rows = Callable[..., list[Any]]
"""Runs one of the statements below and returns all its rows: `rows(name, *parameters)`."""

SPANS_AT_ONCE: Final = 1_024
"""Spans that one statement reads: up to some ten thousand leaves."""

TAG_STATEMENTS: Final = {
    "index_state": "SELECT size, tags, revision FROM {s}.tag_index",
    "index_lock": "SELECT size, tags, revision FROM {s}.tag_index FOR UPDATE",
    "index_leaves": (
        "SELECT l.* FROM unnest(%s) k(key) CROSS JOIN LATERAL "
        "(SELECT key, n, head FROM {s}.tag_index_leaves WHERE key = k.key LIMIT 1) l"
    ),
    "index_between": (
        "SELECT key, n, head FROM {s}.tag_index_leaves WHERE key BETWEEN %s AND %s ORDER BY key LIMIT %s"
    ),
    "index_spans": (
        "SELECT s.number, l.key, l.n, l.head FROM unnest(%s, %s, %s, %s) s(number, low, high, most) CROSS JOIN LATERAL "
        "(SELECT key, n, head FROM {s}.tag_index_leaves WHERE key BETWEEN s.low AND s.high ORDER BY key LIMIT most) l "
        "ORDER BY s.number, l.key"
    ),
    "index_packs_at": (
        "SELECT p.place, p.nodes FROM unnest(%s) k(place) CROSS JOIN LATERAL "
        "(SELECT place, nodes FROM {s}.tag_index_packs WHERE place = k.place LIMIT 1) p"
    ),
    "index_pack": "SELECT nodes FROM {s}.tag_index_packs WHERE place = %s",
    "index_packs": "SELECT place, nodes FROM {s}.tag_index_packs WHERE place > %s ORDER BY place LIMIT %s",
    "index_marks": "SELECT mark FROM {s}.tag_index_marks ORDER BY mark LIMIT %s",
    # All of a change in one statement, and nothing of it unless the index is as it was read.
    "index_change": (
        "WITH s AS (UPDATE {s}.tag_index SET size = %s, tags = %s, revision = revision + 1 "
        "WHERE (size, tags, revision) = (%s, %s, %s) RETURNING one), "
        "l AS (INSERT INTO {s}.tag_index_leaves AS t (key, n, head) "
        "SELECT k, n, h FROM unnest(%s, %s, %s) r(k, n, h) WHERE EXISTS (SELECT FROM s) "
        "ON CONFLICT (key) DO UPDATE SET n = excluded.n, head = excluded.head), "
        "m AS (INSERT INTO {s}.tag_index_marks (mark) SELECT m FROM unnest(%s) r(m) WHERE EXISTS (SELECT FROM s) "
        "ON CONFLICT DO NOTHING), "
        "p AS (INSERT INTO {s}.tag_index_packs AS t (place, nodes) "
        "SELECT p, n FROM unnest(%s, %s) r(p, n) WHERE EXISTS (SELECT FROM s) "
        "ON CONFLICT (place) DO UPDATE SET nodes = excluded.nodes), "
        "d AS (DELETE FROM {s}.tag_index_marks t USING unnest(%s) r(m) "
        "WHERE t.mark = r.m::int AND EXISTS (SELECT FROM s)) "
        "SELECT one FROM s"
    ),
    "index_clear_leaves": "DELETE FROM {s}.tag_index_leaves",
    "index_clear_packs": "DELETE FROM {s}.tag_index_packs",
    "index_clear_marks": "DELETE FROM {s}.tag_index_marks",
    "index_clear": "UPDATE {s}.tag_index SET size = 0, tags = 0, revision = revision + 1",
}


class PostgresTagReader(TagIndexReader):
    """Reads the tables of the index through `rows`: each call is one statement, and one snapshot."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def state(self) -> TagIndexState:
        return _state(self._rows("index_state"))

    def leaves(self, keys: Sequence[bytes]) -> list[TagLeaf]:
        return self._rows("index_leaves", Byteas(list(dict.fromkeys(keys)))) if keys else []

    def leaves_between(self, first: bytes, last: bytes, limit: int) -> list[TagLeaf]:
        return self._rows("index_between", first, last, limit)

    def leaves_in(self, spans: Sequence[Span]) -> list[list[TagLeaf]]:
        found: list[list[TagLeaf]] = [[] for _ in spans]
        for start in range(0, len(spans), SPANS_AT_ONCE):
            lows, highs, limits = zip(*spans[start : start + SPANS_AT_ONCE], strict=True)
            numbers = range(start, start + len(lows))
            for number, *leaf in self._rows(
                "index_spans", Bigints(numbers), Byteas(lows), Byteas(highs), Bigints(limits)
            ):
                found[number].append((leaf[0], leaf[1], leaf[2]))
        return found

    def packs(self, places: Sequence[bytes]) -> dict[bytes, bytes]:
        return dict(self._rows("index_packs_at", Byteas(places))) if places else {}

    def pack(self, place: bytes) -> bytes | None:
        rows = self._rows("index_pack", place)
        return rows[0][0] if rows else None

    def packs_after(self, place: bytes, limit: int) -> list[Pack]:
        return self._rows("index_packs", place, limit)

    def marks(self, limit: int) -> list[int]:
        return [mark for (mark,) in self._rows("index_marks", limit)]


class PostgresTagWriter(PostgresTagReader, TagIndexWriter):
    """The index inside a transaction; locked from the first call on, so that appends that leave it alone never wait."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(self._locked)
        self._bare = rows
        self._state: TagIndexState | None = None

    def state(self) -> TagIndexState:
        if self._state is None:
            self._state = _state(self._bare("index_lock"))
        return self._state

    def change(self, change: TagIndexChange) -> None:
        found = self.state()
        self._bare("index_change", *_parameters(change, found))
        self._state = TagIndexState(change.size, change.tags, found.revision + 1)

    def _locked(self, name: str, *parameters: Any) -> list[Any]:
        self.state()
        return self._bare(name, *parameters)


class PostgresTagStore(PostgresTagReader, TagIndexStore):
    """The index in the ledger's schema: read through its readers, written through one connection of its own."""

    def __init__(self, rows: Rows, sessions: Sessions, statements: Mapping[str, bytes]) -> None:
        super().__init__(rows)
        self._sessions = sessions
        self._statements = statements
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closed = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._drop()

    def write(self, change: TagIndexChange, found: TagIndexState) -> bool:
        # A connection that is lost on the way may have made it or not. Tried again it is never made twice: the
        # revision has moved then, and whoever asked looks at the state anew.
        return bool(self._run(lambda connection: self._execute(connection, "index_change", _parameters(change, found))))

    def clear(self) -> None:
        self._run(self._clear)

    def _clear(self, connection: Connection) -> list[Any]:
        with connection.transaction():
            # The lock first: each later statement sees what was changed by whoever held it before.
            self._execute(connection, "index_lock")
            for name in ("index_clear_leaves", "index_clear_packs", "index_clear_marks", "index_clear"):
                connection.execute(self._statements[name], ())
        return []

    def _execute(self, connection: Connection, name: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return connection.wire.run((self._statements[name], parameters))[0]

    def _run(self, work: Callable[[Connection], list[Any]]) -> list[Any]:
        """Run a change on the connection; open another one when it was lost, for as long as a restart takes."""
        deadline = monotonic() + RECONNECT_S
        with self._lock, storage_errors(self._sessions.place):
            while True:
                if self._closed:
                    raise StorageError(f"{self._sessions.place}: the ledger is closed")
                try:
                    if self._connection is None:
                        self._connection = self._sessions.connect()
                    return work(self._connection)
                except psycopg.Error as error:
                    assert self._connection is not None
                    lost = is_lost(self._connection, error)
                    self._drop()
                    if not lost or monotonic() > deadline:
                        raise
                except StorageError:
                    if self._connection is not None or monotonic() > deadline:
                        raise
                    sleep(0.05)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _state(rows: list[Any]) -> TagIndexState:
    if len(rows) != 1:
        raise Tampered("index", "its `tag_index` row is missing; restore it from a backup")
    return TagIndexState(*rows[0])


def _parameters(change: TagIndexChange, found: TagIndexState) -> tuple[Any, ...]:
    # In the order of the tables, so that rows of one page are written together.
    leaves, packs = sorted(change.leaves), sorted(change.packs)
    settled = sorted(change.settled)
    # One statement sees no row of its own: what is settled at once is not marked at all.
    marked = sorted(set(change.marked).difference(settled))
    return (
        change.size, change.tags, found.size, found.tags, found.revision,
        Byteas([leaf[0] for leaf in leaves]),
        Bigints([leaf[1] for leaf in leaves]),
        Byteas([leaf[2] for leaf in leaves]),
        Bigints(marked),
        Byteas([place for place, _ in packs]), Byteas([nodes for _, nodes in packs]),
        Bigints(settled),
    )  # fmt: skip
