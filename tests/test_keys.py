"""The key store: one key a scope whoever asks first, wrapped and bound to its row, and gone without a byte."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest
from psycopg.conninfo import make_conninfo

from ledger.errors import StorageError, Tampered
from ledger.keys import KeyScope, KeyStore, new_kek_text, parse_kek
from ledger.storage import connect
from ledger.storage.key_table import KeyTable
from ledger.storage.postgres_keys import PostgresKeyTable
from ledger.storage.sqlite_keys import SqliteKeyTable
from ledger.vocabulary import KeyId, RetentionClass, SubjectId, SubjectRole
from tests.bench import KEK, an_id
from tests.postgres.place import PostgresPlace

OpenKeys = Callable[[], KeyStore]


def scope(name: str = "mari", retention_class: RetentionClass = RetentionClass.CONTRACT) -> KeyScope:
    return KeyScope(SubjectId(an_id(name)), SubjectRole.CONTROLLER, retention_class)


@pytest.fixture(scope="session")
def empty_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.db"
    KeyStore(SqliteKeyTable(path, create=True), KEK, create=True).close()
    return path


@pytest.fixture
def path(tmp_path: Path, empty_keys: Path) -> Path:
    return Path(shutil.copy(empty_keys, tmp_path / "keys.db"))


@pytest.fixture
def open_keys(path: Path) -> Iterator[OpenKeys]:
    """Open the file of a key store once more, as another process would."""
    yield from opener(lambda: SqliteKeyTable(path))


def opener(open_table: Callable[[], KeyTable]) -> Iterator[OpenKeys]:
    opened: list[KeyStore] = []

    def open_once_more() -> KeyStore:
        opened.append(KeyStore(open_table(), KEK))
        return opened[-1]

    yield open_once_more
    for keys in opened:
        keys.close()


@pytest.fixture
def keys(open_keys: OpenKeys) -> KeyStore:
    return open_keys()


class KeyPlace(NamedTuple):
    """A key store on one of the engines: open it once more, and change it behind its back."""

    open: OpenKeys
    sql: Callable[..., list[tuple[object, ...]]]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[KeyPlace]:
    """A fresh key store, on each engine in turn: what must hold whatever keeps the rows."""
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("path")
        for open_keys in opener(lambda: SqliteKeyTable(path)):
            yield KeyPlace(open_keys, partial(sql, path))
        return
    postgres: PostgresPlace = request.getfixturevalue("postgres")
    server = postgres.server()
    KeyStore(PostgresKeyTable.create(server), KEK, create=True).close()
    dsn = make_conninfo(postgres.dsn, options=f"-c search_path={server.keys_schema}")
    for open_keys in opener(lambda: PostgresKeyTable(server)):
        yield KeyPlace(open_keys, lambda text, *bindings: postgres.sql(text.replace("?", "%s"), bindings, dsn=dsn))
    postgres.drop(server.schema)


def sql(path: Path, statement: str, *bindings: object) -> list[tuple[object, ...]]:
    connect._load_checksums()
    with apsw.Connection(str(path), vfs=connect._VFS) as connection:
        connection.set_busy_timeout(10_000)
        rows: list[tuple[object, ...]] = connection.execute(statement, bindings).fetchall()  # type: ignore[arg-type]
    connection.close()
    return rows


def files(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_scope_has_one_key_for_ever(place: KeyPlace) -> None:
    keys = place.open()
    key = keys.obtain(scope())
    assert keys.obtain(scope()) == key
    assert keys.persist([key.id]) == set()
    assert keys.obtain(scope()) == key
    assert place.open().obtain(scope()) == key
    assert place.open().get(key.id) == key


def test_each_class_role_and_subject_has_a_key_of_its_own(place: KeyPlace) -> None:
    keys = place.open()
    scopes = [
        scope(),
        scope("jaan"),
        scope("mari", RetentionClass.ORDER),
        KeyScope(SubjectId(an_id("mari")), SubjectRole.PROCESSOR, RetentionClass.CONTRACT),
    ]
    made = [keys.obtain(each) for each in scopes]
    assert len({key.id for key in made}) == len({key.secret for key in made}) == 4
    assert keys.persist([key.id for key in made]) == set()
    of_mari = keys.of_subject(SubjectId(an_id("mari")))
    assert {key.id for key in of_mari} == {made[0].id, made[2].id, made[3].id}


def test_a_new_key_is_not_durable_before_it_is_persisted(place: KeyPlace) -> None:
    keys = place.open()
    key = keys.obtain(scope())
    assert keys.of_subject(scope().subject_id) == []
    assert place.open().get(key.id) is None
    keys.persist([key.id])
    assert [each.id for each in keys.of_subject(scope().subject_id)] == [key.id]
    assert place.open().get(key.id) == key


def test_persisting_twice_or_the_same_key_twice_at_once_is_persisting_once(place: KeyPlace) -> None:
    keys = place.open()
    key = keys.obtain(scope())
    assert keys.persist([key.id, key.id]) == set()
    assert keys.persist([key.id]) == set()
    assert keys.get(key.id) == key


def test_of_two_processes_that_make_the_same_key_one_wins_and_the_other_learns_it(place: KeyPlace) -> None:
    ours, theirs = place.open(), place.open()
    winner, loser = ours.obtain(scope()), theirs.obtain(scope())
    other = theirs.obtain(scope("jaan"))
    assert ours.persist([winner.id]) == set()
    assert theirs.persist([loser.id, other.id]) == {loser.id}
    assert theirs.obtain(scope()) == winner
    assert theirs.get(loser.id) is None
    assert ours.get(other.id) == other


def test_a_key_that_was_lost_stays_lost_for_whoever_still_holds_it(place: KeyPlace) -> None:
    """Another command may have sealed a value under it already, and comes to persist it in a later transaction."""
    ours, theirs = place.open(), place.open()
    winner, loser = ours.obtain(scope()), theirs.obtain(scope())
    ours.persist([winner.id])
    assert theirs.persist([loser.id]) == {loser.id}
    assert theirs.persist([loser.id]) == {loser.id}
    assert theirs.persist([winner.id]) == set()


def test_a_key_that_was_destroyed_is_lost_for_whoever_still_holds_it(place: KeyPlace) -> None:
    keys = place.open()
    key = keys.obtain(scope())
    keys.persist([key.id])
    keys.destroy([key.id])
    assert keys.persist([key.id]) == {key.id}


PROCESS = """
import sys
from pathlib import Path
from ledger.keys import KeyScope, KeyStore
from ledger.storage.sqlite_keys import SqliteKeyTable
from ledger.vocabulary import RetentionClass, SubjectRole
from tests.bench import KEK, an_id

