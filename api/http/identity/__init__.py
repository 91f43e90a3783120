"""Who calls: access tokens of an OpenID provider or of the local issuer, and API keys, all as `Authorization: Bearer`.

    identity = open_identity(settings)
    caller = await identity.acaller(request.headers.get("authorization"))

What does not live here: what a caller may do (permissions), and whether an employee acknowledged (the rules).
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from api.http.errors import Reason, Unauthenticated
from api.http.identity.api_keys import ApiKeys, is_api_key
from api.http.identity.caller import Caller
from api.http.identity.keys import Keys, PublicKey
from api.http.identity.local import LocalIssuer, new_token_key
from api.http.identity.remote_keys import RemoteKeys, fetch_from
from api.http.identity.token import LEEWAY_S, MAX_TOKEN, ClaimNames, Issuer, Token, parse_token
from api.oidc import Oidc
from api.settings import API_KEYS_FILE, TOKEN_KEY_FILE, Clock, Settings, now
from ledger.addresses import Networks

__all__ = ["Caller", "Identity", "local_issuer", "open_identity"]

# Tokens whose signature was found to hold. Only those are kept, so that nobody can crowd them out with false ones.
MAX_SEEN: Final = 4_096


class _Seen(msgspec.Struct, frozen=True):
    """A token that holds, for as long as its key is trusted and its time has not come."""

    issuer: Issuer
    key_id: str
    algorithm: str
    key: PublicKey
    caller: Caller
    since: float
    until: float

    def holds(self, at: float) -> bool:
        in_time = self.since - LEEWAY_S <= at < self.until + LEEWAY_S
        # The same key still, not only one of the same name.
        return in_time and self.issuer.keys.find(self.key_id, self.algorithm) is self.key


class Identity:
    """Tells who calls. May be used by several threads at once."""

    def __init__(self, issuers: Sequence[Issuer], api_keys: ApiKeys, *, clock: Clock = now) -> None:
        self._api_keys = api_keys
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._clock = clock
        self._seen: dict[bytes, _Seen] = {}
        self._lock = threading.Lock()
        self._fetcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prooftrail-keys")

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent this value of the header Authorization; it may wait for the issuer's keys.

        Raises Unauthenticated, KeysUnavailable, StorageError. A request must not have several such headers.
        """
        text = _bearer(authorization)
        digest = _digest(text)
        if (keys := self._due(text, digest)) is not None:
            keys.refresh()
        return self._caller(text, digest)

    async def acaller(self, authorization: str | None) -> Caller:
        """The same on an event loop, which goes on meanwhile."""
        text = _bearer(authorization)
        digest = _digest(text)
        if (keys := self._due(text, digest)) is not None:
            # In one thread, however many wait: the event loop's own are for others.
            await asyncio.get_running_loop().run_in_executor(self._fetcher, keys.refresh)
        return self._caller(text, digest)

    @property
    def failures(self) -> dict[str, str]:
        """Why the keys of an issuer could not be fetched when last tried, by the issuer: for the operator's eyes."""
        return {name: why for name, issuer in self._issuers.items() if (why := issuer.keys.failure) is not None}

    def _due(self, text: str, digest: bytes) -> Keys | None:
        """Return the keys that are to be fetched before this credential is looked at."""
        if is_api_key(text):
            return None
        seen = self._seen.get(digest)
        if seen is None:
            token = parse_token(text)
            keys, key_id, algorithm = self._issuer(token).keys, token.key_id, token.algorithm
        else:
            keys, key_id, algorithm = seen.issuer.keys, seen.key_id, seen.algorithm
        return keys if keys.is_due(key_id, algorithm) else None

    def _caller(self, text: str, digest: bytes) -> Caller:
        moment = self._clock()
        if is_api_key(text):
            return self._api_keys.caller(text, moment)
        at = moment.timestamp()
        seen = self._seen.get(digest)
        if seen is not None and seen.holds(at):
            return seen.caller
        token = parse_token(text)
        issuer = self._issuer(token)
        key = issuer.keys.find(token.key_id, token.algorithm)
        if key is None:
            raise Unauthenticated(Reason.KEY)
        caller, since, until = issuer.verify(token, key, at)
        self._remember(digest, _Seen(issuer, token.key_id, token.algorithm, key, caller, since, until))
        return caller

    def _issuer(self, token: Token) -> Issuer:
        issuer = self._issuers.get(token.issuer)
        if issuer is None:
            raise Unauthenticated(Reason.ISSUER)
        return issuer

    def _remember(self, digest: bytes, seen: _Seen) -> None:
        with self._lock:
            self._seen[digest] = seen
            if len(self._seen) > MAX_SEEN:
                del self._seen[next(iter(self._seen))]


def open_identity(settings: Settings, *, clock: Clock = now) -> Identity:
    """Return who may call by these settings; the key of the local issuer is made by the first to come. StorageError."""
    issuers = [local_issuer(settings).issuer] if settings.local_tokens else []
    if settings.oidc is not None:
        issuers.append(_remote_issuer(settings.oidc, settings.private_networks))
    return Identity(issuers, ApiKeys(settings.data / API_KEYS_FILE), clock=clock)


def _remote_issuer(oidc: Oidc, networks: Networks) -> Issuer:
    names = ClaimNames(actor=oidc.actor_claim, role=oidc.role_claim, client=oidc.client_claim)
    keys = RemoteKeys(fetch_from(oidc.jwks, networks))
    return Issuer(name=oidc.issuer, audience=oidc.audience, keys=keys, claim_names=names)


def local_issuer(settings: Settings) -> LocalIssuer:
    """Return the issuer whose key lies in the data directory. Raises StorageError."""
    return LocalIssuer.parse(settings.token_key(new_token_key), str(settings.data / TOKEN_KEY_FILE))


def _bearer(authorization: str | None) -> str:
    """Return the credential of `Bearer <credential>`: RFC 6750 §2.1."""
    if authorization is None:
        raise Unauthenticated(Reason.MISSING)
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated(Reason.SCHEME)
    if len(credential) > MAX_TOKEN:
        raise Unauthenticated(Reason.TOO_LONG)
    return credential


def _digest(text: str) -> bytes:
    # What was found to hold is kept without the token itself.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
