"""Until when a read is not to be shown to the people whom it is about, as it would betray a secret disclosure.

Clause 6: a disclosure that the law requires may be secret until a date. What the officer, or whoever sees entries,
read of it is recorded at once and in full; the person learns of that read when they may learn of the disclosure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from api.http.ask import Ask
from ledger.vocabulary import DisclosureId, Role, SubjectId, Tag, disclosure_tag
from projections import Projections

_DISCLOSURE: Final = disclosure_tag(DisclosureId(""))


def sees_secrets(ask: Ask) -> bool:
    """Whether the projections show this caller what is secret: the officer alone."""
    return ask.caller.actor.role is Role.OFFICER


def concerns_disclosure(tags: Iterable[Tag]) -> bool:
    """Whether entries with these tags are of a disclosure."""
    return any(tag.startswith(_DISCLOSURE) for tag in tags)


def secret_until(
    projections: Projections, subjects: Iterable[SubjectId], now: datetime
) -> Mapping[SubjectId, datetime]:
    """Return those of these people of whom a disclosure is secret at `now`, each with the last moment that it is."""
    found: dict[SubjectId, datetime] = {}
    for subject_id in subjects:
        moments = (one.secret_until for one in projections.disclosures(subject_id, viewer=Role.OFFICER))
        if secret := [one for one in moments if one is not None and now < one]:
            found[subject_id] = max(secret)
    return found
