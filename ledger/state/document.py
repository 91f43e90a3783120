"""Which documents are published, and which version is in force when."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from ledger.command import Boundary, Past, selector
from ledger.errors import DocumentNotInForce, DocumentUnknown
from ledger.events import DocumentPublished
from ledger.rule import rule
from ledger.vocabulary import DocumentKind, Language, Reference, Sha256Hex, document_tag

CONSENT_TO_A_WORDING = rule(
    "consent-binds-to-exact-text",
    clause="3",
    promise="A consent is to the exact text and language of a wording in force, once wordings are published",
    source="GDPR Art. 7(1)",
    refusals=(DocumentUnknown, DocumentNotInForce),
)


@cache
def publications(kind: DocumentKind) -> Boundary:
    """The boundary of everything here: a few entries, as the texts stand in others."""
    return (selector(DocumentPublished, tags=[document_tag(kind)]),)


def versions(past: Past, kind: DocumentKind) -> list[tuple[Reference, datetime]]:
    """Return the versions of a kind with since when they are in force, in that order, each once."""
    found: dict[Reference, datetime] = {}
    for event in past.of(DocumentPublished):
        if event.kind is kind:
            found.setdefault(event.version, event.effective_at)
    return sorted(found.items(), key=lambda version: version[1])


def in_force(past: Past, kind: DocumentKind, at: datetime) -> Reference | None:
    """Return the version that is in force at a moment, None before the first one is."""
    return next((version for version, since in reversed(versions(past, kind)) if since <= at), None)


def published(
    past: Past,
    kind: DocumentKind,
    text_sha256: Sha256Hex,
    language: Language,
    version: Reference | None = None,
) -> DocumentPublished:
    """Return the document of exactly this text and language. Raises DocumentUnknown."""
    for event in past.of(DocumentPublished):
        if (event.kind, event.text_sha256, event.language) == (kind, text_sha256, language) and (
            version is None or event.version == version
        ):
            return event
    raise DocumentUnknown(kind=kind, language=language)


def check_wording(past: Past, text_sha256: Sha256Hex, language: Language, now: datetime) -> None:
    """Raise DocumentUnknown or DocumentNotInForce unless a consent is to a wording that was published and is in force.

    From the first wording that is published on, a consent is to one of them. Nobody agrees to what will be.
    """
    wordings = versions(past, DocumentKind.CONSENT)
    if not wordings:
        return
    wording = published(past, DocumentKind.CONSENT, text_sha256, language)
    if wording.effective_at > now:
        raise DocumentNotInForce(
            kind=DocumentKind.CONSENT, version=wording.version, in_force=f"one of {len(wordings)} others"
        )
