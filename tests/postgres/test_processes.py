"""Several processes of the system on one ledger: one winner for each condition, one index, whatever happens between."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ledger import indexing
from ledger.entry import parse
from ledger.errors import LedgerError
from ledger.storage.server import Server
from ledger.tlog.fsck import fsck
from tests.bench import Bench, append, check_ledger
from tests.postgres.cluster import Cluster
from tests.postgres.place import PostgresPlace
from tests.postgres.racer import Race, Racer
from tests.test_indexing import check_index, fill

PROCESSES = 4


@pytest.fixture
def bench(postgres: PostgresPlace, tmp_path: Path) -> Iterator[Bench]:
    server = postgres.server()
    with Bench(tmp_path / "host", server=server) as bench:
        yield bench
    postgres.drop(server.schema)


@pytest.fixture
def raced(bench: Bench) -> Iterator[Callable[..., list[list[int]]]]:
    """Let processes race on the bench's ledger; return what each of them won."""
    racers: list[Racer] = []

    def run(count: int, *, index: bool = False) -> list[list[int]]:
        assert bench.server is not None
        race = Race(str(bench.directory), bench.server, count, index)
        racers.extend(Racer(race) for _ in range(PROCESSES))
        for racer in racers:
            racer.wait_until_ready()
        for racer in racers:
            racer.go()
        return [racer.wins(timeout_s=3_000) for racer in racers]

    yield run
    for racer in racers:
        racer.end()


def check_seats(wins: Sequence[Sequence[int]], count: int) -> None:
    """Each seat has exactly one winner."""
    winners = Counter(seat for its in wins for seat in its)
    assert sorted(winners) == list(range(count)), "somebody won each"
    assert set(winners.values()) <= {1}, "nobody won what another one has"


def test_each_condition_has_exactly_one_winner_of_four_processes(
    bench: Bench, raced: Callable[..., list[list[int]]], pytestconfig: pytest.Config
) -> None:
    count = 10_000 if pytestconfig.getoption("--campaign") else 400
    wins = raced(count)
    check_seats(wins, count)
    assert bench.ledger.size() == count
    tags = Counter(tag for stored in bench.ledger.engine.entries() for tag in parse(stored.entry).tag_names)
    assert len(tags) == count
    assert fsck(bench.ledger).ok


def test_a_seat_with_two_winners_is_found() -> None:
    """The defect that the test above is there for."""
    with pytest.raises(AssertionError, match="another one has"):
        check_seats([[0, 1], [1]], 2)
    with pytest.raises(AssertionError, match="won each"):
        check_seats([[0]], 2)


def test_four_processes_that_index_at_once_commit_the_index_of_the_entries(
    bench: Bench, raced: Callable[..., list[list[int]]]
) -> None:
    wins = raced(6, index=True)
    assert [len(its) for its in wins] == [6] * PROCESSES
    found = check_index(bench.ledger)
    committed = {commitment.size for commitment in found}
    assert len(found) == len(committed)
    assert committed >= {size for its in wins for size in its}, "each was told of a commitment that is in the log"
    check_ledger(bench.ledger)
    assert fsck(bench.ledger).ok


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("step", [0, 2, 5])
def test_a_restart_of_the_server_in_the_middle_of_an_index_update_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, step: int
) -> None:
    for name, value in {"STEP_ENTRIES": 9, "STEP_MARKS": 6, "LAST_ENTRIES": 3, "LAST_MARKS": 2}.items():
        monkeypatch.setattr(indexing, name, value)
    with Cluster() as cluster:
        cluster.create().start()
        with Bench(tmp_path / "host", server=Server(dsn=cluster.dsn())) as bench:
            fill(bench.ledger, 60, of=200)
            store = bench.ledger.engine.tag_index
            write, reached, steps = store.write, threading.Event(), 0

            def write_beside_a_restart(*arguments: Any) -> bool:
                nonlocal steps
                if steps == step:
                    cluster.stop(how)
                    reached.set()
                    restarting.start()
                steps += 1
                return write(*arguments)

            restarting = threading.Thread(target=cluster.start)
            monkeypatch.setattr(store, "write", write_beside_a_restart)
            # Whoever asks may be told that the server is away; asked again it goes on from the last step.
            while True:
                try:
                    bench.ledger.commit_index()
                    break
                except LedgerError:
                    assert reached.is_set()
            assert reached.is_set()
            restarting.join(60)
            append(bench.ledger, "after")
            bench.ledger.commit_index()
            assert len(check_index(bench.ledger)) == 2
            check_ledger(bench.ledger)
            assert fsck(bench.ledger).ok
