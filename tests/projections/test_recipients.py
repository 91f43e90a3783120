"""Recipients by name, secret disclosures that leave no sign, and the notices that recipients are owed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from ledger.commands import (
    AdoptPolicy,
    CorrectData,
    EndRecipient,
    FailDisclosure,
    NotifyRecipient,
    RegisterRecipient,
    RegisterSubject,
    SendToProcessor,
    WithdrawConsent,
)
from ledger.events import Statute
from ledger.policy import default_policy_text
from ledger.state.disclosure import Stage
from ledger.vocabulary import (
    Channel,
    IdentityCheck,
    LegalBasis,
    NoticeCause,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    RetentionClass,
    Role,
    SubjectId,
    Word,
    new_id,
)
from tests.projections.test_consents import consent
from tests.projections.test_disclosures import authorize, request, transmit
from tests.projections.world import START, World, collect

POLICY = AdoptPolicy(text=default_policy_text())
OFFICER = Role.OFFICER


def recipient(category: RecipientCategory = RecipientCategory.OTHER, **given: Any) -> RegisterRecipient:
    usual: dict[str, Any] = {
        "recipient_id": RecipientId(new_id()),
        "category": category,
        "name": "Partner OÜ",
        "country": "EE",
        "contract": "DPA-1",
        "valid_from": START,
    }
    return RegisterRecipient(**usual | given)


def disclose(world: World, subject: SubjectId, to: RecipientId) -> Any:
    """Let a disclosure happen, by permission; return the request."""
    given, asked = consent(subject, to), request(subject, to)
    world.given(given, asked, msgspec.structs.replace(authorize(asked), recipient_id=to), transmit(asked))
    return given, asked


def secret(world: World, subject: SubjectId, to: RecipientId) -> Any:
    """Let a disclosure happen that the law requires to be secret for 90 days."""
    statute = Statute(act="KrMS-215", authority="police", reference="1", scope="one")  # type: ignore[arg-type]
    asked = msgspec.structs.replace(
        request(subject, to),
        basis=LegalBasis.LEGAL_OBLIGATION,
        purpose=Purpose.LEGAL,
        statute=statute,
        secret_until=world.now + timedelta(days=90),
    )
    world.given(asked, msgspec.structs.replace(authorize(asked), recipient_id=to), transmit(asked))
    return asked


def test_recipients_are_told_with_their_contract_and_end(world: World) -> None:
    partner, post = recipient(), recipient(RecipientCategory.POSTAL, name="Post AS")
    world.given(POLICY, partner, post)
    then = world.now
    world.given(EndRecipient(recipient_id=partner.recipient_id, reason=Word("quarrel")))
    first, second = world.then.recipients()
    assert (first.recipient_id, first.name, first.contract) == (partner.recipient_id, "Partner OÜ", "DPA-1")
    assert (first.ended_at, first.reason, second.ended_at) == (world.now, "quarrel", None)
    assert world.then.recipients(as_of=then)[0].ended_at is None


def test_a_sole_traders_name_is_shown_until_it_is_erased(world: World) -> None:
    world.given(POLICY)
    trader = world.subject()
    sole = recipient(name=None, subject_id=trader, trader_name="Mari Kanaarilind")
    world.given(sole)
    assert world.then.recipients()[0].name == "Mari Kanaarilind"
    with world.asked._store.read() as rows:
        assert "Kanaarilind" not in repr(rows("SELECT * FROM recipients"))
    world.erase(trader, RetentionClass.CONTRACT)
    assert world.then.recipients()[0].name is None


def test_the_actual_recipients_of_a_person_are_named(world: World) -> None:
    partner, post, host = recipient(), recipient(RecipientCategory.POSTAL), recipient(RecipientCategory.HOSTING)
    world.given(POLICY, partner, post, host)
    subject = world.subject()
    world.given(collect(subject, email="a@b.ee"))
    sent = SendToProcessor(
        subject_id=subject, recipient_id=post.recipient_id, purpose=Purpose.CONTRACT, fields=(Word("address"),)
    )
    disclose(world, subject, partner.recipient_id)
    world.given(sent, sent)
    found = {one.recipient_id: one for one in world.then.recipients_of(subject)}
    assert found.keys() == {partner.recipient_id, post.recipient_id, host.recipient_id}
    third, processor, standing = (found[r.recipient_id] for r in (partner, post, host))
    assert (third.third_party, third.fields, third.times, third.standing) == (True, ("email",), 1, False)
    assert (processor.third_party, processor.fields, processor.times) == (False, ("address",), 2)
    assert (standing.standing, standing.first_at > host.valid_from, standing.last_at) == (True, True, world.now)
    assert world.then.disclosures(subject)[0].recipient_id == partner.recipient_id
    assert len(world.then.disclosures(subject)) == 1, "what goes to a processor is no disclosure"
    assert world.then.recipients_of(SubjectId(new_id())) == ()


def test_what_failed_was_not_received(world: World) -> None:
    partner = recipient()
    world.given(POLICY, partner)
    subject = world.subject()
    world.given(collect(subject, email="a@b.ee"))
    _, asked = disclose(world, subject, partner.recipient_id)
    then = world.now
    world.given(FailDisclosure(disclosure_id=asked.disclosure_id, subject_id=subject, reason=Word("bounced")))
    (one,) = world.then.disclosures(subject)
    assert (one.stage, one.steps[-1].reason) == (Stage.FAILED, "bounced")
    assert world.then.recipients_of(subject) == ()
    assert len(world.then.recipients_of(subject, as_of=then)) == 1


def test_a_secret_disclosure_leaves_no_sign_until_its_day(world: World) -> None:
    police = recipient(RecipientCategory.AUTHORITY, name="Police")
    world.given(POLICY, police)
    subject = world.subject()
    version = world.given(collect(subject, email="a@b.ee")).index
    before = world.then.recipients_of(subject), world.then.disclosures(subject), world.then.obligations(subject)
    asked = secret(world, subject, police.recipient_id)
    correction = CorrectData(
        subject_id=subject, field=Word("email"), value="c@d.ee", expected_version=version, channel=Channel.PHONE,
        verification=IdentityCheck.CALL_BACK, evidence=Reference("call-1"),
    )  # fmt: skip
    world.given(correction)
    for viewer in (Role.SUBJECT, Role.CLIENT_USER, Role.SUPPORT, Role.AUDITOR):
        seen = (
            world.then.recipients_of(subject, viewer=viewer),
            world.then.disclosures(subject, viewer=viewer),
            world.then.obligations(subject, viewer=viewer),
        )
        assert seen == before
    assert world.then.disclosures(subject, viewer=OFFICER)[0].disclosure_id == asked.disclosure_id
    assert len(world.then.recipients_of(subject, viewer=OFFICER)) == 1
    assert len(world.then.obligations(subject, viewer=OFFICER)) == 1
    world.wait(days=91)
    assert world.then.disclosures(subject)[0].secret_until == asked.secret_until
    assert len(world.then.recipients_of(subject)) == len(world.then.obligations(subject)) == 1


def test_a_recipient_is_owed_a_notice_of_what_was_corrected_until_it_is_told(world: World) -> None:
    partner = recipient()
    world.given(POLICY, partner)
    subject = world.subject()
    version = world.given(collect(subject, email="a@b.ee", phone="5")).index
    disclose(world, subject, partner.recipient_id)
    assert world.then.obligations(subject) == ()
    correction = CorrectData(
        subject_id=subject, field=Word("email"), value="c@d.ee", expected_version=version, channel=Channel.PHONE,
        verification=IdentityCheck.CALL_BACK, evidence=Reference("call-1"),
    )  # fmt: skip
    corrected = world.given(correction)
    other = msgspec.structs.replace(correction, field=Word("phone"), value="6")
    world.given(other)
    (owed,) = world.then.obligations(subject)
    assert (owed.recipient_id, owed.cause) == (partner.recipient_id, NoticeCause.CORRECTION)
    assert owed.fields == ("email",), "what it never got it is not told"
    assert world.then.obligations(subject, as_of=corrected.index) == ()
    assert world.then.everybodys_obligations() == (owed,)
    told = NotifyRecipient(
        subject_id=subject,
        recipient_id=partner.recipient_id,
        cause=NoticeCause.CORRECTION,
        fields=(Word("email"),),
        channel=Channel.EMAIL,
    )
    world.given(told)
    assert world.then.obligations(subject) == ()
    world.given(msgspec.structs.replace(correction, value="e@f.ee", expected_version=corrected.index))
    assert len(world.then.obligations(subject)) == 1, "the next correction makes a notice owed again"
    world.erase(subject, RetentionClass.CONTRACT)
    assert [one.cause for one in world.then.obligations(subject)] == [NoticeCause.ERASURE], "no correction any more"
    world.given(msgspec.structs.replace(told, cause=NoticeCause.ERASURE))
    assert world.then.everybodys_obligations() == ()


def test_a_recall_is_owed_for_what_was_under_way(world: World) -> None:
    partner = recipient()
    world.given(POLICY, partner)
    subject = world.subject()
    world.given(collect(subject, email="a@b.ee"))
    given, _ = disclose(world, subject, partner.recipient_id)
    world.given(WithdrawConsent(consent_id=given.consent_id, subject_id=subject, channel=Channel.PHONE))
    (owed,) = world.then.obligations(subject)
    assert (owed.cause, owed.fields, owed.since) == (NoticeCause.RECALL, ("email",), world.now)


def test_a_rebuild_has_the_same_rows(world: World) -> None:
    partner = recipient()
    world.given(POLICY, partner, RegisterSubject(subject_id=SubjectId(new_id())))
    subject = world.subject()
    world.given(collect(subject, email="a@b.ee"))
    disclose(world, subject, partner.recipient_id)
    secret(world, subject, partner.recipient_id)
    assert world.then.verify().count == 0
    assert not world.then.status().quarantined
