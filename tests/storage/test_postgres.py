"""PostgreSQL keeps the contract, and the server itself refuses to change facts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.storage.engine import Engine
from ledger.storage.postgres import PostgresEngine
from ledger.storage.server import Server
from tests.postgres.place import PostgresPlace
from tests.storage.contract import ORIGIN, VERIFIER, EngineContract, OpenEngine


@pytest.fixture
def server(postgres: PostgresPlace) -> Iterator[Server]:
    server = postgres.server()
    PostgresEngine.create(server, origin=ORIGIN, verifier=VERIFIER).close()
    yield server
    postgres.drop(server.schema)


@pytest.fixture
def open_engine(server: Server) -> Iterator[OpenEngine]:
    opened: list[PostgresEngine] = []

    def open_once_more() -> Engine:
        opened.append(PostgresEngine(server))
        return opened[-1]

    yield open_once_more
    for engine in opened:
        engine.close()


class TestPostgres(EngineContract):
    """The contract, on PostgreSQL."""
