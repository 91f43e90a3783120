"""Who looked is durable before a byte is served, for every operation that shows something of people; or nothing is."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from api.http.operation import Operation, Shows
from ledger.errors import Busy, LedgerError, Stopped, StorageError
from ledger.events import PersonalDataRead
from ledger.state.employee import STAFF
from ledger.vocabulary import ActorId, Role, new_id
from projections.access_log import AccessLog
from tests.http.cells import ask, expected_grants, in_order, members_of, target
from tests.http.office import STATED, Office

SHOWING = [one for one in in_order() if one.shows is not Shows.NOTHING]
WRITING = [one for one in in_order() if one.shows is Shows.NOTHING]


def reader_of(operation: Operation) -> Role:
    """Return somebody who may read others' data, an employee where there is one."""
    grants = expected_grants()[operation.id]
    found = [role for role in Role if grants[role] in ("all", "others")]
    return next((role for role in found if role in STAFF), found[0])


def read(office: Office, operation: Operation) -> tuple[Role, httpx.Response]:
    role = reader_of(operation)
    about = target(office, role, "other")
    if operation.id == "read-field":
        about = about._replace(subject_id=office.mari)
    return role, ask(office, operation, role, about)


# What there is nothing of in the office, or what needs a pseudonym that exists: each has a test elsewhere.
NOTHING_TO_SHOW = {"reveal-actor"}


def test_every_read_is_in_the_access_log_with_who_what_and_why(office: Office) -> None:
    shown = 0
    for operation in SHOWING:
        before = office.access_size
        role, answer = read(office, operation)
        if operation.id in NOTHING_TO_SHOW:
            continue
        assert answer.status_code == 200, (operation.id, answer.text)
        events = [one.event for one in office.access_since(before) if isinstance(one.event, PersonalDataRead)]
        assert len(events) == 1, operation.id
        (event,) = events
        assert (event.by, event.operation) == (office.actor(role), operation.id)
        assert event.digest == office.service.access.digest(answer.content), operation.id
        if role in STAFF:
            assert (event.purpose, event.case_reference) == (STATED["Purpose"], STATED["Case-Reference"])
        if "{subject_id}" in operation.path:
            assert office.mari in event.subjects, operation.id
        people = {one for one in (office.mari, office.peeter, office.other) if one in answer.text}
        assert people <= {*event.subjects}, operation.id
        shown += 1
    assert shown == len(SHOWING) - len(NOTHING_TO_SHOW)


@pytest.mark.parametrize("error", [StorageError("the disk is gone"), Stopped("stopped"), Busy()])
def test_nothing_is_served_that_could_not_be_recorded(
    office: Office, monkeypatch: pytest.MonkeyPatch, error: LedgerError
) -> None:
    async def fails(*_: Any) -> int:
        raise error

    monkeypatch.setattr(AccessLog, "arecord", fails)
    for operation in SHOWING:
        if operation.id in NOTHING_TO_SHOW:
            continue
        _, answer = read(office, operation)
        assert answer.status_code in (500, 503), operation.id
        assert answer.headers["content-type"] == "application/problem+json"
        for value in (*office.canaries, office.mari, office.peeter, office.other):
            assert value not in answer.text, operation.id


def test_the_answer_waits_until_the_read_is_durable(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    held, recorded, served = threading.Event(), threading.Event(), threading.Event()
    whole = AccessLog.arecord

    async def slow(log: AccessLog, read: Any) -> int:
        recorded.set()
        await asyncio.to_thread(held.wait)
        return await whole(log, read)

    monkeypatch.setattr(AccessLog, "arecord", slow)

    def one() -> None:
        office.ask(Role.SUBJECT, "GET", f"/v1/subjects/{office.mari}")
        served.set()

    thread = threading.Thread(target=one)
    thread.start()
    assert recorded.wait(10)
    assert not served.wait(0.3)
    held.set()
    thread.join()
    assert served.is_set()


@pytest.mark.parametrize("role", sorted(STAFF))
def test_an_employee_without_acknowledgement_gets_nothing_personal(office: Office, role: Role) -> None:
    """Nobody onboarded, nobody acknowledged: neither reads, nor writes about people."""
    onboarded = ActorId(new_id())
    office.employ(role, onboarded, acknowledged=False)
    for actor, code in ((onboarded, "acknowledgement-missing"), (new_id(), "employee-unknown")):
        token = office.token(role, actor)
        for operation in SHOWING:
            if expected_grants()[operation.id][role] == "none":
                continue
            answer = ask(office, operation, token, target(office, role, "other"), STATED)
            assert (answer.status_code, answer.json()["code"]) == (403, code), operation.id
            assert not [one for one in office.canaries if one in answer.text]
        before = office.ledger.size()
        for operation in WRITING:
            if expected_grants()[operation.id][role] == "none" or not is_about_somebody(office, operation):
                continue
            answer = ask(office, operation, token, target(office, role, "other"), STATED)
            assert (answer.status_code, answer.json()["code"]) == (403, code), operation.id
        assert office.ledger.size() == before


def is_about_somebody(office: Office, operation: Operation) -> bool:
    if operation.command is not None:
        members = members_of(operation, target(office, Role.OFFICER, "other"))
        return "subject_id" in members or ("order_id" in members)
    return operation.id in ("correct-field", "upload-order", "upload-mail-order")


def test_staff_say_why_they_read(office: Office) -> None:
    for operation in SHOWING:
        role = reader_of(operation)
        if operation.shows is not Shows.PERSONAL or role not in STAFF:
            continue
        for headers in ({}, {"Purpose": "contract"}, {"Case-Reference": "C-1"}):
            answer = ask(office, operation, office.tokens[role], target(office, role, "other"), headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "purpose-needed"), operation.id
