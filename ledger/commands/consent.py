"""Consent: given for a purpose, a recipient and fields, on an exact text; withdrawn as easily. GDPR Art. 4(11), 7."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector, unused
from ledger.errors import (
    ConsentExists,
    ConsentNotLive,
    ConsentUnknown,
    FieldNotDefined,
    Invalid,
    SubjectUnknown,
)
from ledger.events import (
    ConsentGiven,
    ConsentWithdrawn,
    DisclosureAuthorized,
    DisclosureFailed,
    DisclosureTransmitted,
    RecallOwed,
)
from ledger.rule import rule
from ledger.state.document import CONSENT_TO_A_WORDING, check_wording, publications
from ledger.state.merge import merges, person_tags
from ledger.state.policy import check_fields, policies
from ledger.state.subject import registered, registration
from ledger.vocabulary import (
    Channel,
    ConsentId,
    DocumentKind,
    Language,
    Purpose,
    RecipientId,
    Sha256Hex,
    SubjectId,
    Word,
    consent_tag,
    disclosure_tag,
    recipient_tag,
    subject_tag,
)

CONSENT_IS_SPECIFIC = rule(
    "consent-is-specific",
    clause="6",
    promise="A consent names its purpose, recipient and known fields, and stands once, of a person who is registered",
    source="GDPR Art. 4(11), 7(1)",
    refusals=(SubjectUnknown, ConsentExists, FieldNotDefined, Invalid),
)
WITHDRAWAL_IS_EASY = rule(
    "withdrawal-is-easy",
    clause="6",
    promise="Withdrawing a live consent asks for nothing more than which one, by any channel, and holds from there on",
    source="GDPR Art. 7(3)",
    refusals=(ConsentUnknown, ConsentNotLive),
)

RECALL = rule(
    "withdrawal-recalls-what-is-under-way",
    clause="6",
    promise="What was under way to a recipient when its consent was withdrawn is marked, and a recall notice is owed",
    source="Principles, clause 6; GDPR Art. 7(3)",
)


@command
class GiveConsent(Command, frozen=True):
    """Record that a subject agreed to exactly this. `text_sha256` is of the text that was shown, byte for byte."""

    NAME: ClassVar[str] = "give-consent"
    RECORDS = (ConsentGiven,)
    RULES = (CONSENT_IS_SPECIFIC, CONSENT_TO_A_WORDING)
    consent_id: ConsentId
    subject_id: SubjectId
    purpose: Purpose
    fields: tuple[Word, ...]
    text_sha256: Sha256Hex
    language: Language
    channel: Channel
    recipient_id: RecipientId | None = None

    def boundary(self) -> Boundary:
        return (
            *registration(self.subject_id),
            *unused((selector(ConsentGiven, tags=[consent_tag(self.consent_id)]),)),
            *merges(self.subject_id),
            *publications(DocumentKind.CONSENT),
            *policies(),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if past.last(ConsentGiven) is not None:
            raise ConsentExists(consent=self.consent_id)
        # GDPR Art. 4(11): consent is specific. A consent for nothing named permits nothing.
        if not self.fields:
            raise Invalid("fields", "names at least one field")
        check_fields(past, self.fields)
        check_wording(past, self.text_sha256, self.language, context.now)
        event = ConsentGiven(
            consent_id=self.consent_id,
            subject_id=self.subject_id,
            purpose=self.purpose,
            recipient_id=self.recipient_id,
            fields=tuple(sorted(set(self.fields))),
            text_sha256=self.text_sha256,
            language=self.language,
            channel=self.channel,
        )
        recipient = [recipient_tag(self.recipient_id)] if self.recipient_id else []
        return [Fact(event, [consent_tag(self.consent_id), *person_tags(past, self.subject_id), *recipient])]


@command
class WithdrawConsent(Command, frozen=True):
    """Record a withdrawal; it holds from its place in the log on. What was under way is marked: a recall is owed."""

    NAME: ClassVar[str] = "withdraw-consent"
    RECORDS = (ConsentWithdrawn, RecallOwed)
    RULES = (WITHDRAWAL_IS_EASY, RECALL)
    consent_id: ConsentId
    subject_id: SubjectId
    channel: Channel

    def boundary(self) -> Boundary:
        steps = (DisclosureAuthorized, DisclosureTransmitted, DisclosureFailed)
        return (
            selector(ConsentGiven, ConsentWithdrawn, *steps, tags=[consent_tag(self.consent_id)]),
            *merges(self.subject_id),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        given = past.last(ConsentGiven)
        if given is None or given.subject_id != self.subject_id:
            raise ConsentUnknown(consent=self.consent_id, subject=self.subject_id)
        if past.last(ConsentWithdrawn) is not None:
            raise ConsentNotLive(consent=self.consent_id)
        # GDPR Art. 7(3): withdrawing is as easy as giving. Nothing more is asked for.
        event = ConsentWithdrawn(consent_id=self.consent_id, subject_id=self.subject_id, channel=self.channel)
        recipient = [recipient_tag(given.recipient_id)] if given.recipient_id else []
        withdrawn = Fact(event, [consent_tag(self.consent_id), *person_tags(past, self.subject_id), *recipient])
        return [withdrawn, *(self._recall(sent) for sent in _under_way(past, context.now))]

    def _recall(self, sent: DisclosureTransmitted) -> Fact:
        event = RecallOwed(
            disclosure_id=sent.disclosure_id,
            subject_id=sent.subject_id,
            recipient_id=sent.recipient_id,
            consent_id=self.consent_id,
            fields=sent.fields,
        )
        tags = [
            disclosure_tag(sent.disclosure_id),
            subject_tag(sent.subject_id),
            recipient_tag(sent.recipient_id),
            consent_tag(self.consent_id),
        ]
        return Fact(event, tags)


def _under_way(past: Past, now: datetime) -> list[DisclosureTransmitted]:
    """Return what was transmitted and may not have arrived: sent on an authorization that has not run out yet."""
    until = {event.disclosure_id: event.expires_at for event in past.of(DisclosureAuthorized)}
    failed = {event.disclosure_id for event in past.of(DisclosureFailed)}
    return [
        sent
        for sent in past.of(DisclosureTransmitted)
        if sent.disclosure_id not in failed and now < until[sent.disclosure_id]
    ]
