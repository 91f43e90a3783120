"""The model allows what a disk may do and nothing that a sync forbids; a good store survives, a defective one not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import CRASH_STATES
from tests.faults.crash_states import CrashState, Report, check_states, crash_states
from tests.faults.recording_vfs import Workload, record
from tests.faults.store import Ack, StoreSpec
from tests.faults.trace import Recorder, Trace

STAND_IN = "tests.faults.store:StandIn"
SECTOR = 512


def states(trace: Trace, *, limit: int = 500) -> list[CrashState]:
    return list(crash_states(trace, seed=7, limit=limit))


def contents(trace: Trace, name: str = "file") -> set[bytes | None]:
    return {state.files.get(name) for state in states(trace)}


def recorder_with_durable_file(directory: Path, content: bytes = b"") -> Recorder:
    (directory / "file").write_bytes(content)
    return Recorder(directory)


# --- the model ------------------------------------------------------------------------------------------------


def test_a_synced_write_is_in_every_state_after_it(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path)
    recorder.record_file_write(tmp_path / "file", 0, b"first")
    recorder.record_sync(tmp_path / "file")
    recorder.ack(Ack("first", 0, 1, ""))
    recorder.record_file_write(tmp_path / "file", 5, b"second")
    after = [state for state in states(recorder.trace) if state.acks]
    assert {state.files["file"] for state in after} == {b"first", b"firstsecond", b"first" + bytes(6)}


def test_unsynced_writes_arrive_in_any_combination(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"abc")
    for offset, data in enumerate((b"A", b"B", b"C")):
        recorder.record_file_write(tmp_path / "file", offset, data)
    assert contents(recorder.trace) == {b"abc", b"Abc", b"aBc", b"abC", b"ABc", b"AbC", b"aBC", b"ABC"}


def test_a_sync_of_one_file_says_nothing_about_another(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"a")
    (tmp_path / "other").write_bytes(b"a")
    recorder = Recorder(tmp_path)
    recorder.record_file_write(tmp_path / "file", 0, b"b")
    recorder.record_file_write(tmp_path / "other", 0, b"b")
    recorder.record_sync(tmp_path / "other")
    recorder.ack(Ack("x", 0, 1, ""))
    after = {(state.files["file"], state.files["other"]) for state in states(recorder.trace) if state.acks}
    assert after == {(b"a", b"b"), (b"b", b"b")}


def test_a_write_is_torn_at_sectors_and_nowhere_else(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"." * 3 * SECTOR)
    recorder.record_file_write(tmp_path / "file", 100, b"x" * (2 * SECTOR))
    seen = contents(recorder.trace)
    whole = b"." * 100 + b"x" * (2 * SECTOR) + b"." * (SECTOR - 100)
    for kept in range(8):
        torn = b"".join(
            (whole if kept >> i & 1 else b"." * 3 * SECTOR)[i * SECTOR : (i + 1) * SECTOR] for i in range(3)
        )
        assert torn in seen
        seen.discard(torn)
    assert not seen


def test_a_file_may_have_grown_without_its_data(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"a")
    recorder.record_file_write(tmp_path / "file", 1, b"bcd")
    assert contents(recorder.trace) == {b"a", b"abcd", b"a\0\0\0"}


def test_a_truncation_may_be_lost_until_the_sync(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"abcd")
    recorder.record_truncate(tmp_path / "file", 1)
    assert contents(recorder.trace) == {b"abcd", b"a"}
    recorder.record_sync(tmp_path / "file")
    recorder.ack(Ack("x", 0, 1, ""))
    assert {state.files["file"] for state in states(recorder.trace) if state.acks} == {b"a"}


def test_a_new_name_is_durable_only_after_a_sync_of_its_directory(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.record_file_write(tmp_path / "file", 0, b"a")
    recorder.record_sync(tmp_path / "file")
    assert contents(recorder.trace) == {None, b"", b"a", b"\0"}
    recorder.record_directory_sync(tmp_path)
    recorder.ack(Ack("x", 0, 1, ""))
    assert {state.files.get("file") for state in states(recorder.trace) if state.acks} == {b"a"}


def test_a_deleted_or_replaced_file_may_come_back(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    recorder = recorder_with_durable_file(tmp_path, b"old")
    recorder.record_rename(tmp_path / "new", tmp_path / "file")
    assert contents(recorder.trace) == {b"old", b"new"}
    recorder.record_delete(tmp_path / "file")
    assert contents(recorder.trace) == {b"old", b"new", None}


def test_a_failed_sync_is_not_made_good_by_a_later_one(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"a")
    recorder.record_file_write(tmp_path / "file", 0, b"b")
    recorder.record_sync_failed(tmp_path / "file")
    recorder.record_sync(tmp_path / "file")
    recorder.ack(Ack("x", 0, 1, ""))
    assert {state.files["file"] for state in states(recorder.trace) if state.acks} == {b"a", b"b"}


def test_a_write_that_began_after_the_sync_did_is_not_covered(tmp_path: Path) -> None:
    recorder = recorder_with_durable_file(tmp_path, b"a")
    began = recorder.now
    recorder.record_file_write(tmp_path / "file", 0, b"b")
    recorder.record_sync(tmp_path / "file", began)
    recorder.ack(Ack("x", 0, 1, ""))
    assert {state.files["file"] for state in states(recorder.trace) if state.acks} == {b"a", b"b"}


def test_states_are_distinct_bounded_and_repeatable(disk: Path) -> None:
    trace = record(StoreSpec(STAND_IN), disk / "store", Workload(appends=10)).trace
    first, again = states(trace, limit=300), states(trace, limit=300)
    assert first == again
    assert len(first) == 300
    assert len({(tuple(sorted(state.files.items())), len(state.acks)) for state in first}) == 300
    assert max(len(state.acks) for state in first) == 10


def test_states_are_materialised_exactly(disk: Path) -> None:
    trace = record(StoreSpec(STAND_IN), disk / "store", Workload(appends=40)).trace
    for state in crash_states(trace, seed=1, limit=100):
        state.materialise(disk / "scratch")
    assert {path.name: path.read_bytes() for path in (disk / "scratch").iterdir()} == state.files


# --- stores ---------------------------------------------------------------------------------------------------


def power_cuts(disk: Path, workload: Workload, *, limit: int, **options: str | int | bool) -> Report:
    store = StoreSpec(STAND_IN, options)
    recording = record(store, disk / "store", workload)
    assert recording.unrecorded == []
    return check_states(store.build(), recording.trace, disk / "scratch", seed=1, limit=limit)


WORKLOAD = Workload(appends=40, reopen_every=15)


@pytest.mark.parametrize("guard", [True, False])
def test_a_power_cut_loses_nothing_acknowledged(disk: Path, guard: bool) -> None:
    # The stand-in proves the injector; test_ledger_power_cuts.py does the long run.
    limit = CRASH_STATES // 4
    # A longer trace for a longer run: a short one has only so many states.
    workload = Workload(appends=max(40, limit // 100), reopen_every=15)
    report = power_cuts(disk, workload, limit=limit, guard=guard)
    assert report.states == limit
    assert report.violated == 0, str(report)


def test_a_power_cut_during_recovery_loses_nothing_either(disk: Path) -> None:
    store = StoreSpec(STAND_IN)
    first = record(store, disk / "store", WORKLOAD).trace
    worst = [state for state in states(first, limit=400) if state.acks and state.label.startswith("random")]
    for number, state in enumerate(worst[:: len(worst) // 4]):
        state.materialise(disk / f"again-{number}")
        second = record(store, disk / f"again-{number}", Workload(appends=4, prefix="again"))
        assert second.unrecorded == []
        report = check_states(store.build(), second.trace, disk / "scratch", seed=number, limit=80, promised=state.acks)
        assert report.violated == 0, str(report)


@pytest.mark.parametrize("defect", ["synchronous-normal", "synchronous-off", "early-acknowledgement"])
def test_a_store_that_acknowledges_too_soon_loses_acknowledged_entries(disk: Path, defect: str) -> None:
    report = power_cuts(disk, WORKLOAD, limit=600, defect=defect, guard=False)
    assert report.counts.acked_missing > 0, str(report)


@pytest.mark.parametrize("every", [2, 7])
def test_a_skipped_fsync_loses_acknowledged_entries(disk: Path, every: int) -> None:
    report = power_cuts(disk, Workload(appends=40, drop_sync_every=every), limit=600, guard=False)
    assert report.counts.acked_missing > 0, str(report)


@pytest.mark.parametrize("defect", ["synchronous-normal", "synchronous-off", "guard-first"])
def test_a_guard_that_is_ahead_of_the_database_refuses_the_start(disk: Path, defect: str) -> None:
    report = power_cuts(disk, WORKLOAD, limit=600, defect=defect)
    assert report.refused > 0, str(report)


def test_an_index_off_by_one_is_a_gap(disk: Path) -> None:
    report = power_cuts(disk, WORKLOAD, limit=600, defect="off-by-one")
    assert report.counts.gaps > 0, str(report)
