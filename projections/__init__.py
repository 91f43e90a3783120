"""The read side of Prooftrail: what the ledger adds up to, disposable and rebuilt from it at any time.

    with open_projections(ledger, data / PROJECTIONS_FILE) as projections:
        projections.catch_up()                      # or follow(), in a process that stays
        projections.state(subject_id)               # now
        projections.state(subject_id, as_of=then)   # what was known then

Every question may be asked as of a recorded moment (aware datetime) or a position (int: that many entries).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from ledger import Ledger
from ledger.commands import VoidDisclosure
from ledger.vocabulary import (
    CampaignId,
    ClientId,
    IdentifierKind,
    OrderId,
    Purpose,
    RecipientId,
    Role,
    SubjectId,
    Word,
)
from projections.compare import Comparison, Difference
from projections.consents import Consent, Consents
from projections.disclosures import Disclosure, Disclosures, DisclosureStep
from projections.marketing import Campaign, Marketing, MaySend, Objection
from projections.order_trail import Content, Dispute, OrderStep, OrderSummary, OrderTrail, OrderTrails
from projections.personal_data import FieldState, FieldVersion, IdentifierState, PersonalData, SubjectState
from projections.projection import AsOf
from projections.recipients import NamedRecipient, Obligation, Recipient, Recipients
from projections.runner import MAX_DIFFERENCES, Progress, Quarantined, Runner, Status
from projections.sources import Guarantee, NoticeOwed, QuarantinedBatch, Sources
from projections.store import Store
from projections.values import ValueState

__all__ = [
    "PROJECTIONS_FILE",
    "AsOf",
    "Campaign",
    "Comparison",
    "Consent",
    "Content",
    "Difference",
    "Disclosure",
    "DisclosureStep",
    "Dispute",
    "FieldState",
    "FieldVersion",
    "Guarantee",
    "IdentifierState",
    "MaySend",
    "NamedRecipient",
    "NoticeOwed",
    "Objection",
    "Obligation",
    "OrderStep",
    "OrderSummary",
    "OrderTrail",
    "Progress",
    "Projections",
    "Quarantined",
    "QuarantinedBatch",
    "Recipient",
    "Status",
    "SubjectState",
    "ValueState",
    "open_projections",
]

PROJECTIONS_FILE: Final = "projections.db"


class Projections:
    """Every question, and the runner. Safe for many threads; several processes may share one file.

    A question is answered from what was taken in so far: `catch_up`, `follow` and `wait_for` say how far that is. All
    raise StorageError when nothing is built yet or the file is damaged.
    """

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._store = store
        self._personal_data = PersonalData(ledger, store)
        self._consents = Consents(store)
        self._disclosures = Disclosures(ledger, store)
        self._recipients = Recipients(ledger, store)
        self._marketing = Marketing(ledger, store)
        self._sources = Sources(store)
        self._order_trails = OrderTrails(ledger, store)
        self.runner = Runner(
            ledger,
            store,
            (
                self._personal_data,
                self._consents,
                self._disclosures,
                self._order_trails,
                self._recipients,
                self._marketing,
                self._sources,
            ),
        )

    def close(self) -> None:
        """Stop following and close every connection. The ledger stays open; close it afterwards."""
        self.runner.stop()
        self._store.close()

    def __enter__(self) -> Projections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- questions -------------------------------------------------------------------------------------------

    def state(self, subject_id: SubjectId, *, as_of: AsOf = None, valid_at: datetime | None = None) -> SubjectState:
        """What is held of a subject: known as of then, true at `valid_at`. See `PersonalData.state`."""
        return self._personal_data.state(subject_id, as_of=as_of, valid_at=valid_at)

    def history(
        self, subject_id: SubjectId, *, field: Word | None = None, as_of: AsOf = None
    ) -> tuple[FieldVersion, ...]:
        """Every version of a subject's fields, or of one, in the order of recording. See `PersonalData.history`."""
        return self._personal_data.history(subject_id, field=field, as_of=as_of)

    def lookup(self, kind: IdentifierKind, value: str) -> list[SubjectId]:
        """Whose identifier this is or was, the first known first. See `PersonalData.lookup`."""
        return self._personal_data.lookup(kind, value)

    def consents(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Consent, ...]:
        """Every consent that a subject had given, withdrawn or not. See `Consents.consents`."""
        return self._consents.consents(subject_id, as_of=as_of)

    def live_consents(
        self, subject_id: SubjectId, *, recipient_id: RecipientId | None, purpose: Purpose, as_of: AsOf = None
    ) -> tuple[Consent, ...]:
        """The live consents for exactly this recipient (None: the company) and purpose. See `Consents.live`."""
        return self._consents.live(subject_id, recipient_id=recipient_id, purpose=purpose, as_of=as_of)

    def disclosures(
        self, subject_id: SubjectId, *, viewer: Role = Role.SUBJECT, as_of: AsOf = None
    ) -> tuple[Disclosure, ...]:
        """The accounting of disclosures of a subject's data, as a viewer may see it. See `Disclosures.disclosures`."""
        return self._disclosures.disclosures(subject_id, viewer=viewer, as_of=as_of)

    def recipients(self, *, as_of: AsOf = None) -> tuple[Recipient, ...]:
        """Every recipient, as it was last registered. See `Recipients.recipients`."""
        return self._recipients.recipients(as_of=as_of)

    def recipients_of(
        self, subject_id: SubjectId, *, viewer: Role = Role.SUBJECT, as_of: AsOf = None
    ) -> tuple[NamedRecipient, ...]:
        """The actual recipients of a person's data. See `Recipients.recipients_of`."""
        return self._recipients.recipients_of(subject_id, viewer=viewer, as_of=as_of)

    def obligations(
        self, subject_id: SubjectId, *, viewer: Role = Role.SUBJECT, as_of: AsOf = None
    ) -> tuple[Obligation, ...]:
        """The notices that recipients of a person's data are owed. See `Recipients.obligations`."""
        return self._recipients.obligations(subject_id, viewer=viewer, as_of=as_of)

    def everybodys_obligations(self, *, as_of: AsOf = None) -> tuple[Obligation, ...]:
        """The notices that recipients are owed about anybody, secret disclosures too: for the officer."""
        return self._recipients.obligations(viewer=Role.OFFICER, as_of=as_of)

    def may_send(
        self, campaign_id: CampaignId, subject_ids: Sequence[SubjectId], *, as_of: AsOf = None
    ) -> tuple[MaySend, ...]:
        """May an offer of this campaign go to these people, and why (not)? See `Marketing.may_send`."""
        return self._marketing.may_send(campaign_id, subject_ids, as_of=as_of)

    def campaigns(self, *, as_of: AsOf = None) -> tuple[Campaign, ...]:
        """Every campaign, and what it came to. See `Marketing.campaigns`."""
        return self._marketing.campaigns(as_of=as_of)

    def suppression_list(self, *, as_of: AsOf = None) -> tuple[Objection, ...]:
        """Who objected to offers. See `Marketing.suppression_list`."""
        return self._marketing.suppression_list(as_of=as_of)

    def quarantine(self, *, as_of: AsOf = None) -> tuple[QuarantinedBatch, ...]:
        """The batches of other sources that are not usable. See `Sources.quarantine`."""
        return self._sources.quarantine(as_of=as_of)

    def guarantees(self, *, as_of: AsOf = None) -> tuple[Guarantee, ...]:
        """The guarantees of issuers that were not revoked. See `Sources.guarantees`."""
        return self._sources.guarantees(as_of=as_of)

    def notices_owed(self, *, as_of: AsOf = None) -> tuple[NoticeOwed, ...]:
        """Who is to be told where their data comes from. See `Sources.notices_owed`."""
        return self._sources.notices_owed(as_of=as_of)

    def run_out_authorizations(self, now: datetime) -> Iterator[VoidDisclosure]:
        """What voids the authorizations that nobody used in time. See `Sources.run_out`."""
        return self._sources.run_out(now)

    def trail(self, order_id: OrderId, *, as_of: AsOf = None) -> OrderTrail:
        """All that was recorded of an order, with its exact bytes. See `OrderTrails.trail`."""
        return self._order_trails.trail(order_id, as_of=as_of)

    def orders(
        self, *, subject_id: SubjectId | None = None, client_id: ClientId | None = None, as_of: AsOf = None
    ) -> tuple[OrderSummary, ...]:
        """The orders that a subject took part in, or those of a client. See `OrderTrails.orders`."""
        return self._order_trails.orders(subject_id=subject_id, client_id=client_id, as_of=as_of)

    # --- running ---------------------------------------------------------------------------------------------

    def catch_up(self, progress: Progress | None = None) -> int:
        """Take in what the ledger has now; return the position reached. Builds when there is nothing. See `Runner`."""
        return self.runner.catch_up(progress)

    def follow(self) -> None:
        """Follow the ledger in a thread of its own, until `close`."""
        self.runner.follow()

    def wait_for(self, position: int, timeout_s: float = 5.0) -> bool:
        """Wait until a receipt's position is taken in; return whether it is. Without a follower it does the work."""
        return self.runner.wait_for(position, timeout_s)

    def rebuild(self, progress: Progress | None = None) -> int:
        """Build everything anew beside what is in use and turn to it at once; return the position reached."""
        return self.runner.rebuild(progress)

    def verify(self, progress: Progress | None = None, *, limit: int = MAX_DIFFERENCES) -> Comparison:
        """Build everything anew and compare it with what is in use, row by row."""
        return self.runner.verify(progress, limit=limit)

    def status(self) -> Status:
        """How far the projections are, and what is quarantined."""
        return self.runner.status()


def open_projections(ledger: Ledger, path: Path) -> Projections:
    """Return the projections of `ledger` at `path` (by custom, `projections.db` beside the ledger's own files).

    Opens nothing yet, so it cannot fail: the first `catch_up` or `follow` builds what is not there.
    """
    return Projections(ledger, Store(path))
