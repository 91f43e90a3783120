"""The accounting of disclosures: who was to get what of a subject, on which basis, and what became of it.

GDPR Art. 15(1)(c): the actual recipients. A refusal and a voided authorization are part of the account. What is secret
until a date is in the officer's account only: everybody else's has no sign of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from ledger import Actor, Ledger
from ledger.events import (
    DisclosureAuthorized,
    DisclosureFailed,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    Event,
    Statute,
)
from ledger.state.disclosure import Stage
from ledger.vocabulary import ConsentId, DisclosureId, LegalBasis, Purpose, RecipientId, Role, SubjectId, Word
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Rows, Store, Writer


class DisclosureStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step. What a step does not say is None; `fields` are those asked for, or those transmitted."""

    stage: Stage
    index: int
    recorded_at: datetime
    by: Actor
    fields: tuple[Word, ...] | None = None
    reason: Word | None = None  # of a refusal or of voiding
    consent_id: ConsentId | None = None  # the consent an authorization rests on; None where law requires it
    expires_at: datetime | None = None


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """A disclosure as it was known: what was asked for, how far it came, and each step in order."""

    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    basis: LegalBasis
    fields: tuple[Word, ...]
    statute: Statute | None
    stage: Stage
    steps: tuple[DisclosureStep, ...]
    secret_until: datetime | None = None

    def at(self, stage: Stage) -> DisclosureStep | None:
        """Return the step that brought it to `stage`, None when it never came there."""
        return next((step for step in self.steps if step.stage is stage), None)


class _Step(msgspec.Struct, frozen=True, array_like=True):
    """A row of disclosure_steps, without its subject."""

    index: int
    disclosure_id: DisclosureId
    recorded_at: datetime
    stage: Stage
    actor: str
    role: str
    recipient_id: RecipientId | None
    purpose: Purpose | None
    basis: LegalBasis | None
    fields: str | None
    statute: str | None
    consent_id: ConsentId | None
    expires_at: datetime | None
    reason: Word | None
    secret_until: datetime | None


_STEPS: Final = """
SELECT idx, disclosure, recorded_at, stage, actor, role, recipient, purpose, basis, fields, statute, consent,
       expires_at, reason, secret_until
FROM disclosure_steps WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_SECRETS: Final = """
SELECT disclosure, secret_until FROM disclosure_steps WHERE subject = ? AND secret_until IS NOT NULL
"""
_encode = msgspec.json.encode


class Disclosures(Projection):
    """Every step of every disclosure, by subject."""

    NAME: ClassVar[str] = "disclosures"
    VERSION: ClassVar[int] = 2
    EVENTS: ClassVar[Mapping[type[Event], Any]] = {
        DisclosureRequested: Stage.REQUESTED,
        DisclosureAuthorized: Stage.AUTHORIZED,
        DisclosureRefused: Stage.REFUSED,
        DisclosureTransmitted: Stage.TRANSMITTED,
        DisclosureFailed: Stage.FAILED,
        DisclosureVoided: Stage.VOIDED,
    }

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        steps: list[Row] = []
        for item in batch:
            event: Any = item.event
            head = (
                item.index, event.disclosure_id, event.subject_id, item.recorded_at, self.EVENTS[type(event)],
                event.by.id, event.by.role,
            )  # fmt: skip
            if isinstance(event, DisclosureRequested):
                said: Row = (
                    event.recipient_id, event.purpose, event.basis, _encode(event.fields).decode(),
                    None if event.statute is None else _encode(event.statute).decode(), None, None, None,
                    None if event.secret_until is None else event.secret_until.isoformat(),
                )  # fmt: skip
            elif isinstance(event, DisclosureAuthorized):
                fields = None if event.fields is None else _encode(event.fields).decode()
                said = (None, None, None, fields, None, event.consent_id, event.expires_at.isoformat(), None, None)
            elif isinstance(event, DisclosureTransmitted):
                said = (event.recipient_id, None, None, _encode(event.fields).decode(), None, None, None, None, None)
            else:
                said = (None, None, None, None, None, None, None, event.reason, None)
            steps.append(head + said)
        writer.insert("disclosure_steps", steps)

    def disclosures(
        self, subject_id: SubjectId, *, viewer: Role = Role.SUBJECT, as_of: AsOf = None
    ) -> tuple[Disclosure, ...]:
        """Return every disclosure of a subject's data as of then, in the order they were asked for.

        One that is secret still is there for the officer only. A subject who is not known has none. Raises
        StorageError, and Invalid for a moment without time zone.
        """
        with self._store.read() as rows:
            steps = msgspec.convert(rows(_STEPS, subject_id, *bound(as_of)), list[_Step])
            secret = hidden(rows, subject_id, viewer, self._ledger.now())
        by_id: dict[DisclosureId, list[_Step]] = {}
        for step in steps:
            if step.disclosure_id in secret:
                continue
            by_id.setdefault(step.disclosure_id, []).append(step)
        return tuple(_disclosure(subject_id, found) for found in by_id.values() if found[0].stage is Stage.REQUESTED)


def hidden(rows: Rows, subject_id: SubjectId, viewer: Role, now: datetime) -> frozenset[DisclosureId]:
    """Return the disclosures that a viewer must not learn of at `now`, whatever moment is asked about."""
    if viewer is Role.OFFICER:
        return frozenset()
    secrets = rows(_SECRETS, subject_id)
    return frozenset(disclosure for disclosure, until in secrets if now < datetime.fromisoformat(until))


def _disclosure(subject_id: SubjectId, steps: Sequence[_Step]) -> Disclosure:
    request = steps[0]
    assert request.recipient_id is not None
    assert request.purpose is not None
    assert request.basis is not None
    return Disclosure(
        disclosure_id=request.disclosure_id,
        subject_id=subject_id,
        recipient_id=request.recipient_id,
        purpose=request.purpose,
        basis=request.basis,
        fields=_words(request.fields) or (),
        statute=None if request.statute is None else msgspec.json.decode(request.statute, type=Statute),
        stage=steps[-1].stage,
        secret_until=request.secret_until,
        steps=tuple(
            DisclosureStep(
                stage=step.stage,
                index=step.index,
                recorded_at=step.recorded_at,
                by=msgspec.convert({"id": step.actor, "role": step.role}, Actor),
                fields=_words(step.fields),
                reason=step.reason,
                consent_id=step.consent_id,
                expires_at=step.expires_at,
            )
            for step in steps
        ),
    )


def _words(encoded: str | None) -> tuple[Word, ...] | None:
    return None if encoded is None else msgspec.json.decode(encoded, type=tuple[Word, ...])
