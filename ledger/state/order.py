"""Where an order stands: open, executed, confirmed or cancelled; disputes run beside it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.errors import OrderState, OrderUnknown
from ledger.events import (
    DisputeResolved,
    OrderAmended,
    OrderCancelled,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderQuarantined,
    OrderRecorded,
    OrderRejected,
    OrderReleased,
)
from ledger.vocabulary import CaseId, OrderId, Reference, order_tag


class Standing(StrEnum):
    QUARANTINED = "quarantined"
    OPEN = "open"
    EXECUTED = "executed"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class Order(msgspec.Struct, frozen=True):
    """`index` is where it was recorded."""

    index: int
    recorded: OrderRecorded
    standing: Standing
    transactions: frozenset[Reference]
    disputes: frozenset[CaseId]

    def needs(self, *standings: Standing, wanted: str) -> None:
        """Raise OrderState unless the order stands at one of `standings`."""
        if self.standing not in standings:
            raise OrderState(order=self.recorded.order_id, state=self.standing, wanted=wanted)


def history(order_id: OrderId) -> Boundary:
    """The boundary of `order`: all that was ever recorded of it."""
    return (
        selector(
            OrderRecorded,
            OrderQuarantined,
            OrderReleased,
            OrderRejected,
            OrderAmended,
            OrderCancelled,
            OrderExecuted,
            OrderConfirmed,
            OrderDisputed,
            DisputeResolved,
            tags=[order_tag(order_id)],
        ),
    )


def order(past: Past, order_id: OrderId) -> Order:
    """Return the order. Raises OrderUnknown."""
    first = next((entry for entry in past.all if isinstance(entry.event, OrderRecorded)), None)
    if first is None:
        raise OrderUnknown(order=order_id)
    recorded = first.event
    assert isinstance(recorded, OrderRecorded)
    standing = Standing.OPEN
    transactions: set[Reference] = set()
    disputes: set[CaseId] = set()
    for entry in past.all:
        match entry.event:
            case OrderQuarantined():
                standing = Standing.QUARANTINED
            case OrderReleased():
                standing = Standing.OPEN
            case OrderRejected():
                standing = Standing.REJECTED
            case OrderCancelled():
                standing = Standing.CANCELLED
            case OrderExecuted(transactions=done):
                standing = Standing.EXECUTED
                transactions.update(transaction.reference for transaction in done)
            case OrderConfirmed():
                standing = Standing.CONFIRMED
            case OrderDisputed(case_id=case):
                disputes.add(case)
            case DisputeResolved(case_id=case):
                disputes.discard(case)
    return Order(first.index, recorded, standing, frozenset(transactions), frozenset(disputes))
