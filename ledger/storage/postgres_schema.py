"""Schemas on PostgreSQL: made and brought forward by an owner, checked by whoever uses them.

A schema is made of numbered steps, one object or one grant a file (sql/postgres/). Its version is the number of its
last step; a newer program applies the steps that are missing, in one transaction, so a schema that was brought forward
is the one that is made today. No trigger, no rule, no sequence: facts are immutable by what the application's role may
do. What a schema is made of is kept beside the steps (ledger.txt, keys.txt) and compared at each start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from importlib import resources
from typing import Any, Final, NamedTuple
from zlib import crc32

import psycopg
from psycopg import sql

from ledger.errors import StorageError, Tampered
from ledger.storage.postgres_session import (
    APP_ROLE,
    KEYS_ROLE,
    OWNER_ROLE,
    READ_ROLE,
    Connection,
    Sessions,
    parse_dsn,
    storage_errors,
)

# "Prft": first half of the names of our advisory locks.
LOCK_CLASS: Final = 0x50726674

_ROLES: Final = (OWNER_ROLE, APP_ROLE, KEYS_ROLE, READ_ROLE)

# What a schema is made of, one line each. SELECT may be granted to anybody whom the operator likes (an auditor, a
# backup); whatever can change a row or a table is part of what is compared.
_OBJECTS: Final = """
WITH ours AS (
    SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relacl, c.relowner, c.relrowsecurity, c.relhasrules
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relkind NOT IN ('i', 'I', 't')
)
SELECT format('schema owner %%s', pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = %(schema)s
UNION ALL
SELECT format('schema grant %%s to %%s', a.privilege_type, CASE a.grantee WHEN 0 THEN 'public' ELSE
       pg_get_userbyid(a.grantee) END) FROM pg_namespace, aclexplode(nspacl) a
WHERE nspname = %(schema)s AND a.grantee <> nspowner AND a.privilege_type <> 'USAGE'
UNION ALL
SELECT format('%%s relation %%s %%s owner %%s security %%s rules %%s', relname, relkind, relpersistence,
       pg_get_userbyid(relowner), relrowsecurity, relhasrules) FROM ours
UNION ALL
SELECT format('%%s column %%s %%s%%s %%s%%s%%s', relname, attname, format_type(atttypid, atttypmod),
       (SELECT ' ' || collname FROM pg_collation l WHERE l.oid = attcollation),
       CASE WHEN attnotnull THEN 'not null' ELSE 'null' END, attgenerated, attidentity)
FROM ours JOIN pg_attribute a ON a.attrelid = ours.oid WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p')
UNION ALL
SELECT format('%%s column %%s grant %%s', relname, attname, attacl)
FROM ours JOIN pg_attribute a ON a.attrelid = ours.oid WHERE attacl IS NOT NULL
UNION ALL
SELECT format('%%s constraint %%s', relname, pg_get_constraintdef(k.oid))
FROM ours JOIN pg_constraint k ON k.conrelid = ours.oid WHERE contype <> 'n'
UNION ALL
SELECT format('%%s index on %%s %%s', relname, substring(pg_get_indexdef(x.indexrelid) FROM 'USING .*'), CASE WHEN
       x.indisunique THEN 'unique' ELSE 'not unique' END || CASE WHEN x.indisvalid THEN '' ELSE ' invalid' END)
FROM ours JOIN pg_index x ON x.indrelid = ours.oid
UNION ALL
SELECT format('%%s trigger %%s', relname, tgname)
FROM ours JOIN pg_trigger g ON g.tgrelid = ours.oid WHERE NOT tgisinternal
UNION ALL
SELECT format('%%s grant %%s to %%s', relname, a.privilege_type,
       CASE a.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(a.grantee) END)
FROM ours, aclexplode(relacl) a WHERE a.grantee <> relowner AND a.privilege_type NOT IN ('SELECT', 'MAINTAIN')
"""

# A role that is more than it should be makes its grants worthless.
_BEYOND: Final = """
SELECT r.rolname, r.rolsuper, pg_has_role(r.oid, o.oid, 'MEMBER') FROM pg_roles r, pg_roles o
WHERE r.rolname = ANY (%s) AND o.rolname = %s AND (r.rolsuper OR pg_has_role(r.oid, o.oid, 'MEMBER'))
"""


class Step(NamedTuple):
    """A step of a schema: its number from 1, its name, its SQL with `{schema}` for the name of the schema."""

    number: int
    name: str
    text: str

    @property
    def digest(self) -> bytes:
        return sha256(self.text.encode()).digest()


def steps(kind: str) -> list[Step]:
    """Return the steps of a schema of this kind, `ledger` or `keys`, in order."""
    files = resources.files("ledger.storage").joinpath("sql", "postgres", kind).iterdir()
    named = sorted(file.name for file in files if file.name.endswith(".sql"))
    folder = resources.files("ledger.storage").joinpath("sql", "postgres", kind)
    found = [Step(int(name[:2]), name, folder.joinpath(name).read_text("utf-8")) for name in named]
    assert [step.number for step in found] == list(range(1, len(found) + 1)), "steps are numbered without a gap"
    return found


def lock_key(schema: str) -> int:
    """Return the second half of the name of a schema's advisory lock, a signed integer of 32 bits."""
    return int.from_bytes(crc32(schema.encode()).to_bytes(4, "big"), "big", signed=True)


class Schema:
    """A schema of one kind on one server, as its owner sees it: make it, bring it forward."""

    def __init__(self, dsn: str, *, schema: str, kind: str, what: str) -> None:
        self._sessions = Sessions(dsn, schema=schema, role=None, what=what)
        self._schema = schema
        self._kind = kind

    def exists(self) -> bool:
        """Whether there is a schema of that name and kind. Raises StorageError for one that is not ours."""
        connection = self._sessions.connect()
        try:
            with storage_errors(self._sessions.place):
                owner = _owner(connection, self._schema)
                if owner not in (None, OWNER_ROLE):
                    raise StorageError(_wrong_owner(self._sessions.place, self._schema, owner))
                if owner is None:
                    return False
                _act_as_owner(connection)
                return bool(applied(connection, self._schema, self._kind, place=self._sessions.place))
        finally:
            connection.close()

    def make(
        self,
        first_rows: sql.SQL | None = None,
        parameters: tuple[Any, ...] = (),
        *,
        role: str,
        user_of: str,
        upto: int | None = None,
    ) -> None:
        """Make the schema or bring it forward, with `first_rows` when it is new. Whole or not at all.

        Whoever logs in with the connection string `user_of` may act as `role` from here. Safe when several processes
        do it at once: they take turns. Raises StorageError for a schema that is not ours, newer than this program, or
        a right that is missing.
        """
        connection = self._sessions.connect()
        try:
            with storage_errors(self._sessions.place):
                _make_roles(connection)
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_CLASS, lock_key(self._schema)))
                    self._forward(connection, first_rows, parameters, upto)
                connection.execute("RESET ROLE")
                _let_act_as(connection, role, user_of)
                if role == APP_ROLE:
                    # Whoever records also keeps what is read, in schemas that this role makes and drops.
                    _let_act_as(connection, READ_ROLE, user_of)
                    _let_make_schemas(connection, READ_ROLE)
        finally:
            connection.close()

    def _forward(
        self, connection: Connection, first_rows: sql.SQL | None, parameters: tuple[Any, ...], upto: int | None
    ) -> None:
        owner = _owner(connection, self._schema)
        if owner is None:
            create = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
            connection.execute(create.format(sql.Identifier(self._schema), sql.Identifier(OWNER_ROLE)))
        elif owner != OWNER_ROLE:
            raise StorageError(_wrong_owner(self._sessions.place, self._schema, owner))
        _act_as_owner(connection)
        done = applied(connection, self._schema, self._kind, place=self._sessions.place)
        name = sql.Identifier(self._schema)
        for step in steps(self._kind)[done:upto]:
            for statement in step.text.split(";\n"):
                # Comments hold braces nowhere; the one placeholder is the schema.
                connection.execute(sql.SQL(statement).format(schema=name), prepare=False)
            connection.execute(
                sql.SQL("INSERT INTO {}.migrations VALUES (%s, %s, %s)").format(name),
                (step.number, step.name, step.digest),
            )
        if not done and first_rows is not None:
            connection.execute(first_rows.format(schema=name), parameters)


