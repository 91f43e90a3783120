"""Whether fields collected for one purpose were found usable for another. GDPR Art. 5(1)(b), 6(4)."""

from __future__ import annotations

from collections.abc import Collection

from ledger.command import Boundary, Past, selector
from ledger.events import PurposeChangeAssessed
from ledger.vocabulary import Compatibility, LegalBasis, Purpose, Word, purpose_tag


def assessments(purpose: Purpose) -> Boundary:
    """The boundary of `compatible`."""
    return (selector(PurposeChangeAssessed, tags=[purpose_tag(purpose)]),)


def compatible(past: Past, field: Word, purpose: Purpose, reasons: Collection[tuple[Purpose, LegalBasis]]) -> bool:
    """Whether a field collected for these reasons may be used for `purpose`, which may be one of them.

    The last assessment of a pair of purposes counts. Where data rests on consent none helps: GDPR Art. 6(4).
    """
    if any(collected_for is purpose for collected_for, _ in reasons):
        return True
    outcomes: dict[Purpose, Compatibility] = {}
    for event in past.of(PurposeChangeAssessed):
        if event.purpose is purpose and field in event.fields:
            outcomes[event.from_purpose] = event.outcome
    return any(
        outcomes.get(collected_for) is Compatibility.COMPATIBLE
        for collected_for, basis in reasons
        if basis is not LegalBasis.CONSENT
    )
