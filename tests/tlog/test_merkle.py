"""Hashes and proofs: published vectors, a second implementation, and everything that must not pass."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Invalid, VerificationError
from ledger.tlog import merkle
from tests.tlog import naive

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text())
HASHES = [base64.b64decode(text) for text in VECTORS["hashes"]]

# One vector of 196 has another verdict here: its roots are equal, and are 12 bytes of text. Whatever is not a hash of
# 32 bytes is refused before anything is compared with it.
STRICTER = {"additional/sizes-are-equal-one-and-proof-is-empty"}

LEAVES = [naive.leaf(b"entry %d" % i) for i in range(2100)]


def read(height: int, n: int) -> bytes:
    return naive.root(LEAVES[n << height : (n + 1) << height])


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda vector: vector[0])
def test_published_inclusion_vector(vector: list[Any]) -> None:
    _name, holds, index, size, leaf, root, proof = vector
    evidence = {"leaf": HASHES[leaf], "root": HASHES[root], "proof": [HASHES[i] for i in proof]}
    if holds:
        merkle.verify_inclusion(index=index, size=size, **evidence)
    else:
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(index=index, size=size, **evidence)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda vector: vector[0])
def test_published_consistency_vector(vector: list[Any]) -> None:
    name, holds, old_size, new_size, old_root, new_root, proof = vector
    evidence = {
        "old_root": HASHES[old_root],
        "new_root": HASHES[new_root],
        "proof": [HASHES[i] for i in proof],
    }
    if holds and name not in STRICTER:
        merkle.verify_consistency(old_size=old_size, new_size=new_size, **evidence)
    else:
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old_size=old_size, new_size=new_size, **evidence)


def test_all_published_vectors_are_here() -> None:
    assert (len(VECTORS["inclusion"]), len(VECTORS["consistency"])) == (98, 98)
    assert {v[0] for v in VECTORS["consistency"] if v[1]} > STRICTER


def test_hashes_are_those_of_the_rfc() -> None:
    assert merkle.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.node_hash(LEAVES[0], LEAVES[1]) == naive.root(LEAVES[:2])


def test_proofs_of_the_tree_of_seven_leaves_are_those_of_the_rfc() -> None:
    # RFC 6962 §2.1.3: the leaves a…f and j; g, h, i are their pairs; k = (g, h), l = (i, j).
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = (merkle.node_hash(*pair) for pair in ((a, b), (c, d), (e, f)))
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)  # noqa: E741 — as the RFC names it
    assert merkle.inclusion_proof(0, 7, read) == (b, h, l)
    assert merkle.inclusion_proof(3, 7, read) == (c, g, l)
    assert merkle.inclusion_proof(4, 7, read) == (f, j, k)
    assert merkle.inclusion_proof(6, 7, read) == (i, k)
    assert merkle.consistency_proof(3, 7, read) == (c, d, g, l)
    assert merkle.consistency_proof(4, 7, read) == (l,)
    assert merkle.consistency_proof(6, 7, read) == (i, j, k)


@pytest.mark.parametrize("size", range(1, 131))
def test_every_small_tree_agrees_with_the_definition(size: int) -> None:
    leaves = LEAVES[:size]
    rows = merkle.pyramid(leaves)
    root = naive.root(leaves)

    def read(height: int, n: int) -> bytes:
        return rows[height][n]

    assert merkle.root(size, read) == root
    edge = merkle.right_edge(size, read)
    assert (edge[0], edge[-1], len(edge)) == (leaves[-1], root, (size - 1).bit_length() + 1)
    for index in {0, size // 2, size - 1, (size - 1) & ~1}:
        proof = merkle.inclusion_proof(index, size, read)
        assert proof == naive.path(index, leaves) == merkle.inclusion_proof(index, size, read, edge=edge)
        merkle.verify_inclusion(index=index, size=size, leaf=leaves[index], proof=proof, root=root)
    for old in {1, size // 2 or 1, size - 1 or 1, 1 << size.bit_length() - 1} - {size}:
        proof = merkle.consistency_proof(old, size, read)
        assert proof == naive.proof(old, leaves) == merkle.consistency_proof(old, size, read, edge=edge)
        merkle.verify_consistency(
            old_size=old, new_size=size, old_root=naive.root(leaves[:old]), new_root=root, proof=proof
        )


@pytest.mark.parametrize("size", [5, 8, 31, 33])
def test_every_leaf_and_every_old_size_agrees_with_the_definition(size: int) -> None:
    leaves = LEAVES[:size]
    assert [merkle.inclusion_proof(i, size, read) for i in range(size)] == [naive.path(i, leaves) for i in range(size)]
    assert [merkle.consistency_proof(old, size, read) for old in range(1, size)] == [
        naive.proof(old, leaves) for old in range(1, size)
    ]


def test_larger_trees_agree_with_the_definition() -> None:
    chance = random.Random(6962)
    for _ in range(15):
        size = chance.randrange(131, len(LEAVES))
        index, old = chance.randrange(size), chance.randrange(1, size)
        leaves = LEAVES[:size]
        assert merkle.inclusion_proof(index, size, read) == naive.path(index, leaves)
        assert merkle.consistency_proof(old, size, read) == naive.proof(old, leaves)


def test_the_path_in_the_largest_tree_has_63_hashes() -> None:
    # All leaves alike: the subtree of a height is the same everywhere, so the tree need not be built.
    rows = [LEAVES[0]]
    for _ in range(63):
        rows.append(merkle.node_hash(rows[-1], rows[-1]))
    size = merkle.MAX_SIZE
    root = merkle.root(size, lambda height, n: rows[height])
    proof = merkle.inclusion_proof(0, size, lambda height, n: rows[height])
    assert len(proof) == 63
    merkle.verify_inclusion(index=0, size=size, leaf=rows[0], proof=proof, root=root)
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(index=0, size=size + 1, leaf=rows[0], proof=proof, root=root)


# What must not pass


@given(st.integers(1, 70), st.data())
@settings(deadline=None, max_examples=60)
def test_a_change_anywhere_in_an_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    good = {
        "index": index,
        "size": size,
        "leaf": LEAVES[index],
        "proof": naive.path(index, LEAVES[:size]),
        "root": naive.root(LEAVES[:size]),
    }
    merkle.verify_inclusion(**good)
    for bad in changes(good, data, ("leaf", "root")):
        refused_inclusion(**bad)
    refused_inclusion(**good | {"index": data.draw(st.integers(0, 200).filter(lambda i: i != index))})


@given(st.integers(2, 70), st.data())
@settings(deadline=None, max_examples=60)
def test_a_change_anywhere_in_a_consistency_proof_is_refused(new_size: int, data: st.DataObject) -> None:
    old_size = data.draw(st.integers(1, new_size - 1))
    good = {
        "old_size": old_size,
        "new_size": new_size,
        "old_root": naive.root(LEAVES[:old_size]),
        "new_root": naive.root(LEAVES[:new_size]),
        "proof": naive.proof(old_size, LEAVES[:new_size]),
    }
    merkle.verify_consistency(**good)
    for bad in changes(good, data, ("old_root", "new_root")):
        refused_consistency(**bad)


def changes(good: dict[str, Any], data: st.DataObject, hashes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Variants of evidence that holds: one bit of one hash flipped, a hash too many, too few, or out of order."""
    proof = good["proof"]
    bad = [good | {name: flip(good[name], data)} for name in hashes]
    bad += [good | {"proof": (*proof[:i], flip(proof[i], data), *proof[i + 1 :])} for i in range(len(proof))]
    bad += [good | {"proof": proof[:i] + proof[i + 1 :]} for i in range(len(proof))]
    bad += [good | {"proof": (*proof[:i], LEAVES[0], *proof[i:])} for i in range(len(proof) + 1)]
    if len(proof) > 1:
        bad.append(good | {"proof": proof[::-1]})
    return bad


