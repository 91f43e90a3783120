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

from ledger import Actor, Ledger
from ledger.commands import VoidDisclosure
from ledger.policy import Policy
from ledger.state.retention import Term
from ledger.vocabulary import (
    Address,
    CampaignId,
    ClientId,
    IdentifierKind,
    OrderId,
    Purpose,
    RecipientId,
    RetentionClass,
    Role,
    Sha256Hex,
    SubjectId,
    ViolationId,
    Word,
)
from projections.activities import ActivityRecord, activities
from projections.breaches import BreachRecord, breaches
from projections.compare import Comparison, Difference
from projections.consents import Consent, Consents
from projections.disclosures import Disclosure, Disclosures, DisclosureStep
from projections.documents import Binding, Document, bindings, document_text, documents
from projections.employees import Employee, Violation, employees, resolved_violations, violations
from projections.holds import Hold, Holds
from projections.marketing import Campaign, ContactStep, Marketing, MaySend, Objection
from projections.order_trail import Content, Dispute, OrderStep, OrderSummary, OrderTrail, OrderTrails
from projections.personal_data import FieldState, FieldVersion, IdentifierState, PersonalData, SubjectState
from projections.persons import narrowed, person
from projections.projection import AsOf
from projections.recipients import NamedRecipient, Obligation, Recipient, Recipients
from projections.registers import Registers
from projections.requests import Requests, RequestState
from projections.restrictions import Restriction, Restrictions
from projections.retention import Retention
from projections.runner import MAX_DIFFERENCES, Progress, Quarantined, Runner, Status
from projections.sources import Guarantee, NoticeOwed, Origin, QuarantinedBatch, Sources
from projections.storage.sqlite import SqliteStore
from projections.storage.store import Store
from projections.subject_history import HistoryPage, subject_history
from projections.values import ValueState

