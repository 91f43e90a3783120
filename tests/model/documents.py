"""Documents: published with their notice, presented, accepted, and which one bound a person on a day. Clause 3."""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ledger.commands import AcceptTerms, PresentDocument, PublishDocument
from ledger.errors import DocumentExists, DocumentUnknown, Invalid, NoticeTooShort, SubjectUnknown
from ledger.vocabulary import Channel, DocumentKind
from tests.model.base import PEOPLE, PERSON, Refusal, View
from tests.model.people import People

TERMS, PROCEDURE = DocumentKind.TERMS, DocumentKind.PROCEDURE
KIND = st.sampled_from([TERMS, PROCEDURE])
VERSION = st.sampled_from(["1", "2", "3"])


def text_of(kind: DocumentKind, version: str) -> str:
    return f"{kind} of version {version}"


def digest(kind: DocumentKind, version: str) -> Any:
    return sha256(text_of(kind, version).encode()).hexdigest()


def a_month_after(moment: datetime) -> datetime:
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))


class Publishing(People):
    def __init__(self) -> None:
        super().__init__()
        # Since when each version is in force.
        self.versions: dict[DocumentKind, dict[str, datetime]] = {TERMS: {}, PROCEDURE: {}}
        self.presented: dict[str, str] = {}  # person: the terms they saw last
        self.accepted: dict[str, str] = {}

    def in_force(self, kind: DocumentKind, at: datetime) -> str | None:
        known = [(since, version) for version, since in self.versions[kind].items() if since <= at]
        return max(known)[1] if known else None

    @rule(kind=KIND, version=VERSION, days=st.sampled_from([0, 31, 32]))
    def publish(self, kind: DocumentKind, version: Any, days: int) -> None:
        known, effective = self.versions[kind], self.now + timedelta(days=days)
        expected: Refusal = None
        if version in known:
            expected = DocumentExists
        elif known and effective < a_month_after(self.now):
            expected = NoticeTooShort
        elif known and effective <= max(known.values()):
            expected = Invalid
        self.do(
            PublishDocument(
                kind=kind, version=version, language="en", text=text_of(kind, version), published_at=self.now,
                effective_at=effective,
            ),
            expected,
        )  # fmt: skip
        if expected is None:
            known[version] = effective

    @rule(subject=PERSON, version=VERSION, accept=st.booleans())
    def present(self, subject: Any, version: Any, accept: bool) -> None:
        said: dict[str, Any] = {
            "subject_id": subject, "version": version, "language": "en", "text_sha256": digest(TERMS, version),
            "channel": Channel.SOFTWARE,
        }  # fmt: skip
        expected: Refusal = None
        if subject not in self.people:
            expected = SubjectUnknown
        elif version not in self.versions[TERMS]:
            expected = DocumentUnknown
        self.do(AcceptTerms(**said) if accept else PresentDocument(**said, kind=TERMS), expected)
        if expected is None:
            (self.accepted if accept else self.presented)[subject] = version

    def view(self) -> View:
        terms = self.in_force(TERMS, self.now)
        bound = {subject: (terms, self.presented.get(subject), self.accepted.get(subject)) for subject in PEOPLE}
        return super().view() | {
            "documents": {
                (kind, version): since for kind, known in self.versions.items() for version, since in known.items()
            },
            "bound": bound if terms else {},
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        documents = self.asked.documents(as_of=as_of)
        for one in documents:
            assert self.asked.document_text(one.text_sha256) == text_of(one.kind, one.version)
        return super().ask(as_of, then) | {
            "documents": {(one.kind, one.version): one.effective_at for one in documents},
            "bound": {
                subject: (one.version, one.presented, one.accepted)
                for subject in PEOPLE
                for one in self.asked.bindings(subject, then, as_of=as_of)
            },
        }
