"""An administrator edits, deletes, inserts or reorders rows: a start or a verification, offline, finds it and names it.

Every table and column has its turn. Somebody who can do this also drops the triggers before and makes them again
after, and works through SQLite, so that the page checksums are right: only what the rows say gives the change away.

What is *not* found stands in NOT_FOUND, each with a reason, and is tested too: a line there that is found one day must
leave the list.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from ledger.commands import DecideErasure, DestroyKeys
from ledger.events import ClassDecision
from ledger.storage.connect import KEYS_APPLICATION_ID, LEDGER_APPLICATION_ID, connect
from ledger.storage.sqlite import SCHEMA_VERSION
from ledger.tlog import fsck
from ledger.vocabulary import ErasureOutcome, RetentionClass, Word
from tests.faults.conftest import MUTATIONS
from tests.faults.crash_states import materialise
from tests.faults.ledger_store import ACTOR, DATABASE, KEYS, LedgerStore
from tests.faults.store import Ack
from tests.faults.trace import contents

Row = tuple[Any, ...]

# The columns of each table; the first ones, as many as KEYED says, name a row.
COLUMNS = {
    "ledger": ("one", "origin", "verifier"),
    "event_types": ("code", "type"),
    "events": ("idx", "type", "entry", "leaf"),
    "event_tags": ("tag", "idx", "n", "type"),
    "sealed": ("idx", "key_id", "box"),
    "tiles": ("level", "n", "hashes"),
    "checkpoints": ("size", "note"),
    "idempotency": ("key", "content", "first", "count"),
}
KEYED = {"event_tags": 2, "sealed": 2, "tiles": 2}
UNIQUE = ("event_types", "type")

# (what is done, table, column): why nobody can tell today.
NOT_FOUND: dict[tuple[str, str, str], str] = {
    ("edit", "idempotency", "key"): "a keyed digest of what only the client knows; no entry commits to it",
    ("edit", "idempotency", "content"): "a keyed digest of what only the client knows; no entry commits to it",
    ("edit", "idempotency", "first"): "any entry of the log is possible",
    ("edit", "idempotency", "count"): "any number of entries of the log is possible",
    ("swap", "idempotency", "key"): "as editing it",
    ("swap", "idempotency", "content"): "as editing it",
    ("swap", "idempotency", "first"): "as editing it",
    ("delete", "idempotency", ""): "nothing says which requests came with a key",
    ("insert", "idempotency", ""): "nothing says which requests came with a key",
    ("delete", "checkpoints", ""): "nothing says where a transaction ended; only the last one is needed to start",
    ("insert", "event_types", ""): "the name of a type that no event has",
}

# Columns that hold one value in all rows of this ledger, or may hold no other.
ONE_VALUE = {
    ("edit", "ledger", "one"),
    ("insert", "ledger", ""),
    ("swap", "idempotency", "count"),
    *(("swap", "tiles", column) for column in COLUMNS["tiles"]),
}


def build(directory: Path) -> list[Ack]:
    """Fill a ledger with all kinds of rows: a full tile, many transactions, several keys, an erasure."""
    store = LedgerStore()
    directory.mkdir(parents=True)
    store.open(directory)
    acks = store.append_many([f"many-{i}" for i in range(250)])
    acks += [store.append(f"alone-{i}") for i in range(25)]
    forget(store)
    acks.append(store._ack("", store.ledger.record(store.command("not the last"), ACTOR)))
    store.close()
    return acks


def forget(store: LedgerStore) -> None:
    """Record a value of a new subject, and its erasure."""
    subject = store._subject = store._register("somebody who wants to be forgotten")
    store.append("forgotten")
    ground, classes = Word("withdrawn"), (RetentionClass.CONTRACT,)
    decision = ClassDecision(retention_class=classes[0], outcome=ErasureOutcome.ERASED, ground=ground)
    store.ledger.record(DecideErasure(subject_id=subject, decisions=(decision,)), ACTOR)
    store.ledger.record(DestroyKeys(subject_id=subject, retention_classes=classes), ACTOR)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a ledger in which nothing was changed."""
    directory = tmp_path_factory.mktemp("mutations") / "store"
    build(directory)
    store = LedgerStore()
    store.verify(directory, [])
    assert store.findings == []
    return contents(directory)


