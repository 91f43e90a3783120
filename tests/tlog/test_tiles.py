"""Tiles: names and bytes both ways, and a reader that forged tiles do not deceive."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Invalid, VerificationError
from ledger.tlog import merkle, tiles
from ledger.tlog.tiles import Tile, TileReader
from tests.tlog import naive

SIZE = 70_000
"""The example of c2sp.org/tlog-tiles, "Partial Tiles", and of CVE-2026-56865."""

ENTRIES = [b"entry %d" % i for i in range(SIZE)]
LEAVES = [naive.leaf(entry) for entry in ENTRIES]


@pytest.fixture(scope="module")
def log() -> dict[str, bytes]:
    """Every file of the log, by path, made from the definition: tile level L is the roots of 256 hashes below."""
    files = {}
    row, level = LEAVES, 0
    while row:
        for n in range(0, len(row), 256):
            part = row[n : n + 256]
            files[Tile(level, n // 256, len(part)).path] = b"".join(part)
        row = [naive.root(row[n : n + 256]) for n in range(0, len(row) - 255, 256)]
        level += 1
    for n in range(0, SIZE, 256):
        part = ENTRIES[n : n + 256]
        files[Tile(None, n // 256, len(part)).path] = b"".join(len(e).to_bytes(2, "big") + e for e in part)
    return files


@pytest.fixture(scope="module")
def root() -> bytes:
    return naive.root(LEAVES)


# Names

PATHS = {
    "tile/0/000": Tile(0, 0),
    "tile/0/999": Tile(0, 999),
    "tile/0/x001/000": Tile(0, 1000),
    "tile/0/x001/x234/067": Tile(0, 1_234_067),
    "tile/0/x001/x234/067.p/8": Tile(0, 1_234_067, 8),
    "tile/2/000.p/1": Tile(2, 0, 1),
    "tile/63/000.p/255": Tile(63, 0, 255),
    "tile/entries/273.p/112": Tile(None, 273, 112),
    "tile/entries/x273/001": Tile(None, 273_001),
}


@pytest.mark.parametrize(("path", "tile"), PATHS.items())
def test_a_path_reads_both_ways(path: str, tile: Tile) -> None:
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile//000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/x000/x001/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/X001/000",
        "tile/0/x01/000",
        "tile/0/x001//000",
        "tile/0/x001/../000",
        "tile/0/٠٠٠",
        "tile/0/00１",
        "tile/٣/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/1000",
        "tile/0/000.p/-1",
        "tile/0/000.p/1/2",
        "tile/0/000p/1",
        "tile/0/000.P/1",
        "tile/1/x999/x999/x999/x999/999",  # beyond 2**63 leaves
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/" + "x001/" * 1000 + "001",
        "tile/63/001",
        "tile/0/000\x00",
        "tile/0/\ud800",
    ],
)
def test_any_other_spelling_of_a_path_is_refused(path: str) -> None:
    with pytest.raises(VerificationError, match=r"^tile path: "):
        Tile.parse(path)


@given(st.sampled_from([None, 0, 1, 3]), st.integers(0, 2**30), st.integers(1, 256))
@settings(deadline=None)
def test_every_tile_has_a_path_and_every_path_a_tile(level: int | None, n: int, width: int) -> None:
    tile = Tile(level, n, width)
    assert Tile.parse(tile.path) == tile


@given(st.text("tile/0123x.p/entries", max_size=30))
@settings(deadline=None)
def test_a_path_is_read_in_one_spelling_or_refused(path: str) -> None:
    with suppress(VerificationError):
        assert Tile.parse(path).path == path


@pytest.mark.parametrize("wrong", [{"level": -1}, {"level": 64}, {"n": -1}, {"n": 2**55}, {"width": 0}, {"width": 257}])
def test_a_tile_that_no_tree_has_is_invalid(wrong: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        replace(Tile(0, 0), **wrong)


def test_the_tiles_of_the_example_of_the_specification(log: dict[str, bytes]) -> None:
    listed = list(tiles.tiles_for_size(SIZE))
    assert [tile for tile in listed if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert len(listed) == 273 + 1 + 1 + 1 + 1
    bundles = list(tiles.bundles_for_size(SIZE))
    assert (len(bundles), bundles[-1]) == (274, Tile(None, 273, 112))
    assert {tile.path for tile in listed + bundles} == set(log)


def test_the_tiles_of_small_trees() -> None:
    assert list(tiles.tiles_for_size(0)) == list(tiles.bundles_for_size(0)) == []
    assert list(tiles.tiles_for_size(1)) == [Tile(0, 0, 1)]
    assert list(tiles.tiles_for_size(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles.bundles_for_size(256)) == [Tile(None, 0)]
    for size in (-1, merkle.MAX_SIZE + 1):
        with pytest.raises(Invalid):
            list(tiles.tiles_for_size(size))
        with pytest.raises(Invalid):
            list(tiles.bundles_for_size(size))


# Bundles


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_bundle_reads_both_ways(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries), len(entries)) == tuple(entries)


def test_a_bundle_holds_the_longest_entries() -> None:
    entries = [b"x" * 65_535] * 256
    assert tiles.encode_bundle([b"a", b""]) == b"\x00\x01a\x00\x00"
    assert tiles.decode_bundle(tiles.encode_bundle(entries), 256) == tuple(entries)
    for wrong in ([], [b""] * 257, [b"x" * 65_536]):
        with pytest.raises(Invalid):
            tiles.encode_bundle(wrong)


@pytest.mark.parametrize(
    ("data", "width"),
    [
        (b"", 1),
        (b"\x00", 1),
        (b"\x00\x01", 1),
        (b"\x00\x02a", 1),
        (b"\xff\xffa", 1),
        (b"\x00\x01a", 2),
        (b"\x00\x01a\x00", 2),
        (b"\x00\x01a\x00", 1),
        (b"\x00\x01ab", 1),
        (b"\x00\x00\x00\x00", 1),
        (b"\x00\x00", 0),
    ],
)
def test_a_bundle_of_another_length_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(VerificationError, match=r"^entry bundle: "):
        tiles.decode_bundle(data, width)


@given(st.binary(max_size=60), st.integers(1, 5))
@settings(deadline=None)
def test_bytes_are_one_bundle_or_refused(data: bytes, width: int) -> None:
    with suppress(VerificationError):
        assert tiles.encode_bundle(tiles.decode_bundle(data, width)) == data


# The reader


def test_proofs_from_tiles_are_those_of_the_definition(log: dict[str, bytes], root: bytes) -> None:
    reader = TileReader(SIZE, root, log.__getitem__)
    assert merkle.root(SIZE, reader.hash) == root
    chance = random.Random(7)
    for index in (0, 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1, *chance.sample(range(SIZE), 8)):
        proof = merkle.inclusion_proof(index, SIZE, reader.hash)
        merkle.verify_inclusion(index=index, size=SIZE, leaf=LEAVES[index], proof=proof, root=root)
    for old in (1, 256, 65_536, 69_888, SIZE - 1):
        proof = merkle.consistency_proof(old, SIZE, reader.hash)
        old_root = merkle.root(old, reader.hash)
        assert old_root == naive.root(LEAVES[:old])
        merkle.verify_consistency(old_size=old, new_size=SIZE, old_root=old_root, new_root=root, proof=proof)


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537])
def test_every_shape_of_tree_is_read(log: dict[str, bytes], size: int) -> None:
    def fetch(path: str) -> bytes:
        tile = Tile.parse(path)
        assert tile in tiles.tiles_for_size(size)
        whole = next(data for at, data in log.items() if at.split(".")[0] == path.split(".")[0])
        return whole[: tile.width * 32]

    reader = TileReader(size, naive.root(LEAVES[:size]), fetch)
    assert merkle.root(size, reader.hash) == reader.root
    assert reader.hash(0, size - 1) == LEAVES[size - 1]


def test_a_proof_fetches_each_tile_once_and_no_entries(log: dict[str, bytes], root: bytes) -> None:
    fetched: list[str] = []
    reader = TileReader(SIZE, root, recording(log, fetched))
    for _ in range(2):
        merkle.inclusion_proof(5, SIZE, reader.hash)
    assert sorted(fetched) == ["tile/0/000", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]


def recording(files: dict[str, bytes], fetched: list[str]) -> Callable[[str], bytes]:
    def fetch(path: str) -> bytes:
        fetched.append(path)
        return files[path]

    return fetch


# path of the forged tile -> a subtree in it
TILES_OF_EVERY_KIND = {
    "tile/0/000": (0, 5),
    "tile/0/131": (0, 131 * 256 + 7),
    "tile/0/255": (0, 65_535),
    "tile/0/256": (0, 65_536),  # its root is a hash of a partial tile
    "tile/0/272": (0, 69_887),  # its root is itself a perfect subtree of the tree: 70,000 = 2^16 + 2^12 + 2^8 + 112
    "tile/1/000": (8, 3),  # and so is this one's
    "tile/0/273.p/112": (0, 69_900),
    "tile/1/001.p/17": (8, 256),
    "tile/2/000.p/1": (16, 0),
}


@pytest.mark.parametrize(("path", "subtree"), TILES_OF_EVERY_KIND.items())
@pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
def test_a_tile_with_one_bit_changed_gives_out_nothing(
    log: dict[str, bytes], root: bytes, path: str, subtree: tuple[int, int], position: float
) -> None:
    forged = bytearray(log[path])
    forged[int(len(forged) * position)] ^= 1
    reader = TileReader(SIZE, root, (log | {path: bytes(forged)}).__getitem__)
    with pytest.raises(VerificationError, match=r"^tiles: "):
        reader.hash(*subtree)
    # Not the second time either.
    with pytest.raises(VerificationError):
        reader.hash(*subtree)


@pytest.mark.parametrize("n", [0, 131, 255, 256, 272])
def test_a_forged_leaf_tile_does_not_slip_through_after_its_subtrees_were_used(
    log: dict[str, bytes], root: bytes, n: int
) -> None:
    """CVE-2026-56865: the subtree over the tile is checked for the edge; its leaves must be checked all the same."""
    path = Tile(0, n).path
    forged = b"".join(sha256(b"forged %d" % i).digest() for i in range(256))
    reader = TileReader(SIZE, root, (log | {path: forged}).__getitem__)
    assert reader.hash(8, n) == naive.root(LEAVES[n * 256 : (n + 1) * 256])
    for height in range(8):
        for i in (0, (256 >> height) - 1):
            with pytest.raises(VerificationError, match=r"^tiles: "):
                reader.hash(height, (n * 256 >> height) + i)
    with pytest.raises(VerificationError):
        merkle.inclusion_proof(n * 256 + 9, SIZE, reader.hash)


def test_a_forged_leaf_tile_with_the_tiles_above_forged_to_match_is_refused(log: dict[str, bytes], root: bytes) -> None:
    leaves = [sha256(b"forged").digest(), *LEAVES[1:]]
    level_1 = [naive.root(leaves[n : n + 256]) for n in range(0, 65_536, 256)]
    forged = log | {"tile/0/000": b"".join(leaves[:256]), "tile/1/000": b"".join(level_1)}
    with pytest.raises(VerificationError):
        TileReader(SIZE, root, forged.__getitem__).hash(0, 0)
    forged["tile/2/000.p/1"] = naive.root(level_1)
    with pytest.raises(VerificationError):
        TileReader(SIZE, root, forged.__getitem__).hash(0, 0)
    assert TileReader(SIZE, naive.root(leaves), forged.__getitem__).hash(0, 0) == leaves[0]


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/273.p/112", "tile/2/000.p/1"])
@pytest.mark.parametrize("change", [lambda d: b"", lambda d: d[:-1], lambda d: d[:-32], lambda d: d + d[:32], str])
def test_a_tile_of_another_length_is_refused(
    log: dict[str, bytes], root: bytes, path: str, change: Callable[[bytes], bytes]
) -> None:
    reader = TileReader(SIZE, root, (log | {path: change(log[path])}).__getitem__)
    with pytest.raises(VerificationError):
        reader.hash(0, 0)


def test_tiles_of_another_tree_or_size_are_refused(log: dict[str, bytes], root: bytes) -> None:
    with pytest.raises(VerificationError):
        TileReader(SIZE, naive.root(LEAVES[:-1]), log.__getitem__).hash(0, 0)
    log_less = log | {"tile/0/273.p/111": log["tile/0/273.p/112"][:-32]}
    with pytest.raises(VerificationError):
        TileReader(SIZE - 1, root, log_less.__getitem__).hash(0, 0)


def test_what_fetching_raises_passes_through(root: bytes) -> None:
    with pytest.raises(KeyError):
        TileReader(SIZE, root, {}.__getitem__).hash(0, 0)


def test_a_reader_of_no_tree_is_refused_and_an_empty_tree_has_nothing_to_read(root: bytes) -> None:
    for size, tree_root in ((0, root), (-1, root), (2**63, root), (True, root)):
        with pytest.raises(VerificationError):
            TileReader(size, tree_root, {}.__getitem__)
    empty = TileReader(0, merkle.EMPTY_ROOT, {}.__getitem__)
    assert merkle.root(0, empty.hash) == merkle.EMPTY_ROOT
    for height, n in ((0, 0), (0, -1), (-1, 0)):
        with pytest.raises(Invalid):
            empty.hash(height, n)
    with pytest.raises(Invalid):
        empty.entries(0)


def test_entries_are_those_that_the_leaf_hashes_say(log: dict[str, bytes], root: bytes) -> None:
    reader = TileReader(SIZE, root, log.__getitem__)
    for n in (0, 131, 272, 273):
        assert reader.entries(n) == tuple(ENTRIES[n * 256 : (n + 1) * 256])
    for n in (-1, 274):
        with pytest.raises(Invalid):
            reader.entries(n)


@pytest.mark.parametrize("path", ["tile/entries/000", "tile/entries/273.p/112"])
def test_a_bundle_with_any_byte_changed_is_refused(log: dict[str, bytes], root: bytes, path: str) -> None:
    files = dict(log)
    reader = TileReader(SIZE, root, files.__getitem__)
    for at in range(0, len(log[path]), 37):
        forged = bytearray(log[path])
        forged[at] ^= 0x20
        files[path] = bytes(forged)
        with pytest.raises(VerificationError):
            reader.entries(Tile.parse(path).n)


def test_a_bundle_that_matches_a_forged_tile_is_refused(log: dict[str, bytes], root: bytes) -> None:
    entries = [b"forged", *ENTRIES[1:256]]
    forged = log | {
        "tile/entries/000": tiles.encode_bundle(entries),
        "tile/0/000": b"".join(map(naive.leaf, entries)),
    }
    with pytest.raises(VerificationError):
        TileReader(SIZE, root, forged.__getitem__).entries(0)
