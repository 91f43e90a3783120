"""Whose something is: the people and clients that an operation is about, and whether that is the caller's own.

A subject's own is what is about that subject; a client user's is what is about the client, its orders, and the people
whose data the client entered (processor role); an employee's is what is about the employee. Whom another client entered
is a stranger to a client user, in whatever field they are named; of an order that is there, everybody is but the person
whose order it is, those whom the client entered, and those who may order for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from api.http.identity import Caller
from ledger import Ledger
from ledger.command import Past, selector
from ledger.commands import RecordOrder
from ledger.events import OrderRecorded, SubjectRegistered
from ledger.state.mandate import mandate_of, mandates
from ledger.vocabulary import ActorId, ClientId, OrderId, Role, SubjectId, Tag, order_tag, subject_tag


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation is about, as far as that makes it somebody's."""

    subject_id: SubjectId | None = None
    client_id: ClientId | None = None
    order_id: OrderId | None = None
    employee_id: ActorId | None = None

    @classmethod
    def of(cls, thing: object) -> About:
        """Return what a command is about, by its fields. An order that is only being recorded is nobody's yet."""
        found = {name: getattr(thing, name, None) for name in cls.__struct_fields__}
        return cls(**found | ({"order_id": None} if isinstance(thing, RecordOrder) else {}))

    @property
    def is_personal(self) -> bool:
        """Whether it is about a person, or about an order, which is some person's."""
        return self.subject_id is not None or self.order_id is not None


def people_of(tags: Iterable[Tag]) -> tuple[SubjectId, ...]:
    """Return the people whom events with these tags are about, each once."""
    prefix = subject_tag(SubjectId(""))
    return tuple(dict.fromkeys(SubjectId(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix)))


class Order(msgspec.Struct, frozen=True):
    """Whose an order is."""

    subject_id: SubjectId
    client_id: ClientId


def order_of(ledger: Ledger, order_id: OrderId) -> Order | None:
    """Return whose an order is, None when there is none."""
    for recorded in ledger.recall((selector(OrderRecorded, tags=[order_tag(order_id)]),)):
        if isinstance(recorded.event, OrderRecorded):
            return Order(recorded.event.subject_id, recorded.event.client_id)
    return None


def client_of(ledger: Ledger, subject_id: SubjectId) -> ClientId | None:
    """Return the client who entered a subject's data, None when nobody did."""
    for recorded in ledger.recall((selector(SubjectRegistered, tags=[subject_tag(subject_id)]),)):
        if isinstance(recorded.event, SubjectRegistered):
            return recorded.event.client_id
    return None


def owns(ledger: Ledger, caller: Caller, about: About) -> bool:
    """Whether all that an operation is about is the caller's own."""
    order = None if about.order_id is None else order_of(ledger, about.order_id)
    if about.order_id is not None and order is None:
        return False
    match caller.actor.role:
        case Role.SUBJECT:
            named = [about.subject_id] if about.subject_id is not None else []
            if order is not None:
                named.append(order.subject_id)
            return bool(named) and all(str(one) == caller.actor.id for one in named)
        case Role.CLIENT_USER:
            clients = [about.client_id] if about.client_id is not None else []
            if order is not None:
                clients.append(order.client_id)
            if not clients:
                return about.subject_id is not None and client_of(ledger, about.subject_id) == caller.client_id
            if any(one != caller.client_id for one in clients):
                return False
            return about.subject_id is None or not _is_stranger(ledger, clients[0], about.subject_id, order)
        case _:
            return caller.actor.id in (about.employee_id, about.subject_id)


def _is_stranger(ledger: Ledger, client_id: ClientId, subject_id: SubjectId, order: Order | None) -> bool:
    """Whether a person has nothing to do with a client that names them, with an order of it or without."""
    entered_by = client_of(ledger, subject_id)
    if entered_by == client_id or (order is not None and order.subject_id == subject_id):
        return False
    if entered_by is None and order is None:
        # A client may name whom nobody entered, in an order or a mandate: the rules say whether the order waits.
        return False
    past = Past()
    past.all = ledger.recall(mandates(client_id))
    return mandate_of(past, client_id, subject_id, ledger.now()) is None