class Administrator:
    """Changes rows of a database as somebody does who may do anything."""

    def __init__(self, directory: Path, rng: random.Random) -> None:
        self._rng = rng
        self._connection = connect(directory / DATABASE, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
        self._triggers = self.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def change(self, how: str, table: str, column: str) -> str:
        """Do it to a random row; return in words what was done, or "" when nothing changed."""
        for name, _ in self._triggers:
            self._connection.execute(f"DROP TRIGGER {name}")
        before = self.rows(f"SELECT * FROM {table}")
        try:
            done = getattr(self, how)(table, column, before)
        except apsw.ConstraintError:
            done = ""
        after = self.rows(f"SELECT * FROM {table}")
        for _, sql in self._triggers:
            self._connection.execute(sql)
        self._connection.close()
        return done if sorted(map(repr, before)) != sorted(map(repr, after)) else ""

    def edit(self, table: str, column: str, rows: list[Row]) -> str:
        row = self._rng.choice(rows)
        value = self._other(row[COLUMNS[table].index(column)], [r[COLUMNS[table].index(column)] for r in rows])
        self._update(table, column, value, row)
        return f"{table}.{column} of {row[: KEYED.get(table, 1)]} is {value!r}"

    def swap(self, table: str, column: str, rows: list[Row]) -> str:
        """Exchange what two rows have in a column: two events change places, two values, two signatures."""
        at = COLUMNS[table].index(column)
        one = self._rng.choice(rows)
        others = [row for row in rows if row[at] != one[at]]
        if not others:
            return ""
        two = self._rng.choice(others)
        if at < KEYED.get(table, 1) or (table, column) == UNIQUE:
            # By way of a third value, as no two rows may have the same.
            aside = -7 if isinstance(one[at], int) else type(one[at])()
            self._update(table, column, aside, one)
            self._update(table, column, one[at], two)
            self._update(table, column, two[at], (*one[:at], aside, *one[at + 1 :]))
        else:
            self._update(table, column, two[at], one)
            self._update(table, column, one[at], two)
        return f"{table}.{column} of {one[: KEYED.get(table, 1)]} and {two[: KEYED.get(table, 1)]} changed places"

    def delete(self, table: str, _: str, rows: list[Row]) -> str:
        row = self._rng.choice(rows)
        self._connection.execute(f"DELETE FROM {table} WHERE {self._where(table)}", self._name(table, row))
        return f"{table} {self._name(table, row)} is gone"

    def insert(self, table: str, _: str, rows: list[Row]) -> str:
        """Insert a row that is like another one but for its name."""
        row = list(self._rng.choice(rows))
        at = self._rng.randrange(KEYED.get(table, 1))
        row[at] = self._other(row[at], [r[at] for r in rows])
        if table == "sealed":
            # Beyond the log is a test of its own.
            row[0] = min(row[0], max(r[0] for r in rows))
        if table == UNIQUE[0]:
            row = [max(r[0] for r in rows) + 1, self._other(row[1], [row[1] + "-2"])]
        self._connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        return f"{table} {self._name(table, tuple(row))} is new"

    def _update(self, table: str, column: str, value: Any, row: Row) -> None:
        sql = f"UPDATE {table} SET {column} = ? WHERE {self._where(table)}"
        self._connection.execute(sql, (value, *self._name(table, row)))

    def _where(self, table: str) -> str:
        return " AND ".join(f"{column} = ?" for column in COLUMNS[table][: KEYED.get(table, 1)])

    def _name(self, table: str, row: Row) -> Row:
        return row[: KEYED.get(table, 1)]

    def _other(self, value: Any, all_values: list[Any]) -> Any:
        if self._rng.random() < 0.4:
            return self._rng.choice(all_values)
        if isinstance(value, int):
            return value + self._rng.choice((-1, 1, 1, 2, 256, 10_000))
        if isinstance(value, str):
            at = self._rng.randrange(len(value))
            return value[:at] + self._rng.choice("abcdef0123456789") + value[at + 1 :]
        at = self._rng.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << self._rng.randrange(8)]) + value[at + 1 :]


def kinds() -> list[tuple[str, str, str]]:
    """Return every (what, table, column) there is."""
    columns = [(table, column) for table, names in COLUMNS.items() for column in names]
    every = [
        *(("edit", *pair) for pair in columns),
        *(("swap", *pair) for pair in columns if pair[0] != "ledger"),
        *((how, table, "") for how in ("delete", "insert") for table in COLUMNS),
    ]
    return [kind for kind in every if kind not in ONE_VALUE]


def mutate(files: dict[str, bytes], scratch: Path, kind: tuple[str, str, str], rng: random.Random) -> str:
    """Make `scratch` a changed copy and say what was changed; draws until something was."""
    for _ in range(40):
        materialise(files, scratch)
        if done := Administrator(scratch, rng).change(*kind):
            return done
    raise AssertionError(f"{kind}: nothing that can be changed")


def found(scratch: Path) -> list[str]:
    """Return what a start or a verification names, without any acknowledgement to compare with."""
    store = LedgerStore()
    oracle = store.verify(scratch, [])
    return [oracle.refused] if oracle.refused else store.findings


def missed(files: dict[str, bytes], scratch: Path, todo: list[tuple[str, str, str]], count: int) -> list[str]:
    """Try `count` changes, each kind in turn, and return those that nobody would notice."""
    rng = random.Random(29)
    unnoticed = []
    for number in range(count):
        done = mutate(files, scratch, todo[number % len(todo)], rng)
        if not found(scratch):
            unnoticed.append(done)
    return unnoticed


