"""The published test vectors: what the second implementation makes, and what ours agrees with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger import canonical
from ledger.entry import parse
from ledger.sealing import commitment
from ledger.tlog import merkle
from ledger.tlog.index import Index, IndexProof, TagState, key_of, leaf_node, replay
from ledger.tlog.note import Verifier
from ledger.tlog.proof import LogProof
from projections.evidence import verify
from tests.spec.vectors import DIRECTORY, VECTORS, text_of


def vector(name: str) -> Any:
    return json.loads((DIRECTORY / f"{name}.json").read_text())


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_file_is_what_the_second_implementation_makes(name: str) -> None:
    assert (DIRECTORY / f"{name}.json").read_text() == text_of(name), "run: python -m tests.spec.vectors"


def test_there_is_no_file_that_nobody_makes() -> None:
    assert {path.stem for path in Path(DIRECTORY).iterdir()} == set(VECTORS)


def test_field_commitments_agree() -> None:
    for case in vector("field-commitment")["cases"]:
        salt, value, expected = (bytes.fromhex(case[name]) for name in ("salt", "value", "commitment"))
        if "json" in case:
            assert canonical.encode(case["json"]) == value
        assert commitment(salt, case["name"], value) == expected
        assert verify.commitment(salt, case["name"], value) == expected
        assert verify.base64url(expected) == case["in_entry"]


def test_entries_agree() -> None:
    published = vector("entry")
    for case in published["entries"]:
        data = bytes.fromhex(case["bytes"])
        canonical.decode(data, "entry")
        assert data.decode() == case["text"]
        assert (parse(data).index, parse(data).ledger) == (case["index"], published["ledger"])
        assert merkle.leaf_hash(data).hex() == case["leaf"]


def test_trees_agree() -> None:
    published = vector("merkle")
    leaves = [merkle.leaf_hash(bytes.fromhex(data)) for data in published["leaves"]]
    for tree in published["trees"]:
        size, root = tree["size"], bytes.fromhex(tree["root"])
        rows = merkle.pyramid(leaves[:size])
        assert merkle.root(size, lambda height, n, rows=rows: rows[height][n]) == root
        for index, hashes in enumerate(tree["inclusion"]):
            proof = [bytes.fromhex(node) for node in hashes]
            merkle.verify_inclusion(index=index, size=size, leaf=leaves[index], proof=proof, root=root)
        for old, hashes in tree["consistency_from"].items():
            proof = [bytes.fromhex(node) for node in hashes]
            old_root = bytes.fromhex(published["trees"][int(old)]["root"])
            merkle.verify_consistency(old_size=int(old), new_size=size, old_root=old_root, new_root=root, proof=proof)
            verify.check_consistency(
                verify.Checkpoint("", int(old), old_root), verify.Checkpoint("", size, root), proof
            )


def test_the_checkpoint_and_the_receipt_agree() -> None:
    published = vector("checkpoint")
    verifier = Verifier.parse(published["verifier_key"])
    proof = LogProof.parse(published["tlog_proof"].encode())
    found = proof.verify(bytes.fromhex(published["entry"]), verifier, verifier.name)
    assert (proof.index, found.size) == (published["index"], 5)
    assert proof.checkpoint == published["note"].encode()


def test_the_tag_index_agrees() -> None:
    published = vector("tag-index")
    ledger = published["ledger"]
    states: dict[str, TagState] = {}
    for case in published["tags"]:
        leaves = [bytes.fromhex(leaf) for leaf in case["leaf_hashes"]]
        key = key_of(ledger, case["tag"])
        states[case["tag"]] = TagState(len(leaves), replay(leaves))
        assert key.hex() == case["key"]
        assert [replay(leaves[:n]).hex() for n in range(len(leaves) + 1)] == case["heads"]
        assert leaf_node(key, len(leaves), replay(leaves)).hex() == case["leaf"]
    ways = set()
    for case in published["indexes"]:
        index = Index(ledger)
        index.states = {tag: states[tag] for tag in case["tags"]}
        assert index.root().hex() == case["root"]
        for each in case["proofs"]:
            proof = index.prove(each["tag"])
            assert proof.encode().decode() == each["file"]
            found = IndexProof.parse(each["file"].encode()).verify(index.root(), ledger)
            assert found == index.states.get(each["tag"])
            ways.add(each["ends_in"])
    assert ways == {"its leaf", "another leaf", "nothing"}


def test_the_package_verifies_but_for_the_program_that_is_not_in_it() -> None:
    published = vector("package")
    members = {each["name"]: bytes.fromhex(each["bytes"]) for each in published["members"]}
    members |= {"verify.py": verify.own_source(), "README.txt": b""}
    key = verify.parse_key(published["verifier_key"])
    members["README.txt"] = verify.readme(verify.examine(members, key, verify.Sheet()))
    report = verify.verify_package(b"".join(verify.zip_pieces(members)), key)
    assert report.proven
    # Of witnesses nothing is claimed without their keys.
    assert {claim.verdict for claim in report.claims if claim.id != "witness"} == {"proven"}
