"""Cosignatures: the bytes of c2sp.org/tlog-cosignature, and what is not one."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Invalid, VerificationError
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.tlog.cosignature import WitnessKey, WitnessSigner, cosignatures, with_lines
from ledger.tlog.note import Signer, decode_base64, signature_line

LOG = Signer("example.com/log", b"l" * 32)
W1 = WitnessSigner("witness.example.com/w1", b"1" * 32)
W2 = WitnessSigner("witness.example.com/w2", b"2" * 32)
CHECKPOINT = Checkpoint(LOG.name, 20852163, b"r" * 32)
TEXT = CHECKPOINT.encode()
NOTE = sign_checkpoint(CHECKPOINT, LOG)
TIME = 1679315147


def cosigned(*signers: WitnessSigner, time_s: int = TIME) -> bytes:
    return with_lines(NOTE, [signer.cosign(TEXT, time_s).rstrip("\n") for signer in signers])


def test_the_bytes_are_those_of_the_specification() -> None:
    """Taken apart by the definition, without the code under test: key id, time, and the message that is signed."""
    line = W1.cosign(TEXT, TIME)
    dash, name, encoded = line.rstrip("\n").split(" ")
    data = decode_base64(encoded, "test")
    public = W1.key.public_key
    assert (dash, name) == ("\u2014", "witness.example.com/w1")
    assert data[:4] == sha256(b"witness.example.com/w1\n\x04" + public).digest()[:4]
    assert int.from_bytes(data[4:12], "big") == TIME
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    Ed25519PublicKey.from_public_bytes(public).verify(data[12:], message)
    assert len(data) == 4 + 8 + 64


def test_keys_have_one_spelling() -> None:
    assert WitnessKey.parse(str(W1.key)) == W1.key
    assert WitnessSigner.parse(W1.encode()).key == W1.key
    assert "1111" not in repr(W1)
    plain = str(LOG.verifier)
    for wrong in (plain, "", "a", str(W1.key) + "=", str(W1.key).replace("w1", "w2"), str(W1.key)[:-4]):
        with pytest.raises(VerificationError):
            WitnessKey.parse(wrong)
    for wrong in (LOG.encode(), "", W1.encode()[:-4], W1.encode().replace("w1", "w2")):
        with pytest.raises(Invalid):
            WitnessSigner.parse(wrong)


def test_known_cosignatures_are_found_in_order_and_others_ignored() -> None:
    note = cosigned(W2, W1)
    assert [(one.witness, one.time_s) for one in cosignatures(note, [W1.key, W2.key])] == [
        (W2.key, TIME),
        (W1.key, TIME),
    ]
    assert [one.witness for one in cosignatures(note, [W1.key])] == [W1.key]
    assert cosignatures(NOTE, [W1.key]) == ()
    assert open_checkpoint(note, LOG.verifier, LOG.name) == CHECKPOINT
    assert with_lines(note, [W1.cosign(TEXT, TIME).rstrip("\n")]) == note


def test_a_signature_of_the_log_is_no_cosignature() -> None:
    """The same key under the type of a log: another key id, so it is a stranger's; with a forged id it fails."""
    as_log = Signer(W1.key.name, b"1" * 32)
    assert cosignatures(sign_checkpoint(CHECKPOINT, LOG, Signer(LOG.name, b"1" * 32)), [W1.key]) == ()
    claim = signature_line(W1.key.name, W1.key.key_id, bytes(8) + as_log.sign(TEXT.encode()))
    forged = with_lines(NOTE, [claim])
    with pytest.raises(VerificationError):
        cosignatures(forged, [W1.key])


@pytest.mark.parametrize("time_s", [-1, 2**63])
def test_no_time_beyond_63_bits(time_s: int) -> None:
    with pytest.raises(Invalid):
        W1.cosign(TEXT, time_s)
    if time_s > 0:
        with pytest.raises(VerificationError, match="time"):
            W1.key.verify(TEXT.encode(), time_s.to_bytes(8, "big") + bytes(64))
    assert cosignatures(cosigned(W1, time_s=2**63 - 1), [W1.key])[0].time_s == 2**63 - 1


@given(st.data())
def test_no_changed_byte_gives_another_cosignature(data: st.DataObject) -> None:
    """Flip, drop, swap or splice bytes: the same statement or none, and no error but VerificationError."""
    note = bytearray(cosigned(W1, W2))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(note) - 1))
        match data.draw(st.sampled_from(("flip", "drop", "swap", "splice"))):
            case "flip":
                note[at] ^= 1 << data.draw(st.integers(0, 7))
            case "drop":
                del note[at]
            case "swap":
                other = data.draw(st.integers(0, len(note) - 1))
                note[at], note[other] = note[other], note[at]
            case "splice":
                start = data.draw(st.integers(0, len(note)))
                note[at:at] = note[start : start + data.draw(st.integers(0, 200))]
    try:
        found = cosignatures(bytes(note), [W1.key, W2.key])
    except VerificationError:
        return
    honest = {one.line for one in cosignatures(cosigned(W1, W2), [W1.key, W2.key])}
    assert {one.line for one in found} <= honest
    if found:
        # What a witness vouches for is the text, to the byte.
        assert bytes(note).startswith(TEXT.encode() + b"\n")
