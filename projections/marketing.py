"""Offers: may this go to these, who objected, and what campaigns came to. Clause 7.

`may_send` answers for thousands of people in one call by the rules of the ledger itself (`ledger.state.marketing`):
it reads their steps instead of their events. It is advice: the offer is decided when it is reserved, and when sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from ledger import Ledger, sealing
from ledger.entry import parse_moment
from ledger.errors import CampaignUnknown, Invalid, PolicyMissing, Refused, SubjectUnknown
from ledger.events import CampaignPlanned, Event, MarketingObjected, OfferReserved, OfferSent, OfferSuppressed
from ledger.state.marketing import EVENTS, Standing, What, steps, verdict
from ledger.vocabulary import CampaignId, Channel, OfferBasis, OfferKind, Reference, SubjectId, Word
from projections.policies import policy_now
from projections.projection import AsOf, Item, Projection, bound, text
from projections.storage.store import Row, Rows, Store, Writer

# How many people one question may be about.
MAX_SUBJECTS: Final = 10_000
# How many of them one statement asks for; it is always the same, so that it is prepared once.
_AT_ONCE: Final = 500


class MaySend(msgspec.Struct, frozen=True, gc=False):
    """Whether an offer may go to a person: on what it would rest, or the one reason why not."""

    subject_id: SubjectId
    allowed: bool
    basis: OfferBasis | None
    reason: Word | None


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign and what it came to: offers reserved and not yet sent, sent, and suppressed by reason."""

    campaign_id: CampaignId
    kind: OfferKind
    channel: Channel
    similar: bool
    opt_out: Channel
    partner: Reference | None
    planned_at: datetime
    reserved: int
    sent: int
    suppressed: dict[Word, int]


