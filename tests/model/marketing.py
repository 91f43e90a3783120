"""Offers: agreed to, objected to, planned, reserved, sent, suppressed; how often. Clause 7."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import (
    ClassifyContact,
    GiveMarketingConsent,
    ObjectToMarketing,
    PlanCampaign,
    RecordSale,
    ReserveOffer,
    SendOffer,
    SuppressOffer,
    WithdrawMarketingConsent,
)
from ledger.errors import (
    AddressMissing,
    AddressSuppressed,
    CampaignExists,
    CampaignUnknown,
    ConsentExists,
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
    SubjectUnknown,
)
from ledger.vocabulary import Channel, OfferBasis, OfferKind, PersonType, RetentionClass, SubjectRole
from tests.bench import an_id
from tests.model.base import AIMED, GONE, NUMBERS, PEOPLE, PERSON, STEPS, View
from tests.model.people import Held, Restriction
from tests.model.sources import DIGEST, Importing

OWN, PARTNER = OfferKind.OWN, OfferKind.PARTNER
CAMPAIGNS = [an_id(f"campaign {number}") for number in range(7)]
CAMPAIGN = st.sampled_from(CAMPAIGNS)
KIND = st.sampled_from(OfferKind)
MOST = 2  # partner offers in the window, which no run outlives


def kind_of(campaign: str) -> OfferKind:
    return PARTNER if CAMPAIGNS.index(campaign) > 3 else OWN


def is_similar(campaign: str) -> bool:
    return CAMPAIGNS.index(campaign) == 1


class Contact:
    """How a person stands towards offers."""

    def __init__(self, role: SubjectRole) -> None:
        self.role = role
        self.person_type = PersonType.NATURAL
        self.sale = False
        self.objected = False
        self.agreed: dict[str, tuple[OfferKind, int]] = {}  # live consents: to what, and since which entry
        self.refused: dict[OfferKind, int] = {}  # what was taken back or objected to, with no later yes, and since when
        self.heard: dict[OfferKind, int] = {}  # what another record of the person refused, and since when it binds
        self.restrictions: list[Restriction] = []  # what binds, of this record and of others of the person
        self.offers: dict[str, str] = {}  # campaign: reserved or sent
        self.untold = False
        self.email: Held | None = None  # where offers would go
        self.emails: list[int] = []  # entries that set an address of theirs

    def agrees(self, kind: OfferKind, since: int = -1) -> bool:
        return any(one is kind and at > since for one, at in self.agreed.values())

    def restricted(self, kind: OfferKind) -> bool:
        return any(
            (not one.fields or "email" in one.fields) and not self.agrees(kind, one.since) for one in self.restrictions
        )

    def in_window(self, kind: OfferKind, stages: set[str], besides: str) -> int:
        return sum(
            kind_of(campaign) is kind and stage in stages and campaign != besides
            for campaign, stage in self.offers.items()
        )


class Offering(Importing):
    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, Contact] = {}
        self.given: set[str] = set()  # every consent that ever was: none is given twice
        self.campaigns: list[str] = []
        self.came_to: dict[tuple[str, str], str] = {}  # campaign, person: reserved, sent, or the reason why not
        self.sendings: list[tuple[str, datetime]] = []
        self.objections: list[tuple[str, int, int]] = []  # who, how many addresses, how many offers since receipt

    def begin(self, everybody: bool) -> None:
        super().begin(everybody)
        for campaign in CAMPAIGNS[2:]:
            self.plan(campaign)

    def contact(self, subject: str) -> Contact:
        """Return how a person who is known stands, with what other capabilities know of them by now."""
        found, known = self.contacts.setdefault(subject, Contact(self.people[subject].role)), self.people[subject]
        found.email, found.emails = known.held.get("email"), list(known.emails)
        found.untold = subject in self.untold
        found.restrictions = self.binding(subject)
        found.heard = {
            kind: max(at, self.merged_at)
            for other in self.others(subject)
            if other in self.contacts
            for kind, at in self.contacts[other].refused.items()
        }
        return found

    def objects(self, subject: str) -> bool:
        # Who agreed to anything anew does not object to everything any more: seen from another record of theirs.
        elsewhere = any(
            super(Offering, self).objects(other) and {*self.contact(other).refused} == {*OfferKind}
            for other in self.others(subject)
        )
        return super().objects(subject) or elsewhere

    @rule(campaign=CAMPAIGN)
    def plan(self, campaign: Any) -> None:
        kind = kind_of(campaign)
        self.do(
            PlanCampaign(
                campaign_id=campaign, kind=kind, channel=Channel.EMAIL, opt_out=Channel.LINK,
                similar=is_similar(campaign), partner="P-1" if kind is PARTNER else None,
            ),
            CampaignExists if campaign in self.campaigns else None,
        )  # fmt: skip
        if campaign not in self.campaigns:
            self.campaigns.append(campaign)

    # --- what offers may rest on -----------------------------------------------------------------------------------

    @rule(subject=PERSON, person_type=st.sampled_from(PersonType))
    def classify(self, subject: Any, person_type: PersonType) -> None:
        command = ClassifyContact(subject_id=subject, person_type=person_type)
        self.do(command, None if subject in self.people else SubjectUnknown)
        if subject in self.people:
            self.contact(subject).person_type = person_type

    @rule(subject=PERSON, offered=st.booleans())
    def sell(self, subject: Any, offered: bool) -> None:
        command = RecordSale(subject_id=subject, reference="S-1", opt_out_offered=offered)
        self.do(command, None if subject in self.people else SubjectUnknown)
        if subject in self.people and offered:
            self.contact(subject).sale = not self.contact(subject).objected

    @rule(subject=PERSON, kind=KIND, number=st.integers(0, 3))
    def agree(self, subject: Any, kind: OfferKind, number: int) -> None:
        consent_id: Any = an_id(f"marketing consent {subject} {kind} {number}")
        command = GiveMarketingConsent(
            consent_id=consent_id, subject_id=subject, kind=kind, channels=(Channel.EMAIL,), text_sha256=DIGEST,
            language="et", channel=Channel.SOFTWARE,
        )  # fmt: skip
        if subject not in self.people:
            self.do(command, SubjectUnknown)
        elif consent_id in self.given:
            self.do(command, ConsentExists)
        else:
            self.given.add(consent_id)
            self.contact(subject).agreed[consent_id] = (kind, self.do(command))
            self.contact(subject).refused.pop(kind, None)

    @precondition(lambda self: self.given)
    @rule(subject=PERSON, kind=KIND, number=NUMBERS)
    def disagree(self, subject: Any, kind: OfferKind, number: int) -> None:
        consent_id: Any = an_id(f"marketing consent {subject} {kind} {number}")
        stands = subject in self.people and consent_id in self.contact(subject).agreed
        index = self.do(
            WithdrawMarketingConsent(
                consent_id=consent_id, subject_id=subject, channel=Channel.PHONE, received_at=self.now
            ),
            None if stands else MarketingConsentUnknown,
        )
        if stands:
            contact = self.contact(subject)
            del contact.agreed[consent_id]
            if not contact.agrees(kind):
                contact.refused[kind] = index

    @precondition(lambda self: self.sendings or self.reserved())
    @rule(subject=PERSON)
    def object(self, subject: Any) -> None:
        command = ObjectToMarketing(subject_id=subject, channel=Channel.LINK, received_at=self.now)
        if subject not in self.people:
            self.do(command, SubjectUnknown)
            return
        index = self.do(command)
        contact = self.contact(subject)
        addresses = {self.values[at] for at in contact.emails if self.values[at] != GONE}
        for address in addresses:
            self.objectors.setdefault(address, set()).add(subject)
        self.objectors.setdefault("", set()).add(subject)  # whether an address was known or not
        since = sum(who == subject and at >= self.now for who, at in self.sendings)
        self.objections.append((subject, len(addresses), since))
        contact.objected, contact.sale, contact.agreed = True, False, {}
        contact.refused = dict.fromkeys(OfferKind, index)
        self.people[subject].proofs.append((index, "objected"))
        if addresses:
            self.people[subject].sealed[index] = RetentionClass.SUPPRESSION
        self.people[subject].kept.add(RetentionClass.SUPPRESSION)

    # --- offers ----------------------------------------------------------------------------------------------------

    def verdict(self, contact: Contact, campaign: str, shared: bool) -> OfferBasis | type[Refused]:
        """Return on what an offer may rest, or why it may not go; `shared`: somebody else objected with the address."""
        kind = kind_of(campaign)
        agreed = contact.agrees(kind)
        by_type = contact.person_type is PersonType.LEGAL
        if contact.role is SubjectRole.PROCESSOR:
            return ProcessorRole
        if contact.objected and not agreed:
            return ObjectionStands
        if kind in contact.heard and not contact.agrees(kind, contact.heard[kind]):
            return PersonRefused
        if contact.restricted(kind):
            return Restricted
        if shared:
            return AddressSuppressed
        if contact.email is None:
            return AddressMissing
        if not self.usable(contact.email):
            return SourceSuspended
        if contact.untold:
            return NoticeOwed
        if agreed:
            basis = OfferBasis.CONSENT
        elif kind in contact.refused:
            return OfferBasisMissing
        elif kind is OWN and contact.sale and is_similar(campaign):
            basis = OfferBasis.SALE
        elif by_type and not contact.objected:
            basis = OfferBasis.OPT_OUT
        else:
            return OfferBasisMissing
        taken = contact.in_window(PARTNER, {"reserved", "sent"}, campaign)
        if kind is PARTNER and taken >= MOST:
            return PartnerCapReached
        if kind is PARTNER and taken + 1 >= contact.in_window(OWN, {"sent"}, campaign):
            return PartnerNotFewer
        return basis

    def is_shared(self, subject: str, emails: list[int], objectors: dict[str, set[str]]) -> bool:
        addresses = {self.values[at] for at in emails if self.values[at] != GONE}
        return any(objectors.get(address, set()) - {subject} for address in addresses)

    @rule(subject=PERSON, campaign=CAMPAIGN)
    def reserve(self, subject: Any, campaign: Any) -> None:
        command = ReserveOffer(campaign_id=campaign, subject_id=subject)
        if campaign not in self.campaigns:
            self.do(command, CampaignUnknown)
        elif subject not in self.people:
            self.do(command, SubjectUnknown)
        elif campaign in self.contact(subject).offers:
            self.do(command, OfferExists)
        else:
            self.decide_offer(command, subject, campaign, "reserved")

    @rule(subject=PERSON, campaign=CAMPAIGN, aimed=AIMED)
    def send(self, subject: Any, campaign: Any, aimed: bool) -> None:
        subject, campaign = self.aim(aimed, (subject, campaign), self.reserved())
        command = SendOffer(campaign_id=campaign, subject_id=subject)
        if campaign not in self.campaigns:
            self.do(command, CampaignUnknown)
        elif subject not in self.people or self.contact(subject).offers.get(campaign) != "reserved":
            self.do(command, OfferNotReserved)
        else:
            self.decide_offer(command, subject, campaign, "sent")

    def reserved(self) -> list[tuple[Any, Any]]:
        return [
            (who, name) for who, one in self.contacts.items() for name, at in one.offers.items() if at == "reserved"
        ]

    def decide_offer(self, command: Any, subject: str, campaign: str, stage: str) -> None:
        contact = self.contact(subject)
        said = self.verdict(contact, campaign, self.is_shared(subject, contact.emails, self.objectors))
        if isinstance(said, OfferBasis):
            self.do(command)
            contact.offers[campaign] = self.came_to[campaign, subject] = stage
            if stage == "sent":
                self.sendings.append((subject, self.now))
        else:
            self.do(command, said, kept=True)
            contact.offers.pop(campaign, None)
            self.came_to[campaign, subject] = said.code

    @rule(subject=PERSON, campaign=CAMPAIGN)
    def offer(self, subject: Any, campaign: Any) -> None:
        """Reserve and send in a row, as a mailer does."""
        self.reserve(subject, campaign)
        self.send(subject, campaign, False)

    @rule(subject=PERSON, first=st.integers(0, 4), steps=STEPS)
    def write_to(self, subject: Any, first: int, steps: int) -> None:
        """Go some steps of the usual way: plan, with the person's agreement reserve and send, own offers first."""
        for campaign in CAMPAIGNS[first : first + steps]:
            if campaign not in self.campaigns:
                self.plan(campaign)
            if subject in self.people and not self.contact(subject).agrees(kind_of(campaign)):
                self.agree(subject, kind_of(campaign), len(self.given) % 4)
            self.offer(subject, campaign)

    @precondition(lambda self: self.reserved())
    @rule(subject=PERSON, campaign=CAMPAIGN)
    def give_back(self, subject: Any, campaign: Any) -> None:
        reserved = subject in self.people and self.contact(subject).offers.get(campaign) == "reserved"
        self.do(
            SuppressOffer(campaign_id=campaign, subject_id=subject, reason="bounced"),
            None if reserved else OfferNotReserved,
        )
        if reserved:
            del self.contact(subject).offers[campaign]
            self.came_to[campaign, subject] = "bounced"

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        results = {
            campaign: sorted(stage for (name, _), stage in self.came_to.items() if name == campaign)
            for campaign in self.campaigns
        }
        return super().view() | {
            "campaigns": results,
            "objections": list(self.objections),
            "may send": {
                "contacts": {subject: copy.deepcopy(self.contact(subject)) for subject in self.people},
                "objectors": copy.deepcopy(self.objectors),
                "revoked": {name for name, one in self.guarantees.items() if one.revoked},
            },
        }

    def expected(self, view: View) -> View:
        """May this be sent to these, by what was known then and is not erased by now?"""
        then = view["may send"]
        may_send: dict[str, dict[str, str]] = {}
        revoked_now = {name: one.revoked for name, one in self.guarantees.items()}
        for name, one in self.guarantees.items():
            one.revoked = name in then["revoked"]
        for campaign in view["campaigns"]:
            said = may_send[campaign] = dict.fromkeys(PEOPLE, SubjectUnknown.code)
            for subject, contact in then["contacts"].items():
                shared = self.is_shared(subject, contact.emails, then["objectors"])
                verdict = self.verdict(contact, campaign, shared)
                said[subject] = str(verdict) if isinstance(verdict, OfferBasis) else verdict.code
        for name, revoked in revoked_now.items():
            self.guarantees[name].revoked = revoked
        return super().expected(view) | {"may send": may_send}

    def ask(self, as_of: int | None, then: datetime) -> View:
        campaigns = self.asked.campaigns(as_of=as_of)
        return super().ask(as_of, then) | {
            "campaigns": {
                one.campaign_id: sorted(
                    [*["reserved"] * one.reserved, *["sent"] * one.sent]
                    + [reason for reason, count in one.suppressed.items() for _ in range(count)]
                )
                for one in campaigns
            },
            "objections": [
                (one.subject_id, one.addresses, one.sent_since) for one in self.asked.suppression_list(as_of=as_of)
            ],
            "may send": {
                one.campaign_id: {
                    said.subject_id: str(said.basis or said.reason)
                    for said in self.asked.may_send(one.campaign_id, PEOPLE, as_of=as_of)  # type: ignore[arg-type]
                }
                for one in campaigns
            },
        }