keys = KeyStore(SqliteKeyTable(Path(sys.argv[1])), KEK)
scopes = [KeyScope(an_id(str(n)), SubjectRole.CONTROLLER, RetentionClass.CONTRACT) for n in range(200)]
print("ready", flush=True)
sys.stdin.readline()
lost = 0
for scope in scopes:
    key = keys.obtain(scope)
    lost += len(keys.persist([key.id]))
print(lost, [keys.obtain(scope).secret.hex() for scope in scopes])
"""


def test_two_processes_that_make_keys_at_once_end_with_the_same_keys(path: Path) -> None:
    root = Path(__file__).parents[1]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path)],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split(" ", 1) for process in running]
    assert answers[0][1] == answers[1][1]
    assert sql(path, "SELECT count(*) FROM data_keys") == [(200,)]


def test_a_wrong_key_encryption_key_is_told_at_once(path: Path) -> None:
    with pytest.raises(StorageError):
        KeyStore(SqliteKeyTable(path), bytes(32))
    with pytest.raises(StorageError):
        KeyStore(SqliteKeyTable(path, create=True), bytes(32), create=True)


def test_a_store_that_was_never_finished_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    connect.connect(path, application_id=connect.KEYS_APPLICATION_ID, version=1, create=True).close()
    with pytest.raises(StorageError):
        KeyStore(SqliteKeyTable(path), KEK)
    KeyStore(SqliteKeyTable(path, create=True), KEK, create=True).close()


def test_wraps_swapped_between_rows_do_not_open(place: KeyPlace) -> None:
    keys = place.open()
    made = [keys.obtain(scope(name)) for name in ("mari", "jaan")]
    keys.persist([key.id for key in made])
    wraps = dict(place.sql("SELECT key_id, wrapped FROM data_keys"))
    place.sql("UPDATE data_keys SET wrapped = ? WHERE key_id = ?", wraps[made[1].id], made[0].id)
    fresh = place.open()
    with pytest.raises(Tampered):
        fresh.get(made[0].id)
    with pytest.raises(Tampered):
        fresh.obtain(scope("mari"))
    assert fresh.get(made[1].id) == made[1]


@pytest.mark.parametrize("column", ["subject_id", "role", "retention_class", "key_id"])
def test_a_wrap_moved_to_another_scope_or_id_does_not_open(place: KeyPlace, column: str) -> None:
    keys = place.open()
    key = keys.obtain(scope())
    keys.persist([key.id])
    other = {"subject_id": an_id("jaan"), "role": "processor", "retention_class": "order", "key_id": an_id("key")}[
        column
    ]
    place.sql(f"UPDATE data_keys SET {column} = ?", other)
    found = place.sql("SELECT key_id FROM data_keys")[0][0]
    with pytest.raises(Tampered):
        place.open().get(KeyId(str(found)))


def test_the_secret_of_a_key_never_stands_in_the_file_or_in_words(keys: KeyStore, path: Path) -> None:
    key = keys.obtain(scope())
    keys.persist([key.id])
    assert key.secret not in files(path)
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)


def test_destroying_keys_leaves_no_byte_of_them_in_any_file(keys: KeyStore, path: Path) -> None:
    made = [keys.obtain(scope(f"s{n}")) for n in range(400)]
    for start in range(0, 400, 50):
        keys.persist([key.id for key in made[start : start + 50]])
    wraps = {str(key): bytes(wrap) for key, wrap in sql(path, "SELECT key_id, wrapped FROM data_keys")}  # type: ignore[arg-type, call-overload]
    random.Random(1).shuffle(made)
    for key in made[:40]:
        keys.destroy([key.id])
        stored = files(path)
        assert wraps[key.id] not in stored
        assert wraps[key.id][12:28] not in stored
        assert keys.get(key.id) is None
    keys.destroy([key.id for key in made[40:300]])
    stored = files(path)
    assert not any(wraps[key.id] in stored for key in made[:300])
    assert all(wraps[key.id] in stored for key in made[300:])
    assert all(keys.get(key.id) == key for key in made[300:])


def test_destroying_is_idempotent_and_a_scope_gets_a_new_key_after_it(place: KeyPlace) -> None:
    keys = place.open()
    key = keys.obtain(scope())
    keys.persist([key.id])
    for _ in range(2):
        keys.destroy([key.id, KeyId(an_id("never was"))])
    fresh = keys.obtain(scope())
    assert fresh.id != key.id
    assert fresh.secret != key.secret
    assert keys.persist([fresh.id]) == set()


def test_destroying_says_so_when_a_reader_keeps_the_bytes_in_the_file(keys: KeyStore, path: Path) -> None:
    """A held snapshot keeps the old pages: whoever erases must learn that the key is still there."""
    key = keys.obtain(scope())
    keys.persist([key.id])
    wrap = bytes(sql(path, "SELECT wrapped FROM data_keys")[0][0])  # type: ignore[call-overload]
    keys._table._connection.set_busy_timeout(0)
    reader = apsw.Connection(str(path), vfs=connect._VFS)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM data_keys").fetchall()
    try:
        with pytest.raises(StorageError):
            keys.destroy([key.id])
    finally:
        reader.close()
    keys.destroy([key.id])
    assert wrap not in files(path)


def test_the_point_up_to_which_erasures_are_carried_out_is_kept(place: KeyPlace) -> None:
    keys = place.open()
    assert keys.erasures_applied_to() == 0
    keys.set_erasures_applied_to(5)
    assert keys.erasures_applied_to() == 5
    assert place.open().erasures_applied_to() == 5
    # Going back only means that destructions are carried out again.
    keys.set_erasures_applied_to(3)
    assert place.open().erasures_applied_to() == 3


def test_a_named_secret_is_made_once_and_is_the_same_for_everybody(place: KeyPlace) -> None:
    ours, theirs = place.open(), place.open()
    secret = ours.secret("idempotency")
    assert len(secret) == 32
    assert theirs.secret("idempotency") == secret
    assert ours.secret("other") != secret


def test_secrets_swapped_between_names_do_not_open(place: KeyPlace) -> None:
    keys = place.open()
    keys.secret("one")
    keys.secret("two")
    place.sql("UPDATE secrets SET wrapped = (SELECT wrapped FROM secrets WHERE name = 'two') WHERE name = 'one'")
    with pytest.raises(StorageError):
        keys.secret("one")


def test_more_keys_than_are_cached_are_all_there(place: KeyPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = place.open()
    monkeypatch.setattr("ledger.keys._CACHED_KEYS", 10)
    made = [keys.obtain(scope(f"s{n}")) for n in range(30)]
    assert keys.persist([key.id for key in made]) == set()
    for key in made:
        assert keys.get(key.id) == key
        assert keys.obtain(key.scope) == key
    assert keys.persist([key.id for key in made]) == set()


def test_a_known_key_is_had_while_new_ones_are_on_their_way_to_disk(keys: KeyStore) -> None:
    known = keys.obtain(scope())
    keys.persist([known.id])
    with keys._lock, ThreadPoolExecutor(1) as hand:
        assert hand.submit(keys.obtain, scope()).result(10) == known


def test_a_key_encryption_key_has_one_spelling() -> None:
    text = new_kek_text()
    key = parse_kek(text + "\n", "file")
    assert len(key) == 32
    assert new_kek_text(lambda count: key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prooftrail-kek-v1:",
        "AAAA",
        "prooftrail-kek-v1:AAAA",
        "prooftrail-kek-v2:" + "A" * 43 + "=",
        "prooftrail-kek-v1:" + "!" * 44,
    ],
)
def test_what_is_no_key_encryption_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(StorageError) as refused:
        parse_kek(text, "kek.txt")
    assert "kek.txt" in str(refused.value)
    assert text.removeprefix("prooftrail-kek-v1:") == "" or text not in str(refused.value)


def test_only_the_owner_may_read_the_files_of_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    KeyStore(SqliteKeyTable(path, create=True), KEK, create=True).close()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
