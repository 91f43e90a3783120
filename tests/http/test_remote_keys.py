"""Keys of an issuer elsewhere: fetched when needed, not more often; kept while it is away, not for ever."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from jwt.algorithms import OKPAlgorithm

from api.http.errors import KeysUnavailable, Reason, Unauthenticated
from api.http.identity import Identity, local_issuer, open_identity
from api.http.identity.api_keys import ApiKeys
from api.http.identity.remote_keys import FRESH_S, REFRESH_EVERY_S, STALE_S, RemoteKeys
from api.http.identity.token import Issuer
from api.settings import Settings, read_settings
from ledger.errors import StorageError, Unreachable
from ledger.vocabulary import ActorId, Role, new_id
from tests.http.issuers import (
    AUDIENCE,
    CLIENT,
    ISSUER,
    NOW,
    STRANGER_ED,
    WHO,
    b64,
    claims,
    encoded,
    header,
    jwks,
    key_set,
    token,
)
from tests.http.test_server_side_requests import Server, serving


class World:
    """An issuer elsewhere, and the time that goes by."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.fetched = 0
        self.document: bytes | None = key_set()
        self.keys = RemoteKeys(self.fetch, seconds=lambda: self.seconds)
        issuer = Issuer(name=ISSUER, audience=AUDIENCE, keys=self.keys)
        self.identity = Identity([issuer], ApiKeys(Path("no-such-file")), clock=lambda: NOW)

    def fetch(self) -> bytes:
        self.fetched += 1
        if self.document is None:
            raise Unreachable("no answer (TimeoutError)")
        return self.document

    def call(self, text: str) -> None:
        self.identity.caller(f"Bearer {text}")

    def refusal(self, text: str) -> Reason:
        with pytest.raises(Unauthenticated) as error:
            self.call(text)
        return error.value.reason


GOOD = token()
UNKNOWN = token(header() | {"kid": "unknown"})


def stranger_token() -> str:
    signed = f"{b64(encoded(header('EdDSA') | {'kid': 'ed-2'}))}.{b64(encoded(claims()))}"
    return f"{signed}.{b64(STRANGER_ED.sign(signed.encode()))}"


def test_keys_are_fetched_once_while_they_are_fresh() -> None:
    world = World()
    assert world.fetched == 0
    for _ in range(5):
        world.call(GOOD)
        world.call(token(algorithm="EdDSA"))
    assert world.fetched == 1
    world.seconds += FRESH_S
    world.call(GOOD)
    world.call(GOOD)
    assert world.fetched == 2


def test_a_key_that_is_new_is_fetched_and_one_that_is_gone_is_not_taken() -> None:
    world = World()
    world.call(GOOD)
    world.seconds += REFRESH_EVERY_S
    new = OKPAlgorithm.to_jwk(STRANGER_ED.public_key(), as_dict=True) | {"kid": "ed-2"}
    world.document = key_set([new])
    world.call(stranger_token())
    assert world.fetched == 2
    # It was taken before, and its signature is remembered; its key is not.
    assert world.refusal(GOOD) is Reason.KEY


def test_unknown_keys_do_not_make_us_ask_all_the_time() -> None:
    world = World()
    world.call(GOOD)
    for step in range(100):
        world.seconds += REFRESH_EVERY_S / 10
        assert world.refusal(token(header() | {"kid": f"unknown-{step}"})) is Reason.KEY
    assert world.fetched == 11


def test_keys_are_served_on_while_the_issuer_is_away_and_not_for_ever() -> None:
    world = World()
    world.call(GOOD)
    world.document = None
    waited = 0.0
    while waited < STALE_S - 60:
        world.seconds += 60
        waited += 60
        world.call(GOOD)
    assert world.identity.failures == {ISSUER: "no answer (TimeoutError)"}
    assert world.fetched < STALE_S / 60
    world.seconds += 60
    # Both who makes us ask in vain, and who comes too soon after.
    for _ in range(2):
        with pytest.raises(KeysUnavailable) as error:
            world.call(GOOD)
    assert "TimeoutError" in error.value.why
    assert "TimeoutError" not in str(error.value)
    # And at once again when it is back.
    world.document = key_set()
    world.seconds += REFRESH_EVERY_S
    world.call(GOOD)
    assert world.identity.failures == {}


