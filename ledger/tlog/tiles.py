"""Tiles: the tree and the entries of a log as files that never change. c2sp.org/tlog-tiles.

    tile/<level>/<n>[.p/<width>]       up to 256 hashes; a hash at level L covers 256^L leaves
    tile/entries/<n>[.p/<width>]       up to 256 entries, each after its length

A tile is *full* with 256 hashes, else *partial*. Only a full tile has a hash in the tile above it; a partial tile is
never hashed upward. Here are the names, the bytes, and the reader that believes no tile before it has checked it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ledger.errors import Invalid, VerificationError
from ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, leaf_hash, node_hash, pyramid

TILE_HEIGHT: Final = 8
"""Heights of the tree in a tile. c2sp.org/tlog-tiles, "Merkle Tree"."""

TILE_WIDTH: Final = 1 << TILE_HEIGHT
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES

MAX_LEVEL: Final = 63
"""Highest tile level that a path may name. c2sp.org/tlog-tiles, "Merkle Tree"."""

MAX_ENTRY_BYTES: Final = 2**16 - 1
"""Longest entry of a bundle: its length is a uint16. c2sp.org/tlog-tiles, "Log entries"."""

MAX_CACHED_TILES: Final = 64
"""Full tiles that a reader keeps, at about 40 kB each. Our choice; a proof needs at most 8."""

_PATH: Final = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)

_LENGTH_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Tile:
    """The name of a tile: number `n` of its level, with `width` hashes, or entries when `level` is None.

    Raises Invalid for a name that no tree of up to MAX_SIZE leaves can need, or a level beyond MAX_LEVEL.
    """

    level: int | None
    n: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        level = self.level or 0
        if not 0 <= level <= MAX_LEVEL:
            raise Invalid("level", f"between 0 and {MAX_LEVEL}")
        if self.n < 0 or self.n << TILE_HEIGHT * (level + 1) > MAX_SIZE:
            raise Invalid("n", f"a tile of a tree of up to {MAX_SIZE} leaves")
        if not 1 <= self.width <= TILE_WIDTH:
            raise Invalid("width", f"between 1 and {TILE_WIDTH}")

    @property
    def path(self) -> str:
        """The path under the prefix of the log: `tile/0/x001/x234/067.p/8`."""
        level = "entries" if self.level is None else self.level
        thousands, digits = divmod(self.n, 1000)
        number = f"{digits:03}"
        while thousands:
            thousands, digits = divmod(thousands, 1000)
            number = f"x{digits:03}/{number}"
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path, in the one spelling that `path` gives. Raises VerificationError only."""
        step = "tile path"
        if not (match := _PATH.fullmatch(path)):
            raise VerificationError(step, "not tile/<level>/<n> or tile/entries/<n>, with .p/<width> when partial")
        level, number, width = match.groups()
        try:
            tile = cls(
                None if level == "entries" else int(level),
                int(number.replace("x", "").replace("/", "")),
                TILE_WIDTH if width is None else int(width),
            )
        except Invalid as error:
            raise VerificationError(step, str(error)) from error
        if tile.path != path:
            raise VerificationError(step, "another spelling of its numbers")
        return tile


def tiles_for_size(size: int) -> Iterator[Tile]:
    """Yield every tile of hashes of the tree of `size` leaves, level by level, the partial one of a level last.

    Raises Invalid unless 0 <= size <= MAX_SIZE.
    """
    _check_size(size)
    level = 0
    while size:
        yield from _row_of_tiles(level, size)
        level, size = level + 1, size >> TILE_HEIGHT


def bundles_for_size(size: int) -> Iterator[Tile]:
    """Yield every bundle of entries of the tree of `size` leaves, in order. Raises Invalid as `tiles_for_size`."""
    _check_size(size)
    yield from _row_of_tiles(None, size)


def _row_of_tiles(level: int | None, hashes: int) -> Iterator[Tile]:
    full, width = divmod(hashes, TILE_WIDTH)
    for n in range(full):
        yield Tile(level, n)
    if width:
        yield Tile(level, full, width)


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise Invalid("size", f"between 0 and {MAX_SIZE}")