def applied(connection: Connection, schema: str, kind: str, *, place: str) -> int:
    """Return how many steps a schema has, 0 for an empty one. Raises StorageError unless it is ours and not newer."""
    known = steps(kind)
    relations = _relations(connection, schema)
    if not relations:
        return 0
    rows: list[Any] = []
    if "migrations" in relations:
        query = sql.SQL("SELECT step, name, digest FROM {}.migrations ORDER BY step").format(sql.Identifier(schema))
        with suppress(psycopg.errors.UndefinedColumn, psycopg.errors.WrongObjectType):
            rows = connection.execute(query).fetchall()
    if not rows:
        raise StorageError(
            f"{place}: holds tables of another program; nothing was changed in it. "
            "Name another schema (PROOFTRAIL_SCHEMA)"
        )
    for step, row in zip(known, rows, strict=False):
        if (step.number, step.name, step.digest) != (row[0], row[1], bytes(row[2])):
            raise StorageError(
                f"{place}: was made by another program (step {row[0]}: {row[1]}); nothing was changed in it"
            )
    if len(rows) > len(known):
        raise StorageError(
            f"{place}: is of version {len(rows)}, this program knows {len(known)}: install a newer prooftrail"
        )
    return len(rows)


def check_schema(connection: Connection, schema: str, kind: str, *, role: str, place: str) -> None:
    """Refuse a schema that is absent, not ours, of another version, or whose grants do not bind `role`.

    Raises StorageError, and Tampered for one that is not as it was made.
    """
    with storage_errors(place):
        owner = _owner(connection, schema)
        if owner not in (None, OWNER_ROLE):
            raise StorageError(_wrong_owner(place, schema, owner))
        done = applied(connection, schema, kind, place=place) if owner is not None else 0
        if not done:
            raise StorageError(f"{place}: there is no ledger here; make one with: prooftrail init")
        if done < len(steps(kind)):
            raise StorageError(
                f"{place}: is of version {done}, this program needs {len(steps(kind))}: run `prooftrail init` again "
                "with the owner's DSN (PROOFTRAIL_OWNER_DSN)"
            )
        for name, superuser, _ in connection.execute(_BEYOND, ([role], OWNER_ROLE)).fetchall():
            wrong = "is a superuser" if superuser else f"is a member of {OWNER_ROLE}"
            raise StorageError(f"{place}: the role {name} {wrong}, so that no grant binds it; take that away")
        strange = sorted(strange_objects(connection, schema, kind))
    if strange:
        raise Tampered("schema", f"{place}: " + "; ".join(strange))


