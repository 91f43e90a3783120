"""One flipped bit anywhere in the ledger's files is found: the start is refused, or the verification names it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import apsw
import pytest

from ledger.errors import LedgerError
from ledger.tlog.fsck import fsck
from tests.faults.bitflip import DATABASE_HEADER_BYTES, Flip, database_flips, free_pages, wal_flips
from tests.faults.crash_states import materialise, verdict
from tests.faults.ledger_store import DATABASE, GUARD, KEYS, LedgerDefect, LedgerStore, engine_of, keys_of
from tests.faults.store import Ack
from tests.faults.trace import contents

PAGE_BYTES = 4_096


def aged_ledger(disk: Path, defect: LedgerDefect = "none") -> tuple[Path, list[Ack]]:
    """Return a ledger as a kill left it: tree pages, free pages, and live frames in both WALs."""
    store, directory, image = LedgerStore(defect=defect, padding=300), disk / "store", disk / "image"
    directory.mkdir()
    store.open(directory)
    acks = store.append_many([f"folded-{i}" for i in range(40)])
    acks += [store.append(f"alone-{i}") for i in range(10)]
    for connection in (engine_of(store.ledger)._writer, keys_of(store.ledger)):
        connection.execute("CREATE TABLE old(value) ; INSERT INTO old VALUES (randomblob(80000)); DROP TABLE old")
    store.close()
    store.open(directory)
    acks += [store.append(f"in-the-wal-{i}") for i in range(12)]
    # The newest frame of the key store holds a key that is used: one that says nothing new would be no loss.
    store._subject = store._register("the last subject")
    acks.append(store.append("under-a-key-of-its-own"))
    shutil.copytree(directory, image, ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    return image, acks


def missed_flips(
    image: Path, flips: list[Flip], scratch: Path, acks: list[Ack], defect: LedgerDefect = "none"
) -> list[Flip]:
    """Apply each live flip to a copy of the image and return those that neither a start nor a verification names."""
    files = contents(image)
    missed: list[Flip] = []
    for flip in flips:
        if not flip.live:
            continue
        materialise(files, scratch)
        flip.apply(scratch)
        store = LedgerStore(defect=defect)
        oracle = verdict(store, scratch, acks)
        # An exception that is none of ours is no answer.
        assert not oracle.refused.startswith("verify raised"), (flip, oracle)
        if oracle.holds:
            missed.append(flip)
        else:
            assert oracle.refused or store.findings, (flip, oracle)
    return missed


def forget_pages() -> None:
    """Let every connection of this process read again what it has in memory."""
    for connection in apsw.connections():
        connection.execute("PRAGMA shrink_memory")


def test_a_flipped_bit_in_any_page_or_frame_is_found(disk: Path) -> None:
    image, acks = aged_ledger(disk)
    shutil.copytree(image, disk / "healthy")
    assert LedgerStore().verify(disk / "healthy", acks).holds
    flips: list[Flip] = []
    for name in (DATABASE, KEYS):
        flips += _thinned_header(database_flips(image, name, seed=1))
        flips += wal_flips(image, name, seed=1)
        free = {f"page {page}" for page in free_pages(image, name)}
        assert free & {flip.where for flip in flips if flip.name == name and flip.live}
        assert {f"{name}-wal"} <= {flip.name for flip in flips if flip.live}
    assert sum(flip.live for flip in flips) > 120
    assert missed_flips(image, flips, disk / "scratch", acks) == []


def _thinned_header(flips: list[Flip]) -> list[Flip]:
    """Every byte of the header has its turn in test_bitflip.py: here every fifth, and all pages."""
    return [flip for flip in flips if flip.offset >= DATABASE_HEADER_BYTES or flip.offset % 5 == 0]


def test_without_page_checksums_flips_are_missed(disk: Path) -> None:
    image, acks = aged_ledger(disk, "no-page-checksums")
    flips = [flip for name in (DATABASE, KEYS) for flip in database_flips(image, name, seed=1)]
    flips = [flip for flip in flips if flip.offset >= DATABASE_HEADER_BYTES]
    missed = missed_flips(image, flips, disk / "scratch", acks, "no-page-checksums")
    assert len(missed) > 10


@pytest.mark.parametrize("slot", [0, 1])
def test_a_flipped_bit_in_one_slot_of_the_guard_leaves_the_other_one(disk: Path, slot: int) -> None:
    image, acks = aged_ledger(disk)
    size = (image / GUARD).stat().st_size // 2
    rng = random.Random(slot)
    for _ in range(8):
        materialise(contents(image), disk / "scratch")
        Flip(GUARD, slot * size + rng.randrange(250), rng.randrange(8), "guard").apply(disk / "scratch")
        assert LedgerStore().verify(disk / "scratch", acks).holds


def test_a_bit_that_flips_under_an_open_ledger_is_named_by_a_verification(disk: Path) -> None:
    image, _ = aged_ledger(disk)
    store = LedgerStore()
    store.open(image)
    ledger, path = store.ledger, image / DATABASE
    engine_of(ledger)._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert fsck(ledger).ok
    rng = random.Random(1)
    for page in range(1, path.stat().st_size // PAGE_BYTES + 1):
        flip = Flip(DATABASE, (page - 1) * PAGE_BYTES + rng.randrange(PAGE_BYTES), rng.randrange(8), f"page {page}")
        flip.apply(image)
        try:
            named = [problem.why for problem in fsck(ledger).problems]
            # Without its header or its schema a file cannot be opened at all.
            says = (f"page {page} does not match its checksum", "ledger.db: a page does not match its checksum")
            assert any(words in why for why in named for words in says), (flip, named)
        finally:
            flip.apply(image)
    assert fsck(ledger).ok
    store.close()


def test_a_value_that_changes_under_an_open_ledger_is_not_served(disk: Path) -> None:
    """Pages in a connection's memory were checked when they were read; a new reader meets the damage by name."""
    image, acks = aged_ledger(disk)
    LedgerStore().verify(image, acks)
    store = LedgerStore()
    store._start(image)
    ledger, path = store.ledger, image / DATABASE
    entry = ledger.entry(acks[3].index)
    offset = path.read_bytes().index(entry)
    Flip(DATABASE, offset + 7, 0, "an entry").apply(image)
    forget_pages()
    with pytest.raises(LedgerError, match="does not match its checksum"):
        ledger.entry(acks[3].index)
    store.close()


@pytest.mark.parametrize("what", ["entry", "leaf", "sealed value"])
def test_a_value_that_changes_in_the_wal_of_an_open_ledger_is_named(disk: Path, what: str) -> None:
    """Nothing guards a frame of the WAL once it was recovered, or written by us: what it says gives the change away.

    Not found, and moved into the database under a page checksum of its own: a bit in the unused space of a page, in an
    index or in the schema.
    """
    store, directory = LedgerStore(), disk / "store"
    directory.mkdir()
    store.open(directory)
    last = [store.append(f"entry-{i}") for i in range(12)][-1].index
    engine = engine_of(store.ledger)
    stored = {
        "entry": store.ledger.entry(last),
        "leaf": engine.leaves(last, last + 1)[0],
        "sealed value": engine.boxes(last)[0].bytes,
    }
    wal = (directory / f"{DATABASE}-wal").read_bytes()
    Flip(f"{DATABASE}-wal", wal.rindex(stored[what]) + 9, 0, what).apply(directory)
    forget_pages()
    problems = fsck(store.ledger).problems
    store.close()
    assert f"entry {last}" in [problem.where for problem in problems if problem.check in ("entry", "sealed")]
