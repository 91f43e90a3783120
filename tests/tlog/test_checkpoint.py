"""Checkpoints: to the byte of the specification, of this log, signed by this log."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Invalid, VerificationError
from ledger.tlog import note
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.tlog.merkle import EMPTY_ROOT, MAX_SIZE
from ledger.tlog.note import Signer

ORIGIN = "ledger.example/records"
SIGNER = Signer(ORIGIN, bytes(range(32)))
NEXT_SIGNER = Signer(ORIGIN, bytes(range(1, 33)))
WITNESS = Signer("witness.example", bytes(range(2, 34)))
ROOT = bytes(range(100, 132))
ROOT64 = base64.b64encode(ROOT).decode()
CHECKPOINT = Checkpoint(ORIGIN, 41, ROOT)

# The example of c2sp.org/tlog-checkpoint.
PUBLISHED = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_published_checkpoint_reads_both_ways() -> None:
    checkpoint = Checkpoint.parse(PUBLISHED)
    assert (checkpoint.origin, checkpoint.size, checkpoint.extensions) == ("example.com/behind-the-sofa", 20852163, ())
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.encode() == PUBLISHED


lines = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)
checkpoints = st.builds(
    Checkpoint,
    lines,
    st.integers(0, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
    st.lists(lines, max_size=3).map(tuple),
)


@given(checkpoints)
@settings(deadline=None)
def test_every_checkpoint_reads_both_ways(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint


@given(st.text())
@settings(deadline=None)
def test_a_text_is_a_checkpoint_in_one_spelling_or_refused(text: str) -> None:
    for candidate in (
        text,
        f"{ORIGIN}\n{text}\n{ROOT64}\n",
        f"{ORIGIN}\n1\n{text}\n",
        f"{ORIGIN}\n1\n{ROOT64}\n{text}",
    ):
        with suppress(VerificationError):
            assert Checkpoint.parse(candidate).encode() == candidate


def test_a_signed_checkpoint_opens() -> None:
    signed = sign_checkpoint(CHECKPOINT, SIGNER)
    assert signed.startswith(f"{ORIGIN}\n41\n{ROOT64}\n\n— {ORIGIN} ".encode())
    assert open_checkpoint(signed, SIGNER.verifier, ORIGIN) == CHECKPOINT
    assert open_checkpoint(signed, [SIGNER.verifier], ORIGIN) == CHECKPOINT
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert open_checkpoint(sign_checkpoint(empty, SIGNER), SIGNER.verifier, ORIGIN) == empty


def test_either_key_opens_a_checkpoint_that_both_signed() -> None:
    signed = sign_checkpoint(CHECKPOINT, SIGNER, NEXT_SIGNER)
    for verifiers in (SIGNER.verifier, NEXT_SIGNER.verifier, [NEXT_SIGNER.verifier, SIGNER.verifier]):
        assert open_checkpoint(signed, verifiers, ORIGIN) == CHECKPOINT


def test_one_flipped_bit_anywhere_refuses_the_checkpoint() -> None:
    signed = sign_checkpoint(CHECKPOINT, SIGNER)
    for at in range(len(signed)):
        for bit in range(8):
            forged = bytearray(signed)
            forged[at] ^= 1 << bit
            with pytest.raises(VerificationError):
                open_checkpoint(bytes(forged), SIGNER.verifier, ORIGIN)


def test_extension_lines_of_another_log_are_kept_and_ours_has_none() -> None:
    other = replace(CHECKPOINT, extensions=("one", "two three"))
    assert Checkpoint.parse(other.encode()) == other
    assert open_checkpoint(note.sign(other.encode(), SIGNER), SIGNER.verifier, ORIGIN) == other
    with pytest.raises(Invalid):
        sign_checkpoint(other, SIGNER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        f"{ORIGIN}\n41\n",
        f"{ORIGIN}\n41\n{ROOT64}",
        f"\n41\n{ROOT64}\n",
        f"{ORIGIN}\n\n{ROOT64}\n",
        f"{ORIGIN}\n41\n\n",
        f"{ORIGIN}\n41\n{ROOT64}\n\n",
        f"{ORIGIN}\n41\n{ROOT64}\n\nextension\n",
        f"{ORIGIN}\n041\n{ROOT64}\n",
        f"{ORIGIN}\n00\n{ROOT64}\n",
        f"{ORIGIN}\n+41\n{ROOT64}\n",
        f"{ORIGIN}\n-1\n{ROOT64}\n",
        f"{ORIGIN}\n 41\n{ROOT64}\n",
        f"{ORIGIN}\n41 \n{ROOT64}\n",
        f"{ORIGIN}\n4_1\n{ROOT64}\n",
        f"{ORIGIN}\n0x29\n{ROOT64}\n",
        f"{ORIGIN}\n41.0\n{ROOT64}\n",
        f"{ORIGIN}\n٤١\n{ROOT64}\n",
        f"{ORIGIN}\n{MAX_SIZE + 1}\n{ROOT64}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT64}\n",
        f"{ORIGIN}\n41\n{ROOT64[:-1]}\n",
        f"{ORIGIN}\n41\n{ROOT64} \n",
        f"{ORIGIN}\n41\n{ROOT64[:-2]}{chr(ord(ROOT64[-2]) + 1)}=\n",
        f"{ORIGIN}\n41\n{base64.b64encode(ROOT[:-1]).decode()}\n",
        f"{ORIGIN}\n41\n{base64.b64encode(ROOT + b'x').decode()}\n",
        f"{ORIGIN}\n41\n{ROOT.hex()}\n",
        f"{ORIGIN}\r\n41\r\n{ROOT64}\r\n",
        f"a\tb\n41\n{ROOT64}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused_though_signed(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text)
    if note.is_text(text):
        with pytest.raises(VerificationError):
            open_checkpoint(note.sign(text, SIGNER), SIGNER.verifier, ORIGIN)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = Signer("ledger.example/access", bytes(32))
    signed = sign_checkpoint(replace(CHECKPOINT, origin=other.name), other)
    with pytest.raises(VerificationError):
        open_checkpoint(signed, [SIGNER.verifier, other.verifier], ORIGIN)
    # The key is ours, the text another log's.
    with pytest.raises(VerificationError, match=r"^origin: "):
        open_checkpoint(note.sign(replace(CHECKPOINT, origin="x").encode(), SIGNER), SIGNER.verifier, ORIGIN)


def test_a_witness_never_stands_in_for_the_log() -> None:
    known = [SIGNER.verifier, WITNESS.verifier]
    assert open_checkpoint(note.sign(CHECKPOINT.encode(), SIGNER, WITNESS), known, ORIGIN) == CHECKPOINT
    with pytest.raises(VerificationError, match="not signed by"):
        open_checkpoint(note.sign(CHECKPOINT.encode(), WITNESS), known, ORIGIN)
    with pytest.raises(Invalid):
        sign_checkpoint(CHECKPOINT, SIGNER, WITNESS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": ""},
        {"origin": "a\nb"},
        {"origin": "a\tb"},
        {"origin": "\ud800"},
        {"size": -1},
        {"size": MAX_SIZE + 1},
        {"root": b""},
        {"root": ROOT + b"x"},
        {"extensions": ("",)},
        {"extensions": ("a\nb",)},
    ],
)
def test_a_checkpoint_that_could_not_be_read_back_is_invalid(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        replace(CHECKPOINT, **wrong).encode()  # type: ignore[arg-type]
