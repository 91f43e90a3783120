"""Following, rebuilding, comparing: each entry once, and never a state that no rebuild would give."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger import Ledger
from ledger.append import Append
from ledger.command import Fact
from ledger.commands import RegisterSubject
from ledger.entry import Draft
from ledger.errors import StorageError
from ledger.events import SubjectRegistered
from ledger.keys import KeyScope
from ledger.storage.server import Server
from ledger.vocabulary import RetentionClass, SubjectId, SubjectRole, new_id, subject_tag
from projections import Difference
from projections.personal_data import PersonalData
from projections.projection import Item
from projections.runner import Runner
from projections.storage.store import Generation, Writer
from tests.projections.crowd import crowd
from tests.projections.world import OFFICER, Where, World, collect, dump

ROOT = Path(__file__).parents[2]
EVENTS = int(os.environ.get("PROOFTRAIL_PROJECTION_EVENTS", "24000"))


def small_batches(world: World, batch: int) -> Runner:
    """Make the projections take in few entries at a time."""
    world.asked.runner._batch = batch
    return world.asked.runner


# --- following -------------------------------------------------------------------------------------------------


def test_nothing_is_answered_before_anything_is_built(world: World) -> None:
    assert not world.asked.status().built
    with pytest.raises(StorageError, match="rebuild"):
        world.asked.consents(SubjectId(new_id()))


def test_catching_up_with_an_empty_ledger_builds_the_tables(world: World) -> None:
    assert world.asked.catch_up() == 0
    assert world.asked.consents(SubjectId(new_id())) == ()
    status = world.asked.status()
    assert (status.built, status.position, status.lag, status.quarantined) == (True, 0, 0, 0)
    assert status.versions == world.asked.runner._versions
    assert {
        "consents",
        "disclosures",
        "order_trail",
        "personal_data",
        "registers",
        "requests",
    } <= status.versions.keys()


@pytest.mark.parametrize("batch", [1, 7, 8_192])
def test_following_equals_a_rebuild_whatever_the_batch(world: World, batch: int) -> None:
    small_batches(world, batch)
    world.asked.catch_up()
    crowd(world.ledger, 100, lives_a_batch=5)
    world.asked.catch_up()
    crowd(world.ledger, 100, seed=2, lives_a_batch=5)
    done: list[tuple[int, int]] = []
    world.asked.catch_up(lambda *progress: done.append(progress))
    assert done[-1] == (world.ledger.size(), world.ledger.size())
    followed = dump(world.asked)
    assert world.asked.rebuild() == world.ledger.size()
    assert dump(world.asked) == followed
    assert len(followed["order_steps"]) > 20


@pytest.mark.parametrize("enabled", [True, False])
def test_a_rebuild_leaves_the_collector_of_circles_as_it_was(world: World, enabled: bool) -> None:
    crowd(world.ledger, 20)
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        during: list[bool] = []
        world.asked.rebuild(lambda *_: during.append(gc.isenabled()))
        assert gc.isenabled() is enabled
        assert not any(during)
        assert during
    finally:
        (gc.enable if before else gc.disable)()


def test_a_follower_takes_in_what_is_recorded_meanwhile(world: World) -> None:
    world.asked.follow()
    world.asked.follow()
    receipt = world.given(RegisterSubject(subject_id=SubjectId(new_id())))
    assert world.asked.wait_for(receipt.position, 10)
    assert world.asked.status().lag == 0
    assert world.asked.status().following
    assert not world.asked.wait_for(receipt.position + 1, 0.05)


class Watched(threading.Event):
    """Says when somebody begins to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for.release()
        return super().wait(timeout)


