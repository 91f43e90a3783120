"""Projections in PostgreSQL, disposable, rebuilt from the ledger at any time.

A generation is a schema, `<ledger>_read_<random>`. Which one is in use stands in the one row of
`<ledger>_read.current`; a rebuild makes another generation and turns the row in one transaction, so that readers see
the old state or the new one, whole. Every transaction sets its own search path to one generation: statements name
tables alone.

Locks, all freed when the connection of their holder dies:
- the row of `current`, for each batch and for the turn;
- an advisory lock of the session for a whole build, so building needs a connection of its own to the server, not one
  through a pooler that shares connections between transactions;
- an advisory lock of the transaction, shared by the readers of one generation: it is dropped when nobody holds it.

Durability: synchronous_commit=off. A killed process loses nothing. A power cut or a fail-over may lose the last
batches, never a part of one: rows and position are one transaction, so the state is behind, and catches up.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import psycopg
from psycopg import IsolationLevel, errors
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import Misfit, StorageError
from ledger.storage.postgres_session import READ_ROLE, Connection, advice, parse_dsn
from ledger.storage.server import Server
from projections.storage.store import Generation, Row, Rows, Store

# A reader that meets a turn, or a connection that a restarted server has closed, begins again.
_MAX_BEGINNINGS: Final = 10
_MAX_CONNECTIONS: Final = 8
_TIMEOUT_S: Final = 5.0

# How long a turn waits for the last readers of the old generation; after that it is left to the next build.
_RETIRE_TIMEOUT_MS: Final = 2_000
_NO_WAIT_MS: Final = 1

# With the longest name of a ledger that a Server takes they fit in the 63 bytes of a name in PostgreSQL.
_RANDOM_DIGITS: Final = 8

# Rows that a long answer fetches at a time.
_PAGE: Final = 1_000

# The words of our statements that PostgreSQL says otherwise. "C" is the order of the bytes, as SQLite has it.
_WORDS: Final = {
    "INTEGER": "bigint",
    "TEXT": 'text COLLATE "C"',
    "BLOB": "bytea",
    ") STRICT, WITHOUT ROWID": ")",
    ") STRICT": ")",
    "%": "%%",
    "?": "%s",
}
_WORD: Final = re.compile("|".join(rf"\b{w}\b" if w.isalpha() else re.escape(w) for w in _WORDS))

_COLUMNS: Final = """
SELECT a.attname, array_position(i.indkey::int2[], a.attnum)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = ?::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


