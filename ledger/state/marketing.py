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
from ledger.entry import format_moment, parse_moment
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
    OfferRefusal,
    OfferReserved,
    OfferSent,
    OfferSuppressed,
    PartnerOffer,
    PersonalDataCollected,
    ProcessingRestricted,
    RestrictionLifted,
    SaleRecorded,
    SubjectInformed,
    SubjectRegistered,
    SubjectsMerged,
    SubjectsUnmerged,
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
    REFUSED = "refused"  # by another record of the same person
    AGREED = "agreed"  # there
    CARRIED = "carried"  # was refused there before the two were merged
    PARTED = "parted"
    TAKEN = "taken"  # a partner offer went to another record of the same person
    FREED = "freed"


class Step(NamedTuple):
    """One fact about a person: `key` is what it is about, `kind` own or partner, `more` what else it says.

    What another record of the same person says has that record as `key`; no kind means both, no channels in `more` all.
    """

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
    SubjectsMerged,
    SubjectsUnmerged,
)

# All that can be refused: own and partner offers by each channel.
_EVERYTHING: Final = tuple((kind, channel) for kind in OfferKind for channel in Channel)


def steps(event: Event) -> Iterator[tuple[SubjectId, Step]]:
    """Yield what an event says, and of whom: a yes or no is heard on every record of the person (clause 0)."""
    match event:
        case SubjectsMerged():
            yield from _merged(event)
        case SubjectsUnmerged():
            for who in event.members or (event.subject_id, event.merged_id):
                yield who, Step(What.PARTED, "" if who == event.merged_id else event.merged_id)
        case _:
            subject_id: SubjectId = getattr(event, "subject_id")  # noqa: B009
            for step in _own_steps(event):
                yield subject_id, step
            heard = _heard(event)
            if heard is not None:
                for who in getattr(event, "together"):  # noqa: B009
                    yield who, heard


def _heard(event: Event) -> Step | None:
    """Return what an event says to the other records of its subject."""
    match event:
        case OfferReserved(kind=OfferKind.PARTNER) | OfferSent(kind=OfferKind.PARTNER):
            return Step(What.TAKEN, event.subject_id, event.kind, event.campaign_id)
        case OfferSuppressed():
            return Step(What.FREED, event.subject_id, "", event.campaign_id)
        case MarketingObjected():
            return Step(What.REFUSED, event.subject_id)
        case MarketingConsentGiven():
            return Step(What.AGREED, event.subject_id, event.kind, ",".join(event.channels))
        case MarketingConsentWithdrawn(refused=OfferRefusal() as refused):
            return Step(What.REFUSED, event.subject_id, refused.kind, ",".join(refused.channels))
        case ProcessingRestricted():
            return Step(What.RESTRICTED, event.restriction_id, event.subject_id, ",".join(event.fields))
        case RestrictionLifted():
            return Step(What.LIFTED, event.restriction_id)
    return None


def _merged(event: SubjectsMerged) -> Iterator[tuple[SubjectId, Step]]:
    for who in event.members:
        for no in event.offers_refused:
            if no.subject_id != who:
                yield who, Step(What.CARRIED, no.subject_id, no.kind, ",".join(no.channels))
        for one in event.restrictions:
            if one.subject_id != who:
                yield who, Step(What.RESTRICTED, one.restriction_id, one.subject_id, ",".join(one.fields))
        for offer in event.partner_offers:
            if offer.subject_id != who:
                taken = f"{offer.campaign_id} {format_moment(offer.at)}"
                yield who, Step(What.TAKEN, offer.subject_id, OfferKind.PARTNER, taken)


