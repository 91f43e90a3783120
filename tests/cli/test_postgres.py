"""The program on PostgreSQL: the same commands, with the keys in the directory and the ledger on a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import read_settings
from ledger.errors import StorageError
from ledger.storage.server import Server
from tests.cli.conftest import CANARY, ORIGIN, Program
from tests.postgres.place import PostgresPlace


@pytest.fixture
def server(postgres: PostgresPlace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The environment names a server, and a directory for the keys."""
    server = postgres.server()
    monkeypatch.setenv("PROOFTRAIL_DSN", server.dsn)
    monkeypatch.setenv("PROOFTRAIL_SCHEMA", server.schema)
    monkeypatch.setenv("PROOFTRAIL_DATA", str(tmp_path / "host"))
    yield server
    postgres.drop(server.schema)


def test_every_command_that_a_ledger_needs_works_on_a_server(
    server: Server, program: Program, postgres: PostgresPlace, tmp_path: Path
) -> None:
    made = program("init", "--origin", ORIGIN, "--json").json
    assert (made["created"], made["origin"]) == (True, ORIGIN)
    assert program("init", "--json").json["created"] is False
    assert not list((tmp_path / "host").glob("*.db")), "nothing of the ledger lies in the directory"
    fields = f'{{"given-name": "Mari", "email": "{CANARY}@example.com"}}'
    subject = program("register", "--fields", "-", "--json", stdin=fields).json["subject"]
    assert CANARY in program("state", "--subject", subject, "--json").out
    assert len(program("history", "--subject", subject, "--json").lines) > 1
    order = program(
        "record-order", "-", "--client", subject, "--subject", subject, "--channel", "software", "--media-type",
        "application/xml", "--json", stdin="<order/>",
    )  # fmt: skip
    assert order.code == 0, order.err
    assert program("prove", "--order", order.json["orders"][0]["order"], "-o", "order.zip").code == 0
    for words in (("verify",), ("replay",), ("checkpoint",), ("rebuild",)):
        assert program(*words).code == 0, words
    assert program("key").out.strip() == made["key"]
    assert CANARY not in str(postgres.sql(f"SELECT encode(entry, 'escape') FROM {server.schema}.events"))


def test_another_host_joins_with_copies_of_the_key_files(server: Server, program: Program, tmp_path: Path) -> None:
    program("init", "--origin", ORIGIN)
    program("register")
    other = tmp_path / "other"
    refused = program("init", "--data", other)
    assert refused.code == 2
    assert "restore the key" in refused.err
    shutil.rmtree(other, ignore_errors=True)
    other.mkdir(mode=0o700)
    for name in ("kek", "signing-key"):
        shutil.copy(tmp_path / "host" / name, other)
    assert program("register", "--data", other).code == 2, "it has not joined"
    assert program("init", "--data", other).code == 0
    assert program("register", "--data", other).code == 0
    assert program("verify", "--data", other).code == 0


def test_a_ledger_in_a_file_and_a_server_beside_it_are_not_mixed_up(server: Server, program: Program) -> None:
    data = Path(read_settings().data)
    read_settings(data, {}).initialise(ORIGIN)
    refused = program("register")
    assert refused.code == 2
    assert "PROOFTRAIL_DSN" in refused.err


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PROOFTRAIL_SCHEMA": "records"}, "needs PROOFTRAIL_DSN"),
        ({"PROOFTRAIL_DSN": "host=x", "PROOFTRAIL_SCHEMA": "Drop Table"}, "PROOFTRAIL_SCHEMA"),
    ],
)
def test_settings_that_make_no_sense_are_named(environ: dict[str, str], says: str) -> None:
    with pytest.raises(StorageError, match=says):
        read_settings(Path("d"), environ)
