"""docs/permissions.md: operation × role, made from permissions.toml. `make rules` writes it, CI compares it."""

from __future__ import annotations

import sys
from pathlib import Path

from api.http import routes
from api.http.commanding import declare_commands
from api.http.operation import OPERATIONS
from api.http.permissions import Grant, Permissions, read_permissions
from ledger.vocabulary import Role

assert routes.CAPABILITIES  # importing them is what declares the queries

FILE = Path(__file__).parents[2] / "docs" / "permissions.md"

_HEAD = """\
# Permissions: who may do what over HTTP

Made from `api/http/permissions.toml` by `make rules`; CI refuses a copy that is out of date, and tries every cell.

- **all**: with everybody's. **own**: with one's own; what is another's is answered 404, as if it were not there.
  **others**: with everybody's but one's own. A dash: not at all (403).
- One's own is, for a subject, what is about them; for a client user, what is about the client, its orders and the
  people whose data it entered; for an employee, what is about that employee.
- A refused attempt is recorded in the access ledger. Employees state `Purpose` and `Case-Reference` to read personal
  data, and need a current acknowledgement (principles, clause 5). The rules of the ledger hold besides.
"""


def document(permissions: Permissions) -> str:
    """Return the whole text of docs/permissions.md."""
    parts, capability = [_HEAD], ""
    for name, row in sorted(permissions.rows().items(), key=lambda one: (OPERATIONS[one[0]].capability, one[0])):
        operation = OPERATIONS[name]
        if operation.capability != capability:
            capability = operation.capability
            parts.append(f"\n## {capability.replace('_', ' ').capitalize()}\n")
            parts.append("\n| operation | address | " + " | ".join(Role) + " |\n|---|---|" + "---|" * len(Role) + "\n")
        cells = (row.get(role, Grant.NONE) for role in Role)
        shown = " | ".join("–" if cell is Grant.NONE else cell for cell in cells)
        parts.append(f"| {name} | `{operation.method} {operation.address}` | {shown} |\n")
    return "".join(parts)


def current() -> str:
    """Return the text by the matrix that comes with the program."""
    declare_commands(1)
    return document(read_permissions(OPERATIONS))


if __name__ == "__main__":
    FILE.write_text(current(), encoding="utf-8")
    sys.stdout.write(f"{FILE.relative_to(Path.cwd())}\n")
