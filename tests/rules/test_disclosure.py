"""Disclosure whole: by law or permission, to recipients in force, least fields, secrecy, failure, recall, notices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    AuthorizeDisclosure,
    CollectData,
    DecideErasure,
    DestroyKeys,
    EndRecipient,
    FailDisclosure,
    GiveConsent,
    NotifyRecipient,
    RegisterRecipient,
    RegisterSubject,
    RequestDisclosure,
    TransmitDisclosure,
    WithdrawConsent,
)
from ledger.errors import (
    ApproverMissing,
    DisclosureState,
    FieldNotDefined,
    FieldsExcessive,
    FieldsMismatch,
    FieldsNotHeld,
    Invalid,
    NothingDisclosed,
    RecipientEndedAlready,
    RecipientMismatch,
    RecipientUnknown,
    ScopeMissing,
    StatuteUnknown,
    TokenExpired,
)
from ledger.events import (
    ClassDecision,
    ConsentWithdrawn,
    DisclosureAuthorized,
    DisclosureFailed,
    DisclosureRefused,
    DisclosureTransmitted,
    DisclosureVoided,
    RecallOwed,
    RecipientNotified,
    Statute,
)
from ledger.explain import explain
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    LegalBasis,
    NoticeCause,
    Purpose,
    RecipientCategory,
    RetentionClass,
    SourceKind,
)
from tests.bench import START, SUPPORT, Bench, an_id

MARI, PARTNER, OTHER = an_id("mari"), an_id("a partner"), an_id("another partner")
DISCLOSURE, CONSENT = an_id("a disclosure"), an_id("a consent")
TOKEN = "only its maker knows it"
TOKEN_SHA256: Any = sha256(TOKEN.encode()).hexdigest()
POLICY = AdoptPolicy(text=default_policy_text())

Made = Callable[..., Any]


def made(command: type, **usual: Any) -> Made:
    return lambda **given: command(**usual | given)


partner = made(
    RegisterRecipient,
    recipient_id=PARTNER,
    category=RecipientCategory.OTHER,
    name="Partner OÜ",
    country="EE",
    valid_from=START,
)
collect = made(
    CollectData,
    subject_id=MARI,
    purpose=Purpose.CONTRACT,
    basis=LegalBasis.CONTRACT,
    source=SourceKind.SUBJECT,
    values={"email": "mari@example.com", "address": "Tartu"},
)
consent = made(
    GiveConsent,
    consent_id=CONSENT,
    subject_id=MARI,
    purpose=Purpose.E_INVOICE,
    fields=("address", "email"),
    text_sha256=TOKEN_SHA256,
    language="et",
    channel=Channel.LINK,
    recipient_id=PARTNER,
)
withdraw = made(WithdrawConsent, consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE)
request = made(
    RequestDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=PARTNER,
    purpose=Purpose.E_INVOICE,
    basis=LegalBasis.CONSENT,
    fields=("address", "email"),
)
STATUTE: dict[str, Any] = {"act": "KrMS-215", "authority": "police", "reference": "2026/117", "scope": "one-person"}
by_law = made(
    RequestDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=PARTNER,
    purpose=Purpose.LEGAL,
    basis=LegalBasis.LEGAL_OBLIGATION,
    fields=("address", "email"),
    statute=Statute(**STATUTE),
)
authorize = made(
    AuthorizeDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    token_sha256=TOKEN_SHA256,
    recipient_id=PARTNER,
)
transmit = made(
    TransmitDisclosure,
    disclosure_id=DISCLOSURE,
    subject_id=MARI,
    recipient_id=PARTNER,
    fields=("address", "email"),
    token=TOKEN,
)
fail = made(FailDisclosure, disclosure_id=DISCLOSURE, subject_id=MARI, reason="bounced")
notify = made(
    NotifyRecipient,
    subject_id=MARI,
    recipient_id=PARTNER,
    cause=NoticeCause.CORRECTION,
    fields=("email",),
    channel=Channel.EMAIL,
)
destroy = made(DestroyKeys, subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,))


def decide(**given: Any) -> DecideErasure:
    decision = ClassDecision(
        retention_class=RetentionClass.CONTRACT,
        outcome=ErasureOutcome.ERASED,
        ground="asked",  # type: ignore[arg-type]
    )
    return DecideErasure(**{"subject_id": MARI, "decisions": (decision,)} | given)


MAKERS = [fail, notify]
FIELD_KINDS = {"cause": "enum", "secret_until": "moment"}
OTHER_FIELDS: set[str] = set()
CODES = ["fields-excessive", "fields-not-held", "nothing-disclosed", "scope-missing", "statute-unknown"]

FIELDS: Any = ("address", "email")


def transmitted(**given: Any) -> DisclosureTransmitted:
    usual = {"disclosure_id": DISCLOSURE, "subject_id": MARI, "recipient_id": PARTNER, "fields": FIELDS}
    return DisclosureTransmitted(**usual | given)


def refused(reason: Any) -> DisclosureRefused:
    return DisclosureRefused(disclosure_id=DISCLOSURE, subject_id=MARI, reason=reason, recipient_id=PARTNER)


def voided(reason: Any) -> DisclosureVoided:
    return DisclosureVoided(disclosure_id=DISCLOSURE, subject_id=MARI, reason=reason, recipient_id=PARTNER)


@pytest.fixture
def ready(bench: Bench) -> Bench:
    return bench.given(POLICY, RegisterSubject(subject_id=MARI), collect(), partner())


# --- by law ------------------------------------------------------------------------------------------------------


@pytest.mark.rule("disclosure-needs-law-or-permission")
def test_a_disclosure_of_a_field_that_nobody_knows_is_not_asked_for(ready: Bench) -> None:
    ready.when(request(fields=("email", "shoe-size"))).refused(FieldNotDefined, field="shoe-size")


@pytest.mark.rule("least-fields-by-law")
@pytest.mark.parametrize(
    ("statute", "reason"),
    [
        (STATUTE | {"act": "KrMS-1"}, StatuteUnknown),
        (STATUTE | {"authority": "bailiff"}, StatuteUnknown),
        (STATUTE | {"scope": None}, ScopeMissing),
        (STATUTE | {"act": "TMS-26", "authority": "bailiff"}, FieldsExcessive),
    ],
    ids=["act", "authority", "scope", "fields"],
)
def test_by_law_needs_statute_authority_scope_and_least_fields(ready: Bench, statute: Any, reason: Any) -> None:
    ready.given(by_law(statute=Statute(**statute)))
    if reason is StatuteUnknown:
        ready.when(authorize()).refused(StatuteUnknown, refused("statute-unknown"), act=statute["act"])
    elif reason is ScopeMissing:
        ready.when(authorize()).refused(ScopeMissing, refused("scope-missing"), disclosure=DISCLOSURE)
    else:
        ready.when(authorize()).refused(FieldsExcessive, refused("fields-excessive"), fields="email")


def test_the_officer_may_authorize_fewer_fields_and_no_others_go(ready: Bench) -> None:
    ready.given(by_law(statute=Statute(**STATUTE | {"act": "TMS-26", "authority": "bailiff"})))
    ready.when(authorize(fields=("iban",))).refused(FieldsMismatch, fields="iban")
    ready.when(authorize(fields=())).refused(FieldsMismatch, fields="none at all")
    ready.when(authorize(fields=("address",))).then(
        DisclosureAuthorized(
            disclosure_id=DISCLOSURE,
            subject_id=MARI,
            token_sha256=TOKEN_SHA256,
            expires_at=START + timedelta(minutes=15),
            fields=("address",),  # type: ignore[arg-type]
            recipient_id=PARTNER,
        )
    )
    ready.when(transmit()).refused(FieldsMismatch, fields="email")
    ready.when(transmit(fields=("address",))).then(transmitted(fields=("address",)))


@pytest.mark.rule("disclosure-needs-live-consent")
def test_consent_cannot_veto_the_law_and_only_the_officer_approves(ready: Bench) -> None:
    ready.given(consent(), by_law())
    ready.when(authorize(), by=SUPPORT).refused(ApproverMissing, disclosure=DISCLOSURE)
    ready.given(authorize(), withdraw())
    ready.when(transmit()).then(transmitted())


def test_secrecy_is_for_what_the_law_requires_and_ends_on_a_day(ready: Bench) -> None:
    later = START + timedelta(days=90)
    ready.when(request(secret_until=later)).refused(Invalid, field="secret_until")
    ready.when(by_law(secret_until=START)).refused(Invalid, field="secret_until")
    ready.given(by_law(secret_until=later))
    assert ready.ledger.open(ready.ledger.size() - 1).secret_until == later  # type: ignore[attr-defined]


# --- to whom -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("disclosure-to-recipients-in-force")
def test_nothing_is_disclosed_to_a_recipient_that_is_not_in_force(bench: Bench) -> None:
    bench.given(POLICY, RegisterSubject(subject_id=MARI), collect(), consent(), request())
    bench.when(authorize(recipient_id=None)).refused(Invalid, field="recipient_id")
    bench.when(authorize(recipient_id=OTHER)).refused(RecipientMismatch, disclosure=DISCLOSURE)
    bench.when(authorize()).refused(RecipientUnknown, refused("recipient-unknown"), recipient=PARTNER)
    second = {"disclosure_id": an_id("a second disclosure")}
    bench.given(partner(), request(**second), authorize(**second))
    bench.given(EndRecipient(recipient_id=PARTNER, reason="quarrel"))  # type: ignore[arg-type]
    gone = DisclosureVoided(
        subject_id=MARI,
        reason="recipient-ended",  # type: ignore[arg-type]
        recipient_id=PARTNER,
        **second,
    )
    bench.when(transmit(**second)).refused(RecipientEndedAlready, gone, recipient=PARTNER)
    found = explain(bench.ledger, bench.ledger.size() - 1)
    assert (found.command, found.refusal) == ("transmit-disclosure", "recipient-ended")
    assert [fact.topic for fact in found.facts][-1] == "recipient-ended"


@pytest.mark.rule("authorization-is-used-once")
def test_an_authorization_used_twice_late_or_for_others_is_refused(ready: Bench) -> None:
    ready.given(consent(), request(), authorize(fields=("email",)))
    ready.when(transmit(recipient_id=OTHER, fields=("email",))).refused(RecipientMismatch)
    ready.when(transmit(fields=("address",))).refused(FieldsMismatch, fields="address")
    ready.when(transmit(fields=("email",))).then(transmitted(fields=("email",)))
    ready.when(transmit(fields=("email",))).refused(DisclosureState, state="transmitted")
    late = {"disclosure_id": an_id("a late one")}
    ready.given(request(**late), authorize(**late))
    ready.clock.forward(minutes=15)
    gone = DisclosureVoided(
        subject_id=MARI,
        reason="token-expired",  # type: ignore[arg-type]
        recipient_id=PARTNER,
        **late,
    )
    ready.when(transmit(**late)).refused(TokenExpired, gone)


@pytest.mark.rule("only-what-is-held-is-disclosed")
def test_what_was_never_collected_or_was_erased_is_not_sent(ready: Bench) -> None:
    ready.given(consent(), request(), authorize(), decide(), destroy())
    ready.when(transmit()).refused(FieldsNotHeld, voided("fields-not-held"), fields="address, email")


# --- what follows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [False, True])
def test_a_disclosure_that_never_arrived_has_failed(ready: Bench, sent: bool) -> None:
    ready.given(consent(), request())
    ready.when(fail()).refused(DisclosureState, state="requested")
    ready.given(authorize(), *([transmit()] if sent else []))
    ready.when(fail()).then(
        DisclosureFailed(
            disclosure_id=DISCLOSURE,
            subject_id=MARI,
            recipient_id=PARTNER,
            reason="bounced",  # type: ignore[arg-type]
        )
    )
    ready.when(transmit()).refused(DisclosureState, state="failed")
    ready.when(withdraw()).then(ConsentWithdrawn(consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE))


@pytest.mark.rule("withdrawal-recalls-what-is-under-way")
def test_what_was_under_way_at_a_withdrawal_is_marked_and_a_recall_is_owed(ready: Bench) -> None:
    ready.given(consent(), request(), authorize(), transmit())
    ready.when(withdraw()).then(
        ConsentWithdrawn(consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE),
        RecallOwed(disclosure_id=DISCLOSURE, subject_id=MARI, recipient_id=PARTNER, consent_id=CONSENT, fields=FIELDS),
    )


def test_what_arrived_long_before_a_withdrawal_is_not_called_back(ready: Bench) -> None:
    ready.given(consent(), request(), authorize(), transmit())
    ready.clock.forward(minutes=15)
    ready.when(withdraw()).then(ConsentWithdrawn(consent_id=CONSENT, subject_id=MARI, channel=Channel.PHONE))


@pytest.mark.rule("recipients-are-notified")
def test_a_recipient_is_notified_of_what_it_was_given(ready: Bench) -> None:
    ready.given(consent(), request(), authorize(), transmit(fields=("email",)))
    notified = RecipientNotified(
        subject_id=MARI,
        recipient_id=PARTNER,
        cause=NoticeCause.CORRECTION,
        fields=("email",),  # type: ignore[arg-type]
        channel=Channel.EMAIL,
    )
    ready.when(notify()).then(notified)
    ready.when(notify(fields=("email", "address"))).refused(NothingDisclosed, fields="address")
    ready.when(notify(fields=())).refused(NothingDisclosed, fields="none at all")
    ready.when(notify(recipient_id=OTHER)).refused(NothingDisclosed, recipient=OTHER)
    ready.when(notify(cause=NoticeCause.RECALL)).refused(NothingDisclosed, fields="email")
