"""kill -9 finds a store that acknowledges before the commit, and nothing in one that does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.conftest import KILLS
from tests.faults.kill import SystemCall, drop_torn_line, run_kills, strace_works
from tests.faults.store import StoreSpec

STAND_IN = "tests.faults.store:StandIn"

# The stand-in proves the injector; test_ledger_kills.py does the long run.
ROUNDS = KILLS // 5

needs_strace = pytest.mark.skipif(not strace_works(), reason="strace is missing or may not trace here")


def test_a_kill_loses_nothing_acknowledged(disk: Path) -> None:
    report = run_kills(StoreSpec(STAND_IN), disk, rounds=ROUNDS, seed=1)
    assert report.violations == [], str(report)
    assert report.rounds == ROUNDS
    assert report.acks > ROUNDS


@needs_strace
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_kill_within_a_system_call_loses_nothing_acknowledged(disk: Path, call: SystemCall) -> None:
    report = run_kills(StoreSpec(STAND_IN), disk, rounds=ROUNDS // 4, seed=2, kill_on=call)
    assert report.violations == [], str(report)
    assert report.acks > 0


@pytest.mark.parametrize("defect", ["early-acknowledgement", "off-by-one"])
def test_a_planted_defect_is_found_by_random_kills(disk: Path, defect: str) -> None:
    report = run_kills(StoreSpec(STAND_IN, {"defect": defect}), disk, rounds=200, seed=1, stop_at_first=True)
    assert len(report.violations) == 1, str(report)
    assert ("acked_missing=0" not in report.violations[0]) == (defect == "early-acknowledgement")


@needs_strace
def test_an_early_acknowledgement_is_found_by_a_kill_within_a_write(disk: Path) -> None:
    store = StoreSpec(STAND_IN, {"defect": "early-acknowledgement"})
    report = run_kills(store, disk, rounds=20, seed=1, kill_on="pwrite64", stop_at_first=True)
    assert len(report.violations) == 1, str(report)
    assert "acked_missing=0" not in report.violations[0]


def test_a_store_that_does_not_start_is_a_violation_of_its_own(disk: Path) -> None:
    store = StoreSpec("tests.faults.test_kill:NeverStarts")
    report = run_kills(store, disk, rounds=1, seed=1, longest_s=0.5)
    assert any("ended by itself" in line or "refused" in line for line in report.violations), str(report)


def test_a_line_torn_by_a_kill_is_cut_off_before_the_next_acknowledgement(tmp_path: Path) -> None:
    # A killed write ends at a page boundary: 50 bytes of a line, and no end.
    path = tmp_path / "acks"
    whole = b'["r0-0", 0, 1, "aa"]\n'
    for torn in (b"", b'["r0-1", 1, 2, "b', b"x" * 4_000):
        path.write_bytes(whole + torn)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        drop_torn_line(descriptor)
        os.close(descriptor)
        assert path.read_bytes() == whole
    path.write_bytes(b"")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    drop_torn_line(descriptor)
    os.close(descriptor)
    assert path.read_bytes() == b""


class NeverStarts:
    """A store whose start fails."""

    def open(self, directory: Path) -> None:
        raise OSError(f"nothing to open in {directory.name}")
