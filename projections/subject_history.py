"""All that was recorded of a person, in order, as a viewer may see it: page by page, without a sign of what is secret.

A disclosure that is secret until a date (clause 6) is absent from events, counts and pages alike for everybody but the
officer. Entries as they stand in the log, and proofs of a tag, are not for the person while one is secret: the counters
of their tags count it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec

from ledger import Ledger
from ledger.command import Recorded, query_of, selector
from ledger.errors import Invalid
from ledger.events import (
    ConsentGiven,
    ConsentWithdrawn,
    DataSentToProcessor,
    DisclosureRequested,
    DisclosureTransmitted,
    LegalHoldPlaced,
    LegalHoldReleased,
    LegalHoldReviewed,
    MarketingConsentGiven,
    MarketingConsentWithdrawn,
    MarketingObjected,
    ProcessingRestricted,
    RecipientNotified,
    RestrictionLifted,
)
from ledger.vocabulary import DisclosureId, RecipientId, Role, SubjectId, subject_tag
from projections.projection import AsOf, bound, text

MAX_PAGE: Final = 1_000

# What is tagged for every record of a person while records are merged: who parted since is another person.
_HEARD: Final = (
    ConsentGiven,
    ConsentWithdrawn,
    MarketingConsentGiven,
    MarketingConsentWithdrawn,
    MarketingObjected,
    ProcessingRestricted,
    RestrictionLifted,
    LegalHoldPlaced,
    LegalHoldReviewed,
    LegalHoldReleased,
)


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of what was recorded of a person, personal fields sealed. `total` counts all that the viewer may see.

    `after` is what to ask for next with, None at the end.
    """

    events: tuple[Recorded, ...]
    total: int
    after: int | None


def subject_history(
    ledger: Ledger,
    subject_id: SubjectId,
    *,
    viewer: Role = Role.SUBJECT,
    after: int = 0,
    limit: int = 100,
    as_of: AsOf = None,
) -> HistoryPage:
    """Return the next `limit` events of a person (1 to 1,000) from index `after` on, known as of then.

    A subject who is not known has none. Raises Invalid for a limit out of bounds and a moment without time zone.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid("limit", f"is between 1 and {MAX_PAGE:,}")
    known = bound(as_of)
    found = [
        one
        for one in _seen(ledger, subject_id, viewer)
        if one.index < known.end and text(one.recorded_at) <= known.moment
    ]
    page = [one for one in found if one.index >= after]
    more = page[limit].index if len(page) > limit else None
    return HistoryPage(events=tuple(page[:limit]), total=len(found), after=more)


def _seen(ledger: Ledger, subject_id: SubjectId, viewer: Role) -> Iterator[Recorded]:
    """Yield what a viewer may see now, whatever moment is asked about: what was secret then may be told since."""
    everything = list(ledger.read(query_of([selector(tags=[subject_tag(subject_id)])])))
    secret = {} if viewer is Role.OFFICER else _secret(everything, ledger.now())
    told = {
        one.event.recipient_id
        for one in everything
        if isinstance(one.event, DisclosureTransmitted | DataSentToProcessor)
        and getattr(one.event, "disclosure_id", None) not in secret
    }
    for one in everything:
        event = one.event
        if getattr(event, "disclosure_id", None) in secret:
            continue
        if isinstance(event, _HEARD) and event.subject_id != subject_id:
            continue
        # A notice to somebody who got nothing openly gives the secret away.
        if isinstance(event, RecipientNotified) and event.recipient_id in {*secret.values()} - told:
            continue
        yield one


def _secret(everything: list[Recorded], now: datetime) -> Mapping[DisclosureId, RecipientId]:
    return {
        one.event.disclosure_id: one.event.recipient_id
        for one in everything
        if isinstance(one.event, DisclosureRequested)
        and one.event.secret_until is not None
        and now < one.event.secret_until
    }
