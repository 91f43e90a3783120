"""kill -9 of the ledger loses nothing acknowledged; the same run finds each planted defect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import KILLS
from tests.faults.kill import SystemCall, run_kills, strace_works
from tests.faults.ledger_store import LEDGER_STORE
from tests.faults.store import StoreSpec

# A start takes about 20 ms: some die in it, most between and inside appends, some in a close.
LONGEST_S = 0.05

needs_strace = pytest.mark.skipif(not strace_works(), reason="strace is missing or may not trace here")


def ledger(**options: str | int | bool) -> StoreSpec:
    return StoreSpec(LEDGER_STORE, {"incremental": True, **options})


def test_a_kill_loses_nothing_acknowledged(disk: Path) -> None:
    report = run_kills(ledger(), disk, rounds=KILLS, seed=1, longest_s=LONGEST_S)
    assert report.violations == [], str(report)
    assert report.rounds == KILLS
    assert report.acks > KILLS


@needs_strace
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_kill_within_a_system_call_loses_nothing_acknowledged(disk: Path, call: SystemCall) -> None:
    report = run_kills(ledger(autocheckpoint=24), disk, rounds=KILLS // 8, seed=2, kill_on=call)
    assert report.violations == [], str(report)
    assert report.acks > 0


def test_an_acknowledgement_before_the_commit_is_found_by_random_kills(disk: Path) -> None:
    store = ledger(defect="early-acknowledgement", guard=False)
    report = run_kills(store, disk, rounds=500, seed=1, longest_s=LONGEST_S, stop_at_first=True)
    assert len(report.violations) == 1, str(report)
    assert "acked_missing=0" not in report.violations[0]


@needs_strace
@pytest.mark.parametrize(
    ("defect", "guard", "sign"),
    [
        ("early-acknowledgement", False, "acked_missing=1"),
        ("early-acknowledgement", True, "RolledBack"),
        ("guard-first", True, "RolledBack"),
        ("keys-after-commit", True, "root_mismatch=1"),
    ],
)
def test_a_planted_defect_is_found_by_a_kill_within_a_write(disk: Path, defect: str, guard: bool, sign: str) -> None:
    store = ledger(defect=defect, guard=guard)
    report = run_kills(store, disk, rounds=150, seed=1, kill_on="pwrite64", stop_at_first=True)
    assert len(report.violations) == 1, str(report)
    assert sign in report.violations[0]


def test_a_kill_leaves_an_index_that_goes_on(disk: Path) -> None:
    report = run_kills(ledger(incremental=False, index_every=4), disk, rounds=KILLS // 10, seed=4, longest_s=LONGEST_S)
    assert report.violations == [], str(report)
    assert report.acks > 0


@needs_strace
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_kill_within_a_system_call_leaves_an_index_that_goes_on(disk: Path, call: SystemCall) -> None:
    report = run_kills(ledger(incremental=False, index_every=3), disk, rounds=KILLS // 20, seed=5, kill_on=call)
    assert report.violations == [], str(report)
