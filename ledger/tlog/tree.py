"""The growing tree, kept in memory by the one writer of a log.

The tree is laid out as c2sp.org/tlog-tiles has it: tiles 256 hashes wide, 8 heights each. Memory holds the rightmost,
partial tile of every level; full tiles never change again, are handed to the storage once and read back through a
loader. The life of a batch:

    before = tree.snapshot()
    try:
        tree.append(leaf)                       for each entry
        store(tree.take_full_tiles())           in the transaction of the entries
        …                                       the transaction commits: the batch is durable from here
    except BaseException:
        tree.rollback(before)                   nothing happened
        raise
    tree.commit()

A tile that is taken stays readable from memory until `commit`, because the loader may not see it before then.
Nothing here does I/O or locks: one thread at a time; another reader works on a `copy()`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.errors import Invalid, Tampered
from ledger.tlog import merkle
from ledger.tlog.merkle import HASH_BYTES, MAX_SIZE
from ledger.tlog.tiles import TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, split_hashes

CACHED_TILES: Final = 64
"""Full tiles that a tree keeps after reading them back, at about 40 kB each. Our choice."""

LoadTile = Callable[[int, int], bytes]
"""(tile level, n) -> the 8,192 bytes of a full tile."""

LoadLeaves = Callable[[int, int], Sequence[bytes]]
"""(start, stop) -> the leaf hashes [start, stop)."""

FullTile = tuple[int, int, bytes]
"""(tile level, n, hashes): 256 hashes, 8,192 bytes, final."""

_Rows = Sequence[Sequence[bytes]]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A state of one tree to roll back to. Valid until the next `commit` of that tree; cheap, a few microseconds."""

    size: int
    rows: tuple[list[bytes], ...]
    lengths: tuple[int, ...]
    waiting: tuple[FullTile, ...]
    unsettled: dict[tuple[int, int], _Rows]


