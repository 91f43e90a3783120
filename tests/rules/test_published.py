"""Documents: one exact text a version, a month of notice; consent, acceptance and orders bound to them. Clause 3."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.commands import (
    AcceptTerms,
    AdoptPolicy,
    GiveConsent,
    GiveMarketingConsent,
    PresentDocument,
    PublishDocument,
    RecordOrder,
    RegisterSubject,
)
from ledger.commands.document import MAX_TEXT_BYTES
from ledger.errors import (
    DocumentExists,
    DocumentNotInForce,
    DocumentUnknown,
    FieldNotDefined,
    Invalid,
    NoticeTooShort,
    PolicyMissing,
    RoleMissing,
)
from ledger.events import DocumentPresented, DocumentPublished, DocumentTextKept, OrderRecorded, TermsAccepted
from ledger.policy import default_policy_text
from ledger.vocabulary import TERMS_NOT_STATED, Channel, DocumentKind, OfferKind, OrderChannel, Purpose
from tests.bench import START, SUPPORT, Bench, an_id

MARI = an_id("mari")
TEXT = "Tingimused\r\n\r\n1. Õ — \t\u00a0end without a newline"
ADOPT = AdoptPolicy(text=default_policy_text())
REGISTER = RegisterSubject(subject_id=MARI)


def digest(text: str) -> Any:
    return sha256(text.encode()).hexdigest()


def publish(**given: Any) -> PublishDocument:
    usual: dict[str, Any] = {
        "kind": DocumentKind.TERMS,
        "version": "2026-1",
        "language": "et",
        "text": TEXT,
        "published_at": START,
        "effective_at": START,
    }
    return PublishDocument(**usual | given)


def present(**given: Any) -> PresentDocument:
    usual: dict[str, Any] = {
        "subject_id": MARI,
        "kind": DocumentKind.TERMS,
        "version": "2026-1",
        "language": "et",
        "text_sha256": digest(TEXT),
        "channel": Channel.SOFTWARE,
    }
    return PresentDocument(**usual | given)


def accept(**given: Any) -> AcceptTerms:
    usual: dict[str, Any] = {
        "subject_id": MARI,
        "version": "2026-1",
        "language": "et",
        "text_sha256": digest(TEXT),
        "channel": Channel.SOFTWARE,
    }
    return AcceptTerms(**usual | given)


def order(name: str = "order", **given: Any) -> RecordOrder:
    usual: dict[str, Any] = {
        "client_id": an_id("client"),
        "subject_id": MARI,
        "channel": OrderChannel.EMAIL,
        "media_type": "text/plain",
        "content": b"Pay",
        "terms_version": "2026-1",
        "received_at": START,
    }
    return RecordOrder(order_id=an_id(name), **usual | given)


def consent(**given: Any) -> GiveConsent:
    usual: dict[str, Any] = {
        "purpose": Purpose.E_INVOICE,
        "fields": ("email",),
        "text_sha256": digest("I agree"),
        "language": "en",
        "channel": Channel.LINK,
    }
    return GiveConsent(consent_id=an_id(repr(given)), subject_id=MARI, **usual | given)


MAKERS = [publish, present, accept]
FIELD_KINDS = {"version": "reference", "published_at": "moment", "effective_at": "moment"}
OTHER_FIELDS: set[str] = set()
CODES = ["document-exists", "document-not-in-force", "document-unknown", "notice-too-short"]


def published(text: str = TEXT, parts: int = 1, **given: Any) -> DocumentPublished:
    usual: dict[str, Any] = {
        "kind": DocumentKind.TERMS,
        "version": "2026-1",
        "language": "et",
        "text_sha256": digest(text),
        "size_bytes": len(text.encode()),
        "parts": parts,
        "published_at": START,
        "effective_at": START,
    }
    return DocumentPublished(**usual | given)


@pytest.mark.rule("document-is-kept-to-the-byte")
def test_a_document_is_published_with_its_exact_text(bench: Bench) -> None:
    kept = DocumentTextKept(kind=DocumentKind.TERMS, text_sha256=digest(TEXT), part=0, text=TEXT)
    bench.given(ADOPT).when(publish()).then(published(), kept)


@pytest.mark.rule("document-is-kept-to-the-byte")
@pytest.mark.parametrize("character", ["a", "õ", "\u0001", "\U0001f600"], ids=["ascii", "two bytes", "escaped", "four"])
def test_a_long_text_is_kept_in_parts_that_add_up_to_the_byte(bench: Bench, character: str) -> None:
    text = character * (100_000 if len(character.encode()) == 1 else 30_000)
    done = bench.given(ADOPT).when(publish(text=text))
    assert done.refusal is None
    first, *parts = done.events
    assert isinstance(first, DocumentPublished)
    assert first.parts == len(parts) > 1
    assert "".join(part.text for part in parts if isinstance(part, DocumentTextKept)) == text


@pytest.mark.rule("document-is-kept-to-the-byte")
def test_a_version_in_a_language_is_published_once_and_by_those_who_answer_for_it(bench: Bench) -> None:
    bench.given(ADOPT, publish())
    bench.when(publish(text="Other")).refused(DocumentExists, version="2026-1", language="et")
    bench.when(publish(version="2026-2"), by=SUPPORT).refused(RoleMissing)
    bench.when(publish(version="2", text="")).refused(Invalid, field="text")
    bench.when(publish(version="2", text="x" * (MAX_TEXT_BYTES + 1))).refused(Invalid, field="text")


@pytest.mark.rule("amendment-needs-notice")
def test_an_amendment_takes_effect_a_month_after_it_is_published(bench: Bench) -> None:
    bench.when(publish()).refused(PolicyMissing)
    bench.given(ADOPT, publish())
    # START is 22 November: the month ends on 22 December.
    early = publish(version="2026-2", effective_at=START + timedelta(days=30) - timedelta(seconds=1))
    bench.when(early).refused(NoticeTooShort, kind="terms", needed="2026-12-22T10:00:00.000000Z")
    in_time = START + timedelta(days=30)
    bench.when(publish(version="2026-2", effective_at=in_time)).then(
        published(version="2026-2", effective_at=in_time),
        DocumentTextKept(kind=DocumentKind.TERMS, text_sha256=digest(TEXT), part=0, text=TEXT),
    )


@pytest.mark.rule("amendment-needs-notice")
def test_a_month_after_the_31st_is_the_last_day_of_the_next_month(bench: Bench) -> None:
    bench.clock.now = START.replace(year=2027, month=1, day=31)
    bench.given(ADOPT, publish())
    published_at = bench.clock.now
    wrong = publish(version="2", published_at=published_at, effective_at=published_at + timedelta(days=27))
    bench.when(wrong).refused(NoticeTooShort, needed="2027-02-28T10:00:00.000000Z")
    right = publish(version="2", published_at=published_at, effective_at=published_at + timedelta(days=28))
    assert bench.when(right).refusal is None


@pytest.mark.rule("amendment-needs-notice")
def test_dates_out_of_order_are_refused(bench: Bench) -> None:
    bench.given(ADOPT)
    bench.when(publish(published_at=START + timedelta(1), effective_at=START + timedelta(2))).refused(
        Invalid, field="published_at"
    )
    bench.when(publish(effective_at=START - timedelta(1))).refused(Invalid, field="effective_at")
    bench.given(publish())
    assert bench.when(publish(language="en")).refusal is None, "a translation is no amendment"
    assert bench.when(publish(language="fi", effective_at=START + timedelta(1))).refusal is None, "a late one"
    bench.given(publish(version="3", effective_at=START + timedelta(90)))
    bench.when(publish(version="2", effective_at=START + timedelta(60))).refused(Invalid, field="effective_at")
    early = publish(version="3", language="en", effective_at=START + timedelta(40))
    bench.when(early).refused(Invalid, field="effective_at")


@pytest.mark.rule("acceptance-binds-to-exact-text")
def test_what_is_presented_and_accepted_is_exactly_what_was_published(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, publish())
    said: dict[str, Any] = {
        "subject_id": MARI,
        "version": "2026-1",
        "language": "et",
        "text_sha256": digest(TEXT),
        "channel": Channel.SOFTWARE,
    }
    bench.when(present()).then(DocumentPresented(kind=DocumentKind.TERMS, **said))
    bench.when(accept()).then(TermsAccepted(**said))
    for wrong in ({"text_sha256": digest(TEXT + "\n")}, {"language": "en"}, {"version": "2026-2"}):
        bench.when(present(**wrong)).refused(DocumentUnknown, kind="terms")
        bench.when(accept(**wrong)).refused(DocumentUnknown, kind="terms")
    bench.when(present(kind=DocumentKind.PRINCIPLES)).refused(DocumentUnknown, kind="principles")


@pytest.mark.rule("consent-binds-to-exact-text")
def test_a_consent_is_to_a_wording_that_is_published_and_in_force(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, consent(purpose=Purpose.OWN_OFFERS))
    wording: dict[str, Any] = {"kind": DocumentKind.CONSENT, "language": "en"}
    bench.given(publish(**wording, text="I agree"))
    bench.given(publish(**wording, text="I agree too", version="2", effective_at=START + timedelta(1)))
    assert bench.when(consent()).refusal is None
    bench.when(consent(language="et")).refused(DocumentUnknown, kind="consent", language="et")
    bench.when(consent(text_sha256=digest("I agree "))).refused(DocumentUnknown, kind="consent")
    bench.when(consent(text_sha256=digest("I agree too"))).refused(DocumentNotInForce, version="2")


@pytest.mark.rule("consent-is-specific")
def test_a_consent_names_fields_that_the_policy_knows(bench: Bench) -> None:
    bench.given(REGISTER, consent(fields=("shoe-size",)), ADOPT)
    bench.when(consent(fields=("email", "shoe-size"))).refused(FieldNotDefined, field="shoe-size")
    assert bench.when(consent(fields=("email",))).refusal is None


@pytest.mark.rule("consent-binds-to-exact-text")
def test_a_consent_to_offers_is_to_a_wording_that_is_published_and_in_force(bench: Bench) -> None:
    def agree(text: str, language: Any = "en") -> GiveMarketingConsent:
        return GiveMarketingConsent(
            consent_id=an_id(text + language),
            subject_id=MARI,
            kind=OfferKind.PARTNER,
            channels=(Channel.EMAIL,),
            text_sha256=digest(text),
            language=language,
            channel=Channel.LINK,
        )

    bench.given(ADOPT, REGISTER, agree("Before any wording was published"))
    wording: dict[str, Any] = {"kind": DocumentKind.CONSENT, "language": "en"}
    bench.given(publish(**wording, text="Send me offers"))
    bench.given(publish(**wording, text="And more", version="2", effective_at=START + timedelta(1)))
    bench.when(agree("Send me offers", "et")).refused(DocumentUnknown, kind="consent", language="et")
    bench.when(agree("Send me offers ")).refused(DocumentUnknown, kind="consent")
    bench.when(agree("And more")).refused(DocumentNotInForce, version="2")
    assert bench.when(agree("Send me offers")).refusal is None


@pytest.mark.rule("order-names-terms-in-force")
def test_an_order_records_the_terms_in_force_when_it_was_received(bench: Bench) -> None:
    bench.given(ADOPT, REGISTER, publish(), publish(version="2026-2", effective_at=START + timedelta(40)))
    bench.clock.forward(days=50)
    later = START + timedelta(41)
    bench.when(order(terms_version="2026-2")).refused(DocumentNotInForce, version="2026-2", in_force="2026-1")
    bench.when(order(received_at=later)).refused(DocumentNotInForce, version="2026-1", in_force="2026-2")
    for name, received_at, version in (("one", START, "2026-1"), ("two", later, "2026-2")):
        done = bench.when(order(name, received_at=received_at, terms_version=TERMS_NOT_STATED))
        event = done.events[0]  # it may wait in quarantine besides
        assert isinstance(event, OrderRecorded)
        assert event.terms_version == version
    assert bench.when(order("old", received_at=START - timedelta(1), terms_version="2025")).refusal is None
