"""Corrections, statements, restrictions and the notices of changed addresses: clauses 8–9."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ledger import Actor
from ledger.command import Past
from ledger.commands import (
    AdoptPolicy,
    AttachStatement,
    CorrectData,
    LiftRestriction,
    NotifyAddress,
    ProposeCorrection,
    RecordOrder,
    RegisterSubject,
    RejectCorrection,
    RestrictProcessing,
)
from ledger.errors import (
    AccuracyContested,
    EvidenceMissing,
    FieldNotDefined,
    FieldUnknown,
    Invalid,
    NoticeNotOwed,
    ProposalExists,
    ProposalUnknown,
    RestrictionExists,
    RestrictionUnknown,
    StaleVersion,
)
from ledger.events import (
    AddressNotified,
    CorrectionProposed,
    CorrectionRejected,
    DataCorrected,
    ProcessingRestricted,
    RestrictionLifted,
    StatementAttached,
)
from ledger.policy import default_policy_text
from ledger.state.restriction import open_restrictions, restricted
from ledger.vocabulary import (
    Address,
    Channel,
    IdentityCheck,
    OrderChannel,
    RestrictionGround,
    RetentionClass,
    Role,
)
from tests.bench import START, SUPPORT, Bench, an_id
from tests.conftest import MakeBench
from tests.rules.test_request import at, collect

MARI, PROPOSAL, RESTRICTION = an_id("mari"), an_id("proposal"), an_id("restriction")
HERSELF = Actor(id=an_id("login of mari"), role=Role.SUBJECT)
VALUES = {"email": "mari@example.com", "given-name": "Mari", "iban": "EE1", "employer": "OÜ Vana"}


def maker(command: Any, **usual: Any) -> Any:
    return lambda **given: command(**{"subject_id": MARI} | usual | given)


propose = maker(
    ProposeCorrection, proposal_id=PROPOSAL, field="given-name", value="Maarja", expected_version=at(2),
    channel=Channel.PHONE,
)  # fmt: skip
reject = maker(
    RejectCorrection, proposal_id=PROPOSAL, field="given-name", ground="register-agrees", evidence="doc-1",
    channel=Channel.EMAIL,
)  # fmt: skip
attach = maker(AttachStatement, field="given-name", statement="I am called Maarja", channel=Channel.EMAIL)
restrict = maker(RestrictProcessing, restriction_id=RESTRICTION, ground=RestrictionGround.CLAIMS, channel=Channel.EMAIL)
lift = maker(LiftRestriction, restriction_id=RESTRICTION, reason="settled", channel=Channel.EMAIL)
notify = maker(NotifyAddress, correction=at(3), address=Address.OLD, channel=Channel.EMAIL)
correct = maker(CorrectData, field="given-name", value="Maarja", expected_version=at(2), channel=Channel.PHONE)
told = {"verification": IdentityCheck.CALL_BACK, "evidence": "call-1"}

MAKERS = [propose, reject, attach, restrict, lift, notify]
FIELD_KINDS = {
    "proposal_id": "id", "restriction_id": "id", "evidence": "reference", "address": "enum", "verification": "enum",
}  # fmt: skip
OTHER_FIELDS = {"correction"}
CODES = [
    "restricted",
    "evidence-missing", "proposal-unknown", "proposal-exists", "restriction-unknown", "restriction-exists",
    "accuracy-contested", "notice-not-owed",
]  # fmt: skip


@pytest.fixture
def bench(bench: Bench) -> Bench:
    return bench.given(
        AdoptPolicy(text=default_policy_text()), RegisterSubject(subject_id=MARI), collect(values=VALUES)
    )


def corrected(**given: Any) -> DataCorrected:
    usual: dict[str, Any] = {
        "subject_id": MARI, "field": "given-name", "replaces": at(2), "channel": Channel.PHONE,
        "retention_class": RetentionClass.CONTRACT, "values": {"given-name": "Maarja"},
    }  # fmt: skip
    return DataCorrected(**usual | given)


def restriction(**given: Any) -> ProcessingRestricted:
    usual: dict[str, Any] = {
        "restriction_id": RESTRICTION, "subject_id": MARI, "ground": RestrictionGround.CLAIMS,
        "channel": Channel.EMAIL,
    }  # fmt: skip
    return ProcessingRestricted(**usual | given)


# --- by class of field -------------------------------------------------------------------------------------------


@pytest.mark.rule("correction-by-field-class")
def test_a_person_corrects_a_self_service_field_and_shows_nothing(bench: Bench) -> None:
    bench.when(correct(channel=Channel.SOFTWARE), by=HERSELF).then(corrected(channel=Channel.SOFTWARE))


@pytest.mark.rule("correction-by-field-class")
def test_a_field_that_the_policy_does_not_know_is_corrected_on_evidence(make_bench: MakeBench) -> None:
    before = collect(values={"old-field": "x"})
    bench = make_bench().given(RegisterSubject(subject_id=MARI), before, AdoptPolicy(text=default_policy_text()))
    change = {"field": "old-field", "expected_version": 1}
    bench.when(correct(**change), by=HERSELF).refused(EvidenceMissing, field="old-field")
    assert bench.when(correct(**change, evidence="doc-1"), by=HERSELF).refusal is None


@pytest.mark.rule("correction-by-field-class")
@pytest.mark.parametrize("field", ["iban"])
def test_a_field_that_needs_evidence_is_corrected_on_evidence_whoever_asks(bench: Bench, field: str) -> None:
    bench.when(correct(field=field), by=HERSELF).refused(EvidenceMissing, field=field)
    bench.when(correct(field=field, verification=IdentityCheck.IN_PERSON), by=SUPPORT).refused(EvidenceMissing)
    bench.when(correct(field=field, evidence="doc-1"), by=HERSELF).then(
        corrected(field=field, evidence="doc-1", values={field: "Maarja"})
    )


@pytest.mark.rule("correction-by-field-class")
def test_a_field_fed_by_a_register_is_what_the_register_says(bench: Bench) -> None:
    for by in (HERSELF, SUPPORT):
        bench.when(correct(field="employer", **told), by=by).refused(EvidenceMissing, field="employer")
    bench.when(correct(field="employer", source_reference="ariregister.rik.ee/1"), by=SUPPORT).then(
        corrected(field="employer", source_reference="ariregister.rik.ee/1", values={"employer": "Maarja"})
    )


@pytest.mark.rule("staff-correction-says-how")
def test_staff_say_how_the_caller_was_verified_and_on_what(bench: Bench) -> None:
    for missing in ({}, {"verification": IdentityCheck.CALL_BACK}, {"evidence": "call-1"}):
        bench.when(correct(**missing), by=SUPPORT).refused(EvidenceMissing, field="given-name")
    bench.when(correct(**told), by=SUPPORT).then(corrected(**told))


@pytest.mark.rule("correction-sees-the-last-version")
def test_a_stale_correction_is_refused_and_one_of_another_field_is_none(bench: Bench) -> None:
    bench.given(correct(**told))
    bench.when(correct(**told)).refused(StaleVersion, field="given-name", expected=at(2), actual=at(3))
    bench.when(correct(field="email", value="new@example.com", **told)).then(
        corrected(field="email", values={"email": "new@example.com"}, notify_addresses=True, **told)
    )


def test_a_correction_never_rewrites_an_order_already_placed(bench: Bench) -> None:
    content = b"From: mari@example.com\r\n\r\nPay 1 EUR"
    order = RecordOrder(
        order_id=an_id("order"), client_id=an_id("client"), subject_id=MARI, channel=OrderChannel.SOFTWARE,
        media_type="text/plain", content=content, terms_version="1", received_at=START,
    )  # fmt: skip
    index = bench.ledger.record(order, SUPPORT).index
    before = bench.ledger.entry(index)
    bench.given(correct(field="email", value="new@example.com", **told))
    assert bench.ledger.entry(index) == before
    assert bench.ledger.open(index).content == content  # type: ignore[attr-defined]


# --- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("both-addresses-are-told")
def test_the_old_and_the_new_address_are_told_each_once(bench: Bench) -> None:
    bench.when(notify()).refused(NoticeNotOwed, correction=at(3), address="old")
    bench.given(correct(field="email", value="new@example.com", **told))
    for address in Address:
        bench.when(notify(address=address)).then(
            AddressNotified(subject_id=MARI, correction=at(3), address=address, channel=Channel.EMAIL)
        )
        bench.when(notify(address=address)).refused(NoticeNotOwed)


@pytest.mark.rule("both-addresses-are-told")
def test_a_correction_of_what_is_no_address_owes_no_notice(bench: Bench) -> None:
    bench.given(correct(**told))
    bench.when(notify()).refused(NoticeNotOwed)


# --- contested ---------------------------------------------------------------------------------------------------

PROPOSED = CorrectionProposed(
    proposal_id=PROPOSAL, subject_id=MARI, field="given-name", contests=at(2), channel=Channel.PHONE,
    retention_class=RetentionClass.CONTRACT, values={"given-name": "Maarja"},
)  # fmt: skip
CONTESTED = restriction(
    restriction_id=PROPOSAL, ground=RestrictionGround.ACCURACY_CONTESTED, channel=Channel.PHONE, fields=("given-name",)
)


@pytest.mark.rule("contested-is-restricted")
def test_a_contested_field_is_restricted_at_once(bench: Bench) -> None:
    bench.when(propose()).then(PROPOSED, CONTESTED)
    past = Past()
    past.all.extend(bench.ledger.read())
    assert restricted(past, MARI, ["given-name"]) == PROPOSAL
    assert restricted(past, MARI) == PROPOSAL
    assert restricted(past, MARI, ["email"]) is None
    bench.when(propose()).refused(ProposalExists, proposal=PROPOSAL)
    bench.when(propose(proposal_id=an_id("p2"), expected_version=1)).refused(StaleVersion)
    bench.when(propose(proposal_id=an_id("p2"), field="phone")).refused(FieldUnknown)
    bench.when(propose(proposal_id=an_id("p2"), value=None)).refused(Invalid, field="value")


@pytest.mark.rule("restriction-until-settled")
@pytest.mark.parametrize("accepted", [True, False])
def test_the_restriction_stands_until_the_proposal_is_settled_and_the_person_told(bench: Bench, accepted: bool) -> None:
    bench.given(propose())
    bench.when(lift(restriction_id=PROPOSAL)).refused(AccuracyContested, restriction=PROPOSAL)
    if accepted:
        bench.when(correct(proposal_id=PROPOSAL, **told)).then(corrected(proposal_id=PROPOSAL, **told))
    else:
        bench.when(reject()).then(
            CorrectionRejected(
                proposal_id=PROPOSAL,
                subject_id=MARI,
                field="given-name",
                ground="register-agrees",
                evidence="doc-1",
                channel=Channel.EMAIL,
            )
        )
    bench.when(lift(restriction_id=PROPOSAL)).then(
        RestrictionLifted(restriction_id=PROPOSAL, subject_id=MARI, reason="settled", channel=Channel.EMAIL)
    )
    bench.when(lift(restriction_id=PROPOSAL)).refused(RestrictionUnknown, restriction=PROPOSAL)


@pytest.mark.rule("rejection-on-evidence")
def test_only_an_open_proposal_about_this_field_is_rejected_or_accepted(bench: Bench) -> None:
    bench.when(reject()).refused(ProposalUnknown, proposal=PROPOSAL)
    bench.given(propose())
    bench.when(reject(field="email")).refused(ProposalUnknown, field="email")
    bench.when(correct(field="email", proposal_id=PROPOSAL, **told)).refused(ProposalUnknown)
    bench.given(reject())
    bench.when(correct(proposal_id=PROPOSAL, **told)).refused(ProposalUnknown)


@pytest.mark.rule("statement-stands-with-its-field")
def test_a_statement_is_kept_with_its_field(bench: Bench) -> None:
    bench.when(attach()).then(
        StatementAttached(
            subject_id=MARI,
            field="given-name",
            channel=Channel.EMAIL,
            retention_class=RetentionClass.CONTRACT,
            statement="I am called Maarja",
        )
    )
    bench.when(attach(statement="")).refused(Invalid, field="statement")
    bench.when(attach(field="phone")).refused(FieldUnknown, field="phone")


# --- restrictions ------------------------------------------------------------------------------------------------


@pytest.mark.rule("restriction-has-a-ground")
def test_a_restriction_of_a_field_that_nobody_knows_is_refused_by_its_name(bench: Bench) -> None:
    bench.when(restrict(fields=("email", "emial"))).refused(FieldNotDefined, field="emial")
    bench.when(restrict(fields=("email", "order"))).then(restriction(fields=("email", "order")))


@pytest.mark.rule("restriction-has-a-ground")
def test_a_restriction_is_in_force_until_it_is_lifted(bench: Bench) -> None:
    bench.when(restrict(fields=("email", "email"))).then(restriction(fields=("email",)))
    bench.when(restrict()).refused(RestrictionExists, restriction=RESTRICTION)
    past = Past()
    past.all.extend(bench.ledger.read())
    assert list(open_restrictions(past, MARI)) == [RESTRICTION]
    assert open_restrictions(past, an_id("jaan")) == {}
    bench.given(lift())
    past.all[:] = bench.ledger.read()
    assert restricted(past, MARI, ["email"]) is None


@pytest.mark.rule("restriction-has-a-ground")
def test_a_restriction_for_contested_accuracy_starts_with_a_proposal(bench: Bench) -> None:
    bench.when(restrict(ground=RestrictionGround.ACCURACY_CONTESTED)).refused(Invalid, field="ground")


def test_a_correction_of_the_future_is_refused(bench: Bench) -> None:
    bench.when(correct(valid_from=START + timedelta(days=1), **told)).refused(Invalid, field="valid_from")