def gathering(world: World, monkeypatch: pytest.MonkeyPatch, *, pause_s: float, at_most_s: float) -> Watched:
    """Follow, at another pace than usual; return what a follower waits for while it gathers."""
    world.asked.catch_up()
    monkeypatch.setattr("projections.runner._PAUSE_S", pause_s)
    monkeypatch.setattr("projections.runner._GATHER_S", at_most_s)
    monkeypatch.setattr("projections.runner._GATHERED", 10**9)
    world.asked.runner._hurried = Watched()
    world.asked.follow()
    return world.asked.runner._hurried


def test_a_follower_that_waits_for_more_is_hurried_by_whoever_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried = gathering(world, monkeypatch, pause_s=30, at_most_s=30)
    first = world.given(RegisterSubject(subject_id=SubjectId(new_id())))
    assert hurried.waited_for.acquire(timeout=10)
    assert world.asked.position() < first.position
    assert world.asked.wait_for(first.position, 10)
    second = world.given(RegisterSubject(subject_id=SubjectId(new_id())))
    assert hurried.waited_for.acquire(timeout=10)
    assert world.asked.position() < second.position
    # Stopping does not wait for more either.
    world.asked.runner.stop()
    assert world.asked.position() == second.position


def test_a_follower_takes_in_what_comes_without_a_pause_before_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathering(world, monkeypatch, pause_s=0.5, at_most_s=1)
    recorded, deadline = 0, time.monotonic() + 10
    while world.asked.position() == 0 and time.monotonic() < deadline:
        # Never a pause as long as the one that it waits for.
        recorded = world.given(RegisterSubject(subject_id=SubjectId(new_id()))).position
    assert 0 < world.asked.position() <= recorded


def test_a_follower_of_an_empty_ledger_answers(world: World) -> None:
    world.asked.follow()
    deadline = time.monotonic() + 10
    while not world.asked.status().built and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.asked.consents(SubjectId(new_id())) == ()


def test_waiting_without_a_follower_does_the_work(world: World) -> None:
    subject = world.subject()
    assert world.asked.wait_for(1)
    assert world.asked.state(subject).position == 1
    assert not world.asked.wait_for(2, 0.05)


def test_a_follower_goes_on_after_a_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.asked.catch_up()
    monkeypatch.setattr("projections.runner._RETRY_S", 0.01)
    healthy = world.asked.runner._applier.advance

    def full(generation: Generation, first: int, end: int) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(world.asked.runner._applier, "advance", full)
    world.asked.follow()
    receipt = world.given(RegisterSubject(subject_id=SubjectId(new_id())))
    deadline = time.monotonic() + 10
    while world.asked.status().failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.asked.status().failure == "StorageError"
    monkeypatch.setattr(world.asked.runner._applier, "advance", healthy)
    assert world.asked.wait_for(receipt.position, 10)


def test_an_answer_is_of_one_state(world: World) -> None:
    world.subject()
    world.asked.catch_up()
    with world.asked._store.read() as rows:
        before = rows("SELECT count(*) FROM subjects")
        world.subject()
        threading.Thread(target=world.asked.catch_up).run()
        assert rows("SELECT count(*) FROM subjects") == before
    assert len(dump(world.asked)["subjects"]) == 2


# --- what does not fit is rebuilt ------------------------------------------------------------------------------


def test_changed_code_is_rebuilt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.subject()
    world.asked.catch_up()
    before = world.where.in_use()
    monkeypatch.setattr(PersonalData, "VERSION", PersonalData.VERSION + 1)
    with world.where.projections(world.ledger) as newer:
        assert newer.catch_up() == 1
        assert newer.status().versions["personal_data"] == PersonalData.VERSION
    assert world.where.in_use() != before
    # The older program does not take it back.
    with pytest.raises(StorageError, match="newer"):
        world.asked.catch_up()


