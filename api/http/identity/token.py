"""Access tokens: a JWS in compact form (RFC 7515), as RFC 9068 profiles it, checked as RFC 8725 advises.

Nothing of a token is acted on before its signature holds but three words that say what to check it with: issuer, key id
and algorithm, each looked up in what we have. No address in a token is ever fetched.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import jwt
import msgspec

from api.http.errors import Reason, Unauthenticated
from api.http.identity.caller import Caller, caller_of
from api.http.identity.keys import ALGORITHMS, Keys, PublicKey, is_key_id
from api.http.identity.strict_json import parse_object

MAX_TOKEN: Final = 8_192
MAX_AUDIENCES: Final = 32
# How far the clocks of issuer and ledger may be apart.
LEEWAY_S: Final = 60
# A token that is stolen ends by itself; no issuer has to be asked whether it still holds.
MAX_LIFETIME_S: Final = 24 * 3600

# What a header may hold: the two thumb prints mean nothing here and do no harm. Not jku, x5u, jwk, x5c (a key, or an
# address of one, from whoever made the token), crit, b64, zip, enc, cty.
_HEADER: Final = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")


class Token(msgspec.Struct, frozen=True):
    """A token that is well formed, and nothing more: `issuer` is only what it says of itself."""

    text: str
    key_id: str
    algorithm: str
    issuer: str

    @property
    def credential(self) -> str:
        """A name for this token, of 64 bits, that opens nothing; a signature that is made anew does not change it."""
        signed = self.text.rpartition(".")[0]
        return "token-" + hashlib.sha256(signed.encode()).hexdigest()[:16]


def parse_token(text: str) -> Token:
    """Return a token whose form is right; `text` has at most MAX_TOKEN characters. Raises Unauthenticated."""
    # (1) One text for one token: three segments, base64url without padding or loose bits.
    segments = text.split(".")
    if len(segments) != 3:
        raise Unauthenticated(Reason.MALFORMED)
    try:
        header_bytes, claims_bytes, _ = map(_decoded, segments)
        header, claims = parse_object(header_bytes), parse_object(claims_bytes)
    except ValueError:
        raise Unauthenticated(Reason.MALFORMED) from None
    # (2) A header of known parameters, an algorithm and a type that are taken here.
    algorithm, kind, key_id = header.get("alg"), header.get("typ"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthenticated(Reason.ALGORITHM)
    if not header.keys() <= _HEADER:
        raise Unauthenticated(Reason.HEADER)
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Unauthenticated(Reason.TYPE)
    if not is_key_id(key_id):
        raise Unauthenticated(Reason.KEY)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise Unauthenticated(Reason.ISSUER)
    return Token(text, key_id, algorithm, issuer)


def _decoded(segment: str) -> bytes:
    if not _SEGMENT.fullmatch(segment):
        raise ValueError("not base64url")
    data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if urlsafe_b64encode(data).rstrip(b"=").decode() != segment:
        raise ValueError("not canonical base64url")
    return data


class ClaimNames(msgspec.Struct, frozen=True, kw_only=True):
    """Which claim says what: issuers differ in where they let one put one's own."""

    actor: str = "sub"
    role: str = "role"
    client: str = "client"


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens are taken, for which audience, under which keys."""

    name: str
    audience: str
    keys: Keys
    claim_names: ClaimNames = ClaimNames()

    def verify(self, token: Token, key: PublicKey, now: float) -> tuple[Caller, float, float]:
        """Return who calls, and from when until when (seconds since 1970) the token holds. Raises Unauthenticated."""
        # (3) The signature, by the one algorithm that token and key agree on; (4) issuer and audience.
        claims = self._signed_claims(token, key)
        audiences = claims["aud"]
        if isinstance(audiences, list) and len(audiences) > MAX_AUDIENCES:
            raise Unauthenticated(Reason.AUDIENCE)
        # (5) The time: issued in the past, not over, and over at most a day after it was issued.
        since, until = _lifetime(claims)
        if now < since - LEEWAY_S:
            raise Unauthenticated(Reason.NOT_YET)
        if now >= until + LEEWAY_S:
            raise Unauthenticated(Reason.EXPIRED)
        # (6) Who it is: one role, an id, and a client where the role has one.
        names = self.claim_names
        caller = caller_of(claims.get(names.role), claims.get(names.actor), claims.get(names.client), token.credential)
        return caller, since, until

    def _signed_claims(self, token: Token, key: PublicKey) -> dict[str, Any]:
        try:
            return jwt.decode(
                token.text,
                key,
                algorithms=[token.algorithm],
                audience=self.audience,
                issuer=self.name,
                # The moments are checked against the ledger's clock, not the library's.
                options={
                    "require": ["iss", "aud", "exp", "iat"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise Unauthenticated(Reason.SIGNATURE) from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated(Reason.ISSUER) from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated(Reason.AUDIENCE) from None
        except jwt.MissingRequiredClaimError as error:
            missing = {"iss": Reason.ISSUER, "aud": Reason.AUDIENCE}
            raise Unauthenticated(missing.get(error.claim, Reason.LIFETIME)) from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated(Reason.MALFORMED) from None


def _lifetime(claims: Mapping[str, Any]) -> tuple[float, float]:
    """Return from when until when a token holds. Raises Unauthenticated for moments that make no sense."""
    issued, until = _moment(claims["iat"]), _moment(claims["exp"])
    since = max(issued, _moment(claims["nbf"])) if "nbf" in claims else issued
    if not issued < until <= issued + MAX_LIFETIME_S:
        raise Unauthenticated(Reason.LIFETIME)
    return since, until


def _moment(value: object) -> float:
    # JSON's true is a number in Python, and 1e999 is one without end.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise Unauthenticated(Reason.LIFETIME)
    return float(value)
