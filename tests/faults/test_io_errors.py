"""A store that stops at a disk error keeps its promises; one that goes on is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.crash_states import Report, check_states
from tests.faults.io_errors import FaultPlan
from tests.faults.recording_vfs import Recording, Workload, record
from tests.faults.store import StoreSpec

STAND_IN = "tests.faults.store:StandIn"

FSYNC_OF_WAL = FaultPlan("sync", "EIO", at=5, suffix="-wal")
FSYNC_OF_GUARD = FaultPlan("sync", "EIO", at=4, suffix="guard")
WRITE_OF_WAL = FaultPlan("write", "EIO", at=3, suffix="-wal")
DISK_FULL = FaultPlan("write", "ENOSPC", at=12, lasting=0)
DISK_FULL_ONCE = FaultPlan("write", "ENOSPC", at=6, suffix="-wal")


def run(disk: Path, plan: FaultPlan, **options: str | int | bool) -> tuple[Recording, Report]:
    store = StoreSpec(STAND_IN, options)
    recording = record(store, disk / "store", Workload(appends=30, fault=plan))
    assert recording.struck > 0
    assert recording.unrecorded == []
    return recording, check_states(store.build(), recording.trace, disk / "scratch", seed=1, limit=400)


@pytest.mark.parametrize(
    "plan", [FSYNC_OF_WAL, FSYNC_OF_GUARD, WRITE_OF_WAL, DISK_FULL, DISK_FULL_ONCE], ids=lambda p: f"{p.call}-{p.error}"
)
def test_nothing_is_acknowledged_after_the_error_and_a_restart_recovers(disk: Path, plan: FaultPlan) -> None:
    recording, report = run(disk, plan)
    assert recording.acked_while_failed == []
    assert recording.errors[0].startswith("Refused: stopped: ")
    assert len(recording.errors) == 1 + Workload().insist
    assert len(recording.trace.acks) == 29
    assert report.violated == 0, str(report)


@pytest.mark.parametrize("plan", [FSYNC_OF_WAL, WRITE_OF_WAL, DISK_FULL], ids=lambda p: f"{p.call}-{p.error}")
def test_a_store_that_acknowledges_after_the_error_is_found(disk: Path, plan: FaultPlan) -> None:
    recording, report = run(disk, plan, defect="acknowledges-after-error", guard=False)
    assert recording.acked_while_failed != []
    assert report.counts.acked_missing > 0, str(report)


def test_a_failed_fsync_of_the_database_in_a_checkpoint_loses_nothing(disk: Path) -> None:
    recording, report = run(disk, FaultPlan("sync", "EIO", at=1, suffix=".db"))
    assert recording.acked_while_failed == []
    assert report.violated == 0, str(report)
