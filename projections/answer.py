"""The answer to a person who asks what is held of them (GDPR Art. 15), and the export they may take along (Art. 20).

The answer is complete: data now and as it was recorded, its sources, the recipients by name, how long it is kept, the
person's rights. The export holds what the person provided, on consent or contract. What does not live here: files
(api), and who looked at the data: that is in the log of access, which is a ledger of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ledger import Ledger
from ledger.state.disclosure import Stage
from ledger.state.retention import Term
from ledger.vocabulary import (
    ClientId,
    DisclosureId,
    LegalBasis,
    OrderId,
    Purpose,
    RecipientId,
    SourceKind,
    SubjectId,
    SubjectRole,
    Word,
)
from projections.consents import Consent
from projections.disclosures import Disclosure
from projections.holds import Hold
from projections.order_trail import OrderTrail
from projections.personal_data import FieldState, FieldVersion, IdentifierState
from projections.projection import AsOf
from projections.requests import RequestState
from projections.restrictions import Restriction
from projections.values import Values, ValueState, shown

if TYPE_CHECKING:
    from projections import Projections

# GDPR Art. 15(1)(e), 15(1)(f), 15(1)(h).
RIGHTS: Final = (
    "You may have wrong data corrected (Art. 16) and, where the law allows, erased (Art. 17) or restricted (Art. 18).",
    "You may object to processing (Art. 21); to offers at any time and without giving a reason.",
    "You may take along the data that you provided, on consent or contract, in a machine-readable form (Art. 20).",
    "You may withdraw a consent at any time, as easily as you gave it (Art. 7(3)).",
    "You may complain to the supervisory authority (Art. 77): in Estonia Andmekaitse Inspektsioon, www.aki.ee.",
    "This ledger records no automated decision about you (Art. 22).",
)
CONSULTATIONS: Final = (
    "Who looked at the data is recorded in the log of access, a ledger of its own; it is not part of this answer."
)

# GDPR Art. 20(1)(a): processed on consent or on a contract.
_PORTABLE: Final = frozenset((LegalBasis.CONSENT, LegalBasis.CONTRACT))


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The person's own statement about a field (GDPR Art. 16). `text` is None unless `state` is present."""

    field: Word
    state: ValueState
    text: str | None
    entry: int


class PurposeTold(msgspec.Struct, frozen=True, kw_only=True):
    """A purpose in the words of the policy. GDPR Art. 15(1)(a)."""

    purpose: Purpose
    description: str
    dpv: str


