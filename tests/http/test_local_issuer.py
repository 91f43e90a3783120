"""The local issuer: `prooftrail token` prints what the door takes, and no more than that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.http.errors import Reason, Unauthenticated
from api.http.identity import Identity, local_issuer, open_identity
from api.http.identity.api_keys import ApiKeys
from api.http.identity.caller import Caller
from api.http.identity.local import MAX_HOURS, LocalIssuer, new_token_key
from api.settings import TOKEN_KEY_FILE, directory_settings
from ledger import Actor
from ledger.errors import Invalid, StorageError
from ledger.vocabulary import ActorId, ClientId, Role, SubjectId, new_id

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ISSUER = LocalIssuer.parse(new_token_key(), "token-key")
NO_KEYS = ApiKeys(Path("no-such-file"))


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        return self.at


def token(role: Role = Role.SUPPORT, client: str | None = None, actor: str | None = None, hours: int = 8) -> str:
    return ISSUER.token(
        role=role,
        actor_id=ActorId(actor or new_id()),
        client_id=None if client is None else ClientId(client),
        now=NOW,
        lifetime=timedelta(hours=hours),
    )


def caller(authorization: str | None, clock: Clock | None = None) -> Caller:
    return Identity([ISSUER.issuer], NO_KEYS, clock=clock or Clock()).caller(authorization)


@pytest.mark.parametrize("role", Role)
def test_each_role_is_who_its_token_says(role: Role) -> None:
    who, client = new_id(), new_id() if role is Role.CLIENT_USER else None
    found = caller(f"Bearer {token(role, client, who)}")
    assert found.actor == Actor(id=ActorId(who), role=role)
    assert found.subject_id == (SubjectId(who) if role is Role.SUBJECT else None)
    assert found.client_id == client
    assert (
        asyncio.run(Identity([ISSUER.issuer], NO_KEYS, clock=Clock()).acaller(f"bearer {token()}")).actor.role
        is Role.SUPPORT
    )


def test_the_credential_names_a_token_and_opens_nothing() -> None:
    one, two = token(), token()
    names = [caller(f"Bearer {text}").credential for text in (one, one, two)]
    assert names[0] == names[1] != names[2]
    assert names[0].removeprefix("token-") not in one


def test_a_token_ends_also_when_it_was_seen_before() -> None:
    clock = Clock()
    identity = Identity([ISSUER.issuer], NO_KEYS, clock=clock)
    text = f"Bearer {token(hours=1)}"
    assert identity.caller(text) is identity.caller(text)
    clock.at = NOW + timedelta(hours=1, seconds=59)
    identity.caller(text)
    clock.at = NOW + timedelta(hours=1, seconds=60)
    with pytest.raises(Unauthenticated) as error:
        identity.caller(text)
    assert error.value.reason is Reason.EXPIRED
    clock.at = NOW - timedelta(seconds=61)
    with pytest.raises(Unauthenticated) as error:
        identity.caller(text)
    assert error.value.reason is Reason.NOT_YET


@pytest.mark.parametrize("hours", [0, -1, MAX_HOURS + 1])
def test_a_lifetime_that_the_door_would_refuse_is_not_issued(hours: int) -> None:
    with pytest.raises(Invalid):
        token(hours=hours)
    caller(f"Bearer {token(hours=MAX_HOURS)}")


def test_a_client_is_for_client_users_only() -> None:
    with pytest.raises(Invalid):
        token(Role.CLIENT_USER)
    with pytest.raises(Invalid):
        token(Role.SUPPORT, client=new_id())


def test_the_key_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    settings = directory_settings(tmp_path)
    first = local_issuer(settings)
    assert local_issuer(settings).key_id == first.key_id
    path = tmp_path / TOKEN_KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    made = first.token(
        role=Role.OFFICER, actor_id=ActorId(new_id()), client_id=None, now=NOW, lifetime=timedelta(hours=1)
    )
    assert open_identity(settings, clock=Clock()).caller(f"Bearer {made}").actor.role is Role.OFFICER
    # A new key ends what was issued under the old one.
    path.unlink()
    with pytest.raises(Unauthenticated) as error:
        open_identity(settings, clock=Clock()).caller(f"Bearer {made}")
    assert error.value.reason is Reason.KEY
    path.chmod(0o644)
    with pytest.raises(StorageError, match="chmod 600"):
        local_issuer(settings)


@pytest.mark.parametrize("text", ["", "no key", new_token_key()[:60]])
def test_a_file_that_holds_no_key_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / TOKEN_KEY_FILE
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(StorageError, match="delete it"):
        local_issuer(directory_settings(tmp_path))


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, Reason.MISSING),
        ("", Reason.SCHEME),
        ("Bearer", Reason.SCHEME),
        ("Bearer ", Reason.SCHEME),
        ("Basic dXNlcjpwYXNz", Reason.SCHEME),
        ("Bearer  x", Reason.MALFORMED),
    ],
)
def test_a_header_that_is_none_is_named(authorization: str | None, reason: Reason) -> None:
    with pytest.raises(Unauthenticated) as error:
        caller(authorization)
    assert error.value.reason is reason
    assert ("error=" in error.value.challenge) is (reason is Reason.MALFORMED)
