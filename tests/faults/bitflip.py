"""Decay: one bit of a database page or of a WAL frame is not what was written, and the store must say so.

Every page of the database is tried (header, tree, overflow and free pages alike) and every frame of the WAL's current
generation, its header and its page, and the WAL's own header. *Found* means that the start is refused or that the
verification names something: `Oracle.holds` is false.

`Flip.live` is false where no reader can notice, now or later: a page that a committed WAL frame replaces, a frame that
adds nothing to what the database file holds already. Not modelled: decay that comes and goes with each read, more
than one bit at a time, bits that flip while a process has the store open.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.crash_states import materialise, verdict
from tests.faults.store import Ack, Store
from tests.faults.trace import contents

DATABASE_HEADER_BYTES = 100
WAL_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class Flip:
    """Bit `bit` of the byte at `offset` of file `name` changes; `where` says what is stored there."""

    name: str
    offset: int
    bit: int
    where: str
    live: bool = True

    def apply(self, directory: Path) -> None:
        with open(directory / self.name, "r+b", buffering=0) as file:
            file.seek(self.offset)
            byte = file.read(1)[0] ^ (1 << self.bit)
            file.seek(self.offset)
            file.write(bytes([byte]))


@dataclass(frozen=True, slots=True)
class _Frame:
    offset: int
    page: int
    commits: bool
    content: bytes


def database_flips(directory: Path, name: str, *, seed: int, each: int = 1) -> list[Flip]:
    """Return `each` random flips for every page, and one for every byte of the database header."""
    data = (directory / name).read_bytes()
    page_bytes = _page_bytes(data)
    replaced = set(_view(_committed(directory, name, page_bytes)))
    rng = random.Random(seed)
    flips = [
        Flip(name, offset, rng.randrange(8), f"header byte {offset}", live=1 not in replaced)
        for offset in range(DATABASE_HEADER_BYTES)
    ]
    for page in range(1, len(data) // page_bytes + 1):
        for _ in range(each):
            offset = (page - 1) * page_bytes + rng.randrange(page_bytes)
            flips.append(Flip(name, offset, rng.randrange(8), f"page {page}", live=page not in replaced))
    return flips


def wal_flips(directory: Path, name: str, *, seed: int, each: int = 1) -> list[Flip]:
    """Return `each` random flips for the WAL's header, and for the header and the page of each committed frame."""
    page_bytes = _page_bytes((directory / name).read_bytes())
    frames = _committed(directory, name, page_bytes)
    database = (directory / name).read_bytes()
    wal = f"{name}-wal"
    rng = random.Random(seed)
    everything = _shown(database, page_bytes, frames)
    flips = []
    for number in range(-1, len(frames)):
        # SQLite reads the WAL up to the first frame whose checksum fails, and no further than the last commit.
        kept = frames[: max(0, number)]
        while kept and not kept[-1].commits:
            kept.pop()
        live = _shown(database, page_bytes, kept) != everything
        places = [("WAL header", 0, WAL_HEADER_BYTES)]
        if number >= 0:
            offset = frames[number].offset
            places = [
                (f"WAL frame {number} header", offset, FRAME_HEADER_BYTES),
                (f"WAL frame {number} page", offset + FRAME_HEADER_BYTES, page_bytes),
            ]
        for where, offset, length in places:
            flips += [Flip(wal, offset + rng.randrange(length), rng.randrange(8), where, live) for _ in range(each)]
    return flips


def missed_flips(
    store: Store, directory: Path, flips: Iterable[Flip], scratch: Path, acks: Sequence[Ack]
) -> list[Flip]:
    """Apply each flip to a copy of `directory` in `scratch` (a tmpfs) and return those that the store did not find."""
    files = contents(directory)
    missed = []
    for flip in flips:
        materialise(files, scratch)
        flip.apply(scratch)
        if verdict(store, scratch, acks).holds:
            missed.append(flip)
    return missed


def free_pages(directory: Path, name: str) -> set[int]:
    """Return the page numbers of the freelist in the database file (trunk and leaf pages), WAL not considered."""
    data = (directory / name).read_bytes()
    page_bytes = _page_bytes(data)
    found: set[int] = set()
    trunk = struct.unpack_from(">I", data, 32)[0]
    while trunk:
        found.add(trunk)
        following, count = struct.unpack_from(">2I", data, (trunk - 1) * page_bytes)
        found.update(struct.unpack_from(f">{count}I", data, (trunk - 1) * page_bytes + 8))
        trunk = following
    return found


def _page_bytes(database: bytes) -> int:
    stored = int(struct.unpack_from(">H", database, 16)[0])
    return 65536 if stored == 1 else stored


def _committed(directory: Path, name: str, page_bytes: int) -> list[_Frame]:
    """Return the frames of the WAL's current generation, up to the last commit.

    The salts tell generations apart; checksums are not computed, so give it the WAL of a healthy store.
    """
    path = directory / f"{name}-wal"
    data = path.read_bytes() if path.exists() else b""
    frames: list[_Frame] = []
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    for offset in range(WAL_HEADER_BYTES, len(data) - frame_bytes + 1, frame_bytes):
        page, database_pages, salts = struct.unpack_from(">2I8s", data, offset)
        if salts != data[16:24]:
            break
        content = data[offset + FRAME_HEADER_BYTES : offset + frame_bytes]
        frames.append(_Frame(offset, page, database_pages > 0, content))
    while frames and not frames[-1].commits:
        frames.pop()
    return frames


def _view(frames: Sequence[_Frame]) -> dict[int, bytes]:
    return {frame.page: frame.content for frame in frames}


def _shown(database: bytes, page_bytes: int, frames: Sequence[_Frame]) -> dict[int, bytes]:
    """Return what a reader sees of the pages, where that is not what the database file holds."""
    return {
        page: content
        for page, content in _view(frames).items()
        if database[(page - 1) * page_bytes : page * page_bytes] != content
    }
