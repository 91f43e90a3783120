"""Bad input at the start: refused with the one thing to change, and nothing is lost or shown."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from psycopg.conninfo import make_conninfo

from ledger import create_ledger, open_ledger
from ledger.errors import Invalid, StorageError
from ledger.storage.postgres_session import APP_ROLE, KEYS_ROLE, OWNER_ROLE, READ_ROLE
from ledger.storage.server import Server
from tests.bench import KEK, ORIGIN, SIGNER, Bench, append, check_ledger
from tests.postgres.place import PostgresPlace

SECRET = "geheim-7f3a"


def create(path: Path, server: Server) -> None:
    create_ledger(path / "host", origin=ORIGIN, kek=KEK, signer=SIGNER, server=server)


@pytest.fixture
def login(postgres: PostgresPlace) -> Iterator[Callable[..., str]]:
    """Make logins with the rights that are named; return their connection strings. They are dropped at the end."""
    made: list[str] = []

    def make(*rights: str, options: str = "") -> str:
        name = f"login_{postgres.server().schema}"
        postgres.sql(f"CREATE ROLE {name} LOGIN {options}")
        made.append(name)
        for right in rights:
            postgres.sql(f"GRANT {right} TO {name}")
        return make_conninfo(postgres.dsn, user=name)

    yield make
    for name in made:
        postgres.sql(f"DROP OWNED BY {name}")
        postgres.sql(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("password " + SECRET, "not a connection string"),
        (f"postgresql://u:{SECRET}@[::1/db", "not a connection string"),
        (f"host=127.0.0.1 port=1 user=u password={SECRET}", "Connection refused"),
        (f"host=no-such-host.invalid user=u password={SECRET}", "no-such-host"),
    ],
)
def test_a_wrong_connection_string_is_refused_without_showing_it(tmp_path: Path, dsn: str, says: str) -> None:
    for work in (
        lambda: create(tmp_path, Server(dsn=dsn)),
        lambda: open_ledger(tmp_path, kek=KEK, signer=SIGNER, server=Server(dsn=dsn)),
    ):
        with pytest.raises(StorageError, match=says) as refused:
            work()
        assert SECRET not in str(refused.value)
    assert SECRET not in repr(Server(dsn=dsn))


def test_a_database_that_does_not_exist_is_named(postgres: PostgresPlace, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="database does not exist"):
        create(tmp_path, Server(dsn=make_conninfo(postgres.dsn, dbname="none_such")))


def test_there_is_no_ledger_yet(postgres: PostgresPlace, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="prooftrail init"):
        open_ledger(tmp_path, kek=KEK, signer=SIGNER, server=postgres.server())


def test_a_login_without_rights_is_told_which_one_is_missing(
    postgres: PostgresPlace, tmp_path: Path, login: Callable[..., str]
) -> None:
    nobody = login()
    server = postgres.server()
    with pytest.raises(StorageError, match="PROOFTRAIL_OWNER_DSN"):
        create(tmp_path, msgspec.structs.replace(server, dsn=nobody))
    create(tmp_path, server)
    with pytest.raises(StorageError, match=f"GRANT {APP_ROLE}"):
        open_ledger(tmp_path / "host", kek=KEK, signer=SIGNER, server=msgspec.structs.replace(server, dsn=nobody))


def test_an_application_that_owns_nothing_records(
    postgres: PostgresPlace, tmp_path: Path, login: Callable[..., str]
) -> None:
    """The usual way: the owner makes the schema, and lets the application's login act as its three roles."""
    application = login()
    server = postgres.server(dsn=application, owner_dsn=postgres.dsn)
    with Bench(tmp_path / "host", server=server) as bench:
        append(bench.ledger, "t")
        check_ledger(bench.ledger, 1)
    granted = postgres.sql(
        "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid "
        "JOIN pg_roles u ON u.oid = m.member WHERE u.rolname LIKE %s ORDER BY 1",
        (f"login_{server.schema[: server.schema.rindex('_')]}%",),
    )
    assert [name for (name,) in granted] == [APP_ROLE, KEYS_ROLE, READ_ROLE]
    postgres.drop(server.schema)


def test_an_owner_that_is_no_superuser_makes_a_ledger(
    postgres: PostgresPlace, tmp_path: Path, login: Callable[..., str]
) -> None:
    create(tmp_path / "first", postgres.server())  # makes the roles
    owner = login(OWNER_ROLE)
    (database,) = postgres.sql("SELECT current_database()")
    postgres.sql(f'GRANT CREATE ON DATABASE "{database[0]}" TO {OWNER_ROLE}')
    server = postgres.server(owner_dsn=owner)
    create(tmp_path, server)
    open_ledger(tmp_path / "host", kek=KEK, signer=SIGNER, server=server).close()
    postgres.drop(server.schema)
    postgres.sql(f'REVOKE CREATE ON DATABASE "{database[0]}" FROM {OWNER_ROLE}')


