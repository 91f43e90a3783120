"""Every event: an immutable fact in the past, frozen, with a TOPIC that is for ever.

A personal field is marked in its type: `Personal[str]`, `Personal[bytes]` for exact bytes, or `PersonalMap` for
named values. Personal fields never stand in the entry; `sealing` puts a commitment there and the value elsewhere.
On reading they are `Withheld` until somebody who may opens them.

A changed event keeps its TOPIC: raise VERSION and add an `upcast_v<n>` that turns the data of version n into n+1.
What does not live here: when an event may happen (commands), and its bytes (entry).
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar

import msgspec
from eventsourcing.dcb.domain import Decision
from eventsourcing.utils import register_topic

from ledger.vocabulary import (
    ActorId,
    CaseId,
    Channel,
    ClientId,
    ConsentId,
    DisclosureId,
    ErasureOutcome,
    IdentifierKind,
    KeyId,
    Language,
    LegalBasis,
    MediaType,
    OrderChannel,
    OrderId,
    Purpose,
    RecipientId,
    Reference,
    RetentionClass,
    Role,
    Sha256Hex,
    SourceKind,
    SubjectId,
    SubjectRole,
    Word,
)

T = TypeVar("T")

# A number that stands in an entry: what canonical JSON holds exactly (RFC 7493 §2.2).
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Withheld(Enum):
    """What a reader finds in place of a personal value: why it is not shown."""

    SEALED = "sealed"  # not opened
    ERASED = "erased"  # its key is recorded as destroyed
    MISSING = "missing"  # neither value nor recorded destruction: an alarm

    def __repr__(self) -> str:
        return f"<{self.value}>"


SEALED: Final = Withheld.SEALED
_PERSONAL: Final = "prooftrail:personal"
_PERSONAL_MAP: Final = "prooftrail:personal-map"

PersonalMap = Annotated[Mapping[str, Any], _PERSONAL_MAP]

if TYPE_CHECKING:
    Personal = Annotated[T | Withheld | None, _PERSONAL]
else:

    class Personal:
        """At run time only the mark: msgspec never sees a personal value, so it need not know the type."""

        def __class_getitem__(cls, _: object) -> object:
            return Annotated[Any, _PERSONAL]


class Actor(msgspec.Struct, frozen=True, gc=False):
    """Who acts: an opaque id, never a name or an address, and the role in which they act."""

    id: ActorId
    role: Role


SYSTEM: Final = Actor(id=ActorId("00000000-0000-4000-8000-000000000000"), role=Role.OPERATOR)


class Event(msgspec.Struct, Decision, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of all events. `by` is who caused it; the command seam fills it in."""

    TOPIC: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    PERSONAL: ClassVar[tuple[str, ...]] = ()
    PERSONAL_MAP: ClassVar[str | None] = None
    BLANK: ClassVar[dict[str, Any]] = {}  # the personal fields at their defaults
    RETENTION: ClassVar[RetentionClass | None] = None  # of the personal fields, where the type decides

    by: Actor = SYSTEM

    @property
    def retention(self) -> RetentionClass | None:
        """The retention class of the personal fields, None when there are none."""
        return self.RETENTION

    def mutate(self, obj: Any) -> Any:
        """Fold this event into a slice of `eventsourcing`."""
        obj.fold(self)
        return obj


BY_TOPIC: dict[str, type[Event]] = {}


def event(cls: type[T]) -> type[T]:
    """Register an event class under its TOPIC and read from its types which fields are personal."""
    assert issubclass(cls, Event)
    assert cls.TOPIC
    assert cls.TOPIC not in BY_TOPIC, cls
    hints = typing.get_type_hints(cls, include_extras=True)
    marks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    cls.PERSONAL = tuple(name for name, mark in marks.items() if _PERSONAL in mark)
    maps = [name for name, mark in marks.items() if _PERSONAL_MAP in mark]
    assert len(maps) <= 1, cls
    cls.PERSONAL_MAP = maps[0] if maps else None
    defaults = {field.name: field for field in msgspec.structs.fields(cls)}
    cls.BLANK = {name: defaults[name].default for name in cls.PERSONAL}
    if cls.PERSONAL_MAP is not None:
        cls.BLANK[cls.PERSONAL_MAP] = {}
    BY_TOPIC[cls.TOPIC] = cls
    register_topic(cls.TOPIC, cls)
    return cls


