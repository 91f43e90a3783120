"""The guard: the last note survives a torn write, and damage is never mistaken for an empty guard."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from ledger.errors import Busy, StorageError, Tampered
from ledger.storage import guard as guard_module
from ledger.storage.guard import MAX_KEPT_BYTES, Guard

SLOT = 4_096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guard"


def write(path: Path, *notes: bytes) -> None:
    guard = Guard(path, create=True)
    guard.read()
    for note in notes:
        guard.write(note)
    guard.close()


def read(path: Path) -> bytes | None:
    guard = Guard(path)
    try:
        return guard.read()
    finally:
        guard.close()


def damage(path: Path, slot: int, at: int = 60) -> None:
    data = bytearray(path.read_bytes())
    data[slot * SLOT + at] ^= 1
    path.write_bytes(data)


def test_a_new_guard_is_empty_and_only_its_owner_may_read_it(path: Path) -> None:
    write(path)
    assert read(path) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_guard_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(StorageError):
        Guard(path)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_the_last_note_is_the_one_that_is_read(path: Path, count: int) -> None:
    notes = [b"note %d\n" % i for i in range(count)]
    write(path, *notes)
    assert read(path) == notes[-1]


def test_the_last_note_is_known_by_its_sequence_and_not_by_its_place(path: Path) -> None:
    for number in range(1, 6):
        write(path, b"note %d" % number)
        assert read(path) == b"note %d" % number


@pytest.mark.parametrize("at", [0, 20, 27, 28, 29, 31, 60])
def test_a_torn_write_leaves_the_note_before(path: Path, at: int) -> None:
    write(path, b"one " * 10, b"two " * 10, b"three " * 10)
    damage(path, 1, at)
    assert read(path) == b"two " * 10
    write(path, b"four")
    assert read(path) == b"four"


def test_any_flipped_bit_of_the_newest_slot_makes_the_note_before_count(path: Path) -> None:
    write(path, b"one", b"two")
    whole = path.read_bytes()
    used = 20 + 8 + 2 + 3 + 32
    for at in range(used):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        assert read(path) == b"one", at


def test_damage_in_both_slots_is_tampering_and_not_emptiness(path: Path) -> None:
    write(path, b"one" * 20, b"two" * 20)
    damage(path, 0)
    damage(path, 1)
    with pytest.raises(Tampered):
        read(path)


def test_damage_in_the_only_slot_ever_written_is_tampering(path: Path) -> None:
    write(path, b"one" * 20)
    damage(path, 1)
    with pytest.raises(Tampered):
        read(path)


@pytest.mark.parametrize("size", [1, SLOT - 1, SLOT + 1, 2 * SLOT - 1])
def test_a_guard_cut_short_never_invents_a_note(path: Path, size: int) -> None:
    write(path, b"one", b"two")
    path.write_bytes(path.read_bytes()[:size])
    with suppress(Tampered):
        assert read(path) in (b"one", b"two")


@pytest.mark.parametrize("size", [0, 1, MAX_KEPT_BYTES])
def test_notes_up_to_the_limit_are_kept_whole(path: Path, size: int) -> None:
    write(path, b"n" * size)
    assert read(path) == b"n" * size


def test_a_failed_or_short_write_is_an_error_and_the_note_before_stands(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, b"one")
    guard = Guard(path)
    assert guard.read() == b"one"
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:100], at))
    with pytest.raises(StorageError):
        guard.write(b"two" * 100)
    monkeypatch.undo()

    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StorageError):
        guard.write(b"two" * 100)
    monkeypatch.undo()
    guard.write(b"three")
    assert guard.read() == b"three"
    guard.close()
    guard.close()


def test_the_lock_excludes_another_instance_until_it_is_freed(path: Path) -> None:
    write(path)
    first, second = Guard(path), Guard(path)
    entered = threading.Event()

    def enter() -> None:
        with second.lock():
            entered.set()

    with first.lock():
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(30)
    thread.join()
    first.close()
    second.close()


def test_a_guard_that_is_held_for_too_long_is_busy_and_says_which_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, b"one")
    monkeypatch.setattr(guard_module, "LOCK_TIMEOUT_S", 0.05)
    first, second = Guard(path), Guard(path)
    with first.lock(), pytest.raises(Busy, match=re.escape(str(path))), second.lock():
        pass
    with second.lock():
        assert second.read() == b"one"
    first.close()
    second.close()