def flip(value: bytes, data: st.DataObject) -> bytes:
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    return value[: bit // 8] + bytes([value[bit // 8] ^ 1 << bit % 8]) + value[bit // 8 + 1 :]


ROOT_2 = naive.root(LEAVES[:2])
NUMBERS = [-1, True, 2.0, "1", None, 2**63, 2**64, 10**30]
NOT_HASHES = [b"", b"x" * 31, b"x" * 33, "x" * 32, None, bytearray(32), 7]
NOT_PROOFS = [None, "ab", b"x" * 64, iter(()), {}, 3]


@pytest.mark.parametrize(
    "wrong",
    [{"index": number} for number in NUMBERS]
    + [{"size": number} for number in NUMBERS]
    + [{"leaf": value} for value in NOT_HASHES]
    + [{"root": value} for value in NOT_HASHES]
    + [{"proof": [value]} for value in NOT_HASHES]
    + [{"proof": value} for value in NOT_PROOFS]
    + [{"size": 0}, {"index": 2}, {"size": 1}, {"size": 3}, {"index": 1}],
)
def test_inclusion_evidence_of_a_wrong_kind_is_refused_and_nothing_else(wrong: dict[str, Any]) -> None:
    good = {"index": 0, "size": 2, "leaf": LEAVES[0], "proof": [LEAVES[1]], "root": ROOT_2}
    merkle.verify_inclusion(**good)
    refused_inclusion(**good | wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"old_size": number} for number in NUMBERS if number is not True]
    + [{"old_size": True}, {"old_size": 0}, {"old_size": 2}, {"old_size": 3}, {"new_size": 1}, {"new_size": 0}]
    + [{"new_size": number} for number in NUMBERS]
    + [{"old_root": value} for value in NOT_HASHES]
    + [{"new_root": value} for value in NOT_HASHES]
    + [{"proof": [value]} for value in NOT_HASHES]
    + [{"proof": value} for value in NOT_PROOFS]
    + [{"proof": []}, {"proof": [LEAVES[1]] * 64}],
)
def test_consistency_evidence_of_a_wrong_kind_is_refused_and_nothing_else(wrong: dict[str, Any]) -> None:
    good = {"old_size": 1, "new_size": 2, "old_root": LEAVES[0], "new_root": ROOT_2, "proof": [LEAVES[1]]}
    merkle.verify_consistency(**good)
    refused_consistency(**good | wrong)


