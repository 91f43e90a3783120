"""Ed25519 in pure Python: the RFC's vectors, another implementation's opinion, and what a strict one refuses."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.evidence.verify import Failed, check_ed25519

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493

# RFC 8032 §7.1: TEST 1, 2, 3 and SHA(abc). Public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]

# The eight points of small order, and every other encoding that a careless decoder takes for one or for a point.
EIGHT = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
SMALL = [y.to_bytes(32, "little") for y in (1, P - 1, 0, 2**255, EIGHT, EIGHT + 2**255, P - EIGHT, P - EIGHT + 2**255)]
NOT_CANONICAL = [
    n.to_bytes(32, "little") for n in (P, P + 1, P + 2**255, P + 1 + 2**255, 1 + 2**255, P - 1 + 2**255, 2**255 - 1)
]
ODD_POINTS = SMALL + NOT_CANONICAL
EDGE_NUMBERS = [n.to_bytes(32, "little") for n in (0, 1, 8, L - 1, L, L + 1, 2**252, 2**253, 2**255, 2**256 - 1)]


def ours(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        check_ed25519(public, message, signature)
    except Failed:
        return False
    return True


def theirs(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc_verify(public: str, message: str, signature: str) -> None:
    assert ours(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@settings(max_examples=60, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300), at=st.integers(0, 2**16))
def test_a_signature_verifies_and_any_flipped_bit_of_it_does_not(seed: bytes, message: bytes, at: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ours(public, message, signature)
    whole = bytearray(public + signature + message)
    whole[at // 8 % len(whole)] ^= 1 << at % 8
    flipped = bytes(whole[:32]), bytes(whole[96:]), bytes(whole[32:96])
    assert not ours(*flipped)
    assert not theirs(*flipped)


@settings(max_examples=150, deadline=None)
@given(
    public=st.sampled_from(ODD_POINTS) | st.binary(min_size=32, max_size=32),
    r=st.sampled_from(ODD_POINTS) | st.binary(min_size=32, max_size=32),
    s=st.sampled_from(EDGE_NUMBERS) | st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=3),
)
def test_whatever_we_accept_the_other_accepts_too(public: bytes, r: bytes, s: bytes, message: bytes) -> None:
    if ours(public, message, r + s):
        assert theirs(public, message, r + s)
        assert public not in ODD_POINTS
        assert r not in ODD_POINTS


@pytest.mark.parametrize("weak", ODD_POINTS)
def test_a_key_of_small_order_or_in_another_encoding_signs_nothing(weak: bytes) -> None:
    # With such a key, R = the neutral point and S = 0 "sign" every message, or every eighth, to a careless verifier.
    assert not any(ours(weak, bytes([n]), SMALL[0] + bytes(32)) for n in range(16))


def test_an_r_of_small_order_is_refused() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key().public_bytes_raw()
    assert not any(ours(public, b"", r + s) for r in ODD_POINTS for s in EDGE_NUMBERS)


def test_the_second_form_of_a_signature_is_refused() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = private.public_key().public_bytes_raw(), private.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    assert not ours(public, b"m", signature[:32] + (s + L).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    assert not ours(bytes.fromhex(VECTORS[0][0]), b"", (bytes.fromhex(VECTORS[0][2]) + b"\0")[:size])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    assert not ours((bytes.fromhex(VECTORS[0][0]) + b"\0")[:size], b"", bytes.fromhex(VECTORS[0][2]))