def test_a_schema_of_somebody_else_is_refused_and_left_as_it_is(postgres: PostgresPlace, tmp_path: Path) -> None:
    server = postgres.server()
    postgres.sql(f"CREATE SCHEMA {server.schema}; CREATE TABLE {server.schema}.events (theirs int)")
    for work in (
        lambda: create(tmp_path, server),
        lambda: open_ledger(tmp_path, kek=KEK, signer=SIGNER, server=server),
    ):
        with pytest.raises(StorageError, match="OWNER TO"):
            work()
    postgres.sql(f"ALTER SCHEMA {server.schema} OWNER TO {OWNER_ROLE}")
    postgres.sql(f"ALTER TABLE {server.schema}.events OWNER TO {OWNER_ROLE}")
    for work in (
        lambda: create(tmp_path, server),
        lambda: open_ledger(tmp_path, kek=KEK, signer=SIGNER, server=server),
    ):
        with pytest.raises(StorageError, match="another program"):
            work()
    assert postgres.sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s", (server.schema,)
    ) == [("events", "theirs")]
    postgres.drop(server.schema)


@pytest.mark.parametrize(
    ("setting", "says"),
    [("synchronous_commit=off", "synchronous_commit"), ("synchronous_commit=local", None)],
)
def test_a_server_that_would_lose_acknowledged_events_is_refused(
    postgres: PostgresPlace, tmp_path: Path, setting: str, says: str | None
) -> None:
    server = postgres.server()
    create(tmp_path, server)
    careless = msgspec.structs.replace(server, dsn=make_conninfo(postgres.dsn, options=f"-c {setting}"))
    if says is None:
        # Without standbys it is the same as on.
        open_ledger(tmp_path / "host", kek=KEK, signer=SIGNER, server=careless).close()
        return
    with pytest.raises(StorageError, match=says):
        open_ledger(tmp_path / "host", kek=KEK, signer=SIGNER, server=careless)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((13, False, "UTF8", "on", "on", ""), "14 or newer"),
        ((18, True, "UTF8", "on", "on", ""), "standby"),
        ((18, False, "SQL_ASCII", "on", "on", ""), "ENCODING"),
        ((18, False, "UTF8", "off", "on", ""), "fsync"),
        ((18, False, "UTF8", "on", "local", "standby"), "synchronous_commit"),
    ],
)
def test_each_property_of_a_server_that_matters_is_asked_for(
    postgres: PostgresPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, row: tuple[object, ...], says: str
) -> None:
    literals = ", ".join(f"'{each}'" if isinstance(each, str) else str(each).lower() for each in row)
    monkeypatch.setattr("ledger.storage.postgres_session._SERVER", f"SELECT {literals}")
    with pytest.raises(StorageError, match=says):
        create(tmp_path, postgres.server())


@pytest.mark.parametrize(
    "schema", ["", "Records", "1st", "pg_catalog", "a b", 'a"b', "a;drop", "records_keys", "ä", "a" * 49, "a.b"]
)
def test_a_schema_has_a_plain_name(schema: str) -> None:
    with pytest.raises(Invalid):
        Server(dsn="", schema=schema)


def test_a_lost_key_store_is_never_replaced(postgres: PostgresPlace, tmp_path: Path) -> None:
    server = postgres.server()
    create(tmp_path, server)
    postgres.sql(f"DROP SCHEMA {server.keys_schema} CASCADE")
    with pytest.raises(StorageError, match="restore"):
        create(tmp_path, server)
    with pytest.raises(StorageError):
        open_ledger(tmp_path / "host", kek=KEK, signer=SIGNER, server=server)


def test_another_key_encryption_key_is_told_at_once(postgres: PostgresPlace, tmp_path: Path) -> None:
    server = postgres.server()
    create(tmp_path, server)
    for path in (tmp_path / "host", tmp_path / "elsewhere"):
        with pytest.raises(StorageError, match="key-encryption key"):
            create_ledger(path, origin=ORIGIN, kek=bytes(32), signer=SIGNER, server=server)


def test_another_host_joins_and_its_guard_begins_where_the_log_is(postgres: PostgresPlace, tmp_path: Path) -> None:
    server = postgres.server()
    with Bench(tmp_path / "one", server=server) as one:
        append(one.ledger, "t", count=3)
        with Bench(tmp_path / "two", server=server) as two:
            append(two.ledger, "t")
            append(one.ledger, "t")
            append(two.ledger, "t")
        check_ledger(one.ledger, 6)
        # The guard of a host may be behind: it is the log that must extend it.
        one.reopen()
        append(one.ledger, "t")
    postgres.drop(server.schema)


def test_the_link_is_watched(postgres: PostgresPlace, tmp_path: Path) -> None:

    server = postgres.server()
    with Bench(tmp_path / "host", server=server) as bench:
        writer = bench.ledger.engine._writer  # type: ignore[attr-defined]
        with socket.socket(fileno=os.dup(writer.pgconn.socket)) as link:
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4_000
            idle, interval, count = (
                link.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + interval * count <= 5
    postgres.drop(server.schema)


def test_a_ledger_in_a_file_loads_no_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.bench import Bench, append\n"
        f"with Bench(Path({str(tmp_path / 'data')!r})) as bench: append(bench.ledger, 't')\n"
        "import api.cli\n"
        "print([name for name in sys.modules if name.startswith('psycopg')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_schema_is_quoted_wherever_it_stands(postgres: PostgresPlace, tmp_path: Path) -> None:
    """A name that is a word of SQL is a name like any other."""
    server = Server(dsn=postgres.dsn, schema="select")
    postgres.drop("select")
    try:
        with Bench(tmp_path / "host", server=server) as bench:
            append(bench.ledger, "t")
            check_ledger(bench.ledger, 1)
            assert list(bench.ledger.engine.damage()) == []
    finally:
        postgres.drop("select")
