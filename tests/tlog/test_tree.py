"""The growing tree: equal to the definition at every size, and to itself after a rollback, a copy and a load."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Invalid, Tampered
from ledger.tlog import merkle
from ledger.tlog.tree import CACHED_TILES, Tree
from tests.tlog import naive

LEAVES = [naive.leaf(b"%d" % i) for i in range(70_000)]


class Store:
    """Durable tiles and leaves, as a storage engine would keep them; counts what is read."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.leaves: list[bytes] = []
        self.tile_reads: list[tuple[int, int]] = []

    def load_tile(self, level: int, n: int) -> bytes:
        self.tile_reads.append((level, n))
        return self.tiles[level, n]

    def load_leaves(self, start: int, stop: int) -> Sequence[bytes]:
        return self.leaves[start:stop]

    def record(self, tree: Tree, leaves: Sequence[bytes]) -> None:
        """One batch that succeeds."""
        for leaf in leaves:
            tree.append(leaf)
        self.leaves += leaves
        self.tiles.update({(level, n): hashes for level, n, hashes in tree.take_full_tiles()})
        tree.commit()

    def load(self, size: int | None = None) -> Tree:
        return Tree.load(len(self.leaves) if size is None else size, self.load_tile, self.load_leaves)


@pytest.fixture(scope="module")
def large() -> tuple[Store, Tree]:
    """A tree of 70,000 leaves: a full tile of level 1, and a partial one of each level. Tests do not change it."""
    store = Store()
    tree = Tree(store.load_tile)
    for start in range(0, len(LEAVES), 1000):
        store.record(tree, LEAVES[start : start + 1000])
    return store, tree


def test_the_root_is_right_at_every_size_over_the_first_tiles() -> None:
    tree = Tree(Store().load_tile)
    assert tree.root() == merkle.EMPTY_ROOT
    for size in range(1, 530):
        tree.append(LEAVES[size - 1])
        assert tree.size == size
        assert tree.root() == merkle.root(size, lambda h, n: naive.root(LEAVES[n << h : (n + 1) << h]))