def test_a_ledger_restored_from_an_older_backup_is_rebuilt(where: Where, tmp_path: Path) -> None:
    where.make()
    newest, older = Where(tmp_path / "now"), Where(tmp_path / "backup")
    newest.make()
    older.make()
    with newest.opened() as now, where.projections(now) as projections:
        crowd(now, 40, lives_a_batch=1)
        projections.catch_up()
    with older.opened() as backup, where.projections(backup) as projections:
        backup.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER)
        assert projections.catch_up() == 1
        assert projections.verify().count == 0
        # The same number of entries, and other ones.
        crowd(backup, 20, seed=9, lives_a_batch=1)
        projections.catch_up()
        size = backup.size()
    with newest.opened() as now, where.projections(now) as projections:
        assert now.size() > size
        projections.catch_up()
        assert projections.verify().count == 0


@pytest.mark.parametrize("damage", ["garbage", "gone", "target gone"])
def test_damage_says_so_and_a_rebuild_heals_it(world: World, damage: str) -> None:
    subject = world.subject()
    world.asked.catch_up()
    world.asked._store.close()
    where = world.where
    target = world.data / where.in_use()
    match (damage, where.server):
        case ("garbage", None):
            target.write_bytes(os.urandom(8_192))
        case ("gone", None):
            where.path.unlink()
        case (_, None):
            target.unlink()
        case ("garbage", _):
            where.ask(f"DROP TABLE {where.in_use()}.projection")
        case ("gone", Server()):
            where.ask(f"DROP SCHEMA {where.server.read_schema} CASCADE")
        case _:
            where.ask(f"DROP SCHEMA {where.in_use()} CASCADE")
    with where.projections(world.ledger) as projections:
        if damage != "gone":
            with pytest.raises(StorageError, match="rebuild"):
                projections.catch_up()
        with pytest.raises(StorageError, match="rebuild"):
            projections.state(subject)
        projections.rebuild()
        assert projections.state(subject).subject_id == subject


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    with World(Where(tmp_path / "data")) as world:
        world.where.path.write_text("somebody's notes")
        with pytest.raises(StorageError, match="remove it"):
            world.asked.catch_up()
        assert world.where.path.read_text() == "somebody's notes"


# --- rebuilding ------------------------------------------------------------------------------------------------


def test_a_rebuild_leaves_one_generation_and_tells_how_far_it_is(world: World) -> None:
    crowd(world.ledger, 60, lives_a_batch=1)
    small_batches(world, 20)
    done: list[tuple[int, int]] = []
    for _ in range(3):
        world.asked.rebuild(lambda *progress: done.append(progress))
    assert done[0] == (20, world.ledger.size())
    assert done[-1] == (world.ledger.size(), world.ledger.size())
    assert world.where.generations() == [world.where.in_use()]


def test_readers_and_a_follower_go_on_through_a_rebuild(world: World) -> None:
    """Another thread asks all the time, a follower writes; every answer is of a whole state that never goes back."""
    subject = world.subject()
    world.asked.follow()
    assert world.asked.wait_for(1)
    seen: list[int] = []
    failures: list[Exception] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                seen.append(world.asked.state(subject).position)
        except Exception as error:
            failures.append(error)

    reader = threading.Thread(target=ask)
    reader.start()
    for seed in range(5):
        crowd(world.ledger, 40, seed=seed, lives_a_batch=2)
        world.asked.rebuild()
    stop.set()
    reader.join()
    assert not failures
    assert seen == sorted(seen)
    assert world.asked.wait_for(world.ledger.size(), 10)
    assert world.asked.verify().count == 0


def test_a_rebuild_that_fails_leaves_the_old_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = world.subject()
    world.asked.catch_up()
    before = world.where.in_use()

    healthy, extended = world.asked.runner._extend, []

    def fail(*given: Any) -> int:
        # First the build, then the last rows before the turn.
        extended.append(healthy(*given))
        if len(extended) == 2:
            raise StorageError("no")
        return extended[-1]

    monkeypatch.setattr(world.asked.runner, "_extend", fail)
    with pytest.raises(StorageError):
        world.asked.rebuild()
    assert world.where.in_use() == before
    assert world.asked.state(subject).position == 1
    assert world.where.generations() == [before]


