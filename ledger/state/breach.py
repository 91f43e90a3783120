"""How far a breach has come: suspected → confirmed → assessed → closed; notices run beside. GDPR Art. 33, 34."""

from __future__ import annotations

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.errors import BreachState, BreachUnknown
from ledger.events import (
    AuthorityNotified,
    BreachAssessed,
    BreachClosed,
    BreachConfirmed,
    BreachSuspected,
    SubjectsNotified,
)
from ledger.vocabulary import BreachId, breach_tag


class Breach(msgspec.Struct, frozen=True):
    """What is known of a breach; None is what did not happen yet."""

    suspected: BreachSuspected
    confirmed: BreachConfirmed | None
    assessed: BreachAssessed | None
    authority: AuthorityNotified | None
    subjects: SubjectsNotified | None
    closed: BreachClosed | None


def breach_steps(breach_id: BreachId) -> Boundary:
    """The boundary of `breach`."""
    return (
        selector(
            BreachSuspected,
            BreachConfirmed,
            BreachAssessed,
            AuthorityNotified,
            SubjectsNotified,
            BreachClosed,
            tags=[breach_tag(breach_id)],
        ),
    )


def breach(past: Past, breach_id: BreachId) -> Breach:
    """Return a breach that is open. Raises BreachUnknown and BreachState."""
    suspected = past.last(BreachSuspected)
    if suspected is None:
        raise BreachUnknown(breach=breach_id)
    found = Breach(
        suspected,
        past.last(BreachConfirmed),
        past.last(BreachAssessed),
        past.last(AuthorityNotified),
        past.last(SubjectsNotified),
        past.last(BreachClosed),
    )
    if found.closed is not None:
        raise BreachState(breach=breach_id, state="closed", needed="a new suspicion opens a new one")
    return found


def aware_of(found: Breach) -> BreachConfirmed:
    """Return since when the company is aware of a breach. Raises BreachState while it is only suspected."""
    if found.confirmed is None:
        raise BreachState(
            breach=found.suspected.breach_id, state="only suspected", needed="confirm first that it is a breach"
        )
    return found.confirmed
