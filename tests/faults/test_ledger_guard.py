"""A ledger that was rolled back, cut, cloned or robbed of a file does not start; no size is ever signed twice."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from ledger.errors import RolledBack, Stopped
from ledger.storage.connect import LEDGER_APPLICATION_ID, connect
from ledger.storage.sqlite import SCHEMA_VERSION
from ledger.tlog.checkpoint import open_checkpoint
from tests.faults.ledger_store import DATABASE, GUARD, KEYS, ORIGIN, SIGNER, LedgerStore
from tests.faults.store import Ack, Oracle

SLOT_BYTES = 4_096

Change = Callable[[Path], None]


@pytest.fixture
def aged(disk: Path) -> tuple[Path, Path, list[Ack]]:
    """A closed ledger, its copy from the time when it had half of its entries, and all acknowledgements."""
    store, directory, old = LedgerStore(), disk / "store", disk / "old"
    directory.mkdir()
    store.open(directory)
    acks = [store.append(f"old-{i}") for i in range(20)]
    store.close()
    shutil.copytree(directory, old)
    store.open(directory)
    acks += [store.append(f"new-{i}") for i in range(20)]
    store.close()
    assert store.verify(directory, acks) == Oracle()
    return directory, old, acks


def execute(path: Path, *statements: str) -> None:
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def query(path: Path, sql: str) -> list[tuple[str, str]]:
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    try:
        return [(str(name), str(text)) for name, text in connection.execute(sql).fetchall()]
    finally:
        connection.close()


def cut_consistently(directory: Path) -> None:
    """Remove the newest entries with all that belongs to them, as somebody does who knows the schema."""
    path = directory / DATABASE
    triggers = query(path, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    execute(
        path,
        *(f"DROP TRIGGER {name}" for name, _ in triggers),
        "DELETE FROM checkpoints WHERE size > 20",
        "DELETE FROM events WHERE idx >= 20",
        "DELETE FROM event_tags WHERE idx >= 20",
        "DELETE FROM sealed WHERE idx >= 20",
        "DELETE FROM idempotency WHERE first >= 20",
        # Made again: a changed schema is refused by itself.
        *(sql for _, sql in triggers),
    )


def damage(directory: Path, *slots: int) -> None:
    with open(directory / GUARD, "r+b") as file:
        for slot in slots:
            file.seek(slot * SLOT_BYTES + 40)
            byte = file.read(1)[0]
            file.seek(slot * SLOT_BYTES + 40)
            file.write(bytes([byte ^ 1]))


# --- older, shorter -------------------------------------------------------------------------------------------


def test_an_old_copy_of_the_database_is_refused(aged: tuple[Path, Path, list[Ack]]) -> None:
    directory, old, acks = aged
    shutil.copy(old / DATABASE, directory / DATABASE)
    assert LedgerStore().verify(directory, acks).refused.startswith("RolledBack: guard: the database has 2")
    # Without the comparison nobody would notice but those who hold receipts.
    assert LedgerStore(guard=False).verify(directory, acks).acked_missing == 20


def test_an_old_copy_of_the_database_and_of_the_keys_is_refused(aged: tuple[Path, Path, list[Ack]]) -> None:
    directory, old, acks = aged
    shutil.copytree(old / "data", directory / "data", dirs_exist_ok=True)
    assert LedgerStore().verify(directory, acks).refused.startswith("RolledBack: guard: ")
    assert LedgerStore(guard=False).verify(directory, acks).acked_missing == 20


def test_an_old_copy_of_the_keys_is_named(aged: tuple[Path, Path, list[Ack]]) -> None:
    directory, old, acks = aged
    shutil.copy(old / KEYS, directory / KEYS)
    store = LedgerStore()
    oracle = store.verify(directory, acks)
    assert oracle.acked_missing > 0
    assert any(finding.startswith("missing: entry ") for finding in store.findings)


def test_a_database_cut_by_somebody_who_knows_it_is_refused(aged: tuple[Path, Path, list[Ack]]) -> None:
    directory, _, acks = aged
    cut_consistently(directory)
    assert LedgerStore().verify(directory, acks).refused.startswith("RolledBack: guard: the database has 20 entries")
    assert LedgerStore(guard=False).verify(directory, acks).acked_missing > 0


@pytest.mark.parametrize("kept", [0, 1, 100, 4_096, 4_096 * 3, -4_096 * 3, -4_096, -1])
def test_a_truncated_file_is_refused_or_named(aged: tuple[Path, Path, list[Ack]], kept: int) -> None:
    directory, _, acks = aged
    os.truncate(directory / DATABASE, kept if kept >= 0 else (directory / DATABASE).stat().st_size + kept)
    store = LedgerStore()
    oracle = store.verify(directory, acks)
    # A single byte of the last page that nobody reads is left to the verification.
    assert oracle.refused.startswith(("StorageError: ", "Damaged: ", "Tampered: ", "RolledBack: ")) or (
        kept == -1 and any("page" in finding for finding in store.findings)
    ), oracle


# --- files that are gone or damaged ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: (d / DATABASE).unlink(), "StorageError: .*ledger.db: no such file"),
        (lambda d: (d / KEYS).unlink(), "StorageError: .*keys.db: no such file"),
        (lambda d: (d / GUARD).unlink(), "StorageError: .*guard: the guard cannot be opened"),
        (lambda d: os.truncate(d / GUARD, 0), "RolledBack: guard: the guard is empty but the log has .* entries"),
        (lambda d: (d / GUARD).write_bytes(bytes(2 * SLOT_BYTES)), "RolledBack: guard: the guard is empty"),
        (lambda d: damage(d, 0, 1), "Tampered: guard: .*guard is damaged in both slots"),
        (lambda d: (d / GUARD).write_bytes(b"no guard" * 1024), "Tampered: guard: .*guard is damaged in both slots"),
    ],
    ids=["no database", "no keys", "no guard", "empty guard", "zeroed guard", "both slots", "another file"],
)
def test_what_is_gone_or_damaged_is_refused_by_name(
    aged: tuple[Path, Path, list[Ack]], change: Change, says: str
) -> None:
    directory, _, acks = aged
    change(directory)
    refused = LedgerStore().verify(directory, acks).refused
    assert re.match(says, refused), refused


@pytest.mark.parametrize("slot", [0, 1])
def test_one_damaged_slot_of_the_guard_is_what_a_torn_write_leaves(
    aged: tuple[Path, Path, list[Ack]], slot: int
) -> None:
    directory, _, acks = aged
    damage(directory, slot)
    assert LedgerStore().verify(directory, acks) == Oracle()


def test_a_guard_of_another_ledger_is_refused(aged: tuple[Path, Path, list[Ack]], disk: Path) -> None:
    directory, _, acks = aged
    other = LedgerStore()
    (disk / "other").mkdir()
    other.open(disk / "other")
    for i in range(5):
        other.append(f"other-{i}")
    other.close()
    shutil.copy(disk / "other" / GUARD, directory / GUARD)
    assert LedgerStore().verify(directory, acks).refused.startswith("RolledBack: guard: the first ")


def test_a_crash_between_the_first_commit_and_its_guard_is_no_replaced_guard(disk: Path) -> None:
    store, directory = LedgerStore(), disk / "store"
    directory.mkdir()
    store._start(directory)
    before = (directory / GUARD).read_bytes()
    store._register("the first subject")
    store.close()
    (directory / GUARD).write_bytes(before)
    assert store.verify(directory, []) == Oracle()


@pytest.mark.parametrize("written", [SLOT_BYTES, 2 * SLOT_BYTES - 512])
def test_a_torn_first_write_of_the_guard_is_no_damage(disk: Path, written: int) -> None:
    store, directory = LedgerStore(), disk / "store"
    directory.mkdir()
    store._start(directory)
    store.close()
    os.truncate(directory / GUARD, written)
    assert store.verify(directory, []) == Oracle()


# --- two of one ledger ----------------------------------------------------------------------------------------


def clones(disk: Path) -> tuple[Path, Path]:
    """Return a ledger and its clone, which share one guard."""
    store, one, two = LedgerStore(), disk / "one", disk / "two"
    one.mkdir()
    store.open(one)
    store.append("common")
    store.close()
    shutil.copytree(one, two)
    (two / GUARD).unlink()
    (two / GUARD).symlink_to(one / GUARD)
    return one, two


def signed_roots(*directories: Path) -> dict[int, set[bytes]]:
    """Return every root that was ever signed, by size: what the databases kept, acknowledged or not."""
    roots: dict[int, set[bytes]] = defaultdict(set)
    for directory in directories:
        connection = apsw.Connection(str(directory / DATABASE), flags=apsw.SQLITE_OPEN_READONLY, vfs="cksmvfs")
        for size, note in connection.execute("SELECT size, note FROM checkpoints"):
            roots[size].add(open_checkpoint(bytes(note), SIGNER.verifier, ORIGIN).root)
        connection.close()
    return roots


def race(one: Path, two: Path, *, guard: bool) -> list[Exception]:
    """Append to both at once; return what stopped them."""
    first, second = LedgerStore(guard=guard), LedgerStore(guard=guard)
    errors: list[Exception] = []
    ready = threading.Barrier(2)

    def append(store: LedgerStore, name: str) -> None:
        ready.wait()
        try:
            for i in range(8):
                store.append(f"{name}-{i}")
        except Exception as error:
            errors.append(error)

    first.open(one)
    second.open(two)
    threads = [threading.Thread(target=append, args=pair) for pair in ((first, "one"), (second, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The other way round, as planted defects are taken back in that order.
    second.close()
    first.close()
    return errors


@pytest.fixture
def rounds(disk: Path) -> Iterator[Path]:
    """Directories for twelve races."""
    return (disk / f"race-{number}" for number in range(12))


def test_two_clones_never_sign_two_roots_for_one_size(rounds: Iterator[Path]) -> None:
    for scratch in rounds:
        scratch.mkdir()
        one, two = clones(scratch)
        errors = race(one, two, guard=True)
        # One goes on, the other stops at its first transaction and says why.
        assert len(errors) == 1
        assert isinstance(errors[0], Stopped)
        assert isinstance(errors[0].__cause__, RolledBack)
        roots = signed_roots(one, two)
        assert max(roots) >= 10
        assert {size for size, found in roots.items() if len(found) > 1} == set()


def test_two_clones_without_a_guard_do(rounds: Iterator[Path]) -> None:
    scratch = next(rounds)
    scratch.mkdir()
    one, two = clones(scratch)
    assert race(one, two, guard=False) == []
    assert {size for size, found in signed_roots(one, two).items() if len(found) > 1} != set()


def test_a_clone_is_not_started_beside_its_original(disk: Path) -> None:
    one, two = clones(disk)
    original, clone = LedgerStore(), LedgerStore()
    original.open(one)
    original.append("the original goes on")
    with pytest.raises(RolledBack):
        clone.open(two)
    original.append("and on")
    original.close()
