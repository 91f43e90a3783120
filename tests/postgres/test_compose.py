"""docker-compose.yml on servers: what its profiles run there, run on a temporary server with the same logins."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.postgres.cluster import ADMIN, Cluster
from tests.postgres.test_program import run
from tests.test_compose import COMPOSE, SERVICES


def with_defaults(text: str) -> str:
    """Put in the default where Compose would put in a variable that is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server that asks for passwords, as the image does of everybody but itself."""
    with Cluster() as cluster:
        cluster.create()
        access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (cluster.data / "pg_hba.conf").write_text(access)
        yield cluster.start()


def environment_of(service: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Set what the service is told, but for where server and data are."""
    environment: dict[str, str] = SERVICES[service]["environment"]
    for name, value in environment.items():
        given = with_defaults(value)
        if name.endswith("DSN"):
            given = make_conninfo(given, host="127.0.0.1", port=cluster.port)
        monkeypatch.setenv(name, given)
    monkeypatch.setenv("PROOFTRAIL_DATA", str(data))


def use() -> None:
    """What somebody does who tries it out."""
    run("init")
    run("register", "--subject", uuid.uuid4())
    assert "ok" in run("verify", "--json").lower()


def test_the_commands_of_the_profile_postgres_work(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, Any] = SERVICES["postgres"]["environment"]
    password = with_defaults(made["POSTGRES_PASSWORD"])
    with psycopg.connect(cluster.dsn(socket=True), autocommit=True) as connection:
        # What the image does with its environment.
        owner, database = sql.Identifier(made["POSTGRES_USER"]), sql.Identifier(made["POSTGRES_DB"])
        connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(owner, sql.Literal(password)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
    with psycopg.connect(cluster.dsn("ledger", user=made["POSTGRES_USER"], socket=True), autocommit=True) as connection:
        for config in SERVICES["postgres"]["configs"]:
            connection.execute(with_defaults(COMPOSE["configs"][config["source"]]["content"]).encode())
    environment_of("prooftrail-postgres", cluster, monkeypatch, tmp_path)
    use()
    # Once made, it runs without the owner.
    monkeypatch.delenv("PROOFTRAIL_OWNER_DSN")
    run("register", "--subject", uuid.uuid4())


def test_the_commands_of_the_profile_citus_work_as_far_as_plain_postgresql_goes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One login for all of it, and a schema for each ledger; where the cluster puts them is Citus's own."""
    (cluster.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    cluster.restart()
    with psycopg.connect(cluster.dsn(socket=True), autocommit=True) as connection:
        name = sql.Identifier(SERVICES["citus-coordinator"]["environment"]["POSTGRES_DB"])
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    assert f"user={ADMIN}" in SERVICES["prooftrail-citus"]["environment"]["PROOFTRAIL_DSN"]
    for tenant in ("tenant_a", "tenant_b"):
        environment_of("prooftrail-citus", cluster, monkeypatch, tmp_path / tenant)
        monkeypatch.setenv("PROOFTRAIL_SCHEMA", tenant)
        use()
