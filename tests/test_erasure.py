"""Erasure is carried out whatever happens beside it; what an administrator plants is named and never signed on."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import pytest
from eventsourcing.dcb.api import DCBEvent

from ledger.commands import CollectData, CorrectData, DecideErasure, DestroyKeys, LinkIdentifier, RegisterSubject
from ledger.errors import Invalid, LedgerError, StorageError, Tampered
from ledger.events import ClassDecision, Withheld
from ledger.recorder import LedgerRecorder
from ledger.tlog.fsck import fsck
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    IdentifierKind,
    KeyId,
    LegalBasis,
    Purpose,
    RetentionClass,
    SourceKind,
    Word,
)
from tests.bench import OFFICER, Bench, an_id

MARI, JAAN = an_id("mari"), an_id("jaan")


def collect(subject: str = MARI) -> CollectData:
    return CollectData(
        subject_id=subject,  # type: ignore[arg-type]
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values={"email": "mari@example.com"},
    )


def decide(subject: str = MARI) -> DecideErasure:
    decision = ClassDecision(
        retention_class=RetentionClass.CONTRACT, outcome=ErasureOutcome.ERASED, ground=Word("asked")
    )
    return DecideErasure(subject_id=subject, decisions=(decision,))  # type: ignore[arg-type]


def destroy(subject: str = MARI) -> DestroyKeys:
    return DestroyKeys(subject_id=subject, retention_classes=(RetentionClass.CONTRACT,))  # type: ignore[arg-type]


@pytest.fixture
def decided(bench: Bench) -> Bench:
    """Entries 2 and 3 hold an address each; the erasure of both is decided."""
    registered = (RegisterSubject(subject_id=subject) for subject in (MARI, JAAN))
    return bench.given(*registered, collect(), collect(JAAN), decide(), decide(JAAN))


def test_an_erasure_recorded_while_another_is_carried_out_is_carried_out_too(
    decided: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = decided.ledger
    delete, size = ledger.engine.delete_boxes, ledger.size()
    carrying_out = threading.Event()

    def slow(key_ids: Collection[KeyId], end: int) -> int:
        if not carrying_out.is_set():
            carrying_out.set()
            # The first erasure has 2 facts; the second one's are recorded before the first is carried out.
            assert ledger.wait_for(size + 4, 10)
        return delete(key_ids, end)

    monkeypatch.setattr(ledger.engine, "delete_boxes", slow)
    first = threading.Thread(target=ledger.record, args=(destroy(), OFFICER))
    first.start()
    assert carrying_out.wait(10)
    ledger.record(destroy(JAAN), OFFICER)
    first.join()
    assert (ledger.keys.of_subject(MARI), ledger.keys.of_subject(JAAN)) == ([], [])  # type: ignore[arg-type]
    assert fsck(ledger).problems == []


def test_an_erasure_that_is_held_up_fails_for_whoever_asked_and_for_nobody_else(
    decided: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = decided.ledger

    def held_up(key_ids: Collection[KeyId], end: int) -> int:
        raise StorageError("a reader holds an older state")

    with monkeypatch.context() as patch:
        patch.setattr(ledger.engine, "delete_boxes", held_up)
        with pytest.raises(StorageError, match="older state"):
            ledger.record(destroy(), OFFICER, idempotency_key="erase")
        ledger.record(RegisterSubject(subject_id=an_id("other")), OFFICER)
        # The key is gone already: nobody opens what is still there.
        assert ledger.keys.of_subject(MARI) == []  # type: ignore[arg-type]
        assert ledger.open(2).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
        assert ledger.engine.boxes(2) != []
    ledger.record(destroy(), OFFICER, idempotency_key="erase")
    assert ledger.engine.boxes(2) == []


def test_an_erasure_reaches_a_key_that_only_the_log_knows(bench: Bench) -> None:
    """The key store was restored from before the key was made; later the right one comes back."""
    bench.given(RegisterSubject(subject_id=MARI)).ledger.close()
    kept = shutil.copytree(bench.directory, bench.directory.parent / "kept")
    bench.ledger = bench.another()
    bench.given(collect(), decide()).ledger.close()
    good = shutil.copy(bench.directory / "keys.db", bench.directory.parent / "good.db")
    shutil.copy(kept / "keys.db", bench.directory / "keys.db")
    bench.ledger = bench.another()
    assert bench.ledger.open(1).values == {"email": Withheld.MISSING}  # type: ignore[attr-defined]
    bench.given(destroy()).ledger.close()
    shutil.copy(good, bench.directory / "keys.db")
    bench.ledger = bench.another()
    assert bench.ledger.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    assert fsck(bench.ledger).problems == []


def test_verification_knows_that_another_process_destroyed_a_key(decided: Bench) -> None:
    other = decided.another()
    try:
        other.record(destroy(), OFFICER)
    finally:
        other.close()
    assert fsck(decided.ledger).problems == []


# --- what is planted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [-6, 2**63 - 1, 900])
def test_a_planted_tag_row_is_named_and_nothing_is_signed_on_it(bench: Bench, index: int) -> None:
    bench.given(RegisterSubject(subject_id=MARI))
    bench.sql("INSERT INTO event_tags VALUES (?, ?, 3, 1)", (f"subject:{JAAN}", index))
    bench.reopen()
    assert [problem.check for problem in fsck(bench.ledger).problems] != []
    size = bench.ledger.size()
    with pytest.raises(LedgerError):
        bench.ledger.record(RegisterSubject(subject_id=JAAN), OFFICER)
    assert bench.ledger.size() == size


@pytest.mark.parametrize("file", ["ledger.db", "keys.db"])
def test_a_planted_trigger_refuses_the_start(bench: Bench, file: str) -> None:
    table = {"ledger.db": "events", "keys.db": "data_keys"}[file]
    bench.ledger.close()
    bench.sql("CREATE TABLE shadow (x)", file=file)
    bench.sql(f"CREATE TRIGGER copies AFTER INSERT ON {table} BEGIN INSERT INTO shadow VALUES (1); END", file=file)
    with pytest.raises(Tampered, match="copies"):
        bench.another()
    bench.sql("DROP TRIGGER copies", file=file)
    bench.sql("DROP TABLE shadow", file=file)
    bench.ledger = bench.another()


def test_an_index_that_leaves_a_row_out_is_named(decided: Bench) -> None:
    """What is asked by type, the destroyed keys among it, would not be found."""
    (sql,) = decided.sql("SELECT sql FROM sqlite_schema WHERE name = 'events_by_type'")
    decided.sql("DROP INDEX events_by_type")
    decided.sql("CREATE INDEX events_by_type ON events (type, idx) WHERE idx <> 2")
    decided.sql("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = ? WHERE name = 'events_by_type'", sql)
    decided.reopen()
    assert any("events_by_type" in problem.why for problem in fsck(decided.ledger).problems)


def test_one_key_that_does_not_open_is_named_and_the_others_are_checked(decided: Bench) -> None:
    decided.sql("UPDATE data_keys SET wrapped = zeroblob(60) WHERE subject_id = ?", (MARI,), file="keys.db")
    decided.reopen()
    report = fsck(decided.ledger)
    assert report.present == 1
    assert {problem.check for problem in report.problems} == {"key store", "sealed"}


# --- what stays out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [f"subject:{MARI}", "key:x", "order:"])
def test_a_library_event_cannot_carry_a_tag_of_the_ledgers_own(bench: Bench, tag: str) -> None:
    with pytest.raises(Invalid, match="tags"):
        LedgerRecorder(bench.ledger).append([DCBEvent("lent", b"{}", [tag])])


@pytest.mark.parametrize("depth", [30, 31, 32, 33, 40])
def test_whatever_depth_a_library_event_has_it_verifies(bench: Bench, depth: int) -> None:
    data = b'{"a":' * depth + b"1" + b"}" * depth
    recorder = LedgerRecorder(bench.ledger)
    recorder.append([DCBEvent("deep", data, ["t"])])
    assert [event.event.data for event in recorder.read()] == [data]
    assert fsck(bench.ledger).problems == []


def test_a_field_that_is_needed_is_not_none(bench: Bench) -> None:
    nothing: Any = None
    bench.given(RegisterSubject(subject_id=MARI))
    link = LinkIdentifier(subject_id=MARI, kind=IdentifierKind.EMAIL, value=nothing)  # type: ignore[arg-type]
    bench.when(link).refused(Invalid, field="value")


def test_true_is_no_version(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=MARI), collect())
    command = CorrectData(
        subject_id=MARI,  # type: ignore[arg-type]
        field=Word("email"),
        value="x",
        expected_version=True,
        channel=Channel.PHONE,
    )
    bench.when(command).refused(Invalid, field="expected_version")


@pytest.mark.parametrize("key", ["\ud800", "a\x00"])
def test_an_idempotency_key_is_text(bench: Bench, key: str) -> None:
    with pytest.raises(Invalid, match="idempotency_key"):
        bench.ledger.record(RegisterSubject(subject_id=MARI), OFFICER, idempotency_key=key)
    with pytest.raises(Invalid, match="idempotency_key"):
        bench.ledger.recorded_under(key)


def test_a_value_that_json_cannot_hold_is_named_with_an_idempotency_key_too(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=MARI))  # type: ignore[arg-type]
    command = msgspec.structs.replace(collect(), values={"email": "\ud800"})
    with pytest.raises(Invalid, match=r"^values: holds a lone surrogate"):
        bench.ledger.record(command, OFFICER, idempotency_key="key")


def test_what_is_kept_of_boundaries_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.boundaries._EVENTS_IN_ALL", 20)
    subjects: Sequence[str] = [an_id(f"subject {number}") for number in range(20)]
    for subject in subjects:
        bench.given(RegisterSubject(subject_id=subject), collect(subject))  # type: ignore[arg-type]
        bench.given(collect(subject))
    kept = bench.ledger._boundaries
    # An answer counts as one event more, so that answers of nothing are bounded too.
    held = [len(events) + 1 for items in kept._by_tag.values() for events in items.values()]
    assert 0 < sum(held) == kept._events <= 20
    for subject in subjects:
        bench.given(collect(subject))
