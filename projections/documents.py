"""Documents: what is published, its text to the byte, and which text bound a person on a day. Clause 3."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

import msgspec

from ledger import Ledger
from ledger.command import Past
from ledger.errors import DocumentUnknown, Tampered
from ledger.events import DocumentPresented, DocumentPublished, DocumentTextKept, TermsAccepted
from ledger.state.document import in_force
from ledger.storage.engine import QueryItem
from ledger.vocabulary import DocumentKind, Language, Reference, Sha256Hex, SubjectId, text_tag
from projections.projection import AsOf, aware
from projections.registers import Register, Registers


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A published document. `index` is its entry; moments are UTC."""

    index: int
    kind: DocumentKind
    version: Reference
    language: Language
    text_sha256: Sha256Hex
    size_bytes: int
    published_at: datetime
    effective_at: datetime


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What bound a person on a day: the version in force in a language they were shown, and what they accepted.

    `documents` are the texts of the version in force, in that language if it is known and in all others else.
    `presented` and `accepted` are the last version of it that they saw and said yes to, until then.
    """

    kind: DocumentKind
    version: Reference
    documents: tuple[Document, ...]
    presented: Reference | None
    accepted: Reference | None


def documents(registers: Registers, *, as_of: AsOf = None) -> tuple[Document, ...]:
    """Return every published document, in the order of publishing."""
    past = registers.past(*((Register.DOCUMENTS, kind) for kind in DocumentKind), as_of=as_of)
    return _documents(past)


def bindings(registers: Registers, subject_id: SubjectId, at: datetime, *, as_of: AsOf = None) -> tuple[Binding, ...]:
    """Return what bound a person at a moment, one for each kind of which a version was in force then.

    Raises Invalid for a moment without time zone.
    """
    aware(at, "at")
    kinds = (DocumentKind.PRINCIPLES, DocumentKind.TERMS)
    wanted = [(Register.DOCUMENTS, str(kind)) for kind in kinds]
    past = registers.past(*wanted, (Register.BINDINGS, subject_id), as_of=as_of)
    found: list[Binding] = []
    for kind in kinds:
        version = in_force(past, kind, at)
        if version is None:
            continue
        presented = accepted = language = None
        for recorded in past.all:
            match recorded.event:
                case DocumentPresented(kind=shown, version=presented_now, language=seen) if (
                    shown is kind and recorded.recorded_at <= at
                ):
                    presented, language = presented_now, seen
                case TermsAccepted(version=accepted_now, language=seen) if (
                    kind is DocumentKind.TERMS and recorded.recorded_at <= at
                ):
                    accepted, language = accepted_now, seen
        texts = [one for one in _documents(past) if (one.kind, one.version) == (kind, version)]
        in_language = [one for one in texts if one.language == language]
        found.append(
            Binding(
                kind=kind,
                version=version,
                documents=tuple(in_language or texts),
                presented=presented,
                accepted=accepted,
            )
        )
    return tuple(found)


def document_text(ledger: Ledger, text_sha256: Sha256Hex) -> str:
    """Return a published text to the byte. Raises DocumentUnknown, and Tampered when it is not the one published."""
    parts: dict[int, str] = {}
    for recorded in ledger.read((QueryItem((DocumentTextKept.TOPIC,), (text_tag(text_sha256),)),)):
        if isinstance(recorded.event, DocumentTextKept):
            parts[recorded.event.part] = recorded.event.text
    if not parts:
        raise DocumentUnknown(kind="document", language="any")
    text = "".join(parts[part] for part in sorted(parts))
    if sha256(text.encode()).hexdigest() != text_sha256:
        raise Tampered("document", "the parts of a text do not add up to the one that was published")
    return text


def _documents(past: Past) -> tuple[Document, ...]:
    return tuple(
        Document(
            index=recorded.index,
            kind=event.kind,
            version=event.version,
            language=event.language,
            text_sha256=event.text_sha256,
            size_bytes=event.size_bytes,
            published_at=event.published_at,
            effective_at=event.effective_at,
        )
        for recorded in past.all
        if isinstance(event := recorded.event, DocumentPublished)
    )
