"""Which node owns a ledger: asked of `citus_shards`, followed when the schema moves.

There is no Citus here: two plain servers stand for two nodes, and a view of the documented columns for the catalogue.
What this shows is where we connect and when we look again; not that Citus does what its documentation says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger.storage.postgres import PostgresEngine
from ledger.storage.server import Server
from tests.postgres.cluster import Cluster
from tests.storage.contract import ORIGIN, VERIFIER, Put, put

# The columns of the view in Citus 13, as documented; the shards of a distributed schema have the type `schema`.
CATALOGUE = """
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.fake_shards (
    table_name regclass, shardid bigint, shard_name text, citus_table_type text, colocation_id integer,
    nodename text, nodeport integer, shard_size bigint
);
CREATE VIEW pg_catalog.citus_shards AS SELECT * FROM pg_catalog.fake_shards;
GRANT SELECT ON pg_catalog.citus_shards TO PUBLIC
"""


def run(cluster: Cluster, statement: str) -> None:
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def place(coordinator: Cluster, schema: str, node: Cluster) -> None:
    """Say in the catalogue that the shards of a schema are on a node."""
    run(
        coordinator,
        f"SET allow_system_table_mods = on; DELETE FROM pg_catalog.fake_shards; "
        f"INSERT INTO pg_catalog.fake_shards SELECT c.oid::regclass, c.oid, c.relname, 'schema', 1, '127.0.0.1', "
        f"{node.port}, 0 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = '{schema}' AND c.relkind = 'r'",
    )


@pytest.fixture
def nodes() -> Iterator[list[Cluster]]:
    """A coordinator, and two nodes beside it."""
    clusters = [Cluster().create().start() for _ in range(3)]
    yield clusters
    for cluster in clusters:
        cluster.remove()


def test_the_node_that_owns_the_ledger_is_used_and_a_move_is_followed(nodes: list[Cluster]) -> None:
    coordinator, first, second = nodes
    for node in nodes:
        PostgresEngine.create(Server(dsn=node.dsn()), origin=ORIGIN, verifier=VERIFIER).close()
    run(coordinator, CATALOGUE)
    sizes = [PostgresEngine(Server(dsn=node.dsn())) for node in (first, second)]
    engine = PostgresEngine(Server(dsn=coordinator.dsn()))
    put(engine, Put("t"))
    assert [each.size() for each in sizes] == [0, 0], "a schema that is not distributed is on the coordinator"
    engine.close()
    place(coordinator, "records", first)
    engine = PostgresEngine(Server(dsn=coordinator.dsn()))
    put(engine, Put("t"))
    assert ([each.size() for each in sizes], engine.size()) == ([1, 0], 1)
    # citus_schema_move: the same rows on another node, and the old one does not have them any more.
    put(sizes[1], Put("t"))
    place(coordinator, "records", second)
    first.stop()
    put(engine, Put("t"))
    assert (engine.size(), sizes[1].size()) == (2, 2)
    for each in (engine, *sizes):
        each.close()


def test_a_view_of_that_name_anywhere_else_leads_nowhere(nodes: list[Cluster], tmp_path: Path) -> None:
    """Whoever may make a view could otherwise send us, and our password, to a server of theirs."""
    coordinator, first, _ = nodes
    run(coordinator, f"CREATE VIEW public.citus_shards AS SELECT 'records.head' AS table_name, 1 AS shardid, "
        f"'127.0.0.1' AS nodename, {first.port} AS nodeport")  # fmt: skip
    PostgresEngine.create(Server(dsn=coordinator.dsn()), origin=ORIGIN, verifier=VERIFIER).close()
    engine = PostgresEngine(Server(dsn=coordinator.dsn()))
    assert engine.size() == 0
    engine.close()
