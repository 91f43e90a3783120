"""A flipped bit is found wherever a reader could meet it, because of the page checksums and not by luck."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from tests.faults.bitflip import database_flips, free_pages, missed_flips, wal_flips
from tests.faults.store import DATABASE, Ack, Defect, StandIn


def store_with_everything(disk: Path, defect: Defect) -> tuple[Path, list[Ack]]:
    """Return a store at rest, as a crash left it: tree pages, free pages, and a WAL with live frames."""
    store, directory, image = StandIn(defect=defect, autocheckpoint=1000), disk / "store", disk / "image"
    directory.mkdir()
    store.open(directory)
    acks = [store.append(f"folded-{i}" + "." * 90) for i in range(120)]
    store.close()
    connection = apsw.Connection(str(directory / DATABASE), vfs="cksmvfs")
    connection.execute("CREATE TABLE old(value)")
    connection.execute("INSERT INTO old SELECT randomblob(9000) FROM entry LIMIT 6")
    connection.execute("DROP TABLE old")
    connection.close(True)
    store.open(directory)
    acks += [store.append(f"in-the-wal-{i}") for i in range(12)]
    shutil.copytree(directory, image, ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    return image, acks


def test_every_live_flip_is_found(disk: Path) -> None:
    image, acks = store_with_everything(disk, "none")
    store = StandIn()
    assert store.verify(shutil.copytree(image, disk / "healthy"), acks).holds
    flips = database_flips(image, DATABASE, seed=1, each=12) + wal_flips(image, DATABASE, seed=1, each=8)
    missed = missed_flips(store, image, flips, disk / "scratch", acks)
    assert [flip for flip in missed if flip.live] == []
    assert sum(flip.live for flip in flips) > 400


def test_the_flips_reach_every_kind_of_place(disk: Path) -> None:
    image, _ = store_with_everything(disk, "none")
    free = free_pages(image, DATABASE)
    assert len(free) > 10
    places = {flip.where for flip in database_flips(image, DATABASE, seed=1) if flip.live}
    assert {f"page {page}" for page in free} <= places
    assert {f"header byte {offset}" for offset in range(100)} <= places
    wal = {flip.where for flip in wal_flips(image, DATABASE, seed=1) if flip.live}
    assert {"WAL header", "WAL frame 0 header", "WAL frame 0 page", "WAL frame 11 page"} <= wal


def test_a_page_that_the_wal_replaces_is_not_live(disk: Path) -> None:
    image, acks = store_with_everything(disk, "none")
    dead = [flip for flip in database_flips(image, DATABASE, seed=1, each=4) if not flip.live]
    assert dead
    assert missed_flips(StandIn(), image, dead, disk / "scratch", acks) == dead


@pytest.mark.parametrize("defect", ["no-page-checksums"])
def test_without_page_checksums_flips_are_missed(disk: Path, defect: Defect) -> None:
    image, acks = store_with_everything(disk, defect)
    flips = database_flips(image, DATABASE, seed=1, each=12)
    missed = missed_flips(StandIn(defect=defect), image, flips, disk / "scratch", acks)
    assert len([flip for flip in missed if flip.live]) > 50
