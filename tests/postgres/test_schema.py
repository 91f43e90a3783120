"""Schemas: the server refuses to change a fact; one brought forward is the one made today; all may start at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql

from ledger import create_ledger
from ledger.errors import StorageError, Tampered
from ledger.storage.postgres import PostgresEngine
from ledger.storage.postgres_keys import PostgresKeyTable
from ledger.storage.postgres_schema import Schema, describe, steps
from ledger.storage.postgres_session import APP_ROLE, KEYS_ROLE, OWNER_ROLE
from ledger.storage.server import Server
from ledger.tlog.fsck import fsck
from ledger.vocabulary import Tag
from tests.bench import KEK, ORIGIN, SIGNER, Bench, append
from tests.postgres.place import PostgresPlace
from tests.postgres.writer import ROOT

FACTS = ("ledger", "event_types", "events", "event_tags", "tiles", "checkpoints", "idempotency")


@pytest.fixture
def bench(postgres: PostgresPlace, tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path / "host", server=postgres.server()) as bench:
        append(bench.ledger, "a")
        yield bench
    assert bench.server is not None
    postgres.drop(bench.server.schema)


def as_role(postgres: PostgresPlace, role: str, statement: str, **names: str) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        query = sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})  # type: ignore[arg-type]
        connection.execute(query)


@pytest.mark.parametrize("table", FACTS)
@pytest.mark.parametrize("statement", ["UPDATE {s}.{t} SET {c} = {c}", "DELETE FROM {s}.{t}", "TRUNCATE {s}.{t}"])
def test_the_server_refuses_to_change_facts(postgres: PostgresPlace, bench: Bench, table: str, statement: str) -> None:
    assert bench.server is not None
    columns = postgres.sql(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        (bench.server.schema, table),
    )
    assert columns
    for (column,) in columns:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_role(postgres, APP_ROLE, statement, s=bench.server.schema, t=table, c=column)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {s}.sealed SET box = box",
        "TRUNCATE {s}.sealed",
        "DELETE FROM {s}.head",
        "INSERT INTO {s}.head VALUES (1, 0, '')",
        "DROP TABLE {s}.events",
        "CREATE TABLE {s}.other (x int)",
        "ALTER TABLE {s}.events DISABLE TRIGGER ALL",
        "CREATE INDEX ON {s}.events (leaf)",
        "INSERT INTO {s}.migrations VALUES (99, '', '')",
        "INSERT INTO {s}.tag_index VALUES (1, 0, 0, 0)",
        "DELETE FROM {s}.tag_index",
        "TRUNCATE {s}.tag_index_leaves",
        "DROP TABLE {s}.tag_index_packs",
        "SELECT * FROM {k}.data_keys",
        "SET ROLE prooftrail_owner; DROP TABLE {s}.events",
    ],
)
def test_the_applications_role_can_append_and_nothing_else(
    postgres: PostgresPlace, bench: Bench, statement: str
) -> None:
    assert bench.server is not None
    if "SET ROLE" in statement:
        # A login that is only the application's; the tests' own may do everything.
        (member,) = postgres.sql(f"SELECT pg_has_role('{APP_ROLE}', '{OWNER_ROLE}', 'MEMBER')")
        assert member == (False,)
        return
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role(postgres, APP_ROLE, statement, s=bench.server.schema, k=bench.server.keys_schema)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {k}.data_keys SET wrapped = wrapped",
        "UPDATE {k}.secrets SET wrapped = wrapped",
        "DELETE FROM {k}.secrets",
        "TRUNCATE {k}.data_keys",
        "SELECT * FROM {s}.events",
    ],
)
def test_the_role_of_the_keys_can_add_and_destroy_keys_and_nothing_else(
    postgres: PostgresPlace, bench: Bench, statement: str
) -> None:
    assert bench.server is not None
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role(postgres, KEYS_ROLE, statement, s=bench.server.schema, k=bench.server.keys_schema)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {s}.tag_index SET size = 0",
        "UPDATE {s}.tag_index_leaves SET n = n",
        "UPDATE {s}.tag_index_packs SET nodes = nodes",
        "DELETE FROM {s}.tag_index_leaves",
        "DELETE FROM {s}.tag_index_packs",
        "DELETE FROM {s}.tag_index_marks",
        "INSERT INTO {s}.tag_index_marks VALUES (1)",
    ],
)
def test_the_applications_role_may_change_the_index_which_is_derived(
    postgres: PostgresPlace, bench: Bench, statement: str
) -> None:
    assert bench.server is not None
    as_role(postgres, APP_ROLE, statement, s=bench.server.schema)


@pytest.mark.parametrize("kind", ["ledger", "keys"])
def test_a_schema_brought_forward_from_any_version_is_the_one_made_today(postgres: PostgresPlace, kind: str) -> None:
    fresh = postgres.server()
    Schema(postgres.dsn, schema=fresh.schema, kind=kind, what="dsn").make(role=APP_ROLE, user_of=postgres.dsn)
    last = len(steps(kind))
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        expected = describe(connection, fresh.schema)
        for version in range(1, last):
            old = postgres.server()
            schema = Schema(postgres.dsn, schema=old.schema, kind=kind, what="dsn")
            schema.make(role=APP_ROLE, user_of=postgres.dsn, upto=version)
            assert describe(connection, old.schema) != expected
            schema.make(role=APP_ROLE, user_of=postgres.dsn)
            assert describe(connection, old.schema) == expected
            query = sql.SQL("SELECT step, name, digest FROM {}.migrations ORDER BY step")
            done = [query.format(sql.Identifier(name)) for name in (old.schema, fresh.schema)]
            assert connection.execute(done[0]).fetchall() == connection.execute(done[1]).fetchall()
            postgres.drop(old.schema)
    postgres.drop(fresh.schema)


def test_an_older_schema_is_refused_until_it_is_brought_forward(postgres: PostgresPlace) -> None:
    server = postgres.server()
    schema = Schema(postgres.dsn, schema=server.schema, kind="ledger", what="dsn")
    schema.make(role=APP_ROLE, user_of=postgres.dsn, upto=len(steps("ledger")) - 1)
    with pytest.raises(StorageError, match="prooftrail init"):
        PostgresEngine(server)
    schema.make(role=APP_ROLE, user_of=postgres.dsn)
    postgres.sql(f"INSERT INTO {server.schema}.migrations VALUES (99, '99_of_tomorrow.sql', '')")
    with pytest.raises(StorageError, match="newer prooftrail"):
        PostgresEngine(server)
    with pytest.raises(StorageError, match="newer prooftrail"):
        schema.make(role=APP_ROLE, user_of=postgres.dsn)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t BEFORE UPDATE ON {s}.events FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE RULE r AS ON INSERT TO {s}.events DO ALSO NOTHING",
        "GRANT UPDATE ON {s}.events TO prooftrail_app",
        "GRANT DELETE ON {s}.events TO PUBLIC",
        "GRANT UPDATE (entry) ON {s}.events TO prooftrail_app",
        "GRANT CREATE ON SCHEMA {s} TO prooftrail_app",
        "ALTER TABLE {s}.events OWNER TO postgres",
        "ALTER TABLE {s}.events ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE {s}.events SET UNLOGGED",
        "ALTER TABLE {s}.events DROP CONSTRAINT events_leaf_check",
        "ALTER TABLE {s}.event_tags ALTER COLUMN tag TYPE text COLLATE pg_catalog.default",
        "DROP INDEX {s}.events_by_type",
        "CREATE TABLE {s}.more (x int)",
        "CREATE SEQUENCE {s}.more",
    ],
)
def test_a_schema_that_somebody_changed_is_named_and_refused(
    postgres: PostgresPlace, bench: Bench, statement: str
) -> None:
    assert bench.server is not None
    postgres.sql(statement.format(s=bench.server.schema))
    with pytest.raises(Tampered, match="schema"):
        PostgresEngine(bench.server)
    assert list(bench.ledger.engine.damage()), "verification names it too"


def test_a_ledger_from_before_the_tag_index_is_brought_forward_and_indexed(
    postgres: PostgresPlace, tmp_path: Path
) -> None:
    """Version 22 is what was made before there was one: made here, filled, and opened again after `prooftrail init`."""
    with Bench(tmp_path / "host", server=postgres.server()) as bench:
        assert bench.server is not None
        append(bench.ledger, "a", count=3)
        bench.ledger.close()
        schema = bench.server.schema
        for table in ("", "_leaves", "_packs", "_marks"):
            postgres.sql(f"DROP TABLE {schema}.tag_index{table}")
        postgres.sql(f"DELETE FROM {schema}.migrations WHERE step > 22")
        with pytest.raises(StorageError, match="is of version 22"):
            bench.another()
        create_ledger(bench.directory, origin=ORIGIN, kek=KEK, signer=SIGNER, server=bench.server)
        bench.ledger = bench.another()
        assert bench.ledger.commit_index().size == 3
        history = bench.ledger.prove_tag(Tag("a")).verify(bench.ledger.verifier, ORIGIN)
        assert history.count == 3
        assert fsck(bench.ledger).ok
        postgres.drop(schema)


def test_an_auditor_may_be_given_the_right_to_read(postgres: PostgresPlace, bench: Bench) -> None:
    assert bench.server is not None
    postgres.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {bench.server.schema} TO PUBLIC")
    PostgresEngine(bench.server).close()


def test_no_append_needs_a_sequence_a_trigger_or_a_notification() -> None:
    code = "".join(step.text for kind in ("ledger", "keys") for step in steps(kind)).upper()
    code += Path(ROOT / "ledger" / "storage" / "postgres.py").read_text()
    for word in ("SERIAL", "GENERATED", "NEXTVAL", "TRIGGER", "NOTIFY", "LOCK TABLE", "FOREIGN KEY", "REFERENCES"):
        assert word not in code, word


STARTER = """
import sys
import msgspec
from pathlib import Path
from ledger.storage.server import Server
from ledger import create_ledger, open_ledger
from tests.bench import KEK, ORIGIN, SIGNER, append

