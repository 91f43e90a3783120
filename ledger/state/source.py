"""Sources and their guarantees: whether a batch is covered, and whether what came through it may be used. Clause 10."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from ledger.command import Boundary, Past, selector
from ledger.errors import BatchUnknown, SourceUnknown
from ledger.events import BatchImported, BatchQuarantined, GuaranteeRevoked, LawfulnessGuaranteed, SourceRegistered
from ledger.vocabulary import (
    GUARANTEES_TAG,
    BatchId,
    GuaranteeId,
    Purpose,
    SourceId,
    Word,
    batch_tag,
    source_tag,
)


def guarantees(source_id: SourceId) -> Boundary:
    """The boundary of `source` and `lack`."""
    return (selector(SourceRegistered, LawfulnessGuaranteed, GuaranteeRevoked, tags=[source_tag(source_id)]),)


def source(past: Past, source_id: SourceId) -> SourceRegistered:
    """Return the registration of a source. Raises SourceUnknown."""
    found = past.last(SourceRegistered)
    if found is None or found.source_id != source_id:
        raise SourceUnknown(source=source_id)
    return found


def lack(
    past: Past,
    guarantee_id: GuaranteeId | None,
    *,
    source_id: SourceId,
    purpose: Purpose,
    categories: Collection[Word],
    now: datetime,
) -> Word | None:
    """Return what a guarantee lacks to cover this issuer, purpose, these categories and this moment; None: nothing."""
    given = next((g for g in past.of(LawfulnessGuaranteed) if g.guarantee_id == guarantee_id), None)
    if given is None or given.source_id != source_id:
        return Word("guarantee-missing")
    if guarantee_id in revoked(past):
        return Word("guarantee-revoked")
    if not given.valid_from <= now < given.valid_to:
        return Word("guarantee-expired")
    if given.purpose is not purpose or not set(categories) <= set(given.categories):
        return Word("guarantee-too-narrow")
    return None


def revocations() -> Boundary:
    """The boundary of `revoked`: every revocation there is; they are few."""
    return (selector(GuaranteeRevoked, tags=[GUARANTEES_TAG]),)


def revoked(past: Past) -> frozenset[GuaranteeId]:
    """Return the guarantees that were revoked."""
    return frozenset(event.guarantee_id for event in past.of(GuaranteeRevoked))


def batches(batch_id: BatchId | None) -> Boundary:
    """The boundary of `batch`; nothing for what was not imported."""
    if batch_id is None:
        return ()
    return (selector(BatchImported, BatchQuarantined, tags=[batch_tag(batch_id)]),)


def batch(past: Past, batch_id: BatchId) -> BatchImported | BatchQuarantined:
    """Return what became of a batch. Raises BatchUnknown."""
    for event in past.of(BatchImported, BatchQuarantined):
        if isinstance(event, BatchImported | BatchQuarantined) and event.batch_id == batch_id:
            return event
    raise BatchUnknown(batch=batch_id)