class PostgresGeneration(Generation):
    """A generation in a schema of its own, through a connection whose search path leads to it."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self.connection = connection

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        with _storage_errors():
            return self.connection.execute(_translated(sql), parameters).fetchall()

    def stream(self, sql: str) -> Iterator[Row]:
        with _storage_errors(), self.connection.transaction(), self.connection.cursor("stream") as cursor:
            cursor.itersize = _PAGE
            yield from cursor.execute(_translated(sql))

    def execute(self, sql: str, *parameters: Any) -> None:
        with _storage_errors():
            self.connection.execute(_translated(sql), parameters)

    def insert(self, table: str, rows: Collection[Row]) -> None:
        if not rows:
            return
        statement = SQL("COPY {} FROM STDIN").format(Identifier(table))
        with _storage_errors(), self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def delete(self, table: str, column: str, values: Collection[str]) -> None:
        if not values:
            return
        statement = SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(Identifier(table), Identifier(column))
        with _storage_errors():
            self.connection.execute(statement, (list(values),))

    def columns(self, table: str) -> tuple[list[str], list[str]]:
        found = self.rows(_COLUMNS, table)
        key = sorted((place, name) for name, place in found if place is not None)
        return [name for name, _ in found], [name for _, name in key]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with _storage_errors(), self.connection.transaction():
            yield


class PostgresStore(Store):
    """The projections of the ledger in one schema. Safe for many threads and processes: writers take turns."""

    def __init__(self, server: Server) -> None:
        """Opens nothing yet. Raises StorageError for a connection string that is none."""
        self._given = parse_dsn(server.dsn, "PROOFTRAIL_DSN")
        self._home = server.read_schema
        self._current = Identifier(self._home, "current")
        self._made = False
        self._lock = Lock()
        self._opened: ConnectionPool[Connection] | None = None

    def close(self) -> None:
        with self._lock:
            pool, self._opened = self._opened, None
        if pool is not None:
            pool.close()

    # --- reading ---------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        with _storage_errors(), self._connection() as connection:
            return self._in_use(connection) is not None

    @contextmanager
    def read(self) -> Iterator[Rows]:
        with self.snapshot() as generation:
            yield generation.rows

    @contextmanager
    def snapshot(self) -> Iterator[Generation]:
        with _storage_errors(), ExitStack() as stack:
            for beginning in range(_MAX_BEGINNINGS):
                try:
                    with ExitStack() as trying:
                        generation = self._begin(trying)
                        stack.enter_context(trying.pop_all())
                    break
                except (errors.UndefinedTable, psycopg.OperationalError) as error:
                    if beginning == _MAX_BEGINNINGS - 1 or isinstance(error, PoolTimeout):
                        raise
            yield generation

    def _begin(self, stack: ExitStack) -> PostgresGeneration:
        """Begin to read what is in use, in a transaction that ends with the stack."""
        connection = stack.enter_context(self._connection(read_only=True))
        stack.enter_context(connection.transaction())
        name = self._in_use(connection)
        if name is None:
            raise StorageError("nothing is built yet; `prooftrail rebuild` makes it from the ledger")
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_key(name),))
        _go_to(connection, name)
        # It may have been dropped before the lock was taken; from here on it cannot be.
        connection.execute("SELECT FROM projection LIMIT 1")
        return PostgresGeneration(name, connection)

    # --- writing ---------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Generation | None]:
        with _storage_errors(), self._connection() as connection, connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = off")
            name = self._in_use(connection, lock=True)
            if name is None:
                yield None
                return
            _go_to(connection, name)
            yield PostgresGeneration(name, connection)

    # --- building --------------------------------------------------------------------------------------------

    @contextmanager
    def building(self) -> Iterator[Generation]:
        name = self._new_name()
        with _storage_errors(), self._connect() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_key(self._home),))
            self._make_home(connection)
            self._clear(connection)
            connection.execute("SET synchronous_commit = off")
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
            _go_to(connection, name, local=False)
            try:
                yield PostgresGeneration(name, connection)
            finally:
                # A connection that broke leaves it to the next build.
                if not connection.broken and self._in_use(connection) != name:
                    _drop(connection, name, wait_ms=_RETIRE_TIMEOUT_MS)

    @contextmanager
    def turning(self, generation: Generation) -> Iterator[None]:
        assert isinstance(generation, PostgresGeneration)
        # Without statistics the first questions would be planned blindly.
        for (table,) in generation.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema"):
            generation.execute(f"ANALYZE {table}")
        with _storage_errors(), self._connection() as connection:
            with connection.transaction():
                old = self._in_use(connection, lock=True)
                yield
                connection.execute(SQL("UPDATE {} SET generation = %s").format(self._current), (generation.name,))
            if old is not None:
                _drop(connection, old, wait_ms=_RETIRE_TIMEOUT_MS)

    # --- inside ----------------------------------------------------------------------------------------------

    def _new_name(self) -> str:
        return f"{self._home}_{uuid.uuid4().hex[:_RANDOM_DIGITS]}"

    def _connect(self) -> Connection:
        connection = Connection.connect(**self._given, autocommit=True)
        try:
            _act_as_reader(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _pool(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._opened is None:
                self._opened = ConnectionPool(
                    kwargs={**self._given, "autocommit": True},
                    configure=_act_as_reader,
                    min_size=0,
                    max_size=_MAX_CONNECTIONS,
                    timeout=_TIMEOUT_S,
                    reconnect_timeout=_TIMEOUT_S,
                    open=True,
                )
            return self._opened

    @contextmanager
    def _connection(self, *, read_only: bool = False) -> Iterator[Connection]:
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(self._pool().connection())
            except PoolTimeout:
                # The pool keeps to itself why it could not connect: a connection of our own says it.
                self._connect().close()
                raise
            connection.read_only = read_only
            connection.isolation_level = IsolationLevel.REPEATABLE_READ if read_only else IsolationLevel.READ_COMMITTED
            yield connection

    def _in_use(self, connection: Connection, *, lock: bool = False) -> str | None:
        """Return the generation in use, None when nothing is built; with `lock` nobody else writes or turns."""
        if not self._made:
            found = connection.execute("SELECT to_regclass(%s)", (self._current.as_string(connection),)).fetchone()
            if found is None or found[0] is None:
                return None
            self._made = True
        statement = SQL("SELECT generation FROM {} {}").format(self._current, SQL("FOR UPDATE" if lock else ""))
        row = connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def _make_home(self, connection: Connection) -> None:
        """Make what says which generation is in use, if nobody has. Call it under the lock of the build."""
        with connection.transaction():
            connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(self._home)))
            connection.execute(
                SQL("CREATE TABLE IF NOT EXISTS {} (one int PRIMARY KEY CHECK (one = 1), generation text)").format(
                    self._current
                )
            )
            connection.execute(SQL("INSERT INTO {} VALUES (1) ON CONFLICT DO NOTHING").format(self._current))

    def _clear(self, connection: Connection) -> None:
        """Drop what killed builds left, and what was still read when it was turned away from."""
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspowner = current_user::regrole")
        ours = re.compile(f"{re.escape(self._home)}_[0-9a-f]{{{_RANDOM_DIGITS}}}")
        for name in [name for (name,) in found.fetchall() if ours.fullmatch(name)]:
            if name != self._in_use(connection):
                _drop(connection, name, wait_ms=_NO_WAIT_MS)


def _act_as_reader(connection: Connection) -> None:
    """Let what is made belong to one role, whoever logged in, and let it have no right on the ledger."""
    connection.execute(SQL("SET ROLE {}").format(Identifier(READ_ROLE)))


def _drop(connection: Connection, name: str, *, wait_ms: int) -> None:
    """Drop a generation, unless somebody still reads it after so long."""
    with suppress(errors.LockNotAvailable), connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(wait_ms),))
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_key(name),))
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))


def _go_to(connection: Connection, name: str, *, local: bool = True) -> None:
    """Let the names of tables mean those of a generation, in this transaction or, not `local`, in this session."""
    path = f"{Identifier(name).as_string(connection)}, pg_temp"
    connection.execute("SELECT set_config('search_path', %s, %s)", (path, local))


def _key(name: str) -> int:
    """Return the number of an advisory lock: they are shared by everything in a database."""
    return int.from_bytes(hashlib.sha256(b"prooftrail/read\x00" + name.encode()).digest()[:8], "big", signed=True)


@lru_cache(maxsize=256)
def _translated(statement: str) -> bytes:
    return _WORD.sub(lambda word: _WORDS[word[0]], statement).encode()


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn what psycopg raises into Misfit, or StorageError with what to do. Its own text may quote a row."""
    try:
        yield
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        raise Misfit("a row does not fit its table") from error
    except (errors.InsufficientPrivilege, psycopg.OperationalError) as error:
        raise StorageError(f"projections in PostgreSQL: {advice(error)}") from error
    except psycopg.Error as error:
        raise StorageError(
            f"projections in PostgreSQL: cannot be used ({type(error).__name__}); "
            "`prooftrail rebuild` makes them anew from the ledger"
        ) from error
