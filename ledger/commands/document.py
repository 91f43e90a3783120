"""Documents: published with their exact text, presented, accepted. Clause 3; GDPR Art. 7(1), 12, 13."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.entry import format_moment
from ledger.errors import (
    DocumentExists,
    DocumentUnknown,
    Invalid,
    NoticeTooShort,
    PolicyMissing,
    RoleMissing,
    SubjectUnknown,
)
from ledger.events import DocumentPresented, DocumentPublished, DocumentTextKept, TermsAccepted
from ledger.rule import rule
from ledger.state.document import publications, published, versions
from ledger.state.policy import policies, policy_needed
from ledger.state.subject import registered, registration
from ledger.vocabulary import (
    Channel,
    DocumentKind,
    Language,
    Reference,
    Role,
    Sha256Hex,
    SubjectId,
    document_tag,
    subject_tag,
    text_tag,
)

MAX_TEXT_BYTES = 1024 * 1024

# A character takes at most six bytes in canonical JSON, and an entry holds 65,535.
_PART = 8_192

EXACT_TEXT = rule(
    "document-is-kept-to-the-byte",
    clause="3",
    promise="A version in a language names one exact text for ever, and that text is kept",
    source="GDPR Art. 5(2), 7(1)",
    refusals=(DocumentExists, RoleMissing, Invalid),
)
MONTH_OF_NOTICE = rule(
    "amendment-needs-notice",
    clause="3",
    promise="An amendment takes effect one month after it is published, at the earliest",
    source="Principles, clause 3",
    refusals=(NoticeTooShort, PolicyMissing),
)
BOUND_TO_TEXT = rule(
    "acceptance-binds-to-exact-text",
    clause="3",
    promise="What is presented or accepted is a published document of exactly that text, version and language",
    source="GDPR Art. 7(1); VÕS § 37",
    refusals=(DocumentUnknown, SubjectUnknown),
)


@command
class PublishDocument(Command, frozen=True):
    """Publish a version of a document in one language. `text` is kept exactly as it is, in UTF-8."""

    NAME: ClassVar[str] = "publish-document"
    RECORDS = (DocumentPublished, DocumentTextKept)
    RULES = (EXACT_TEXT, MONTH_OF_NOTICE)
    kind: DocumentKind
    version: Reference
    language: Language
    text: str
    published_at: datetime
    effective_at: datetime

    def boundary(self) -> Boundary:
        return (*policies(), *publications(self.kind))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.role not in (Role.OFFICER, Role.LAWYER, Role.OPERATOR):
            raise RoleMissing(needed="officer, lawyer or operator")
        data = self.text.encode()
        if not 0 < len(data) <= MAX_TEXT_BYTES:
            raise Invalid("text", f"has between 1 and {MAX_TEXT_BYTES} bytes")
        if self.published_at > context.now:
            raise Invalid("published_at", "is in the future")
        if self.effective_at < self.published_at:
            raise Invalid("effective_at", "is before published_at")
        self._check_notice(past)
        digest = Sha256Hex(sha256(data).hexdigest())
        texts = [self.text[i : i + _PART] for i in range(0, len(self.text), _PART)]
        event = DocumentPublished(
            kind=self.kind,
            version=self.version,
            language=self.language,
            text_sha256=digest,
            size_bytes=len(data),
            parts=len(texts),
            published_at=self.published_at,
            effective_at=self.effective_at,
        )
        parts = [
            DocumentTextKept(kind=self.kind, text_sha256=digest, part=i, text=text) for i, text in enumerate(texts)
        ]
        return [Fact(event, [document_tag(self.kind)]), *(Fact(part, [text_tag(digest)]) for part in parts)]

    def _check_notice(self, past: Past) -> None:
        policy = policy_needed(past)
        earlier = [event for event in past.of(DocumentPublished) if event.kind is self.kind]
        for event in earlier:
            if (event.version, event.language) == (self.version, self.language):
                raise DocumentExists(kind=self.kind, version=self.version, language=self.language)
        known = dict(versions(past, self.kind))
        if self.version in known:
            # A translation may come late, and is no way around the notice.
            if self.effective_at < known[self.version]:
                raise Invalid("effective_at", "is before that of this version in another language")
            return
        # A wording of consent binds nobody who does not say yes to it: it amends nothing.
        if not known or self.kind is DocumentKind.CONSENT:
            return
        earliest = _months_after(self.published_at, policy.deadlines.amendment_notice_months)
        if self.effective_at < earliest:
            raise NoticeTooShort(kind=self.kind, needed=format_moment(earliest))
        if self.effective_at <= max(known.values()):
            raise Invalid("effective_at", "is not after that of the version before")


@command
class PresentDocument(Command, frozen=True):
    """Record that a subject was shown exactly this document."""

    NAME: ClassVar[str] = "present-document"
    RECORDS = (DocumentPresented,)
    RULES = (BOUND_TO_TEXT,)
    subject_id: SubjectId
    kind: DocumentKind
    version: Reference
    language: Language
    text_sha256: Sha256Hex
    channel: Channel

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *publications(self.kind))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        published(past, self.kind, self.text_sha256, self.language, self.version)
        event = DocumentPresented(
            subject_id=self.subject_id,
            kind=self.kind,
            version=self.version,
            language=self.language,
            text_sha256=self.text_sha256,
            channel=self.channel,
        )
        return [Fact(event, [subject_tag(self.subject_id)])]


@command
class AcceptTerms(Command, frozen=True):
    """Record that a subject accepted exactly these terms; also before they take effect."""

    NAME: ClassVar[str] = "accept-terms"
    RECORDS = (TermsAccepted,)
    RULES = (BOUND_TO_TEXT,)
    subject_id: SubjectId
    version: Reference
    language: Language
    text_sha256: Sha256Hex
    channel: Channel

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *publications(DocumentKind.TERMS))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        published(past, DocumentKind.TERMS, self.text_sha256, self.language, self.version)
        event = TermsAccepted(
            subject_id=self.subject_id,
            version=self.version,
            language=self.language,
            text_sha256=self.text_sha256,
            channel=self.channel,
        )
        return [Fact(event, [subject_tag(self.subject_id)])]


def _months_after(moment: datetime, months: int) -> datetime:
    """Return the same time on the day of the same number, or on the last of a shorter month: Reg. 1182/71 Art. 3(2)."""
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))
