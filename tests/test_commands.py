"""Every rule of every command: what it records, and each reason for which it refuses. Names follow the clauses."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger import Actor
from ledger.command import BY_NAME, Command, Limits
from ledger.commands import (
    AmendOrder,
    AuthorizeDisclosure,
    CancelOrder,
    CollectData,
    ConfirmOrder,
    CorrectData,
    DecideErasure,
    DestroyKeys,
    DisputeOrder,
    ExecuteOrder,
    GiveConsent,
    LinkIdentifier,
    RecordOrder,
    RefuseDisclosure,
    RegisterSubject,
    RequestDisclosure,
    ResolveDispute,
    TransmitDisclosure,
    VoidDisclosure,
    WithdrawConsent,
)
from ledger.commands.order import MAX_FILE_NAME
from ledger.commands.subject import MAX_IDENTIFIER
from ledger.errors import (
    ApproverMissing,
    CaseUnknown,
    ConsentExists,
    ConsentMissing,
    ConsentNotLive,
    ConsentUnknown,
    DisclosureExists,
    DisclosureState,
    DisclosureUnknown,
    EntryTooLarge,
    ErasureUndecided,
    FieldsMismatch,
    FieldUnknown,
    Invalid,
    OrderExists,
    OrderState,
    OrderUnknown,
    RecipientMismatch,
    Refused,
    StaleVersion,
    SubjectExists,
    SubjectUnknown,
    TokenExpired,
    TokenWrong,
    TransactionExists,
)
from ledger.events import (
    ClassDecision,
    ConsentGiven,
    ConsentWithdrawn,
    DataCorrected,
    DisclosureAuthorized,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    DisputeResolved,
    ErasureDecided,
    IdentifierLinked,
    KeyDestroyed,
    OrderAmended,
    OrderCancelled,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderRecorded,
    PersonalDataCollected,
    PersonalDataErased,
    Statute,
    SubjectRegistered,
    Transaction,
    Withheld,
)
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    IdentifierKind,
    LegalBasis,
    OrderChannel,
    Purpose,
    RetentionClass,
    Role,
    SourceKind,
    SubjectRole,
)
from tests import rules
from tests.bench import OFFICER, START, SUPPORT, Bench, an_id, check_ledger
from tests.conftest import MakeBench
from tests.race import race
from tests.rules import capabilities

MARI, JAAN = an_id("mari"), an_id("jaan")
CLIENT, RECIPIENT, OTHER_RECIPIENT = an_id("client"), an_id("recipient"), an_id("other recipient")
CONSENT, OTHER_CONSENT = an_id("consent"), an_id("other consent")
DISCLOSURE, ORDER, CASE = an_id("disclosure"), an_id("order"), an_id("case")
TEXT_SHA256: Any = sha256(b"I agree").hexdigest()
TOKEN = "the token that only its maker knows"
TOKEN_SHA256: Any = sha256(TOKEN.encode()).hexdigest()
SOON = START + timedelta(minutes=15)

CommandMaker = Callable[..., Command]


def maker(command: type[Command], /, **usual: Any) -> CommandMaker:
    """Return a function that makes this command with its usual values, but those that a test gives."""
    return lambda **given: command(**usual | given)


register = maker(RegisterSubject, subject_id=MARI)
link = maker(LinkIdentifier, subject_id=MARI, kind=IdentifierKind.EMAIL, value="mari@example.com")
consent = maker(
    GiveConsent,
    consent_id=CONSENT,
    subject_id=MARI,
    purpose=Purpose.E_INVOICE,
    fields=("email", "given-name"),
    text_sha256=TEXT_SHA256,
    language="et",
    channel=Channel.LINK,
    recipient_id=RECIPIENT,
)
withdraw = maker(WithdrawConsent, consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE)
collect = maker(
    CollectData,
    subject_id=MARI,
    purpose=Purpose.CONTRACT,
    basis=LegalBasis.CONTRACT,
    source=SourceKind.SUBJECT,
    values={"email": "mari@example.com"},
)
correct = maker(
    CorrectData, subject_id=MARI, field="email", value="new@example.com", expected_version=1, channel=Channel.PHONE
)
request = maker(
    RequestDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=RECIPIENT,
    purpose=Purpose.E_INVOICE,
    basis=LegalBasis.CONSENT,
    fields=("email",),
)
STATUTE = Statute(act="KrMS", authority="police", reference="2026/117")  # type: ignore[arg-type]
by_law = maker(
    RequestDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=RECIPIENT,
    purpose=Purpose.LEGAL,
    basis=LegalBasis.LEGAL_OBLIGATION,
    fields=("email",),
    statute=STATUTE,
)
authorize = maker(AuthorizeDisclosure, disclosure_id=DISCLOSURE, subject_id=MARI, token_sha256=TOKEN_SHA256)
refuse = maker(RefuseDisclosure, disclosure_id=DISCLOSURE, subject_id=MARI, reason="not-necessary")
transmit = maker(
    TransmitDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=RECIPIENT,
    fields=("email",),
    token=TOKEN,
)
void = maker(VoidDisclosure, disclosure_id=DISCLOSURE, subject_id=MARI, reason="sent-otherwise")
order = maker(
    RecordOrder,
    order_id=ORDER,
    client_id=CLIENT,
    subject_id=MARI,
    channel=OrderChannel.EMAIL,
    media_type="message/rfc822",
    content=b"From: mari\r\n\r\nPay\x00\xff",
    terms_version="2026-01",
    received_at=START,
)
amend = maker(
    AmendOrder,
    order_id=ORDER,
    subject_id=MARI,
    channel=Channel.EMAIL,
    media_type="text/plain",
    content=b"Pay twice",
    received_at=START,
)
cancel = maker(CancelOrder, order_id=ORDER, channel=Channel.PHONE, reason="changed-mind")


def paid(reference: str = "T-1") -> Transaction:
    return Transaction(reference=reference, result_digest=TEXT_SHA256)  # type: ignore[arg-type]


execute = maker(ExecuteOrder, order_id=ORDER, transactions=(paid(),))
confirm = maker(ConfirmOrder, order_id=ORDER, channel=Channel.EMAIL)
dispute = maker(
    DisputeOrder, order_id=ORDER, subject_id=MARI, case_id=CASE, ground="not-mine", statement="I never asked"
)
resolve = maker(ResolveDispute, order_id=ORDER, subject_id=MARI, case_id=CASE, outcome="upheld", statement="True")
ERASED = ClassDecision(
    retention_class=RetentionClass.CONTRACT,
    outcome=ErasureOutcome.ERASED,
    ground="asked",  # type: ignore[arg-type]
)
KEPT = ClassDecision(
    retention_class=RetentionClass.ACCOUNTING,
    outcome=ErasureOutcome.KEPT,
    ground="accounting-act",  # type: ignore[arg-type]
    until=START + timedelta(days=2_500),
)
decide = maker(DecideErasure, subject_id=MARI, decisions=(ERASED, KEPT))
destroy = maker(DestroyKeys, subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,))


# --- subjects (clause 0) -----------------------------------------------------------------------------------------


@pytest.mark.rule("subject-is-registered-once")
def test_a_subject_is_registered_once(bench: Bench) -> None:
    registered = SubjectRegistered(subject_id=MARI, role=SubjectRole.CONTROLLER)
    bench.when(register()).then(registered)
    bench.when(register()).refused(SubjectExists, subject=MARI)
    bench.when(register(role=SubjectRole.PROCESSOR, client_id=CLIENT)).refused(SubjectExists, subject=MARI)


@pytest.mark.rule("subject-is-registered-once")
def test_a_clients_own_person_is_registered_with_whose_person_it_is(bench: Bench) -> None:
    bench.when(register(role=SubjectRole.PROCESSOR, client_id=CLIENT)).then(
        SubjectRegistered(subject_id=MARI, role=SubjectRole.PROCESSOR, client_id=CLIENT)
    )


@pytest.mark.rule("subject-is-registered-once")
@pytest.mark.parametrize("wrong", [{"role": SubjectRole.PROCESSOR}, {"client_id": CLIENT}])
def test_a_client_is_named_in_the_processor_role_and_only_there(bench: Bench, wrong: dict[str, Any]) -> None:
    bench.when(register(**wrong)).refused(Invalid, field="client_id")


@pytest.mark.rule("identifiers-are-sealed")
def test_an_identifier_is_linked_and_never_stands_in_the_entry(bench: Bench) -> None:
    done = bench.given(register()).when(link())
    done.then(IdentifierLinked(subject_id=MARI, kind=IdentifierKind.EMAIL, value="mari@example.com"))
    assert b"mari@" not in bench.ledger.entry(1)


@pytest.mark.rule("identifiers-are-sealed")
@pytest.mark.parametrize(
    ("length", "taken"), [(0, False), (1, True), (MAX_IDENTIFIER, True), (MAX_IDENTIFIER + 1, False)]
)
def test_an_identifier_has_a_length(bench: Bench, length: int, taken: bool) -> None:
    done = bench.given(register()).when(link(value="x" * length))
    if taken:
        done.then(IdentifierLinked(subject_id=MARI, kind=IdentifierKind.EMAIL, value="x" * length))
    else:
        done.refused(Invalid, field="value")


NEED_A_SUBJECT = [
    link, consent, collect, correct, request, order, amend, dispute, resolve, decide, destroy,
]  # fmt: skip


@pytest.mark.parametrize("make", NEED_A_SUBJECT, ids=lambda make: make().NAME)
def test_nothing_is_recorded_about_a_subject_nobody_registered(bench: Bench, make: CommandMaker) -> None:
    bench.given(register(subject_id=JAAN)).when(make()).refused(SubjectUnknown, subject=MARI)


# --- consent -----------------------------------------------------------------------------------------------------


def given_consent(**changes: Any) -> ConsentGiven:
    usual: dict[str, Any] = {
        "consent_id": CONSENT,
        "subject_id": MARI,
        "purpose": Purpose.E_INVOICE,
        "recipient_id": RECIPIENT,
        "fields": ("email", "given-name"),
        "text_sha256": TEXT_SHA256,
        "language": "et",
        "channel": Channel.LINK,
    }
    return ConsentGiven(**usual | changes)


@pytest.mark.rule("consent-is-specific")
def test_a_consent_is_recorded_with_the_exact_text_that_was_shown(bench: Bench) -> None:
    bench.given(register()).when(consent(fields=("given-name", "email", "email"))).then(given_consent())


@pytest.mark.rule("consent-is-specific")
def test_a_consent_is_recorded_once(bench: Bench) -> None:
    bench.given(register(), consent()).when(consent()).refused(ConsentExists, consent=CONSENT)


@pytest.mark.rule("consent-is-specific")
def test_a_consent_for_nothing_named_is_refused(bench: Bench) -> None:
    bench.given(register()).when(consent(fields=())).refused(Invalid, field="fields")


@pytest.mark.rule("withdrawal-is-easy")
def test_a_withdrawal_asks_for_nothing_more_than_which_consent(bench: Bench) -> None:
    bench.given(register(), consent()).when(withdraw(), by=SUPPORT).then(
        ConsentWithdrawn(consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE)
    )


@pytest.mark.rule("withdrawal-is-easy")
def test_a_withdrawn_consent_cannot_be_withdrawn_again_or_given_again(bench: Bench) -> None:
    bench.given(register(), consent(), withdraw())
    bench.when(withdraw()).refused(ConsentNotLive, consent=CONSENT)
    bench.when(consent()).refused(ConsentExists, consent=CONSENT)


@pytest.mark.rule("withdrawal-is-easy")
def test_only_a_consent_of_this_subject_can_be_withdrawn(bench: Bench) -> None:
    bench.given(register(), register(subject_id=JAAN), consent())
    bench.when(withdraw(consent_id=OTHER_CONSENT)).refused(ConsentUnknown, consent=OTHER_CONSENT, subject=MARI)
    bench.when(withdraw(subject_id=JAAN)).refused(ConsentUnknown, consent=CONSENT, subject=JAAN)


# --- personal data -----------------------------------------------------------------------------------------------


def collected(values: dict[str, Any], **changes: Any) -> PersonalDataCollected:
    usual: dict[str, Any] = {
        "subject_id": MARI,
        "purpose": Purpose.CONTRACT,
        "basis": LegalBasis.CONTRACT,
        "source": SourceKind.SUBJECT,
        "retention_class": RetentionClass.CONTRACT,
        "values": values,
    }
    return PersonalDataCollected(**usual | changes)


@pytest.mark.rule("data-names-its-source")
def test_data_is_collected_with_its_purpose_basis_and_source(bench: Bench) -> None:
    values = {"email": "mari@example.com", "address": {"street": "Pikk 1", "lines": ["a", None, 2, True]}, "age": 30}
    bench.given(register()).when(collect(values=values)).then(collected(values))
    assert b"Pikk" not in bench.ledger.entry(1)


@pytest.mark.rule("data-names-its-source")
@pytest.mark.parametrize("source", [SourceKind.PUBLIC_REGISTER, SourceKind.ISSUER])
def test_data_from_elsewhere_names_where_it_comes_from(bench: Bench, source: SourceKind) -> None:
    bench.given(register()).when(collect(source=source)).refused(Invalid, field="source_reference")
    bench.when(collect(source=source, source_reference="ariregister.rik.ee/1")).then(
        collected({"email": "mari@example.com"}, source=source, source_reference="ariregister.rik.ee/1")
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "values"),
        ({"email": None}, "values.email"),
        ({"E-mail": "x"}, "values"),
        ({"": "x"}, "values"),
        ({"e mail": "x"}, "values"),
        ({"x" * 65: "x"}, "values"),
        ({"amount": 1.5}, "values.amount"),
        ({"amount": math.nan}, "values.amount"),
        ({"amount": math.inf}, "values.amount"),
        ({"amount": 2**53}, "values.amount"),
        ({"name": "a\x00b"}, "values.name"),
        ({"name": "\ud800"}, "values.name"),
        ({"name": {"a": "\ud800"}}, "values.name"),
        ({"name": ["x", b"bytes"]}, "values.name"),
        ({"name": {"x", "y"}}, "values.name"),
        ({"name": object()}, "values.name"),
        ("email", "values"),
        (["email"], "values"),
    ],
    ids=lambda case: ascii(case)[:30],
)
@pytest.mark.parametrize("key", [None, "key"])
def test_values_that_have_no_exact_form_are_refused_by_field_name(
    bench: Bench, values: Any, field: str, key: str | None
) -> None:
    bench.given(register())
    done = bench.when(collect(values=values), key=key)
    if key is None:
        done.refused(Invalid, field=field)
    else:
        # The digest of what was asked is made first, and cannot hold everything either.
        done.refused(Invalid)


def test_more_fields_than_an_entry_holds_are_refused_and_nothing_is_recorded(bench: Bench) -> None:
    many = {f"field-{i}": "x" for i in range(1_500)}
    bench.given(register()).when(collect(values=many)).refused(EntryTooLarge, limit=65_535)
    bench.when(collect()).then(collected({"email": "mari@example.com"}))


def corrected(**changes: Any) -> DataCorrected:
    usual: dict[str, Any] = {
        "subject_id": MARI,
        "field": "email",
        "replaces": 1,
        "channel": Channel.PHONE,
        "retention_class": RetentionClass.CONTRACT,
        "values": {"email": "new@example.com"},
    }
    return DataCorrected(**usual | changes)


@pytest.mark.rule("correction-sees-the-last-version")
def test_a_correction_replaces_the_version_that_the_corrector_saw(bench: Bench) -> None:
    yesterday = START - timedelta(days=1)
    bench.given(register(), collect()).when(correct(valid_from=yesterday)).then(corrected(valid_from=yesterday))
    bench.when(correct()).refused(StaleVersion, subject=MARI, field="email", expected=1, actual=2)
    bench.when(correct(expected_version=2, value="third")).then(corrected(replaces=2, values={"email": "third"}))


@pytest.mark.rule("correction-sees-the-last-version")
def test_a_correction_of_another_field_is_no_conflict(bench: Bench) -> None:
    bench.given(register(), collect(values={"email": "a", "phone": "b"}), correct())
    bench.when(correct(field="phone", value="c")).then(corrected(field="phone", values={"phone": "c"}))


def test_a_correction_stays_in_the_retention_class_of_the_field(bench: Bench) -> None:
    bench.given(register(), collect(retention_class=RetentionClass.MARKETING))
    bench.when(correct()).then(corrected(retention_class=RetentionClass.MARKETING))


@pytest.mark.rule("correction-sees-the-last-version")
def test_only_a_field_that_is_recorded_can_be_corrected(bench: Bench) -> None:
    bench.given(register(), collect(), decide(), destroy())
    bench.when(correct(field="phone")).refused(FieldUnknown, subject=MARI, field="phone")
    bench.when(correct()).refused(FieldUnknown, subject=MARI, field="email")


@pytest.mark.parametrize(
    ("wrong", "field"), [({"value": None}, "value"), ({"valid_from": START + timedelta(seconds=1)}, "valid_from")]
)
def test_a_correction_says_what_is_right_and_is_true_already(bench: Bench, wrong: dict[str, Any], field: str) -> None:
    bench.given(register(), collect()).when(correct(**wrong)).refused(Invalid, field=field)


# --- disclosure (clause 6) ---------------------------------------------------------------------------------------


def requested(**changes: Any) -> DisclosureRequested:
    usual: dict[str, Any] = {
        "disclosure_id": DISCLOSURE,
        "subject_id": MARI,
        "recipient_id": RECIPIENT,
        "purpose": Purpose.E_INVOICE,
        "basis": LegalBasis.CONSENT,
        "fields": ("email",),
    }
    return DisclosureRequested(**usual | changes)


AUTHORIZED = DisclosureAuthorized(
    disclosure_id=DISCLOSURE, subject_id=MARI, token_sha256=TOKEN_SHA256, expires_at=SOON, consent_id=CONSENT
)
TRANSMITTED = DisclosureTransmitted(
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=RECIPIENT,
    fields=("email",),  # type: ignore[arg-type]
)


def refused(reason: Any) -> DisclosureRefused:
    return DisclosureRefused(disclosure_id=DISCLOSURE, subject_id=MARI, reason=reason)


def voided(reason: Any) -> DisclosureVoided:
    return DisclosureVoided(disclosure_id=DISCLOSURE, subject_id=MARI, reason=reason)


def test_a_disclosure_is_requested_once(bench: Bench) -> None:
    bench.given(register()).when(request(fields=("email", "email"))).then(requested())
    bench.when(request()).refused(DisclosureExists, disclosure=DISCLOSURE)


@pytest.mark.rule("disclosure-needs-law-or-permission")
@pytest.mark.parametrize("basis", [LegalBasis.CONTRACT, LegalBasis.LEGITIMATE_INTEREST])
def test_a_disclosure_rests_on_law_or_on_consent_and_nothing_else(bench: Bench, basis: LegalBasis) -> None:
    bench.given(register()).when(request(basis=basis)).refused(Invalid, field="basis")


@pytest.mark.rule("disclosure-needs-law-or-permission")
def test_a_disclosure_by_law_names_the_statute_and_one_by_consent_does_not(bench: Bench) -> None:
    bench.given(register()).when(by_law(statute=None)).refused(Invalid, field="statute")
    bench.when(request(statute=STATUTE)).refused(Invalid, field="statute")
    bench.when(by_law()).then(requested(purpose=Purpose.LEGAL, basis=LegalBasis.LEGAL_OBLIGATION, statute=STATUTE))


@pytest.mark.rule("disclosure-needs-law-or-permission")
def test_a_disclosure_names_its_fields(bench: Bench) -> None:
    bench.given(register()).when(request(fields=())).refused(Invalid, field="fields")


def test_a_disclosure_with_a_live_consent_is_authorized_for_minutes_and_transmitted(bench: Bench) -> None:
    bench.given(register(), consent(), request())
    bench.when(authorize()).then(AUTHORIZED)
    assert TOKEN.encode() not in bench.ledger.entry(3)
    bench.clock.forward(minutes=14, seconds=59)
    bench.when(transmit()).then(TRANSMITTED)


def test_the_life_of_an_authorization_is_a_setting(make_bench: MakeBench) -> None:
    bench = make_bench(limits=Limits(authorization_s=60))
    bench.given(register(), consent(), request(), authorize())
    bench.clock.forward(seconds=60)
    bench.when(transmit()).refused(TokenExpired, voided("token-expired"), disclosure=DISCLOSURE)


@pytest.mark.rule("disclosure-needs-live-consent")
def test_disclosure_without_consent_is_refused_and_the_refusal_is_kept(bench: Bench) -> None:
    bench.given(register(), request())
    bench.when(authorize()).refused(
        ConsentMissing, refused("consent-missing"), subject=MARI, recipient=RECIPIENT, purpose="e-invoice-delivery"
    )
    bench.when(authorize()).refused(DisclosureState, state="refused", needed="requested")


@pytest.mark.rule("disclosure-needs-live-consent")
@pytest.mark.parametrize(
    "other",
    [
        {"recipient_id": OTHER_RECIPIENT},
        {"recipient_id": None},
        {"purpose": Purpose.PARTNER_OFFERS},
        {"fields": ("given-name",)},
        {"subject_id": JAAN},
    ],
    ids=str,
)
def test_a_consent_for_something_else_permits_nothing(bench: Bench, other: dict[str, Any]) -> None:
    bench.given(register(), register(subject_id=JAAN), consent(**other), request())
    bench.when(authorize()).refused(ConsentMissing, refused("consent-missing"))


@pytest.mark.rule("disclosure-needs-live-consent")
def test_two_consents_that_cover_the_fields_only_together_permit_nothing(bench: Bench) -> None:
    bench.given(register(), consent(fields=("email",)), consent(consent_id=OTHER_CONSENT, fields=("phone",)))
    bench.given(request(fields=("email", "phone")))
    bench.when(authorize()).refused(ConsentMissing, refused("consent-missing"))


@pytest.mark.rule("disclosure-needs-live-consent")
def test_a_withdrawn_consent_permits_nothing(bench: Bench) -> None:
    bench.given(register(), consent(), withdraw(), request())
    bench.when(authorize()).refused(ConsentMissing, refused("consent-missing"))


def test_a_second_consent_permits_what_the_withdrawn_one_did(bench: Bench) -> None:
    bench.given(register(), consent(), withdraw(), consent(consent_id=OTHER_CONSENT), request())
    bench.when(authorize()).then(
        DisclosureAuthorized(
            disclosure_id=DISCLOSURE,
            subject_id=MARI,
            token_sha256=TOKEN_SHA256,
            expires_at=SOON,
            consent_id=OTHER_CONSENT,
        )
    )


@pytest.mark.rule("withdrawal-voids-authorization")
def test_a_withdrawal_in_between_voids_the_token_and_is_recorded(bench: Bench) -> None:
    bench.given(register(), consent(), request(), authorize(), withdraw())
    bench.when(transmit()).refused(ConsentMissing, voided("consent-missing"), subject=MARI, recipient=RECIPIENT)
    bench.when(transmit()).refused(DisclosureState, state="voided", needed="authorized")


@pytest.mark.rule("withdrawal-voids-authorization")
def test_consent_given_anew_does_not_revive_an_authorization_that_a_withdrawal_voided(bench: Bench) -> None:
    bench.given(register(), consent(), request(), authorize(), withdraw(), consent(consent_id=OTHER_CONSENT))
    bench.when(transmit()).refused(ConsentMissing, voided("consent-missing"), subject=MARI, recipient=RECIPIENT)


@pytest.mark.rule("authorization-is-used-once")
def test_a_token_is_used_once(bench: Bench) -> None:
    bench.given(register(), consent(), request(), authorize(), transmit())
    bench.when(transmit()).refused(DisclosureState, disclosure=DISCLOSURE, state="transmitted", needed="authorized")
    bench.when(authorize()).refused(DisclosureState, state="transmitted", needed="requested")


@pytest.mark.rule("authorization-is-used-once")
def test_a_token_that_comes_late_is_voided_and_that_is_recorded(bench: Bench) -> None:
    bench.given(register(), consent(), request(), authorize())
    bench.clock.forward(minutes=15)
    bench.when(transmit()).refused(
        TokenExpired, voided("token-expired"), disclosure=DISCLOSURE, expires_at="2026-11-22T10:15:00Z"
    )
    bench.clock.back(minutes=15)
    bench.when(transmit()).refused(DisclosureState, state="voided")


@pytest.mark.rule("authorization-is-used-once")
@pytest.mark.parametrize("token", ["", "another token", TOKEN + " ", TOKEN_SHA256, "ä"])
def test_another_token_transmits_nothing_and_uses_nothing_up(bench: Bench, token: str) -> None:
    bench.given(register(), consent(), request(), authorize())
    bench.when(transmit(token=token)).refused(TokenWrong, disclosure=DISCLOSURE)
    bench.when(transmit()).then(TRANSMITTED)


@pytest.mark.rule("transmission-is-what-was-authorized")
def test_the_authorized_recipient_and_no_other_is_given_the_fields(bench: Bench) -> None:
    bench.given(register(), consent(), consent(consent_id=OTHER_CONSENT, recipient_id=OTHER_RECIPIENT), request())
    bench.given(authorize())
    bench.when(transmit(recipient_id=OTHER_RECIPIENT)).refused(RecipientMismatch, disclosure=DISCLOSURE)


@pytest.mark.rule("transmission-is-what-was-authorized")
def test_the_authorized_fields_and_no_others_are_given(bench: Bench) -> None:
    bench.given(register(), consent(), request(fields=("email", "given-name")), authorize())
    bench.when(transmit(fields=("email", "phone"))).refused(FieldsMismatch, disclosure=DISCLOSURE, fields="phone")
    bench.when(transmit(fields=())).refused(FieldsMismatch, disclosure=DISCLOSURE)
    bench.when(transmit(fields=("email",))).then(TRANSMITTED)


@pytest.mark.rule("disclosure-steps-in-order")
@pytest.mark.parametrize("make", [authorize, refuse, void, transmit], ids=lambda make: make().NAME)
def test_a_disclosure_nobody_asked_for_or_of_another_subject_is_unknown(bench: Bench, make: CommandMaker) -> None:
    bench.given(register(), register(subject_id=JAAN))
    bench.when(make()).refused(DisclosureUnknown, disclosure=DISCLOSURE, subject=MARI)
    bench.given(request())
    bench.when(make(subject_id=JAAN)).refused(DisclosureUnknown, disclosure=DISCLOSURE, subject=JAAN)


@pytest.mark.rule("disclosure-steps-in-order")
@pytest.mark.parametrize(
    ("before", "states"),
    [
        ((request,), {"authorize": None, "refuse": None, "void": "requested", "transmit": "requested"}),
        ((request, authorize), {"authorize": "authorized", "refuse": "authorized", "void": None, "transmit": None}),
        ((request, refuse), dict.fromkeys(("authorize", "refuse", "void", "transmit"), "refused")),
        ((request, authorize, void), dict.fromkeys(("authorize", "refuse", "void", "transmit"), "voided")),
        ((request, authorize, transmit), dict.fromkeys(("authorize", "refuse", "void", "transmit"), "transmitted")),
    ],
    ids=lambda case: "-".join(make().NAME for make in case) if isinstance(case, tuple) else "",
)
def test_each_step_of_a_disclosure_needs_the_one_before(
    make_bench: MakeBench, before: tuple[CommandMaker, ...], states: dict[str, str | None]
) -> None:
    steps = {
        "authorize": (authorize, AUTHORIZED),
        "refuse": (refuse, refused("not-necessary")),
        "void": (void, voided("sent-otherwise")),
        "transmit": (transmit, TRANSMITTED),
    }
    for name, state in states.items():
        bench = make_bench().given(register(), consent(), *(make() for make in before))
        make, event = steps[name]
        if state is None:
            bench.when(make()).then(event)
        else:
            bench.when(make()).refused(DisclosureState, disclosure=DISCLOSURE, state=state)


@pytest.mark.rule("disclosure-by-law-needs-the-officer")
def test_a_disclosure_by_law_needs_the_officer_and_no_consent(bench: Bench) -> None:
    bench.given(register(), by_law())
    for role in Role:
        if role is not Role.OFFICER:
            someone = Actor(id=an_id("someone"), role=role)
            bench.when(authorize(), by=someone).refused(ApproverMissing, disclosure=DISCLOSURE)
    bench.when(authorize()).then(
        DisclosureAuthorized(
            disclosure_id=DISCLOSURE, subject_id=MARI, token_sha256=TOKEN_SHA256, expires_at=SOON, consent_id=None
        )
    )
    bench.when(transmit(), by=SUPPORT).then(TRANSMITTED)


@pytest.mark.rule("disclosure-by-law-needs-the-officer")
def test_a_withdrawal_does_not_block_a_disclosure_by_law(bench: Bench) -> None:
    bench.given(register(), consent(), by_law(), authorize(), withdraw())
    bench.when(transmit()).then(TRANSMITTED)


# --- orders (clause 11) ------------------------------------------------------------------------------------------


def ordered(**changes: Any) -> OrderRecorded:
    usual: dict[str, Any] = {
        "order_id": ORDER,
        "client_id": CLIENT,
        "subject_id": MARI,
        "channel": OrderChannel.EMAIL,
        "media_type": "message/rfc822",
        "size_bytes": 21,
        "terms_version": "2026-01",
        "received_at": START,
        "authentication": "not-checked",
        "content": b"From: mari\r\n\r\nPay\x00\xff",
        "file_name": None,
    }
    return OrderRecorded(**usual | changes)


@pytest.mark.rule("order-is-kept-to-the-byte")
def test_an_order_is_kept_as_its_exact_bytes(bench: Bench) -> None:
    order_bytes = b"From: mari\r\n\r\nPay\x00\xff"
    done = bench.given(register()).when(order(file_name="tellimus \u00f5.eml", authentication="dkim-pass"))
    done.then(ordered(size_bytes=len(order_bytes), file_name="tellimus \u00f5.eml", authentication="dkim-pass"))
    assert b"mari\r\n" not in bench.ledger.entry(1)


@pytest.mark.rule("order-is-recorded-once")
def test_an_order_is_recorded_once(bench: Bench) -> None:
    bench.given(register(), order()).when(order(content=b"another")).refused(OrderExists, order=ORDER)


@pytest.mark.rule("order-is-kept-to-the-byte")
@pytest.mark.parametrize(("size", "taken"), [(0, False), (1, True), (1_000, True), (1_001, False)])
@pytest.mark.parametrize("make", [order, amend], ids=["order", "amend"])
def test_an_order_has_at_least_one_byte_and_at_most_the_limit(
    make_bench: MakeBench, make: CommandMaker, size: int, taken: bool
) -> None:
    bench = make_bench(limits=Limits(order_bytes=1_000)).given(register())
    if make is amend:
        bench.given(order())
    before = bench.ledger.size()
    done = bench.when(make(content=bytes(size)))
    if taken:
        assert done.refusal is None
        assert bench.ledger.open(before).content == bytes(size)  # type: ignore[attr-defined]
    else:
        done.refused(Invalid, field="content")


@pytest.mark.parametrize("make", [order, amend], ids=["order", "amend"])
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"received_at": START + timedelta(microseconds=1)}, "received_at"),
        ({"received_at": START.replace(tzinfo=None)}, "received_at"),
        ({"file_name": ""}, "file_name"),
        ({"file_name": "x" * (MAX_FILE_NAME + 1)}, "file_name"),
        ({"file_name": "a\x00b"}, "file_name"),
        ({"file_name": "\ud800"}, "file_name"),
        ({"media_type": "text/plain; charset=utf-8"}, "media_type"),
        ({"media_type": "TEXT/plain"}, "media_type"),
        ({"content": "text"}, "content"),
        ({"content": None}, "content"),
    ],
    ids=lambda case: ascii(case)[:40],
)
def test_an_order_is_refused_by_the_name_of_the_field_that_is_wrong(
    bench: Bench, make: CommandMaker, wrong: dict[str, Any], field: str
) -> None:
    bench.given(register())
    if make is amend:
        bench.given(order())
    bench.when(make(**wrong)).refused(Invalid, field=field)


def test_moments_are_taken_in_any_time_zone(bench: Bench) -> None:
    tallinn = START.astimezone(timezone(timedelta(hours=2)))
    bench.given(register(), order(received_at=tallinn, claimed_at=tallinn))
    event = bench.ledger.open(1)
    assert isinstance(event, OrderRecorded)
    assert event.received_at == event.claimed_at == START


EXECUTED = OrderExecuted(order_id=ORDER, client_id=CLIENT, subject_id=MARI, transactions=(paid(),))
CONFIRMED = OrderConfirmed(order_id=ORDER, client_id=CLIENT, subject_id=MARI, channel=Channel.EMAIL)
CANCELLED: Any = OrderCancelled(
    order_id=ORDER,
    client_id=CLIENT,
    subject_id=MARI,
    channel=Channel.PHONE,
    reason="changed-mind",  # type: ignore[arg-type]
)
AMENDED = OrderAmended(
    order_id=ORDER,
    client_id=CLIENT,
    subject_id=MARI,
    channel=Channel.EMAIL,
    media_type="text/plain",  # type: ignore[arg-type]
    size_bytes=9,
    received_at=START,
    content=b"Pay twice",
    file_name=None,
)


@pytest.mark.rule("order-standing-decides")
@pytest.mark.parametrize(
    ("before", "standing", "allowed"),
    [
        ((), "open", {"amended", "cancelled", "executed"}),
        ((amend,), "open", {"amended", "cancelled", "executed"}),
        ((dispute,), "open", {"amended", "cancelled", "executed"}),
        ((lambda: execute(transactions=(paid("T-0"),)),), "executed", {"executed", "confirmed"}),
        ((lambda: execute(transactions=(paid("T-0"),)), confirm), "confirmed", set()),
        ((cancel,), "cancelled", set()),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_where_an_order_stands_decides_what_may_follow(
    make_bench: MakeBench, before: tuple[CommandMaker, ...], standing: str, allowed: set[str]
) -> None:
    steps = {
        "amended": (amend, AMENDED),
        "cancelled": (cancel, CANCELLED),
        "executed": (execute, EXECUTED),
        "confirmed": (confirm, CONFIRMED),
    }
    for wanted, (make, event) in steps.items():
        bench = make_bench().given(register(), order(), *(each() for each in before))
        if wanted in allowed:
            bench.when(make()).then(event)
        else:
            bench.when(make()).refused(OrderState, order=ORDER, state=standing, wanted=wanted)


@pytest.mark.rule("order-standing-decides")
@pytest.mark.parametrize("make", [amend, cancel, execute, confirm, dispute, resolve], ids=lambda make: make().NAME)
def test_an_order_nobody_recorded_is_unknown(bench: Bench, make: CommandMaker) -> None:
    bench.given(register()).when(make()).refused(OrderUnknown, order=ORDER)


@pytest.mark.rule("transaction-is-linked-once")
def test_a_transaction_is_linked_once(bench: Bench) -> None:
    bench.given(register(), order(), execute())
    bench.when(execute()).refused(TransactionExists, order=ORDER, reference="T-1")
    bench.when(execute(transactions=(paid("T-2"), paid("T-2")))).refused(TransactionExists, reference="T-2")
    bench.when(execute(transactions=())).refused(Invalid, field="transactions")


@pytest.mark.rule("only-an-open-case-is-resolved")
def test_an_order_may_be_disputed_and_resolved_whatever_its_standing(make_bench: MakeBench) -> None:
    for before in ((), (execute,), (execute, confirm), (cancel,)):
        bench = make_bench().given(register(), order(), *(make() for make in before))
        bench.when(dispute()).then(
            OrderDisputed(
                order_id=ORDER,
                client_id=CLIENT,
                subject_id=MARI,
                case_id=CASE,
                ground="not-mine",  # type: ignore[arg-type]
                statement="I never asked",
            )
        )
        bench.when(dispute()).refused(OrderState, order=ORDER)
        bench.when(resolve()).then(
            DisputeResolved(
                order_id=ORDER,
                client_id=CLIENT,
                subject_id=MARI,
                case_id=CASE,
                outcome="upheld",  # type: ignore[arg-type]
                statement="True",
            )
        )
        bench.when(resolve()).refused(CaseUnknown, case=CASE, order=ORDER)


@pytest.mark.rule("only-an-open-case-is-resolved")
def test_only_a_case_that_was_opened_can_be_resolved(bench: Bench) -> None:
    bench.given(register(), order(), dispute())
    bench.when(resolve(case_id=an_id("another case"))).refused(CaseUnknown, order=ORDER)


# --- erasure (GDPR Art. 17) --------------------------------------------------------------------------------------


@pytest.mark.rule("erasure-is-decided-per-class")
def test_erasure_is_decided_for_each_class_with_its_ground(bench: Bench) -> None:
    bench.given(register()).when(decide()).then(ErasureDecided(subject_id=MARI, decisions=(ERASED, KEPT)))


def changed(decision: ClassDecision, **changes: Any) -> ClassDecision:
    usual = {name: getattr(decision, name) for name in decision.__struct_fields__}
    return ClassDecision(**usual | changes)


@pytest.mark.rule("erasure-is-decided-per-class")
@pytest.mark.parametrize(
    "decisions",
    [
        (),
        (ERASED, ERASED),
        (changed(KEPT, until=None),),
        (changed(ERASED, until=START + timedelta(days=1)),),
        (changed(KEPT, until=START),),
        (changed(KEPT, until=START.replace(tzinfo=None, year=2030)),),
        (changed(KEPT, ground="Because Mari said so"),),
        (changed(KEPT, outcome="kept", until=None),),
        (changed(ERASED, retention_class="contract"), ERASED),
    ],
    ids=str,
)
def test_a_decision_without_ground_or_end_is_refused(bench: Bench, decisions: Any) -> None:
    done = bench.given(register()).when(decide(decisions=decisions))
    assert isinstance(done.refusal, Invalid)
    assert str(done.refusal.evidence["field"]).startswith("decisions")
    assert bench.ledger.size() == 1


def test_destroying_records_each_key_first_and_then_reads_as_erased(bench: Bench) -> None:
    bench.given(register(), collect(), link(), decide())
    (key,) = [key for key in bench.ledger.keys.of_subject(MARI) if key.scope.retention_class is RetentionClass.CONTRACT]
    bench.when(destroy()).then(
        KeyDestroyed(subject_id=MARI, key_id=key.id, retention_class=RetentionClass.CONTRACT),
        PersonalDataErased(subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,), keys=1),
    )
    assert bench.ledger.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    assert bench.ledger.open(2).value == "mari@example.com", "another class stays"  # type: ignore[attr-defined]


def test_erasing_one_subject_leaves_the_other(bench: Bench) -> None:
    bench.given(register(), register(subject_id=JAAN), collect(), collect(subject_id=JAAN), decide(), destroy())
    assert bench.ledger.open(2).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    assert bench.ledger.open(3).values == {"email": "mari@example.com"}  # type: ignore[attr-defined]


@pytest.mark.rule("only-what-was-decided-is-erased")
def test_nothing_is_destroyed_that_was_not_decided(bench: Bench) -> None:
    bench.given(register(), collect())
    bench.when(destroy()).refused(ErasureUndecided, subject=MARI, retention_class=RetentionClass.CONTRACT)
    bench.given(decide())
    bench.when(destroy(retention_classes=(RetentionClass.CONTRACT, RetentionClass.ACCOUNTING))).refused(
        ErasureUndecided, subject=MARI, retention_class=RetentionClass.ACCOUNTING
    )
    bench.when(destroy(retention_classes=())).refused(Invalid, field="retention_classes")


@pytest.mark.rule("only-what-was-decided-is-erased")
def test_the_last_decision_about_a_class_is_the_one_that_counts(bench: Bench) -> None:
    bench.given(register(), collect(), decide())
    bench.given(decide(decisions=(changed(KEPT, retention_class=RetentionClass.CONTRACT),)))
    bench.when(destroy()).refused(ErasureUndecided, retention_class=RetentionClass.CONTRACT)


def test_after_an_erasure_new_data_is_kept_under_a_new_key(bench: Bench) -> None:
    bench.given(register(), collect(), decide(), destroy(), collect(values={"email": "again"}))
    bench.reopen()
    assert bench.ledger.open(bench.ledger.size() - 1).values == {"email": "again"}  # type: ignore[attr-defined]
    assert bench.ledger.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]


# --- what every command refuses ----------------------------------------------------------------------------------

ALL: list[CommandMaker] = [
    register, link, consent, withdraw, collect, correct, request, by_law, authorize, refuse, transmit, void,
    order, amend, cancel, execute, confirm, dispute, resolve, decide, destroy,
    *(make for module in capabilities() for make in module.MAKERS),
]  # fmt: skip

WRONG_BY_FIELD: dict[str, list[Any]] = {
    "id": ["", "mari@example.com", MARI.upper(), MARI + " ", "00000000-0000-1000-8000-000000000000", 7, b"x", "\ud800"],
    "word": ["", "A", "a b", "-a", "1a", "a" * 65, "ä", "a\n", 7],
    "reference": ["", " ", "a b", "ä", "-a", "a" * 129, "a\n", 7],
    "digest": ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, 7],
    "enum": ["", "banana", "CONSENT", 7],
    "moment": [
        START.replace(tzinfo=None),
        "2026-11-22T10:00:00Z",
        7,
        datetime.min.replace(tzinfo=timezone(timedelta(hours=2))),
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
    ],
    "language": ["", "estonian!", "e", "et_EE", 7],
    "text": ["a\x00", "\ud800", 7],
    "count": [True, "7", 1.5, None],
    "words": ["email", ("Email",), ("",), (7,), 7],
    "country": ["", "ee", "EST", "Estonia", "E1", 7],
}
KIND_BY_FIELD: dict[str, str] = {
    "subject_id": "id", "client_id": "id", "consent_id": "id", "recipient_id": "id", "disclosure_id": "id",
    "order_id": "id", "case_id": "id", "reason": "word", "ground": "word", "outcome": "word", "authentication": "word",
    "field": "word", "terms_version": "reference", "source_reference": "reference", "text_sha256": "digest",
    "token_sha256": "digest", "role": "enum", "kind": "enum", "purpose": "enum", "basis": "enum", "channel": "enum",
    "source": "enum", "retention_class": "enum", "received_at": "moment", "claimed_at": "moment",
    "valid_from": "moment", "language": "language", "token": "text", "file_name": "text", "statement": "text",
    "fields": "words",
}  # fmt: skip
for _module in capabilities():
    KIND_BY_FIELD |= _module.FIELD_KINDS


def kind_of(command: str, field: str) -> str:
    """Return the form of a field; one that differs between commands stands there as `command.field`."""
    return KIND_BY_FIELD.get(f"{command}.{field}", KIND_BY_FIELD.get(field, ""))


@pytest.mark.parametrize("make", ALL, ids=lambda make: make().NAME)
def test_a_field_of_the_wrong_form_is_refused_by_its_name_whatever_else_holds(bench: Bench, make: CommandMaker) -> None:
    tried = 0
    for field in make().__struct_fields__:
        for wrong in WRONG_BY_FIELD.get(kind_of(make().NAME, field), []):
            with pytest.raises(Invalid) as error:
                bench.ledger.record(make(**{field: wrong}), OFFICER)
            assert str(error.value.evidence["field"]).split(".")[0] == field, (field, wrong)
            assert not isinstance(wrong, str) or len(wrong) < 4 or wrong not in str(error.value), "input is not echoed"
            tried += 1
    assert tried >= 3
    check_ledger(bench.ledger, 0)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make().NAME)
def test_a_word_in_plain_text_is_not_taken_for_the_word_itself(bench: Bench, make: CommandMaker) -> None:
    """A rule asks `is`: a bare "legal-obligation" must not slip past the one that needs a statute."""
    command = make()
    for field in command.__struct_fields__:
        value = getattr(command, field)
        if kind_of(command.NAME, field) == "enum" and value is not None:
            with pytest.raises(Invalid) as error:
                bench.ledger.record(make(**{field: str(value)}), OFFICER)
            assert error.value.evidence["field"] == field
    check_ledger(bench.ledger, 0)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make().NAME)
@pytest.mark.parametrize(
    "actor",
    [
        Actor(id="Mari Maasikas", role=Role.OFFICER),  # type: ignore[arg-type]
        Actor(id="mari@example.com", role=Role.OFFICER),  # type: ignore[arg-type]
        Actor(id="", role=Role.OFFICER),  # type: ignore[arg-type]
    ],
    ids=lambda actor: actor.id,
)
def test_an_actor_is_an_opaque_id_and_never_a_name(bench: Bench, make: CommandMaker, actor: Actor) -> None:
    with pytest.raises(Invalid) as error:
        bench.ledger.record(make(), actor)
    assert "ari" not in str(error.value)
    check_ledger(bench.ledger, 0)


def test_an_actor_has_a_role_that_is_known(bench: Bench) -> None:
    with pytest.raises(Invalid):
        bench.ledger.record(register(), Actor(id=an_id("x"), role="king"))  # type: ignore[arg-type]
    check_ledger(bench.ledger, 0)


def test_every_command_is_in_the_tables_here() -> None:
    assert {make().NAME for make in ALL} == set(BY_NAME)
    known = KIND_BY_FIELD.keys() | {
        "values", "value", "expected_version", "statute", "content", "media_type", "transactions", "decisions",
        "retention_classes",
    }  # fmt: skip
    known = known.union(*(module.OTHER_FIELDS for module in capabilities()))
    assert {field for make in ALL for field in make().__struct_fields__} <= known


def test_every_reason_of_refusal_is_tested() -> None:
    """Each class of the tree is the first argument of a `refused` somewhere here, or is tested where it arises."""
    elsewhere = {"IdempotencyMismatch", "SigningKeyState"}
    named: set[str] = set()
    files = [Path(__file__), *Path(rules.__file__).parent.glob("test_*.py")]
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "refused":
            named.update(first.id for first in node.args[:1] if isinstance(first, ast.Name))
    assert {kind.__name__ for kind in subclasses(Refused)} == named | elsewhere


def test_every_code_of_a_refusal_is_its_own_and_permanent() -> None:
    codes = sorted(kind.code for kind in subclasses(Refused))
    known = [code for module in capabilities() for code in module.CODES] + [
        "approver-missing", "case-unknown", "consent-exists", "consent-missing", "consent-not-live", "consent-unknown",
        "disclosure-exists", "disclosure-state", "disclosure-unknown", "entry-too-large", "erasure-undecided",
        "field-unknown", "fields-mismatch", "idempotency-mismatch", "invalid", "order-exists", "order-state",
        "order-unknown", "recipient-mismatch", "signing-key-state", "stale-version", "subject-exists",
        "subject-unknown", "token-expired", "token-wrong", "transaction-exists",
    ]  # fmt: skip
    assert codes == sorted(known)


def subclasses(kind: type) -> set[Any]:
    return {each for direct in kind.__subclasses__() for each in {direct, *subclasses(direct)}}


# --- races: both outcomes are lawful, a mixture is not -----------------------------------------------------------


ROUNDS = 50


@pytest.mark.rule("withdrawal-voids-authorization")
def test_a_withdrawal_and_a_transmission_that_race_have_one_order(bench: Bench) -> None:
    outcomes = set()
    for number in range(ROUNDS):
        subject, disclosure, given = (an_id(f"{what} {number}") for what in ("subject", "disclosure", "consent"))
        bench.given(
            register(subject_id=subject),
            consent(subject_id=subject, consent_id=given),
            request(subject_id=subject, disclosure_id=disclosure),
            authorize(subject_id=subject, disclosure_id=disclosure),
        )
        commands = [
            withdraw(subject_id=subject, consent_id=given),
            transmit(subject_id=subject, disclosure_id=disclosure),
        ]
        results = race(bench.ledger, *commands[:: 1 if number % 2 else -1])
        error = next((each for each in results if each is not None), None)
        assert error is None or isinstance(error, ConsentMissing), error
        outcomes.add(type(error))
    withdrawn: set[str] = set()
    transmitted = 0
    for recorded in bench.ledger.read():
        match recorded.event:
            case ConsentWithdrawn(subject_id=subject_id):
                withdrawn.add(subject_id)
            case DisclosureTransmitted(subject_id=subject_id):
                transmitted += 1
                assert subject_id not in withdrawn, "nothing leaves after the withdrawal"
            case DisclosureVoided(subject_id=subject_id):
                assert subject_id in withdrawn, "nothing is voided without a withdrawal"
    assert transmitted + sum(1 for r in bench.ledger.read() if isinstance(r.event, DisclosureVoided)) == ROUNDS
    # What was under way at the withdrawal is owed a recall.
    check_ledger(bench.ledger, ROUNDS * 6 + transmitted)


@pytest.mark.parametrize("what", [correct, collect], ids=["correct", "collect"])
def test_an_erasure_and_new_data_that_race_have_one_order(bench: Bench, what: CommandMaker) -> None:
    """After the erasure no old value opens; a value acknowledged after it is still there after a restart."""
    for number in range(ROUNDS):
        subject = an_id(f"subject {number}")
        bench.given(register(subject_id=subject), collect(subject_id=subject), decide(subject_id=subject))
        first = bench.ledger.size() - 2
        new = what(subject_id=subject, **({"expected_version": first} if what is correct else {}))
        results = race(bench.ledger, *[destroy(subject_id=subject), new][:: 1 if number % 2 else -1])
        for error in filter(None, results):
            assert isinstance(error, FieldUnknown), error
    check_ledger(bench.ledger)
    bench.reopen()
    destroyed: dict[str, int] = {}
    for recorded in bench.ledger.read():
        if isinstance(recorded.event, KeyDestroyed):
            destroyed[recorded.event.subject_id] = recorded.index
    assert len(destroyed) == ROUNDS
    for recorded in bench.ledger.read():
        if isinstance(recorded.event, PersonalDataCollected | DataCorrected):
            event = bench.ledger.open(recorded.index)
            assert isinstance(event, PersonalDataCollected | DataCorrected)
            erased = recorded.index < destroyed[event.subject_id]
            assert (event.values["email"] is Withheld.ERASED) is erased, recorded.index


def test_what_is_recorded_as_destroyed_opens_nothing_and_takes_nothing_new(bench: Bench) -> None:
    """Whoever recorded the destruction was cut off before it was carried out: nobody may notice."""
    bench.given(register(), collect(), decide())
    decision, head = bench.ledger.decide(destroy(), OFFICER)
    bench.ledger.append(bench.ledger.seal(decision.facts, decision.query, head))
    receipt = bench.ledger.record(collect(values={"email": "new"}), OFFICER)
    assert bench.ledger.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    assert bench.ledger.open(receipt.index).values == {"email": "new"}  # type: ignore[attr-defined]
    bench.reopen()
    assert bench.ledger.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    assert bench.ledger.open(receipt.index).values == {"email": "new"}  # type: ignore[attr-defined]


def test_what_is_recorded_as_destroyed_is_not_opened_before_it_is_deleted(bench: Bench) -> None:
    """GDPR Art. 17: from the record on nobody reads it."""
    bench.given(register(), collect(), decide())
    decision, head = bench.ledger.decide(destroy(), OFFICER)
    bench.ledger.append(bench.ledger.seal(decision.facts, decision.query, head))
    assert bench.ledger.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]


def test_data_collected_by_another_process_after_an_erasure_is_kept(bench: Bench) -> None:
    """The other process still has the destroyed key in memory."""
    other = bench.given(register(), collect()).another()
    try:
        other.record(collect(values={"email": "second"}), OFFICER)
        bench.given(decide(), destroy())
        receipt = other.record(collect(values={"email": "third"}), OFFICER)
        assert other.open(1).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]
    finally:
        other.close()
    bench.reopen()
    assert bench.ledger.open(receipt.index).values == {"email": "third"}  # type: ignore[attr-defined]


@pytest.mark.rule("only-what-was-decided-is-erased")
def test_a_decision_to_erase_says_nothing_of_data_collected_after_it_was_carried_out(bench: Bench) -> None:
    bench.given(register(), collect(), decide(), destroy(), collect(values={"email": "new"}))
    bench.when(destroy()).refused(ErasureUndecided, subject=MARI, retention_class="contract")
    bench.given(decide(), destroy())
    assert bench.ledger.open(bench.ledger.size() - 4).values == {"email": Withheld.ERASED}  # type: ignore[attr-defined]


@pytest.mark.rule("correction-sees-the-last-version")
def test_two_corrections_of_one_field_that_race_have_one_winner(bench: Bench) -> None:
    bench.given(register(), collect())
    version = 1
    for number in range(20):
        results = race(bench.ledger, *(correct(value=f"{number}-{i}", expected_version=version) for i in range(3)))
        assert sum(error is None for error in results) == 1
        assert all(isinstance(error, StaleVersion) for error in results if error is not None)
        version = bench.ledger.size() - 1
    check_ledger(bench.ledger, 22)


@pytest.mark.rule("order-standing-decides")
def test_an_order_that_is_executed_and_cancelled_at_once_is_one_of_them(bench: Bench) -> None:
    bench.given(register())
    for number in range(ROUNDS):
        one = an_id(f"order {number}")
        bench.given(order(order_id=one))
        results = race(bench.ledger, execute(order_id=one), cancel(order_id=one))
        assert [type(error) for error in results if error is not None] == [OrderState]
    check_ledger(bench.ledger, 1 + 2 * ROUNDS)
