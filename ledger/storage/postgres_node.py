"""Which node of a distributed PostgreSQL holds a ledger (Citus, schema-based sharding).

Every table of a distributed schema lies on one node, and `citus_shards` says which. Asked there directly a statement
costs what it costs on plain PostgreSQL; through another node it is planned and sent on. Without Citus, or for a schema
that is not distributed, there is nothing to look for. docs.citusdata.com, "Citus Tables and Views", citus_shards.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import Connection

# By the full name: a view of that name in another schema could send us, and our password, anywhere.
_KNOWS: Final = "SELECT to_regclass('pg_catalog.citus_shards') IS NOT NULL"
_OWNER: Final = """
SELECT s.nodename, s.nodeport FROM pg_catalog.citus_shards s
JOIN pg_catalog.pg_class c ON c.oid = s.table_name::oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s ORDER BY c.relname LIMIT 1
"""


def owning_node(connection: Connection[tuple[Any, ...]], schema: str) -> dict[str, Any]:
    """Return host and port of the node that holds `schema`; nothing when it is the one that `connection` is to."""
    (knows,) = connection.execute(_KNOWS, prepare=False).fetchall()
    if not knows[0]:
        return {}
    found = connection.execute(_OWNER, (schema,), prepare=False).fetchone()
    if found is None or (found[0], found[1]) == (connection.info.host, connection.info.port):
        return {}
    # One host, one port; an address given beside the name would send us to the old one.
    return {"host": found[0], "port": found[1], "hostaddr": None}