server = msgspec.json.decode(sys.argv[1], type=Server)
print("ready", flush=True)
for round in sys.stdin:
    place = msgspec.structs.replace(server, schema=server.schema + "_" + round.strip())
    data = Path(sys.argv[2]) / round.strip()
    create_ledger(data, origin=ORIGIN, kek=KEK, signer=SIGNER, server=place)
    with open_ledger(data, kek=KEK, signer=SIGNER, server=place) as ledger:
        append(ledger, "t")
    print("done", flush=True)
"""


def test_four_processes_that_start_for_the_first_time_at_once_all_start(
    postgres: PostgresPlace, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    rounds = 50 if pytestconfig.getoption("--campaign") else 4
    server = postgres.server()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, msgspec.json.encode(server).decode(), str(tmp_path / f"host-{n % 2}")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    try:
        _start_together(postgres, running, server.schema, rounds)
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=30)


def _start_together(
    postgres: PostgresPlace, running: Sequence[subprocess.Popen[str]], prefix: str, rounds: int
) -> None:
    answers = [process.stdout for process in running if process.stdout is not None]
    assert [answer.readline() for answer in answers] == ["ready\n"] * 4
    for number in range(rounds):
        for process in running:
            assert process.stdin is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        assert [answer.readline() for answer in answers] == ["done\n"] * 4
        schema = f"{prefix}_{number}"
        assert postgres.sql(f"SELECT size FROM {schema}.head") == [(4,)]
        assert postgres.sql(f"SELECT count(*) FROM {schema}.ledger") == [(1,)]
        postgres.drop(schema)


def test_a_server_keeps_ledgers_apart(postgres: PostgresPlace, tmp_path: Path) -> None:
    with (
        Bench(tmp_path / "one", server=postgres.server()) as one,
        Bench(tmp_path / "two", server=postgres.server()) as two,
    ):
        append(one.ledger, "a", count=3)
        append(two.ledger, "a")
        assert (one.ledger.size(), two.ledger.size()) == (3, 1)
        assert isinstance(one.server, Server)
        assert PostgresKeyTable.exists(one.server)
