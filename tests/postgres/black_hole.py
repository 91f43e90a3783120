"""Loses every packet on the loopback device at a commit, in a network namespace of its own.

    unshare --net python -m tests.postgres.black_hole before|after ['settings of the connection']

Before: the server never hears of the commit. After: it has carried it out, and its answer is lost. Nothing is closed
and nothing is refused: only the settings of the connection end the wait. Prints what a caller saw, as JSON.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import monotonic, sleep

import msgspec
import psycopg

from ledger.commands import RegisterSubject
from ledger.errors import InDoubt, StorageError
from ledger.storage.postgres import PostgresTransaction
from ledger.storage.server import Server
from tests.bench import OFFICER, Bench, an_id, check_ledger
from tests.postgres.cluster import Cluster


class Seen(msgspec.Struct):
    """How long the error took, how long asking again took, where the event is, and how many there are."""

    error_s: float
    again_s: float
    index: int
    size: int


def lose_packets() -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "blackhole"], check=True)


def deliver_packets() -> None:
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True)


def _lose_after(cluster: Cluster) -> threading.Thread:
    """Hold up the commit on the server until packets are lost, then let it be carried out; return who waits for it."""
    # Through the Unix socket, which has no packets.
    beside = psycopg.connect(cluster.dsn(socket=True))
    beside.execute("LOCK TABLE records.checkpoints IN SHARE MODE")

    def lose() -> None:
        with psycopg.connect(cluster.dsn(socket=True), autocommit=True) as looking, beside:
            while not looking.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
                sleep(0.01)
            lose_packets()
            beside.rollback()
            while looking.execute("SELECT FROM records.head WHERE size = 2").rowcount == 0:
                sleep(0.01)

    thread = threading.Thread(target=lose)
    thread.start()
    return thread


def main(when: str, settings: str = "") -> Seen:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    commit = PostgresTransaction.commit
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        cluster.create().start()
        with Bench(Path(folder) / "host", server=Server(dsn=f"{cluster.dsn()} {settings}")) as bench:
            bench.given(RegisterSubject(subject_id=an_id("before")))

            def commit_into_nothing(transaction: PostgresTransaction) -> None:
                PostgresTransaction.commit = commit  # type: ignore[method-assign]
                if when == "before":
                    lose_packets()
                    commit(transaction)
                else:
                    losing = _lose_after(cluster)
                    try:
                        commit(transaction)
                    finally:
                        losing.join(30)

            PostgresTransaction.commit = commit_into_nothing  # type: ignore[method-assign]
            command = RegisterSubject(subject_id=an_id("mari"))
            began = monotonic()
            try:
                bench.ledger.record(command, OFFICER, idempotency_key="k")
            except InDoubt:
                error_s = monotonic() - began
            else:
                raise AssertionError("it was acknowledged")
            deliver_packets()
            began = monotonic()
            while True:
                try:
                    receipt = bench.ledger.record(command, OFFICER, idempotency_key="k")
                    break
                except StorageError:
                    assert monotonic() - began < 60
            again_s = monotonic() - began
            receipt.verify(bench.ledger.verifier, bench.ledger.origin)
            check_ledger(bench.ledger)
            return Seen(error_s, again_s, receipt.index, bench.ledger.size())


if __name__ == "__main__":
    print(msgspec.json.encode(main(*sys.argv[1:])).decode())
