"""Client orders and what became of them. Clause 11."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from ledger.events.event import SEALED, Count, Event, Personal, event
from ledger.vocabulary import (
    CaseId,
    Channel,
    ClientId,
    IdentityCheck,
    MandateId,
    MediaType,
    OrderChannel,
    OrderId,
    Quarantine,
    Reference,
    RetentionClass,
    Sha256Hex,
    SubjectId,
    Word,
)


@event
class OrderRecorded(Event, frozen=True):
    """The exact bytes of an order, sealed. Version 1 had no `authentication`: nothing was checked then."""

    TOPIC: ClassVar[str] = "order-recorded"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    VERSION: ClassVar[int] = 2
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: OrderChannel
    media_type: MediaType
    size_bytes: Count
    terms_version: Reference
    received_at: datetime
    authentication: Word
    claimed_at: datetime | None = None
    mandate_id: MandateId | None = None
    content: Personal[bytes] = SEALED
    file_name: Personal[str] = None

    @staticmethod
    def upcast_v1(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "authentication": "not-checked"}


@event
class OrderQuarantined(Event, frozen=True):
    """It came from a sender who was not verified, or whom the client never named: it waits until somebody decides."""

    TOPIC: ClassVar[str] = "order-quarantined"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    reason: Quarantine


@event
class OrderReleased(Event, frozen=True):
    """Somebody checked a quarantined order: it is taken as given, on this evidence."""

    TOPIC: ClassVar[str] = "order-released"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    verification: IdentityCheck
    evidence: Reference


@event
class OrderRejected(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-rejected"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel
    reason: Word


@event
class OrderUsed(Event, frozen=True):
    """The recorded order was used for one of the purposes that the policy of its day names."""

    TOPIC: ClassVar[str] = "order-used"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    use: Word


@event
class OrderUseDenied(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-use-denied"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    use: Word
    reason: Word


@event
class OrderAmended(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-amended"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel
    media_type: MediaType
    size_bytes: Count
    received_at: datetime
    content: Personal[bytes] = SEALED
    file_name: Personal[str] = None


@event
class OrderCancelled(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-cancelled"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel
    reason: Word


class Transaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was done for an order. `result_digest` is of the system's own record of it, salted there if personal."""

    reference: Reference
    result_digest: Sha256Hex
    booked_document: Reference | None = None


@event
class OrderExecuted(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-executed"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    transactions: tuple[Transaction, ...]


@event
class OrderConfirmed(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-confirmed"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel


@event
class OrderDisputed(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-disputed"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    case_id: CaseId
    ground: Word
    statement: Personal[str] = None


@event
class DisputeResolved(Event, frozen=True):
    TOPIC: ClassVar[str] = "dispute-resolved"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    case_id: CaseId
    outcome: Word
    statement: Personal[str] = None
