"""Offers: agreed to, objected to, planned, reserved, sent or suppressed. Clause 7; GDPR Art. 21; ePrivacy Art. 13.

A mailer reserves each offer before it sends it, and records the sending: both are decided in one order with objections,
withdrawals and the offers of other campaigns. An objection asks for nothing but who objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command, selector
from ledger.errors import (
    AddressMissing,
    AddressSuppressed,
    CampaignExists,
    ChannelNotUsed,
    ConsentExists,
    Invalid,
    MarketingConsentUnknown,
    NoticeOwed,
    ObjectionStands,
    OfferBasisMissing,
    OfferExists,
    OfferNotReserved,
    PartnerCapReached,
    PartnerNotFewer,
    PersonRefused,
    ProcessorRole,
    Refused,
    Restricted,
    SourceSuspended,
)
from ledger.events import (
    CampaignPlanned,
    ContactClassified,
    MarketingConsentGiven,
    MarketingConsentWithdrawn,
    MarketingObjected,
    OfferRefusal,
    OfferReserved,
    OfferSent,
    OfferSuppressed,
    SaleRecorded,
)
from ledger.rule import rule
from ledger.state.document import CONSENT_TO_A_WORDING, check_wording, publications
from ledger.state.marketing import Standing, What, campaigns, contact, planned, standing_of, verdict
from ledger.state.merge import merges, others, person_tags
from ledger.state.policy import policies, policy_needed
from ledger.state.source import revocations, revoked
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    SUPPRESSION_TAG,
    CampaignId,
    Channel,
    ConsentId,
    DocumentKind,
    IdentifierKind,
    Language,
    OfferBasis,
    OfferKind,
    PersonType,
    Reference,
    RetentionClass,
    Sha256Hex,
    SubjectId,
    Tag,
    Word,
    campaign_tag,
    consent_tag,
    subject_tag,
)

NEVER_WIDENS = rule(
    "merge-stops-offers",
    clause="0",
    promise="While records are merged, offers refused on one of them go to none, and all share the partner offers",
    source="GDPR Art. 5(1)(a), 7(3), 21(3)",
    refusals=(PersonRefused, PartnerCapReached),
)
BASIS = rule(
    "offers-rest-on-a-basis",
    clause="7",
    promise="Person type, channel and own or partner select on what an offer may rest; without it nothing goes",
    source="Principles, clause 7; Directive 2002/58/EC Art. 13; ESS § 103¹",
    refusals=(OfferBasisMissing, ChannelNotUsed),
)
OBJECTION = rule(
    "objection-stops-everything",
    clause="7",
    promise="An objection stops every offer at once, without any consent existing, at any other record of the address",
    source="Principles, clause 7; GDPR Art. 21(2), 21(3)",
    refusals=(ObjectionStands, AddressSuppressed),
)
INFREQUENT = rule(
    "partner-offers-are-infrequent",
    clause="7",
    promise="Partner offers are at most so many in the window, and fewer than own ones in it",
    source="Principles, clause 7",
    refusals=(PartnerCapReached, PartnerNotFewer),
)
NEVER_PROCESSED = rule(
    "no-offers-to-clients-people",
    clause="0",
    promise="Nobody whose data a client entered is marketed to",
    source="Principles, clause 0; GDPR Art. 28(3)(a)",
    refusals=(ProcessorRole,),
)
LAWFUL_ADDRESS = rule(
    "offers-wait-for-source-and-notice",
    clause="10",
    promise="No offer goes to an address that is quarantined or suspended, nor before the person was told its source",
    source="Principles, clause 10; GDPR Art. 14(3)(b)",
    refusals=(AddressMissing, SourceSuspended, NoticeOwed),
)
RESERVED_FIRST = rule(
    "offers-are-reserved-first",
    clause="7",
    promise="An offer is sent once, and only what was reserved, checked again when it is sent",
    source="Principles, clause 7",
    refusals=(OfferExists, OfferNotReserved),
)
NOT_UNDER_RESTRICTION = rule(
    "no-offers-under-restriction",
    clause="8-9",
    promise="While the use of their address is restricted a person gets no offers, unless they agreed to them since",
    source="GDPR Art. 18(2)",
    refusals=(Restricted,),
)
EASY = rule(
    "opting-out-is-easy",
    clause="7",
    promise="An objection by phone, e-mail, link, software or API asks for no more than who objects",
    source="Principles, clause 7; GDPR Art. 7(3), 12(2)",
)


@command
class ClassifyContact(Command, frozen=True):
    """Say whether a person is written to for themselves or at the contact of a legal person."""

    NAME: ClassVar[str] = "classify-contact"
    RECORDS = (ContactClassified,)
    RULES = (BASIS,)
    subject_id: SubjectId
    person_type: PersonType

    def boundary(self) -> Boundary:
        return registration(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        event = ContactClassified(subject_id=self.subject_id, person_type=self.person_type)
        return [Fact(event, [subject_tag(self.subject_id)])]


@command
class RecordSale(Command, frozen=True):
    """Record that an address was collected at a sale, and whether the person could opt out of offers then."""

    NAME: ClassVar[str] = "record-sale"
    RECORDS = (SaleRecorded,)
    RULES = (BASIS,)
    subject_id: SubjectId
    reference: Reference
    opt_out_offered: bool

    def boundary(self) -> Boundary:
        return registration(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        event = SaleRecorded(subject_id=self.subject_id, reference=self.reference, opt_out_offered=self.opt_out_offered)
        return [Fact(event, [subject_tag(self.subject_id)])]


@command
class GiveMarketingConsent(Command, frozen=True):
    """Record that a person agreed to offers of one kind, by these channels, on the exact text that was shown."""

    NAME: ClassVar[str] = "give-marketing-consent"
    RECORDS = (MarketingConsentGiven,)
    RULES = (BASIS, CONSENT_TO_A_WORDING)
    consent_id: ConsentId
    subject_id: SubjectId
    kind: OfferKind
    channels: tuple[Channel, ...]
    text_sha256: Sha256Hex
    language: Language
    channel: Channel

    def boundary(self) -> Boundary:
        return (
            *registration(self.subject_id),
            selector(tags=[consent_tag(self.consent_id)]),
            *merges(self.subject_id),
            *publications(DocumentKind.CONSENT),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if any(consent_tag(self.consent_id) in recorded.tags for recorded in past.all):
            raise ConsentExists(consent=self.consent_id)
        if not self.channels:
            raise Invalid("channels", "names at least one")
        check_wording(past, self.text_sha256, self.language, context.now)
        event = MarketingConsentGiven(
            consent_id=self.consent_id,
            subject_id=self.subject_id,
            kind=self.kind,
            channels=tuple(sorted(set(self.channels))),
            text_sha256=self.text_sha256,
            language=self.language,
            channel=self.channel,
            together=others(past, self.subject_id),
        )
        return [Fact(event, [*person_tags(past, self.subject_id), consent_tag(self.consent_id)])]


@command
class WithdrawMarketingConsent(Command, frozen=True):
    """Record that a person no longer agrees to the offers of one consent, as of when the company received it."""

    NAME: ClassVar[str] = "withdraw-marketing-consent"
    RECORDS = (MarketingConsentWithdrawn,)
    RULES = (EASY,)
    consent_id: ConsentId
    subject_id: SubjectId
    channel: Channel
    received_at: datetime

    def boundary(self) -> Boundary:
        return contact(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        standing, together = standing_of(past, self.subject_id), others(past, self.subject_id)
        if self.consent_id not in standing.consents:
            raise MarketingConsentUnknown(subject=self.subject_id, consent=self.consent_id)
        _received(self.received_at, context)
        kind, channels = standing.left_by(self.consent_id)
        refused = OfferRefusal(subject_id=self.subject_id, kind=kind, channels=channels)
        event = MarketingConsentWithdrawn(
            consent_id=self.consent_id,
            subject_id=self.subject_id,
            channel=self.channel,
            received_at=self.received_at,
            together=together,
            refused=refused if together and channels else None,
        )
        return [Fact(event, [*person_tags(past, self.subject_id), consent_tag(self.consent_id)])]


@command
class ObjectToMarketing(Command, frozen=True):
    """Record that a person wants no offers: every one stops at once. Every address that is known of them is listed.

    `email` and `phone` are addresses that they object with and that are not recorded yet.
    """

    NAME: ClassVar[str] = "object-to-marketing"
    RECORDS = (MarketingObjected,)
    RULES = (OBJECTION, EASY)
    subject_id: SubjectId
    channel: Channel
    received_at: datetime
    email: str | None = None
    phone: str | None = None

    def boundary(self) -> Boundary:
        return contact(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        _received(self.received_at, context)
        digests = {digest for recorded in past.all for digest in context.addresses.of(recorded)}
        for kind, value in ((IdentifierKind.EMAIL, self.email), (IdentifierKind.PHONE, self.phone)):
            if value is not None:
                digest = context.addresses.digest(kind, value)
                if digest is None:
                    raise Invalid(kind, "is no address")
                digests.add(digest)
        event = MarketingObjected(
            subject_id=self.subject_id,
            channel=self.channel,
            received_at=self.received_at,
            digests=sorted(digests) or None,
            together=others(past, self.subject_id),
        )
        tags = [*person_tags(past, self.subject_id), SUPPRESSION_TAG]
        return [Fact(event, tags, scope(subject, RetentionClass.SUPPRESSION))]


@command
class PlanCampaign(Command, frozen=True):
    """Plan own or partner offers by one channel. `opt_out` is how each message offers to object: none goes without."""

    NAME: ClassVar[str] = "plan-campaign"
    RECORDS = (CampaignPlanned,)
    RULES = (BASIS,)
    campaign_id: CampaignId
    kind: OfferKind
    channel: Channel
    opt_out: Channel
    similar: bool = False
    partner: Reference | None = None

    def boundary(self) -> Boundary:
        return (*campaigns(self.campaign_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if past.last(CampaignPlanned) is not None:
            raise CampaignExists(campaign=self.campaign_id)
        if (self.kind is OfferKind.PARTNER) != (self.partner is not None):
            raise Invalid("partner", "is the contract with the partner: needed for partner offers, and only there")
        marketing = policy_needed(past).marketing
        if not any(marketing.bases(person, self.channel, self.kind) for person in PersonType):
            raise ChannelNotUsed(kind=self.kind, channel=self.channel)
        event = CampaignPlanned(
            campaign_id=self.campaign_id,
            kind=self.kind,
            channel=self.channel,
            similar=self.similar,
            opt_out=self.opt_out,
            partner=self.partner,
        )
        return [Fact(event, [campaign_tag(self.campaign_id)])]


class _Offer(Command, frozen=True):
    RULES = (
        BASIS,
        OBJECTION,
        INFREQUENT,
        NEVER_PROCESSED,
        NEVER_WIDENS,
        NOT_UNDER_RESTRICTION,
        LAWFUL_ADDRESS,
        RESERVED_FIRST,
    )
    campaign_id: CampaignId
    subject_id: SubjectId

    def boundary(self) -> Boundary:
        return (*campaigns(self.campaign_id), *contact(self.subject_id), *revocations(), *policies())

    def _basis(self, past: Past, context: Context, campaign: CampaignPlanned, standing: Standing) -> OfferBasis:
        """Return on what the offer rests. Raises KeptRefusal."""
        registered(past, self.subject_id)
        digests = {digest for recorded in past.all for digest in context.addresses.of(recorded)}
        objectors = {who for digest in digests for who in context.addresses.objectors(digest)} - {self.subject_id}
        found = verdict(
            standing,
            campaign,
            policy_needed(past),
            context.now,
            revoked=revoked(past),
            suppressed=bool(objectors),
        )
        if isinstance(found, OfferBasis):
            return found
        refusal: Refused = found(subject=self.subject_id, channel=campaign.channel, kind=campaign.kind)
        together = _hear_of_slot(past, self.subject_id, standing, self.campaign_id)
        raise KeptRefusal(refusal, _suppressed(self.campaign_id, self.subject_id, Word(refusal.code), together))

    def _fact(self, event: OfferReserved | OfferSent) -> Fact:
        # Somebody else with the same address may object meanwhile.
        guards = (selector(MarketingObjected, tags=[SUPPRESSION_TAG]),)
        return Fact(event, _offer_tags(self.campaign_id, self.subject_id, event.together), guards=guards)


@command
class ReserveOffer(_Offer, frozen=True):
    """Take the slot of one offer to one person, or record why it may not go."""

    NAME: ClassVar[str] = "reserve-offer"
    RECORDS = (OfferReserved,)
    KEEPS = (OfferSuppressed,)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        campaign, standing = planned(past, self.campaign_id), standing_of(past, self.subject_id)
        if self.campaign_id in standing.offers:
            raise OfferExists(subject=self.subject_id, campaign=self.campaign_id)
        basis = self._basis(past, context, campaign, standing)
        event = OfferReserved(
            campaign_id=self.campaign_id,
            subject_id=self.subject_id,
            kind=campaign.kind,
            channel=campaign.channel,
            basis=basis,
            together=others(past, self.subject_id) if campaign.kind is OfferKind.PARTNER else (),
        )
        return [self._fact(event)]


@command
class SendOffer(_Offer, frozen=True):
    """Record that a reserved offer goes out now; what changed since its reservation may suppress it still."""

    NAME: ClassVar[str] = "send-offer"
    RECORDS = (OfferSent,)
    KEEPS = (OfferSuppressed,)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        campaign, standing = planned(past, self.campaign_id), standing_of(past, self.subject_id)
        self._needs_reservation(standing)
        self._basis(past, context, campaign, standing)
        event = OfferSent(
            campaign_id=self.campaign_id,
            subject_id=self.subject_id,
            kind=campaign.kind,
            channel=campaign.channel,
            together=_hear_of_slot(past, self.subject_id, standing, self.campaign_id),
        )
        return [self._fact(event)]

    def _needs_reservation(self, standing: Standing) -> None:
        offer = standing.offers.get(self.campaign_id)
        if offer is None or offer[1] != What.RESERVED:
            raise OfferNotReserved(subject=self.subject_id, campaign=self.campaign_id)


@command
class SuppressOffer(Command, frozen=True):
    """Give a reserved offer back: it is not sent, and its slot is free again."""

    NAME: ClassVar[str] = "suppress-offer"
    RECORDS = (OfferSuppressed,)
    RULES = (RESERVED_FIRST,)
    campaign_id: CampaignId
    subject_id: SubjectId
    reason: Word

    def boundary(self) -> Boundary:
        return contact(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        standing = standing_of(past, self.subject_id)
        offer = standing.offers.get(self.campaign_id)
        if offer is None or offer[1] != What.RESERVED:
            raise OfferNotReserved(subject=self.subject_id, campaign=self.campaign_id)
        together = _hear_of_slot(past, self.subject_id, standing, self.campaign_id)
        return [_suppressed(self.campaign_id, self.subject_id, self.reason, together)]


def _hear_of_slot(
    past: Past, subject_id: SubjectId, standing: Standing, campaign_id: CampaignId
) -> tuple[SubjectId, ...]:
    """Return the other records of a person when an offer holds one of the slots that they share, nobody otherwise."""
    offer = standing.offers.get(campaign_id)
    return others(past, subject_id) if offer is not None and offer[0] == OfferKind.PARTNER else ()


def _suppressed(campaign_id: CampaignId, subject_id: SubjectId, reason: Word, together: tuple[SubjectId, ...]) -> Fact:
    event = OfferSuppressed(campaign_id=campaign_id, subject_id=subject_id, reason=reason, together=together)
    return Fact(event, _offer_tags(campaign_id, subject_id, together))


def _offer_tags(campaign_id: CampaignId, subject_id: SubjectId, together: Sequence[SubjectId]) -> list[Tag]:
    return [campaign_tag(campaign_id), subject_tag(subject_id), *map(subject_tag, together)]


def _received(received_at: datetime, context: Context) -> None:
    if received_at > context.now:
        raise Invalid("received_at", "is in the future")