# --- comparing -------------------------------------------------------------------------------------------------


def test_verify_finds_nothing_in_a_sound_state(world: World) -> None:
    crowd(world.ledger, 2_500)
    done: list[tuple[int, int]] = []
    found = world.then.verify(lambda *progress: done.append(progress))
    assert (found.count, found.differences, found.position) == (0, (), world.ledger.size())
    assert found.rows > 2_500
    assert done[-1] == (world.ledger.size(), world.ledger.size())
    assert world.where.generations() == [world.where.in_use()]


def test_verify_finds_nothing_while_the_ledger_grows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process records between the catching up and the building: the build must not run ahead."""
    crowd(world.ledger, 200)
    runner = world.then.runner
    catch_up = runner.catch_up

    def and_then_grow() -> int:
        reached = catch_up()
        crowd(world.ledger, 100)
        return reached

    monkeypatch.setattr(runner, "catch_up", and_then_grow)
    found = runner.verify()
    assert found.count == 0
    assert found.position < world.ledger.size()


@pytest.mark.parametrize(
    ("sql", "projection", "table", "what"),
    [
        (
            "UPDATE field_versions SET purpose = 'own-offers' WHERE idx = 2 AND field = 'email'",
            "personal_data",
            "field_versions",
            "changed",
        ),
        ("UPDATE consents_given SET recipient = NULL WHERE idx = 3", "consents", "consents_given", "changed"),
        ("DELETE FROM subjects WHERE idx = 0", "personal_data", "subjects", "missing"),
        ("DELETE FROM identifiers WHERE idx = 1", "personal_data", "identifiers", "missing"),
        ("INSERT INTO quarantine VALUES (5, 'consents', 'X')", "quarantine", "quarantine", "extra"),
        (
            "INSERT INTO consents_withdrawn SELECT idx, consent, subject, recorded_at, channel FROM consents_given"
            " WHERE idx = 3",
            "consents",
            "consents_withdrawn",
            "extra",
        ),
        (
            "DELETE FROM order_steps WHERE idx = (SELECT max(idx) FROM order_steps)",
            "order_trail",
            "order_steps",
            "missing",
        ),
        ("UPDATE disclosure_steps SET reason = 'x' WHERE idx = 4", "disclosures", "disclosure_steps", "changed"),
    ],
)
def test_verify_finds_a_planted_difference(world: World, sql: str, projection: str, table: str, what: str) -> None:
    crowd(world.ledger, 60, lives_a_batch=1)
    world.tamper(sql)
    found = world.asked.verify()
    assert found.count == 1
    (difference,) = found.differences
    assert (difference.projection, difference.table, difference.what) == (projection, table, what)
    world.asked.rebuild()
    assert world.asked.verify().count == 0


def test_verify_counts_all_and_names_the_first(world: World) -> None:
    crowd(world.ledger, 4_000)
    world.tamper("DELETE FROM order_steps WHERE idx % 3 = 0")
    world.tamper("INSERT INTO links SELECT idx, subject, recorded_at, 'email' FROM order_steps WHERE idx % 7 = 1")
    world.tamper("UPDATE subjects SET role = 'processor' WHERE idx = (SELECT max(idx) FROM subjects)")
    steps = [
        entry
        for entry in world.ledger.read()
        if "Order" in type(entry.event).__name__ or "Dispute" in type(entry.event).__name__
    ]
    missing = [entry.index for entry in steps if entry.index % 3 == 0]
    extra = [entry.index for entry in steps if entry.index % 7 == 1 and entry.index % 3]
    found = world.asked.verify(limit=3)
    assert found.count == len(missing) + len(extra) + 1
    assert len(found.differences) == 3
    every = world.asked.verify(limit=10_000).differences
    assert [d.key for d in every if d.table == "order_steps"] == [(index,) for index in missing]
    assert {d.key for d in every if d.table == "links"} == {(index,) for index in extra}
    assert isinstance(every[0], Difference)


def test_verify_finds_a_position_that_runs_ahead(world: World) -> None:
    crowd(world.ledger, 20, lives_a_batch=1)
    world.asked.catch_up()
    crowd(world.ledger, 20, seed=2, lives_a_batch=1)
    size = world.ledger.size()
    leaf = world.ledger.engine.leaves(size - 1, size)[0]
    with world.asked._store.writing() as generation:
        assert generation is not None
        generation.execute("UPDATE projection SET position = ?", size)
        generation.execute("UPDATE source SET leaf = ?", leaf)
    assert world.asked.verify().count >= 20


# --- poison ----------------------------------------------------------------------------------------------------


class Canary(Exception):
    """Its text holds what must never be kept."""


def poison(ledger: Ledger, drafts: Sequence[Draft]) -> int:
    """Append prepared drafts without any check; return the index of the first."""
    outcome = ledger.append(Append(drafts, [[] for _ in drafts]))
    return outcome.first  # type: ignore[union-attr]


@pytest.mark.parametrize("batch", [1, 4, 8_192])
def test_an_entry_that_cannot_be_decoded_is_quarantined(world: World, batch: int) -> None:
    small_batches(world, batch)
    first = world.subject()
    fact = Fact(SubjectRegistered(subject_id=SubjectId(new_id()), role=SubjectRole.CONTROLLER), [])
    (good,) = world.ledger.seal([fact], (), 0).drafts
    bad = msgspec.structs.replace(good, head=b'{"data":{"subject_id":17},"id":"x"')
    unknown = msgspec.structs.replace(good, type="not-of-this-version")
    index = poison(world.ledger, [bad, unknown])
    last = world.subject()
    status = world.then.status()
    wanted_by = ("marketing", "personal_data")
    assert status.quarantined == len(wanted_by)
    assert [(q.index, q.projection, q.error) for q in status.quarantine] == [
        (index, name, "Tampered") for name in wanted_by
    ]
    assert status.lag == 0
    assert world.asked.state(first).registered == 0
    assert world.asked.state(last).registered == index + 2
    assert world.asked.verify().count == 0


@pytest.mark.parametrize("batch", [1, 5, 8_192])
def test_an_event_that_one_projection_cannot_take_in_holds_up_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    small_batches(world, batch)
    subjects = [world.subject() for _ in range(9)]
    world.given(collect(subjects[0], address="Tartu"))
    healthy = PersonalData.apply

    def apply(self: PersonalData, items: Sequence[Item], writer: Writer) -> None:
        healthy(self, items, writer)
        if any(item.index in (3, 8) for item in items):
            raise Canary("mari@example.com")

    monkeypatch.setattr(PersonalData, "apply", apply)
    status = world.then.status()
    assert [(q.index, q.projection, q.error) for q in status.quarantine] == [
        (3, "personal_data", "Canary"),
        (8, "personal_data", "Canary"),
    ]
    assert [row[0] for row in dump(world.asked)["subjects"]] == [0, 1, 2, 4, 5, 6, 7]
    assert world.asked.state(subjects[0]).fields["address"].value == "Tartu"  # type: ignore[index]
    assert "mari@" not in repr(dump(world.asked))
    assert not any(b"mari@" in path.read_bytes() for path in world.data.glob("projections*"))


def test_an_entry_that_nobody_can_read_is_quarantined_for_everybody(world: World) -> None:
    world.subject()
    fact = Fact(SubjectRegistered(subject_id=SubjectId(new_id()), role=SubjectRole.CONTROLLER), [])
    (draft,) = world.ledger.seal([fact], (), 0).drafts
    index = poison(world.ledger, [msgspec.structs.replace(draft, head=b"[[")])
    world.subject()
    assert {(q.index, q.projection) for q in world.then.status().quarantine} == {
        (index, name) for name in world.asked.status().versions
    }
    assert [row[0] for row in dump(world.asked)["subjects"]] == [0, index + 1]


def test_a_row_that_does_not_fit_is_quarantined(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        world.subject()
    healthy = PersonalData.apply

    def apply(self: PersonalData, items: Sequence[Item], writer: Writer) -> None:
        healthy(self, items, writer)
        writer.insert("links", [(item.index, None, "", "") for item in items if item.index == 3])

    monkeypatch.setattr(PersonalData, "apply", apply)
    (found,) = world.then.status().quarantine
    assert (found.index, found.error) == (3, "Misfit")
    assert [row[0] for row in dump(world.asked)["subjects"]] == [0, 1, 2, 4]


def test_a_tampered_identifier_is_quarantined_and_an_engine_that_fails_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = world.subject()
    world.given(collect(subject, email="mari@example.com"))
    box = world.ledger.engine.boxes(1)

    def fails(indexes: object) -> object:
        raise StorageError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.engine, "boxes_of", fails)
        with pytest.raises(StorageError, match="gone"):
            world.asked.catch_up()
    scope = KeyScope(subject, SubjectRole.CONTROLLER, RetentionClass.IDENTITY)
    fact = Fact(
        SubjectRegistered(subject_id=SubjectId(new_id()), role=SubjectRole.CONTROLLER), [subject_tag(subject)], scope
    )
    world.ledger.append(Append(world.ledger.seal([fact], (), 0).drafts, [[]]))
    with monkeypatch.context() as patch:
        forged = type(box[0])(box[0].key_id, bytes(64))
        patch.setattr(world.ledger.engine, "boxes_of", lambda indexes: {index: [forged] for index in indexes})
        (found,) = world.then.status().quarantine
        assert (found.index, found.projection, found.error) == (1, "personal_data", "Tampered")


# --- several processes, and memory -----------------------------------------------------------------------------


def test_followers_in_three_processes_take_in_each_entry_once(made: Where) -> None:
    program = (
        "import sys; from tests.projections.test_kills import follow_to; from tests.projections.world import Where;"
        " follow_to(Where.heard(sys.argv[2:]), int(sys.argv[1]), batch=1)"
    )
    with made.opened() as ledger, made.projections(ledger) as projections:
        projections.catch_up()
        command = [sys.executable, "-c", program, "600", *made.told()]
        others = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "following\n"
        projections.runner._batch = 1
        projections.follow()
        while ledger.size() < 600:
            crowd(ledger, 60, seed=ledger.size(), lives_a_batch=3)
            time.sleep(0.02)
        for other in others:
            assert other.communicate(timeout=60)[0] == ""
            assert other.returncode == 0
        assert projections.wait_for(ledger.size(), 30)
        assert projections.verify().count == 0
        assert projections.status().quarantined == 0


def test_memory_stays_flat(made: Where) -> None:
    """Building from three times as many events takes no more memory: measured in a process of its own.

    PROOFTRAIL_PROJECTION_EVENTS sets how many.
    """
    grown: list[int] = []
    for events in (EVENTS // 3, EVENTS):
        with made.opened() as ledger:
            crowd(ledger, events - ledger.size(), lives_a_batch=100)
        program = (
            "import re, sys; from pathlib import Path; from tests.projections.world import Where\n"
            "where = Where.heard(sys.argv[1:])\n"
            "with where.opened() as ledger, where.projections(ledger) as projections:\n"
            "    projections.runner._batch = 1_000\n"
            "    projections.rebuild(); assert projections.verify().count == 0\n"
            # Not ru_maxrss: a child's begins with what its parent held.
            "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, *made.told()],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        grown.append(int(done.stdout) // 1024)
    # The caches of SQLite fill up a little; the events, if they were held, would take 60 MB more.
    assert grown[1] - grown[0] < 32
    assert grown[1] < 300
