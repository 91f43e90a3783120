"""The trail of one order: recorded, amended, executed, confirmed, disputed, resolved. Principles, clause 11.

A trail reproduces: it shows again what was recorded, byte for byte, with the versions that were recorded; it carries
nothing out. Rows say only which entries belong to an order; what they say, and the bytes, are opened from the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from ledger import Actor, Ledger
from ledger.command import Past, Recorded
from ledger.entry import parse_moment
from ledger.errors import Invalid, OrderUnknown
from ledger.events import (
    DisputeResolved,
    Event,
    OrderAmended,
    OrderCancelled,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderQuarantined,
    OrderRecorded,
    OrderRejected,
    OrderReleased,
    OrderUsed,
    OrderUseDenied,
    Transaction,
    Withheld,
)
from ledger.state.order import Standing
from ledger.state.order import order as fold
from ledger.vocabulary import CaseId, ClientId, MediaType, OrderId, Reference, SubjectId, Word
from projections.consents import Consent, consents
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Store, Writer
from projections.values import Values, ValueState, shown

# A field of that name hides the type from whoever reads the annotations.
_Bytes = bytes


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The exact bytes of an order or an amendment. `bytes` and `sha256` (hex) are None unless `state` is present.

    `size_bytes` and `media_type` stand in the entry and stay when the bytes are erased.
    """

    state: ValueState
    bytes: _Bytes | None
    sha256: str | None
    size_bytes: int
    media_type: MediaType
    received_at: datetime
    file_name: str | None  # None too when it was not said, or is erased with the bytes