def test_every_tree_extends_the_empty_one_and_only_with_an_empty_proof() -> None:
    good = {"old_size": 0, "new_size": 2, "old_root": merkle.EMPTY_ROOT, "new_root": ROOT_2, "proof": ()}
    merkle.verify_consistency(**good)
    merkle.verify_consistency(**good | {"new_size": 0, "new_root": merkle.EMPTY_ROOT})
    assert merkle.consistency_proof(0, 2, read) == merkle.consistency_proof(0, 0, read) == ()
    refused_consistency(**good | {"old_root": ROOT_2})
    refused_consistency(**good | {"proof": (LEAVES[1],)})
    refused_consistency(**good | {"new_size": 0})


def test_one_size_has_one_root() -> None:
    good = {"old_size": 2, "new_size": 2, "old_root": ROOT_2, "new_root": ROOT_2, "proof": ()}
    merkle.verify_consistency(**good)
    refused_consistency(**good | {"new_root": LEAVES[0]})
    refused_consistency(**good | {"proof": (LEAVES[0],)})


def test_building_out_of_range_is_invalid() -> None:
    for index, size in ((-1, 3), (3, 3), (0, 0), (0, merkle.MAX_SIZE + 1)):
        with pytest.raises(Invalid):
            merkle.inclusion_proof(index, size, read)
    for old, new in ((-1, 3), (4, 3), (0, merkle.MAX_SIZE + 1)):
        with pytest.raises(Invalid):
            merkle.consistency_proof(old, new, read)
    for size in (-1, merkle.MAX_SIZE + 1):
        with pytest.raises(Invalid):
            merkle.root(size, read)
    assert merkle.root(0, read) == merkle.EMPTY_ROOT


def refused_inclusion(**evidence: Any) -> None:
    with pytest.raises(VerificationError, match=r"^inclusion proof: "):
        merkle.verify_inclusion(**evidence)


def refused_consistency(**evidence: Any) -> None:
    with pytest.raises(VerificationError, match=r"^consistency proof: "):
        merkle.verify_consistency(**evidence)
