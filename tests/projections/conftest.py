"""One world for each test and each place where projections can lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.vocabulary import new_id
from projections import PROJECTIONS_FILE
from tests.postgres.cluster import Cluster
from tests.projections.world import Where, World, make


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """A PostgreSQL server."""
    if given := os.environ.get("PROOFTRAIL_TEST_DSN"):
        yield given
        return
    with Cluster().create().start() as cluster:
        yield cluster.dsn()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Where]:
    """Where projections lie, once in each kind of store; the directory of the ledger is beside."""
    path = tmp_path / "data" / PROJECTIONS_FILE
    if request.param == "sqlite":
        yield Where(path)
        return
    found = Where(path, request.getfixturevalue("dsn"), f"t{new_id()[:8]}")
    yield found
    found.remove()


@pytest.fixture
def world(where: Where) -> Iterator[World]:
    with World(where.path.parent, where) as world:
        yield world


@pytest.fixture
def data(where: Where) -> Path:
    """The directory of an empty ledger."""
    make(where.path.parent)
    return where.path.parent
