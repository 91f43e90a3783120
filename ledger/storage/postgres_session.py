"""Connections to PostgreSQL: how they are opened, what is asked of the server first, and what its errors mean.

A session acts as one of our roles, whoever logged in, so that the server itself refuses to change a fact. A link that
is cut is noticed within seconds. Plans are held to index scans: each statement here is written for one index, and a
guess of the planner on a table that was empty a moment ago would cost a scan of the log.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from time import monotonic, sleep
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from ledger.errors import Busy, Full, StorageError
from ledger.storage.postgres_arrays import register
from ledger.storage.postgres_node import owning_node
from ledger.storage.postgres_wire import Wire

OWNER_ROLE: Final = "prooftrail_owner"
APP_ROLE: Final = "prooftrail_app"
KEYS_ROLE: Final = "prooftrail_keys"
READ_ROLE: Final = "prooftrail_read"

OLDEST_SERVER: Final = 14

# How long a reader or a writer tries to reach a server that went away, and a reader waits for a free connection.
RECONNECT_S: Final = 3.0
POOL_WAIT_S: Final = 10.0
MAX_READERS: Final = 8

# A cut link shows within about four seconds, while something is under way (tcp_user_timeout) and while an answer is
# waited for (keepalives): the system's own defaults take minutes. A connection string may say otherwise.
_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "prooftrail",
    "client_encoding": "UTF8",
    "connect_timeout": 3,
    "keepalives": 1,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 4_000,
}

# A writer that stands still in its transaction would hold up all others; one that waits so long is told.
_SESSION: Final = """
SET search_path = pg_catalog; SET timezone = 'UTC'; SET client_min_messages = warning;
SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '30s';
SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off;
SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan
"""

_SERVER: Final = """
SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), current_setting('server_encoding'),
       current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')
"""

_ADVICE: Final = {
    "25006": "this server is a standby, or read-only: name the primary (several hosts may stand in one DSN)",
    "28P01": "the password was refused",
    "3D000": "the database does not exist: create it, or name another one",
    "42501": "a right is missing there: run `prooftrail init` with the owner's DSN (PROOFTRAIL_OWNER_DSN)",
    "53100": "the server's disk is full; recording goes on when there is space again",
    "53300": "the server has no connection left: raise max_connections, or run fewer processes",
    "57P01": "the server was shut down",
    "57P03": "the server is starting or stopping",
}


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection of the driver, with a short way to the server beside."""

    @cached_property
    def wire(self) -> Wire:
        """Runs what every command runs."""
        return Wire(self)


class storage_errors:
    """Turns what the driver raises into StorageError, or Busy, which name the place and say what to do."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, psycopg.errors.LockNotAvailable):
            raise Busy(f"{self._place}: another process has held the write lock for too long") from error
        if isinstance(error, psycopg.errors.DiskFull):
            raise Full(f"{self._place}: {advice(error)}") from error
        if isinstance(error, psycopg.Error | PoolClosed):
            raise StorageError(f"{self._place}: {advice(error)}") from error


def advice(error: Exception) -> str:
    """Say in words for a log what the server or the driver reported; never a row's content."""
    if isinstance(error, PoolClosed):
        return "the ledger is closed"
    if isinstance(error, PoolTimeout):
        return "no connection came free: the server does not answer, or too many read at once"
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        # The primary message names objects; the detail would quote the row.
        return _ADVICE.get(error.sqlstate) or f"{error.diag.message_primary} ({error.sqlstate})"
    for sqlstate, marks in (("3D000", "does not exist"), ("28P01", "password"), ("25006", "read-only")):
        if marks in str(error) and "role" not in str(error):
            return _ADVICE[sqlstate]
    return " ".join(str(error).split()) or type(error).__name__


def is_lost(connection: Connection, error: Exception) -> bool:
    """Whether the connection is gone, rather than one statement refused."""
    return connection.closed or isinstance(error, psycopg.InterfaceError)


@contextmanager
def warnings_of(connection: Connection) -> Iterator[list[str]]:
    """Collect what the server warns of meanwhile, in whatever language.

    At a commit that is: the wait for a synchronous standby was cancelled. It is committed here and nowhere else, and
    the server reports success; PostgreSQL, "Synchronous Replication".
    """
    warnings: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "the server warned at commit")

    connection.add_notice_handler(note)
    try:
        yield warnings
    finally:
        connection.remove_notice_handler(note)