def test_every_subtree_is_read_right_from_the_edge_and_from_tiles() -> None:
    store = Store()
    tree = Tree(store.load_tile)
    store.record(tree, LEAVES[:700])
    for height in range(10):
        for n in range(700 >> height):
            assert tree.hash(height, n) == naive.root(LEAVES[n << height : (n + 1) << height])


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 70_000])
def test_proofs_at_tile_boundaries_hold(large: tuple[Store, Tree], size: int) -> None:
    _, tree = large
    root = tree.root(size)
    assert root == naive.root(LEAVES[:size])
    for index in {0, 255, 256, size // 2, size - 1}:
        if index < size:
            proof = tree.inclusion_proof(index, size)
            merkle.verify_inclusion(index=index, size=size, leaf=LEAVES[index], proof=proof, root=root)
    merkle.verify_consistency(
        old_size=size,
        new_size=tree.size,
        old_root=root,
        new_root=tree.root(),
        proof=tree.consistency_proof(size),
    )


def test_proofs_of_any_leaf_and_size_hold(large: tuple[Store, Tree]) -> None:
    _, tree = large
    chance = random.Random(9162)
    for _ in range(60):
        size = chance.randrange(1, tree.size + 1)
        index, old = chance.randrange(size), chance.randrange(size + 1)
        merkle.verify_inclusion(
            index=index,
            size=size,
            leaf=LEAVES[index],
            proof=tree.inclusion_proof(index, size),
            root=tree.root(size),
        )
        merkle.verify_consistency(
            old_size=old,
            new_size=size,
            old_root=tree.root(old),
            new_root=tree.root(size),
            proof=tree.consistency_proof(old, size),
        )


def test_full_tiles_hold_the_hashes_of_their_subtrees(large: tuple[Store, Tree]) -> None:
    store, _ = large
    assert sorted(store.tiles) == [(0, n) for n in range(273)] + [(1, 0)]
    assert store.tiles[0, 3] == b"".join(LEAVES[3 * 256 : 4 * 256])
    assert store.tiles[1, 0] == b"".join(naive.root(LEAVES[n * 256 : (n + 1) * 256]) for n in range(256))


def test_each_full_tile_is_handed_out_once_in_order_of_completion() -> None:
    tree = Tree(Store().load_tile)
    for leaf in LEAVES[:65_536]:
        tree.append(leaf)
    taken = [(level, n) for level, n, _ in tree.take_full_tiles()]
    assert taken == [(0, n) for n in range(256)] + [(1, 0)]
    assert tree.take_full_tiles() == []


def test_a_taken_tile_is_readable_before_it_is_durable() -> None:
    tree = Tree(Store().load_tile)
    for leaf in LEAVES[:600]:
        tree.append(leaf)
    tree.take_full_tiles()
    proof = tree.inclusion_proof(100)
    merkle.verify_inclusion(index=100, size=600, leaf=LEAVES[100], proof=proof, root=tree.root())


def test_only_a_few_tiles_stay_in_memory(large: tuple[Store, Tree]) -> None:
    store, tree = large
    for n in range(CACHED_TILES + 10):
        tree.hash(0, n * 256)
    assert len(tree._cache) == CACHED_TILES
    store.tile_reads.clear()
    tree.hash(0, (CACHED_TILES + 9) * 256)
    assert store.tile_reads == []
    tree.hash(0, 0)
    assert store.tile_reads == [(0, 0)]


# Rollback


def test_a_batch_that_fails_leaves_the_tree_as_it_was() -> None:
    store = Store()
    tree = Tree(store.load_tile)
    store.record(tree, LEAVES[:300])
    root, proof = tree.root(), tree.inclusion_proof(299)

    before = tree.snapshot()
    for leaf in LEAVES[1000:1700]:
        tree.append(leaf)
    tree.take_full_tiles()
    assert tree.root() != root
    tree.rollback(before)

    assert (tree.size, tree.root(), tree.inclusion_proof(299)) == (300, root, proof)
    assert tree.take_full_tiles() == []
    assert tree._unsettled == {}
    with pytest.raises(Invalid):
        tree.hash(0, 300)


def test_the_same_size_comes_again_with_other_leaves_after_a_rollback() -> None:
    tree = Tree(Store().load_tile)
    before = tree.snapshot()
    tree.append(LEAVES[0])
    tree.append(LEAVES[1])
    assert tree.inclusion_proof(1) == (LEAVES[0],)
    tree.rollback(before)
    tree.append(LEAVES[2])
    tree.append(LEAVES[3])
    assert tree.root() == naive.root(LEAVES[2:4])
    assert tree.inclusion_proof(1) == (LEAVES[2],)


def test_a_batch_that_fails_over_the_end_of_a_level_1_tile_leaves_no_trace() -> None:
    store = Store()
    tree = Tree(store.load_tile)
    store.record(tree, LEAVES[:65_500])
    before = tree.snapshot()
    for leaf in LEAVES[:100]:
        tree.append(leaf)
    assert [(level, n) for level, n, _ in tree.take_full_tiles()] == [(0, 255), (1, 0)]
    tree.rollback(before)
    store.record(tree, LEAVES[65_500:65_600])
    assert tree.root() == naive.root(LEAVES[:65_600])
    assert store.tiles[0, 255] == b"".join(LEAVES[65_280:65_536])


def test_tiles_that_waited_before_the_batch_wait_again_after_a_rollback() -> None:
    tree = Tree(Store().load_tile)
    for leaf in LEAVES[:256]:
        tree.append(leaf)
    before = tree.snapshot()
    for leaf in LEAVES[256:512]:
        tree.append(leaf)
    assert len(tree.take_full_tiles()) == 2
    tree.rollback(before)
    assert [(level, n) for level, n, _ in tree.take_full_tiles()] == [(0, 0)]


def test_snapshots_nest_and_can_be_returned_to_more_than_once() -> None:
    tree = Tree(Store().load_tile)
    roots, snapshots = [], []
    for start in (0, 200, 400):
        for leaf in LEAVES[start : start + 200]:
            tree.append(leaf)
        roots.append(tree.root())
        snapshots.append(tree.snapshot())
    for i in (2, 1, 1, 0, 0):
        tree.append(LEAVES[-1])
        tree.rollback(snapshots[i])
        assert tree.root() == roots[i]


batches = st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans()), max_size=8)


