"""The program from `init` to `accuse` on a server: what lies in the data directory there is keys and guard alone."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from tests.postgres.place import PostgresPlace


@pytest.fixture
def schema(postgres: PostgresPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = postgres.server()
    monkeypatch.chdir(tmp_path)
    for name in ("KEK", "GUARD", "MAX_ORDER_BYTES", "TERMS"):
        monkeypatch.delenv(f"PROOFTRAIL_{name}", raising=False)
    monkeypatch.setenv("PROOFTRAIL_DATA", str(tmp_path / "host"))
    monkeypatch.setenv("PROOFTRAIL_DSN", server.dsn)
    monkeypatch.setenv("PROOFTRAIL_SCHEMA", server.schema)
    yield server.schema
    postgres.drop(server.schema)


def run(*words: object, code: int = 0, stdin: str = "") -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    assert result.exit_code == code, (words, result.output, result.exception)
    return result.stdout


def test_everything_works_on_a_server(schema: str, postgres: PostgresPlace, tmp_path: Path) -> None:
    run("init")
    assert not (tmp_path / "host" / "ledger.db").exists()
    person, client, order = (str(uuid.uuid4()) for _ in range(3))
    run("register", "--subject", person)
    Path("order.txt").write_text("Sell everything.")
    run(
        "record-order", "order.txt", "--client", client, "--subject", person, "--channel", "software",
        "--order", order, "--receipts", "receipts",
    )  # fmt: skip
    run("prove", "--order", order, "-o", "order.zip")
    now = datetime.now(UTC).isoformat()
    run("prove", "--absent", f"order:{uuid.uuid4()}", "-o", "absent.zip")
    run("prove", "--order", order, "--as-of", now, "-o", "then.zip")
    run("index")
    run("rotate-key")
    run("rotate-key", "--finish")
    run("index")
    for name in ("order.zip", "absent.zip", "then.zip"):
        assert zipfile.ZipFile(name).testzip() is None
    assert "ok" in run("verify", "--json").lower()
    run("export-log", "published")
    keys = [word for word in run("key", "--all").split() if word.startswith("localhost/")]
    assert len(keys) == 2
    Path("ledger.pub").write_text("\n".join(keys) + "\n")
    run("audit", "published", "--key", keys[-1])
    receipts = sorted(Path("receipts").glob("*.tlog-proof"))
    assert receipts
    named = [word for key in keys for word in ("--key", key)]
    run("accuse", *receipts, "order.zip", *named, "--log", "published")
    assert postgres.sql(f"SELECT size > 0 FROM {schema}.tag_index") == [(True,)]
    assert not (tmp_path / "host" / "ledger.db").exists()
