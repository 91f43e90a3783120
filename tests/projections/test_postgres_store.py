"""What only the store in PostgreSQL can get wrong: generations that are read, a server that restarts, rights."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger.commands import RegisterSubject
from ledger.errors import Invalid, StorageError
from ledger.vocabulary import SubjectId, new_id
from projections import PROJECTIONS_FILE
from projections.storage.postgres import PostgresStore
from tests.postgres.cluster import Cluster
from tests.projections.crowd import crowd
from tests.projections.world import Where, World, dump


@pytest.fixture
def where(dsn: str, tmp_path: Path) -> Iterator[Where]:
    found = Where(tmp_path / "data" / PROJECTIONS_FILE, dsn, f"t{new_id()[:8]}")
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
    left = f"{world.where.schema}_read_0123abcd"
    world.where.ask(f"CREATE SCHEMA {left}")
    world.where.ask(f"CREATE TABLE {left}.subjects (idx bigint)")
    other = f"{world.where.schema}_read_notes"
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


def test_a_follower_and_readers_survive_a_restart_of_the_server(tmp_path: Path) -> None:
    with Cluster().create().start() as cluster:
        where = Where(tmp_path / "data" / PROJECTIONS_FILE, cluster.dsn(), "records")
        with World(where.path.parent, where) as world:
            subject = world.subject()
            world.asked.follow()
            assert world.asked.wait_for(1, 30)
            for how in (signal.SIGINT, signal.SIGQUIT):
                assert world.asked.state(subject).registered == 0
                cluster.stop(how)
                with pytest.raises(StorageError, match="PostgreSQL"):
                    world.asked.state(subject)
                receipt = world.given(RegisterSubject(subject_id=SubjectId(new_id())))
                assert not world.asked.wait_for(receipt.position, 0.5)
                cluster.start()
                assert world.asked.wait_for(receipt.position, 30)
                assert world.asked.state(subject).position == receipt.position
            deadline = time.monotonic() + 10
            while world.asked.status().failure and time.monotonic() < deadline:
                time.sleep(0.05)
            assert world.asked.status().failure is None
            assert world.asked.verify().count == 0


def test_a_login_that_may_not_build_is_told_which_right_is_missing(world: World) -> None:
    role = f"r{new_id()[:8]}"
    world.where.ask(f"CREATE ROLE {role} LOGIN")
    try:
        place = world.where._replace(dsn=psycopg.conninfo.make_conninfo(world.where.dsn or "", user=role))
        with place.projections(world.ledger) as projections, pytest.raises(StorageError, match="permission denied"):
            projections.catch_up()
    finally:
        world.where.ask(f"DROP ROLE {role}")


def test_a_server_that_is_not_there_is_said_without_the_password(world: World) -> None:
    place = world.where._replace(dsn="host=127.0.0.1 port=1 dbname=postgres user=x password=hunter2")
    with place.projections(world.ledger) as projections, pytest.raises(StorageError) as failure:
        projections.catch_up()
    assert "hunter2" not in str(failure.value)


def test_a_name_that_postgresql_would_cut_off_is_refused() -> None:
    PostgresStore("", "a" * 48)
    with pytest.raises(Invalid):
        PostgresStore("", "a" * 50)
