"""Requests, holds, restrictions and retention as they are asked for, now and as of then, and what the tick does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    CollectData,
    CorrectData,
    DeliverAnswer,
    EndRelationship,
    FulfilRequest,
    LiftRestriction,
    NotifyAddress,
    PlaceHold,
    ProposeCorrection,
    ReceiveRequest,
    RejectCorrection,
    ReleaseHold,
    VerifyIdentity,
)
from ledger.events import KeyDestroyed, RetentionExpired
from ledger.policy import default_policy_text
from ledger.state.request import RequestStage
from ledger.vocabulary import (
    Address,
    Channel,
    IdentityCheck,
    LegalBasis,
    Purpose,
    RequestKind,
    RetentionClass,
    SourceKind,
    SubjectId,
    new_id,
)
from projections.duties import run_duties
from projections.values import ValueState
from tests.projections.world import World, collect


@pytest.fixture
def world(world: World) -> World:
    world.given(AdoptPolicy(text=default_policy_text()))
    return world


def receive(world: World, subject: SubjectId, kind: RequestKind = RequestKind.ACCESS) -> dict[str, Any]:
    ids: dict[str, Any] = {"request_id": new_id(), "subject_id": subject}
    world.given(ReceiveRequest(**ids, kind=kind, channel=Channel.PHONE, received_at=world.now))
    return ids


def test_a_request_is_shown_with_its_clock_and_as_of_then(world: World) -> None:
    subject = world.subject()
    ids = receive(world, subject)
    received = world.ledger.size()
    world.given(VerifyIdentity(**ids, method=IdentityCheck.CALL_BACK))
    delivered = world.given(DeliverAnswer(**ids, sha256="0" * 64, media_type="application/json", channel=Channel.EMAIL))
    world.given(FulfilRequest(**ids, channel=Channel.EMAIL))
    (found,) = world.then.requests(subject)
    assert (found.stage, found.verified, found.proof) == (RequestStage.FULFILLED, True, delivered.index)
    assert found.status == "dpv:RequestFulfilled"
    assert found.closed_at == world.now
    assert found.due_at == datetime(2026, 4, 2, 20, 59, 59, tzinfo=UTC)
    (before,) = world.then.requests(subject, as_of=received)
    assert (before.stage, before.verified, before.closed_at) == (RequestStage.OPEN, False, None)
    assert before.status == "dpv:RequestRequiresAction", "the person is to say who they are"
    (known,) = world.then.requests(subject, as_of=received + 1)
    assert known.status == "dpv:RequestAcknowledged"
    assert world.then.requests(as_of=received - 1) == ()
    assert world.then.requests(SubjectId(new_id())) == ()


def test_the_tick_reminds_of_a_request_and_records_a_missed_deadline_once(world: World) -> None:
    ids = receive(world, world.subject())
    report = run_duties(world.asked, world.ledger, world.now)
    assert [(owed.what, owed.id, owed.overdue) for owed in report.owed] == [
        ("answer-request", ids["request_id"], False)
    ]
    world.wait(days=40)
    report = run_duties(world.asked, world.ledger, world.now)
    assert [done.command for done in report.done] == ["miss-deadline"]
    assert [owed.overdue for owed in report.owed] == [True]
    assert run_duties(world.asked, world.ledger, world.now).done == ()
    assert world.then.requests()[0].missed


def test_holds_are_listed_and_their_reviews_owed(world: World) -> None:
    subject, hold = world.subject(), new_id()
    review_at = world.now + timedelta(days=30)
    ids: dict[str, Any] = {"hold_id": hold, "subject_id": subject}
    placed = world.given(PlaceHold(**ids, case_id=new_id(), ground="claim", owner=new_id(), review_at=review_at))
    world.wait(days=31)
    (owed,) = run_duties(world.asked, world.ledger, world.now).owed
    assert (owed.what, owed.id, owed.due_at, owed.overdue) == ("review-hold", hold, review_at, True)
    world.given(ReleaseHold(**ids, reason="settled"))
    assert world.then.holds(subject, open_only=True) == ()
    assert world.then.holds(as_of=placed.position)[0].released_at is None
    assert world.then.holds()[0].released_at == world.now
    assert run_duties(world.asked, world.ledger, world.now).owed == ()


def test_a_contested_field_is_restricted_until_it_is_settled_and_lifted(world: World) -> None:
    subject = world.subject()
    version = world.given(collect(subject, given_name="Mari")).index
    ids: dict[str, Any] = {"proposal_id": new_id(), "subject_id": subject, "field": "given-name"}
    proposed = world.given(ProposeCorrection(**ids, value="Maarja", expected_version=version, channel=Channel.PHONE))
    (found,) = world.then.restrictions(subject)
    assert (found.fields, found.lifted_at, found.restricted) == (("given-name",), None, proposed.index + 1)
    world.given(
        RejectCorrection(**ids, ground="right", evidence="doc-1", channel=Channel.EMAIL),
        LiftRestriction(restriction_id=ids["proposal_id"], subject_id=subject, reason="settled", channel=Channel.EMAIL),
    )
    assert world.then.restrictions(subject)[0].lifted_at == world.now
    assert world.then.restrictions(subject, as_of=proposed.position)[0].lifted_at is None


def test_notices_to_both_addresses_are_owed_until_they_are_given(world: World) -> None:
    subject = world.subject()
    version = world.given(collect(subject, email="old@example.com")).index
    corrected = world.given(
        CorrectData(
            subject_id=subject, field="email", value="new@example.com", expected_version=version,
            channel=Channel.PHONE, verification=IdentityCheck.CALL_BACK, evidence="call-1",
        )
    )  # fmt: skip
    owed = run_duties(world.asked, world.ledger, world.now).owed
    assert [one.id for one in owed] == [f"{corrected.index}:new", f"{corrected.index}:old"]
    world.given(
        NotifyAddress(subject_id=subject, correction=corrected.index, address=Address.OLD, channel=Channel.EMAIL)
    )
    owed = run_duties(world.asked, world.ledger, world.now + timedelta(days=2)).owed
    assert [(one.id, one.overdue) for one in owed] == [(f"{corrected.index}:new", True)]


def marketing(subject: SubjectId) -> CollectData:
    return CollectData(
        subject_id=subject, purpose=Purpose.OWN_OFFERS, basis=LegalBasis.CONSENT, source=SourceKind.SUBJECT,
        values={"email": "mari@example.com"}, retention_class=RetentionClass.MARKETING,
    )  # fmt: skip


def test_the_tick_erases_what_expired_and_nothing_else(world: World) -> None:
    old, new, held = world.subject(), world.subject(), world.subject()
    world.given(marketing(old), marketing(held))
    world.wait(days=729)
    assert run_duties(world.asked, world.ledger, world.now).done == ()
    world.given(
        marketing(new),
        PlaceHold(
            hold_id=new_id(), subject_id=held, case_id=new_id(), ground="claim", owner=new_id(),
            review_at=world.now + timedelta(days=100),
        ),
    )  # fmt: skip
    world.wait(days=10)
    report = run_duties(world.asked, world.ledger, world.now)
    assert [done.command for done in report.done] == ["expire-retention"]
    assert report.not_done == ()
    expired = [r.event for r in world.ledger.read() if isinstance(r.event, RetentionExpired | KeyDestroyed)]
    assert {event.subject_id for event in expired} == {old}
    states = {name: world.then.state(who).fields["email"].state for name, who in (("old", old), ("new", new))}
    assert states == {"old": ValueState.ERASED, "new": ValueState.PRESENT}
    assert run_duties(world.asked, world.ledger, world.now).done == ()


def test_retention_says_until_when_each_class_is_kept(world: World) -> None:
    subject = world.subject()
    world.given(collect(subject, given_name="Mari"), marketing(subject))
    before = world.ledger.size()
    contract, offers = world.then.retention(subject)
    assert (contract.retention_class, contract.until) == (RetentionClass.CONTRACT, None)
    assert offers.until == datetime(2028, 3, 2, 21, 59, 59, tzinfo=UTC)
    world.given(EndRelationship(subject_id=subject, ended_at=world.now, reason="contract-ended"))
    assert world.then.retention(subject)[0].until == datetime(2029, 3, 2, 21, 59, 59, tzinfo=UTC)
    assert world.then.retention(subject, as_of=before)[0].until is None
    assert world.asked.verify().count == 0