def upcaster(cls: type[Event], version: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that turns the data of `version` of this event into the next version's."""
    step: Callable[[dict[str, Any]], dict[str, Any]] = getattr(cls, f"upcast_v{version}")
    return step


# --- subjects -------------------------------------------------------------------------------------------------


@event
class SubjectRegistered(Event, frozen=True):
    TOPIC: ClassVar[str] = "subject-registered"
    subject_id: SubjectId
    role: SubjectRole
    client_id: ClientId | None = None  # whose person this is, in the processor role


@event
class IdentifierLinked(Event, frozen=True):
    TOPIC: ClassVar[str] = "identifier-linked"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.IDENTITY
    subject_id: SubjectId
    kind: IdentifierKind
    value: Personal[str] = SEALED


# --- consent --------------------------------------------------------------------------------------------------


@event
class ConsentGiven(Event, frozen=True):
    """GDPR Art. 7(1): consent is bound to the exact text that was shown, by its hash, and to its language."""

    TOPIC: ClassVar[str] = "consent-given"
    consent_id: ConsentId
    subject_id: SubjectId
    purpose: Purpose
    recipient_id: RecipientId | None  # None: the company itself
    fields: tuple[Word, ...]
    text_sha256: Sha256Hex
    language: Language
    channel: Channel


@event
class ConsentWithdrawn(Event, frozen=True):
    TOPIC: ClassVar[str] = "consent-withdrawn"
    consent_id: ConsentId
    subject_id: SubjectId
    channel: Channel


# --- personal data --------------------------------------------------------------------------------------------


@event
class PersonalDataCollected(Event, frozen=True):
    """Values by field; the version of a field is the index of the last event that set it."""

    TOPIC: ClassVar[str] = "personal-data-collected"
    subject_id: SubjectId
    purpose: Purpose
    basis: LegalBasis
    source: SourceKind
    retention_class: RetentionClass
    source_reference: Reference | None = None  # locator in a public register, or the issuer's guarantee
    valid_from: datetime | None = None
    values: PersonalMap = msgspec.field(default_factory=dict)

    @property
    def retention(self) -> RetentionClass:
        return self.retention_class


@event
class DataCorrected(Event, frozen=True):
    """GDPR Art. 16. `valid_from` is since when it is true; `recorded_at` of the entry is since when it is known."""

    TOPIC: ClassVar[str] = "data-corrected"
    subject_id: SubjectId
    field: Word
    replaces: Count  # the version that the corrector saw
    channel: Channel
    retention_class: RetentionClass
    valid_from: datetime | None = None
    values: PersonalMap = msgspec.field(default_factory=dict)

    @property
    def retention(self) -> RetentionClass:
        return self.retention_class


# --- disclosure -----------------------------------------------------------------------------------------------


class Statute(msgspec.Struct, frozen=True, kw_only=True):
    """The law that requires a disclosure: GDPR Art. 6(1)(c). Public words and references only."""

    act: Reference
    authority: Word
    reference: Reference


@event
class DisclosureRequested(Event, frozen=True):
    TOPIC: ClassVar[str] = "disclosure-requested"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    basis: LegalBasis
    fields: tuple[Word, ...]
    statute: Statute | None = None


@event
class DisclosureAuthorized(Event, frozen=True):
    """The token itself is never recorded: only its SHA-256. It is random (256 bits), single-use and short-lived."""

    TOPIC: ClassVar[str] = "disclosure-authorized"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    token_sha256: Sha256Hex
    expires_at: datetime
    consent_id: ConsentId | None = None  # None: required by law


@event
class DisclosureRefused(Event, frozen=True):
    """`reason` is the code of the refusal where a rule refused (errors.py), or the word of whoever did."""

    TOPIC: ClassVar[str] = "disclosure-refused"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word


@event
class DisclosureTransmitted(Event, frozen=True):
    TOPIC: ClassVar[str] = "disclosure-transmitted"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    fields: tuple[Word, ...]


@event
class DisclosureVoided(Event, frozen=True):
    TOPIC: ClassVar[str] = "disclosure-voided"
    disclosure_id: DisclosureId
    subject_id: SubjectId
    reason: Word


# --- client orders --------------------------------------------------------------------------------------------


@event
class OrderRecorded(Event, frozen=True):
    """The exact bytes of an order, sealed. Version 1 had no `authentication`: nothing was checked then."""

    TOPIC: ClassVar[str] = "order-recorded"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    VERSION: ClassVar[int] = 2
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: OrderChannel
    media_type: MediaType
    size_bytes: Count
    terms_version: Reference
    received_at: datetime
    authentication: Word
    claimed_at: datetime | None = None
    content: Personal[bytes] = SEALED
    file_name: Personal[str] = None

    @staticmethod
    def upcast_v1(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "authentication": "not-checked"}


@event
class OrderAmended(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-amended"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel
    media_type: MediaType
    size_bytes: Count
    received_at: datetime
    content: Personal[bytes] = SEALED
    file_name: Personal[str] = None


@event
class OrderCancelled(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-cancelled"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel
    reason: Word


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What was done for an order. `result_digest` is of the system's own record of it, salted there if personal."""

    reference: Reference
    result_digest: Sha256Hex
    booked_document: Reference | None = None


@event
class OrderExecuted(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-executed"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    transactions: tuple[Transaction, ...]


@event
class OrderConfirmed(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-confirmed"
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: Channel


@event
class OrderDisputed(Event, frozen=True):
    TOPIC: ClassVar[str] = "order-disputed"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    case_id: CaseId
    ground: Word
    statement: Personal[str] = None


@event
class DisputeResolved(Event, frozen=True):
    TOPIC: ClassVar[str] = "dispute-resolved"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.ORDER
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    case_id: CaseId
    outcome: Word
    statement: Personal[str] = None


# --- erasure --------------------------------------------------------------------------------------------------


class ClassDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one retention class of a subject, on which ground, and until when if it is kept."""

    retention_class: RetentionClass
    outcome: ErasureOutcome
    ground: Word
    until: datetime | None = None


@event
class ErasureDecided(Event, frozen=True):
    """GDPR Art. 17, decided per retention class."""

    TOPIC: ClassVar[str] = "erasure-decided"
    subject_id: SubjectId
    decisions: tuple[ClassDecision, ...]


@event
class KeyDestroyed(Event, frozen=True):
    """Recorded before the key goes: from here on a value sealed under it reads as erased."""

    TOPIC: ClassVar[str] = "key-destroyed"
    subject_id: SubjectId
    key_id: KeyId
    retention_class: RetentionClass


@event
class PersonalDataErased(Event, frozen=True):
    TOPIC: ClassVar[str] = "personal-data-erased"
    subject_id: SubjectId
    retention_classes: tuple[RetentionClass, ...]
    keys: Count
