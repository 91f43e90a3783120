"""One world for each test and each place where a ledger and its projections can lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.place import PostgresPlace
from tests.projections.world import Where, World


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Where]:
    """A place where nothing is yet, of each kind in turn."""
    if request.param == "sqlite":
        yield Where(tmp_path / "data")
        return
    postgres: PostgresPlace = request.getfixturevalue("postgres")
    found = Where(tmp_path / "data", postgres.server())
    yield found
    found.remove()


@pytest.fixture
def world(where: Where) -> Iterator[World]:
    with World(where) as world:
        yield world


@pytest.fixture
def made(where: Where) -> Where:
    """A place with an empty ledger."""
    where.make()
    return where