def split_hashes(data: bytes) -> list[bytes]:
    """Return the hashes of a tile, whose length is known to be right."""
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return a bundle of 1 to 256 entries, each after its length as a big-endian uint16. Raises Invalid."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise Invalid("entries", f"between 1 and {TILE_WIDTH}")
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise Invalid("entries", f"at most {MAX_ENTRY_BYTES} bytes each")
    return b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the entries of a bundle of exactly `width`. Raises VerificationError only."""
    entries = []
    end = 0
    for _ in range(width):
        start = end + _LENGTH_BYTES
        end = start + int.from_bytes(data[end:start], "big")
        entries.append(data[start:end])
    # A length or an entry that is cut off puts the end beyond the data.
    if end != len(data):
        raise VerificationError("entry bundle", f"{len(data)} bytes do not hold exactly {width} entries")
    return tuple(entries)


class TileReader:
    """Reads the tree (size, root) from tiles that anybody may have written; gives out no hash that is not of it.

    Every tile is checked whole before a hash of it is used:

    (1) the partial tiles of the right edge together: their perfect subtrees, folded, are the root, and every hash of
        a partial tile lies in one of them;
    (2) a full tile by its own: its root is a hash of the tile above, which was checked before it, up to (1).

    So there is no hash that is covered for one use and free for another: a full tile is never taken because some
    subtrees of it were needed, and checked, elsewhere (CVE-2026-56865).

    `fetch` gets a path and returns the bytes; what it raises passes through. One thread at a time.
    """

    def __init__(self, size: int, root: bytes, fetch: Callable[[str], bytes]) -> None:
        """Take `size` and `root` from a checkpoint that was verified. Raises VerificationError for what is no tree."""
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            raise VerificationError("tiles", f"the size is not between 0 and {MAX_SIZE}")
        if size == 0 and root != EMPTY_ROOT:
            raise VerificationError("tiles", "an empty tree has another root")
        self.size = size
        self.root = root
        self._fetch = fetch
        self._edge: dict[int, list[list[bytes]]] | None = None
        self._full_tile = lru_cache(maxsize=MAX_CACHED_TILES)(self._read_full_tile)

    def hash(self, height: int, n: int) -> bytes:
        """Return the hash of the complete subtree (height, n): a `HashReader`.

        Raises Invalid unless the tree covers the subtree, VerificationError for a tile that is not of the tree.
        """
        if height < 0 or n < 0 or (n + 1) << height > self.size:
            raise Invalid("n", f"a complete subtree of the {self.size} leaves")
        level, row = divmod(height, TILE_HEIGHT)
        tile, i = divmod(n, TILE_WIDTH >> row)
        return self._tile(level, tile)[row][i]

    def entries(self, n: int) -> tuple[bytes, ...]:
        """Return the entries of bundle `n`: up to 256, from number n·256 on, each the one that its leaf hash says.

        Raises Invalid unless the tree has the bundle, VerificationError for a bundle or tile that is not of the tree.
        """
        width = min(self.size - n * TILE_WIDTH, TILE_WIDTH)
        if n < 0 or width < 1:
            raise Invalid("n", f"a bundle of the {self.size} entries")
        bundle = Tile(None, n, width)
        entries = decode_bundle(self._fetch(bundle.path), width)
        if [leaf_hash(entry) for entry in entries] != self._tile(0, n)[0]:
            raise VerificationError("tiles", f"{bundle.path} does not hold the entries of the tree")
        return entries

    def _tile(self, level: int, n: int) -> list[list[bytes]]:
        """Return the rows of the tile n of `level`, by height, checked."""
        if self._edge is None:
            self._edge = self._read_edge()
        if n == self.size >> TILE_HEIGHT * (level + 1):
            return self._edge[level]
        return self._full_tile(level, n)

    def _read_edge(self) -> dict[int, list[list[bytes]]]:
        """Fetch the partial tiles, by level, and check them against the root."""
        edge = {}
        folded: bytes | None = None
        for height in range(self.size.bit_length()):
            level, row = divmod(height, TILE_HEIGHT)
            hashes = self.size >> TILE_HEIGHT * level
            if row == 0 and (width := hashes % TILE_WIDTH):
                edge[level] = self._read(Tile(level, hashes // TILE_WIDTH, width))
            if self.size >> height & 1:
                # Each bit of the size is one perfect subtree, the last of its row; they fold from right to left.
                perfect = edge[level][row][-1]
                folded = perfect if folded is None else node_hash(perfect, folded)
        if self.size and folded != self.root:
            raise VerificationError("tiles", f"the partial tiles of size {self.size} do not fold to the root")
        return edge

    def _read_full_tile(self, level: int, n: int) -> list[list[bytes]]:
        above, i = divmod(n, TILE_WIDTH)
        expected = self._tile(level + 1, above)[0][i]
        tile = Tile(level, n)
        rows = self._read(tile)
        if rows[TILE_HEIGHT][0] != expected:
            raise VerificationError("tiles", f"{tile.path} does not hash to what the tile above says")
        return rows

    def _read(self, tile: Tile) -> list[list[bytes]]:
        data = self._fetch(tile.path)
        if type(data) is not bytes or len(data) != tile.width * HASH_BYTES:
            raise VerificationError("tiles", f"{tile.path} is not {tile.width * HASH_BYTES} bytes")
        return pyramid(split_hashes(data))