class ContactStep(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was recorded of a person about offers: consent, objection, sale, offer, as `what` says.

    `about` is the consent or campaign, or the person type; `kind` own or partner; `channels` those of a consent.
    """

    what: Word
    about: str | None
    kind: OfferKind | None
    channels: tuple[Channel, ...]
    entry: int
    recorded_at: datetime


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody on the suppression list. `addresses` counts those listed, `sent_since` the offers sent after receipt."""

    subject_id: SubjectId
    received_at: datetime
    recorded_at: datetime
    channel: Channel
    addresses: int
    sent_since: int


_MARKS: Final = ", ".join("?" * _AT_ONCE)
# What a merge may carry along again counts since its first time, unless the records parted in between: all are read.
EACH_TIME: Final = (What.RESTRICTED, What.CARRIED)
_EACH_TIME: Final = ", ".join(f"'{what}'" for what in EACH_TIME)
# Of the rest, what is said again word for word counts at its last time alone: so a busy life is a few rows.
_STEPS: Final = f"""
SELECT subject, max(recorded_at), what, about, kind, more, max(idx) FROM contact_steps
WHERE subject IN ({_MARKS}) AND idx < ? AND recorded_at <= ? AND what NOT IN ({_EACH_TIME})
GROUP BY subject, what, about, kind, more
UNION ALL
SELECT subject, recorded_at, what, about, kind, more, idx FROM contact_steps
WHERE subject IN ({_MARKS}) AND idx < ? AND recorded_at <= ? AND what IN ({_EACH_TIME})
ORDER BY 1, 7
"""
_SHARED: Final = f"""
SELECT DISTINCT i.subject FROM identifiers i JOIN suppressed_addresses s ON s.digest = i.digest
WHERE i.subject IN ({_MARKS}) AND s.subject <> i.subject AND s.idx < ? AND i.idx < ?
"""
_CONTACT: Final = """
SELECT what, about, kind, more, idx, recorded_at FROM contact_steps
WHERE subject = ? AND idx < ? AND recorded_at <= ? AND what IN (
    'classified', 'sale', 'consent', 'withdrawn', 'objected', 'reserved', 'sent', 'suppressed'
) ORDER BY idx, n
"""
# recorded_at never runs backwards, so a moment is a position.
_END: Final = "SELECT COALESCE(max(idx) + 1, 0) FROM contact_steps WHERE recorded_at <= ?"
_CAMPAIGNS: Final = """
SELECT campaign, recorded_at, kind, channel, is_similar, opt_out, partner FROM campaigns
WHERE idx < ? AND recorded_at <= ? ORDER BY idx
"""
_OFFERS: Final = """
SELECT o.campaign, o.what, o.reason, count(*) FROM offers o
WHERE o.idx < ? AND o.recorded_at <= ? AND o.idx = (
    SELECT max(l.idx) FROM offers l
    WHERE l.campaign = o.campaign AND l.subject = o.subject AND l.idx < ? AND l.recorded_at <= ?
) GROUP BY o.campaign, o.what, o.reason
"""
_OBJECTIONS: Final = """
SELECT o.idx, o.subject, o.received_at, o.recorded_at, o.channel,
  (SELECT count(*) FROM suppressed_addresses a WHERE a.idx = o.idx),
  (SELECT count(*) FROM contact_steps c WHERE c.subject = o.subject AND c.what = 'sent'
     AND c.recorded_at >= o.received_at AND c.idx < o.idx)
FROM objections o WHERE o.idx < ? AND o.recorded_at <= ? ORDER BY o.idx
"""


class Marketing(Projection):
    """What decides about offers, person by person, and what became of each."""

    NAME: ClassVar[str] = "marketing"
    VERSION: ClassVar[int] = 2
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys((CampaignPlanned, *EVENTS))

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    # --- rows ------------------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        campaigns: list[Row] = []
        contact: list[Row] = []
        offers: list[Row] = []
        objections: list[Row] = []
        objected: list[Item] = []
        for item in batch:
            index, at, event = item.index, item.recorded_at, item.event
            if isinstance(event, CampaignPlanned):
                campaigns.append(
                    (
                        index, event.campaign_id, at, event.kind, event.channel, int(event.similar), event.opt_out,
                        event.partner,
                    )
                )  # fmt: skip
                continue
            subject_id: SubjectId = getattr(event, "subject_id")  # noqa: B009
            contact += [(index, n, who, at, *step) for n, (who, step) in enumerate(steps(event))]
            if isinstance(event, OfferReserved | OfferSent):
                what = "sent" if isinstance(event, OfferSent) else "reserved"
                offers.append((index, event.campaign_id, subject_id, at, what, None))
            elif isinstance(event, OfferSuppressed):
                offers.append((index, event.campaign_id, subject_id, at, "suppressed", event.reason))
            elif isinstance(event, MarketingObjected):
                objections.append((index, subject_id, at, text(event.received_at), event.channel))
                objected.append(item)
        writer.insert("campaigns", campaigns)
        writer.insert("contact_steps", contact)
        writer.insert("offers", offers)
        writer.insert("objections", objections)
        writer.insert("suppressed_addresses", self._digests(objected))

    def _digests(self, objected: Sequence[Item]) -> list[Row]:
        """Return the rows of the addresses that these objections list. Raises Tampered."""
        boxes = self._ledger.engine.boxes_of([item.index for item in objected])
        keys = self._ledger.keys.get_many({box.key_id for found in boxes.values() for box in found})
        rows: list[Row] = []
        for item in objected:
            for box in boxes.get(item.index, ()):
                key = keys.get(box.key_id)
                if key is None:
                    continue
                opened = sealing.open_box(
                    box, item.entry.sealed, ledger=self._ledger.origin, event_id=item.entry.id, key=key.secret
                )
                subject_id = getattr(item.event, "subject_id")  # noqa: B009
                rows += [(item.index, bytes.fromhex(d), subject_id) for d in opened["digests"].plain()]
        return rows

    # --- questions -------------------------------------------------------------------------------------------

    def may_send(
        self, campaign_id: CampaignId, subject_ids: Sequence[SubjectId], *, as_of: AsOf = None
    ) -> tuple[MaySend, ...]:
        """Say for each of up to 10,000 people, in their order, whether an offer of a campaign may go to them, and why.

        As of a moment it is what the rules of the policy in force now make of what was known then. Raises Invalid for
        more people, CampaignUnknown, PolicyMissing, StorageError.
        """
        if len(subject_ids) > MAX_SUBJECTS:
            raise Invalid("subjects", f"are more than {MAX_SUBJECTS:,}: ask in several calls")
        policy = policy_now(self._ledger)
        if policy is None:
            raise PolicyMissing
        now = as_of if isinstance(as_of, datetime) else self._ledger.now()
        known = bound(as_of)
        with self._store.read() as rows:
            campaign = self._campaign(rows, campaign_id, as_of)
            revoked = frozenset(
                guarantee
                for (guarantee,) in rows(
                    "SELECT guarantee FROM guarantee_revocations WHERE idx < ? AND recorded_at <= ?", *known
                )
            )
            end = rows(_END, known.moment)[0][0] if isinstance(as_of, datetime) else known.end
            answers: dict[SubjectId, MaySend] = {}
            for some in _chunks(subject_ids):
                standings = _standings(rows(_STEPS, *some, *known, *some, *known))
                shared = {subject for (subject,) in rows(_SHARED, *some, end, end)}
                for subject_id in some:
                    standing = standings.get(subject_id)
                    said: OfferBasis | type[Refused] = SubjectUnknown
                    if standing is not None and standing.role:
                        suppressed = subject_id in shared
                        said = verdict(standing, campaign, policy, now, revoked=revoked, suppressed=suppressed)
                    answers[subject_id] = _may_send(subject_id, said)
        return tuple(answers[subject_id] for subject_id in subject_ids)

    def contact(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[ContactStep, ...]:
        """Return what was recorded of a person about offers as of then, in the order of the log."""
        with self._store.read() as rows:
            found = rows(_CONTACT, subject_id, *bound(as_of))
        return tuple(
            ContactStep(
                what=Word(what),
                about=about or None,
                kind=OfferKind(kind) if kind else None,
                channels=tuple(map(Channel, more.split(","))) if more else (),
                entry=index,
                recorded_at=parse_moment(at),
            )
            for what, about, kind, more, index, at in found
        )

    def campaigns(self, *, as_of: AsOf = None) -> tuple[Campaign, ...]:
        """Return every campaign planned as of then, with what its offers came to, in order of planning."""
        known = bound(as_of)
        with self._store.read() as rows:
            planned = rows(_CAMPAIGNS, *known)
            counts = rows(_OFFERS, *known, *known)
        return tuple(_campaign(row, [c for c in counts if c[0] == row[0]]) for row in planned)

    def suppression_list(self, *, as_of: AsOf = None) -> tuple[Objection, ...]:
        """Return every objection to offers recorded as of then, in order of recording."""
        with self._store.read() as rows:
            found = rows(_OBJECTIONS, *bound(as_of))
        return tuple(
            Objection(
                subject_id=subject,
                received_at=parse_moment(received_at),
                recorded_at=parse_moment(recorded_at),
                channel=Channel(channel),
                addresses=addresses,
                sent_since=sent_since,
            )
            for _, subject, received_at, recorded_at, channel, addresses, sent_since in found
        )

    @staticmethod
    def _campaign(rows: Rows, campaign_id: CampaignId, as_of: AsOf) -> CampaignPlanned:
        found = rows(
            "SELECT kind, channel, is_similar, opt_out, partner FROM campaigns "
            "WHERE campaign = ? AND idx < ? AND recorded_at <= ?",
            campaign_id, *bound(as_of),
        )  # fmt: skip
        if not found:
            raise CampaignUnknown(campaign=campaign_id)
        kind, channel, similar, opt_out, partner = found[0]
        return CampaignPlanned(
            campaign_id=campaign_id,
            kind=OfferKind(kind),
            channel=Channel(channel),
            similar=bool(similar),
            opt_out=Channel(opt_out),
            partner=partner,
        )


def _may_send(subject_id: SubjectId, said: OfferBasis | type[Refused]) -> MaySend:
    if isinstance(said, OfferBasis):
        return MaySend(subject_id, True, said, None)
    return MaySend(subject_id, False, None, Word(said.code))


def _standings(found: Sequence[Row]) -> dict[SubjectId, Standing]:
    """Fold rows of _STEPS."""
    standings: dict[SubjectId, Standing] = {}
    for subject, at, what, about, kind, more, _ in found:
        standing = standings.get(subject)
        if standing is None:
            standing = standings[subject] = Standing()
        standing.fold((what, about, kind, more), at)
    return standings


def _chunks(subject_ids: Sequence[SubjectId]) -> Iterator[list[SubjectId]]:
    for first in range(0, len(subject_ids), _AT_ONCE):
        some = list(subject_ids[first : first + _AT_ONCE])
        yield some + [some[0]] * (_AT_ONCE - len(some))


def _campaign(row: tuple[Any, ...], counts: Sequence[tuple[Any, ...]]) -> Campaign:
    campaign_id, at, kind, channel, similar, opt_out, partner = row
    by_what: dict[str, int] = {}
    suppressed: dict[Word, int] = {}
    for _, what, reason, count in counts:
        if reason is None:
            by_what[what] = count
        else:
            suppressed[Word(reason)] = count
    return Campaign(
        campaign_id=campaign_id,
        kind=OfferKind(kind),
        channel=Channel(channel),
        similar=bool(similar),
        opt_out=Channel(opt_out),
        partner=partner,
        planned_at=parse_moment(at),
        reserved=by_what.get("reserved", 0),
        sent=by_what.get("sent", 0),
        suppressed=suppressed,
    )
