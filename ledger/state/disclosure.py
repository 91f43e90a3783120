"""How far a disclosure has come: requested → authorized → transmitted, or refused, or voided."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.errors import DisclosureState, DisclosureUnknown
from ledger.events import (
    DisclosureAuthorized,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    Event,
)
from ledger.vocabulary import DisclosureId, SubjectId, disclosure_tag


class Stage(StrEnum):
    REQUESTED = "requested"
    AUTHORIZED = "authorized"
    REFUSED = "refused"
    TRANSMITTED = "transmitted"
    VOIDED = "voided"


_STAGES: dict[type[Event], Stage] = {
    DisclosureAuthorized: Stage.AUTHORIZED,
    DisclosureRefused: Stage.REFUSED,
    DisclosureTransmitted: Stage.TRANSMITTED,
    DisclosureVoided: Stage.VOIDED,
}


class Disclosure(msgspec.Struct, frozen=True):
    stage: Stage
    request: DisclosureRequested
    authorization: DisclosureAuthorized | None

    def needs(self, stage: Stage) -> None:
        """Raise DisclosureState unless the disclosure is at `stage`."""
        if self.stage is not stage:
            raise DisclosureState(disclosure=self.request.disclosure_id, state=self.stage, needed=stage)


def steps(disclosure_id: DisclosureId) -> Boundary:
    """The boundary of `disclosure`."""
    return (selector(DisclosureRequested, *_STAGES, tags=[disclosure_tag(disclosure_id)]),)


def disclosure(past: Past, disclosure_id: DisclosureId, subject_id: SubjectId) -> Disclosure:
    """Return a subject's disclosure. Raises DisclosureUnknown, also when it is another subject's."""
    request = past.last(DisclosureRequested)
    if request is None or request.subject_id != subject_id:
        raise DisclosureUnknown(disclosure=disclosure_id, subject=subject_id)
    last = past.last(*_STAGES)
    stage = Stage.REQUESTED if last is None else _STAGES[type(last)]
    return Disclosure(stage, request, past.last(DisclosureAuthorized))
