"""Where a ledger lies on PostgreSQL: connection strings and schema. Imports no driver, opens nothing.

One ledger has one schema; its data keys have another, in the same database unless they are given a server of their own;
what is derived from it has more, in the same database.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ledger.errors import Invalid

DEFAULT_SCHEMA: Final = "records"
KEYS_SUFFIX: Final = "_keys"
READ_SUFFIX: Final = "_read"

# Closed, so that a name needs no thought anywhere; quoted all the same where it stands in SQL. PostgreSQL cuts names at
# 63 bytes (NAMEDATALEN); `pg_` is the server's own.
_SCHEMA: Final = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,47}")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger's place: `dsn` for its application, and where the keys lie and who makes schemas when that differs.

    Connection strings are those of libpq, several hosts included. Raises Invalid for a schema name that is none.
    """

    dsn: str
    schema: str = DEFAULT_SCHEMA
    keys_dsn: str | None = None
    owner_dsn: str | None = None
    keys_owner_dsn: str | None = None

    def __post_init__(self) -> None:
        if not _SCHEMA.fullmatch(self.schema) or self.schema.endswith((KEYS_SUFFIX, READ_SUFFIX)):
            raise Invalid(
                "schema",
                f"is 1 to 48 of a-z, 0-9 and _, begins with a letter, not with pg_, and does not end in "
                f"{KEYS_SUFFIX} or {READ_SUFFIX}",
            )

    def __repr__(self) -> str:
        # Connection strings hold passwords.
        return f"Server(schema={self.schema!r})"

    @property
    def keys_schema(self) -> str:
        """The schema of the data keys."""
        return self.schema + KEYS_SUFFIX

    @property
    def read_schema(self) -> str:
        """The schema that says where what is read lies: beside it, in schemas named `<read schema>_<random>`."""
        return self.schema + READ_SUFFIX
