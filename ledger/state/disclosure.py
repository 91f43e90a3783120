"""How far a disclosure has come: requested → authorized → transmitted, or refused, failed, voided."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ledger.command import Boundary, Past, selector
from ledger.errors import DisclosureState, DisclosureUnknown
from ledger.events import (
    DisclosureAuthorized,
    DisclosureFailed,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    Event,
)
from ledger.vocabulary import DisclosureId, SubjectId, Word, disclosure_tag


class Stage(StrEnum):
    REQUESTED = "requested"
    AUTHORIZED = "authorized"
    REFUSED = "refused"
    TRANSMITTED = "transmitted"
    FAILED = "failed"
    VOIDED = "voided"


_STAGES: dict[type[Event], Stage] = {
    DisclosureAuthorized: Stage.AUTHORIZED,
    DisclosureRefused: Stage.REFUSED,
    DisclosureTransmitted: Stage.TRANSMITTED,
    DisclosureFailed: Stage.FAILED,
    DisclosureVoided: Stage.VOIDED,
}


class Disclosure(msgspec.Struct, frozen=True):
    stage: Stage
    request: DisclosureRequested
    authorization: DisclosureAuthorized | None

    @property
    def fields(self) -> tuple[Word, ...]:
        """What may be transmitted: what was authorized, which may be less than was asked for."""
        narrowed = self.authorization.fields if self.authorization is not None else None
        return self.request.fields if narrowed is None else narrowed

    def needs(self, *stages: Stage) -> None:
        """Raise DisclosureState unless the disclosure is at one of `stages`."""
        if self.stage not in stages:
            needed = " or ".join(stages)
            raise DisclosureState(disclosure=self.request.disclosure_id, state=self.stage, needed=needed)


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
