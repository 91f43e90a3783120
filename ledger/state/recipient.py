"""Whether a recipient is registered, and in force at a moment. Clause 12."""

from __future__ import annotations

from datetime import datetime

from ledger.command import Boundary, Past, selector
from ledger.errors import RecipientEndedAlready, RecipientExpired, RecipientUnknown
from ledger.events import RecipientEnded, RecipientRegistered
from ledger.vocabulary import RecipientId, recipient_tag


def registrations(recipient_id: RecipientId | None) -> Boundary:
    """The boundary of `recipient`; nothing for an event of before recipients were looked at."""
    if recipient_id is None:
        return ()
    return (selector(RecipientRegistered, RecipientEnded, tags=[recipient_tag(recipient_id)]),)


def recipient(past: Past, recipient_id: RecipientId) -> RecipientRegistered:
    """Return the last registration of a recipient, ended or not. Raises RecipientUnknown."""
    for recorded in reversed(past.all):
        if isinstance(recorded.event, RecipientRegistered) and recorded.event.recipient_id == recipient_id:
            return recorded.event
    raise RecipientUnknown(recipient=recipient_id)


def ended(past: Past, recipient_id: RecipientId) -> bool:
    """Whether the last registration of a recipient was ended."""
    is_ended = False
    for event in past.of(RecipientRegistered, RecipientEnded):
        if isinstance(event, RecipientRegistered | RecipientEnded) and event.recipient_id == recipient_id:
            is_ended = isinstance(event, RecipientEnded)
    return is_ended


def recipient_in_force(past: Past, recipient_id: RecipientId, now: datetime) -> RecipientRegistered:
    """Return a recipient that may be sent to. Raises RecipientUnknown, RecipientEndedAlready, RecipientExpired."""
    found = recipient(past, recipient_id)
    if ended(past, recipient_id):
        raise RecipientEndedAlready(recipient=recipient_id)
    if now < found.valid_from or (found.valid_to is not None and now >= found.valid_to):
        raise RecipientExpired(recipient=recipient_id)
    return found
