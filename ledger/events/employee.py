"""Employees: what they acknowledged, and what they answer for. Clause 5; GDPR Art. 29, 32(4).

An employee is an opaque id, the one under which they act. Who that is stands elsewhere.
"""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import SEALED, Event, Personal, event
from ledger.vocabulary import ActorId, Language, Reference, RetentionClass, Role, Sha256Hex, ViolationId, Word


@event
class EmployeeOnboarded(Event, frozen=True):
    TOPIC: ClassVar[str] = "employee-onboarded"
    employee_id: ActorId
    role: Role


@event
class ConfidentialityAcknowledged(Event, frozen=True):
    """Bound to the exact text of the procedure, by its version, language and hash."""

    TOPIC: ClassVar[str] = "confidentiality-acknowledged"
    employee_id: ActorId
    version: Reference
    language: Language
    text_sha256: Sha256Hex


@event
class AcknowledgementLapsed(Event, frozen=True):
    TOPIC: ClassVar[str] = "acknowledgement-lapsed"
    employee_id: ActorId
    version: Reference  # what had been acknowledged
    ground: Word


@event
class ViolationReported(Event, frozen=True):
    """For the officer only: its details are sealed under a key of its own, and no other event points here."""

    TOPIC: ClassVar[str] = "violation-reported"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    violation_id: ViolationId
    category: Word
    employee: Personal[str] = SEALED
    details: Personal[str] = SEALED


@event
class ViolationResolved(Event, frozen=True):
    TOPIC: ClassVar[str] = "violation-resolved"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.CONTRACT
    violation_id: ViolationId
    outcome: Word
    details: Personal[str] = SEALED


@event
class EmployeeOffboarded(Event, frozen=True):
    """Access ends here; the duty of confidence does not."""

    TOPIC: ClassVar[str] = "employee-offboarded"
    employee_id: ActorId
