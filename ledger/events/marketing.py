"""Offers: consents to them, objections, campaigns, and each offer reserved, sent or suppressed. Clause 7."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Event, Personal, event
from ledger.events.subject import OfferRefusal
from ledger.vocabulary import (
    CampaignId,
    Channel,
    ConsentId,
    Language,
    OfferBasis,
    OfferKind,
    PersonType,
    Reference,
    RetentionClass,
    Sha256Hex,
    SubjectId,
    Word,
)


@event
class ContactClassified(Event, frozen=True):
    """In which capacity a person is written to. Nobody classified is a natural person: the stricter rules hold."""

    TOPIC: ClassVar[str] = "contact-classified"
    subject_id: SubjectId
    person_type: PersonType


@event
class SaleRecorded(Event, frozen=True):
    """A sale at which an address was collected, and whether the person could opt out of offers then."""

    TOPIC: ClassVar[str] = "sale-recorded"
    subject_id: SubjectId
    reference: Reference
    opt_out_offered: bool


@event
class MarketingConsentGiven(Event, frozen=True):
    """Prior opt-in: own offers and partner offers are purposes of their own, and each channel is named.

    `together` are the other records of the same person then: it is heard there too.
    """

    TOPIC: ClassVar[str] = "marketing-consent-given"
    consent_id: ConsentId
    subject_id: SubjectId
    kind: OfferKind
    channels: tuple[Channel, ...]
    text_sha256: Sha256Hex
    language: Language
    channel: Channel
    together: tuple[SubjectId, ...] = ()


@event
class MarketingConsentWithdrawn(Event, frozen=True):
    """`refused` is what nothing else permits any more, for the other records of the same person then (`together`)."""

    TOPIC: ClassVar[str] = "marketing-consent-withdrawn"
    consent_id: ConsentId
    subject_id: SubjectId
    channel: Channel
    received_at: datetime
    together: tuple[SubjectId, ...] = ()
    refused: OfferRefusal | None = None


@event
class MarketingObjected(Event, frozen=True):
    """GDPR Art. 21(2): no offers from `received_at` on, whatever was agreed to before.

    `digests` are keyed digests of the addresses known then: sealed, so that nothing derived from an address stands in
    an entry, and under a key of their own, so that they outlive the addresses. `together` are the other records of the
    same person then: it holds for them too.
    """

    TOPIC: ClassVar[str] = "marketing-objected"
    RETENTION: ClassVar[RetentionClass | None] = RetentionClass.SUPPRESSION
    subject_id: SubjectId
    channel: Channel
    received_at: datetime
    digests: Personal[list[str]] = None
    together: tuple[SubjectId, ...] = ()


@event
class CampaignPlanned(Event, frozen=True):
    """`similar`: offers goods or services like those sold before. `opt_out` is the way that each message offers."""

    TOPIC: ClassVar[str] = "campaign-planned"
    campaign_id: CampaignId
    kind: OfferKind
    channel: Channel
    similar: bool
    opt_out: Channel
    partner: Reference | None = None  # the contract with the partner


@event
class OfferReserved(Event, frozen=True):
    """An offer that may be sent, and on what it rests. It takes its slot of the window from here on.

    `together` are the other records of the same person then, of a partner offer only: it takes a slot of theirs too.
    """

    TOPIC: ClassVar[str] = "offer-reserved"
    campaign_id: CampaignId
    subject_id: SubjectId
    kind: OfferKind
    channel: Channel
    basis: OfferBasis
    together: tuple[SubjectId, ...] = ()


@event
class OfferSent(Event, frozen=True):
    """`together` as of OfferReserved."""

    TOPIC: ClassVar[str] = "offer-sent"
    campaign_id: CampaignId
    subject_id: SubjectId
    kind: OfferKind
    channel: Channel
    together: tuple[SubjectId, ...] = ()


@event
class OfferSuppressed(Event, frozen=True):
    """`reason` is the code of the refusal, or the word of whoever held it back. A slot that was taken is free again.

    `together` as of OfferReserved, when it was reserved.
    """

    TOPIC: ClassVar[str] = "offer-suppressed"
    campaign_id: CampaignId
    subject_id: SubjectId
    reason: Word
    together: tuple[SubjectId, ...] = ()
