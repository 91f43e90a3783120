"""SQLite keeps the contract, refuses to change facts, notices a flipped bit, and leaves nothing of what it deletes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from ledger.errors import StorageError
from ledger.sealing import Box
from ledger.storage import connect
from ledger.storage.engine import Batch, Condition, Engine, EventRow, IdempotencyRow, Tile
from ledger.storage.sqlite import SqliteEngine
from ledger.vocabulary import KeyId
from tests.storage.contract import (
    ORIGIN,
    VERIFIER,
    EngineContract,
    OpenEngine,
    Put,
    entry_of,
    indexes,
    item,
    leaf_of,
    note_of,
    put,
)

KEY = KeyId("00000000-0000-4000-8000-000000000001")
FACTS = ("ledger", "event_types", "events", "event_tags", "tiles", "checkpoints", "idempotency")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "ledger.db"
    SqliteEngine.create(path, origin=ORIGIN, verifier=VERIFIER).close()
    return path


@pytest.fixture
def path(tmp_path: Path, empty_store: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "ledger.db"))


@pytest.fixture
def open_engine(path: Path) -> Iterator[OpenEngine]:
    opened: list[SqliteEngine] = []

    def open_once_more() -> Engine:
        opened.append(SqliteEngine(path))
        return opened[-1]

    yield open_once_more
    for engine in opened:
        engine.close()


class TestSqlite(EngineContract):
    """The contract, on SQLite."""


@pytest.fixture
def full(open_engine: OpenEngine) -> Engine:
    """A store with a row in every table."""
    engine = open_engine()
    put(
        engine,
        Put("t", (f"key:{KEY}",), (Box(KEY, b"sealed"),)),
        Put("u", ("a",)),
        tiles=[Tile(0, 0, bytes(8_192))],
        idempotency=[IdempotencyRow(b"k" * 32, b"c" * 32, 0, 1)],
    )
    return engine


@pytest.fixture
def run(path: Path) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """Run SQL on the file as somebody who may write to it."""
    connect._load_checksums()
    connection = apsw.Connection(str(path), vfs=connect._VFS)
    yield lambda statement: connection.execute(statement).fetchall()
    connection.close()


@pytest.mark.parametrize("table", FACTS)
def test_facts_cannot_be_deleted(full: Engine, run: Callable[[str], list[tuple[object, ...]]], table: str) -> None:
    before = run(f"SELECT * FROM {table}")
    assert before
    with pytest.raises(apsw.ConstraintError):
        run(f"DELETE FROM {table}")
    assert run(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("table", [*FACTS, "sealed"])
def test_facts_and_sealed_values_cannot_be_changed(
    full: Engine, run: Callable[[str], list[tuple[object, ...]]], table: str
) -> None:
    before = run(f"SELECT * FROM {table}")
    assert before
    columns = [str(row[1]) for row in run(f"PRAGMA table_info({table})")]
    for column in columns:
        with pytest.raises(apsw.ConstraintError):
            run(f"UPDATE {table} SET {column} = {column}")
    assert run(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("table", [*FACTS, "sealed"])
def test_a_fact_cannot_be_inserted_again(
    full: Engine, run: Callable[[str], list[tuple[object, ...]]], table: str
) -> None:
    before = run(f"SELECT * FROM {table}")
    with pytest.raises(apsw.ConstraintError):
        run(f"INSERT INTO {table} SELECT * FROM {table}")
    assert run(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("table", FACTS)
def test_a_fact_is_not_replaced_through_the_ledger_s_own_connection(full: Engine, table: str) -> None:
    """A REPLACE deletes before it inserts, and SQLite asks no trigger about that unless it is told to."""
    assert isinstance(full, SqliteEngine)
    before = full._writer.execute(f"SELECT * FROM {table}").fetchall()
    with pytest.raises(apsw.ConstraintError):
        full._writer.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}").fetchall()
    assert full._writer.execute(f"SELECT * FROM {table}").fetchall() == before


def test_sealed_values_can_be_deleted(full: Engine, run: Callable[[str], list[tuple[object, ...]]]) -> None:
    run("DELETE FROM sealed")
    assert full.boxes(0) == []


def test_an_index_cannot_be_given_twice(full: Engine) -> None:
    row = EventRow(1, "t", entry_of(1), leaf_of(1), [], [])
    with pytest.raises(StorageError), full.begin() as transaction:
        transaction.insert(Batch([row], [], [], 3, note_of(3)))
    assert full.size() == 2
    put(full, Put("t"))


def test_deleted_boxes_leave_no_byte_in_any_file(open_engine: OpenEngine, path: Path) -> None:
    engine = open_engine()
    secrets = [bytes([i]) * 24 + b"secret-%03d" % i * 30 for i in range(120)]
    keys = [KeyId(f"key-{i % 4}") for i in range(120)]
    for i, (key, secret) in enumerate(zip(keys, secrets, strict=True)):
        boxes = (Box(key, secret * (1 + i % 3 * 20)),)
        put(engine, Put("t", (f"key:{key}", "all"), boxes))
    assert engine.delete_boxes(keys[:2], engine.size()) == 60
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for key, secret in zip(keys, secrets, strict=True):
        assert (secret in stored) is (key not in keys[:2])


def test_deleting_boxes_says_so_when_a_reader_keeps_their_bytes_in_the_file(
    full: Engine, path: Path, run: Callable[[str], list[tuple[object, ...]]]
) -> None:
    """A held snapshot keeps the old pages: whoever erases must learn that the bytes are still there."""
    full._writer.set_busy_timeout(0)  # type: ignore[attr-defined]
    run("BEGIN")
    run("SELECT * FROM sealed")
    try:
        with pytest.raises(StorageError):
            full.delete_boxes([KEY], 2)
    finally:
        run("COMMIT")
    full.delete_boxes([KEY], 2)
    assert b"sealed" + b"\x00" not in b"".join(file.read_bytes() for file in path.parent.glob("*-wal"))
    assert full.boxes(0) == []


def test_every_page_carries_a_checksum_and_a_flipped_bit_is_found(path: Path, open_engine: OpenEngine) -> None:
    engine = open_engine()
    put(engine, *(Put("t", ("a",), (Box(KEY, bytes(500)),)) for _ in range(200)))
    engine.close()
    whole = path.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    assert whole[20] == 8, "eight bytes of each page are reserved for its checksum"
    for number in range(1, len(whole) // page):
        damaged = bytearray(whole)
        damaged[number * page + page // 3] ^= 0x10
        path.write_bytes(damaged)
        assert finds_damage(path), f"page {number + 1}"
    path.write_bytes(whole)
    assert not finds_damage(path)


def finds_damage(path: Path) -> bool:
    try:
        engine = SqliteEngine(path)
    except StorageError:
        return True
    try:
        return bool(list(engine.damage()))
    except StorageError:
        return True
    finally:
        engine.close()


def test_an_interrupted_creation_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    connect.connect(path, application_id=connect.LEDGER_APPLICATION_ID, version=1, create=True).close()
    with pytest.raises(StorageError):
        SqliteEngine(path)
    SqliteEngine.create(path, origin=ORIGIN, verifier=VERIFIER).close()


def test_creating_twice_keeps_the_first_name(path: Path) -> None:
    engine = SqliteEngine.create(path, origin="example.com/other", verifier="other")
    assert (engine.origin, engine.verifier) == (ORIGIN, VERIFIER)
    engine.close()


def test_a_common_tag_is_never_walked_when_a_rare_one_is_there(open_engine: OpenEngine) -> None:
    """A condition of three tags costs what the rarest one costs, whatever stands on every event."""
    engine = open_engine()
    put(engine, *(Put("t", ("everywhere", f"rare:{i}")) for i in range(3_000)))
    assert isinstance(engine, SqliteEngine)
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    engine._writer.set_progress_handler(count, 10)
    with engine.begin() as transaction:
        steps = 0
        assert transaction.failed([Condition((item("everywhere", "rare:1500"),), 0)]) == [True]
        assert transaction.failed([Condition((item("everywhere", "rare:1500"),), 1501)]) == [False]
    assert steps < 100
    engine._writer.set_progress_handler(None)
    assert indexes(engine, item("rare:7", "everywhere")) == [7]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 15, 16, 63, 64, 65, 200])
def test_any_number_of_rows_is_inserted_each_once_and_in_order(count: int) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT)")
    rows = [(n, f"number {n}") for n in range(count)]
    connect.insert_rows(connection, "numbers", rows)
    assert connection.execute("SELECT * FROM numbers ORDER BY rowid").fetchall() == rows
    if rows:
        with pytest.raises(apsw.ConstraintError):
            connect.insert_rows(connection, "numbers", rows)
