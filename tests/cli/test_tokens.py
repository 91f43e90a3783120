"""token: what it prints is taken by the door, and what it refuses it refuses without repeating it."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.http.identity import open_identity
from api.settings import directory_settings
from ledger.vocabulary import Role, new_id
from tests.cli.conftest import Program


def test_a_token_is_taken_by_the_door(program: Program, data: Path) -> None:
    who = new_id()
    printed = program("token", "--role", "support", "--subject", who)
    assert printed.code == 0
    caller = open_identity(directory_settings(data)).caller(f"Bearer {printed.out.strip()}")
    assert (caller.actor.id, caller.actor.role) == (who, Role.SUPPORT)
    client = new_id()
    document = program("token", "--role", "client-user", "--subject", who, "--client", client, "--json").json
    assert document["expires_in"] == 8 * 3600
    assert open_identity(directory_settings(data)).caller(f"Bearer {document['token']}").client_id == client


@pytest.mark.parametrize(
    "words",
    [
        ["--role", "support", "--subject", "kanaarilind"],
        ["--role", "client-user", "--subject", new_id()],
        ["--role", "support", "--subject", new_id(), "--client", new_id()],
        ["--role", "kanaarilind", "--subject", new_id()],
        ["--role", "support", "--subject", new_id(), "--hours", "25"],
        ["--role", "support"],
    ],
)
def test_wrong_usage_is_told_without_repeating_it(program: Program, data: Path, words: list[str]) -> None:
    ran = program("token", *words)
    assert ran.code == 2
    assert not ran.out
    assert "kanaarilind" not in ran.err


def test_without_a_ledger_no_key_is_made(program: Program, tmp_path: Path) -> None:
    ran = program("token", "--role", "support", "--subject", new_id(), "--data", tmp_path / "none")
    assert ran.code == 2
    assert not (tmp_path / "none").exists()
