"""Which proposed corrections of a subject are open, and which contact addresses are owed a notice."""

from __future__ import annotations

from ledger.command import Boundary, Past, selector
from ledger.events import AddressNotified, CorrectionProposed, CorrectionRejected, DataCorrected
from ledger.vocabulary import Address, ProposalId, SubjectId, subject_tag


def proposals(subject_id: SubjectId) -> Boundary:
    """The boundary of `open_proposals`."""
    return (selector(CorrectionProposed, CorrectionRejected, DataCorrected, tags=[subject_tag(subject_id)]),)


def open_proposals(past: Past) -> dict[ProposalId, CorrectionProposed]:
    """Return the proposals that were neither made nor rejected, oldest first."""
    found: dict[ProposalId, CorrectionProposed] = {}
    for recorded in past.all:
        match recorded.event:
            case CorrectionProposed(proposal_id=proposal_id) as event:
                found[proposal_id] = event
            case CorrectionRejected(proposal_id=proposal_id) | DataCorrected(proposal_id=str(proposal_id)):
                found.pop(proposal_id, None)
    return found


def address_notices(subject_id: SubjectId) -> Boundary:
    """The boundary of `owed_addresses`."""
    return (selector(DataCorrected, AddressNotified, tags=[subject_tag(subject_id)]),)


def owed_addresses(past: Past) -> set[tuple[int, Address]]:
    """Return which address is to be told still, of which correction (its entry)."""
    owed: set[tuple[int, Address]] = set()
    for recorded in past.all:
        match recorded.event:
            case DataCorrected(notify_addresses=True):
                owed |= {(recorded.index, address) for address in Address}
            case AddressNotified(correction=correction, address=address):
                owed.discard((correction, address))
    return owed
