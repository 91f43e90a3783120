"""Whether an offer may go to a person, and on what it rests. Clause 7.

Every fact that matters is one `Step`. The ledger folds the steps of the events in a command's boundary, and the
projections fold the same steps from their rows: one verdict, whoever asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from ledger import errors
from ledger.command import Boundary, Past, selector
from ledger.entry import parse_moment
from ledger.errors import CampaignUnknown, Refused
from ledger.events import (
    CampaignPlanned,
    ContactClassified,
    DataCorrected,
    Event,
    IdentifierLinked,
    KeyDestroyed,
    MarketingConsentGiven,
    MarketingConsentWithdrawn,
    MarketingObjected,
    OfferReserved,
    OfferSent,
    OfferSuppressed,
    PersonalDataCollected,
    ProcessingRestricted,
    RestrictionLifted,
    SaleRecorded,
    SubjectInformed,
    SubjectRegistered,
)
from ledger.policy import Policy
from ledger.vocabulary import (
    CampaignId,
    Channel,
    OfferBasis,
    OfferKind,
    PersonType,
    RetentionClass,
    SourceKind,
    SubjectId,
    SubjectRole,
    campaign_tag,
    subject_tag,
)

# Which field an offer goes to.
ADDRESS_OF: Final = {Channel.EMAIL: "email", Channel.PHONE: "phone", Channel.POST: "address"}
_ADDRESSES: Final = frozenset(ADDRESS_OF.values())

QUARANTINED: Final = "quarantined"


class What(StrEnum):
    """What a step says."""

    REGISTERED = "registered"
    CLASSIFIED = "classified"
    SALE = "sale"
    CONSENT = "consent"
    WITHDRAWN = "withdrawn"
    OBJECTED = "objected"
    RESERVED = "reserved"
    SENT = "sent"
    SUPPRESSED = "suppressed"
    ADDRESS = "address"
    OTHER_SOURCE = "other-source"
    INFORMED = "informed"
    ERASED = "erased"
    RESTRICTED = "restricted"
    LIFTED = "lifted"


class Step(NamedTuple):
    """One fact about a person: `key` is what it is about, `kind` own or partner, `more` what else it says."""

    what: str
    key: str = ""
    kind: str = ""
    more: str = ""


# The kinds of events that have steps.
EVENTS: Final[tuple[type[Event], ...]] = (
    SubjectRegistered,
    ContactClassified,
    SaleRecorded,
    MarketingConsentGiven,
    MarketingConsentWithdrawn,
    MarketingObjected,
    OfferReserved,
    OfferSent,
    OfferSuppressed,
    IdentifierLinked,
    PersonalDataCollected,
    DataCorrected,
    SubjectInformed,
    KeyDestroyed,
    ProcessingRestricted,
    RestrictionLifted,
)


def steps(event: Event) -> Iterator[Step]:
    """Yield what an event says of its subject."""
    match event:
        case SubjectRegistered():
            yield Step(What.REGISTERED, event.role)
        case ContactClassified():
            yield Step(What.CLASSIFIED, event.person_type)
        case SaleRecorded(opt_out_offered=True):
            yield Step(What.SALE)
        case MarketingConsentGiven():
            yield Step(What.CONSENT, event.consent_id, event.kind, ",".join(event.channels))
        case MarketingConsentWithdrawn():
            yield Step(What.WITHDRAWN, event.consent_id)
        case MarketingObjected():
            yield Step(What.OBJECTED)
        case OfferReserved():
            yield Step(What.RESERVED, event.campaign_id, event.kind)
        case OfferSent():
            yield Step(What.SENT, event.campaign_id, event.kind)
        case OfferSuppressed():
            yield Step(What.SUPPRESSED, event.campaign_id)
        case IdentifierLinked() if event.kind in _ADDRESSES:
            yield Step(What.ADDRESS, event.kind, "", RetentionClass.IDENTITY + " ")
        case DataCorrected() if event.field in _ADDRESSES:
            yield Step(What.ADDRESS, event.field, "", event.retention_class + " ")
        case PersonalDataCollected():
            through = QUARANTINED if event.quarantined else event.guarantee_id or ""
            for field in event.values:
                if field in _ADDRESSES:
                    yield Step(What.ADDRESS, field, "", f"{event.retention_class} {through}")
            if event.source is not SourceKind.SUBJECT:
                yield Step(What.OTHER_SOURCE)
        case SubjectInformed():
            yield Step(What.INFORMED)
        case KeyDestroyed():
            yield Step(What.ERASED, event.retention_class)
        case ProcessingRestricted():
            yield Step(What.RESTRICTED, event.restriction_id, "", ",".join(event.fields))
        case RestrictionLifted():
            yield Step(What.LIFTED, event.restriction_id)


class Standing:
    """What the steps of one person add up to."""

    def __init__(self) -> None:
        self.role = ""
        self.person_type = PersonType.NATURAL
        self.sale = False
        self.objected = False
        self.consents: dict[str, tuple[str, str, int]] = {}  # consent → own or partner, channels, the step it came at
        self.offers: dict[str, tuple[str, str, datetime]] = {}  # campaign → own or partner, reserved or sent, since
        self.addresses: dict[str, tuple[str, str]] = {}  # field → retention class, through which guarantee
        self.notice_owed = False
        self.restrictions: dict[str, tuple[str, int]] = {}  # restriction → fields, the step it came at
        self._steps = 0

    def fold(self, step: tuple[str, ...], at: datetime | str) -> None:
        """Take in one Step, or a row of its four values, in the order of the log. `at` is when it was recorded."""
        what, key, kind, more = step
        self._steps += 1
        if what == What.ADDRESS:
            retention_class, _, through = more.partition(" ")
            self.addresses[key] = (retention_class, through)
        elif what in (What.RESERVED, What.SENT):
            self.offers[key] = (kind, what, parse_moment(at) if isinstance(at, str) else at)
        elif what == What.REGISTERED:
            self.role = key
        elif what == What.CONSENT:
            # Who agrees anew after an objection wants these offers again, and no others.
            self.consents[key] = (kind, more, self._steps)
        elif what == What.WITHDRAWN:
            self.consents.pop(key, None)
        elif what == What.OBJECTED:
            # GDPR Art. 21(3): it stops everything at once, what was agreed to before too.
            self.objected, self.sale = True, False
            self.consents.clear()
        elif what == What.SUPPRESSED:
            self.offers.pop(key, None)
        elif what == What.CLASSIFIED:
            self.person_type = PersonType(key)
        elif what == What.SALE:
            self.sale = not self.objected
        elif what in (What.OTHER_SOURCE, What.INFORMED):
            self.notice_owed = what == What.OTHER_SOURCE
        elif what == What.ERASED:
            self.addresses = {name: held for name, held in self.addresses.items() if held[0] != key}
        elif what == What.RESTRICTED:
            self.restrictions[key] = (more, self._steps)
        elif what == What.LIFTED:
            self.restrictions.pop(key, None)

    def agreed(self, kind: OfferKind, channel: Channel, *, since: int = 0) -> bool:
        """Whether a live consent, given after a step, names this kind of offers and this channel."""
        return any(
            k == kind and at > since and channel in channels.split(",") for k, channels, at in self.consents.values()
        )

    def restricted(self, kind: OfferKind, channel: Channel) -> bool:
        """Whether a restriction forbids to write to the person: GDPR Art. 18(2), but for a consent given since."""
        address = ADDRESS_OF.get(channel, "")
        return any(
            (not fields or address in fields.split(",")) and not self.agreed(kind, channel, since=at)
            for fields, at in self.restrictions.values()
        )

    def in_window(self, kind: OfferKind, since: datetime, *, besides: CampaignId) -> int:
        """Count the offers since a moment: partner offers from their reservation on, own offers once they are sent."""
        counted = (What.SENT,) if kind is OfferKind.OWN else (What.RESERVED, What.SENT)
        return sum(
            k == kind and what in counted and at > since
            for campaign, (k, what, at) in self.offers.items()
            if campaign != besides
        )


def verdict(
    standing: Standing,
    campaign: CampaignPlanned,
    policy: Policy,
    now: datetime,
    *,
    revoked: Collection[str],
    suppressed: bool,
) -> OfferBasis | type[Refused]:
    """Return on what an offer may rest, or why it may not go. `suppressed`: somebody else objected with the address."""
    kind, channel = campaign.kind, campaign.channel
    if standing.role == SubjectRole.PROCESSOR:
        return errors.ProcessorRole
    agreed = standing.agreed(kind, channel)
    if standing.objected and not agreed:
        return errors.ObjectionStands
    if standing.restricted(kind, channel):
        return errors.Restricted
    if suppressed:
        return errors.AddressSuppressed
    address = standing.addresses.get(ADDRESS_OF.get(channel, ""))
    if address is None:
        return errors.AddressMissing
    if address[1] == QUARANTINED or address[1] in revoked:
        return errors.SourceSuspended
    if standing.notice_owed:
        return errors.NoticeOwed
    holds = {
        OfferBasis.CONSENT: agreed,
        OfferBasis.SALE: standing.sale and campaign.similar,
        OfferBasis.OPT_OUT: not standing.objected,
    }
    basis = next((b for b in policy.marketing.bases(standing.person_type, channel, kind) if holds[b]), None)
    if basis is None:
        return errors.OfferBasisMissing
    if kind is OfferKind.PARTNER:
        since = months_before(now, policy.marketing.window_months)
        taken = standing.in_window(OfferKind.PARTNER, since, besides=campaign.campaign_id)
        if taken >= policy.marketing.partner_offers:
            return errors.PartnerCapReached
        if taken + 1 >= standing.in_window(OfferKind.OWN, since, besides=campaign.campaign_id):
            return errors.PartnerNotFewer
    return basis


def months_before(moment: datetime, months: int) -> datetime:
    """Return the same day and time so many calendar months earlier, or the last day of a shorter month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    for day in range(moment.day, moment.day - 4, -1):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def contact(subject_id: SubjectId) -> Boundary:
    """The boundary of `standing_of`."""
    return (selector(*EVENTS, tags=[subject_tag(subject_id)]),)


def standing_of(past: Past, subject_id: SubjectId) -> Standing:
    """Return where a subject stands."""
    standing = Standing()
    for recorded in past.all:
        if isinstance(recorded.event, EVENTS) and getattr(recorded.event, "subject_id", None) == subject_id:
            for step in steps(recorded.event):
                standing.fold(step, recorded.recorded_at)
    return standing


def campaigns(campaign_id: CampaignId) -> Boundary:
    """The boundary of `planned`."""
    return (selector(CampaignPlanned, tags=[campaign_tag(campaign_id)]),)


def planned(past: Past, campaign_id: CampaignId) -> CampaignPlanned:
    """Return a campaign. Raises CampaignUnknown."""
    for event in past.of(CampaignPlanned):
        if event.campaign_id == campaign_id:
            return event
    raise CampaignUnknown(campaign=campaign_id)
