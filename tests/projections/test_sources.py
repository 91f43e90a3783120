"""Quarantine, guarantees that run out, people who are to be told, and what the clock does about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ledger.commands import (
    AdoptPolicy,
    ImportBatch,
    ImportRecord,
    InformSubject,
    ObjectToMarketing,
    RecordGuarantee,
    RegisterSource,
    RevokeGuarantee,
)
from ledger.events import DisclosureVoided
from ledger.policy import default_policy_text
from ledger.vocabulary import Channel, LegalBasis, Purpose, RecipientId, SourceKind, SubjectId, new_id
from projections.duties import run_duties
from tests.projections.test_consents import consent
from tests.projections.test_disclosures import authorize, request
from tests.projections.world import START, World

ISSUER: Any = new_id()
TEXT: Any = "ab" * 32


def guarantee(guarantee_id: str, days: int = 99) -> RecordGuarantee:
    valid_to = START + timedelta(days=days)
    what: Any = {"source_id": ISSUER, "guarantee_id": guarantee_id, "document_sha256": TEXT, "categories": ("contact",)}
    return RecordGuarantee(**what, purpose=Purpose.OWN_OFFERS, valid_from=START, valid_to=valid_to)


def batch(batch_id: str, guarantee_id: str | None) -> ImportBatch:
    what: Any = {"source_id": ISSUER, "batch_id": batch_id, "guarantee_id": guarantee_id, "categories": ("contact",)}
    return ImportBatch(**what, purpose=Purpose.OWN_OFFERS, basis=LegalBasis.LEGITIMATE_INTEREST)


def record(batch_id: Any, subject: SubjectId) -> ImportRecord:
    return ImportRecord(batch_id=batch_id, subject_id=subject, values={"email": f"{subject}@example.com"})


def ready(world: World) -> None:
    world.given(
        AdoptPolicy(text=default_policy_text()),
        RegisterSource(source_id=ISSUER, kind=SourceKind.ISSUER, name="Lists OÜ"),
    )


def test_quarantine_shows_what_has_no_guarantee_and_what_a_revocation_suspends(world: World) -> None:
    ready(world)
    given, good, bad = new_id(), new_id(), new_id()
    mari, jaan = world.subject(), world.subject()
    world.given(guarantee(given), batch(good, given), batch(bad, None), record(good, mari), record(bad, mari))
    world.given(record(good, jaan), ObjectToMarketing(subject_id=jaan, channel=Channel.LINK, received_at=world.now))
    world.refused(record(good, jaan))
    (found,) = world.then.quarantined_batches()
    assert (found.batch_id, found.reason, found.records) == (bad, "guarantee-missing", 1)
    then = world.now
    revoke: Any = {"guarantee_id": given, "source_id": ISSUER, "reason": "complaint"}
    world.given(RevokeGuarantee(**revoke))
    first, second = world.then.quarantined_batches()
    assert (first.batch_id, first.reason, first.since) == (good, "guarantee-revoked", world.now)
    assert (first.records, first.suppressed, second.batch_id) == (2, 1, bad)
    assert len(world.then.quarantined_batches(as_of=then)) == 1
    assert world.then.guarantees() == ()
    assert len(world.then.guarantees(as_of=then)) == 1
    assert world.then.verify().count == 0


def test_who_is_not_told_where_their_data_comes_from_is_owed_a_notice_by_a_day(world: World) -> None:
    ready(world)
    given, which = new_id(), new_id()
    mari, jaan = world.subject(), world.subject()
    world.given(guarantee(given, days=40), batch(which, given), record(which, mari), record(which, jaan))
    since = world.now
    world.given(InformSubject(subject_id=mari, channel=Channel.EMAIL, text_sha256=TEXT, language="et"))  # type: ignore[arg-type]
    assert [(owed.subject_id, owed.since) for owed in world.then.notices_owed()] == [(jaan, since)]
    report = run_duties(world.asked, world.ledger, world.now)
    assert [(one.what, one.id, one.overdue) for one in report.owed] == [("art-14-notice", jaan, False)]
    assert report.owed[0].due_at == since + timedelta(days=30)
    world.wait(days=45)
    report = run_duties(world.asked, world.ledger, world.now)
    assert {(one.what, one.id) for one in report.overdue} == {("art-14-notice", jaan), ("guarantee-expiry", given)}


def test_an_authorization_that_nobody_used_in_time_is_voided_once(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    asked = request(subject, recipient)
    world.given(consent(subject, recipient), asked, authorize(asked))
    assert not run_duties(world.asked, world.ledger, world.now).done
    world.wait(minutes=15)
    (done,) = run_duties(world.asked, world.ledger, world.now).done
    voided = world.ledger.open(done.index)
    assert isinstance(voided, DisclosureVoided)
    assert (voided.disclosure_id, voided.reason) == (asked.disclosure_id, "token-expired")
    assert not run_duties(world.asked, world.ledger, world.now).done
