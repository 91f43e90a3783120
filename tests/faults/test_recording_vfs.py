"""The recorder misses nothing, and sees what cksumvfs made of each page."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.faults.crash_states import final_state
from tests.faults.recording_vfs import Recording, Workload, record
from tests.faults.store import (
    CHECKSUM_BYTES,
    DATABASE,
    GUARD,
    PAGE_BYTES,
    StandIn,
    StoreSpec,
    load_checksums,
    page_checksum,
)
from tests.faults.trace import Acknowledged, Link, Sync, Trace, Truncate, Unlink, Write

STAND_IN = "tests.faults.store:StandIn"


def recorded(disk: Path, workload: Workload, **options: str | int | bool) -> Recording:
    return record(StoreSpec(STAND_IN, options), disk / "store", workload)


def test_the_replayed_trace_equals_the_disk_byte_for_byte(disk: Path) -> None:
    recording = recorded(disk, Workload(appends=40, reopen_every=15))
    assert recording.unrecorded == []
    assert recording.errors == []
    assert [ack.index for ack in recording.trace.acks] == list(range(40))


def test_every_kind_of_change_is_recorded_for_every_file(disk: Path) -> None:
    trace = recorded(disk, Workload(appends=40, reopen_every=15)).trace
    names = {event.name for event in trace.events if isinstance(event, Link)}
    assert names == {DATABASE, f"{DATABASE}-journal", f"{DATABASE}-wal", GUARD}
    assert {Write, Sync, Truncate, Unlink} <= {type(event) for event in trace.events}


def test_an_append_is_acknowledged_after_the_sync_of_the_wal_and_of_the_guard(disk: Path) -> None:
    trace = recorded(disk, Workload(appends=3)).trace
    numbers = {event.name: event.file for event in trace.events if isinstance(event, Link)}
    first_ack = next(i for i, event in enumerate(trace.events) if isinstance(event, Acknowledged))
    before_ack = trace.events[:first_ack]
    for name in (f"{DATABASE}-wal", GUARD):
        file = numbers[name]
        last_write = max(i for i, e in enumerate(before_ack) if isinstance(e, Write) and e.file == file)
        assert any(isinstance(e, Sync) and e.file == file and e.upto > last_write for e in before_ack)


def pages_of_the_database(trace: Trace) -> list[bytes]:
    numbers = {event.file for event in trace.events if isinstance(event, Link) and event.name == DATABASE}
    return [event.data for event in trace.events if isinstance(event, Write) and event.file in numbers]


def test_pages_of_the_database_are_recorded_with_their_checksums(disk: Path) -> None:
    """In the WAL they have none yet: there a checksum of the frame protects them, and only until recovery read it."""
    pages = pages_of_the_database(recorded(disk, Workload(appends=60)).trace)
    assert len(pages) >= 5
    assert all(page[-CHECKSUM_BYTES:] == page_checksum(page) for page in pages)


def test_pages_of_a_store_without_checksums_are_told_apart(disk: Path) -> None:
    pages = pages_of_the_database(recorded(disk, Workload(appends=60), defect="no-page-checksums").trace)
    assert any(page[-CHECKSUM_BYTES:] != page_checksum(page) for page in pages)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_reader_through_cksumvfs_finds_a_flipped_bit_in_a_recorded_image(disk: Path, damaged: bool) -> None:
    state = final_state(recorded(disk, Workload(appends=40)).trace)
    image = bytearray(state.files[DATABASE])
    image[PAGE_BYTES + 2000] ^= 0x10 if damaged else 0
    state.files[DATABASE] = bytes(image)
    state.materialise(disk / "image")
    load_checksums()
    connection = apsw.Connection(str(disk / "image" / DATABASE), vfs="cksmvfs")
    try:
        if damaged:
            with pytest.raises(apsw.IOError):
                connection.execute("SELECT count(payload) FROM entry").fetchall()
        else:
            assert connection.execute("SELECT count(payload) FROM entry").get == 40
    finally:
        connection.close(True)


def test_a_recording_may_begin_with_a_store_that_exists(disk: Path) -> None:
    recorded(disk, Workload(appends=5))
    again = recorded(disk, Workload(appends=5, prefix="again"))
    assert again.unrecorded == []
    assert [ack.index for ack in again.trace.acks] == [5, 6, 7, 8, 9]
    assert StandIn().verify(disk / "store", again.trace.acks).holds
