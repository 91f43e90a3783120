"""What a superuser changes is found by name, though no grant binds one: at the next start, or by verification."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import VerificationError
from ledger.tlog.fsck import fsck
from tests.bench import Bench, an_id, append, check_ledger
from tests.postgres.place import PostgresPlace
from tests.test_sequencer import collect, register


@pytest.fixture
def bench(postgres: PostgresPlace, tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path / "host", server=postgres.server()) as bench:
        bench.given(register(), register("jaan"), collect(), collect(an_id("jaan")))
        append(bench.ledger, "a", count=300)
        yield bench
    assert bench.server is not None
    postgres.drop(bench.server.schema)


CHANGES = [
    "UPDATE {s}.events SET entry = entry || ' ' WHERE idx = 1",
    "UPDATE {s}.events SET entry = (SELECT entry FROM {s}.events WHERE idx = 3) WHERE idx = 2",
    "UPDATE {s}.events SET leaf = sha256('other') WHERE idx = 1",
    "UPDATE {s}.events SET type = type + 1 WHERE idx = 1",
    "DELETE FROM {s}.events WHERE idx = 2",
    "DELETE FROM {s}.events WHERE idx = 303",
    "INSERT INTO {s}.events SELECT 304, type, entry, leaf FROM {s}.events WHERE idx = 303",
    "INSERT INTO {s}.events SELECT -1, type, entry, leaf FROM {s}.events WHERE idx = 303",
    "UPDATE {s}.event_tags SET n = n + 1 WHERE idx = 3 AND tag = 'x' OR idx = 5",
    "UPDATE {s}.event_tags SET tag = 'b' WHERE idx = 5",
    "DELETE FROM {s}.event_tags WHERE idx = 5",
    "INSERT INTO {s}.event_tags VALUES ('a', 900, 301, 1)",
    "UPDATE {s}.tiles SET hashes = overlay(hashes PLACING '\\x00' FROM 5)",
    "DELETE FROM {s}.tiles",
    "UPDATE {s}.checkpoints SET note = note || '.'",
    "DELETE FROM {s}.checkpoints WHERE size = (SELECT max(size) FROM {s}.checkpoints)",
    "INSERT INTO {s}.checkpoints SELECT 900, note FROM {s}.checkpoints WHERE size = 1",
    "UPDATE {s}.sealed SET box = overlay(box PLACING '\\x00' FROM 30)",
    "UPDATE {s}.sealed SET idx = 900 WHERE idx = 2",
    "UPDATE {s}.head SET size = size - 1",
    "UPDATE {s}.head SET size = size + 1",
    "INSERT INTO {s}.idempotency VALUES ('k', 'c', 900, 1)",
    "UPDATE {k}.data_keys SET wrapped = overlay(wrapped PLACING '\\x00' FROM 20)",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_found(postgres: PostgresPlace, bench: Bench, change: str) -> None:
    assert bench.server is not None
    assert fsck(bench.ledger).ok
    postgres.sql(change.format(s=bench.server.schema, k=bench.server.keys_schema))
    # What this process remembers of keys is not what the store has.
    for key in list(bench.ledger.keys._by_id):
        bench.ledger.keys.forget(key)
    report = fsck(bench.ledger)
    assert not report.ok, "not found"
    assert all(problem.why for problem in report.problems)


def test_rows_that_somebody_deleted_are_missing_and_not_erased(postgres: PostgresPlace, bench: Bench) -> None:
    assert bench.server is not None
    postgres.sql(f"DELETE FROM {bench.server.schema}.sealed")
    report = fsck(bench.ledger)
    assert (report.ok, report.missing, report.erased) == (True, 2, 0)


def test_a_database_rolled_back_is_refused_by_a_host_that_saw_more(postgres: PostgresPlace, bench: Bench) -> None:
    assert bench.server is not None
    s = bench.server.schema
    postgres.sql(
        f"DELETE FROM {s}.events WHERE idx >= 4; DELETE FROM {s}.event_tags WHERE idx >= 4; "
        f"DELETE FROM {s}.checkpoints WHERE size > 4; DELETE FROM {s}.tiles; UPDATE {s}.head SET size = 4"
    )
    with pytest.raises(VerificationError):
        bench.reopen()
    with pytest.raises(VerificationError):
        append(bench.another(), "t")


def test_a_verified_ledger_is_well(bench: Bench) -> None:
    assert fsck(bench.ledger).ok
    check_ledger(bench.ledger, 304)
