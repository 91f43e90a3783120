"""An issuer of access tokens to attack: three keys, and tokens of any bytes signed with them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT: Final = int(NOW.timestamp())
ISSUER: Final = "https://id.example.com/"
AUDIENCE: Final = "https://ledger.example.com"
WHO: Final = "8d0be076-3b5e-4c8f-9d55-1e0d5f0c7a42"
CLIENT: Final = "00e28fbd-5a07-4e73-83a6-4d4306607428"

EC = ec.generate_private_key(ec.SECP256R1())
ED = Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
STRANGER_ED = Ed25519PrivateKey.generate()

KEY_IDS: Final = {"ES256": "ec-1", "EdDSA": "ed-1", "RS256": "rsa-1", "PS256": "rsa-1"}


def jwks() -> list[dict[str, Any]]:
    return [
        ECAlgorithm.to_jwk(EC.public_key(), as_dict=True) | {"kid": "ec-1", "use": "sig"},
        OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True) | {"kid": "ed-1", "alg": "EdDSA"},
        RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "rsa-1", "key_ops": ["verify"]},
    ]


def key_set(keys: list[dict[str, Any]] | None = None) -> bytes:
    return json.dumps({"keys": jwks() if keys is None else keys}).encode()


def header(algorithm: str = "ES256") -> dict[str, Any]:
    return {"alg": algorithm, "typ": "at+jwt", "kid": KEY_IDS[algorithm]}


def claims() -> dict[str, Any]:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": WHO, "role": "support", "iat": AT, "exp": AT + 600, "jti": "one"}


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def signature(algorithm: str, signed: bytes) -> bytes:
    match algorithm:
        case "ES256":
            r, s = decode_dss_signature(EC.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case "EdDSA":
            return ED.sign(signed)
        case "RS256":
            return RSA.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return RSA.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def token(head: object = None, body: object = None, *, algorithm: str = "ES256") -> str:
    """Return a token of these objects, or of these bytes, truly signed by the issuer's key for the algorithm."""
    parts = [
        b64(encoded(header(algorithm) if head is None else head)),
        b64(encoded(claims() if body is None else body)),
    ]
    signed = ".".join(parts)
    return f"{signed}.{b64(signature(algorithm, signed.encode()))}"


def pem(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