class RecipientTold(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to whom data went. GDPR Art. 15(1)(c); the actual recipient: CJEU C-154/21."""

    recipient_id: RecipientId
    disclosure_id: DisclosureId
    purpose: Purpose
    basis: LegalBasis
    fields: tuple[Word, ...]
    transmitted_at: datetime


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """All that is held of one person, as it was known at `valid_at`."""

    controller: str | None
    policy: str | None
    subject_id: SubjectId
    role: SubjectRole
    client_id: ClientId | None
    registered_at: datetime
    valid_at: datetime
    position: int
    data: tuple[FieldState, ...]
    history: tuple[FieldVersion, ...]
    identifiers: tuple[IdentifierState, ...]
    statements: tuple[Statement, ...]
    purposes: tuple[PurposeTold, ...]
    recipients: tuple[RecipientTold, ...]
    disclosures: tuple[Disclosure, ...]
    consents: tuple[Consent, ...]
    orders: tuple[OrderTrail, ...]
    requests: tuple[RequestState, ...]
    restrictions: tuple[Restriction, ...]
    holds: tuple[Hold, ...]
    retention: tuple[Term, ...]
    consultations: str
    rights: tuple[str, ...]


class Portable(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person takes along: a field, or the exact bytes of an order (`value` is then bytes)."""

    kind: str
    name: str
    value: Any
    true_since: datetime
    recorded_at: datetime
    purpose: Purpose | None
    basis: LegalBasis | None


def answer(projections: Projections, ledger: Ledger, subject_id: SubjectId, *, as_of: AsOf = None) -> Answer:
    """Return the answer of Art. 15 about a subject. Raises as `PersonalData.state`.

    Whoever calls this shows personal data: the doors record the access first.
    """
    state = projections.state(subject_id, as_of=as_of)
    in_force = projections.policy()
    disclosures = projections.disclosures(subject_id, as_of=as_of)
    history = projections.history(subject_id, as_of=as_of)
    purposes = sorted({version.purpose for version in history if version.purpose is not None})
    orders = projections.orders(subject_id=subject_id, as_of=as_of)
    return Answer(
        controller=None if in_force is None else in_force.controller,
        policy=None if in_force is None else in_force.version,
        subject_id=subject_id,
        role=state.role,
        client_id=state.client_id,
        registered_at=state.registered_at,
        valid_at=state.valid_at,
        position=state.position,
        data=tuple(state.fields.values()),
        history=history,
        identifiers=state.identifiers,
        statements=_statements(projections, ledger, subject_id, as_of),
        purposes=()
        if in_force is None
        else tuple(
            PurposeTold(purpose=purpose, description=rule.description, dpv=rule.dpv)
            for purpose in purposes
            if (rule := in_force.purposes.get(purpose)) is not None
        ),
        recipients=tuple(told for disclosure in disclosures if (told := _recipient(disclosure)) is not None),
        disclosures=disclosures,
        consents=projections.consents(subject_id, as_of=as_of),
        orders=tuple(projections.trail(order.order_id, as_of=as_of) for order in orders),
        requests=projections.requests(subject_id, as_of=as_of),
        restrictions=projections.restrictions(subject_id, as_of=as_of),
        holds=projections.holds(subject_id, as_of=as_of),
        retention=projections.retention(subject_id, as_of=as_of),
        consultations=CONSULTATIONS,
        rights=RIGHTS,
    )


def portable(projections: Projections, subject_id: SubjectId) -> Iterator[Portable]:
    """Yield what a subject may take along (Art. 20), one thing at a time: orders are not all held in memory at once.

    What came from elsewhere, what the company inferred, and what rests on another basis is not of it (Art. 20(1)).
    """
    state = projections.state(subject_id)
    for name, field in state.fields.items():
        provided = field.source is SourceKind.SUBJECT and field.basis in _PORTABLE
        if provided and field.state is ValueState.PRESENT:
            yield Portable(
                kind="field",
                name=name,
                value=field.value,
                true_since=field.valid_from,
                recorded_at=field.recorded_at,
                purpose=field.purpose,
                basis=field.basis,
            )
    for summary in projections.orders(subject_id=subject_id):
        if summary.subject_id == subject_id:
            yield from _order(projections, summary.order_id)


def _order(projections: Projections, order_id: OrderId) -> Iterator[Portable]:
    trail = projections.trail(order_id)
    for step in trail.steps:
        if step.content is not None and step.content.bytes is not None:
            yield Portable(
                kind="order",
                name=f"{order_id}/{step.index}",
                value=step.content.bytes,
                true_since=step.content.received_at,
                recorded_at=step.recorded_at,
                purpose=Purpose.CONTRACT,
                basis=LegalBasis.CONTRACT,
            )


def _statements(projections: Projections, ledger: Ledger, subject_id: SubjectId, as_of: AsOf) -> tuple[Statement, ...]:
    values = Values(ledger, subject_id)
    found = []
    for index in projections.statements(subject_id, as_of=as_of):
        event: Any = values.event(index)
        state, text = shown(event.statement)
        found.append(Statement(field=event.field, state=state, text=text, entry=index))
    return tuple(found)


def _recipient(disclosure: Disclosure) -> RecipientTold | None:
    sent = disclosure.at(Stage.TRANSMITTED)
    if sent is None:
        return None
    return RecipientTold(
        recipient_id=disclosure.recipient_id,
        disclosure_id=disclosure.disclosure_id,
        purpose=disclosure.purpose,
        basis=disclosure.basis,
        fields=sent.fields or disclosure.fields,
        transmitted_at=sent.recorded_at,
    )
