"""api-key: what it prints opens the door, what it lists does not, and what it revokes no longer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.http.errors import Reason, Unauthenticated
from api.http.identity import open_identity
from api.settings import directory_settings
from ledger.vocabulary import Role, new_id
from tests.cli.conftest import Program


def test_a_key_from_making_to_revoking(program: Program, data: Path) -> None:
    service = new_id()
    ran = program("api-key", "create", "--name", "billing", "--service", service)
    text = ran.out.strip()
    assert ran.code == 0
    assert "not shown again" in ran.err
    assert text not in ran.err
    identity = open_identity(directory_settings(data))
    caller = identity.caller(f"Bearer {text}")
    assert (caller.actor.id, caller.actor.role) == (service, Role.SERVICE)
    listed = program("api-key", "list")
    key_id = text.split("_")[1]
    assert key_id in listed.out
    assert text.split("_", 2)[2] not in listed.out
    (document,) = program("api-key", "list", "--json").json["api_keys"]
    assert (document["id"], document["name"], document["revoked_at"]) == (key_id, "billing", None)
    assert program("api-key", "revoke", key_id).code == 0
    with pytest.raises(Unauthenticated) as error:
        identity.caller(f"Bearer {text}")
    assert error.value.reason is Reason.API_KEY_REVOKED
    assert program("api-key", "list", "--json").json["api_keys"][0]["revoked_at"]


def test_a_key_for_a_new_service_in_json(program: Program, data: Path) -> None:
    document = program("api-key", "create", "--name", "billing", "--days", 1, "--json").json
    caller = open_identity(directory_settings(data)).caller(f"Bearer {document['api_key']}")
    assert caller.actor.id == document["service_id"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["create", "--name", "Mari Kanaarilind"], 2),
        (["create", "--name", "billing", "--service", "kanaarilind"], 2),
        (["create", "--name", "billing", "--days", "0"], 2),
        (["create"], 2),
        (["revoke", "kanaarilind"], 1),
        (["revoke"], 2),
    ],
)
def test_wrong_usage_is_told_without_repeating_it(program: Program, data: Path, words: list[str], code: int) -> None:
    ran = program("api-key", *words)
    assert ran.code == code
    assert not ran.out
    assert "anaarilind" not in ran.err
    assert program("api-key", "list", "--json").json == {"api_keys": []}
