"""Forged access tokens: none is taken, and each is refused for its own fault, as the same token without it is taken."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from api.http.errors import MESSAGES, Reason, Unauthenticated
from api.http.identity import Identity
from api.http.identity.api_keys import ApiKeys
from api.http.identity.keys import MAX_KEYS, FixedKeys, parse_key_set
from api.http.identity.token import MAX_TOKEN, Issuer
from tests.http.issuers import (
    AT,
    AUDIENCE,
    CLIENT,
    EC,
    ED,
    ISSUER,
    NOW,
    RSA,
    STRANGER_ED,
    WHO,
    b64,
    claims,
    encoded,
    header,
    jwks,
    key_set,
    pem,
    signature,
    token,
)

IDENTITY = Identity(
    [Issuer(name=ISSUER, audience=AUDIENCE, keys=FixedKeys(parse_key_set(key_set())))],
    ApiKeys(Path("no-such-file")),
    clock=lambda: NOW,
)


def refusal(text: str) -> Reason:
    with pytest.raises(Unauthenticated) as error:
        IDENTITY.caller(f"Bearer {text}")
    assert str(error.value) == MESSAGES[error.value.reason]
    return error.value.reason


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in claims().items() if key != name}


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "PS256"])
def test_a_token_of_each_algorithm_is_taken(algorithm: str) -> None:
    assert IDENTITY.caller(f"Bearer {token(algorithm=algorithm)}").actor.id == WHO


ORDINARY: Final[dict[str, tuple[object, object]]] = {
    "type in full": (header() | {"typ": "application/at+jwt"}, None),
    "type in capitals": (header() | {"typ": "AT+JWT"}, None),
    "thumb prints": (header() | {"x5t": "abc", "x5t#S256": "def"}, None),
    "several audiences": (None, claims() | {"aud": ["other", AUDIENCE]}),
    "fractions of seconds": (None, claims() | {"iat": AT + 0.25}),
    "clock of the issuer ahead": (None, claims() | {"iat": AT + 59, "nbf": AT + 59}),
    "clock of the issuer behind": (None, claims() | {"iat": AT - 600, "exp": AT - 59}),
    "a day long": (None, claims() | {"exp": AT + 24 * 3600}),
    "client user": (None, claims() | {"role": "client-user", "client": CLIENT}),
    "claims of others": (None, claims() | {"scope": "openid", "groups": ["a"], "email": "x"}),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_good_issuers_do_is_taken(name: str) -> None:
    """The control of the forgeries below: the nearest token that is none."""
    IDENTITY.caller(f"Bearer {token(*ORDINARY[name])}")


# --- forged by somebody who has the issuer's signature: each fault is the only one --------------------------------

HEADERS: Final[dict[str, tuple[object, Reason]]] = {
    "alg none": (header() | {"alg": "none"}, Reason.ALGORITHM),
    "alg in lower case": (header() | {"alg": "es256"}, Reason.ALGORITHM),
    "alg ES384": (header() | {"alg": "ES384"}, Reason.ALGORITHM),
    "alg RS512": (header() | {"alg": "RS512"}, Reason.ALGORITHM),
    "alg absent": ({"typ": "at+jwt", "kid": "ec-1"}, Reason.ALGORITHM),
    "alg null": (header() | {"alg": None}, Reason.ALGORITHM),
    "alg an array": (header() | {"alg": ["ES256"]}, Reason.ALGORITHM),
    "alg with a space": (header() | {"alg": "ES256 "}, Reason.ALGORITHM),
    "alg of another kind than the key": (header() | {"alg": "RS256"}, Reason.KEY),
    "alg EdDSA for a key on P-256": (header() | {"alg": "EdDSA"}, Reason.KEY),
    "typ absent": ({"alg": "ES256", "kid": "ec-1"}, Reason.TYPE),
    "typ JWT": (header() | {"typ": "JWT"}, Reason.TYPE),
    "typ of an ID token": (header() | {"typ": "id+jwt"}, Reason.TYPE),
    "typ of a logout token": (header() | {"typ": "logout+jwt"}, Reason.TYPE),
    "typ an array": (header() | {"typ": ["at+jwt"]}, Reason.TYPE),
    "jku": (header() | {"jku": "https://attacker.example/jwks"}, Reason.HEADER),
    "x5u": (header() | {"x5u": "https://attacker.example/x509"}, Reason.HEADER),
    "jwk": (header() | {"jwk": jwks()[0]}, Reason.HEADER),
    "x5c": (header() | {"x5c": ["MIIB"]}, Reason.HEADER),
    "crit of b64": (header() | {"crit": ["b64"], "b64": False}, Reason.HEADER),
    "crit that is empty": (header() | {"crit": []}, Reason.HEADER),
    "crit of the unknown": (header() | {"crit": ["x"], "x": 1}, Reason.HEADER),
    "b64 without crit": (header() | {"b64": True}, Reason.HEADER),
    "zip": (header() | {"zip": "DEF"}, Reason.HEADER),
    "enc": (header() | {"enc": "A256GCM"}, Reason.HEADER),
    "a token within a token": (header() | {"cty": "JWT"}, Reason.HEADER),
    "kid absent": ({"alg": "ES256", "typ": "at+jwt"}, Reason.KEY),
    "kid unknown": (header() | {"kid": "ec-2"}, Reason.KEY),
    "kid in capitals": (header() | {"kid": "EC-1"}, Reason.KEY),
    "kid empty": (header() | {"kid": ""}, Reason.KEY),
    "kid a number": (header() | {"kid": 1}, Reason.KEY),
    "kid an array": (header() | {"kid": ["ec-1"]}, Reason.KEY),
    "kid null": (header() | {"kid": None}, Reason.KEY),
    "kid a path": (header() | {"kid": "../../../../dev/null"}, Reason.KEY),
    "kid a path behind the name": (header() | {"kid": "ec-1/../ed-1"}, Reason.KEY),
    "kid SQL": (header() | {"kid": "x' UNION SELECT 'secret' --"}, Reason.KEY),
    "kid a command": (header() | {"kid": "ec-1|id"}, Reason.KEY),
    "kid with NUL": (header() | {"kid": "ec-1\0"}, Reason.KEY),
    "kid with a line feed": (header() | {"kid": "ec-1\n"}, Reason.KEY),
    "kid with a space": (header() | {"kid": " ec-1"}, Reason.KEY),
    "kid an address": (header() | {"kid": "https://attacker.example/key"}, Reason.KEY),
    "kid that looks alike": (header() | {"kid": "еc-1"}, Reason.KEY),
    "kid that is long": (header() | {"kid": "ec-1" * 100}, Reason.KEY),
    "a header that is an array": ([header()], Reason.MALFORMED),
    "a header with a name twice": (b'{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"ec-1"}', Reason.MALFORMED),
    "a header with a name twice, escaped": (encoded(header())[:-1] + b',"\\u0061lg":"none"}', Reason.MALFORMED),
    "a header with a byte order mark": (b"\xef\xbb\xbf" + encoded(header()), Reason.MALFORMED),
    "a header that is UTF-16": (json.dumps(header()).encode("utf-16"), Reason.MALFORMED),
    "a header with a tail": (encoded(header()) + b"{}", Reason.MALFORMED),
    "an endless nest in the header": (b'{"alg":' + b"[" * 2_500 + b"]" * 2_500 + b"}", Reason.MALFORMED),
    "no header": (b"", Reason.MALFORMED),
}  # fmt: skip

CLAIMS: Final[dict[str, tuple[object, Reason]]] = {
    "another audience": (claims() | {"aud": "https://other.example.com"}, Reason.AUDIENCE),
    "an audience that begins like ours": (claims() | {"aud": AUDIENCE + ".attacker.example"}, Reason.AUDIENCE),
    "other audiences": (claims() | {"aud": ["a", "b"]}, Reason.AUDIENCE),
    "no audience": (without("aud"), Reason.AUDIENCE),
    "audience null": (claims() | {"aud": None}, Reason.AUDIENCE),
    "audience an object": (claims() | {"aud": {AUDIENCE: True}}, Reason.AUDIENCE),
    "audiences that are numbers": (claims() | {"aud": [1, AUDIENCE]}, Reason.AUDIENCE),
    "no audience in the list": (claims() | {"aud": []}, Reason.AUDIENCE),
    "audiences without end": (claims() | {"aud": [AUDIENCE] + ["x"] * 40}, Reason.AUDIENCE),
    "another issuer": (claims() | {"iss": "https://attacker.example"}, Reason.ISSUER),
    "an issuer without its slash": (claims() | {"iss": ISSUER.rstrip("/")}, Reason.ISSUER),
    "an issuer in capitals": (claims() | {"iss": ISSUER.upper()}, Reason.ISSUER),
    "no issuer": (without("iss"), Reason.ISSUER),
    "issuers in an array": (claims() | {"iss": [ISSUER]}, Reason.ISSUER),
    "no end": (without("exp"), Reason.LIFETIME),
    "no beginning": (without("iat"), Reason.LIFETIME),
    "an end that is text": (claims() | {"exp": str(AT + 600)}, Reason.LIFETIME),
    "an end that is true": (claims() | {"exp": True}, Reason.LIFETIME),
    "an end without end": (encoded(claims()).replace(b'"exp": %d' % (AT + 600), b'"exp": 1e999'), Reason.LIFETIME),
    "an end that is Infinity": (encoded(claims() | {"exp": float("inf")}), Reason.MALFORMED),
    "an end that is NaN": (encoded(claims() | {"exp": float("nan")}), Reason.MALFORMED),
    "an end of very many digits": (encoded(claims()).replace(b"%d" % (AT + 600), b"9" * 5_000), Reason.MALFORMED),
    "an end that is negative": (claims() | {"exp": -1}, Reason.LIFETIME),
    "an end before the beginning": (claims() | {"exp": AT - 1}, Reason.LIFETIME),
    "expired": (claims() | {"iat": AT - 600, "exp": AT - 60}, Reason.EXPIRED),
    "issued in the future": (claims() | {"iat": AT + 61}, Reason.NOT_YET),
    "not yet": (claims() | {"nbf": AT + 61}, Reason.NOT_YET),
    "a beginning that is text": (claims() | {"nbf": "now"}, Reason.LIFETIME),
    "a beginning that is true": (claims() | {"nbf": True}, Reason.LIFETIME),
    "a beginning that is null": (claims() | {"nbf": None}, Reason.LIFETIME),
    "longer than a day": (claims() | {"exp": AT + 24 * 3600 + 1}, Reason.LIFETIME),
    "a hundred years": (claims() | {"exp": AT + 100 * 365 * 86_400}, Reason.LIFETIME),
    "roles in an array": (claims() | {"role": ["support", "officer"]}, Reason.ROLE),
    "one role in an array": (claims() | {"role": ["support"]}, Reason.ROLE),
    "no role": (without("role"), Reason.ROLE),
    "a role that does not exist": (claims() | {"role": "admin"}, Reason.ROLE),
    "a role in capitals": (claims() | {"role": "OFFICER"}, Reason.ROLE),
    "two roles in one word": (claims() | {"role": "support officer"}, Reason.ROLE),
    "a role that is an object": (claims() | {"role": {"officer": True}}, Reason.ROLE),
    "a role that is a number": (claims() | {"role": 1}, Reason.ROLE),
    "no subject": (without("sub"), Reason.SUBJECT),
    "a subject that is an address": (claims() | {"sub": "mari@example.com"}, Reason.SUBJECT),
    "a subject in capitals": (claims() | {"sub": WHO.upper()}, Reason.SUBJECT),
    "a subject of version 1": (claims() | {"sub": "8d0be076-3b5e-1c8f-9d55-1e0d5f0c7a42"}, Reason.SUBJECT),
    "a subject with a line feed": (claims() | {"sub": WHO + "\n"}, Reason.SUBJECT),
    "a subject with NUL": (claims() | {"sub": WHO + "\0"}, Reason.SUBJECT),
    "a subject that is a number": (claims() | {"sub": 1}, Reason.SUBJECT),
    "subjects in an array": (claims() | {"sub": [WHO]}, Reason.SUBJECT),
    "a client user without a client": (claims() | {"role": "client-user"}, Reason.CLIENT),
    "a client user of no client": (claims() | {"role": "client-user", "client": "x"}, Reason.CLIENT),
    "a client user of two clients": (claims() | {"role": "client-user", "client": [CLIENT]}, Reason.CLIENT),
    "a client for support": (claims() | {"client": CLIENT}, Reason.CLIENT),
    "a subject with a client": (claims() | {"role": "subject", "client": CLIENT}, Reason.CLIENT),
    "a claim twice": (encoded(claims())[:-1] + b',"role":"officer"}', Reason.MALFORMED),
    "a claim twice, escaped": (encoded(claims())[:-1] + b',"r\\u006fle":"officer"}', Reason.MALFORMED),
    "a claim twice, deep inside": (encoded(claims())[:-1] + b',"x":[{"a":1,"a":2}]}', Reason.MALFORMED),
    "claims in an array": ([claims()], Reason.MALFORMED),
    "claims that are text": ("claims", Reason.MALFORMED),
    "claims that are no JSON": (b"{", Reason.MALFORMED),
    "claims that are not UTF-8": (encoded(claims()).replace(b"one", b"\xff"), Reason.MALFORMED),
    "an endless nest": (encoded(claims())[:-1] + b',"x":' + b"[" * 2_500 + b"]" * 2_500 + b"}", Reason.MALFORMED),
    "huge": (claims() | {"x": "x" * MAX_TOKEN}, Reason.TOO_LONG),
}


def raw_signature_holds(text: str) -> bool:
    """Whether the issuer signed this, and nothing else: what a verifier of signatures alone would take."""
    signed, _, last = text.rpartition(".")
    data = urlsafe_b64decode(last + "=" * (-len(last) % 4))
    return hmac.compare_digest(data, data) and ECAlgorithm(hashes.SHA256).verify(signed.encode(), EC.public_key(), data)


@pytest.mark.parametrize("name", HEADERS)
def test_a_forged_header_is_refused(name: str) -> None:
    head, reason = HEADERS[name]
    text = token(head)
    assert raw_signature_holds(text), "refused for the header, not for the signature"
    assert refusal(text) is reason


@pytest.mark.parametrize("name", CLAIMS)
def test_forged_claims_are_refused(name: str) -> None:
    body, reason = CLAIMS[name]
    text = token(None, body)
    assert raw_signature_holds(text), "refused for the claims, not for the signature"
    assert refusal(text) is reason


# --- forged by somebody who has no signature, or one of something else --------------------------------------------


def with_algorithm(algorithm: str, sign: Callable[[bytes], bytes], **more: str) -> str:
    signed = f"{b64(encoded(header() | {'alg': algorithm} | more))}.{b64(encoded(claims()))}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.digest(secret, signed, hashlib.sha256)


def der(signed: bytes) -> bytes:
    return EC.sign(signed, ec.ECDSA(hashes.SHA256()))


GOOD: Final = token()
OTHER: Final = token(None, claims() | {"jti": "other"})
SIGNED, _, SIGNATURE = GOOD.rpartition(".")
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

NONE: Final = ("none", "None", "NONE", "nOnE", "none ", "", "null", "HS256", "hs256")
FORGED: Final[dict[str, tuple[str, Reason]]] = {
    **{f"alg {word!r} unsigned": (with_algorithm(word, lambda _: b""), Reason.MALFORMED) for word in NONE},
    **{f"alg {word!r} signed with a byte": (with_algorithm(word, lambda _: b"x"), Reason.ALGORITHM) for word in NONE},
    "HMAC under the public key, PEM": (with_algorithm("HS256", hs256(pem(EC.public_key()))), Reason.ALGORITHM),
    "HMAC under the public key, PEM without its end": (
        with_algorithm("HS256", hs256(pem(EC.public_key()).strip())), Reason.ALGORITHM,
    ),
    "HMAC under the public RSA key": (
        with_algorithm("HS256", hs256(pem(RSA.public_key())), kid="rsa-1"), Reason.ALGORITHM,
    ),
    "HMAC under the JWK": (with_algorithm("HS512", hs256(encoded(jwks()[0]))), Reason.ALGORITHM),
    "HMAC under nothing": (with_algorithm("HS256", hs256(b"")), Reason.ALGORITHM),
    "HMAC in place of a signature": (with_algorithm("ES256", hs256(pem(EC.public_key()))), Reason.SIGNATURE),
    "a psychic signature, r = s = 0": (with_algorithm("ES256", lambda _: bytes(64)), Reason.SIGNATURE),
    "r = s = n": (with_algorithm("ES256", lambda _: ORDER.to_bytes(32, "big") * 2), Reason.SIGNATURE),
    "r = 0, s = 1": (with_algorithm("ES256", lambda _: bytes(63) + b"\1"), Reason.SIGNATURE),
    "a signature in DER": (with_algorithm("ES256", der), Reason.SIGNATURE),
    "a signature of zeros, Ed25519": (with_algorithm("EdDSA", lambda _: bytes(64), kid="ed-1"), Reason.SIGNATURE),
    "a signature of the neutral point": (
        with_algorithm("EdDSA", lambda _: b"\1" + bytes(63), kid="ed-1"), Reason.SIGNATURE,
    ),
    "a signature of zeros, RSA": (with_algorithm("RS256", lambda _: bytes(256), kid="rsa-1"), Reason.SIGNATURE),
    "a signature of one, RSA": (with_algorithm("RS256", lambda _: bytes(255) + b"\1", kid="rsa-1"), Reason.SIGNATURE),
    "PKCS #1 as PSS": (with_algorithm("PS256", lambda s: signature("RS256", s), kid="rsa-1"), Reason.SIGNATURE),
    "PSS as PKCS #1": (with_algorithm("RS256", lambda s: signature("PS256", s), kid="rsa-1"), Reason.SIGNATURE),
    "signed by a stranger under our key id": (with_algorithm("EdDSA", STRANGER_ED.sign, kid="ed-1"), Reason.SIGNATURE),
    "signed by the issuer's other key": (with_algorithm("EdDSA", ED.sign), Reason.KEY),
    "other claims under the signature": (
        f"{SIGNED.partition('.')[0]}.{b64(encoded(claims() | {'role': 'officer'}))}.{SIGNATURE}", Reason.SIGNATURE,
    ),
    "another header under the signature": (
        f"{b64(encoded(header() | {'x5t': 'x'}))}.{SIGNED.partition('.')[2]}.{SIGNATURE}", Reason.SIGNATURE,
    ),
    "the signature of another token": (f"{SIGNED}.{OTHER.rpartition('.')[2]}", Reason.SIGNATURE),
    "a signature that is longer": (with_algorithm("ES256", lambda s: signature("ES256", s) + b"\0"), Reason.SIGNATURE),
    "a signature that is shorter": (with_algorithm("ES256", lambda s: signature("ES256", s)[:-1]), Reason.SIGNATURE),
    "the signature stripped": (SIGNED + ".", Reason.MALFORMED),
    "the signature stripped with its dot": (SIGNED, Reason.MALFORMED),
    "a segment too many": (GOOD + ".e30", Reason.MALFORMED),
    "five segments, as JWE has": (GOOD + ".e30.e30", Reason.MALFORMED),
    "a dot too many": (GOOD + ".", Reason.MALFORMED),
    "dots only": ("..", Reason.MALFORMED),
    "padding": (GOOD + "==", Reason.MALFORMED),
    "padding within": (GOOD.replace(".", "=.", 1), Reason.MALFORMED),
    "loose bits at the end": (GOOD[:-1] + chr(ord(GOOD[-1]) + 1), Reason.MALFORMED),
    "base64 that is not for URLs": (f"{SIGNED}.{'/' * 86}", Reason.MALFORMED),
    "a space within": (GOOD[:20] + " " + GOOD[20:], Reason.MALFORMED),
    "a line feed at the end": (GOOD + "\n", Reason.MALFORMED),
    "a byte NUL at the end": (GOOD + "\0", Reason.MALFORMED),
    "letters that look alike": (GOOD.replace("e", "е", 1), Reason.MALFORMED),
    "a lone surrogate": (GOOD + "\udcff", Reason.MALFORMED),
    "a second credential": (GOOD + ", Bearer " + GOOD, Reason.MALFORMED),
    "JWS in JSON": (json.dumps({"payload": "e30", "protected": "e30", "signature": "AA"}), Reason.MALFORMED),
    "very many dots": ("." * MAX_TOKEN, Reason.MALFORMED),
    "without end": ("a" * (MAX_TOKEN + 1), Reason.TOO_LONG),
    "an API key that is none": ("pt_0123456789abcdef_" + "A" * 43, Reason.API_KEY),
    "an API key with a token behind": ("pt_" + GOOD, Reason.API_KEY),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_token_that_the_issuer_did_not_sign_is_refused(name: str) -> None:
    text, reason = FORGED[name]
    IDENTITY.caller(f"Bearer {GOOD}")
    assert refusal(text) is reason


def test_there_are_very_many_forgeries() -> None:
    assert len(HEADERS) + len(CLAIMS) + len(FORGED) >= 150


FAULTS: Final = frozenset(
    {f"alg {word!r} unsigned" for word in ("none", "None", "NONE", "nOnE")}
    | {"HMAC under the public key, PEM", "a psychic signature, r = s = 0"}
)


def test_a_verifier_that_believes_the_header_takes_them() -> None:
    """The forgeries are good ones: verifiers with the well-known faults do take them."""

    def faulty(text: str) -> bool:
        first, second, last = text.split(".")
        data = urlsafe_b64decode(last + "=" * (-len(last) % 4))
        algorithm = json.loads(urlsafe_b64decode(first + "=" * (-len(first) % 4)))["alg"].lower()
        if algorithm == "none":
            return True
        if algorithm == "hs256":
            return hs256(pem(EC.public_key()))(f"{first}.{second}".encode()) == data
        # CVE-2022-21449: s⁻¹ of 0 was taken to be 0, and so x of the point 0 to be r.
        return int.from_bytes(data[:32], "big") == int.from_bytes(data[32:], "big") == 0

    taken = {name for name, (text, _) in FORGED.items() if text.count(".") == 2 and name in FAULTS and faulty(text)}
    assert taken == FAULTS
    assert not faulty(GOOD)


def test_a_token_that_was_taken_is_not_taken_with_another_signature() -> None:
    """What is remembered is the whole token."""
    text = token(None, claims() | {"jti": "remembered"})
    IDENTITY.caller(f"Bearer {text}")
    IDENTITY.caller(f"Bearer {text}")
    assert refusal(f"{text.rpartition('.')[0]}.{b64(bytes(64))}") is Reason.SIGNATURE


def test_any_one_byte_that_is_changed_is_refused() -> None:
    for algorithm in ("ES256", "EdDSA", "RS256"):
        text = token(algorithm=algorithm)
        for place in range(len(text)):
            for other in ("A", "B"):
                if text[place] != other:
                    with pytest.raises(Unauthenticated):
                        IDENTITY.caller(f"Bearer {text[:place]}{other}{text[place + 1 :]}")


# --- sets of keys -------------------------------------------------------------------------------------------------


def rsa_jwk(bits: int, exponent: int = 65537) -> dict[str, Any]:
    modulus = RSA.public_key().public_numbers().n if bits == 2048 else (1 << bits) - 1
    return RSAAlgorithm.to_jwk(RSAPublicNumbers(exponent, modulus).public_key(), as_dict=True) | {"kid": "k"}


P384 = ec.generate_private_key(ec.SECP384R1()).public_key()
UNUSABLE: Final[dict[str, dict[str, Any]]] = {
    "an HMAC secret": {"kty": "oct", "k": b64(b"x" * 32), "kid": "k", "alg": "HS256"},
    "RSA of 1,024 bits": rsa_jwk(1024),
    "RSA of 16,384 bits": rsa_jwk(16_384),
    "RSA with a very large exponent": rsa_jwk(2048, 2**64 + 1),
    "P-384": ECAlgorithm.to_jwk(P384, as_dict=True) | {"kid": "k"},
    "a point off the curve": jwks()[0] | {"kid": "k", "x": b64(b"\1" * 32)},
    "for encryption": jwks()[0] | {"kid": "k", "use": "enc"},
    "to sign with": jwks()[0] | {"kid": "k", "key_ops": ["sign"]},
    "key_ops a number": jwks()[0] | {"kid": "k", "key_ops": 1},
    "of another algorithm": jwks()[0] | {"kid": "k", "alg": "ES384"},
    "with its private half": OKPAlgorithm.to_jwk(ED, as_dict=True) | {"kid": "k"},
    "without a name": {key: value for key, value in jwks()[0].items() if key != "kid"},
    "with a name that is a number": jwks()[0] | {"kid": 1},
    "without its point": {"kty": "EC", "crv": "P-256", "kid": "k"},
    "a type that is an array": jwks()[0] | {"kty": ["EC"], "kid": "k"},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_key_that_cannot_be_used_is_passed_over(name: str) -> None:
    found = parse_key_set(key_set([UNUSABLE[name], *jwks()]))
    assert found.keys() == {("ec-1", "ES256"), ("ed-1", "EdDSA"), ("rsa-1", "RS256"), ("rsa-1", "PS256")}
    with pytest.raises(ValueError, match="no key"):
        parse_key_set(key_set([UNUSABLE[name]]))


def test_a_key_id_that_stands_twice_names_no_key() -> None:
    stranger = OKPAlgorithm.to_jwk(STRANGER_ED.public_key(), as_dict=True)
    for more in (1, 2, 3):
        twice = parse_key_set(key_set([*jwks(), *[stranger | {"kid": "ed-1"}] * more]))
        assert ("ed-1", "EdDSA") not in twice
    assert ("ec-1", "EdDSA") in parse_key_set(key_set([*jwks(), stranger | {"kid": "ec-1"}]))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[1,null]}',
        b"<html>",
        b"\xff",
        b'{"keys":[],"keys":[]}',
    ],
)
def test_a_document_that_is_no_set_of_keys_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_key_set(document)


def test_a_set_of_too_many_keys_is_refused() -> None:
    many = [jwks()[0] | {"kid": str(number)} for number in range(MAX_KEYS + 1)]
    parse_key_set(key_set(many[:-1]))
    with pytest.raises(ValueError, match="at most"):
        parse_key_set(key_set(many))
