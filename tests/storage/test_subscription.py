"""A subscription outlives a restart of the server; over a file, or a ledger that was closed, it ends and says why."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBEvent

from ledger.errors import StorageError
from ledger.recorder import LedgerRecorder
from ledger.storage.engine import Engine
from ledger.storage.server import Server
from tests.bench import Bench
from tests.postgres.cluster import Cluster


def an_event(number: int) -> DCBEvent:
    return DCBEvent("counted", b"%d" % number, ["all"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_subscription_goes_on_after_the_server_restarts(tmp_path: Path, how: signal.Signals) -> None:
    with Cluster() as cluster:
        cluster.create().start()
        bench = Bench(tmp_path / "host", server=Server(dsn=cluster.dsn()))
        with bench.ledger as ledger, LedgerRecorder(ledger).subscribe() as subscription:
            recorder = LedgerRecorder(ledger)
            recorder.append([an_event(0), an_event(1)])
            assert [next(subscription).event.data for _ in range(2)] == [b"0", b"1"]
            cluster.stop(how)
            # Longer than a reader tries by itself: the subscription meets the failure.
            with pytest.raises(StorageError):
                ledger.size()
            cluster.start()
            # More than a subscription reads at a time.
            recorder.append([an_event(number) for number in range(2, 700)])
            assert [int(next(subscription).event.data) for _ in range(698)] == list(range(2, 700))


def test_a_subscription_to_a_file_that_fails_raises(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Engine) -> int:
        raise StorageError("the disk is gone")

    with LedgerRecorder(bench.ledger).subscribe() as subscription:
        monkeypatch.setattr(type(bench.ledger.engine), "size", fails)
        with pytest.raises(StorageError, match="gone"):
            next(subscription)


def test_a_subscription_to_a_ledger_that_is_closed_ends(any_bench: Bench) -> None:
    with LedgerRecorder(any_bench.ledger).subscribe() as subscription:
        any_bench.ledger.close()
        with pytest.raises(StorageError):
            next(subscription)
