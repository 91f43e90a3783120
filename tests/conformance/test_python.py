"""PyPI's pymerkle and sigstore compute our roots, take our proofs, read our checkpoints, refuse what was changed."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import WitnessSigner, with_lines
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.tree import Tree

pytestmark = [
    pytest.mark.skipif(
        find_spec("pymerkle") is None or find_spec("sigstore") is None, reason="needs the extra: make conformance"
    ),
    # Their warnings are not ours to mend.
    pytest.mark.filterwarnings("default"),
]

SIZE = 300
SIGNER = Signer("example.com/conformance", b"s" * 32)


def entry(index: int) -> bytes:
    return b'{"index":%d}' % index


@pytest.fixture(scope="module")
def tree() -> Tree:
    full: dict[tuple[int, int], bytes] = {}
    found = Tree(lambda level, n: full[level, n])
    for index in range(SIZE):
        found.append(leaf_hash(entry(index)))
        for level, n, hashes in found.take_full_tiles():
            full[level, n] = hashes
        found.commit()
    return found


# --- pymerkle -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs() -> Any:
    from pymerkle import InmemoryTree

    found = InmemoryTree(algorithm="sha256")
    for index in range(SIZE):
        found.append_entry(entry(index))
    return found


def test_pymerkle_has_the_same_roots(tree: Tree, theirs: Any) -> None:
    for size in range(1, SIZE + 1):
        assert theirs.get_root(size) == tree.root(size)


def test_pymerkle_takes_our_inclusion_proofs(tree: Tree, theirs: Any) -> None:
    from pymerkle import InclusionProof, InvalidProof, verify_inclusion

    for size in (1, 2, 3, 100, 255, 256, 257, SIZE):
        for index in range(0, size, 7):
            rule = theirs.prove_inclusion(index + 1, size).rule
            ours = [*tree.inclusion_proof(index, size)]
            leaf = leaf_hash(entry(index))

            def check(
                path: list[bytes],
                root: bytes,
                leaf: bytes = leaf,
                size: int = size,
                index: int = index,
                rule: Any = rule,
            ) -> None:
                proof = InclusionProof("sha256", True, size, index + 1, rule, [leaf, *path])
                verify_inclusion(leaf, root, proof, index=index + 1, size=size)

            check(ours, tree.root(size))
            wrong = [(ours, bytes(32)), ([*ours, bytes(32)], tree.root(size))]
            if ours:
                wrong += [(ours[1:], tree.root(size)), ([bytes(32), *ours[1:]], tree.root(size))]
            for path, root in wrong:
                with pytest.raises(InvalidProof):
                    check(path, root)


def test_pymerkle_finds_our_roots_consistent(tree: Tree, theirs: Any) -> None:
    from pymerkle import InvalidProof, verify_consistency

    for old in (1, 2, 3, 100, 256, 299):
        for new in (old + 1, SIZE):
            proof = theirs.prove_consistency(old, new)
            verify_consistency(tree.root(old), tree.root(new), proof, prior_size=old, later_size=new)
            with pytest.raises(InvalidProof):
                verify_consistency(bytes(32), tree.root(new), proof)


# --- sigstore -------------------------------------------------------------------------------------------------


def test_sigstore_takes_our_inclusion_proofs(tree: Tree) -> None:
    from sigstore._internal.merkle import verify_merkle_inclusion
    from sigstore.errors import VerificationError

    def check(index: int, size: int, hashes: Any, root: bytes, body: bytes) -> None:
        proof = SimpleNamespace(log_index=index, tree_size=size, hashes=list(hashes), root_hash=root)
        verify_merkle_inclusion(SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=proof, canonicalized_body=body)))

    for size in (1, 2, 3, 100, 255, 256, 257, SIZE):
        for index in range(0, size, 7):
            proof, root = tree.inclusion_proof(index, size), tree.root(size)
            check(index, size, proof, root, entry(index))
            wrong = [
                (proof, root, entry(index + 1)),
                (proof, bytes(32), entry(index)),
                ((*proof, root), root, entry(index)),
            ]
            if proof:
                wrong.append(((bytes(32), *proof[1:]), root, entry(index)))
            for hashes, other, body in wrong:
                with pytest.raises(VerificationError):
                    check(index, size, hashes, other, body)


def test_sigstore_reads_our_checkpoints(tree: Tree) -> None:
    from sigstore._internal.rekor.checkpoint import SignedCheckpoint

    checkpoint = Checkpoint(SIGNER.name, SIZE, tree.root())
    witness = WitnessSigner("witness.example/w1", b"1" * 32)
    note = with_lines(sign_checkpoint(checkpoint, SIGNER), [witness.cosign(checkpoint.encode(), 5).rstrip("\n")])
    found = SignedCheckpoint.from_text(note.decode())
    assert found.checkpoint.origin == SIGNER.name
    assert (found.checkpoint.log_size, found.checkpoint.log_hash) == (SIZE, tree.root().hex())
    assert found.signed_note.note == checkpoint.encode()
    assert [(one.name, one.sig_hash) for one in found.signed_note.signatures] == [
        (SIGNER.name, SIGNER.verifier.key_id),
        (witness.key.name, witness.key.key_id),
    ]