class Sessions:
    """Opens connections to the node that holds a ledger's schema, each acting as `role`; None acts as who logs in."""

    def __init__(self, dsn: str, *, schema: str, role: str | None, what: str) -> None:
        self._given = parse_dsn(dsn, what)
        self._role = role
        self._schema = schema
        self._node: dict[str, Any] = {}
        self.place = f"schema {schema}"

    def connect(self) -> Connection:
        """Open a connection, after looking again which node holds the schema. Raises StorageError."""
        with storage_errors(self.place):
            connection = Connection.connect(**self._given, autocommit=True, prepare_threshold=0)
            try:
                check_server(connection, self.place)
                self._node = owning_node(connection, self._schema)
                if self._node:
                    connection.close()
                    connection = self._connect_there()
                    check_server(connection, self.place)
                self.configure(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _connect_there(self) -> Connection:
        return Connection.connect(**(self._given | self._node), autocommit=True, prepare_threshold=0)

    def configure(self, connection: Connection) -> None:
        """Make a fresh connection one of ours: its role, its settings, our arrays."""
        register(connection)
        if self._role is not None:
            try:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._role)))
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue) as error:
                raise StorageError(
                    f"{self.place}: this login may not act as {self._role}; as an administrator of the server run "
                    f"`prooftrail init` (PROOFTRAIL_OWNER_DSN) and GRANT {self._role} TO the login"
                ) from error
        connection.execute(_SESSION, prepare=False)

    def conninfo(self) -> str:
        """The connection string of the node where the schema was found last."""
        return make_conninfo(**(self._given | self._node))


class Readers:
    """A few connections for reading, shared by all threads. Survives a restart or a change of the server."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self._closed = False
        self._conninfo = sessions.conninfo()
        self._pool = self._open()

    def rows(self, statement: bytes, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one statement. Reading again changes nothing, so a lost connection is tried again."""
        with storage_errors(self._sessions.place):
            deadline = monotonic() + RECONNECT_S
            while True:
                pool = self._pool
                try:
                    connection = pool.getconn()
                except PoolClosed:
                    if pool is self._pool:
                        raise
                    # The schema moved to another node meanwhile, and its connections with it.
                    continue
                try:
                    return connection.wire.run((statement, parameters))[0]
                except psycopg.Error as error:
                    if not is_lost(connection, error) or monotonic() > deadline:
                        raise
                finally:
                    pool.putconn(connection)
                self._look_again(deadline)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._pool.close()

    def _open(self) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": 0},
            configure=self._sessions.configure,
            min_size=1,
            max_size=MAX_READERS,
            timeout=POOL_WAIT_S,
            # Whoever asks next tries again: nobody waits out a growing pause after the server is back.
            reconnect_timeout=RECONNECT_S,
            open=True,
        )

    def _look_again(self, deadline: float) -> None:
        """Wait until the server answers again, drop what else was lost, follow a schema that moved."""
        with self._lock:
            while True:
                try:
                    self._sessions.connect().close()
                    break
                except StorageError:
                    if monotonic() > deadline:
                        raise
                    sleep(0.05)
            if self._conninfo != self._sessions.conninfo() and not self._closed:
                left, self._conninfo = self._pool, self._sessions.conninfo()
                self._pool = self._open()
                left.close()
            else:
                self._pool.check()


def parse_dsn(dsn: str, what: str) -> dict[str, Any]:
    """Return the parameters of a connection string with our defaults. Raises StorageError, never with its content."""
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The driver would quote the part that it does not understand: it may be the password.
        raise StorageError(
            f"{what} is not a connection string; give postgresql://user@host/database, or host=… dbname=… user=…"
        ) from None
    several = {"target_session_attrs": "read-write"} if "," in str(given.get("host", "")) else {}
    return _DEFAULTS | several | given


def check_server(connection: Connection, place: str) -> None:
    """Refuse a server on which an acknowledgement would not mean what it says. Raises StorageError."""
    rows = connection.execute(_SERVER, prepare=False).fetchone()
    assert rows is not None
    version, standby, encoding, fsync, synchronous, names = rows
    if version < OLDEST_SERVER:
        raise StorageError(f"{place}: the server is PostgreSQL {version}; {OLDEST_SERVER} or newer is needed")
    if standby:
        # What is decided here would be decided on a past state.
        raise StorageError(f"{place}: {_ADVICE['25006']}")
    if encoding != "UTF8":
        raise StorageError(f"{place}: the database has the encoding {encoding}; create one with ENCODING 'UTF8'")
    if fsync != "on":
        raise StorageError(f"{place}: the server has fsync = off and would lose acknowledged events; set it to on")
    if synchronous == "off" or (synchronous == "local" and names):
        raise StorageError(
            f"{place}: synchronous_commit = {synchronous} would lose acknowledged events; "
            "set it to on for this login, database and server"
        )
