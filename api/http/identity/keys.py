"""The public keys that access tokens are verified with: read from a JWK set (RFC 7517), found by key id and algorithm.

A key verifies the algorithms of its own kind only, whatever a token says of itself (RFC 8725 §3.1): that is what keeps
a public key from being taken for an HMAC secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeGuard

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from api.http.identity.strict_json import parse_object

# Asymmetric only, one or two of each kind: RFC 8725 §3.2; EdDSA is Ed25519 here, RFC 8037.
ALGORITHMS: Final = frozenset({"ES256", "EdDSA", "RS256", "PS256"})

MAX_KEYS: Final = 64
MAX_KEY_ID: Final = 256
# NIST SP 800-131A from below; from above, what one signature may cost us to check.
RSA_BITS: Final = range(2048, 8192 + 1)
MAX_RSA_EXPONENT: Final = 2**32

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
KeySet = Mapping[tuple[str, str], PublicKey]
"""Public keys by key id and algorithm."""


class Keys(Protocol):
    """The keys of one issuer as they are known now; `failure` is why they could not be fetched when last tried."""

    failure: str | None

    def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        """Return the key, None when it is not known or no longer to be trusted. Never waits."""

    def is_due(self, key_id: str, algorithm: str) -> bool:
        """Whether the keys should be fetched (again) before this one is looked for."""

    def refresh(self) -> None:
        """Fetch the keys. Waits; raises KeysUnavailable when there is nothing to serve with afterwards."""


class FixedKeys:
    """Keys that are here and stay the same."""

    failure: str | None = None

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        return self._keys.get((key_id, algorithm))

    def is_due(self, key_id: str, algorithm: str) -> bool:
        return False

    def refresh(self) -> None:
        pass


def parse_key_set(document: bytes) -> KeySet:
    """Return the keys of a JWK set that sign here. Raises ValueError when it is none, or holds no such key.

    Keys of other kinds and for other uses are passed over, as RFC 7517 §5 wants; so are RSA keys that are too short or
    cost too much, and every key whose private half was published too. A key id that stands twice for one algorithm
    names neither.
    """
    members = parse_object(document).get("keys")
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise ValueError(f"a set of at most {MAX_KEYS} keys is needed")
    found: dict[tuple[str, str], PublicKey] = {}
    twice: set[tuple[str, str]] = set()
    for jwk in members:
        for name, key in _named(jwk):
            if name in found:
                twice.add(name)
            found[name] = key
    for name in twice:
        del found[name]
    if not found:
        raise ValueError("no key of the set verifies access tokens here")
    return found


def _named(jwk: object) -> list[tuple[tuple[str, str], PublicKey]]:
    """Return the names under which a key verifies, none when it does not."""
    if not isinstance(jwk, dict) or not is_key_id(key_id := jwk.get("kid")):
        return []
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return []
    try:
        key, algorithms = _public_key(jwk)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return []
    return [((key_id, one), key) for one in algorithms if jwk.get("alg", one) == one]


def _public_key(jwk: dict[str, Any]) -> tuple[PublicKey, tuple[str, ...]]:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            rsa = jwt.algorithms.RSAAlgorithm.from_jwk(jwk)
            if isinstance(rsa, RSAPublicKey) and rsa.key_size in RSA_BITS:
                if rsa.public_numbers().e >= MAX_RSA_EXPONENT:
                    raise ValueError("the exponent is too large")
                return rsa, ("RS256", "PS256")
        case "EC", "P-256":
            curve = jwt.algorithms.ECAlgorithm.from_jwk(jwk)
            if isinstance(curve, EllipticCurvePublicKey) and isinstance(curve.curve, SECP256R1):
                return curve, ("ES256",)
        case "OKP", "Ed25519":
            edwards = jwt.algorithms.OKPAlgorithm.from_jwk(jwk)
            if isinstance(edwards, Ed25519PublicKey):
                return edwards, ("EdDSA",)
    # Also what holds a private half: the library makes a private key of it.
    raise ValueError("not a kind of key that verifies here")


def is_key_id(value: object) -> TypeGuard[str]:
    """Whether this may name a key: printable ASCII, so that it is one thing in every program that reads it."""
    return isinstance(value, str) and 0 < len(value) <= MAX_KEY_ID and value.isascii() and value.isprintable()
