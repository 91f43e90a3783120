"""Which consents of a subject are live."""

from __future__ import annotations

from collections.abc import Collection

from ledger.command import Boundary, Past, selector
from ledger.events import ConsentGiven, ConsentWithdrawn, SubjectsMerged, SubjectsUnmerged
from ledger.state.merge import stances
from ledger.vocabulary import ConsentId, Purpose, RecipientId, SubjectId, Word, subject_tag


def consents(subject_id: SubjectId) -> Boundary:
    """The boundary of `live_consents` and `permissions`."""
    return (selector(ConsentGiven, ConsentWithdrawn, SubjectsMerged, SubjectsUnmerged, tags=[subject_tag(subject_id)]),)


def live_consents(past: Past, subject_id: SubjectId) -> dict[ConsentId, ConsentGiven]:
    """Return the consents of a subject that were given and not withdrawn, oldest first."""
    live: dict[ConsentId, ConsentGiven] = {}
    for recorded in past.all:
        match recorded.event:
            case ConsentGiven(consent_id=consent_id, subject_id=owner) as given if owner == subject_id:
                live[consent_id] = given
            case ConsentWithdrawn(consent_id=consent_id, subject_id=owner) if owner == subject_id:
                live.pop(consent_id, None)
    return live


def still_permits(past: Past, consent_id: ConsentId | None, subject_id: SubjectId) -> bool:
    """Whether the consent that an authorization rested on is live still. Another one since then does not revive it."""
    return consent_id is not None and consent_id in live_consents(past, subject_id)


def permissions(
    past: Past, subject_id: SubjectId, *, recipient_id: RecipientId | None, purpose: Purpose, fields: Collection[Word]
) -> list[ConsentGiven]:
    """Return the live consents for exactly this recipient (None: the company itself) and purpose, oldest first.

    Each names every one of `fields`. While records are merged, what the person withdrew on another of them withdraws it
    here.
    """
    for no in stances(past, subject_id).withdrawn:
        if no.subject_id != subject_id and (no.recipient_id, no.purpose) == (recipient_id, purpose):
            return []
    return [
        consent
        for consent in live_consents(past, subject_id).values()
        if (consent.recipient_id, consent.purpose) == (recipient_id, purpose) and set(fields) <= set(consent.fields)
    ]
