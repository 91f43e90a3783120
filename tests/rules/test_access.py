"""The access log's rules: reads as they are, flags once, and nobody over their own access. Clause 4."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import Actor
from ledger.commands import FlagReading, RecordRead, RecordRefusedAccess, RevealActor, ReviewFlag
from ledger.commands.access import MOST_SUBJECTS
from ledger.errors import FlagExists, FlagState, FlagUnknown, OwnAccess, ReadUnknown, RoleMissing
from ledger.events import SYSTEM, AccessRefused, ActorRevealed, FlagReviewed, PersonalDataRead, UnusualReading
from ledger.explain import explain
from ledger.vocabulary import FlagOutcome, Purpose, ReadingFlag, RevealGround, Role
from tests.bench import OFFICER, START, SUPPORT, Bench, an_id, check_ledger

MARI, JAAN, FLAG = an_id("mari"), an_id("jaan"), an_id("flag")
AUDITOR = Actor(id=an_id("auditor"), role=Role.AUDITOR)


def read(**given: Any) -> RecordRead:
    usual: dict[str, Any] = {
        "operation": "get-subject",
        "door": "http",
        "subjects": (MARI,),
        "records": 7,
        "items": 1,
        "fields": ("email",),
        "purpose": Purpose.CONTRACT,
        "case_reference": "T-1",
        "digest": "0" * 64,
    }
    return RecordRead(**usual | given)


def refused_access(**given: Any) -> RecordRefusedAccess:
    usual: dict[str, Any] = {"operation": "get-subject", "door": "http", "subjects": (JAAN,), "reason": "role-missing"}
    return RecordRefusedAccess(**usual | given)


def flag(**given: Any) -> FlagReading:
    usual: dict[str, Any] = {"flag_id": FLAG, "reader_id": SUPPORT.id, "kind": ReadingFlag.RATE, "window_start": START}
    return FlagReading(**usual | {"read": 0, "count": 121} | given)


def review(**given: Any) -> ReviewFlag:
    return ReviewFlag(**{"flag_id": FLAG, "outcome": FlagOutcome.JUSTIFIED, "case_reference": "T-2"} | given)


def reveal(**given: Any) -> RevealActor:
    usual: dict[str, Any] = {"subject_id": MARI, "reader_id": SUPPORT.id, "ground": RevealGround.INVESTIGATION}
    return RevealActor(**usual | {"case_reference": "T-3"} | given)


MAKERS = [read, refused_access, flag, review, reveal]
FIELD_KINDS = {
    "operation": "word", "door": "word", "record-refused-access.reason": "word", "flag_id": "id", "reader_id": "id",
    "employee_id": "id", "digest": "digest", "window_start": "moment", "hidden_until": "moment", "items": "count",
    "read": "count", "count": "count", "reveal-actor.ground": "enum", "review-flag.outcome": "enum", "subjects": "ids",
}  # fmt: skip
OTHER_FIELDS = {"to_subject"}
CODES = ["flag-exists", "flag-state", "flag-unknown", "own-access", "read-unknown"]

READ = PersonalDataRead(
    operation="get-subject",  # type: ignore[arg-type]
    door="http",  # type: ignore[arg-type]
    subjects=(MARI,),
    records=7,
    items=1,
    fields=("email",),  # type: ignore[arg-type]
    purpose=Purpose.CONTRACT,
    case_reference="T-1",  # type: ignore[arg-type]
    digest="0" * 64,  # type: ignore[arg-type]
)
RAISED = UnusualReading(
    flag_id=FLAG, reader_id=SUPPORT.id, kind=ReadingFlag.RATE, window_start=START, read=0, count=121
)


@pytest.mark.rule("read-is-recorded-first")
def test_a_read_and_a_refused_attempt_are_recorded_as_they_are(bench: Bench) -> None:
    bench.when(read(), by=SUPPORT).then(READ)
    attempt: Any = {"operation": "get-subject", "door": "http", "subjects": (JAAN,), "reason": "role-missing"}
    bench.when(refused_access(), by=SUPPORT).then(AccessRefused(**attempt))
    explained = explain(bench.ledger, 1)
    assert (explained.command, explained.facts) == ("record-refused-access", ()), "it rests on nothing"


@pytest.mark.rule("read-is-recorded-first")
def test_a_read_of_many_people_is_several_events_and_names_each_person_once(bench: Bench) -> None:
    people = [an_id(f"person {i}") for i in range(2 * MOST_SUBJECTS + 1)]
    done = bench.when(read(subjects=(*people, *people)), by=SUPPORT)
    events: Any = done.events
    assert [(event.part, event.parts, len(event.subjects)) for event in events] == [
        (0, 3, MOST_SUBJECTS), (1, 3, MOST_SUBJECTS), (2, 3, 1),
    ]  # fmt: skip
    assert [subject for event in events for subject in event.subjects] == sorted(people)


@pytest.mark.rule("read-is-recorded-first")
def test_a_read_of_nobody_is_recorded_too(bench: Bench) -> None:
    (event,) = bench.when(read(subjects=(), items=0), by=SUPPORT).events
    assert isinstance(event, PersonalDataRead)
    assert event.subjects == ()


@pytest.mark.rule("read-is-recorded-first")
def test_somebody_who_reads_their_own_access_log_is_refused_by_the_log_itself(bench: Bench) -> None:
    bench.when(read(employee_id=OFFICER.id)).refused(OwnAccess, actor=OFFICER.id)
    bench.when(read(employee_id=SUPPORT.id))
    check_ledger(bench.ledger, 1)


@pytest.mark.rule("unusual-reading-is-flagged-once")
def test_unusual_reading_is_flagged_once_and_by_the_log_itself(bench: Bench) -> None:
    bench.when(flag()).refused(RoleMissing)
    bench.when(flag(), by=SYSTEM).then(RAISED)
    bench.when(flag(count=200), by=SYSTEM).refused(FlagExists, flag=FLAG)


@pytest.mark.rule("nobody-reviews-their-own-access")
def test_a_flag_is_reviewed_once_by_the_officer_or_an_auditor_and_not_by_whom_it_is_about(bench: Bench) -> None:
    reviewed = FlagReviewed(
        flag_id=FLAG,
        reader_id=OFFICER.id,
        outcome=FlagOutcome.JUSTIFIED,
        case_reference="T-2",  # type: ignore[arg-type]
    )
    bench.when(review()).refused(FlagUnknown, flag=FLAG)
    bench.given(flag(reader_id=OFFICER.id), by=SYSTEM)
    bench.when(review(), by=SUPPORT).refused(RoleMissing)
    bench.when(review()).refused(OwnAccess, actor=OFFICER.id)
    bench.when(review(), by=AUDITOR).then(reviewed)
    bench.when(review(), by=AUDITOR).refused(FlagState, flag=FLAG)


@pytest.mark.rule("actor-is-revealed-on-a-ground")
def test_the_officer_reveals_who_read_a_person_and_nobody_who_did_not(bench: Bench) -> None:
    bench.given(read(), by=SUPPORT).given(read(subjects=(JAAN,)))
    bench.when(reveal(), by=AUDITOR).refused(RoleMissing)
    bench.when(reveal(subject_id=JAAN)).refused(ReadUnknown, subject=JAAN)
    bench.when(reveal(subject_id=JAAN, reader_id=OFFICER.id)).refused(OwnAccess, actor=OFFICER.id)
    bench.when(reveal()).then(
        ActorRevealed(
            subject_id=MARI,
            reader_id=SUPPORT.id,
            ground=RevealGround.INVESTIGATION,
            case_reference="T-3",  # type: ignore[arg-type]
        )
    )