@pytest.mark.parametrize("document", [b"", b"<html>", key_set([]), key_set([{"kty": "oct", "kid": "ec-1", "k": "eA"}])])
def test_an_answer_without_keys_takes_nothing_away(document: bytes) -> None:
    world = World()
    world.document = document
    with pytest.raises(KeysUnavailable):
        world.call(GOOD)
    world.document = key_set()
    with pytest.raises(KeysUnavailable):
        world.call(GOOD)
    assert world.fetched == 1, "asked again too soon"
    world.seconds += REFRESH_EVERY_S
    world.call(GOOD)
    world.document = document
    world.seconds += FRESH_S
    world.call(GOOD)
    assert world.keys.failure is not None


def test_a_fetch_holds_neither_the_event_loop_nor_those_whose_key_is_known() -> None:
    world = World()
    world.call(GOOD)
    begun, let_go = threading.Event(), threading.Event()

    def slow() -> bytes:
        world.fetched += 1
        begun.set()
        assert let_go.wait(30)
        return key_set()

    world.keys._fetch = slow
    world.seconds += FRESH_S

    async def scenario() -> None:
        waiting = [asyncio.create_task(world.identity.acaller(f"Bearer {UNKNOWN}")) for _ in range(50)]
        while not begun.is_set():
            await asyncio.sleep(0.001)
        for _ in range(100):
            await world.identity.acaller(f"Bearer {GOOD}")
        assert not any(task.done() for task in waiting)
        assert threading.active_count() < 20
        let_go.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(one) for one in ended} == {Unauthenticated}

    asyncio.run(scenario())
    assert world.fetched == 2


