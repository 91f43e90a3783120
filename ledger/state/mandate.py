"""Who may give orders for a client now. A client that never named anybody has left it open."""

from __future__ import annotations

from datetime import datetime

from ledger.command import Boundary, Past, selector
from ledger.events import MandateGiven, MandateRevoked
from ledger.vocabulary import ClientId, MandateId, SubjectId, client_tag


def mandates(client_id: ClientId) -> Boundary:
    """The boundary of `live_mandates`."""
    return (selector(MandateGiven, MandateRevoked, tags=[client_tag(client_id)]),)


def live_mandates(past: Past, client_id: ClientId, at: datetime) -> dict[MandateId, MandateGiven]:
    """Return the mandates of a client that hold at a moment, oldest first."""
    found: dict[MandateId, MandateGiven] = {}
    for recorded in past.all:
        match recorded.event:
            case MandateGiven(mandate_id=mandate_id, client_id=client) as given if client == client_id:
                found[mandate_id] = given
            case MandateRevoked(mandate_id=mandate_id):
                found.pop(mandate_id, None)
    return {name: given for name, given in found.items() if given.valid_to is None or at <= given.valid_to}


def mandate_of(past: Past, client_id: ClientId, subject_id: SubjectId, at: datetime) -> MandateId | None:
    """Return the mandate under which a person may order for a client, None when there is none."""
    for mandate_id, given in live_mandates(past, client_id, at).items():
        if given.subject_id == subject_id:
            return mandate_id
    return None


def names_people(past: Past, client_id: ClientId) -> bool:
    """Whether a client ever said who may order for it: then nobody else may."""
    return any(given.client_id == client_id for given in past.of(MandateGiven))
