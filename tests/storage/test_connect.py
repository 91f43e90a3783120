"""Opening a file: ours and undamaged, or refused with what to do, and nothing changed in what is not ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from ledger.errors import StorageError
from ledger.storage import connect as module
from ledger.storage.connect import KEYS_APPLICATION_ID, LEDGER_APPLICATION_ID, connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def make(path: Path, *, application_id: int = LEDGER_APPLICATION_ID, version: int = 1) -> None:
    connection = connect(path, application_id=application_id, version=version, create=True)
    connection.execute("CREATE TABLE t (x)")
    connection.close()


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute("INSERT INTO theirs VALUES (1)")
    connection.commit()
    connection.close()


def rewrite(path: Path, pragma: str) -> None:
    module._load_checksums()
    connection = apsw.Connection(str(path), vfs=module._VFS)
    connection.execute(pragma).fetchall()
    connection.close()


def truncated(path: Path) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[:100])


def newer(path: Path) -> None:
    make(path, version=2)


def keys_instead(path: Path) -> None:
    make(path, application_id=KEYS_APPLICATION_ID)


def without_checksums(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {LEDGER_APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()


REFUSED: list[tuple[str, Callable[[Path], object]]] = [
    ("no such file", lambda path: None),
    ("not a database", lambda path: path.write_bytes(b"this is a text and no database at all\n" * 400)),
    ("another program's", foreign),
    ("another kind of ours", keys_instead),
    ("a newer version", newer),
    ("cut short", truncated),
    ("without page checksums", without_checksums),
    ("a directory", lambda path: path.mkdir()),
]


@pytest.mark.parametrize(
    ("prepare", "create"),
    # What is absent is made when that is asked for.
    [
        (prepare, create)
        for name, prepare in REFUSED
        for create in (False, True)
        if name != "no such file" or not create
    ],
)
def test_what_is_not_ours_is_refused_and_left_as_it_is(
    path: Path, prepare: Callable[[Path], object], create: bool
) -> None:
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError) as refused:
        connect(path, application_id=LEDGER_APPLICATION_ID, version=1, create=create)
    assert str(path) in str(refused.value), "the message says which file"
    assert (path.read_bytes() if path.is_file() else None) == before


def test_an_older_version_is_opened(path: Path) -> None:
    make(path)
    connect(path, application_id=LEDGER_APPLICATION_ID, version=2).close()


def test_committed_means_durable_and_deleted_means_overwritten(path: Path) -> None:
    make(path)
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=1)
    found = {name: connection.pragma(name) for name in ("synchronous", "journal_mode", "secure_delete")}
    assert found == {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1}
    assert connection.pragma("checksum_verification") == "1"
    connection.close()


def test_a_read_only_connection_cannot_write(path: Path) -> None:
    make(path)
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=1, read_only=True)
    with pytest.raises(apsw.ReadOnlyError):
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()


def test_a_flipped_bit_in_a_value_is_an_error_when_it_is_read(path: Path) -> None:
    make(path)
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=1)
    connection.execute("INSERT INTO t VALUES (?)", (b"value" * 100,))
    connection.close()
    data = path.read_bytes()
    at = data.index(b"valuevalue") + 50
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=1)
    with pytest.raises(apsw.IOError):
        connection.execute("SELECT x FROM t").fetchall()
    connection.close()


@pytest.mark.parametrize("name", [name for name, _ in module.PRAGMAS])
def test_every_setting_holds_on_a_connection(path: Path, name: str) -> None:
    make(path)
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=1)
    assert int(connection.execute(f"PRAGMA {name}").get) == dict(module.PRAGMAS)[name]
    connection.close()


def test_the_cache_is_as_large_as_was_asked_for(path: Path) -> None:
    make(path)
    connection = connect(path, application_id=LEDGER_APPLICATION_ID, version=1, cache_kib=12_345)
    assert connection.execute("PRAGMA cache_size").get == -12_345
    connection.close()