@given(batches)
@settings(deadline=None, max_examples=40)
def test_any_sequence_of_batches_gives_the_tree_of_those_that_succeeded(
    plan: list[tuple[int, bool, bool]],
) -> None:
    store = Store()
    tree = Tree(store.load_tile)
    fresh = iter(LEAVES)
    for count, succeeds, proves in plan:
        batch = [next(fresh) for _ in range(count)]
        if succeeds:
            store.record(tree, batch)
        else:
            before = tree.snapshot()
            for leaf in batch:
                tree.append(leaf)
            if proves and tree.size:
                tree.inclusion_proof(tree.size - 1)
            if proves:
                tree.take_full_tiles()
            tree.rollback(before)
        assert tree.root() == naive.root(store.leaves)
    assert sorted(store.tiles) == [(0, n) for n in range(tree.size // 256)]
    for n in range(tree.size // 256):
        assert store.tiles[0, n] == b"".join(store.leaves[n * 256 : (n + 1) * 256])
    if tree.size:
        assert tree.inclusion_proof(0) == naive.path(0, store.leaves)


def test_a_rollback_behind_a_commit_is_our_own_bug() -> None:
    store = Store()
    tree = Tree(store.load_tile)
    before = tree.snapshot()
    store.record(tree, LEAVES[:3])
    with pytest.raises(AssertionError):
        tree.rollback(before)


def test_a_commit_that_forgets_full_tiles_is_our_own_bug() -> None:
    tree = Tree(Store().load_tile)
    for leaf in LEAVES[:256]:
        tree.append(leaf)
    with pytest.raises(AssertionError):
        tree.commit()


# Copy and load


def test_a_copy_goes_its_own_way() -> None:
    store = Store()
    tree = Tree(store.load_tile)
    store.record(tree, LEAVES[:300])
    before = tree.snapshot()
    for leaf in LEAVES[300:600]:
        tree.append(leaf)
    twin = tree.copy()
    tree.rollback(before)
    tree.append(LEAVES[-1])
    twin.append(LEAVES[600])
    assert tree.root() == naive.root([*LEAVES[:300], LEAVES[-1]])
    assert twin.root() == naive.root(LEAVES[:601])
    assert twin.inclusion_proof(400) == naive.path(400, LEAVES[:601])
    assert [(level, n) for level, n, _ in twin.take_full_tiles()] == [(0, 1)]


def test_a_copy_and_its_original_grow_apart() -> None:
    tree = Tree(Store().load_tile)
    tree.append(LEAVES[0])
    twin = tree.copy()
    tree.append(LEAVES[1])
    twin.append(LEAVES[2])
    assert tree.root() == naive.root(LEAVES[:2])
    assert twin.root() == naive.root([LEAVES[0], LEAVES[2]])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 65_535, 65_536, 65_537, 70_000])
def test_a_loaded_tree_is_the_one_that_was_appended(large: tuple[Store, Tree], size: int) -> None:
    store, tree = large
    loaded = store.load(size)
    assert (loaded.size, loaded.root(), loaded.take_full_tiles()) == (size, tree.root(size), [])

    # It also grows as the other would have: over the ends of tiles, and back.
    before = loaded.snapshot()
    for leaf in LEAVES[:300]:
        loaded.append(leaf)
    assert loaded.root() == naive.root(LEAVES[:size] + LEAVES[:300])
    loaded.rollback(before)
    assert loaded.root() == tree.root(size)


def test_loading_reads_only_the_tiles_under_the_edge(large: tuple[Store, Tree]) -> None:
    store, _ = large
    store.tile_reads.clear()
    store.load(70_000)
    assert store.tile_reads == [(0, n) for n in range(256, 273)] + [(1, 0)]


def test_loading_refuses_bytes_of_the_wrong_length(large: tuple[Store, Tree]) -> None:
    store, _ = large
    with pytest.raises(Tampered):
        Tree.load(300, lambda level, n: store.tiles[level, n][:-32], store.load_leaves)
    with pytest.raises(Tampered):
        Tree.load(300, store.load_tile, lambda start, stop: store.leaves[start : stop - 1])
    with pytest.raises(Tampered):
        Tree.load(1, store.load_tile, lambda start, stop: [b"short"])
    with pytest.raises(Invalid):
        Tree.load(-1, store.load_tile, store.load_leaves)
    loaded = Tree.load(300, store.load_tile, store.load_leaves)
    loaded._load_tile = lambda level, n: b""
    with pytest.raises(Tampered):
        loaded.hash(0, 0)


def test_what_is_not_in_the_tree_is_invalid() -> None:
    tree = Tree(Store().load_tile)
    with pytest.raises(Invalid):
        tree.inclusion_proof(0)
    for leaf in LEAVES[:5]:
        tree.append(leaf)
    for height, n in ((0, 5), (0, -1), (2, 1), (3, 0), (-1, 0)):
        with pytest.raises(Invalid):
            tree.hash(height, n)
    for index, size in ((5, None), (-1, None), (0, 6), (2, 2), (0, 0)):
        with pytest.raises(Invalid):
            tree.inclusion_proof(index, size)
    for old, new in ((6, None), (-1, None), (0, 6), (3, 2)):
        with pytest.raises(Invalid):
            tree.consistency_proof(old, new)
    for size in (6, -1):
        with pytest.raises(Invalid):
            tree.root(size)
    assert tree.root(0) == merkle.EMPTY_ROOT
    assert tree.consistency_proof(0, 0) == tree.consistency_proof(0) == tree.consistency_proof(5) == ()
