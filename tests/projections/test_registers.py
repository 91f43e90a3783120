"""The officer's registers: persons, activities, documents, employees, violations, breaches; now and as of then."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger import Actor
from ledger.commands import (
    AcceptTerms,
    AcknowledgeConfidentiality,
    AdoptPolicy,
    AssessBreach,
    CloseBreach,
    ConfirmBreach,
    GiveConsent,
    MergeSubjects,
    NotifyAuthority,
    OffboardEmployee,
    OnboardEmployee,
    PresentDocument,
    PublishDocument,
    RegisterRecipient,
    RegisterSubject,
    ReportViolation,
    RequestDisclosure,
    ResolveViolation,
    SuspectBreach,
    UnmergeSubjects,
    WithdrawConsent,
)
from ledger.errors import DocumentUnknown, Invalid, PolicyMissing, RoleMissing, Tampered
from ledger.events import Withheld
from ledger.policy import default_policy_text, parse_policy
from ledger.vocabulary import (
    BreachNature,
    BreachRisk,
    Channel,
    Country,
    DocumentKind,
    LegalBasis,
    Purpose,
    RecipientCategory,
    Role,
    SubjectId,
    SubjectRole,
    new_id,
)
from projections.audit_event import audit_events
from projections.consent_record import consent_record
from projections.duties import run_duties
from tests.projections.world import OFFICER, START, World

TEXT = default_policy_text()
NEXT = TEXT.replace('"ee-accounting-1"', '"ee-accounting-2"').replace("[activities.bookkeeping]", "[activities.books]")


def digest(text: str) -> Any:
    return sha256(text.encode()).hexdigest()


def publish(world: World, kind: DocumentKind, version: str, text: str, *, days: int = 0, language: str = "et") -> Any:
    command = PublishDocument(
        kind=kind,
        version=version,  # type: ignore[arg-type]
        language=language,  # type: ignore[arg-type]
        text=text,
        published_at=world.now,
        effective_at=world.now + timedelta(days=days),
    )
    world.given(command)
    return digest(text)


# --- persons -----------------------------------------------------------------------------------------------------


def test_the_records_of_a_person_are_known_now_and_as_of_then(world: World) -> None:
    one, two, three = (world.subject() for _ in range(3))
    world.given(MergeSubjects(subject_id=one, merged_id=two, ground="same"))  # type: ignore[arg-type]
    both = world.ledger.size()
    world.given(MergeSubjects(subject_id=one, merged_id=three, ground="same"))  # type: ignore[arg-type]
    all_three = world.ledger.size()
    world.given(UnmergeSubjects(subject_id=one, merged_id=two, ground="namesake"))  # type: ignore[arg-type]

    def known(subject: SubjectId, as_of: int | None) -> set[SubjectId]:
        return set(world.then.person(subject, as_of=as_of))

    for subject in (one, two):
        assert known(subject, both) == {one, two}
        assert known(subject, both - 1) == {subject}
    for subject in (one, two, three):
        assert known(subject, all_three) == {one, two, three}
    assert known(one, None) == known(three, None) == {one, three}
    assert known(two, None) == {two}


def test_a_consent_is_not_live_while_merged_with_a_record_that_withdrew_it(world: World) -> None:
    one, two = world.subject(), world.subject()
    asked: dict[str, Any] = {"recipient_id": None, "purpose": Purpose.OWN_OFFERS}
    given = {
        subject: GiveConsent(
            consent_id=new_id(),  # type: ignore[arg-type]
            subject_id=subject,
            fields=("email",),  # type: ignore[arg-type]
            text_sha256="0" * 64,  # type: ignore[arg-type]
            language="et",  # type: ignore[arg-type]
            channel=Channel.LINK,
            **asked,
        )
        for subject in (one, two)
    }
    world.given(*given.values())
    world.given(WithdrawConsent(consent_id=given[two].consent_id, subject_id=two, channel=Channel.PHONE))
    before, at = world.ledger.size(), world.now
    world.given(MergeSubjects(subject_id=one, merged_id=two, ground="same"))  # type: ignore[arg-type]
    merged = world.ledger.size()
    assert world.then.live_consents(one, **asked) == ()
    assert len(world.then.live_consents(one, as_of=before, **asked)) == 1
    assert len(world.then.live_consents(one, as_of=at, **asked)) == 1
    world.given(UnmergeSubjects(subject_id=one, merged_id=two, ground="namesake"))  # type: ignore[arg-type]
    assert len(world.then.live_consents(one, **asked)) == 1
    assert world.then.live_consents(one, as_of=merged, **asked) == ()


# --- activities --------------------------------------------------------------------------------------------------


def test_the_record_of_activities_is_that_of_the_policy_of_the_day(world: World) -> None:
    with pytest.raises(PolicyMissing):
        world.then.activities()
    world.given(AdoptPolicy(text=TEXT))
    before = world.ledger.size()
    world.given(AdoptPolicy(text=NEXT))
    now, then = world.then.activities(), world.then.activities(as_of=before)
    assert {one.activity for one in now} - {one.activity for one in then} == {"books"}
    policy = parse_policy(TEXT)
    assert len(then) == sum(len(activity.roles) for activity in policy.activities.values())
    (row,) = [one for one in then if (one.activity, one.article) == ("e-invoicing", "30(2)")]
    assert (row.role, row.purpose, row.legal_bases) == (
        "processor",
        "e-invoice-delivery",
        ("dpv:Contract", "dpv:Consent"),
    )
    assert "hosting (dpv:DataProcessor)" in row.recipients
    assert row.data_subjects
    assert row.on_behalf_of == ()
    client: Any = new_id()
    for _ in range(2):
        world.given(RegisterSubject(subject_id=SubjectId(new_id()), role=SubjectRole.PROCESSOR, client_id=client))
    found = {one.article: one.on_behalf_of for one in world.then.activities()}
    assert found == {"30(1)": (), "30(2)": (client,)}
    assert {one.on_behalf_of for one in world.then.activities(as_of=before)} == {()}
    assert row.security


# --- documents ---------------------------------------------------------------------------------------------------


def test_which_text_bound_a_person_on_a_day_and_the_text_itself(world: World) -> None:
    world.given(AdoptPolicy(text=TEXT))
    subject = world.subject()
    first = "Tingimused\r\n" + "õ" * 20_000
    old = publish(world, DocumentKind.TERMS, "1", first)
    publish(world, DocumentKind.TERMS, "1", "Terms", language="en")
    said: dict[str, Any] = {"subject_id": subject, "version": "1", "language": "et", "channel": Channel.SOFTWARE}
    before = world.now
    world.given(PresentDocument(kind=DocumentKind.TERMS, text_sha256=old, **said))
    world.given(AcceptTerms(text_sha256=old, **said))
    accepted_at = world.now
    publish(world, DocumentKind.TERMS, "2", "Uued", days=40)
    (bound,) = world.then.bindings(subject, before)
    assert (bound.version, bound.presented, bound.accepted) == ("1", None, None)
    assert {one.language for one in bound.documents} == {"et", "en"}, "in which language is not known then"
    (bound,) = world.then.bindings(subject, accepted_at)
    assert (bound.version, bound.presented, bound.accepted) == ("1", "1", "1")
    assert [one.text_sha256 for one in bound.documents] == [old]
    (bound,) = world.then.bindings(subject, world.now + timedelta(days=41))
    assert (bound.version, bound.accepted) == ("2", "1"), (
        "an amendment binds after its notice; this is what was accepted"
    )
    assert world.then.bindings(subject, before - timedelta(days=1)) == ()
    assert world.then.document_text(old) == first
    assert len(world.then.documents()) == 3
    with pytest.raises(DocumentUnknown):
        world.then.document_text(digest("never"))
    with pytest.raises(Invalid):
        world.then.bindings(subject, before.replace(tzinfo=None))


def test_a_text_whose_parts_do_not_add_up_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.given(AdoptPolicy(text=TEXT))
    wanted = publish(world, DocumentKind.TERMS, "1", "a" * 20_000)
    read = world.ledger.read
    monkeypatch.setattr(world.ledger, "read", lambda *query, **more: list(read(*query, **more))[:-1])
    with pytest.raises(Tampered):
        world.asked.document_text(wanted)


# --- employees ---------------------------------------------------------------------------------------------------


def test_who_may_see_personal_data_and_until_when(world: World) -> None:
    world.given(AdoptPolicy(text=TEXT))
    text = publish(world, DocumentKind.PROCEDURE, "1", "Keep confidence")
    employee = Actor(id=new_id(), role=Role.SUPPORT)  # type: ignore[arg-type]
    world.given(OnboardEmployee(employee_id=employee.id, role=Role.SUPPORT))
    before = world.ledger.size()
    world.ledger.record(
        AcknowledgeConfidentiality(employee_id=employee.id, version="1", language="et", text_sha256=text),  # type: ignore[arg-type]
        employee,
    )
    (then,) = world.then.employees(world.now, as_of=before)
    (now,) = world.then.employees(world.now)
    assert (then.has_access, then.acknowledged) == (False, None)
    assert (now.has_access, now.acknowledged, now.access_until) == (True, "1", None)
    due = world.now + timedelta(days=31 + 14)
    publish(world, DocumentKind.PROCEDURE, "2", "Keep it better", days=31)
    (now,) = world.then.employees(due - timedelta(seconds=1))
    assert (now.has_access, now.access_until) == (True, due)
    assert not world.then.employees(due)[0].has_access
    world.now = due - timedelta(seconds=1)
    assert run_duties(world.asked, world.ledger, world.now).done == ()
    world.now = due
    (done,) = run_duties(world.asked, world.ledger, world.now).done
    assert (done.duty, done.command) == ("acknowledgement-lapse", "lapse-acknowledgement")
    assert run_duties(world.asked, world.ledger, world.now).done == (), "once"
    world.given(OffboardEmployee(employee_id=employee.id))
    (now,) = world.then.employees(world.now)
    assert (now.has_access, now.offboarded_at, now.acknowledged) == (False, world.now, None)


def test_violations_are_shown_to_the_officer_only(world: World) -> None:
    violation, employee = new_id(), new_id()
    report = ReportViolation(violation_id=violation, employee_id=employee, category="curiosity", details="Read")  # type: ignore[arg-type]
    world.given(report)
    for role in set(Role) - {Role.OFFICER}:
        with pytest.raises(RoleMissing):
            world.then.violations(Actor(id=OFFICER.id, role=role))
    (found,) = world.then.violations(OFFICER)
    assert (found.employee, found.details, found.outcome, found.resolution) == (employee, "Read", None, None)
    world.given(ResolveViolation(violation_id=violation, outcome="warned", details="Talked to"))  # type: ignore[arg-type]
    (found,) = world.then.violations(OFFICER)
    assert (found.outcome, found.resolution) == ("warned", "Talked to")


# --- breaches ----------------------------------------------------------------------------------------------------


def test_the_breach_register_and_what_is_owed(world: World) -> None:
    world.given(AdoptPolicy(text=TEXT))
    breach: Any = new_id()
    aware = world.now
    world.given(
        SuspectBreach(
            breach_id=breach, natures=(BreachNature.AVAILABILITY,), suspected_at=aware, facts="Mari's file is gone"
        )
    )
    assert run_duties(world.asked, world.ledger, world.now).owed == ()
    world.given(ConfirmBreach(breach_id=breach, aware_at=aware))
    due = aware + timedelta(hours=72)
    (owed,) = run_duties(world.asked, world.ledger, due).owed
    assert (owed.what, owed.id, owed.due_at, owed.overdue) == ("breach-notice", breach, due, False)
    assert run_duties(world.asked, world.ledger, due + timedelta(seconds=1)).owed[0].overdue
    world.given(
        AssessBreach(
            breach_id=breach,
            risk=BreachRisk.HIGH,
            subjects=1,
            records=1,
            categories=("contact",),  # type: ignore[arg-type]
            effects="Mari is not reached",
            measures="Restored",
        )
    )
    assert [one.what for one in run_duties(world.asked, world.ledger, due).owed] == [
        "breach-communication",
        "breach-notice",
    ]
    before = world.ledger.size()
    world.given(
        NotifyAuthority(breach_id=breach, authority="aki", reference="1", notified_at=aware),  # type: ignore[arg-type]
        CloseBreach(breach_id=breach, outcome="restored", exemption="no-more-risk"),  # type: ignore[arg-type]
    )
    assert run_duties(world.asked, world.ledger, due).owed == ()
    (sealed,) = world.then.breaches()
    assert (sealed.facts, sealed.effects) == (Withheld.SEALED, Withheld.SEALED)
    assert (sealed.risk, sealed.notice_due_at, sealed.outcome) == ("high", due, "restored")
    (opened,) = world.then.breaches(show=True)
    assert (opened.facts, opened.measures, opened.delay_reason) == ("Mari's file is gone", "Restored", None)
    (then,) = world.then.breaches(as_of=before)
    assert (then.authority_notified_at, then.closed_at) == (None, None)


# --- standard forms ----------------------------------------------------------------------------------------------


def test_a_consent_is_shown_as_a_record_and_a_receipt_of_27560(world: World) -> None:
    subject, consent, recipient = world.subject(), new_id(), new_id()
    given = GiveConsent(
        consent_id=consent,  # type: ignore[arg-type]
        subject_id=subject,
        purpose=Purpose.PARTNER_OFFERS,
        fields=("email", "shoe-size"),  # type: ignore[arg-type]
        text_sha256="0" * 64,  # type: ignore[arg-type]
        language="et",  # type: ignore[arg-type]
        channel=Channel.LINK,
        recipient_id=recipient,  # type: ignore[arg-type]
    )
    world.given(given)
    policy = parse_policy(TEXT)
    (known,) = world.then.consents(subject)
    record = consent_record(known, policy, receipt=False, ledger="example.com/ledger")
    assert record["dct:conformsTo"] == "dpv-27560:record-eu-gdpr"
    assert record["dpv:hasIdentifier"] == consent
    (process,) = record["dpv:hasProcess"]
    assert record.keys() >= _MANDATORY
    assert process.keys() >= _OF_PROCESS
    assert process["dpv:hasPurpose"][0]["skos:broader"] == "dpv:Advertising"
    assert [one["skos:broader"] for one in process["dpv:hasPersonalData"]] == ["pd:Contact", "dpv:PersonalData"]
    assert process["dpv:hasRecipient"] == [f"urn:uuid:{recipient}"]
    named = {record["dct:creator"], *process["dpv:hasDataController"], *process["dpv:hasRecipient"]}
    assert named == record["dpv:hasEntity"].keys(), "every entity that is named is described"
    assert record["dpv:hasNotice"][0]["dpv:hasIdentifier"] == "sha256:" + "0" * 64
    assert [one["@type"] for one in process["dpv:hasConsentStatus"]] == [["dpv:ConsentGiven"]]
    assert "dct:modified" not in record
    world.given(WithdrawConsent(consent_id=consent, subject_id=subject, channel=Channel.PHONE))  # type: ignore[arg-type]
    (known,) = world.then.consents(subject)
    receipt = consent_record(known, policy, receipt=True, ledger="example.com/ledger")
    assert (receipt["@type"], receipt["dct:conformsTo"]) == ("dpv:ConsentReceipt", "dpv-27560:receipt-eu-gdpr")
    said = receipt["dpv:hasProcess"][0]["dpv:hasConsentStatus"]
    assert [one["@type"] for one in said] == [["dpv:ConsentGiven"], ["dpv:ConsentWithdrawn"]]
    assert receipt["dct:modified"] == said[1]["dpv:isIndicatedAtTime"]
    partner = RegisterRecipient(
        recipient_id=recipient,  # type: ignore[arg-type]
        category=RecipientCategory.OTHER,
        name="Partner OÜ",
        country=Country("EE"),
        valid_from=START,
    )
    world.given(AdoptPolicy(text=TEXT), partner)
    (registered,) = world.then.recipients()
    receipt = consent_record(known, policy, receipt=True, ledger="example.com/ledger", recipient=registered)
    assert receipt["dpv:hasEntity"][f"urn:uuid:{recipient}"]["dpv:hasName"] == "Partner OÜ"
    prefixes = {word.partition(":")[0] for word in _words(receipt | {"@context": None})}
    assert prefixes <= {*receipt["@context"], "urn", "http", "https"}


# What ISO/IEC TS 27560 requires, in the words of DPV: of a record, and of each process in it.
_MANDATORY = {
    "dct:conformsTo", "dpv:hasIdentifier", "dpv:hasDataSubject", "dct:created", "dct:creator", "dct:language",
    "dpv:hasProcess", "dpv:hasNotice", "dpv:hasEntity",
}  # fmt: skip
_OF_PROCESS = {
    "dpv:hasPurpose", "dpv:hasPersonalData", "dpv:hasProcessing", "dpv:hasDataController", "dpv:hasDataSource",
    "dpv:hasStorageCondition", "dpv:hasRecipient", "dpv:hasLegalBasis", "dpv:hasConsentStatus",
}  # fmt: skip


def _words(value: Any) -> list[str]:
    """Return every name and every `@id` and `@type` of a document."""
    if isinstance(value, dict):
        types = value.get("@type", [])
        named = [value["@id"]] if "@id" in value else []
        named += types if isinstance(types, list) else [types]
        return [*named, *(name for name in value if ":" in name), *(w for one in value.values() for w in _words(one))]
    return [word for one in value for word in _words(one)] if isinstance(value, list) else []


def test_each_step_of_a_disclosure_is_an_audit_event(world: World) -> None:
    subject = world.subject()
    request = RequestDisclosure(
        disclosure_id=new_id(),  # type: ignore[arg-type]
        subject_id=subject,
        recipient_id=new_id(),  # type: ignore[arg-type]
        purpose=Purpose.E_INVOICE,
        basis=LegalBasis.CONSENT,
        fields=("email",),  # type: ignore[arg-type]
    )
    receipt = world.given(request)
    (disclosure,) = world.then.disclosures(subject)
    (event,) = audit_events(disclosure, ledger="example.com/ledger")
    assert event["resourceType"] == "AuditEvent"
    # What FHIR R5 requires of every AuditEvent: code, recorded, agent.who and source.observer.
    assert event["code"]["coding"]
    assert event["recorded"].endswith("Z")
    assert [agent["who"]["identifier"]["value"] for agent in event["agent"]] == [
        f"urn:uuid:{OFFICER.id}",
        f"urn:uuid:{request.recipient_id}",
    ]
    assert event["source"]["observer"]["display"] == "example.com/ledger"
    assert event["authorization"][0]["coding"][0]["code"] == "Consent"
    (entity,) = event["entity"]
    assert entity["what"]["identifier"]["value"] == f"urn:uuid:{subject}"
    assert [one.get("valueString", one.get("valueInteger")) for one in entity["detail"]] == ["email", receipt.index]
