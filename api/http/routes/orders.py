"""Orders: taken in as exact bytes, from the software or as e-mail; their trails, and the bytes again."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from api.http.ask import Ask
from api.http.commanding import TakenDocument
from api.http.door import media_type_of
from api.http.operation import BYTES, Intake, Reply, Shows, intake, query
from api.http.owners import About, order_of
from api.http.parameters import AS_OF, MIN_POSITION, PAGE, Parameter, id_parameter, moment, one_of, word_parameter
from api.order_file import MAIL, file_name, mail_facts, mail_key, media_type
from api.order_intake import NOT_CHECKED, check_sender
from ledger.commands import RecordOrder, UseOrder
from ledger.errors import Invalid, OrderUnknown
from ledger.vocabulary import (
    ClientId,
    MediaType,
    OrderChannel,
    OrderId,
    Reference,
    Word,
    check_media_type,
    check_reference,
    new_id,
)
from projections import OrderSummary, OrderTrail

MAX_FILE_NAME: Final = 1_024

_TERMS: Final = Parameter("terms", "The version of the terms in force (default: a setting).", check_reference)
_RECEIVED: Final = Parameter(
    "received_at", "When it arrived (default: now).", moment, {"type": "string", "format": "date-time"}
)
_WHO: Final = (
    id_parameter("client_id", "The company in whose name the order is.", required=True),
    id_parameter("subject_id", "Whoever gives the order.", required=True),
)
_CHANNEL: Final = Parameter(
    "channel", "software or email.", one_of(OrderChannel), {"type": "string", "enum": [*OrderChannel]}
)
_AUTHENTICATION: Final = word_parameter("authentication", "How the sender was checked, such as dkim-pass.")
_USE: Final = word_parameter("use", "What the record is used for, as the terms name it. Staff have to say it.")


def _about(ask: Ask) -> About:
    return About(client_id=ask.get("client_id"), subject_id=ask.get("subject_id"))


@intake(
    "upload-order", "/orders", result=TakenDocument,
    parameters=(
        *_WHO, _CHANNEL,
        _TERMS, _RECEIVED, _AUTHENTICATION, id_parameter("order_id", "The order's id (default: a fresh one)."),
    ),
    media_types=("*/*",), quick=lambda ask: ask.get("channel") is not OrderChannel.EMAIL, about=_about,
)  # fmt: skip
def upload_order(ask: Ask) -> Intake:
    """Record an order as the exact bytes of a file. Its name goes into the header File-Name, percent-encoded UTF-8."""
    stated = media_type_of(ask.headers)
    name = _file_name(ask)
    generic = stated in ("", BYTES, "application/x-www-form-urlencoded")
    kind = media_type(ask.body, name or "") if generic else MediaType(check_media_type(stated, "Content-Type"))
    return _order(ask, kind, ask.get("channel") or OrderChannel.SOFTWARE, name)


@intake(
    "upload-mail-order", "/orders/email", result=TakenDocument,
    parameters=(*_WHO, _TERMS, _RECEIVED, _AUTHENTICATION), media_types=(MAIL,), quick=lambda ask: False, about=_about,
)  # fmt: skip
def upload_mail(ask: Ask) -> Intake:
    """Record an order that came as an e-mail: the raw message. The same Message-ID again is the same order."""
    return _order(ask, MAIL, OrderChannel.EMAIL, _file_name(ask))


def _order(ask: Ask, kind: MediaType, channel: OrderChannel, name: str | None) -> Intake:
    if not ask.body:
        raise Invalid("content", "is empty: an order has at least one byte")
    key, claimed_at = ask.idempotency_key, None
    if kind == MAIL and channel is OrderChannel.EMAIL:
        facts = mail_facts(ask.body)
        key, claimed_at = key or mail_key(ask.body, facts), facts.sent_at
    command = RecordOrder(
        order_id=OrderId(ask.get("order_id") or new_id()),
        client_id=ask.needed("client_id"),
        subject_id=ask.needed("subject_id"),
        channel=channel,
        media_type=kind,
        content=ask.body,
        terms_version=Reference(ask.get("terms") or ask.service.settings.terms),
        received_at=ask.get("received_at") or ask.ledger.now(),
        authentication=Word(ask.get("authentication") or NOT_CHECKED),
        claimed_at=claimed_at,
        file_name=name,
    )
    check_sender(command, ask.caller.actor, ask.ledger.now())
    return Intake(command, key)


def _file_name(ask: Ask) -> str | None:
    text = ask.headers.get("file-name")
    if text is None:
        return None
    if not text.isascii() or len(text) > MAX_FILE_NAME:
        raise Invalid("File-Name", f"is percent-encoded UTF-8 of at most {MAX_FILE_NAME} characters")
    try:
        return file_name(unquote_to_bytes(text).decode())
    except UnicodeDecodeError:
        raise Invalid("File-Name", "is percent-encoded UTF-8") from None


@query(
    "list-subject-orders", "/subjects/{subject_id}/orders", shows=Shows.PERSONAL, result=OrderSummary, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_orders_of_subject(ask: Ask) -> Reply:
    """List the orders that a person took part in."""
    return Reply(items=ask.projections.orders(subject_id=ask.subject_id, as_of=ask.as_of))


@query(
    "list-client-orders", "/clients/{client_id}/orders", shows=Shows.PERSONAL, result=OrderSummary, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_orders_of_client(ask: Ask) -> Reply:
    """List the orders of a client."""
    found = ask.projections.orders(client_id=ClientId(ask.path["client_id"]), as_of=ask.as_of)
    return Reply(items=found, subject_of=lambda one: one.subject_id)


@query(
    "list-quarantined-orders", "/quarantine/orders", shows=Shows.PERSONAL, result=OrderSummary, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_quarantined(ask: Ask) -> Reply:
    """List the orders that wait until somebody decides."""
    return Reply(items=ask.projections.quarantine(as_of=ask.as_of), subject_of=lambda one: one.subject_id)


@query(
    "read-order", "/orders/{order_id}", shows=Shows.PERSONAL, result=OrderTrail,
    parameters=(AS_OF, MIN_POSITION, _USE),
)  # fmt: skip
def read_order(ask: Ask) -> Reply:
    """Read the trail of an order: recorded, amended, executed, confirmed, disputed, resolved; with its exact bytes."""
    _use(ask)
    trail = ask.projections.trail(ask.order_id, as_of=ask.as_of)
    return Reply(body=trail, subjects=(trail.subject_id,), fields=(Word("content"),))


@query(
    "read-order-content", "/orders/{order_id}/content", shows=Shows.PERSONAL, result=bytes,
    parameters=(AS_OF, MIN_POSITION, _USE), media_types=(BYTES,),
)  # fmt: skip
def read_content(ask: Ask) -> Reply:
    """Read the exact bytes of an order, as they were recorded."""
    _use(ask)
    trail = ask.projections.trail(ask.order_id, as_of=ask.as_of)
    if trail.content.bytes is None:
        raise OrderUnknown(order=ask.order_id)
    # Whatever the bytes are, no browser is to run them.
    headers = {
        "Content-Disposition": f'attachment; filename="order-{ask.order_id}"',
        "X-Media-Type": trail.content.media_type,
    }
    return Reply(
        body=trail.content.bytes, media_type=BYTES, headers=headers, subjects=(trail.subject_id,),
        fields=(Word("content"),),
    )  # fmt: skip


def _use(ask: Ask) -> None:
    """Record what an employee uses the record of an order for. Raises UseNotNamed for what the terms do not name."""
    if ask.by_staff:
        order = order_of(ask.ledger, ask.order_id)
        if order is None:
            raise OrderUnknown(order=ask.order_id)
        use = UseOrder(order_id=ask.order_id, subject_id=order.subject_id, use=Word(ask.needed("use")))
        ask.ledger.record(use, ask.caller.actor)
