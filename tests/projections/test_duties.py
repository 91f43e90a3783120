"""The tick: what is due is done once, however often and wherever it runs; what is refused stops nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from ledger import Ledger
from ledger.command import Command
from ledger.commands import RegisterSubject
from ledger.vocabulary import SubjectId, Word, new_id
from projections import Projections, duties
from projections.duties import Debt, Duty, Owed, run_duties
from tests.projections.world import World


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "_duties", [])
    monkeypatch.setattr(duties, "_debts", [])


def find(*subjects: SubjectId) -> duties.Find:
    def found(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
        for subject in subjects:
            yield RegisterSubject(subject_id=subject), f"{subject}:2026"

    return found


def test_what_is_due_is_done_once_however_often_it_runs(world: World) -> None:
    subjects = [SubjectId(new_id()) for _ in range(3)]
    duties._duties.append(Duty(Word("register"), find(*subjects)))
    first = run_duties(world.asked, world.ledger, world.now)
    assert [done.index for done in first.done] == [0, 1, 2]
    again = run_duties(world.asked, world.ledger, world.now + timedelta(days=1))
    assert (again.done, again.not_done, world.ledger.size()) == ((), (), 3)


def test_what_runs_at_once_is_recorded_once(world: World) -> None:
    subjects = [SubjectId(new_id()) for _ in range(20)]
    duties._duties.append(Duty(Word("register"), find(*subjects)))
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(run_duties(world.asked, world.ledger, world.now)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(reports) == 4
    assert all(not report.not_done for report in reports)
    assert world.ledger.size() == 20


def test_a_refusal_is_reported_and_stops_nothing(world: World) -> None:
    known, new = world.subject(), SubjectId(new_id())
    duties._duties.append(Duty(Word("register"), find(known, new)))
    report = run_duties(world.asked, world.ledger, world.now)
    assert [(one.reason, one.index) for one in report.not_done] == [("subject-exists", None)]
    assert [done.index for done in report.done] == [1]


def test_what_people_owe_is_listed_the_earliest_first(world: World) -> None:
    def look(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
        for days in (1, -1):
            due = now + timedelta(days=days)
            yield Owed(what=Word("answer"), id=str(days), due_at=due, overdue=due <= now)

    duties._debts.append(Debt(Word("answer"), look))
    report = run_duties(world.asked, world.ledger, world.now)
    assert [owed.id for owed in report.owed] == ["-1", "1"]
    assert [owed.id for owed in report.overdue] == ["-1"]
