"""Whose access tokens the HTTP door takes, as the environment says: an OpenID provider, any issuer of RFC 9068.

PROOFTRAIL_OIDC_ISSUER         the issuer, to the letter, as it stands in the claim `iss`
PROOFTRAIL_OIDC_AUDIENCE       how this service is called there: one of the words of the claim `aud`
PROOFTRAIL_OIDC_JWKS           where its keys are: jwks_uri of <issuer>/.well-known/openid-configuration
PROOFTRAIL_OIDC_ACTOR_CLAIM    which claim holds the id of whoever calls (default sub)
PROOFTRAIL_OIDC_ROLE_CLAIM     which claim holds the one role that they call in (default role)
PROOFTRAIL_OIDC_CLIENT_CLAIM   which claim holds the id of the client that a client user acts for (default client)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ledger.addresses import Url, parse_url
from ledger.errors import Invalid, StorageError

_PREFIX: Final = "PROOFTRAIL_OIDC_"
MAX_WORD: Final = 512


class Oidc(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer, the audience that tokens for us name, where its keys are, and which claims say who calls."""

    issuer: str
    audience: str
    jwks: Url
    actor_claim: str = "sub"
    role_claim: str = "role"
    client_claim: str = "client"


def read_oidc(environ: Mapping[str, str]) -> Oidc | None:
    """Return the issuer that the environment names, None without one. Raises StorageError, naming the variable."""
    given = {name: text for name in Oidc.__struct_fields__ if (text := environ.get(_PREFIX + name.upper()))}
    if not given:
        return None
    for name in ("issuer", "audience", "jwks"):
        if name not in given:
            raise StorageError(f"{_PREFIX}{name.upper()}: is needed beside {_PREFIX}{next(iter(given)).upper()}")
    for name, text in given.items():
        if not (text.isascii() and text.isprintable() and " " not in text and len(text) <= MAX_WORD):
            raise StorageError(f"{_PREFIX}{name.upper()}: is at most {MAX_WORD} printable ASCII characters, no space")
    try:
        jwks = parse_url(given.pop("jwks"), _PREFIX + "JWKS")
    except Invalid as error:
        raise StorageError(str(error)) from None
    # Whoever can change the keys on their way to us can be anybody.
    if jwks.scheme != "https" and (jwks.literal is None or not jwks.literal.is_loopback):
        raise StorageError(f"{_PREFIX}JWKS: is an https URL; plain http only to an address such as 127.0.0.1")
    return Oidc(jwks=jwks, **given)
