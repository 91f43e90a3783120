"""The access log: durable before served, answerable per person, unlinkable pseudonyms, flags, nobody's own access."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from psycopg.conninfo import make_conninfo

import projections.access_log
from api.http.access import access_settings, make_access_log, open_access_log
from api.settings import KEK_FILE, SIGNING_KEY_FILE, Settings, directory_settings, read_settings
from ledger import Actor
from ledger.commands import OnboardEmployee
from ledger.errors import FlagState, Invalid, OwnAccess, ReadUnknown, RoleMissing, Stopped, StorageError
from ledger.events import SYSTEM, PersonalDataRead, UnusualReading
from ledger.storage.engine import QueryItem
from ledger.vocabulary import FlagOutcome, Purpose, ReadingFlag, RevealGround, Role
from projections.access_log import AccessLog, Look, Read
from projections.unusual_reading import MAX_READERS, UnusualReadings, Usual
from tests.bench import OFFICER, SUPPORT, Clock, an_id, check_ledger
from tests.postgres.place import PostgresPlace

MARI, JAAN = an_id("mari"), an_id("jaan")
HERSELF = Actor(id=MARI, role=Role.SUBJECT)
AUDITOR = Actor(id=an_id("auditor"), role=Role.AUDITOR)
SERVICE = Actor(id=an_id("service"), role=Role.SERVICE)
OTHER = Actor(id=an_id("other officer"), role=Role.OFFICER)
# A Monday, noon in Tallinn.
NOON = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CASE: Any = "C-1"
GROUND = RevealGround.INVESTIGATION


def people(count: int) -> Any:
    return tuple(an_id(f"person {i}") for i in range(count))


def a_read(*subjects: Any, by: Actor = SUPPORT, **given: Any) -> Read:
    usual: dict[str, Any] = {"operation": "get-subject", "records": 7, "items": len(subjects)}
    return Read(**{"actor": by, "subjects": subjects} | usual | given)


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a records ledger, on each engine in turn."""
    if request.param == "sqlite":
        found = directory_settings(tmp_path / "data")
        found.initialise("example.com/records")
        yield found
        return
    place: PostgresPlace = request.getfixturevalue("postgres")
    server = place.server()
    found = Settings(data=tmp_path / "data", guard=tmp_path / "data" / "guard", server=server)
    found.initialise("example.com/records")
    yield found
    place.drop(server.schema)


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = NOON
    return clock


@pytest.fixture
def log(settings: Settings, clock: Clock) -> Iterator[AccessLog]:
    """The access log on each engine in turn, watched when a test says so."""
    with open_access_log(settings, watch=False, clock=clock) as log:
        yield log


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    found = directory_settings(tmp_path / "embedded")
    found.initialise("example.com/records")
    return found


@pytest.fixture
def quick(embedded: Settings, clock: Clock) -> Iterator[AccessLog]:
    """The access log on the embedded default alone, for what no engine changes."""
    with open_access_log(embedded, watch=False, clock=clock) as log:
        yield log


# --- durable before it is served -------------------------------------------------------------------------------