class OrderStep(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the trail. `details` are the public words of its event, without the ids of order and actor."""

    index: int
    recorded_at: datetime
    topic: str
    by: Actor
    details: dict[str, Any]
    content: Content | None = None  # of what was recorded and amended
    statement: str | None = None  # of a dispute or its resolution
    statement_state: ValueState | None = None  # None when nothing was stated


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """A case about the order. `opened` and `resolved` are indexes; both of the latter are None while it is open."""

    case_id: CaseId
    ground: Word
    opened: int
    outcome: Word | None
    resolved: int | None


class OrderTrail(msgspec.Struct, frozen=True, kw_only=True):
    """All that was recorded of one order. `consents` are the subject's as of the recording of the order."""

    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    standing: Standing
    terms_version: Reference
    authentication: Word
    received_at: datetime
    claimed_at: datetime | None
    content: Content
    steps: tuple[OrderStep, ...]
    transactions: tuple[Transaction, ...]
    disputes: tuple[Dispute, ...]
    consents: tuple[Consent, ...]
    position: int


class OrderSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An order in a list: where it stands and how many of its disputes are open."""

    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    standing: Standing
    terms_version: Reference
    received_at: datetime
    recorded: int
    recorded_at: datetime
    steps: int
    open_disputes: int


_STANDINGS: Final[Mapping[str, Standing]] = {
    OrderRecorded.TOPIC: Standing.OPEN,
    OrderExecuted.TOPIC: Standing.EXECUTED,
    OrderConfirmed.TOPIC: Standing.CONFIRMED,
    OrderCancelled.TOPIC: Standing.CANCELLED,
    OrderQuarantined.TOPIC: Standing.QUARANTINED,
    OrderReleased.TOPIC: Standing.OPEN,
    OrderRejected.TOPIC: Standing.REJECTED,
}
# Fields of the events that the trail shows in a place of their own, or not twice.
_SHOWN_ELSEWHERE: Final = frozenset(("by", "order_id", "content", "file_name", "statement"))

_TRAIL: Final = """
SELECT idx, recorded_at FROM order_steps WHERE order_id = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_LIST: Final = """
SELECT s.order_id, s.idx, s.subject, s.client, s.recorded_at, s.topic, s.case_id, s.received_at, s.terms_version
FROM order_steps s
WHERE s.order_id IN (SELECT order_id FROM order_steps WHERE {chosen} AND idx < ? AND recorded_at <= ?)
  AND s.idx < ? AND s.recorded_at <= ? ORDER BY s.idx
"""
_OF_SUBJECT: Final = _LIST.format(chosen="subject = ?")
_QUARANTINED: Final = _LIST.format(chosen=f"topic = '{OrderQuarantined.TOPIC}'")
_OF_CLIENT: Final = _LIST.format(chosen=f"client = ? AND topic = '{OrderRecorded.TOPIC}'")


class OrderTrails(Projection):
    """Which entries belong to which order, by order, subject and client."""

    NAME: ClassVar[str] = "order_trail"
    VERSION: ClassVar[int] = 2
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys(
        (
            OrderRecorded, OrderQuarantined, OrderReleased, OrderRejected, OrderAmended, OrderCancelled, OrderExecuted,
            OrderConfirmed, OrderDisputed, DisputeResolved, OrderUsed, OrderUseDenied,
        )
    )  # fmt: skip

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        steps: list[Row] = []
        for item in batch:
            event: Any = item.event
            case = received_at = terms = None
            if isinstance(event, OrderRecorded):
                received_at, terms = event.received_at.isoformat(), event.terms_version
            elif isinstance(event, OrderDisputed | DisputeResolved):
                case = event.case_id
            steps.append(
                (
                    item.index, event.order_id, event.subject_id, event.client_id, item.recorded_at, event.TOPIC,
                    case, received_at, terms,
                )
            )  # fmt: skip
        writer.insert("order_steps", steps)

    def trail(self, order_id: OrderId, *, as_of: AsOf = None) -> OrderTrail:
        """Return all that was recorded of an order as of then, with its bytes and those of each amendment.

        Erased bytes are withheld, their place in the trail stays. Raises OrderUnknown, Tampered when bytes are not the
        ones recorded, StorageError, and Invalid for a moment without time zone. Whoever calls this shows personal data:
        the doors record the access first.
        """
        with self._store.read() as rows:
            found = rows(_TRAIL, order_id, *bound(as_of))
            if not found:
                raise OrderUnknown(order=order_id)
            values = Values(self._ledger, order_id, of="order_id")
            past = Past()
            for index, recorded_at in found:
                past.all.append(Recorded(index, parse_moment(recorded_at), (), values.event(index)))
            order = fold(past, order_id)
            recorded = order.recorded
            # As of its place in the log, not its moment: entries of one transaction share a moment.
            given = consents(rows, recorded.subject_id, found[0][0])
            position = rows("SELECT position FROM projection WHERE name = ?", self.NAME)[0][0]
        return OrderTrail(
            order_id=order_id,
            client_id=recorded.client_id,
            subject_id=recorded.subject_id,
            standing=order.standing,
            terms_version=recorded.terms_version,
            authentication=recorded.authentication,
            received_at=recorded.received_at,
            claimed_at=recorded.claimed_at,
            content=_content(recorded),
            steps=tuple(map(_step, past.all)),
            transactions=tuple(done for event in past.of(OrderExecuted) for done in event.transactions),
            disputes=_disputes(past.all),
            consents=given,
            position=position,
        )

    def orders(
        self, *, subject_id: SubjectId | None = None, client_id: ClientId | None = None, as_of: AsOf = None
    ) -> tuple[OrderSummary, ...]:
        """Return the orders that a subject took part in, or those of a client, in the order of recording.

        Exactly one of the two is given, else Invalid. All of them: the answer is never cut.
        """
        if (subject_id is None) == (client_id is None):
            raise Invalid("client_id", "or subject_id is needed, and not both")
        known = bound(as_of)
        with self._store.read() as rows:
            if subject_id is not None:
                found = rows(_OF_SUBJECT, subject_id, *known, *known)
            else:
                found = rows(_OF_CLIENT, client_id, *known, *known)
        by_order: dict[str, list[Row]] = {}
        for row in found:
            by_order.setdefault(row[0], []).append(row[1:])
        return tuple(_summary(OrderId(order_id), steps) for order_id, steps in by_order.items())

    def quarantine(self, *, as_of: AsOf = None) -> tuple[OrderSummary, ...]:
        """Return the orders that wait until somebody decides, the first recorded first. All of them."""
        known = bound(as_of)
        with self._store.read() as rows:
            found = rows(_QUARANTINED, *known, *known)
        by_order: dict[str, list[Row]] = {}
        for row in found:
            by_order.setdefault(row[0], []).append(row[1:])
        summaries = (_summary(OrderId(order_id), steps) for order_id, steps in by_order.items())
        return tuple(summary for summary in summaries if summary.standing is Standing.QUARANTINED)


def _step(recorded: Recorded) -> OrderStep:
    event = recorded.event
    details = {
        name: value
        for name in event.__struct_fields__
        if name not in _SHOWN_ELSEWHERE and (value := getattr(event, name)) is not None
    }
    statement = getattr(event, "statement", None)
    state, text = (None, None) if statement is None else shown(statement)
    return OrderStep(
        index=recorded.index,
        recorded_at=recorded.recorded_at,
        topic=event.TOPIC,
        by=event.by,
        details=msgspec.to_builtins(details),
        content=_content(event) if isinstance(event, OrderRecorded | OrderAmended) else None,
        statement=text,
        statement_state=state,
    )


def _content(event: OrderRecorded | OrderAmended) -> Content:
    # An order has at least one byte, so that bytes which are not there are missing, not empty.
    state, content = shown(Withheld.MISSING if event.content is None else event.content)
    return Content(
        state=state,
        bytes=content,
        sha256=None if content is None else hashlib.sha256(content).hexdigest(),
        size_bytes=event.size_bytes,
        media_type=event.media_type,
        received_at=event.received_at,
        file_name=shown(event.file_name)[1],
    )


def _disputes(steps: Sequence[Recorded]) -> tuple[Dispute, ...]:
    found: dict[CaseId, Dispute] = {}
    for step in steps:
        match step.event:
            case OrderDisputed(case_id=case_id, ground=ground):
                found[case_id] = Dispute(case_id=case_id, ground=ground, opened=step.index, outcome=None, resolved=None)
            case DisputeResolved(case_id=case_id, outcome=outcome):
                found[case_id] = msgspec.structs.replace(found[case_id], outcome=outcome, resolved=step.index)
    return tuple(found.values())


def _summary(order_id: OrderId, steps: Sequence[Row]) -> OrderSummary:
    index, subject_id, client_id, recorded_at, _, _, received_at, terms_version = steps[0]
    standing = Standing.OPEN
    cases: set[str] = set()
    for _, _, _, _, topic, case_id, _, _ in steps:
        standing = _STANDINGS.get(topic, standing)
        if topic == OrderDisputed.TOPIC:
            cases.add(case_id)
        elif topic == DisputeResolved.TOPIC:
            cases.discard(case_id)
    return OrderSummary(
        order_id=order_id,
        client_id=client_id,
        subject_id=subject_id,
        standing=standing,
        terms_version=terms_version,
        received_at=datetime.fromisoformat(received_at),
        recorded=index,
        recorded_at=parse_moment(recorded_at),
        steps=len(steps),
        open_disputes=len(cases),
    )
