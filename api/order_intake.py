"""Taking an order in: one file becomes one RecordOrder, and the same order twice is one order, for ever (clause 11).

An order that comes again has another order id and time of receipt than the first one was given, so it is asked for
again as the first one was, with these bytes: the ledger then compares what was asked with what was asked then. What
does not live here: the rules of orders (ledger.commands.order) and where files come from (cli, mail).
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ledger import Actor, Ledger, Receipt
from ledger.command import Command
from ledger.commands import AmendOrder, RecordOrder
from ledger.entry import event_of, parse
from ledger.errors import IdempotencyMismatch, Invalid
from ledger.events import OrderRecorded
from ledger.vocabulary import OUTSIDE, OrderChannel, OrderId, Word

NOT_CHECKED: Final = Word("not-checked")
# How far the clock of whoever orders may be from ours.
CLOCKS_APART: Final = timedelta(minutes=5)


class Taken(msgspec.Struct, frozen=True):
    """An order that is recorded: now, or (`again`) before, with the receipt of that time."""

    order_id: OrderId
    receipt: Receipt
    again: bool


def check_sender(command: Command, actor: Actor, now: datetime) -> None:
    """Raise Invalid where somebody says of their own order what is not theirs to say.

    How they were checked would release it unseen; another time of receipt would bring back a mandate or terms that
    ended; and an e-mail is taken in by whoever runs the mailbox, as its Message-ID makes it one order for everybody.
    """
    if actor.role not in OUTSIDE or not isinstance(command, RecordOrder | AmendOrder):
        return
    if isinstance(command, RecordOrder):
        if command.authentication != NOT_CHECKED:
            raise Invalid("authentication", "is for whoever checked the sender to say")
        if command.channel is not OrderChannel.SOFTWARE:
            raise Invalid("channel", "is software: an e-mail is taken in by whoever receives it")
    if abs(command.received_at - now) > CLOCKS_APART:
        raise Invalid("received_at", "is now: who receives an order says when")


def take_in(ledger: Ledger, command: RecordOrder, actor: Actor, *, key: str | None) -> Taken:
    """Record an order, once for each idempotency `key`. Raises what `Ledger.record` raises.

    IdempotencyMismatch says that the key was used for other bytes, another client or another person.
    """
    if key is None:
        return Taken(command.order_id, ledger.record(command, actor), again=False)
    before = _taken_before(ledger, command, actor, key)
    if before is None:
        try:
            return Taken(command.order_id, ledger.record(command, actor, idempotency_key=key), again=False)
        except IdempotencyMismatch:
            # Another process may have taken the same order in since we looked.
            before = _taken_before(ledger, command, actor, key)
            if before is None:
                raise
    first, by = before
    return Taken(first.order_id, ledger.record(first, by, idempotency_key=key), again=True)


async def atake_in(ledger: Ledger, command: RecordOrder, actor: Actor, *, key: str | None) -> Taken:
    """The same for a small order, without blocking the event loop; what it has to look up is looked up in a thread."""
    if key is not None and await asyncio.to_thread(ledger.recorded_under, key) is not None:
        return await asyncio.to_thread(take_in, ledger, command, actor, key=key)
    try:
        return Taken(command.order_id, await ledger.arecord(command, actor, idempotency_key=key), again=False)
    except IdempotencyMismatch:
        return await asyncio.to_thread(take_in, ledger, command, actor, key=key)


def _taken_before(ledger: Ledger, command: RecordOrder, actor: Actor, key: str) -> tuple[RecordOrder, Actor] | None:
    """Return `command` as it was asked for the first time under this key, and who asked; None when nobody did."""
    indexes = ledger.recorded_under(key)
    if indexes is None:
        return None
    entry = ledger.entry(indexes.start)
    event = event_of(parse(entry))
    if not isinstance(event, OrderRecorded):
        raise IdempotencyMismatch
    name = ledger.open_fields(entry).values().get("file_name", command.file_name)
    first = msgspec.structs.replace(
        command,
        order_id=event.order_id,
        received_at=event.received_at,
        terms_version=event.terms_version,
        authentication=event.authentication,
        # Once it is erased, only the name that the sender gives again can be compared.
        file_name=name if isinstance(name, str) else command.file_name,
    )
    return first, event.by
