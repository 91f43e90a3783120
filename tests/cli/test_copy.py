"""copy: to a server and back, from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.storage.server import Server
from tests.cli.conftest import ORIGIN, Program
from tests.postgres.place import PostgresPlace


@pytest.fixture
def server(postgres: PostgresPlace) -> Iterator[Server]:
    server = postgres.server()
    yield server
    for (name,) in postgres.sql(f"SELECT nspname FROM pg_namespace WHERE starts_with(nspname, '{server.read_schema}')"):
        postgres.sql(f"DROP SCHEMA {name} CASCADE")
    postgres.drop(server.schema)


def test_a_ledger_moves_to_a_server_and_back(
    program: Program, subject: str, data: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_server = ("copy", "--to", server.dsn, "--schema", server.schema)
    note = program("checkpoint").out
    assert "the root is the same" in program(*to_server).out
    again = program(*to_server, "--json").json
    assert again["found"] == again["size"] > 1
    host = data.with_name(f"data-{server.schema}")
    assert again["data"] == str(host)
    assert {path.name for path in host.iterdir()} == {"guard", "kek", "signing-key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in host.iterdir())

    fields = program("state", "--subject", subject, "--json").json["fields"]
    with monkeypatch.context() as there:
        there.setenv("PROOFTRAIL_DSN", server.dsn)
        there.setenv("PROOFTRAIL_SCHEMA", server.schema)
        there.setenv("PROOFTRAIL_DATA", str(host))
        assert program("key").out.startswith(ORIGIN)
        assert program("checkpoint").out == note
        assert program("verify", "--json").json["ok"]
        assert program("state", "--subject", subject, "--json").json["fields"] == fields
        assert program("rebuild").code == 0
        assert program("rebuild", "--verify", "--json").json["ok"]
        assert not list(host.glob("projections*"))
        assert program("register").code == 0
        assert program("copy", "--to", tmp_path / "back").code == 0
    with monkeypatch.context() as back:
        back.setenv("PROOFTRAIL_DATA", str(tmp_path / "back"))
        found = program("verify", "--json").json
        assert (found["ok"], found["entries"]) == (True, again["size"] + 1)
        assert program("state", "--subject", subject, "--json").json["fields"] == fields
    # What went on is not taken back over.
    refused = program(*to_server, "--json")
    assert (refused.code, "own way" in refused.error["message"]) == (2, True)


def test_what_cannot_be_copied_to_is_said(program: Program, data: Path, server: Server, tmp_path: Path) -> None:
    for words, said in (
        (("--to", data), "directory of its own"),
        (("--to", server.dsn, "--schema", "No"), "--schema"),
        (("--to", tmp_path / "x", "--to-data", tmp_path / "y"), "--to-data"),
        (("--to", "host=127.0.0.1 port=1 password=hunter2 user=x"), "schema records"),
        (("--to", "postgresql://hunter2:hunter2@[/x"), "connection string"),
    ):
        ran = program("copy", *words)
        assert ran.code == 2
        assert said in ran.err
        assert "hunter2" not in ran.err
    other = tmp_path / "other"
    assert program("init", "--origin", "example.com/other", "--data", other).code == 0
    ran = program("copy", "--to", other)
    assert ran.code == 2
    assert "another ledger" in ran.err
