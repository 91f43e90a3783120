"""What only the store in PostgreSQL can get wrong: generations that are read, a server that restarts, rights."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from psycopg.conninfo import make_conninfo

from ledger.commands import RegisterSubject
from ledger.errors import Invalid, StorageError
from ledger.storage.server import Server
from ledger.vocabulary import SubjectId, new_id
from projections.storage.postgres import PostgresStore
from tests.postgres.cluster import Cluster
from tests.postgres.place import PostgresPlace
from tests.projections.crowd import crowd
from tests.projections.world import Where, World, dump


@pytest.fixture
def where(postgres: PostgresPlace, tmp_path: Path) -> Iterator[Where]:
    found = Where(tmp_path / "data", postgres.server())
    yield found
    found.remove()


def test_a_generation_is_kept_while_somebody_reads_it_and_dropped_by_the_next_build(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.storage.postgres._RETIRE_TIMEOUT_MS", 50)
    world.subject()
    world.asked.catch_up()
    old = world.where.in_use()
    with world.asked._store.read() as rows:
        world.subject()
        world.asked.rebuild()
        assert world.where.in_use() != old
        assert rows("SELECT count(*) FROM subjects") == [(1,)]
    assert len(world.where.generations()) == 2
    world.asked.rebuild()
    assert world.where.generations() == [world.where.in_use()]
    assert len(dump(world.asked)["subjects"]) == 2


def test_a_turn_waits_a_moment_for_the_last_reader(world: World) -> None:
    world.subject()
    world.asked.catch_up()
    reading, read = threading.Event(), threading.Event()

    def ask() -> None:
        with world.asked._store.read() as rows:
            reading.set()
            read.wait(10)
            rows("SELECT count(*) FROM subjects")

    reader = threading.Thread(target=ask)
    reader.start()
    assert reading.wait(10)
    threading.Timer(0.2, read.set).start()
    world.asked.rebuild()
    reader.join()
    assert world.where.generations() == [world.where.in_use()]


def test_a_build_that_was_killed_is_cleared_away(world: World) -> None:
    world.subject()
    world.asked.catch_up()
    assert world.where.server
    left = f"{world.where.server.read_schema}_0123abcd"
    world.where.ask(f"CREATE SCHEMA {left} AUTHORIZATION prooftrail_read")
    world.where.ask(f"CREATE TABLE {left}.subjects (idx bigint)")
    other = f"{world.where.server.read_schema}_notes"
    world.where.ask(f"CREATE SCHEMA {other}")
    world.asked.rebuild()
    assert set(world.where.generations()) == {world.where.in_use(), other}


def test_two_builds_take_turns(world: World) -> None:
    crowd(world.ledger, 100, lives_a_batch=1)
    world.asked.catch_up()
    with world.where.projections(world.ledger) as other:
        both = [threading.Thread(target=each.rebuild) for each in (world.asked, other)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    assert world.where.generations() == [world.where.in_use()]
    assert world.asked.verify().count == 0


def test_no_plan_outlives_its_generation(world: World) -> None:
    """A statement is prepared after a few uses: it must mean the tables in use at each."""
    for _ in range(4):
        world.subject()
        world.asked.rebuild()
        for _ in range(10):
            assert len(dump(world.asked)["subjects"]) == world.asked.status().position


def test_a_follower_and_readers_survive_a_restart_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.storage.postgres._TIMEOUT_S", 0.5)
    with Cluster() as cluster:
        cluster.create().start()
        with World(Where(tmp_path / "data", Server(dsn=cluster.dsn()))) as world:
            subject = world.subject()
            world.asked.follow()
            assert world.asked.wait_for(1, 30)
            for how in (signal.SIGINT, signal.SIGQUIT):
                assert world.asked.state(subject).registered == 0
                cluster.stop(how)
                with pytest.raises(StorageError, match="PostgreSQL"):
                    world.asked.consents(subject)
                deadline = time.monotonic() + 30
                while world.asked.runner._failure is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                cluster.start()
                receipt = world.given(RegisterSubject(subject_id=SubjectId(new_id())))
                assert world.asked.wait_for(receipt.position, 30)
                assert world.asked.state(subject).position == receipt.position
            assert world.asked.status().failure is None
            assert world.asked.verify().count == 0


def test_a_login_that_may_not_build_is_told_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.storage.postgres._TIMEOUT_S", 0.5)
    role = f"r{new_id()[:8]}"
    world.where.ask(f"CREATE ROLE {role} LOGIN")
    try:
        assert world.where.server
        server = msgspec.structs.replace(world.where.server, dsn=make_conninfo(world.where.server.dsn, user=role))
        place = world.where._replace(server=server)
        with place.projections(world.ledger) as projections:
            for ask in (projections.rebuild, projections.status):
                with pytest.raises(StorageError, match="init"):
                    ask()
    finally:
        world.where.ask(f"DROP ROLE {role}")


def test_who_builds_has_no_right_on_the_ledger(world: World) -> None:
    world.subject()
    world.asked.catch_up()
    assert world.where.server
    with world.asked._store.writing() as generation:
        assert generation is not None
        with pytest.raises(StorageError, match="right"):
            generation.rows(f"SELECT count(*) FROM {world.where.server.schema}.sealed")


def test_a_server_that_is_not_there_is_said_without_the_password(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.storage.postgres._TIMEOUT_S", 0.5)
    place = world.where._replace(server=Server(dsn="host=127.0.0.1 port=1 dbname=postgres user=x password=hunter2"))
    with place.projections(world.ledger) as projections, pytest.raises(StorageError) as failure:
        projections.catch_up()
    assert "hunter2" not in str(failure.value)


def test_the_longest_names_fit() -> None:
    """PostgreSQL cuts names off in silence: two ledgers would share what is read."""
    longest = PostgresStore(Server(dsn="", schema="a" * 48))
    assert len(longest._new_name()) <= 63
    for name in ("records_read", "records_keys"):
        with pytest.raises(Invalid):
            Server(dsn="", schema=name)
