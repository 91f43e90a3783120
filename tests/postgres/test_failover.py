"""A synchronous standby takes over: nothing acknowledged is lost; what was not replicated was never acknowledged."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger import open_ledger
from ledger.commands import RegisterSubject
from ledger.errors import InDoubt, RolledBack, StorageError
from ledger.storage.server import Server
from tests.bench import KEK, OFFICER, ORIGIN, SIGNER, Bench, an_id, append, check_ledger
from tests.postgres.cluster import Cluster
from tests.postgres.writer import Job, Writer, acknowledged

STANDBY = "standby"


def admin(cluster: Cluster, statement: str) -> list[Any]:
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def wait_until(what: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def streams(primary: Cluster) -> bool:
    return admin(primary, "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'") != []


class Pair:
    """A primary that acknowledges nothing before its synchronous standby has it on disk, and that standby."""

    def __init__(self) -> None:
        self.primary = Cluster().create().start()
        self.standby = self._join()

    def _join(self) -> Cluster:
        standby = Cluster().copy_of(self.primary, name=STANDBY).start()
        admin(self.primary, f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        admin(self.primary, "SELECT pg_reload_conf()")
        wait_until(lambda: streams(self.primary))
        return standby

    @property
    def dsn(self) -> str:
        """Both hosts: whichever is the primary is found."""
        ports = f"{self.primary.port},{self.standby.port}"
        return f"host=127.0.0.1,127.0.0.1 port={ports} dbname=postgres user=postgres"

    def fail_over(self) -> None:
        """End the primary as a crash would, for good, and let the standby take over; a new standby joins it."""
        self.primary.remove()
        # It was copied before its primary waited for it, so it waits for nobody until a new standby joins.
        self.standby.promote()
        self.primary = self.standby

    def close(self) -> None:
        self.primary.remove()
        self.standby.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_a_cancelled_wait_for_a_dead_standby_is_not_acknowledged(pair: Pair, tmp_path: Path) -> None:
    """The server only warns, and reports the commit as done: it is done on one machine that may be the one to die."""
    with Bench(tmp_path / "host", server=Server(dsn=pair.dsn)) as bench:
        append(bench.ledger, "t")
        pair.standby.stop()
        outcome: list[object] = []

        def record() -> None:
            try:
                command = RegisterSubject(subject_id=an_id("mari"))
                outcome.append(bench.ledger.record(command, OFFICER, idempotency_key="k"))
            except Exception as error:
                outcome.append(error)

        def cancel_the_wait() -> bool:
            return bool(
                admin(
                    pair.primary,
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
                )
            )

        for attempt in range(2):
            # Asked again it is found on the primary, and that is not enough either.
            thread = threading.Thread(target=record)
            thread.start()
            wait_until(cancel_the_wait)
            thread.join(30)
            assert isinstance(outcome[attempt], InDoubt), outcome
        pair.standby.start()
        record()
        receipt = outcome[2]
        assert getattr(receipt, "index", None) == 1, outcome
        append(bench.ledger, "t")
        check_ledger(bench.ledger, 3)


def test_an_engine_that_overlooks_the_warning_loses_what_it_acknowledged(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle can fail: with this defect planted, a fail-over takes an acknowledged event with it."""
    monkeypatch.setattr("ledger.storage.postgres.warnings_of", lambda connection: nullcontext([]))
    with Bench(tmp_path / "host", server=Server(dsn=pair.dsn)) as bench:
        append(bench.ledger, "t")
        pair.standby.stop()
        acknowledged: list[int] = []
        thread = threading.Thread(target=lambda: acknowledged.append(append(bench.ledger, "t").first))
        thread.start()
        wait_until(
            lambda: admin(
                pair.primary, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
        )
        thread.join(30)
    assert acknowledged == [1]
    pair.primary.stop(signal.SIGQUIT)
    pair.standby.start()
    pair.standby.promote()
    assert admin(pair.standby, "SELECT size FROM records.head") == [(1,)]
    # The host that acknowledged it knows that it is gone.
    with pytest.raises(RolledBack):
        open_ledger(bench.directory, kek=KEK, signer=SIGNER, server=Server(dsn=pair.standby.dsn()))


def test_nothing_is_decided_on_a_standby(pair: Pair, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "host", server=Server(dsn=pair.primary.dsn()))
    append(bench.ledger, "t")
    bench.ledger.close()
    with pytest.raises(StorageError, match="standby"):
        open_ledger(bench.directory, kek=KEK, signer=SIGNER, server=Server(dsn=pair.standby.dsn()))


def rounds_of(config: pytest.Config) -> int:
    return 20 if config.getoption("--campaign") else 3


def test_fail_over_loses_nothing_acknowledged(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Two processes record while the primary dies, round after round; each round begins where the last one ended."""
    pair = Pair()
    everything: dict[str, int] = {}
    try:
        with Bench(tmp_path / "host", server=Server(dsn=pair.dsn)) as bench:
            append(bench.ledger, "first")
        for number in range(rounds_of(pytestconfig)):
            if number:
                pair.standby = pair._join()
            writers = [
                Writer(
                    Job(
                        f"{number}/{n}",
                        str(tmp_path / "host"),
                        Server(dsn=pair.dsn),
                        str(tmp_path / f"acks-{number}-{n}"),
                        threads=4,
                        seconds=2.0,
                    )
                )
                for n in range(2)
            ]
            for writer in writers:
                writer.wait_until_ready()
            for writer in writers:
                writer.go()
            wait_until(lambda: all(len(acknowledged(Path(w.job.acknowledged))) > 20 for w in writers))  # noqa: B023
            pair.fail_over()
            for writer in writers:
                everything |= writer.finish()
            server = Server(dsn=pair.primary.dsn())
            with open_ledger(tmp_path / "host", kek=KEK, signer=SIGNER, server=server) as ledger:
                check_ledger(ledger)
                found = {
                    recorded.event.subject_id: recorded.index  # type: ignore[attr-defined]
                    for recorded in ledger.read(after=1)
                }
                assert len(found) == ledger.size() - 1, "nothing twice"
                assert everything.items() <= found.items(), "nothing acknowledged is lost"
                assert ledger.origin == ORIGIN
    finally:
        pair.close()
