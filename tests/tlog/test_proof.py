"""Log proofs: they convince offline, and any one changed byte unconvinces."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Invalid, VerificationError
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.merkle import MAX_SIZE
from ledger.tlog.note import MAX_NOTE_BYTES, Signer
from ledger.tlog.proof import MAX_EXTRA_BYTES, MAX_HASHES, MAX_PROOF_BYTES, LogProof
from tests.tlog import naive

ORIGIN = "ledger.example/records"
SIGNER = Signer(ORIGIN, bytes(range(32)))
ENTRIES = [b'{"index":%d}' % i for i in range(21)]
LEAVES = [naive.leaf(entry) for entry in ENTRIES]
CHECKPOINT = Checkpoint(ORIGIN, 21, naive.root(LEAVES))
SIGNED = sign_checkpoint(CHECKPOINT, SIGNER)
PROOF = LogProof(12, naive.path(12, LEAVES), SIGNED)


def verify(data: bytes, entry: bytes = ENTRIES[12]) -> Checkpoint:
    return LogProof.parse(data).verify(entry, SIGNER.verifier, ORIGIN)


def test_the_file_is_that_of_the_specification() -> None:
    hashes = "".join(base64.b64encode(item).decode() + "\n" for item in PROOF.hashes)
    assert PROOF.encode() == f"c2sp.org/tlog-proof@v1\nindex 12\n{hashes}\n".encode() + SIGNED
    with_extra = replace(PROOF, extra=b"\x00\xff").encode()
    assert with_extra == f"c2sp.org/tlog-proof@v1\nextra AP8=\nindex 12\n{hashes}\n".encode() + SIGNED


@pytest.mark.parametrize("index", range(21))
def test_a_proof_of_every_entry_convinces_offline(index: int) -> None:
    data = LogProof(index, naive.path(index, LEAVES), SIGNED).encode()
    assert verify(data, ENTRIES[index]) == CHECKPOINT


def test_the_proof_of_the_only_entry_has_no_hashes() -> None:
    signed = sign_checkpoint(Checkpoint(ORIGIN, 1, LEAVES[0]), SIGNER)
    data = LogProof(0, (), signed).encode()
    assert data == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + signed
    assert verify(data, ENTRIES[0]).size == 1


def test_one_flipped_bit_anywhere_refuses_the_proof() -> None:
    data = PROOF.encode()
    for at in range(len(data)):
        for bit in range(8):
            forged = bytearray(data)
            forged[at] ^= 1 << bit
            with pytest.raises(VerificationError):
                verify(bytes(forged))


def test_a_byte_too_many_or_too_few_anywhere_refuses_the_proof() -> None:
    data = PROOF.encode()
    for at in range(len(data)):
        for forged in (
            data[:at],
            data[:at] + data[at + 1 :],
            data[:at] + b"\n" + data[at:],
            data[:at] + b"A" + data[at:],
        ):
            with pytest.raises(VerificationError):
                verify(forged)


def test_a_flipped_bit_in_the_entry_refuses_the_proof() -> None:
    entry = ENTRIES[12]
    for bit in range(len(entry) * 8):
        forged = bytearray(entry)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError, match=r"^inclusion proof: "):
            verify(PROOF.encode(), bytes(forged))


def test_a_node_of_the_tree_does_not_pass_for_an_entry() -> None:
    # RFC 6962 §2.1: the prefixes 0x00 and 0x01 keep leaves and nodes apart.
    pair = LEAVES[12] + LEAVES[13]
    with pytest.raises(VerificationError):
        replace(PROOF, index=6, hashes=PROOF.hashes[1:]).verify(pair, SIGNER.verifier, ORIGIN)


def test_a_proof_is_refused_with_another_key_or_for_another_log() -> None:
    stranger = Signer(ORIGIN, bytes(32)).verifier
    with pytest.raises(VerificationError):
        PROOF.verify(ENTRIES[12], stranger, ORIGIN)
    with pytest.raises(VerificationError):
        PROOF.verify(ENTRIES[12], [], ORIGIN)
    with pytest.raises(VerificationError):
        PROOF.verify(ENTRIES[12], SIGNER.verifier, "ledger.example/access")


def test_a_proof_against_an_older_checkpoint_than_the_entry_is_refused() -> None:
    older = sign_checkpoint(Checkpoint(ORIGIN, 12, naive.root(LEAVES[:12])), SIGNER)
    with pytest.raises(VerificationError, match="beyond size"):
        replace(PROOF, checkpoint=older).verify(ENTRIES[12], SIGNER.verifier, ORIGIN)


def test_extra_data_is_carried_and_never_authenticated() -> None:
    with_extra = replace(PROOF, extra=b"anybody may have written this")
    assert LogProof.parse(with_extra.encode()) == with_extra
    assert verify(with_extra.encode()) == verify(replace(with_extra, extra=b"anything").encode()) == CHECKPOINT


proofs = st.builds(
    LogProof,
    st.integers(0, MAX_SIZE - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_HASHES).map(tuple),
    st.binary(min_size=1, max_size=200),
    st.binary(max_size=50),
)


@given(proofs)
@settings(deadline=None)
def test_every_proof_reads_both_ways(proof: LogProof) -> None:
    assert LogProof.parse(proof.encode()) == proof


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_bytes_are_a_proof_in_one_spelling_or_refused(data: bytes) -> None:
    head = b"c2sp.org/tlog-proof@v1\n"
    for candidate in (data, head + data, head + b"index 0\n" + data, head + b"extra AA==\n" + data):
        with suppress(VerificationError):
            assert LogProof.parse(candidate).encode() == candidate


HASH = base64.b64encode(LEAVES[0]).decode()
HEAD = "c2sp.org/tlog-proof@v1\n"


@pytest.mark.parametrize(
    "head",
    [
        "",
        "\n",
        HEAD,
        "c2sp.org/tlog-proof@v2\nindex 0\n",
        "C2SP.org/tlog-proof@v1\nindex 0\n",
        "c2sp.org/tlog-proof@v1 \nindex 0\n",
        "c2sp.org/tlog-proof@v1\r\nindex 0\r\n",
        f" {HEAD}index 0\n",
        f"{HEAD}index\n",
        f"{HEAD}index \n",
        f"{HEAD}index 00\n",
        f"{HEAD}index 01\n",
        f"{HEAD}index -1\n",
        f"{HEAD}index +1\n",
        f"{HEAD}index  1\n",
        f"{HEAD}index 1 \n",
        f"{HEAD}index 1_0\n",
        f"{HEAD}index ١\n",
        f"{HEAD}index {MAX_SIZE}\n",
        f"{HEAD}index {'1' * 5000}\n",
        f"{HEAD}Index 0\n",
        f"{HEAD}{HASH}\nindex 0\n",
        f"{HEAD}index 0\nindex 0\n",
        f"{HEAD}index 0\nextra AA==\n",
        f"{HEAD}extra AA==\n",
        f"{HEAD}extra \nindex 0\n",
        f"{HEAD}extra\nindex 0\n",
        f"{HEAD}extra AB==\nindex 0\n",
        f"{HEAD}extra AA\nindex 0\n",
        f"{HEAD}extra AA==\nextra AA==\nindex 0\n",
        f"{HEAD}extra {base64.b64encode(bytes(MAX_EXTRA_BYTES + 1)).decode()}\nindex 0\n",
        f"{HEAD}index 0\n{HASH} \n",
        f"{HEAD}index 0\n{HASH[:-1]}\n",
        f"{HEAD}index 0\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{HEAD}index 0\n{base64.b64encode(bytes(33)).decode()}\n",
        f"{HEAD}index 0\n{HASH[:20]}õ{HASH[21:]}\n",
        HEAD + "index 0\n" + f"{HASH}\n" * (MAX_HASHES + 1),
    ],
)
def test_a_malformed_proof_is_refused(head: str) -> None:
    with pytest.raises(VerificationError, match=r"^log proof: "):
        LogProof.parse(head.encode() + b"\n" + SIGNED)


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", f"{HEAD}index 0\n".encode(), f"{HEAD}index 0\n\n".encode(), bytes(MAX_PROOF_BYTES + 1)],
)
def test_a_proof_without_its_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError, match=r"^log proof: "):
        LogProof.parse(data)


def test_a_proof_at_the_limits_is_read() -> None:
    largest = LogProof(MAX_SIZE - 1, (LEAVES[0],) * MAX_HASHES, b"x" * MAX_NOTE_BYTES, b"x" * MAX_EXTRA_BYTES)
    data = largest.encode()
    assert len(data) <= MAX_PROOF_BYTES
    assert LogProof.parse(data) == largest
    with pytest.raises(VerificationError):
        LogProof.parse(data + b"x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": -1},
        {"index": MAX_SIZE},
        {"hashes": (b"short",)},
        {"hashes": (LEAVES[0],) * (MAX_HASHES + 1)},
        {"checkpoint": b""},
        {"checkpoint": b"x" * (MAX_NOTE_BYTES + 1)},
        {"extra": b"x" * (MAX_EXTRA_BYTES + 1)},
    ],
)
def test_a_proof_that_could_not_be_read_back_is_invalid(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        replace(PROOF, **wrong).encode()  # type: ignore[arg-type]


def test_the_path_built_here_is_the_path_that_convinces() -> None:
    rows = merkle.pyramid(LEAVES)
    built = merkle.inclusion_proof(12, 21, lambda height, n: rows[height][n])
    assert replace(PROOF, hashes=built) == PROOF
