"""What is cut off at commit is in doubt, and told so: nothing acknowledged is lost, nothing is recorded twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.commands import RegisterSubject
from ledger.errors import InDoubt, StorageError
from ledger.storage.server import Server
from tests.bench import OFFICER, Bench, an_id, append, check_ledger
from tests.postgres.black_hole import Seen
from tests.postgres.cluster import Cluster
from tests.postgres.place import PostgresPlace
from tests.postgres.proxy import Proxy, When
from tests.test_erasure import collect, decide, destroy

MARI = an_id("mari")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def proxy(postgres: PostgresPlace) -> Iterator[Proxy]:
    with Proxy(int(conninfo_to_dict(postgres.dsn)["port"])) as proxy:
        yield proxy


@pytest.fixture
def bench(postgres: PostgresPlace, proxy: Proxy, tmp_path: Path) -> Iterator[Bench]:
    """A ledger whose every connection goes through the proxy."""
    server = postgres.server(dsn=make_conninfo(postgres.dsn, host="127.0.0.1", port=proxy.port))
    with Bench(tmp_path / "host", server=server) as bench:
        yield bench
    postgres.drop(server.schema)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_cut_at_commit_is_in_doubt_and_asking_again_gives_one_event(
    bench: Bench, proxy: Proxy, when: When
) -> None:
    bench.given(RegisterSubject(subject_id=an_id("before")))
    proxy.cut_at_commit(when)
    began = time.monotonic()
    with pytest.raises(InDoubt):
        bench.ledger.record(RegisterSubject(subject_id=MARI), OFFICER, idempotency_key="k")
    assert time.monotonic() - began < 5
    assert proxy.cuts == 1
    again = bench.ledger.record(RegisterSubject(subject_id=MARI), OFFICER, idempotency_key="k")
    assert again.index == 1
    again.verify(bench.ledger.verifier, bench.ledger.origin)
    bench.given(RegisterSubject(subject_id=an_id("after")))
    check_ledger(bench.ledger, 3)
    assert bench.ledger.recorded_under("k") == range(1, 2)


def in_a_black_hole(when: When, settings: str = "") -> Seen:
    """Run the commit whose packets are lost in a network namespace of its own."""
    probe = "ip link set lo up && tc qdisc add dev lo root blackhole"
    if subprocess.run(["unshare", "--net", "sh", "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("a network namespace, `ip` and `tc` are needed, and the right to use them (Linux, as root)")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.postgres.black_hole", when, settings],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        timeout=180,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Seen)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="a network namespace is needed (Linux)")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_packets_are_lost_is_in_doubt_within_five_seconds(when: When) -> None:
    """Faults, row 10: nothing is closed or refused, so only keepalives and `tcp_user_timeout` end the wait."""
    seen = in_a_black_hole(when)
    assert seen.error_s <= 5
    assert (seen.index, seen.size) == (1, 2), "one event, whether the server had heard of it or not"


@pytest.mark.campaign
@pytest.mark.skipif(shutil.which("unshare") is None, reason="a network namespace is needed (Linux)")
@pytest.mark.parametrize("when", ["before", "after"])
def test_without_our_settings_of_the_connection_the_wait_is_longer(when: When) -> None:
    """The defect that the test above is there for."""
    assert in_a_black_hole(when, "keepalives_idle=8 tcp_user_timeout=11000").error_s > 5


def test_without_an_idempotency_key_the_log_tells_what_became_of_it(bench: Bench, proxy: Proxy) -> None:
    for when in ("before", "after", "before", "after"):
        proxy.cut_at_commit(when)  # type: ignore[arg-type]
        with pytest.raises(InDoubt):
            append(bench.ledger, "t")
    append(bench.ledger, "t")
    check_ledger(bench.ledger, 3)
    bench.reopen()
    check_ledger(bench.ledger, 3)


def test_connections_that_were_cut_between_transactions_are_made_again_unnoticed(bench: Bench, proxy: Proxy) -> None:
    for number in range(3):
        append(bench.ledger, "t")
        proxy.cut_all()
        assert bench.ledger.size() == number + 1
    bench.given(RegisterSubject(subject_id=MARI))
    check_ledger(bench.ledger, 4)


def test_a_restart_of_the_server_loses_nothing_and_needs_no_restart_of_ours(tmp_path: Path) -> None:
    """Oracle of the fault runs: what was acknowledged is there at its index, once, and nothing is missing between."""
    with Cluster() as cluster:
        cluster.create().start()
        with Bench(tmp_path / "host", server=Server(dsn=cluster.dsn())) as bench:
            acknowledged: dict[str, int] = {}
            stop = threading.Event()

            def record(number: int) -> None:
                done = 0
                while not stop.is_set():
                    subject = an_id(f"{number}/{done}")
                    try:
                        receipt = bench.ledger.record(
                            RegisterSubject(subject_id=subject), OFFICER, idempotency_key=subject
                        )
                    except StorageError:
                        continue
                    acknowledged[subject] = receipt.index
                    done += 1

            threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            # SIGINT shuts down and rolls back what runs; SIGQUIT ends everything as a crash does.
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
                time.sleep(0.5)
                before = len(acknowledged)
                cluster.restart(how)
                deadline = time.monotonic() + 20
                while len(acknowledged) < before + 50:
                    assert time.monotonic() < deadline, "it does not go on after the restart"
                    time.sleep(0.02)
            stop.set()
            for thread in threads:
                thread.join(60)
            check_ledger(bench.ledger)
            found = {
                recorded.event.subject_id: recorded.index  # type: ignore[attr-defined]
                for recorded in bench.ledger.read()
            }
            assert len(found) == bench.ledger.size(), "nothing twice"
            assert acknowledged.items() <= found.items(), "nothing acknowledged is lost"


def test_an_erasure_that_was_in_doubt_is_carried_out_when_it_is_asked_again(bench: Bench, proxy: Proxy) -> None:
    bench.given(RegisterSubject(subject_id=MARI), collect(), decide())
    proxy.cut_at_commit("after")
    with pytest.raises(InDoubt):
        bench.ledger.record(destroy(), OFFICER, idempotency_key="erase")
    assert bench.ledger.keys.of_subject(MARI)
    bench.ledger.record(destroy(), OFFICER, idempotency_key="erase")
    assert bench.ledger.keys.of_subject(MARI) == []
    assert list(bench.ledger.engine.boxes_between(0, bench.ledger.size())) == []