def strange_objects(connection: Connection, schema: str, kind: str) -> Iterator[str]:
    """Yield what a schema has, lacks or says differently than the one that is made here.

    Who adds a trigger, or a right to change a fact, says something about every row that came after.
    """
    found = describe(connection, schema)
    made = set(resources.files("ledger.storage").joinpath("sql", "postgres", f"{kind}.txt").read_text().splitlines())
    for line in sorted(found - made):
        yield line
    for line in sorted(made - found):
        yield f"no {line}"


def describe(connection: Connection, schema: str) -> set[str]:
    """Return what a schema is made of, one line each, the same for every schema of a kind and version."""
    lines = connection.execute(_OBJECTS, {"schema": schema}).fetchall()
    return {line.replace(f"{schema}.", "") for (line,) in lines}


def _relations(connection: Connection, schema: str) -> set[str]:
    query = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"
    return {name for (name,) in connection.execute(query, (schema,)).fetchall()}


def _owner(connection: Connection, schema: str) -> str | None:
    query = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s"
    row = connection.execute(query, (schema,)).fetchone()
    return None if row is None else str(row[0])


def _wrong_owner(place: str, schema: str, owner: str | None) -> str:
    return (
        f"{place}: belongs to {owner}, not to {OWNER_ROLE}; nothing was changed in it. Name another schema "
        f"(PROOFTRAIL_SCHEMA), or run: ALTER SCHEMA {schema} OWNER TO {OWNER_ROLE}"
    )


def _make_roles(connection: Connection) -> None:
    """Make our roles where they are missing, and let this login act as their owner."""
    for role in _ROLES:
        there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        if there is None:
            # Another process may be making the same one in another database: roles belong to the whole server.
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    able = connection.execute("SELECT pg_has_role(%s, 'MEMBER')", (OWNER_ROLE,)).fetchone()
    if able == (False,):
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(OWNER_ROLE)))


def _act_as_owner(connection: Connection) -> None:
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER_ROLE)))


def _let_act_as(connection: Connection, role: str, dsn: str) -> None:
    """Make the login of a connection string a member of `role`."""
    user = parse_dsn(dsn, "the DSN").get("user") or connection.info.user
    able = connection.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (user, role)).fetchone()
    if able == (False,):
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(user)))


def _let_make_schemas(connection: Connection, role: str) -> None:
    """Let a role make schemas in this database. An owner who may not grant that leaves it to the administrator."""
    row = connection.execute(
        "SELECT current_database(), has_database_privilege(%s, current_database(), 'CREATE')", (role,)
    ).fetchone()
    assert row is not None
    if not row[1]:
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(row[0]), sql.Identifier(role))
            )
