"""The witness: what it cosigns, what it refuses by which error, and that two requests have one winner."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import (
    Inconsistent,
    LogUnknown,
    SizeMismatch,
    StorageError,
    Unsigned,
    VerificationError,
)
from ledger.storage.witnessed import MAX_REFUSED, WitnessStore, create_store
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import WitnessSigner, cosignatures, with_lines
from ledger.tlog.merkle import EMPTY_ROOT, leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.tree import Tree
from ledger.tlog.witness import AddCheckpoint, Witness

LOG = Signer("example.com/log", b"l" * 32)
NEXT = Signer("example.com/log", b"n" * 32)
W1 = WitnessSigner("witness.example.com/w1", b"1" * 32)
NOW = 1_790_000_000


def tree_of(size: int, salt: bytes = b"") -> Tree:
    tree = Tree(lambda level, n: b"")
    for index in range(size):
        tree.append(leaf_hash(salt + b"%d" % index))
    return tree


TREE = tree_of(200)
OTHER = tree_of(200, b"other")


def note_of(size: int, tree: Tree = TREE, *signers: Signer) -> bytes:
    return sign_checkpoint(Checkpoint(LOG.name, size, tree.root(size)), *(signers or (LOG,)))


def request(old: int, new: int, tree: Tree = TREE, *signers: Signer) -> bytes:
    return AddCheckpoint(old, tree.consistency_proof(old, new), note_of(new, tree, *signers)).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_store(tmp_path / "witness.db")
    return tmp_path / "witness.db"


@pytest.fixture
def store(path: Path) -> Iterator[WitnessStore]:
    found = WitnessStore(path)
    yield found
    found.close()


@pytest.fixture
def witness(store: WitnessStore) -> Witness:
    return Witness(store, W1, [LOG.verifier, NEXT.verifier], now=lambda: NOW + 0.9)


def test_it_cosigns_what_extends_and_remembers_it_over_a_restart(
    witness: Witness, store: WitnessStore, path: Path
) -> None:
    for old, new in ((0, 7), (7, 7), (7, 130)):
        line = witness.add_checkpoint(request(old, new))
        (found,) = cosignatures(with_lines(note_of(new), [line.rstrip("\n")]), [W1.key])
        assert found.time_s == NOW
    store.close()
    again = WitnessStore(path)
    with pytest.raises(SizeMismatch) as caught:
        Witness(again, W1, [LOG.verifier], now=lambda: 0).add_checkpoint(request(7, 200))
    assert caught.value.size == 130
    again.close()


def test_it_is_durable_before_anything_is_signed(store: WitnessStore, path: Path) -> None:
    class Signer(WitnessSigner):
        def cosign(self, text: str, time_s: int) -> str:
            beside = WitnessStore(path)
            last = beside.last(LOG.name)
            beside.close()
            assert last is not None, "signed before it was committed"
            assert f"\n{last.size}\n" in text
            return super().cosign(text, time_s)

    witness = Witness(store, Signer("witness.example.com/w1", b"1" * 32), [LOG.verifier], now=lambda: NOW)
    witness.add_checkpoint(request(0, 7))
    witness.add_checkpoint(request(7, 8))


def test_an_empty_tree_can_come_first(witness: Witness) -> None:
    empty = sign_checkpoint(Checkpoint(LOG.name, 0, EMPTY_ROOT), LOG)
    witness.add_checkpoint(AddCheckpoint(0, (), empty).encode())
    witness.add_checkpoint(request(0, 3))


def test_either_key_of_a_rotation_is_enough(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 3, TREE, LOG))
    witness.add_checkpoint(request(3, 4, TREE, LOG, NEXT))
    witness.add_checkpoint(request(4, 5, TREE, NEXT))


def test_what_is_refused_and_how(witness: Witness, store: WitnessStore) -> None:
    witness.add_checkpoint(request(0, 100))
    stranger = Signer("example.com/other", b"l" * 32)
    unknown = sign_checkpoint(Checkpoint(stranger.name, 3, TREE.root(3)), stranger)
    with pytest.raises(LogUnknown):
        witness.add_checkpoint(AddCheckpoint(0, (), unknown).encode())
    with pytest.raises(Unsigned):
        witness.add_checkpoint(request(100, 120, TREE, Signer(LOG.name, b"x" * 32)))
    with pytest.raises(VerificationError, match="beyond") as caught:
        witness.add_checkpoint(AddCheckpoint(130, (), note_of(120)).encode())
    assert type(caught.value) is VerificationError
    with pytest.raises(SizeMismatch) as mismatch:
        witness.add_checkpoint(request(0, 120))
    assert mismatch.value.size == 100
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(request(100, 120, OTHER))
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(AddCheckpoint(100, TREE.consistency_proof(100, 120)[1:], note_of(120)).encode())
    with pytest.raises(SizeMismatch) as mismatch:
        witness.add_checkpoint(AddCheckpoint(100, (), note_of(100, OTHER)).encode())
    assert mismatch.value.size == 100
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(AddCheckpoint(100, TREE.consistency_proof(50, 100), note_of(100)).encode())
    # Two roots for one size, both signed: what was refused is kept as evidence.
    assert (LOG.name, 100, note_of(100, OTHER)) in store.refused()
    last = store.last(LOG.name)
    assert last is not None
    assert (last.size, last.root) == (100, TREE.root(100))


def test_a_proof_from_nothing_must_be_empty(witness: Witness) -> None:
    with pytest.raises(Inconsistent):
        witness.add_checkpoint(AddCheckpoint(0, (bytes(32),), note_of(3)).encode())


def test_refused_checkpoints_do_not_fill_the_disk(witness: Witness, store: WitnessStore) -> None:
    witness.add_checkpoint(request(0, 10))
    for size in range(11, 11 + MAX_REFUSED + 20):
        with pytest.raises(Inconsistent):
            witness.add_checkpoint(AddCheckpoint(10, (), note_of(size, OTHER)).encode())
    assert len(store.refused()) == MAX_REFUSED


GOOD = request(5, 20)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 5\n",
        GOOD.replace(b"old 5", b"old 05", 1),
        GOOD.replace(b"old 5", b"old -5", 1),
        GOOD.replace(b"old 5", b"old  5", 1),
        GOOD.replace(b"old 5", b"Old 5", 1),
        GOOD.replace(b"old 5", b"old 9223372036854775808", 1),
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"=\n", b"\n", 1),
        GOOD.replace(b"\n\n", b"\n", 1),
        GOOD[: GOOD.index(b"\n\n") + 2],
        b"old 5\n" + b"\n".join([b"A" * 43 + b"="] * 64) + GOOD[GOOD.index(b"\n\n") :],
        b"old 5\nAAAA" + GOOD[GOOD.index(b"\n\n") :],
        b"old \xff\n" + GOOD,
        GOOD + b"x",
        b"old 5\n\n" + b"x" * 2_000_000,
    ],
)
def test_what_is_malformed_is_named_so(witness: Witness, body: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        witness.add_checkpoint(body)
    assert type(caught.value) is VerificationError


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_request_is_cosigned_for_another_tree(witness: Witness, data: st.DataObject) -> None:
    """Flip, drop, swap or splice bytes of a request: it is refused, or it still says what the log signed."""
    body = bytearray(request(0, 10))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(("flip", "drop", "swap", "splice"))):
            case "flip":
                body[at] ^= 1 << data.draw(st.integers(0, 7))
            case "drop":
                del body[at]
            case "swap":
                other = data.draw(st.integers(0, len(body) - 1))
                body[at], body[other] = body[other], body[at]
            case "splice":
                start = data.draw(st.integers(0, len(body)))
                body[at:at] = body[start : start + data.draw(st.integers(0, 200))]
    try:
        line = witness.add_checkpoint(bytes(body))
    except VerificationError:
        return
    (found,) = cosignatures(with_lines(note_of(10), [line.rstrip("\n")]), [W1.key])
    assert found.time_s == NOW


def test_of_concurrent_requests_one_wins_and_nothing_goes_back(path: Path) -> None:
    """Two stores stand for two processes on one file; each round both sides of a fork ask from the same size."""
    stores = [WitnessStore(path) for _ in range(2)]
    witnesses = [Witness(store, W1, [LOG.verifier], now=lambda: NOW) for store in stores]
    forks = [tree_of(200), tree_of(200, b"fork")]
    won: list[tuple[int, int]] = []
    lock = threading.Lock()

    def ask(side: int, barrier: threading.Barrier) -> None:
        for number in range(25):
            barrier.wait()
            last = stores[side].last(LOG.name)
            old = last.size if last is not None else 0
            try:
                witnesses[side].add_checkpoint(request(old, old + 3, forks[side % 2]))
            except (SizeMismatch, Inconsistent):
                continue
            with lock:
                won.append((number, side))

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=ask, args=(side, barrier)) for side in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sides = {side for _, side in won}
    assert len(sides) == 1, "both sides of a fork were cosigned"
    last = stores[0].last(LOG.name)
    assert last is not None
    assert last.size == 3 * len(won)
    assert last.root == forks[sides.pop()].root(last.size)
    for store in stores:
        store.close()


def test_a_store_is_never_made_over_another_nor_silently_anew(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="for ever"):
        create_store(path)
    with pytest.raises(StorageError, match="no such file"):
        WitnessStore(tmp_path / "other.db")