def test_many_threads_at_once_fetch_once() -> None:
    world = World()
    found: list[Reason | None] = []
    barrier = threading.Barrier(16)

    def fetch() -> bytes:
        world.fetched += 1
        time.sleep(0.02)
        return key_set()

    world.keys._fetch = fetch

    def ask(text: str) -> None:
        barrier.wait()
        try:
            world.call(text)
            found.append(None)
        except Unauthenticated as error:
            found.append(error.reason)

    threads = [threading.Thread(target=ask, args=(text,)) for text in [GOOD, UNKNOWN] * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == [None] * 8 + [Reason.KEY] * 8
    assert world.fetched == 1


# --- as the environment says ----------------------------------------------------------------------------------

NAMES = {
    "PROOFTRAIL_OIDC_ISSUER": ISSUER,
    "PROOFTRAIL_OIDC_AUDIENCE": AUDIENCE,
    "PROOFTRAIL_OIDC_JWKS": "https://id.example.com/keys",
}


def settings(data: Path, **more: str) -> Settings:
    return read_settings(data, NAMES | {f"PROOFTRAIL_{name}": text for name, text in more.items()})


def test_tokens_of_a_provider_are_taken_as_its_claims_are_named(tmp_path: Path) -> None:
    with serving(Server()) as server:
        chosen = settings(
            tmp_path,
            OIDC_JWKS=f"http://127.0.0.1:{server.port}/keys",
            OIDC_ACTOR_CLAIM="oid",
            OIDC_ROLE_CLAIM="https://example.com/role",
            OIDC_CLIENT_CLAIM="org",
            PRIVATE_NETWORKS="127.0.0.1",
        )
        identity = open_identity(chosen, clock=lambda: NOW)
        named = claims() | {"sub": "x", "oid": WHO, "https://example.com/role": "client-user", "org": CLIENT}
        caller = identity.caller(f"Bearer {token(None, named)}")
        assert (caller.actor.id, caller.actor.role, caller.client_id) == (WHO, Role.CLIENT_USER, CLIENT)
        with pytest.raises(Unauthenticated) as error:
            identity.caller(f"Bearer {GOOD}")
        assert error.value.reason is Reason.ROLE
        assert len(server.hits) == 1
        # Without its network being listed nothing is sent there.
        shut = open_identity(msgspec.structs.replace(chosen, private_networks=()), clock=lambda: NOW)
        with pytest.raises(KeysUnavailable) as away:
            shut.caller(f"Bearer {GOOD}")
        assert "PROOFTRAIL_PRIVATE_NETWORKS" in away.value.why
        assert len(server.hits) == 1


@pytest.mark.parametrize(
    ("more", "taken"),
    [({}, False), ({"LOCAL_TOKENS": "1"}, True), ({"LOCAL_TOKENS": "0"}, False), ({"LOCAL_TOKENS": ""}, False)],
)
def test_the_local_issuer_steps_back_before_a_provider(tmp_path: Path, more: dict[str, str], taken: bool) -> None:
    made = local_issuer(read_settings(tmp_path, {})).token(
        role=Role.OFFICER, actor_id=ActorId(new_id()), client_id=None, now=NOW, lifetime=timedelta(hours=1)
    )
    open_identity(read_settings(tmp_path, {}), clock=lambda: NOW).caller(f"Bearer {made}")
    identity = open_identity(settings(tmp_path, **more), clock=lambda: NOW)
    if taken:
        identity.caller(f"Bearer {made}")
    else:
        with pytest.raises(Unauthenticated) as error:
            identity.caller(f"Bearer {made}")
        assert error.value.reason is Reason.ISSUER
    off = open_identity(read_settings(tmp_path, {"PROOFTRAIL_LOCAL_TOKENS": "0"}), clock=lambda: NOW)
    with pytest.raises(Unauthenticated):
        off.caller(f"Bearer {made}")


def test_the_key_of_one_issuer_opens_nothing_as_another(tmp_path: Path) -> None:
    """A token that says it is from the provider, signed by the local key, or the other way round."""
    with serving(Server()) as server:
        where = {"OIDC_JWKS": f"http://127.0.0.1:{server.port}/keys", "PRIVATE_NETWORKS": "127.0.0.1"}
        chosen = settings(tmp_path, LOCAL_TOKENS="1", **where)
        local = local_issuer(chosen)
        server.content = json.dumps({"keys": jwks()}).encode()
        identity = open_identity(chosen, clock=lambda: NOW)
        identity.caller(f"Bearer {GOOD}")
        for name, key_id in (("urn:prooftrail:local", "ec-1"), (ISSUER, local.key_id)):
            with pytest.raises(Unauthenticated) as error:
                identity.caller(f"Bearer {token(header() | {'kid': key_id}, claims() | {'iss': name})}")
            assert error.value.reason is Reason.KEY


@pytest.mark.parametrize(
    ("environ", "match"),
    [
        ({"PROOFTRAIL_OIDC_ISSUER": ISSUER}, "OIDC_AUDIENCE: is needed"),
        ({"PROOFTRAIL_OIDC_ROLE_CLAIM": "role"}, "OIDC_ISSUER: is needed"),
        (NAMES | {"PROOFTRAIL_OIDC_JWKS": ""}, "OIDC_JWKS: is needed"),
        (NAMES | {"PROOFTRAIL_OIDC_JWKS": "http://id.example.com/keys"}, "https"),
        (NAMES | {"PROOFTRAIL_OIDC_JWKS": "http://localhost/keys"}, "https"),
        (NAMES | {"PROOFTRAIL_OIDC_JWKS": "http://10.0.0.1/keys"}, "https"),
        (NAMES | {"PROOFTRAIL_OIDC_JWKS": "https://0x7f.1/keys"}, "OIDC_JWKS"),
        (NAMES | {"PROOFTRAIL_OIDC_JWKS": "file:///etc/passwd"}, "OIDC_JWKS"),
        (NAMES | {"PROOFTRAIL_OIDC_AUDIENCE": "two words"}, "OIDC_AUDIENCE"),
        (NAMES | {"PROOFTRAIL_LOCAL_TOKENS": "yes"}, "LOCAL_TOKENS"),
        ({"PROOFTRAIL_PRIVATE_NETWORKS": "10.0.0.1/8"}, "PRIVATE_NETWORKS"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path: Path, environ: dict[str, str], match: str) -> None:
    with pytest.raises(StorageError, match=match):
        read_settings(tmp_path, environ)
