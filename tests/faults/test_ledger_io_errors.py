"""When the disk fails or is full, the ledger stops, says why and reads on; a restart recovers what it acknowledged."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import Stopped
from tests.faults.crash_states import Report, check_states
from tests.faults.io_errors import FaultPlan
from tests.faults.ledger_store import GUARD, KEYS, LEDGER_STORE, LedgerStore
from tests.faults.recording_vfs import Recording, Workload, record
from tests.faults.store import Ack, Oracle, StoreSpec

# Which call fails, and what the first error must say.
PLANS = {
    "fsync of the WAL": (FaultPlan("sync", "EIO", at=5, suffix="ledger.db-wal"), "ledger.db: the disk failed"),
    "write of the WAL": (FaultPlan("write", "EIO", at=30, suffix="ledger.db-wal"), "ledger.db: the disk failed"),
    "fsync of the guard": (
        FaultPlan("sync", "EIO", at=4, suffix=GUARD),
        "cannot be written (Input/output error)",
    ),
    "write of the guard": (
        FaultPlan("write", "EIO", at=4, suffix=GUARD),
        "cannot be written (Input/output error)",
    ),
    "fsync of the keys": (FaultPlan("sync", "EIO", at=1, suffix=f"{KEYS}-wal"), "new keys could not be written"),
    "full, for good": (FaultPlan("write", "ENOSPC", at=12, lasting=0), "the disk is full"),
    "full, once": (FaultPlan("write", "ENOSPC", at=30, suffix="ledger.db-wal"), "the disk is full"),
    "full for the guard": (FaultPlan("write", "ENOSPC", at=3, suffix=GUARD), "(No space left on device)"),
    "full for the keys": (FaultPlan("write", "ENOSPC", at=2, suffix=f"{KEYS}-wal"), "keys.db: new keys could not"),
    "fsync of the database": (FaultPlan("sync", "EIO", at=1, suffix="ledger.db"), "ledger.db: the disk failed"),
}
APPENDS = 24


def run(disk: Path, plan: FaultPlan, *, limit: int, **options: str | int | bool) -> tuple[Recording, Report]:
    options = {"autocheckpoint": 40, **options}
    recording = record(StoreSpec(LEDGER_STORE, options), disk / "store", Workload(appends=APPENDS, fault=plan))
    assert recording.struck > 0
    assert recording.unrecorded == []
    store = LedgerStore(**options)  # type: ignore[arg-type]
    return recording, check_states(store, recording.trace, disk / "scratch", seed=1, limit=limit)


@pytest.mark.parametrize("name", PLANS)
def test_nothing_is_acknowledged_after_the_error_and_a_restart_recovers(disk: Path, name: str) -> None:
    plan, says = PLANS[name]
    recording, report = run(disk, plan, limit=25)
    assert recording.acked_while_failed == []
    # The append also reads what was acknowledged before: an AssertionError here would say that reading stopped too.
    assert recording.errors[0].startswith("Stopped: not acknowledged: ")
    assert says in recording.errors[0]
    assert len(recording.errors) == 1 + Workload().insist
    assert all(later.startswith("Stopped: nothing is recorded any more: ") for later in recording.errors[1:])
    assert all(says in later for later in recording.errors[1:])
    assert len(recording.trace.acks) == APPENDS - 1
    assert report.violated == 0, str(report)


@pytest.mark.parametrize("name", ["fsync of the WAL", "write of the WAL", "full, once"])
def test_a_ledger_that_acknowledges_after_the_error_is_found(disk: Path, name: str) -> None:
    recording, report = run(disk, PLANS[name][0], limit=25, defect="acknowledges-after-error", guard=False)
    assert recording.acked_while_failed != []
    assert report.counts.acked_missing > 0, str(report)


# --- a disk that is really full -------------------------------------------------------------------------------

FULL_BYTES = 4 * 1024 * 1024
BALLAST_BYTES = 1024 * 1024
RECOVERY_S = 5.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes of its own, one of them taken by a file that can be deleted."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={FULL_BYTES}", "prooftrail-faults", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (not root?); the planned ENOSPC above stands in")
    try:
        (mounted / "ballast").write_bytes(bytes(BALLAST_BYTES))
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def fill(store: LedgerStore, acks: list[Ack]) -> Stopped | None:
    """Append until the ledger stops, and return why it did."""
    for number in range(FULL_BYTES // 4_000):
        try:
            acks.append(store.append(f"entry-{number}"))
        except Stopped as stopped:
            return stopped
    return None


def test_a_really_full_disk_stops_the_ledger_until_there_is_space(small_disk: Path) -> None:
    store, directory = LedgerStore(padding=4_000), small_disk / "store"
    directory.mkdir()
    store.open(directory)
    acks: list[Ack] = []
    error = fill(store, acks)
    assert re.search("not acknowledged: .*(disk is full|disk failed|No space left)", str(error))
    assert len(acks) > 20
    for number in range(3):
        with pytest.raises(Stopped, match="nothing is recorded any more"):
            store.append(f"late-{number}")
    # Reading goes on, of the first and of the last entry that was acknowledged.
    for ack in (acks[0], acks[-1]):
        assert getattr(store.ledger.open(ack.index), "values")["name"] == ack.payload  # noqa: B009
    store.close()
    (small_disk / "ballast").unlink()
    begin = time.perf_counter()
    store.open(directory)
    acks.append(store.append("there is space again"))
    assert time.perf_counter() - begin < RECOVERY_S
    store.close()
    assert store.verify(directory, acks) == Oracle()