class Tree:
    """A tree of `size` leaves that grows on the right. Hashes are 32 bytes; sizes go up to MAX_SIZE."""

    __slots__ = ("_cache", "_edge", "_load_tile", "_rows", "_settled_size", "_unsettled", "_waiting", "size")

    def __init__(self, load_tile: LoadTile) -> None:
        """Make the empty tree. `load_tile` is asked for full tiles that were taken and committed, and no others."""
        self.size = 0
        self._load_tile = load_tile
        # Row h: the hashes of height h in the partial tile of level h // 8. Lists here only grow at the end, and a
        # completed tile leaves with its lists: that is what makes a snapshot a matter of references and lengths.
        self._rows: list[list[bytes]] = [[]]
        self._waiting: list[FullTile] = []
        self._unsettled: dict[tuple[int, int], _Rows] = {}
        self._settled_size = 0
        self._cache: OrderedDict[tuple[int, int], _Rows] = OrderedDict()
        # The edge of the last size that was asked for: all proofs of one batch share it.
        self._edge: tuple[int, list[bytes]] = (0, [])

    @classmethod
    def load(cls, size: int, load_tile: LoadTile, load_leaves: LoadLeaves) -> Tree:
        """Return the tree of the first `size` leaves of a log, from its full tiles and its last leaf hashes.

        Reads the last size % 256 leaf hashes, and of each level at most 255 full tiles: those whose roots are in the
        partial tile above. The caller compares the root with the last signed checkpoint: nothing is verified here
        but lengths. Raises Invalid for the size, Tampered for a tile or leaves of the wrong length.
        """
        if not 0 <= size <= MAX_SIZE:
            raise Invalid("size", f"between 0 and {MAX_SIZE}")
        tree = cls(load_tile)
        tree.size = tree._settled_size = size
        edge_start = size - size % TILE_WIDTH
        base = list(load_leaves(edge_start, size)) if edge_start < size else []
        if len(base) != size - edge_start or any(len(leaf) != HASH_BYTES for leaf in base):
            raise Tampered("tree", f"not the leaf hashes from {edge_start} to {size}")
        tree._rows = []
        level, full = 0, size // TILE_WIDTH
        while True:
            tile_rows = merkle.pyramid(base)
            tree._rows += tile_rows + [[] for _ in range(TILE_HEIGHT - len(tile_rows))]
            if not full:
                return tree
            first = full - full % TILE_WIDTH
            base = [_top(_parse_tile(load_tile(level, n))) for n in range(first, full)]
            level, full = level + 1, full // TILE_WIDTH

    def copy(self) -> Tree:
        """Return a tree of the same leaves that goes its own way: with the same loader, and nothing else shared."""
        twin = Tree(self._load_tile)
        twin.size = self.size
        twin._rows = [row.copy() for row in self._rows]
        twin._waiting = self._waiting.copy()
        twin._unsettled = self._unsettled.copy()
        twin._settled_size = self._settled_size
        twin._cache = self._cache.copy()
        twin._edge = self._edge
        return twin

    # Growing

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash (32 bytes) on the right. Hashes one node on average; the hot path of recording."""
        assert len(leaf) == HASH_BYTES
        rows = self._rows
        n = self.size
        height = 0
        node = leaf
        rows[0].append(leaf)
        while n & 1:
            node = sha256(b"\x01" + rows[height][-2] + node).digest()
            n >>= 1
            height += 1
            if not height % TILE_HEIGHT:
                self._complete_tile(height // TILE_HEIGHT - 1, n)
            if height == len(rows):
                rows.append([])
            rows[height].append(node)
        self.size += 1

    def _complete_tile(self, level: int, n: int) -> None:
        """Move the tile of `level`, full with the hash just added, from the edge to the storage writer."""
        heights = slice(level * TILE_HEIGHT, (level + 1) * TILE_HEIGHT)
        tile_rows = self._rows[heights]
        self._rows[heights] = [[] for _ in range(TILE_HEIGHT)]
        self._waiting.append((level, n, b"".join(tile_rows[0])))
        self._unsettled[level, n] = tile_rows

    def take_full_tiles(self) -> list[FullTile]:
        """Return the tiles completed since the last call, in the order of completion; each is handed out once.

        Store them in the transaction of their leaves. After a `rollback` those taken since the snapshot are void, and
        those that waited then wait again.
        """
        taken, self._waiting = self._waiting, []
        return taken

    def snapshot(self) -> Snapshot:
        """Return the present state, for `rollback`. Costs a few microseconds, whatever the size."""
        rows = tuple(self._rows)
        return Snapshot(self.size, rows, tuple(map(len, rows)), tuple(self._waiting), self._unsettled.copy())

    def rollback(self, snapshot: Snapshot) -> None:
        """Return to a snapshot of this tree, taken after the last `commit`: all that came later never happened."""
        assert snapshot.size >= self._settled_size, "rolled back behind a commit"
        self.size = snapshot.size
        self._rows = [row[:length] for row, length in zip(snapshot.rows, snapshot.lengths, strict=True)]
        self._waiting = list(snapshot.waiting)
        self._unsettled = snapshot.unsettled.copy()
        # The same size will come again with other leaves.
        self._edge = (0, [])

    def commit(self) -> None:
        """Say that all leaves and all tiles taken are durable: the loader has the tiles from here."""
        assert not self._waiting, "full tiles were not taken"
        for key, tile_rows in self._unsettled.items():
            self._keep(key, tile_rows)
        self._unsettled.clear()
        self._settled_size = self.size

    # Reading

    def hash(self, height: int, n: int) -> bytes:
        """Return the hash of the complete subtree (height, n): a `HashReader`.

        Loads at most one full tile. Raises Invalid unless the tree covers the subtree, Tampered for a loaded tile of
        the wrong length.
        """
        level, row = divmod(height, TILE_HEIGHT)
        shift = TILE_HEIGHT - row
        tile = n >> shift
        if height < 0 or n < 0 or (n + 1) << height > self.size:
            raise Invalid("n", f"a complete subtree of the {self.size} leaves")
        if tile == self.size >> TILE_HEIGHT * (level + 1):
            return self._rows[height][n - (tile << shift)]
        return self._full_tile(level, tile)[row][n - (tile << shift)]

    def _full_tile(self, level: int, n: int) -> _Rows:
        key = level, n
        if (tile_rows := self._unsettled.get(key)) is not None:
            return tile_rows
        if (tile_rows := self._cache.get(key)) is not None:
            self._cache.move_to_end(key)
            return tile_rows
        tile_rows = _parse_tile(self._load_tile(level, n))
        self._keep(key, tile_rows)
        return tile_rows

    def _keep(self, key: tuple[int, int], tile_rows: _Rows) -> None:
        self._cache[key] = tile_rows
        if len(self._cache) > CACHED_TILES:
            self._cache.popitem(last=False)

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, all by default. Raises Invalid."""
        size = self.size if size is None else size
        return merkle.EMPTY_ROOT if size == 0 else self._right_edge(size)[-1]

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the inclusion proof for leaf `index` in the tree of the first `size` leaves, all by default.

        The leaf's sibling first. Raises Invalid unless 0 <= index < size <= self.size. RFC 6962 §2.1.1.
        """
        size = self.size if size is None else size
        if not 0 <= index < size:
            raise Invalid("index", f"a leaf of the tree: between 0 and {size - 1}")
        return merkle.inclusion_proof(index, size, self.hash, edge=self._right_edge(size))

    def consistency_proof(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the tree of `new` leaves, all by default, extends that of its first `old` leaves.

        Raises Invalid unless 0 <= old <= new <= self.size. RFC 6962 §2.1.2.
        """
        new = self.size if new is None else new
        if not 0 <= old <= new <= self.size:
            raise Invalid("old", f"between 0 and the new size, {new}, of a tree of {self.size}")
        return merkle.consistency_proof(old, new, self.hash, edge=self._right_edge(new) if new else ())

    def _right_edge(self, size: int) -> list[bytes]:
        """Return the edge of the first `size` leaves, at least one; see `merkle`. Raises Invalid."""
        if self._edge[0] != size:
            self._edge = (size, merkle.right_edge(size, self.hash))
        return self._edge[1]


def _parse_tile(data: bytes) -> list[list[bytes]]:
    """Return the rows of a full tile, by height. Raises Tampered."""
    if len(data) != TILE_BYTES:
        raise Tampered("tree", f"a full tile of {len(data)} bytes, not {TILE_BYTES}")
    return merkle.pyramid(split_hashes(data))


def _top(tile_rows: list[list[bytes]]) -> bytes:
    """Return the root of a full tile, which is a hash of the tile above it."""
    return tile_rows[TILE_HEIGHT][0]
