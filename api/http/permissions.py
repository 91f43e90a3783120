"""Who may do what: role × operation × own or others', as data in permissions.toml.

A cell is `none` (403), `own` (what is another's is answered 404, as if it were not there), `others` (all but what is
about oneself), or `all`. What does not live here: whose something is (owners), and the rules of the ledger, which hold
for every door.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from enum import StrEnum
from importlib import resources
from typing import Final

from ledger.errors import StorageError
from ledger.vocabulary import Role


class Grant(StrEnum):
    """What a role may do with an operation."""

    NONE = "none"
    OWN = "own"
    OTHERS = "others"
    ALL = "all"


class Permissions:
    """The matrix. Raises StorageError unless it says something about every operation, and of nothing else."""

    def __init__(self, text: str, operations: Collection[str]) -> None:
        rows = {name: cells for section in tomllib.loads(text).values() for name, cells in section.items()}
        if missing := sorted(set(operations) ^ rows.keys()):
            raise StorageError(f"permissions.toml: has to name each operation once, and no other: {', '.join(missing)}")
        self._cells = {name: _row(name, cells) for name, cells in rows.items()}

    def of(self, operation: str, role: Role) -> Grant:
        """Return what a role may do with an operation."""
        return self._cells[operation].get(role, Grant.NONE)

    def rows(self) -> Mapping[str, Mapping[Role, Grant]]:
        """Return every row; a role that is not in it has no access."""
        return self._cells


def _row(name: str, cells: str) -> dict[Role, Grant]:
    """Parse `subject=own support officer`: a bare role may do all."""
    found: dict[Role, Grant] = {}
    for cell in cells.split():
        role, _, grant = cell.partition("=")
        try:
            found[Role(role)] = Grant(grant or Grant.ALL)
        except ValueError:
            raise StorageError(f"permissions.toml: {name}: {cell} is no role, or no grant") from None
    return found


def read_permissions(operations: Collection[str]) -> Permissions:
    """Return the matrix that comes with the program, for these operations."""
    return Permissions(resources.files("api.http").joinpath(FILE).read_text(), operations)


FILE: Final = "permissions.toml"
