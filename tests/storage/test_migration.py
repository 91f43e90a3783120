"""A ledger of version 1 is brought to this version when it is opened: whole, by one process, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import apsw
import pytest

from ledger import create_ledger, open_ledger
from ledger.errors import LedgerError, Tampered
from ledger.storage import connect, sqlite
from ledger.storage.sqlite import SCHEMA_VERSION, SqliteEngine
from ledger.storage.tag_store import TagIndexState
from ledger.vocabulary import Tag
from tests.bench import KEK, ORIGIN, SIGNER, Bench, append, check_ledger
from tests.storage.contract import ORIGIN as STORE_ORIGIN
from tests.storage.contract import VERIFIER, Put, put

TABLES = ("tag_index", "tag_index_leaves", "tag_index_packs", "tag_index_marks")


def run(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Run SQL on a file; return the rows of the last statement."""
    connect._load_checksums()
    rows: list[tuple[Any, ...]] = []
    with apsw.Connection(str(path), vfs=connect._VFS) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def make_version_1(path: Path) -> None:
    """Make an empty store as version 1 made it: its 24 objects, one a file."""
    connection = connect.connect(path, application_id=connect.LEDGER_APPLICATION_ID, version=1, create=True)
    files = sorted(resources.files("ledger.storage").joinpath("sql", "sqlite").iterdir(), key=lambda file: file.name)
    for file in files[:24]:
        connection.execute(file.read_text())
    connection.execute("INSERT INTO ledger VALUES (1, ?, ?)", (STORE_ORIGIN, VERIFIER))
    connection.close()


def schema(path: Path) -> list[tuple[Any, ...]]:
    return run(path, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")


def version(path: Path) -> int:
    return int(run(path, "PRAGMA user_version")[0][0])


def test_a_migrated_schema_is_a_fresh_one(tmp_path: Path) -> None:
    old, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    make_version_1(old)
    SqliteEngine.create(fresh, origin=STORE_ORIGIN, verifier=VERIFIER).close()
    assert schema(old) != schema(fresh)
    SqliteEngine(old).close()
    assert schema(old) == schema(fresh)
    assert version(old) == version(fresh) == SCHEMA_VERSION


def test_what_was_recorded_is_kept_and_indexed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    create_ledger(data, origin=ORIGIN, kek=KEK, signer=SIGNER)
    with Bench(data) as bench:
        for number in range(300):
            append(bench.ledger, "all", f"tag:{number % 50}")
        before = [stored.entry for stored in bench.ledger.engine.entries()]
    path = data / "ledger.db"
    run(path, *(f"DROP TABLE {table}" for table in TABLES), "PRAGMA user_version = 1")
    with open_ledger(data, kek=KEK, signer=SIGNER, index_every_s=None) as ledger:
        assert version(path) == SCHEMA_VERSION
        assert [stored.entry for stored in ledger.engine.entries()] == before
        check_ledger(ledger, 300)
        assert len(ledger.prove_tag(Tag("tag:7")).entries) == 6
        assert len(ledger.prove_tag(Tag("all")).entries) == 300
        check_ledger(ledger, 301)


def test_several_that_open_it_at_once_migrate_it_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    make_version_1(path)
    engines: list[SqliteEngine] = []
    errors: list[Exception] = []
    barrier = threading.Barrier(6)

    def open_one() -> None:
        barrier.wait(30)
        try:
            engines.append(SqliteEngine(path))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for engine in engines:
        assert engine.tag_index.state() == TagIndexState()
        put(engine, Put("t"))
        engine.close()
    assert version(path) == SCHEMA_VERSION


def test_a_migration_that_is_cut_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    make_version_1(path)
    before = schema(path)
    files = sqlite._schema_files

    def half(numbers: Any) -> list[str]:
        found = files(numbers)
        return [*found[:2], "this is no statement"] if len(found) == len(TABLES) else found

    monkeypatch.setattr(sqlite, "_schema_files", half)
    with pytest.raises(LedgerError):
        SqliteEngine(path)
    assert (schema(path), version(path)) == (before, 1)
    monkeypatch.undo()
    SqliteEngine(path).close()
    assert version(path) == SCHEMA_VERSION


@pytest.mark.parametrize(
    "change",
    ["DROP TRIGGER events_refuse_update", "CREATE TABLE tag_index (one)", "CREATE INDEX mine ON events (leaf)"],
)
def test_a_store_that_was_changed_is_not_migrated(tmp_path: Path, change: str) -> None:
    """Mending a schema would hide that somebody changed it."""
    path = tmp_path / "ledger.db"
    make_version_1(path)
    run(path, change)
    before = schema(path)
    with pytest.raises(Tampered):
        SqliteEngine(path)
    assert (schema(path), version(path)) == (before, 1)


def newer(path: Path) -> None:
    run(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def older(path: Path) -> None:
    run(path, "PRAGMA user_version = 1")


@pytest.mark.parametrize("change", [newer, older])
def test_a_version_that_the_schema_is_not_of_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "ledger.db"
    SqliteEngine.create(path, origin=STORE_ORIGIN, verifier=VERIFIER).close()
    change(path)
    with pytest.raises(LedgerError):
        SqliteEngine(path)
