"""What the HTTP door itself refuses: callers who do not prove who they are, and keys to check that with that are away.

A reason is from a closed vocabulary, and its message never repeats what was sent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ledger.errors import LedgerError


class Reason(StrEnum):
    """Why a caller is not let in."""

    MISSING = "credential-missing"
    SEVERAL = "credential-repeated"
    SCHEME = "scheme-unknown"
    MALFORMED = "token-malformed"
    TOO_LONG = "token-too-long"
    HEADER = "token-header"
    ALGORITHM = "token-algorithm"
    TYPE = "token-type"
    KEY = "token-key"
    SIGNATURE = "token-signature"
    ISSUER = "token-issuer"
    AUDIENCE = "token-audience"
    EXPIRED = "token-expired"
    NOT_YET = "token-not-yet-valid"
    LIFETIME = "token-lifetime"
    ROLE = "token-role"
    SUBJECT = "token-subject"
    CLIENT = "token-client"
    API_KEY = "api-key-wrong"
    API_KEY_EXPIRED = "api-key-expired"
    API_KEY_REVOKED = "api-key-revoked"


MESSAGES: Final = {
    Reason.MISSING: "no credential was sent; send Authorization: Bearer with an access token or an API key",
    Reason.SEVERAL: "more than one credential was sent; send one header Authorization",
    Reason.SCHEME: "credentials are sent as Authorization: Bearer",
    Reason.MALFORMED: "the access token is not a JWS in its compact and canonical form",
    Reason.TOO_LONG: "the access token is too long",
    Reason.HEADER: "the header of the access token has parameters that are not taken here",
    Reason.ALGORITHM: "the access token is not signed with an algorithm that is taken here",
    Reason.TYPE: "the token is not an access token (typ at+jwt)",
    Reason.KEY: "the access token names no key that its issuer publishes for its algorithm",
    Reason.SIGNATURE: "the signature of the access token does not hold",
    Reason.ISSUER: "the access token is from an issuer that is not taken here",
    Reason.AUDIENCE: "the access token is meant for another service",
    Reason.EXPIRED: "the access token expired; fetch a new one",
    Reason.NOT_YET: "the access token is not valid yet; compare the clocks",
    Reason.LIFETIME: "the access token does not say when it was issued and when it ends, or lives too long",
    Reason.ROLE: "the access token names no role, or one that does not exist",
    Reason.SUBJECT: "the access token does not say by an id whom it is for",
    Reason.CLIENT: "the access token does not name the client that its role acts for, or names one for a role without",
    Reason.API_KEY: "there is no such API key",
    Reason.API_KEY_EXPIRED: "the API key expired; have a new one made",
    Reason.API_KEY_REVOKED: "the API key was revoked",
}


class Unauthenticated(LedgerError):
    """Nobody proved who is calling. `reason` says what is missing."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(MESSAGES[reason])
        self.reason = reason

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate that goes with it: RFC 6750 §3, no error code where nothing was sent."""
        error = "" if self.reason in (Reason.MISSING, Reason.SCHEME, Reason.SEVERAL) else ', error="invalid_token"'
        return f'Bearer realm="prooftrail"{error}'


class KeysUnavailable(LedgerError):
    """The keys of the issuer of tokens cannot be had now: it is not the caller's fault, and asking again may help.

    `why` is for the log of the operator; the message is for whoever calls.
    """

    def __init__(self, why: str) -> None:
        super().__init__("access tokens cannot be checked now, as the keys of their issuer cannot be had; try again")
        self.why = why
