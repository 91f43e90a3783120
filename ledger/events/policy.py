"""The policy in force: adopted, with its exact text."""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import (
    LegalBasis,
    Purpose,
    RecipientCategory,
    Reference,
    RetentionClass,
    Sha256Hex,
    SubjectRole,
    Word,
)


@event
class PolicyAdopted(Event, frozen=True):
    """The TOML `text` holds company rules and no personal data; it is in force from this entry on."""

    TOPIC: ClassVar[str] = "policy-adopted"
    version: Reference
    sha256: Sha256Hex
    text: str


@event
class ProcessingActivityRegistered(Event, frozen=True):
    """An activity of the policy that was adopted with it, where it is new or changed. GDPR Art. 30(1)."""

    TOPIC: ClassVar[str] = "processing-activity-registered"
    activity: Word
    policy_version: Reference
    purpose: Purpose
    bases: tuple[LegalBasis, ...]
    roles: tuple[SubjectRole, ...]
    categories: tuple[Word, ...]
    retention_class: RetentionClass
    recipients: tuple[RecipientCategory, ...]
