"""The log as files of C2SP tlog-tiles: checkpoint, tiles and entry bundles, read from the store when asked for.

Whoever serves a log to auditors maps a path to `LogFiles.read`; `tiles.TileReader` is the other side. Nothing in
these files is personal. c2sp.org/tlog-tiles, "Parameters" and "Log entries".
"""

from __future__ import annotations

from ledger.errors import Invalid, Tampered, VerificationError
from ledger.storage.engine import Engine
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, encode_bundle
from ledger.tlog.view import TreeView

CHECKPOINT = "checkpoint"


class LogFiles:
    """The files of a log as of one tree: what is asked for beyond its size is not there."""

    def __init__(self, engine: Engine, tree: TreeView) -> None:
        self._engine = engine
        self._tree = tree

    def read(self, path: str) -> bytes:
        """Return the file at `path`, such as tile/0/x001/234 or tile/entries/000.p/17.

        Raises Invalid for what is no path of a log or is not there (yet), Tampered for a store that lacks what it had.
        """
        if path == CHECKPOINT:
            last = self._engine.checkpoint(self._tree.size) if self._tree.size else None
            if last is None or last[0] != self._tree.size:
                raise Invalid("path", "there is no checkpoint yet")
            return last[1]
        try:
            tile = Tile.parse(path)
        except VerificationError:
            raise Invalid(
                "path", "is no path of a log: checkpoint, tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]"
            ) from None
        level = tile.level or 0
        first = tile.n * TILE_WIDTH
        # A row of this level is a hash over so many leaves: as many are complete as the tree covers.
        if first + tile.width > self._tree.size >> TILE_HEIGHT * level:
            raise Invalid("path", "is beyond the end of the log")
        if tile.level is None:
            return encode_bundle(self._entries(first, first + tile.width))
        if level == 0 and tile.width < TILE_WIDTH:
            return b"".join(self._engine.leaves(first, first + tile.width))
        if tile.width < TILE_WIDTH:
            return b"".join(self._tree.hash(TILE_HEIGHT * level, first + i) for i in range(tile.width))
        hashes = self._engine.tile(level, tile.n)
        if hashes is None:
            raise Tampered("tile", f"tile {level}/{tile.n} is missing")
        return hashes

    def _entries(self, first: int, end: int) -> list[bytes]:
        entries = [stored.entry for stored in self._engine.entries(first, end)]
        if len(entries) != end - first:
            raise Tampered("entries", f"of {first} to {end - 1} some are missing")
        return entries
