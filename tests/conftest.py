"""Fixtures that all tests share: a bench, and ways to make more of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import create_ledger
from ledger.command import Limits
from tests.bench import KEK, ORIGIN, SIGNER, Bench
from tests.postgres.place import PostgresPlace, a_place

MakeBench = Callable[..., Bench]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="run the campaigns too: races, the model, for longer")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--campaign"):
        for item in items:
            if "campaign" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="chosen with --campaign"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresPlace]:
    """A PostgreSQL server: a temporary one, or the one that PROOFTRAIL_TEST_DSN names."""
    with a_place() as place:
        yield place


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a ledger in which nothing was ever recorded, to be copied."""
    directory = tmp_path_factory.mktemp("empty") / "data"
    create_ledger(directory, origin=ORIGIN, kek=KEK, signer=SIGNER)
    return directory


@pytest.fixture
def make_bench(tmp_path: Path, empty_ledger: Path) -> Iterator[MakeBench]:
    """Make benches, each with a ledger of its own; all are closed at the end."""
    benches: list[Bench] = []

    def make(*, limits: Limits | None = None, queue_limit: int = 4_096) -> Bench:
        directory = tmp_path / f"ledger-{len(benches)}"
        shutil.copytree(empty_ledger, directory)
        benches.append(Bench(directory, limits=limits, queue_limit=queue_limit))
        return benches[-1]

    yield make
    for bench in benches:
        bench.ledger.close()


@pytest.fixture
def make_postgres_bench(tmp_path: Path, postgres: PostgresPlace) -> Iterator[MakeBench]:
    """Make benches on PostgreSQL, each in schemas of its own; all are closed and dropped at the end."""
    benches: list[Bench] = []

    def make(*, limits: Limits | None = None, queue_limit: int = 4_096) -> Bench:
        directory = tmp_path / f"host-{len(benches)}"
        benches.append(Bench(directory, server=postgres.server(), limits=limits, queue_limit=queue_limit))
        return benches[-1]

    yield make
    for bench in benches:
        bench.ledger.close()
        assert bench.server is not None
        postgres.drop(bench.server.schema)


@pytest.fixture(params=["sqlite", "postgres"])
def make_any_bench(request: pytest.FixtureRequest) -> MakeBench:
    """Make benches on each engine in turn: what must hold whatever keeps the log."""
    name = "make_bench" if request.param == "sqlite" else "make_postgres_bench"
    made: MakeBench = request.getfixturevalue(name)
    return made


@pytest.fixture
def any_bench(make_any_bench: MakeBench) -> Bench:
    """A bench with an empty ledger, on each engine in turn."""
    return make_any_bench()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """A bench with an empty ledger."""
    return make_bench()
