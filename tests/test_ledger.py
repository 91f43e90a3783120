"""The ledger as a whole: what opens and what does not, what is refused at the start, and what proves itself offline."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from ledger import Actor, Ledger, Receipt, create_ledger, open_ledger
from ledger.commands import CollectData, DecideErasure, DestroyKeys, RegisterSubject
from ledger.errors import Invalid, LedgerError, RolledBack, Stopped, StorageError, Tampered, VerificationError
from ledger.events import ClassDecision, Withheld
from ledger.keys import KeyStore
from ledger.storage import connect
from ledger.storage.engine import QueryItem
from ledger.storage.sqlite_keys import SqliteKeyTable
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.merkle import leaf_hash, verify_consistency
from ledger.tlog.note import Signer
from ledger.tlog.proof import LogProof
from ledger.vocabulary import ErasureOutcome, LegalBasis, Purpose, RetentionClass, SourceKind, Tag
from tests.bench import (
    KEK,
    OFFICER,
    ORIGIN,
    SIGNER,
    Bench,
    an_append,
    an_id,
    append,
    check_ledger,
    last_checkpoint,
    root_of,
)
from tests.conftest import MakeBench

MARI, JAAN = an_id("mari"), an_id("jaan")


def register(subject: str = MARI) -> RegisterSubject:
    return RegisterSubject(subject_id=subject)


def collect(subject: str = MARI, email: str = "mari@example.com") -> CollectData:
    return CollectData(
        subject_id=subject,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values={"email": email},
    )


def decide(subject: str = MARI) -> DecideErasure:
    decision: Any = ClassDecision(
        retention_class=RetentionClass.CONTRACT,
        outcome=ErasureOutcome.ERASED,
        ground="asked",  # type: ignore[arg-type]
    )
    return DecideErasure(subject_id=subject, decisions=(decision,))


def destroy(subject: str = MARI) -> DestroyKeys:
    return DestroyKeys(subject_id=subject, retention_classes=(RetentionClass.CONTRACT,))


def email_at(ledger: Ledger, index: int) -> object:
    return ledger.open(index).values["email"]  # type: ignore[attr-defined]


@pytest.fixture
def two_people(bench: Bench) -> Bench:
    """Entries 2 and 3 hold an address each."""
    return bench.given(register(), register(JAAN), collect(), collect(JAAN, "jaan@example.com"))


# --- what opens --------------------------------------------------------------------------------------------------


def test_a_recorded_value_is_present(two_people: Bench) -> None:
    assert email_at(two_people.ledger, 2) == "mari@example.com"
    two_people.reopen()
    assert email_at(two_people.ledger, 3) == "jaan@example.com"


def test_a_destroyed_value_is_erased_and_every_proof_still_holds(two_people: Bench) -> None:
    ledger = two_people.ledger
    before = ledger.prove(2)
    entry = ledger.entry(2)
    two_people.given(decide(), destroy())
    assert email_at(ledger, 2) is Withheld.ERASED
    assert email_at(ledger, 3) == "jaan@example.com"
    assert ledger.entry(2) == entry
    for proof in (before, ledger.prove(2)):
        LogProof.parse(proof).verify(entry, ledger.verifier, ledger.origin)
    check_ledger(ledger, 7)


def test_no_byte_of_an_erased_value_or_its_key_stays_in_any_file(two_people: Bench) -> None:
    (box,) = two_people.ledger.engine.boxes(2)
    ((wrap,),) = two_people.sql("SELECT wrapped FROM data_keys WHERE subject_id = ?", (MARI,), file="keys.db")
    stored = b"".join(file.read_bytes() for file in two_people.directory.iterdir())
    assert box.bytes in stored
    assert wrap in stored
    two_people.given(decide(), destroy())
    stored = b"".join(file.read_bytes() for file in two_people.directory.iterdir())
    assert box.bytes[12:44] not in stored
    assert wrap[12:44] not in stored


def test_no_personal_value_ever_stands_in_any_file(two_people: Bench) -> None:
    two_people.ledger.record(collect(email="canary@example.com"), OFFICER, idempotency_key="key canary@example.com")
    stored = b"".join(file.read_bytes() for file in two_people.directory.iterdir())
    assert b"canary" not in stored
    assert b"mari@" not in stored


def test_a_sealed_row_that_somebody_deleted_is_missing_and_never_erased(two_people: Bench) -> None:
    two_people.sql("DELETE FROM sealed WHERE idx = 2")
    assert email_at(two_people.ledger, 2) is Withheld.MISSING
    assert email_at(two_people.ledger, 3) == "jaan@example.com"


def test_sealed_values_swapped_between_events_are_tampering(two_people: Bench) -> None:
    rows = two_people.sql("SELECT idx, key_id, box FROM sealed ORDER BY idx")
    two_people.sql("DELETE FROM sealed")
    (_, key, box), (_, other_key, other_box) = rows
    two_people.sql("INSERT INTO sealed VALUES (2, ?, ?), (3, ?, ?)", (other_key, other_box, key, box))
    for index in (2, 3):
        with pytest.raises(Tampered):
            two_people.ledger.open(index)


def test_a_box_of_another_event_of_the_same_subject_is_tampering(bench: Bench) -> None:
    bench.given(register(), collect(email="old"), collect(email="new"))
    (_, (_, key, box)) = bench.sql("SELECT idx, key_id, box FROM sealed ORDER BY idx")
    bench.sql("DELETE FROM sealed WHERE idx = 1")
    bench.sql("INSERT INTO sealed VALUES (1, ?, ?)", (key, box))
    with pytest.raises(Tampered):
        bench.ledger.open(1)


def test_a_box_put_beside_an_event_that_never_had_one_opens_nothing(two_people: Bench) -> None:
    ((key, box),) = two_people.sql("SELECT key_id, box FROM sealed WHERE idx = 2")
    two_people.sql("INSERT INTO sealed VALUES (0, ?, ?)", (key, box))
    two_people.sql("INSERT INTO sealed VALUES (3, ?, ?)", (key, box))
    assert two_people.ledger.open_fields(two_people.ledger.entry(0)).fields == {}
    with pytest.raises(Tampered):
        two_people.ledger.open(3)


def test_a_lost_key_store_makes_every_value_missing_and_the_log_still_verifies(two_people: Bench) -> None:
    two_people.given(decide(), destroy())
    two_people.ledger.close()
    (two_people.directory / "keys.db").unlink()
    with pytest.raises(StorageError):
        two_people.another()
    KeyStore(SqliteKeyTable(two_people.directory / "keys.db", create=True), KEK, create=True).close()
    two_people.ledger = two_people.another()
    assert email_at(two_people.ledger, 3) is Withheld.MISSING
    assert email_at(two_people.ledger, 2) is Withheld.ERASED, "that one was destroyed on purpose"
    check_ledger(two_people.ledger, 7)
    two_people.ledger.receipt(2, 1).verify(two_people.ledger.verifier, ORIGIN)
    two_people.given(collect(email="after the loss"))
    assert email_at(two_people.ledger, 7) == "after the loss"


def test_an_older_key_store_replays_the_destructions_before_anything_is_served(
    two_people: Bench, tmp_path: Path
) -> None:
    two_people.ledger.close()
    backup = shutil.copy(two_people.directory / "keys.db", tmp_path / "keys-backup.db")
    two_people.ledger = two_people.another()
    two_people.given(decide(), destroy())
    two_people.ledger.close()
    shutil.copy(backup, two_people.directory / "keys.db")
    assert two_people.sql("SELECT count(*) FROM data_keys WHERE subject_id = ?", (MARI,), file="keys.db") == [(1,)]
    two_people.ledger = two_people.another()
    assert email_at(two_people.ledger, 2) is Withheld.ERASED
    assert email_at(two_people.ledger, 3) == "jaan@example.com"
    assert two_people.sql("SELECT count(*) FROM data_keys WHERE subject_id = ?", (MARI,), file="keys.db") == [(0,)]


def test_an_erasure_that_was_cut_off_is_finished_at_the_next_start(
    two_people: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_people.given(decide())

    def cut_off(*args: object) -> int:
        raise StorageError("the power went")

    monkeypatch.setattr(two_people.ledger.engine, "delete_boxes", cut_off)
    with pytest.raises(StorageError):
        two_people.ledger.record(destroy(), OFFICER, idempotency_key="k")
    monkeypatch.undo()
    two_people.reopen()
    assert two_people.sql("SELECT count(*) FROM sealed WHERE idx = 2") == [(0,)]
    assert two_people.sql("SELECT count(*) FROM data_keys WHERE subject_id = ?", (MARI,), file="keys.db") == [(0,)]
    two_people.ledger.record(destroy(), OFFICER, idempotency_key="k")
    check_ledger(two_people.ledger, 7)


def test_there_is_no_entry_beyond_the_end_or_before_the_beginning(two_people: Bench) -> None:
    for index in (-1, 4, 2**62):
        with pytest.raises(Invalid):
            two_people.ledger.open(index)
        with pytest.raises(Invalid):
            two_people.ledger.prove(index)


# --- what is refused at the start --------------------------------------------------------------------------------


def test_a_ledger_with_the_wrong_keys_is_not_opened(bench: Bench) -> None:
    bench.given(register())
    bench.ledger.close()
    with pytest.raises(StorageError):
        bench.another(kek=bytes(32))
    with pytest.raises(StorageError):
        bench.another(signer=Signer(ORIGIN, bytes(32)))
    bench.ledger = bench.another()
    check_ledger(bench.ledger, 1)


@pytest.mark.parametrize("file", ["ledger.db", "keys.db", "guard"])
def test_a_ledger_that_lacks_a_file_is_not_opened(bench: Bench, file: str) -> None:
    bench.given(register())
    bench.ledger.close()
    (bench.directory / file).rename(bench.directory / "elsewhere")
    with pytest.raises(StorageError):
        bench.another()
    (bench.directory / "elsewhere").rename(bench.directory / file)
    bench.ledger = bench.another()


@pytest.mark.parametrize("later", [1, 2, 300])
def test_an_older_copy_of_the_database_is_refused_and_nothing_is_signed(
    bench: Bench, tmp_path: Path, later: int
) -> None:
    append(bench.ledger, "t", count=5)
    bench.ledger.close()
    old = bench.copy(tmp_path / "old")
    bench.ledger = bench.another()
    append(bench.ledger, "t", count=later)
    bench.ledger.close()
    guard = (bench.directory / "guard").read_bytes()
    shutil.copy(old / "ledger.db", bench.directory / "ledger.db")
    with pytest.raises(RolledBack):
        bench.another()
    assert (bench.directory / "guard").read_bytes() == guard


def test_a_new_database_beside_an_old_guard_is_refused(bench: Bench, empty_ledger: Path) -> None:
    bench.given(register())
    bench.ledger.close()
    shutil.copy(empty_ledger / "ledger.db", bench.directory / "ledger.db")
    with pytest.raises(RolledBack):
        bench.another()


def test_a_guard_that_was_emptied_or_replaced_is_refused(bench: Bench, empty_ledger: Path) -> None:
    bench.given(register())
    bench.ledger.close()
    shutil.copy(empty_ledger / "guard", bench.directory / "guard")
    with pytest.raises(RolledBack):
        bench.another()
    (bench.directory / "guard").write_bytes(bytes(8_192))
    with pytest.raises(RolledBack):
        bench.another()
    (bench.directory / "guard").write_bytes(b"\x01" * 8_192)
    with pytest.raises(Tampered):
        bench.another()


def test_a_database_put_back_while_the_ledger_runs_is_noticed_at_the_next_signing(bench: Bench, tmp_path: Path) -> None:
    append(bench.ledger, "t", count=3)
    current = apsw.Connection(str(bench.directory / "ledger.db"), vfs=connect._VFS)
    old = apsw.Connection(str(tmp_path / "old.db"), vfs=connect._VFS)
    with old.backup("main", current, "main") as backup:
        backup.step()
    append(bench.ledger, "t", count=2)
    with current.backup("main", old, "main") as backup:
        backup.step()
    current.close()
    old.close()
    assert bench.ledger.size() == 3
    with pytest.raises(Stopped) as stopped:
        append(bench.ledger, "another history")
    assert isinstance(stopped.value.__cause__, RolledBack)
    assert bench.ledger.size() == 3


TRUNCATIONS: list[tuple[str, str]] = [
    ("events", "DELETE FROM events WHERE idx = 4"),
    ("events", "DELETE FROM events WHERE idx >= 3"),
    ("events", "DELETE FROM events"),
    ("events", "DELETE FROM events WHERE idx = 2"),
    ("checkpoints", "DELETE FROM checkpoints"),
    ("checkpoints", "DELETE FROM checkpoints WHERE size = (SELECT max(size) FROM checkpoints)"),
    ("events", "UPDATE events SET leaf = zeroblob(32) WHERE idx = 1"),
    ("events", "UPDATE events SET entry = CAST('{}' AS BLOB) WHERE idx = 4"),
    ("checkpoints", "UPDATE checkpoints SET note = CAST('note' AS BLOB)"),
]


@pytest.mark.parametrize(("table", "statement"), TRUNCATIONS, ids=[case[1] for case in TRUNCATIONS])
def test_a_database_that_is_not_the_signed_one_is_refused(bench: Bench, table: str, statement: str) -> None:
    for _ in range(5):
        append(bench.ledger, "t")
    bench.ledger.close()
    for what in ("update", "delete"):
        bench.sql(f"DROP TRIGGER {table}_refuse_{what}")
    bench.sql(statement)
    with pytest.raises((VerificationError, StorageError)):
        bench.another()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_database_file_cut_short_is_refused(bench: Bench, share: float) -> None:
    append(bench.ledger, "t", count=500)
    bench.ledger.close()
    path = bench.directory / "ledger.db"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(LedgerError):
        bench.another()


def test_a_clone_that_shares_the_guard_cannot_sign_a_second_root(bench: Bench, tmp_path: Path) -> None:
    append(bench.ledger, "t", count=3)
    bench.ledger.close()
    clone = bench.copy(tmp_path / "clone")
    shared = bench.directory / "guard"

    def opened(directory: Path) -> Ledger:
        return open_ledger(directory, kek=KEK, signer=SIGNER, guard=shared, clock=bench.clock)

    ours, theirs = opened(bench.directory), opened(clone)
    bench.ledger = ours
    try:
        append(ours, "ours")
        with pytest.raises(Stopped) as stopped:
            append(theirs, "theirs")
        assert isinstance(stopped.value.__cause__, RolledBack)
        assert theirs.size() == 3
        append(ours, "ours")
        check_ledger(ours, 5)
    finally:
        theirs.close()
    with pytest.raises(RolledBack):
        opened(clone)


def test_a_clone_that_went_its_own_way_is_refused_by_the_shared_guard(bench: Bench, tmp_path: Path) -> None:
    append(bench.ledger, "t", count=3)
    bench.ledger.close()
    clone = bench.copy(tmp_path / "clone")
    with open_ledger(clone, kek=KEK, signer=SIGNER, clock=bench.clock) as other:
        append(other, "theirs", count=9)
    bench.ledger = bench.another()
    append(bench.ledger, "ours")
    with pytest.raises(RolledBack):
        open_ledger(clone, kek=KEK, signer=SIGNER, guard=bench.directory / "guard", clock=bench.clock)


def test_a_ledger_that_does_not_open_leaves_nothing_running(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.given(register())
    bench.ledger.close()
    before = threading.active_count()

    def broken(*args: object) -> Any:
        raise StorageError("the disk failed")

    monkeypatch.setattr(KeyStore, "erasures_applied_to", broken)
    with pytest.raises(StorageError):
        bench.another()
    assert threading.active_count() == before
    monkeypatch.undo()
    bench.ledger = bench.another()


# --- making one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["", "has space", "plus+sign", "ä", "x" * 201, "a\n", "\x00"])
def test_an_origin_that_no_checkpoint_can_carry_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(Invalid):
        create_ledger(tmp_path / "data", origin=origin, kek=KEK, signer=SIGNER)
    assert not (tmp_path / "data").exists()


def test_making_a_ledger_again_changes_nothing(bench: Bench) -> None:
    bench.given(register())
    create_ledger(bench.directory, origin=ORIGIN, kek=KEK, signer=SIGNER)
    bench.reopen()
    check_ledger(bench.ledger, 1)


def test_many_may_make_and_open_the_same_ledger_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    results: list[object] = []

    def start() -> None:
        barrier.wait(30)
        try:
            create_ledger(tmp_path / "data", origin=ORIGIN, kek=KEK, signer=SIGNER)
            with open_ledger(tmp_path / "data", kek=KEK, signer=SIGNER) as ledger:
                results.append(append(ledger, "t").first)
        except Exception as error:
            results.append(error)

    for _ in range(5):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        results.clear()
        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(map(str, results)) == ["0", "1", "2", "3"]


# --- receipts and proofs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 600])
def test_every_entry_is_proven_under_every_later_checkpoint(bench: Bench, size: int) -> None:
    append(bench.ledger, "t", count=size)
    append(bench.ledger, "t", count=3)
    for index in {0, size // 2, size - 1}:
        for at_least in (None, index + 1, size + 1):
            proof = LogProof.parse(bench.ledger.prove(index, size=at_least))
            checkpoint = proof.verify(bench.ledger.entry(index), bench.ledger.verifier, ORIGIN)
            assert checkpoint.size >= (at_least or 0)


def test_a_receipt_holds_all_that_a_command_recorded(two_people: Bench) -> None:
    two_people.given(decide())
    receipt = two_people.ledger.record(destroy(), OFFICER)
    assert (receipt.index, receipt.position, len(receipt.entries)) == (5, 7, 2)
    assert list(receipt.entries) == [two_people.ledger.entry(5), two_people.ledger.entry(6)]
    assert receipt.verify(two_people.ledger.verifier, ORIGIN).size == 7
    assert two_people.ledger.receipt(5, 2) == receipt


def test_any_flipped_byte_of_a_receipt_fails(two_people: Bench) -> None:
    append(two_people.ledger, "t", count=10)
    receipt = two_people.ledger.receipt(3, 1)
    verifier = two_people.ledger.verifier
    receipt.verify(verifier, ORIGIN)
    (entry,), (proof,) = receipt.entries, receipt.proofs
    for at in range(len(entry)):
        with pytest.raises(VerificationError):
            Receipt(3, (flip(entry, at),), (proof,)).verify(verifier, ORIGIN)
    for at in range(len(proof)):
        with pytest.raises(VerificationError):
            Receipt(3, (entry,), (flip(proof, at),)).verify(verifier, ORIGIN)


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_receipt_put_together_from_parts_fails(two_people: Bench) -> None:
    ledger = two_people.ledger
    one, two = ledger.receipt(0, 1), ledger.receipt(1, 1)
    wrong = [
        Receipt(0, one.entries, two.proofs),
        Receipt(1, one.entries, one.proofs),
        Receipt(0, (*one.entries, *two.entries), one.proofs),
        Receipt(0, one.entries, (*one.proofs, *two.proofs)),
        Receipt(0, (), ()),
        Receipt(1, (*two.entries, *one.entries), (*two.proofs, *one.proofs)),
    ]
    for receipt in wrong:
        with pytest.raises(VerificationError):
            receipt.verify(ledger.verifier, ORIGIN)
    with pytest.raises(VerificationError):
        one.verify(Signer(ORIGIN, bytes(32)).verifier, ORIGIN)
    with pytest.raises(VerificationError):
        one.verify(ledger.verifier, "example.com/other")


def test_any_two_checkpoints_are_consistent(bench: Bench) -> None:
    for count in (1, 1, 3, 100, 151, 1, 256, 90):
        append(bench.ledger, "t", count=count)
    tree = bench.ledger.tree()
    leaves = [leaf_hash(stored.entry) for stored in bench.ledger.engine.entries()]
    notes = [open_checkpoint(note, bench.ledger.verifier, ORIGIN) for _, note in bench.ledger.engine.checkpoints()]
    assert [note.size for note in notes] == [1, 2, 5, 105, 256, 257, 513, 603]
    for note in notes:
        assert note.root == root_of(leaves[: note.size])
    for old, new in itertools.combinations(notes, 2):
        proof = tree.consistency_proof(old.size, new.size)
        verify_consistency(old_size=old.size, new_size=new.size, old_root=old.root, new_root=new.root, proof=proof)


def test_one_checkpoint_signs_each_size_once(bench: Bench) -> None:
    for _ in range(5):
        append(bench.ledger, "t")
        bench.reopen()
    sizes = [size for size, _ in bench.ledger.engine.checkpoints()]
    assert sizes == [1, 2, 3, 4, 5]
    assert last_checkpoint(bench.ledger).size == 5


# --- reading and waiting -----------------------------------------------------------------------------------------


def test_reading_gives_events_with_their_place_and_moment(two_people: Bench) -> None:
    found = list(two_people.ledger.read((QueryItem(tags=(Tag(f"subject:{JAAN}"),)),)))
    assert [recorded.index for recorded in found] == [1, 3]
    assert [type(recorded.event).TOPIC for recorded in found] == ["subject-registered", "personal-data-collected"]
    assert all(recorded.recorded_at == two_people.clock.now for recorded in found)
    assert found[1].event.values == {"email": Withheld.SEALED}  # type: ignore[attr-defined]
    assert [recorded.index for recorded in two_people.ledger.read(after=1, end=3)] == [1, 2]


def test_waiting_for_a_position_ends_when_it_is_there(bench: Bench) -> None:
    assert not bench.ledger.wait_for(1, 0.0)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(bench.ledger.wait_for(2, 30)))
    waiting.start()
    append(bench.ledger, "t", count=2)
    waiting.join(30)
    assert answers == [True]
    assert bench.ledger.wait_for(2, 0.0)


def test_waiting_sees_what_another_process_recorded(bench: Bench) -> None:
    other = bench.another()
    append(other, "t")
    other.close()
    assert bench.ledger.wait_for(1, 5)


def test_the_clock_is_in_utc_unless_a_test_says_otherwise(bench: Bench) -> None:
    bench.ledger.close()
    with open_ledger(bench.directory, kek=KEK, signer=SIGNER) as ledger:
        assert ledger.now().tzinfo is UTC
        assert abs((ledger.now() - datetime.now(UTC)).total_seconds()) < 60


def test_recording_from_threads_and_loops_at_once_keeps_one_log(make_bench: MakeBench) -> None:
    bench = make_bench()

    def in_a_thread(number: int) -> None:
        for i in range(20):
            bench.ledger.record(register(an_id(f"{number} {i}")), OFFICER)

    async def in_a_loop() -> None:
        await asyncio.gather(*(bench.ledger.arecord(register(an_id(f"loop {i}")), OFFICER) for i in range(60)))

    jobs: list[Callable[[], object]] = [lambda n=n: in_a_thread(n) for n in range(3)]  # type: ignore[misc]
    threads = [threading.Thread(target=job) for job in (*jobs, lambda: asyncio.run(in_a_loop()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check_ledger(bench.ledger, 120)


@pytest.mark.parametrize("_round", range(5))
def test_closing_while_others_read_ends_their_reading_with_a_storage_error(bench: Bench, _round: int) -> None:
    append(bench.ledger, "t", count=300)
    ended: list[Exception] = []
    stop = threading.Event()
    barrier = threading.Barrier(5)

    def read() -> None:
        barrier.wait(30)
        try:
            while not stop.is_set():
                assert len(list(bench.ledger.engine.entries())) == 300
        except Exception as error:
            ended.append(error)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait(30)
    try:
        bench.ledger.close()
    finally:
        for thread in threads:
            thread.join(2)
        stop.set()
    assert [type(error) for error in ended] == [StorageError] * 4, ended


def test_prepared_events_must_be_events(bench: Bench) -> None:
    with pytest.raises(AssertionError):
        bench.ledger.append(an_append(count=0))
    append(bench.ledger, "t")
    check_ledger(bench.ledger, 1)


def test_who_asked_stands_in_every_event(bench: Bench) -> None:
    someone: Any = msgspec.structs.replace(OFFICER, id=an_id("someone"))
    assert isinstance(someone, Actor)
    bench.given(register(), by=someone)
    assert bench.ledger.open(0).by == someone


def test_a_directory_that_holds_another_ledger_is_not_taken_for_a_new_one(bench: Bench) -> None:
    stranger = Signer(bench.ledger.origin, bytes(32))
    with pytest.raises(StorageError, match="already"):
        create_ledger(bench.directory, origin=bench.ledger.origin, kek=KEK, signer=stranger)
    with pytest.raises(Invalid, match="signer"):
        create_ledger(bench.directory, origin="example.com/other", kek=KEK, signer=stranger)