def reads_until_killed(settings: Settings, file: Path, *defect: str) -> tuple[set[str], set[str]]:
    """Return who was acknowledged as read, and who is recorded as read, after a process was killed."""
    arguments = [sys.executable, "-m", "tests.http.reader", str(settings.data), str(file), "20", *defect]
    done = subprocess.run(arguments, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    with open_access_log(settings) as log:
        events: Any = [recorded.event for recorded in log.ledger.read()]
        check_ledger(log.ledger)
    read = [event for event in events if isinstance(event, PersonalDataRead)]
    return set(file.read_text().split()), {subject for event in read for subject in event.subjects}


@pytest.mark.rule("read-is-recorded-first")
def test_what_was_acknowledged_is_recorded_whenever_the_process_is_killed(embedded: Settings, tmp_path: Path) -> None:
    acknowledged, recorded = reads_until_killed(embedded, tmp_path / "acknowledged")
    assert len(acknowledged) == 20
    assert acknowledged <= recorded


def test_an_acknowledgement_before_the_read_is_durable_would_be_found(embedded: Settings, tmp_path: Path) -> None:
    """The check above must be able to fail."""
    acknowledged, recorded = reads_until_killed(embedded, tmp_path / "acknowledged", "early")
    assert acknowledged - recorded


@pytest.mark.rule("read-is-recorded-first")
def test_when_a_read_cannot_be_recorded_it_raises_and_so_does_every_later_one(
    quick: AccessLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise StorageError("the disk failed")

    monkeypatch.setattr(quick.ledger.engine, "begin", broken)
    with pytest.raises(StorageError):
        asyncio.run(quick.arecord(a_read(MARI)))
    with pytest.raises(Stopped):
        asyncio.run(quick.arecord(a_read(MARI)))
    with pytest.raises(Stopped):
        asyncio.run(quick.arefused(SUPPORT, "get-subject", [MARI], "role-missing"))  # type: ignore[arg-type]
    assert quick.who_looked(MARI, HERSELF).looks == ()


def test_many_readers_at_once_share_transactions(log: AccessLog) -> None:
    async def everybody() -> list[int]:
        return await asyncio.gather(*(log.arecord(a_read(subject)) for subject in people(200)))

    positions = asyncio.run(everybody())
    assert sorted(positions) == list(range(1, 201))
    assert len([*log.ledger.engine.checkpoints()]) < 100
    check_ledger(log.ledger, 200)


def test_a_read_says_what_was_shown_and_no_value_of_it(log: AccessLog) -> None:
    answer = b'{"email": "mari@example.com"}'
    read = a_read(
        MARI,
        purpose=Purpose.CONTRACT,
        case_reference=CASE,
        fields=("phone", "email", "email"),
        digest=log.digest(answer),
    )
    assert log.record(read) == 1
    ((recorded,),) = [[*log.ledger.read()]]
    event = recorded.event
    assert isinstance(event, PersonalDataRead)
    assert (event.by, event.purpose, event.case_reference) == (SUPPORT, Purpose.CONTRACT, "C-1")
    assert (event.fields, event.records, event.items, event.door) == (("email", "phone"), 7, 1, "http")
    assert recorded.tags == tuple(sorted([f"reader:{SUPPORT.id}", f"subject:{MARI}"]))
    assert b"example.com/records/access" in log.ledger.entry(0)
    assert b"mari@" not in log.ledger.entry(0)


def test_the_digest_of_an_answer_is_keyed_and_stays_the_same(settings: Settings, embedded: Settings) -> None:
    answer = b"mari@example.com"
    with open_access_log(settings) as log:
        first = log.digest(answer)
    with open_access_log(settings) as again, open_access_log(embedded) as another:
        assert again.digest(answer) == first
        assert first not in (another.digest(answer), sha256(answer).hexdigest(), again.digest(answer + b" "))


@pytest.mark.parametrize("wrong", [{"operation": "GET /x"}, {"subjects": ("mari",)}, {"digest": "0"}, {"door": ""}])
def test_a_read_of_the_wrong_form_is_refused_by_the_field(quick: AccessLog, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        asyncio.run(quick.arecord(a_read(MARI, **wrong)))
    assert error.value.evidence["field"] in wrong
    check_ledger(quick.ledger, 0)


def test_several_processes_make_and_share_one_log(settings: Settings, log: AccessLog) -> None:
    with open_access_log(settings, watch=False) as other:
        asyncio.run(other.arecord(a_read(MARI)))
        asyncio.run(log.arecord(a_read(MARI)))
        assert len(other.who_looked(MARI, HERSELF).looks) == 2


def test_processes_that_start_at_once_make_one_log(embedded: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from api.settings import read_settings; "
        "from api.http.access import open_access_log; "
        "log = open_access_log(read_settings(Path(sys.argv[1]), {})); print(log.digest(b'x')); log.close()"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(embedded.data)], stdout=subprocess.PIPE) for _ in range(4)
    ]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len(set(said)) == 1


def test_an_application_that_may_make_no_schema_uses_the_log_that_the_owner_made(
    postgres: PostgresPlace, tmp_path: Path
) -> None:
    login = f"login_{postgres.server().schema}"
    postgres.sql(f"CREATE ROLE {login} LOGIN")
    server = postgres.server(dsn=make_conninfo(postgres.dsn, user=login), owner_dsn=postgres.dsn)
    owners = Settings(data=tmp_path / "data", guard=tmp_path / "data" / "guard", server=server)
    owners.initialise("example.com/records")
    make_access_log(owners)
    applications = msgspec.structs.replace(owners, server=msgspec.structs.replace(server, owner_dsn=None))
    with open_access_log(applications, watch=False) as log:
        assert asyncio.run(log.arecord(a_read(MARI))) == 1
    postgres.drop(server.schema)
    postgres.sql(f"DROP OWNED BY {login}; DROP ROLE {login}")


def test_another_host_joins_with_copies_of_the_key_files_of_both(postgres: PostgresPlace, tmp_path: Path) -> None:
    server = postgres.server()
    first, second = (
        Settings(data=tmp_path / name, guard=tmp_path / name / "guard", server=server) for name in ("first", "second")
    )
    first.initialise("example.com/records")
    with open_access_log(first, watch=False) as log:
        log.record(a_read(MARI))
        second.data.mkdir()
        for name in (KEK_FILE, SIGNING_KEY_FILE):
            shutil.copy(first.data / name, second.data / name)
        second.initialise()
        with pytest.raises(StorageError, match="restore the key"):
            open_access_log(second)
        for name in (KEK_FILE, SIGNING_KEY_FILE):
            shutil.copy(first.data / "access" / name, second.data / "access" / name)
        with pytest.raises(StorageError, match="prooftrail init"):
            open_access_log(second)
        make_access_log(second)
        with open_access_log(second, watch=False) as other:
            other.record(a_read(MARI))
            assert [look.pseudonym for look in log.who_looked(MARI, HERSELF).looks] == [
                look.pseudonym for look in other.who_looked(MARI, HERSELF).looks
            ]
        assert log.ledger.size() == 2
    postgres.drop(server.schema)


def test_without_the_records_there_is_no_log_to_make(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="prooftrail init"):
        open_access_log(directory_settings(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_guard_that_is_lost_is_not_made_anew(embedded: Settings) -> None:
    open_access_log(embedded, watch=False).close()
    access_settings(embedded).guard.unlink()
    with pytest.raises(StorageError, match="guard"):
        open_access_log(embedded)


def test_the_guard_of_the_log_lies_where_that_of_the_records_does(tmp_path: Path) -> None:
    default = directory_settings(tmp_path / "data")
    assert access_settings(default).guard == tmp_path / "data" / "access" / "guard"
    elsewhere = read_settings(tmp_path / "data", {"PROOFTRAIL_GUARD": str(tmp_path / "other" / "guard")})
    assert access_settings(elsewhere).guard == tmp_path / "other" / "guard.access"


# --- who looked at me ------------------------------------------------------------------------------------------


def every_look(log: AccessLog, subject: Any, viewer: Actor, limit: int) -> list[Look]:
    looks: list[Look] = []
    cursor = None
    while True:
        page = log.who_looked(subject, viewer, cursor=cursor, limit=limit)
        assert len(page.looks) <= limit
        looks += page.looks
        if page.next is None:
            return looks
        assert len(page.looks) == limit
        cursor = page.next


@pytest.mark.rule("read-is-recorded-first")
def test_each_of_five_thousand_people_of_one_list_can_ask_who_looked(log: AccessLog) -> None:
    subjects = people(5_000)
    end = asyncio.run(log.arecord(a_read(*subjects, operation="list-subjects", items=5_000)))
    assert end == log.ledger.size() == 13
    for subject in [*subjects[:20], *subjects[-20:], *subjects[::100]]:
        (look,) = log.who_looked(subject, Actor(id=subject, role=Role.SUBJECT)).looks
        assert (look.operation, look.role) == ("list-subjects", Role.SUPPORT)
    listed = [event for recorded in log.ledger.read() for event in recorded.event.subjects]  # type: ignore[attr-defined]
    assert sorted(listed) == sorted(subjects)


def test_pages_are_the_newest_first_and_miss_nothing(log: AccessLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections.access_log, "_FIRST_LOOK", 3)
    for number in range(60):
        log.record(a_read(MARI if number % 4 == 0 else JAAN, operation=f"read-{number}"))
    expected = [f"read-{number}" for number in range(56, -1, -4)]
    for limit in (1, 2, 7, 15, 100):
        assert [look.operation for look in every_look(log, MARI, HERSELF, limit)] == expected
    assert log.who_looked(an_id("nobody"), OFFICER).looks == ()


def test_a_person_sees_role_and_pseudonym_and_never_who_it_was(log: AccessLog) -> None:
    log.record(a_read(MARI, purpose=Purpose.CONTRACT, fields=("email",), case_reference=CASE))
    log.record(a_read(MARI, by=HERSELF))
    own, theirs = log.who_looked(MARI, HERSELF).looks
    assert (own.own, theirs.own) == (True, False)
    assert (theirs.role, theirs.purpose, theirs.fields, theirs.door) == (
        Role.SUPPORT, Purpose.CONTRACT, ("email",), "http",
    )  # fmt: skip
    assert (theirs.actor_id, theirs.case_reference, theirs.items) == (None, None, None)
    seen = log.who_looked(MARI, OFFICER).looks[1]
    assert (seen.actor_id, seen.case_reference, seen.items) == (None, "C-1", 1)


def test_pseudonyms_are_stable_for_a_person_and_unlinkable_between_two(settings: Settings) -> None:
    readers = [Actor(id=an_id(f"reader {i}"), role=Role.SUPPORT) for i in range(50)]
    with open_access_log(settings, watch=False) as log:
        for reader in readers:
            log.record(a_read(MARI, JAAN, by=reader))
            log.record(a_read(MARI, by=reader))
    with open_access_log(settings, watch=False) as log:
        mari = [look.pseudonym for look in every_look(log, MARI, HERSELF, 100)]
        jaan = [look.pseudonym for look in every_look(log, JAAN, Actor(id=JAAN, role=Role.SUBJECT), 100)]
        assert len(set(mari)) == len(set(jaan)) == 50
        assert len(mari) == 100
        assert not set(mari) & set(jaan)


@pytest.mark.parametrize(
    "viewer",
    [
        Actor(id=JAAN, role=Role.SUBJECT),
        Actor(id=MARI, role=Role.CLIENT_USER),
        *(Actor(id=an_id("x"), role=role) for role in Role if role not in (Role.OFFICER, Role.AUDITOR)),
    ],
    ids=lambda viewer: f"{viewer.role}",
)
def test_nobody_else_is_told_who_looked(quick: AccessLog, viewer: Actor) -> None:
    with pytest.raises(RoleMissing):
        quick.who_looked(MARI, viewer)
    with pytest.raises(RoleMissing):
        quick.of_actor(SUPPORT.id, viewer)
    with pytest.raises(RoleMissing):
        quick.flags(viewer)


def test_a_read_for_a_secret_disclosure_shows_in_no_row_count_or_cursor_until_its_day(
    log: AccessLog, clock: Clock
) -> None:
    for number in range(10):
        until = NOON + timedelta(days=1) if number % 2 else None
        log.record(a_read(MARI, operation=f"read-{number}", hidden_until=until))
    open_ones = [f"read-{number}" for number in range(8, -1, -2)]
    for limit in (1, 2, 5, 100):
        assert [look.operation for look in every_look(log, MARI, HERSELF, limit)] == open_ones
    page = log.who_looked(MARI, HERSELF, limit=5)
    assert page.next is None, "no further page betrays what is behind it"
    assert len(every_look(log, MARI, OFFICER, 3)) == 10
    clock.forward(days=1)
    assert len(every_look(log, MARI, HERSELF, 3)) == 10


@pytest.mark.rule("actor-is-revealed-on-a-ground")
def test_who_it_was_shows_after_the_recorded_act_and_for_that_person_only(log: AccessLog) -> None:
    log.record(a_read(MARI, JAAN))
    log.record(a_read(MARI, by=AUDITOR))
    pseudonym = log.who_looked(MARI, OFFICER).looks[1].pseudonym
    with pytest.raises(ReadUnknown):
        log.reveal(JAAN, pseudonym, GROUND, CASE, OFFICER)
    with pytest.raises(RoleMissing):
        log.reveal(MARI, pseudonym, GROUND, CASE, AUDITOR)
    assert log.ledger.size() == 2
    assert log.reveal(MARI, pseudonym, GROUND, CASE, OFFICER) == SUPPORT.id
    assert [look.actor_id for look in log.who_looked(MARI, OFFICER).looks] == [None, SUPPORT.id]
    assert [look.actor_id for look in log.who_looked(MARI, HERSELF).looks] == [None, None]
    assert log.who_looked(JAAN, OFFICER).looks[0].actor_id is None
    log.reveal(MARI, pseudonym, RevealGround.RIGHTS, CASE, OFFICER, to_subject=True)
    assert [look.actor_id for look in log.who_looked(MARI, HERSELF).looks] == [None, SUPPORT.id]


# --- nobody's own access ---------------------------------------------------------------------------------------


@pytest.mark.rule("nobody-reviews-their-own-access")
def test_nobody_reviews_their_own_access(quick: AccessLog, clock: Clock) -> None:
    officer_as_person = Actor(id=OFFICER.id, role=Role.SUBJECT)
    for subject in people(61):
        quick.record(a_read(subject, by=OFFICER))
    quick.record(a_read(MARI, by=OFFICER))
    quick.watch.catch_up()
    own = quick.who_looked(MARI, OTHER).looks[0].pseudonym
    reviewing: list[Callable[[], object]] = [
        lambda: quick.of_actor(OFFICER.id, OFFICER),
        lambda: quick.who_looked(OFFICER.id, OFFICER),  # type: ignore[arg-type]
        lambda: quick.reveal(MARI, own, GROUND, CASE, OFFICER),
        lambda: quick.review(quick.flags(OTHER).flags[0].flag_id, FlagOutcome.JUSTIFIED, OFFICER),
        lambda: quick.record(a_read(by=OFFICER, employee_id=OFFICER.id)),
    ]
    size = quick.ledger.size()
    for attempt in reviewing:
        with pytest.raises(OwnAccess):
            attempt()
    assert quick.ledger.size() == size
    assert quick.flags(OFFICER).flags == ()
    assert [flag.kind for flag in quick.flags(OTHER).flags] == [ReadingFlag.BREADTH]
    assert quick.of_actor(OFFICER.id, OTHER).accesses
    # In person, as anybody else, they may ask who looked at them.
    assert quick.who_looked(OFFICER.id, officer_as_person).looks == ()  # type: ignore[arg-type]


def test_what_an_actor_read_and_was_refused_is_the_officers_to_see(log: AccessLog) -> None:
    log.record(a_read(MARI, purpose=Purpose.CONTRACT))
    asyncio.run(log.arefused(SUPPORT, "get-subject", [JAAN], "subject-unknown"))  # type: ignore[arg-type]
    log.record(a_read(JAAN, by=AUDITOR))
    refused, read = log.of_actor(SUPPORT.id, OFFICER).accesses
    assert (refused.refused, refused.subjects, read.refused, read.subjects) == (
        "subject-unknown",
        (JAAN,),
        None,
        (MARI,),
    )
    assert log.who_looked(JAAN, OFFICER).looks[0].role is Role.AUDITOR, "who was refused saw nothing"
    first = log.of_actor(SUPPORT.id, OFFICER, limit=1)
    assert first.accesses == (refused,)
    assert log.of_actor(SUPPORT.id, OFFICER, limit=1, cursor=first.next).accesses == (read,)


# --- unusual reading -------------------------------------------------------------------------------------------

COLLEAGUE = an_id("colleague")


def flagged(log: AccessLog) -> list[ReadingFlag]:
    log.watch.catch_up()
    return [flag.kind for flag in log.flags(AUDITOR).flags]


def over(
    log: AccessLog, clock: Clock, count: int, minutes: float, by: Actor = SUPPORT, different: bool = False
) -> None:
    """Read so often in so many minutes."""
    subjects = people(count)
    for number in range(count):
        clock.now = NOON + timedelta(minutes=minutes * number / count)
        log.record(a_read(subjects[number] if different else MARI, by=by))


@pytest.fixture
def office(embedded: Settings, clock: Clock) -> Iterator[AccessLog]:
    """The access log of records in which one colleague is known."""
    with embedded.open() as records:
        records.record(OnboardEmployee(employee_id=COLLEAGUE, role=Role.SUPPORT), OFFICER)
        with open_access_log(embedded, records=records, watch=False, clock=clock) as log:
            yield log


def at(clock: Clock, hour: int, day: int = 23) -> None:
    """It is so late in Tallinn, in November."""
    clock.now = datetime(2026, 11, day, hour - 2, 0, tzinfo=UTC)


UNUSUAL: dict[str, tuple[Callable[[AccessLog, Clock], object], list[ReadingFlag]]] = {
    "many reads": (lambda log, clock: over(log, clock, 121, 59), [ReadingFlag.RATE]),
    "many reads, but slowly": (lambda log, clock: over(log, clock, 121, 62), []),
    "as many as usual": (lambda log, clock: over(log, clock, 120, 1), []),
    "many people": (lambda log, clock: over(log, clock, 61, 59, different=True), [ReadingFlag.BREADTH]),
    "many people, but slowly": (lambda log, clock: over(log, clock, 61, 62, different=True), []),
    "one list of many": (lambda log, clock: log.record(a_read(*people(5_000))), [ReadingFlag.BREADTH]),
    "one list of some": (lambda log, clock: log.record(a_read(*people(60))), []),
    "software reads more": (lambda log, clock: log.record(a_read(*people(5_000), by=SERVICE)), []),
    "software reads too much": (
        lambda log, clock: log.record(a_read(*people(10_001), by=SERVICE)),
        [ReadingFlag.BREADTH],
    ),
    "a person reads often": (lambda log, clock: over(log, clock, 200, 1, by=HERSELF), []),
    "a colleague": (lambda log, clock: log.record(a_read(MARI, COLLEAGUE)), [ReadingFlag.COLLEAGUE]),
    "a colleague, by software": (lambda log, clock: log.record(a_read(COLLEAGUE, by=SERVICE)), []),
    "oneself": (lambda log, clock: log.record(a_read(SUPPORT.id)), [ReadingFlag.SELF]),
    "oneself, in person": (
        lambda log, clock: log.record(a_read(SUPPORT.id, by=Actor(id=SUPPORT.id, role=Role.SUBJECT))),
        [],
    ),
    "in the evening": (lambda log, clock: (at(clock, 20), log.record(a_read(MARI))), [ReadingFlag.OUT_OF_HOURS]),
    "before the evening": (lambda log, clock: (at(clock, 19), log.record(a_read(MARI))), []),
    "in the early morning": (lambda log, clock: (at(clock, 6), log.record(a_read(MARI))), [ReadingFlag.OUT_OF_HOURS]),
    "in the morning": (lambda log, clock: (at(clock, 7), log.record(a_read(MARI))), []),
    "on a Sunday": (lambda log, clock: (at(clock, 12, 22), log.record(a_read(MARI))), [ReadingFlag.OUT_OF_HOURS]),
    "at night, by software": (lambda log, clock: (at(clock, 23), log.record(a_read(MARI, by=SERVICE))), []),
}


@pytest.mark.rule("unusual-reading-is-flagged-once")
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_reading_is_flagged_and_usual_reading_is_not(office: AccessLog, clock: Clock, name: str) -> None:
    reading, expected = UNUSUAL[name]
    reading(office, clock)
    assert flagged(office) == expected


def test_a_burst_across_the_border_of_two_windows_is_one(quick: AccessLog, clock: Clock) -> None:
    clock.now = NOON + timedelta(minutes=30)
    subjects = people(121)
    for number in range(121):
        clock.now = NOON + timedelta(minutes=30 + 59 * number / 121)
        quick.record(a_read(subjects[0]))
    assert flagged(quick) == [ReadingFlag.RATE]


def test_a_flag_is_raised_once_a_window_whoever_watches_and_again_in_the_next(
    settings: Settings, log: AccessLog, clock: Clock
) -> None:
    log.record(a_read(*people(100)))
    with open_access_log(settings, watch=False, clock=clock) as other:
        for _ in range(3):
            log.record(a_read(*people(100)))
            other.watch.catch_up()
            log.watch.catch_up()
        assert flagged(other) == [ReadingFlag.BREADTH]
        clock.forward(hours=1)
        other.record(a_read(*people(100)))
        assert flagged(log) == [ReadingFlag.BREADTH] * 2
    check_ledger(log.ledger)


def test_what_was_read_before_a_crash_is_flagged_after_it(embedded: Settings, clock: Clock) -> None:
    with open_access_log(embedded, watch=False, clock=clock) as log:
        log.record(a_read(*people(100)))
    clock.forward(days=30)
    with open_access_log(embedded, watch=False, clock=clock) as log:
        assert flagged(log) == [ReadingFlag.BREADTH]


def test_the_watch_flags_by_itself(embedded: Settings, clock: Clock) -> None:
    with open_access_log(embedded, clock=clock) as log:
        position = asyncio.run(log.arecord(a_read(*people(100))))
        assert log.ledger.wait_for(position + 1, 10)
        (flag,) = log.flags(OFFICER).flags
        assert (flag.kind, flag.reader_id, flag.count, flag.read) == (ReadingFlag.BREADTH, SUPPORT.id, 61, 1)
        assert log.watch.failure is None


def test_a_flag_that_could_not_be_recorded_is_recorded_later(quick: AccessLog, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.record(a_read(*people(100)))

    def broken(*_: object, **__: object) -> Any:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(quick.ledger, "record", broken)
        with pytest.raises(StorageError):
            quick.watch.catch_up()
    assert flagged(quick) == [ReadingFlag.BREADTH]


@pytest.mark.rule("nobody-reviews-their-own-access")
def test_a_flag_is_open_until_it_is_reviewed(quick: AccessLog) -> None:
    quick.record(a_read(*people(100)))
    quick.record(a_read(SUPPORT.id))
    quick.watch.catch_up()
    breadth = quick.flags(OFFICER, open_only=True).flags[-1]
    quick.review(breadth.flag_id, FlagOutcome.VIOLATION, OFFICER, case_reference=CASE)
    with pytest.raises(FlagState):
        quick.review(breadth.flag_id, FlagOutcome.JUSTIFIED, AUDITOR)
    assert [flag.kind for flag in quick.flags(OFFICER, open_only=True).flags] == [ReadingFlag.SELF]
    reviewed = quick.flags(OFFICER).flags[-1]
    assert (reviewed.outcome, reviewed.reviewed_by, reviewed.case_reference) == (
        FlagOutcome.VIOLATION, OFFICER.id, "C-1",
    )  # fmt: skip
    first = quick.flags(OFFICER, limit=1)
    assert [flag.kind for flag in first.flags] == [ReadingFlag.SELF]
    assert quick.flags(OFFICER, limit=1, cursor=first.next).flags == (reviewed,)


def test_flags_say_nothing_to_the_people_who_were_read(quick: AccessLog) -> None:
    quick.record(a_read(*people(61)))
    quick.watch.catch_up()
    (found,) = quick.ledger.read((QueryItem((UnusualReading.TOPIC,)),))
    assert {tag.partition(":")[0] for tag in found.tags} == {"flag", "reader"}
    assert found.event.by == SYSTEM


def test_what_is_kept_of_readers_is_bounded() -> None:
    readings = UnusualReadings(Usual(reads=3, people=2), lambda _: None)

    def take(number: int, reader: str, *subjects: Any) -> None:
        read: Any = {"operation": "x", "door": "http", "subjects": subjects, "records": 1, "items": 1}
        event = PersonalDataRead(**read, by=Actor(id=reader, role=Role.SUPPORT))  # type: ignore[arg-type]
        readings.take(number, NOON + timedelta(seconds=number), event)

    for number in range(1_000):
        take(number, "one", *people(50))
    kept = readings._readers["one"]  # type: ignore[index]
    assert (len(kept.moments), len(kept.people)) == (4, 3)
    for number in range(MAX_READERS + 10):
        take(1_000 + number, f"reader {number}", MARI)
    assert len(readings._readers) == MAX_READERS


# --- settings --------------------------------------------------------------------------------------------------


def test_what_is_usual_is_a_setting(tmp_path: Path) -> None:
    environ = {
        "PROOFTRAIL_READS_PER_HOUR": "10",
        "PROOFTRAIL_PEOPLE_PER_HOUR": "5",
        "PROOFTRAIL_WORKING_HOURS": "09:00-17:30",
        "PROOFTRAIL_TIME_ZONE": "Europe/Riga",
    }
    usual = read_settings(tmp_path, environ).usual
    assert (usual.reads, usual.people, usual.zone) == (10, 5, "Europe/Riga")
    assert (f"{usual.opens:%H:%M}", f"{usual.closes:%H:%M}") == ("09:00", "17:30")
    assert read_settings(tmp_path, {}).usual == Usual()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("PROOFTRAIL_READS_PER_HOUR", text) for text in ("0", "-1", "x", "1.5", "100001", "9" * 5_000)),
        *(("PROOFTRAIL_PEOPLE_PER_HOUR", text) for text in ("0", "²")),
        *(
            ("PROOFTRAIL_WORKING_HOURS", text)
            for text in ("x", "9-17", "17:00-09:00", "07:00", "07:00Z-20:00Z", "07:00-20:00-21:00")
        ),
        *(("PROOFTRAIL_TIME_ZONE", text) for text in ("Europe/Nowhere", "../etc/passwd", "/etc/passwd", "\x00")),
    ],
)
def test_a_wrong_setting_is_named_and_says_what_is_right(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(StorageError, match=name):
        read_settings(tmp_path, {name: text})
