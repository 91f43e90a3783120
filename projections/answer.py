"""The answer to a person who asks what is held of them (GDPR Art. 15), and the export they may take along (Art. 20).

The answer is complete: data now and as it was recorded, its categories and sources, the recipients by name, offers,
how long it is kept, the person's rights. The export holds what the person provided, on consent or contract. What does
not live here: files (api), and who looked at the data: that is in the log of access, a ledger of its own, and whoever
has it open passes it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ledger import Ledger
from ledger.policy import Policy
from ledger.state.retention import Term
from ledger.vocabulary import (
    CaseId,
    ClientId,
    Country,
    LegalBasis,
    MediaType,
    OrderId,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    Role,
    SourceKind,
    SubjectId,
    SubjectRole,
    TransferBasis,
    Word,
)
from projections.consents import Consent
from projections.disclosures import Disclosure
from projections.documents import Binding
from projections.holds import Hold
from projections.marketing import ContactStep
from projections.order_trail import OrderTrail
from projections.personal_data import FieldState, FieldVersion, IdentifierState
from projections.projection import AsOf
from projections.recipients import NamedRecipient
from projections.requests import RequestState
from projections.restrictions import Restriction
from projections.sources import Origin
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
# GDPR Art. 20(1)(a): processed on consent or on a contract.
_PORTABLE: Final = frozenset((LegalBasis.CONSENT, LegalBasis.CONTRACT))


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The person's own statement about a field (GDPR Art. 16). `text` is None unless `state` is present."""

    field: Word
    state: ValueState
    text: str | None
    entry: int


