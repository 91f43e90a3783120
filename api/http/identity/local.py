"""The local issuer: access tokens signed by a key in the data directory, for a ledger that has no identity provider.

Its tokens pass the same checks as everybody else's. Whoever can read the key file can be anybody: it is its owner's, as
the other keys are, and a new one in its place ends every token that was issued under it.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.http.errors import Unauthenticated
from api.http.identity.caller import caller_of
from api.http.identity.keys import FixedKeys
from api.http.identity.token import MAX_LIFETIME_S, ClaimNames, Issuer
from ledger.errors import Invalid, StorageError
from ledger.vocabulary import ActorId, ClientId, Role, new_id

LOCAL_ISSUER: Final = "urn:prooftrail:local"
LOCAL_AUDIENCE: Final = "urn:prooftrail:http"
MAX_HOURS: Final = MAX_LIFETIME_S // 3600

_NAMES: Final = ClaimNames()


class LocalIssuer:
    """Issues tokens under a key of its own."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.key_id = _thumbprint(raw)

    @classmethod
    def parse(cls, text: str, place: str) -> LocalIssuer:
        """Return the issuer of a key file (PKCS #8, PEM). Raises StorageError, naming `place`."""
        try:
            key = serialization.load_pem_private_key(text.encode(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise StorageError(f"{place}: holds no key for tokens; delete it to have a new one made")
        return cls(key)

    @property
    def issuer(self) -> Issuer:
        """Whose tokens to take, to verify the ones of this issuer."""
        keys = FixedKeys({(self.key_id, "EdDSA"): self._key.public_key()})
        return Issuer(name=LOCAL_ISSUER, audience=LOCAL_AUDIENCE, keys=keys, claim_names=_NAMES)

    def token(
        self, *, role: Role, actor_id: ActorId, client_id: ClientId | None, now: datetime, lifetime: timedelta
    ) -> str:
        """Return an access token. Raises Invalid for a lifetime or claims that would not be accepted."""
        if not timedelta(0) < lifetime <= timedelta(seconds=MAX_LIFETIME_S):
            raise Invalid("lifetime", f"is at most {MAX_HOURS} hours")
        try:
            caller_of(role, actor_id, client_id, "")
        except Unauthenticated as error:
            raise Invalid("token", str(error)) from None
        issued = int(now.timestamp())
        claims = {
            "iss": LOCAL_ISSUER,
            "aud": LOCAL_AUDIENCE,
            "iat": issued,
            "exp": issued + int(lifetime.total_seconds()),
            "jti": new_id(),
            _NAMES.actor: actor_id,
            _NAMES.role: role,
        }
        if client_id is not None:
            claims[_NAMES.client] = client_id
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self.key_id, "typ": "at+jwt"})


def new_token_key() -> str:
    """Return the text of a key file with a fresh key."""
    pem = Ed25519PrivateKey.from_private_bytes(os.urandom(32)).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode("ascii")


def _thumbprint(raw: bytes) -> str:
    """Return the JWK thumbprint of an Ed25519 public key: RFC 7638, RFC 8037 §2."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    return _base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