def test_whatever_an_administrator_changes_is_found_and_named(disk: Path, healthy: dict[str, bytes]) -> None:
    todo = [kind for kind in kinds() if kind not in NOT_FOUND]
    assert len(todo) <= MUTATIONS
    assert missed(healthy, disk / "scratch", todo, MUTATIONS) == []


@pytest.mark.parametrize("kind", NOT_FOUND, ids="-".join)
def test_what_is_said_not_to_be_found_is_not(disk: Path, healthy: dict[str, bytes], kind: tuple[str, str, str]) -> None:
    assert kind in kinds()
    assert missed(healthy, disk / "scratch", [kind], 6) != [], "found now: take it off the list"


@pytest.mark.parametrize("index", [10**4, 2**62])
def test_a_tag_row_of_an_entry_that_is_not_there_is_named(disk: Path, healthy: dict[str, bytes], index: int) -> None:
    """It would become the previous event of the next one, in an entry that can never be corrected."""
    materialise(healthy, disk / "scratch")
    connection = connect(disk / "scratch" / DATABASE, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    connection.execute("INSERT INTO event_tags SELECT tag, ?, 900, type FROM event_tags LIMIT 1", (index,))
    connection.close()
    assert found(disk / "scratch") == [f"tags: entry {index} is filed under tags but is not there"]


@pytest.mark.parametrize("size", [285, 10**6])
def test_a_checkpoint_of_entries_that_are_not_there_is_named(disk: Path, healthy: dict[str, bytes], size: int) -> None:
    """The transaction that ends there one day could not be recorded."""
    materialise(healthy, disk / "scratch")
    connection = connect(disk / "scratch" / DATABASE, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    connection.execute("INSERT INTO checkpoints SELECT ?, note FROM checkpoints ORDER BY size DESC LIMIT 1", (size,))
    connection.close()
    (named,) = found(disk / "scratch")
    assert named.startswith("Tampered: start: ")


def test_a_checkpoint_of_no_entries_is_named(disk: Path, healthy: dict[str, bytes]) -> None:
    materialise(healthy, disk / "scratch")
    connection = connect(disk / "scratch" / DATABASE, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    connection.execute("INSERT INTO checkpoints SELECT 0, note FROM checkpoints LIMIT 1")
    connection.close()
    assert found(disk / "scratch") == ["checkpoint: checkpoint 0 is not signed for the entries that it covers"]


def test_a_key_store_that_is_ahead_of_the_log_does_not_keep_erasures_from_being_done(disk: Path) -> None:
    """Also what is left when the database, but not the key store, was restored from an older backup."""
    store, directory = LedgerStore(), disk / "store"
    directory.mkdir()
    store.open(directory)
    store.append("before")
    store.close()
    connection = connect(directory / KEYS, application_id=KEYS_APPLICATION_ID, version=1)
    connection.execute("UPDATE erasures SET applied_to = 100")
    connection.close()
    store.open(directory)
    forget(store)
    store.close()
    assert found(directory) == []


def test_a_sealed_row_of_an_entry_that_is_not_there_is_named(disk: Path, healthy: dict[str, bytes]) -> None:
    materialise(healthy, disk / "scratch")
    connection = connect(disk / "scratch" / DATABASE, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    connection.execute("INSERT INTO sealed SELECT 10000, key_id, box FROM sealed LIMIT 1")
    connection.close()
    assert found(disk / "scratch") != []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP INDEX events_by_type",
        "DROP TRIGGER events_refuse_update",
        "CREATE TRIGGER bomb AFTER INSERT ON events BEGIN SELECT 1; END",
    ],
    ids=["an index less", "a trigger less", "a trigger more"],
)
def test_a_changed_schema_is_named(disk: Path, healthy: dict[str, bytes], statement: str) -> None:
    materialise(healthy, disk / "scratch")
    connection = connect(disk / "scratch" / DATABASE, application_id=LEDGER_APPLICATION_ID, version=SCHEMA_VERSION)
    connection.execute(statement)
    connection.close()
    assert found(disk / "scratch") != []


@pytest.mark.parametrize(
    ("step", "tables"),
    [
        ("_check_checkpoint", {"checkpoints"}),
        ("check_tags", {"event_tags"}),
        ("check_sealed", {"sealed"}),
        ("run", set(COLUMNS)),
    ],
)
def test_a_verification_that_leaves_out_a_step_misses_changes(
    disk: Path, healthy: dict[str, bytes], step: str, tables: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsck._Fsck, step, lambda verification, *_: verification.report if step == "run" else None)
    # Nor does anybody open the values: the verification alone is on trial.
    monkeypatch.setattr(LedgerStore, "_payloads", lambda store, first: ({}, 0))
    todo = [kind for kind in kinds() if kind not in NOT_FOUND and kind[1] in tables]
    assert missed(healthy, disk / "scratch", todo, 2 * len(todo)) != []