class Consultation(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looked at the person's data (clause 4). `who` is a pseudonym, `door` what they looked through."""

    at: datetime
    role: Role
    who: str
    purpose: Purpose | None
    fields: tuple[Word, ...]
    door: Word
    case_id: CaseId | None = None


class CategoryTold(msgspec.Struct, frozen=True, kw_only=True):
    """A category of personal data, and the fields of it that are on record. GDPR Art. 15(1)(b)."""

    category: Word
    description: str
    dpv: str
    special: bool  # of GDPR Art. 9
    fields: tuple[Word, ...]


class SourceTold(msgspec.Struct, frozen=True, kw_only=True):
    """Where fields came from, by name where it is registered. GDPR Art. 15(1)(g)."""

    source: SourceKind
    name: str | None
    reference: Reference | None  # where in a public register, or under which guarantee
    fields: tuple[Word, ...]
    first_at: datetime


class PurposeTold(msgspec.Struct, frozen=True, kw_only=True):
    """A purpose in the words of the policy. GDPR Art. 15(1)(a)."""

    purpose: Purpose
    description: str
    dpv: str


class RecipientTold(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to whom data went. GDPR Art. 15(1)(c); the actual recipient: CJEU C-154/21.

    `name` is None when it is erased (a sole trader's) or was never registered. `standing`: has everything, as hosting
    has. `third_party` is False for a processor. `transfer_basis` is the safeguard outside the EEA: Art. 15(2).
    """

    recipient_id: RecipientId
    name: str | None
    category: RecipientCategory | None
    country: Country | None
    transfer_basis: TransferBasis | None
    third_party: bool
    standing: bool
    fields: tuple[Word, ...]
    purposes: tuple[Purpose, ...]
    times: int
    first_at: datetime
    last_at: datetime


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """All that is held of one person, as it was known at `valid_at`.

    `records` are the ids of the person's records that are merged: this answer is about one of them. `consultations`
    is None where the log of access was not at hand.
    """

    controller: str | None
    contact: str | None
    officer: str | None
    policy: str | None
    subject_id: SubjectId
    role: SubjectRole
    client_id: ClientId | None
    records: tuple[SubjectId, ...]
    registered_at: datetime
    valid_at: datetime
    position: int
    data: tuple[FieldState, ...]
    history: tuple[FieldVersion, ...]
    identifiers: tuple[IdentifierState, ...]
    statements: tuple[Statement, ...]
    purposes: tuple[PurposeTold, ...]
    categories: tuple[CategoryTold, ...]
    sources: tuple[SourceTold, ...]
    recipients: tuple[RecipientTold, ...]
    disclosures: tuple[Disclosure, ...]
    consents: tuple[Consent, ...]
    offers: tuple[ContactStep, ...]
    documents: tuple[Binding, ...]
    orders: tuple[OrderTrail, ...]
    requests: tuple[RequestState, ...]
    restrictions: tuple[Restriction, ...]
    holds: tuple[Hold, ...]
    retention: tuple[Term, ...]
    consultations: tuple[Consultation, ...] | None
    rights: tuple[str, ...]


class Portable(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person takes along: a field, or the exact bytes of an order (`value` is then bytes).

    `media_type` and `file_name` are those of an order.
    """

    kind: str
    name: str
    value: Any
    media_type: MediaType | None = None
    file_name: str | None = None
    true_since: datetime
    recorded_at: datetime
    purpose: Purpose | None
    basis: LegalBasis | None


def answer(
    projections: Projections,
    ledger: Ledger,
    subject_id: SubjectId,
    *,
    as_of: AsOf = None,
    consultations: Sequence[Consultation] | None = None,
) -> Answer:
    """Return the answer of Art. 15 about a subject. Raises as `PersonalData.state`.

    `consultations` are those of the log of access. Whoever calls this shows personal data: the doors record the access
    first.
    """
    state = projections.state(subject_id, as_of=as_of)
    in_force = projections.policy(as_of=as_of)
    about = None if in_force is None else in_force.record
    disclosures = projections.disclosures(subject_id, as_of=as_of)
    history = projections.history(subject_id, as_of=as_of)
    recipients = tuple(map(recipient_told, projections.recipients_of(subject_id, as_of=as_of)))
    consents = projections.consents(subject_id, as_of=as_of)
    purposes = {version.purpose for version in history} | {purpose for one in recipients for purpose in one.purposes}
    orders = projections.orders(subject_id=subject_id, as_of=as_of)
    return Answer(
        controller=None if in_force is None else in_force.controller,
        contact=(about and about.contact) or None,
        officer=(about and about.officer) or None,
        policy=None if in_force is None else in_force.version,
        subject_id=subject_id,
        role=state.role,
        client_id=state.client_id,
        records=projections.person(subject_id, as_of=as_of),
        registered_at=state.registered_at,
        valid_at=state.valid_at,
        position=state.position,
        data=tuple(state.fields.values()),
        history=history,
        identifiers=state.identifiers,
        statements=_statements(projections, ledger, subject_id, as_of),
        purposes=_purposes(in_force, purposes | {consent.purpose for consent in consents}),
        categories=_categories(in_force, state.fields),
        sources=_sources(history, projections.origins(subject_id, as_of=as_of)),
        recipients=recipients,
        disclosures=disclosures,
        consents=consents,
        offers=projections.contact(subject_id, as_of=as_of),
        documents=projections.bindings(subject_id, state.valid_at, as_of=as_of),
        orders=tuple(projections.trail(order.order_id, as_of=as_of) for order in orders),
        requests=projections.requests(subject_id, as_of=as_of),
        restrictions=projections.restrictions(subject_id, as_of=as_of),
        holds=projections.holds(subject_id, as_of=as_of),
        retention=projections.retention(subject_id, as_of=as_of),
        consultations=None if consultations is None else tuple(consultations),
        rights=RIGHTS,
    )


def portable(projections: Projections, subject_id: SubjectId, *, as_of: AsOf = None) -> Iterator[Portable]:
    """Yield what a subject may take along (Art. 20), one thing at a time: orders are not all held in memory at once.

    What came from elsewhere, what the company inferred, and what rests on another basis is not of it (Art. 20(1)).
    Raises as `PersonalData.state`.
    """
    state = projections.state(subject_id, as_of=as_of)
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
    for summary in projections.orders(subject_id=subject_id, as_of=as_of):
        if summary.subject_id == subject_id:
            yield from _order(projections, summary.order_id, as_of)


def _order(projections: Projections, order_id: OrderId, as_of: AsOf) -> Iterator[Portable]:
    trail = projections.trail(order_id, as_of=as_of)
    for step in trail.steps:
        if step.content is not None and step.content.bytes is not None:
            yield Portable(
                kind="order",
                name=f"{order_id}/{step.index}",
                value=step.content.bytes,
                media_type=step.content.media_type,
                file_name=step.content.file_name,
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


def _purposes(in_force: Policy | None, purposes: Iterable[Purpose | None]) -> tuple[PurposeTold, ...]:
    rules = {} if in_force is None else in_force.purposes
    named = sorted(purpose for purpose in purposes if purpose is not None and purpose in rules)
    return tuple(
        PurposeTold(purpose=purpose, description=rules[purpose].description, dpv=rules[purpose].dpv)
        for purpose in named
    )


def _categories(in_force: Policy | None, fields: Iterable[Word]) -> tuple[CategoryTold, ...]:
    if in_force is None:
        return ()
    by_category: dict[Word, list[Word]] = {}
    for field in fields:
        if field in in_force.fields:
            by_category.setdefault(in_force.fields[field].category, []).append(field)
    return tuple(
        CategoryTold(
            category=category,
            description=in_force.categories[category].description,
            dpv=in_force.categories[category].dpv,
            special=in_force.categories[category].special,
            fields=tuple(sorted(found)),
        )
        for category, found in sorted(by_category.items())
    )


def _sources(history: Sequence[FieldVersion], origins: Sequence[Origin]) -> tuple[SourceTold, ...]:
    names = {origin.index: origin.name for origin in origins}
    found: dict[tuple[SourceKind, str | None, Reference | None], list[FieldVersion]] = {}
    for version in history:
        # A correction says by whom and how, in the history; the source is that of what it corrects.
        if version.source is not None and version.channel is None:
            key = version.source, names.get(version.version), version.source_reference
            found.setdefault(key, []).append(version)
    return tuple(
        SourceTold(
            source=source,
            name=name,
            reference=reference,
            fields=tuple(sorted({version.field for version in versions})),
            first_at=versions[0].recorded_at,
        )
        for (source, name, reference), versions in found.items()
    )


def recipient_told(named: NamedRecipient) -> RecipientTold:
    """Return what a person is told of a recipient: without whose record a sole trader's is, and the contract."""
    known = named.recipient
    return RecipientTold(
        recipient_id=named.recipient_id,
        name=None if known is None else known.name,
        category=None if known is None else known.category,
        country=None if known is None else known.country,
        transfer_basis=None if known is None else known.transfer_basis,
        third_party=named.third_party,
        standing=named.standing,
        fields=named.fields,
        purposes=named.purposes,
        times=named.times,
        first_at=named.first_at,
        last_at=named.last_at,
    )
