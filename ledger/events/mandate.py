"""Who may give orders for a client. Clause 11."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import ClientId, MandateId, Reference, SubjectId, Word


@event
class MandateGiven(Event, frozen=True):
    """`evidence` is the document of the client that names the person; without `valid_to` it holds until revoked."""

    TOPIC: ClassVar[str] = "mandate-given"
    mandate_id: MandateId
    client_id: ClientId
    subject_id: SubjectId
    evidence: Reference
    valid_to: datetime | None = None


@event
class MandateRevoked(Event, frozen=True):
    TOPIC: ClassVar[str] = "mandate-revoked"
    mandate_id: MandateId
    client_id: ClientId
    subject_id: SubjectId
    reason: Word