__all__ = [
    "PROJECTIONS_FILE",
    "ActivityRecord",
    "AsOf",
    "Binding",
    "BreachRecord",
    "Campaign",
    "Comparison",
    "Consent",
    "ContactStep",
    "Content",
    "Difference",
    "Disclosure",
    "DisclosureStep",
    "Dispute",
    "Document",
    "Employee",
    "FieldState",
    "FieldVersion",
    "Guarantee",
    "HistoryPage",
    "Hold",
    "IdentifierState",
    "MaySend",
    "NamedRecipient",
    "NoticeOwed",
    "Objection",
    "Obligation",
    "OrderStep",
    "OrderSummary",
    "OrderTrail",
    "Origin",
    "Progress",
    "Projections",
    "Quarantined",
    "QuarantinedBatch",
    "Recipient",
    "RequestState",
    "Restriction",
    "Status",
    "SubjectState",
    "ValueState",
    "Violation",
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
        self._requests = Requests(store)
        self._restrictions = Restrictions(store)
        self._holds = Holds(store)
        self._registers = Registers(ledger, store)
        self._ledger = ledger
        self._retention = Retention(ledger, store)
        self.runner = Runner(
            ledger,
            store,
            (
                self._personal_data,
                self._consents,
                self._disclosures,
                self._order_trails,
                self._requests,
                self._restrictions,
                self._holds,
                self._retention,
                self._registers,
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

    def subject_history(
        self,
        subject_id: SubjectId,
        *,
        viewer: Role = Role.SUBJECT,
        after: int = 0,
        limit: int = 100,
        as_of: AsOf = None,
    ) -> HistoryPage:
        """All that was recorded of a person, as a viewer may see it. See `subject_history.subject_history`."""
        return subject_history(self._ledger, subject_id, viewer=viewer, after=after, limit=limit, as_of=as_of)

    def lookup(self, kind: IdentifierKind, value: str) -> list[SubjectId]:
        """Whose identifier this is or was, the first known first. See `PersonalData.lookup`."""
        return self._personal_data.lookup(kind, value)

    def consents(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Consent, ...]:
        """Every consent that a subject had given, withdrawn or not. See `Consents.consents`."""
        return self._consents.consents(subject_id, as_of=as_of)

    def live_consents(
        self, subject_id: SubjectId, *, recipient_id: RecipientId | None, purpose: Purpose, as_of: AsOf = None
    ) -> tuple[Consent, ...]:
        """The live consents for exactly this recipient (None: the company) and purpose. See `Consents.live`.

        While records are merged, what another one of them withdrew is not live here.
        """
        found = self._consents.live(subject_id, recipient_id=recipient_id, purpose=purpose, as_of=as_of)
        return narrowed(self._registers, self._ledger, subject_id, found, as_of=as_of)

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

    def contact(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[ContactStep, ...]:
        """What was recorded of a person about offers. See `Marketing.contact`."""
        return self._marketing.contact(subject_id, as_of=as_of)

    def campaigns(self, *, as_of: AsOf = None) -> tuple[Campaign, ...]:
        """Every campaign, and what it came to. See `Marketing.campaigns`."""
        return self._marketing.campaigns(as_of=as_of)

    def suppression_list(self, *, as_of: AsOf = None) -> tuple[Objection, ...]:
        """Who objected to offers. See `Marketing.suppression_list`."""
        return self._marketing.suppression_list(as_of=as_of)

    def quarantined_batches(self, *, as_of: AsOf = None) -> tuple[QuarantinedBatch, ...]:
        """The batches of other sources that are not usable. See `Sources.quarantine`."""
        return self._sources.quarantine(as_of=as_of)

    def origins(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Origin, ...]:
        """Which registered sources a person's data came from. See `Sources.origins`."""
        return self._sources.origins(subject_id, as_of=as_of)

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

    def quarantine(self, *, as_of: AsOf = None) -> tuple[OrderSummary, ...]:
        """The orders that wait until somebody decides. See `OrderTrails.quarantine`."""
        return self._order_trails.quarantine(as_of=as_of)

    def requests(self, subject_id: SubjectId | None = None, *, as_of: AsOf = None) -> tuple[RequestState, ...]:
        """The requests of a subject, or of everybody, with their clocks. See `Requests.requests`."""
        return self._requests.requests(subject_id, as_of=as_of)

    def restrictions(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Restriction, ...]:
        """Every restriction of a subject's data. See `Restrictions.restrictions`."""
        return self._restrictions.restrictions(subject_id, as_of=as_of)

    def statements(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[int, ...]:
        """The entries of a subject's own statements. See `Restrictions.statements`."""
        return self._restrictions.statements(subject_id, as_of=as_of)

    def owed_address_notices(self) -> Iterator[tuple[int, datetime, Address]]:
        """Which contact addresses are to be told still. See `Restrictions.owed_notices`."""
        return self._restrictions.owed_notices()

    def holds(
        self, subject_id: SubjectId | None = None, *, as_of: AsOf = None, open_only: bool = False
    ) -> tuple[Hold, ...]:
        """The legal holds on a subject's data, or all. See `Holds.holds`."""
        return self._holds.holds(subject_id, as_of=as_of, open_only=open_only)

    def retention(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Term, ...]:
        """Until when each class of a subject's data is kept. See `Retention.retention`."""
        return self._retention.retention(subject_id, as_of=as_of)

    def kept_since(self, retention_class: RetentionClass, before: datetime) -> list[SubjectId]:
        """Who has something in a class, none of it newer. See `Retention.due`."""
        return self._retention.due(retention_class, before)

    def over(self, subject_id: SubjectId, retention_class: RetentionClass, now: datetime) -> Term | None:
        """A period that is over and that nothing keeps from expiring. See `Retention.over`."""
        return self._retention.over(subject_id, retention_class, now)

    def released_erasures(self, now: datetime) -> Iterator[tuple[SubjectId, RetentionClass, int]]:
        """Decided erasures that neither a hold nor the law defers any more. See `Retention.released`."""
        return self._retention.released(now)

    def policy(self, *, as_of: AsOf = None) -> Policy | None:
        """The policy in force as of then, None before any."""
        return self._retention.in_force(as_of=as_of)

    def person(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[SubjectId, ...]:
        """The records of one person, merged with this one. See `persons.person`."""
        return person(self._registers, subject_id, as_of=as_of)

    def activities(self, *, as_of: AsOf = None) -> tuple[ActivityRecord, ...]:
        """The record of processing activities of GDPR Art. 30. See `activities.activities`."""
        return activities(self._registers, self._personal_data.clients(as_of=as_of), as_of=as_of)

    def documents(self, *, as_of: AsOf = None) -> tuple[Document, ...]:
        """Every published document. See `documents.documents`."""
        return documents(self._registers, as_of=as_of)

    def document_text(self, text_sha256: Sha256Hex) -> str:
        """A published text, to the byte. See `documents.document_text`."""
        return document_text(self._ledger, text_sha256)

    def bindings(self, subject_id: SubjectId, at: datetime, *, as_of: AsOf = None) -> tuple[Binding, ...]:
        """Which text bound a person at a moment. See `documents.bindings`."""
        return bindings(self._registers, subject_id, at, as_of=as_of)

    def employees(self, now: datetime, *, as_of: AsOf = None) -> tuple[Employee, ...]:
        """Who works here, and who may see personal data at `now`. See `employees.employees`."""
        return employees(self._registers, now, as_of=as_of)

    def violations(self, actor: Actor) -> tuple[Violation, ...]:
        """Violations, for the officer only. See `employees.violations`."""
        return violations(self._registers, self._ledger, actor)

    def resolved_violations(self) -> Iterator[tuple[ViolationId, datetime]]:
        """Which violations are resolved, and since when. See `employees.resolved_violations`."""
        return resolved_violations(self._registers)

    def breaches(self, *, show: bool = False, as_of: AsOf = None) -> tuple[BreachRecord, ...]:
        """The breach register of GDPR Art. 33(5). See `breaches.breaches`."""
        return breaches(self._registers, self._ledger, show=show, as_of=as_of)

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

    def hurry(self) -> None:
        """Have the follower take in what there is at once, instead of waiting for more."""
        self.runner.hurry()

    def rebuild(self, progress: Progress | None = None) -> int:
        """Build everything anew beside what is in use and turn to it at once; return the position reached."""
        return self.runner.rebuild(progress)

    def verify(self, progress: Progress | None = None, *, limit: int = MAX_DIFFERENCES) -> Comparison:
        """Build everything anew and compare it with what is in use, row by row."""
        return self.runner.verify(progress, limit=limit)

    def position(self) -> int:
        """How many entries are taken in."""
        return self.runner.position()

    def status(self) -> Status:
        """How far the projections are, and what is quarantined."""
        return self.runner.status()


def open_projections(ledger: Ledger, place: Path | Store) -> Projections:
    """Return the projections of `ledger` in `place`; a path is a SQLite file, by custom beside the ledger's own.

    Opens nothing yet, so it cannot fail: the first `catch_up` or `follow` builds what is not there.
    """
    return Projections(ledger, SqliteStore(place) if isinstance(place, Path) else place)