def _own_steps(event: Event) -> Iterator[Step]:
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
        self.restrictions: dict[str, tuple[str, str, int]] = {}  # restriction → another record, fields, its step
        self.refused: dict[tuple[str, str, str], int] = {}  # another record or "", kind, channel → the step it came at
        self.taken: dict[tuple[str, str], datetime] = {}  # another record, campaign → since when a partner offer
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
            self._allow("", kind, more)
        elif what == What.WITHDRAWN:
            self._withdraw(key)
        elif what == What.OBJECTED:
            # GDPR Art. 21(3): it stops everything at once, what was agreed to before too.
            self.objected, self.sale = True, False
            self.consents.clear()
            self._refuse("", "", "")
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
            # One that is known already is carried by a merge with a third record.
            self.restrictions.setdefault(key, (kind, more, self._steps))
        elif what == What.LIFTED:
            self.restrictions.pop(key, None)
        elif what in (What.REFUSED, What.CARRIED):
            self._refuse(key, kind, more, again=what == What.REFUSED)
        elif what == What.AGREED:
            self._allow(key, kind, more)
        elif what == What.PARTED:
            self._part(key)
        elif what == What.TAKEN:
            campaign, _, since = more.partition(" ")
            moment = since or at
            self.taken[key, campaign] = parse_moment(moment) if isinstance(moment, str) else moment
        elif what == What.FREED:
            self.taken.pop((key, more), None)

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
            for _, fields, at in self.restrictions.values()
        )

    def refuses(self, kind: OfferKind, channel: Channel) -> bool:
        """Whether the person withdrew such offers on this record, and did not agree to them since."""
        return ("", kind, channel) in self.refused

    def refused_elsewhere(self, kind: OfferKind, channel: Channel) -> bool:
        """Whether another record of the person says no to such offers, and this one did not agree to them since."""
        return any(
            who and (k, c) == (kind, channel) and not self.agreed(kind, channel, since=at)
            for (who, k, c), at in self.refused.items()
        )

    def objected_elsewhere(self) -> bool:
        """Whether another record of the person says no to every offer there is."""
        others = {who for who, _, _ in self.refused if who}
        return any(all((who, *offers) in self.refused for offers in _EVERYTHING) for who in others)

    def refusals(self, subject_id: SubjectId) -> Iterator[OfferRefusal]:
        """Yield what this record, of that subject, and the others of the person said no to."""
        found: dict[tuple[str, str], list[Channel]] = {}
        for who, kind, channel in self.refused:
            found.setdefault((who or subject_id, kind), []).append(Channel(channel))
        for (who, kind), channels in sorted(found.items()):
            yield OfferRefusal(subject_id=SubjectId(who), kind=OfferKind(kind), channels=tuple(sorted(channels)))

    def left_by(self, consent_id: str) -> tuple[OfferKind, tuple[Channel, ...]]:
        """Return what only this consent permits: its withdrawal refuses it."""
        kind, channels, _ = self.consents[consent_id]
        others = [m.split(",") for name, (k, m, _) in self.consents.items() if name != consent_id and k == kind]
        return OfferKind(kind), tuple(Channel(c) for c in channels.split(",") if not any(c in m for m in others))

    def _withdraw(self, consent_id: str) -> None:
        if consent_id in self.consents:
            kind, channels = self.left_by(consent_id)
            del self.consents[consent_id]
            if channels:
                self._refuse("", kind, ",".join(channels))

    def _refuse(self, who: str, kind: str, channels: str, *, again: bool = True) -> None:
        for k, c in _EVERYTHING:
            if kind in ("", k) and (not channels or c in channels.split(",")):
                # What was agreed to since stays so when the same no is only carried along.
                at = self._steps if again else self.refused.get((who, k, c), self._steps)
                self.refused[who, k, c] = at

    def _allow(self, who: str, kind: str, channels: str) -> None:
        for channel in channels.split(","):
            self.refused.pop((who, kind, channel), None)

    def _part(self, who: str) -> None:
        """Forget what a record said that is not of this person, or what all others did when this one left."""
        stays = (lambda other: not other) if not who else (lambda other: other != who)
        self.refused = {key: at for key, at in self.refused.items() if stays(key[0])}
        self.restrictions = {name: one for name, one in self.restrictions.items() if stays(one[0])}
        self.taken = {slot: at for slot, at in self.taken.items() if stays(slot[0])}

    def in_window(self, kind: OfferKind, since: datetime, *, besides: CampaignId) -> int:
        """Count the offers since a moment: partner offers from their reservation on, own offers once they are sent.

        A partner offer to any record of the person counts, an own offer to this record only: the stricter of the two.
        """
        counted = (What.SENT,) if kind is OfferKind.OWN else (What.RESERVED, What.SENT)
        here = sum(
            k == kind and what in counted and at > since
            for campaign, (k, what, at) in self.offers.items()
            if campaign != besides
        )
        elsewhere = sum(at > since for at in self.taken.values()) if kind is OfferKind.PARTNER else 0
        return here + elsewhere

    def partner_offers(self, subject_id: SubjectId) -> Iterator[PartnerOffer]:
        """Yield the partner offers to this record, of that subject, and to the others of the person."""
        for campaign, (kind, _, at) in sorted(self.offers.items()):
            if kind == OfferKind.PARTNER:
                yield PartnerOffer(subject_id=subject_id, campaign_id=CampaignId(campaign), at=at)
        for (who, campaign), at in sorted(self.taken.items()):
            yield PartnerOffer(subject_id=SubjectId(who), campaign_id=CampaignId(campaign), at=at)


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
    if standing.refused_elsewhere(kind, channel):
        return errors.PersonRefused
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
    # Whoever took a consent back is not written to on another basis: EDPB Guidelines 05/2020, 122.
    if basis is None or (standing.refuses(kind, channel) and not agreed):
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
        if isinstance(recorded.event, EVENTS):
            for who, step in steps(recorded.event):
                if who == subject_id:
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
