"""Client orders, from the software or by e-mail: their exact bytes, recorded to prove and reproduce. Clause 11."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command, unused
from ledger.errors import (
    CaseUnknown,
    DocumentNotInForce,
    IdempotencyMismatch,
    Invalid,
    OrderExists,
    OrderState,
    OrderUnknown,
    Refused,
    Restricted,
    SubjectUnknown,
    TransactionExists,
    UseNotNamed,
)
from ledger.events import (
    DisputeResolved,
    OrderAmended,
    OrderCancelled,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderQuarantined,
    OrderRecorded,
    OrderRejected,
    OrderReleased,
    OrderUsed,
    OrderUseDenied,
    PolicyAdopted,
    Transaction,
)
from ledger.policy import OrderUse, parse_policy
from ledger.rule import rule
from ledger.state.document import in_force, publications
from ledger.state.mandate import mandate_of, mandates, names_people
from ledger.state.order import Order, Standing, history, order
from ledger.state.policy import policies, policy
from ledger.state.restriction import ORDERS, restricted, restrictions
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    TERMS_NOT_STATED,
    CaseId,
    Channel,
    ClientId,
    DocumentKind,
    IdentityCheck,
    MediaType,
    OrderChannel,
    OrderId,
    Quarantine,
    Reference,
    RetentionClass,
    SubjectId,
    Tag,
    Word,
    case_tag,
    client_tag,
    order_tag,
    subject_tag,
)

MAX_FILE_NAME = 255

EXACT_BYTES = rule(
    "order-is-kept-to-the-byte",
    clause="11",
    promise="The bytes of an order are kept exactly, within the limit, of a person who is registered",
    source="Principles, clause 11",
    refusals=(SubjectUnknown, Invalid),
)
ONE_ORDER = rule(
    "order-is-recorded-once",
    clause="11",
    promise="The same order twice is one order, for ever",
    source="Principles, clause 11",
    refusals=(OrderExists,),
)
TERMS_OF_THE_DAY = rule(
    "order-names-terms-in-force",
    clause="3",
    promise="An order records the terms that were in force when it was received",
    source="Principles, clause 3",
    refusals=(DocumentNotInForce,),
)
STANDING_DECIDES = rule(
    "order-standing-decides",
    clause="11",
    promise="Where an order stands decides what may follow: what was cancelled is not executed, nor the reverse",
    source="Principles, clause 11",
    refusals=(OrderUnknown, OrderState),
)
TRANSACTION_ONCE = rule(
    "transaction-is-linked-once",
    clause="11",
    promise="A transaction is linked to an order once, so that the chain can be walked both ways",
    source="Principles, clause 11",
    refusals=(TransactionExists, Invalid),
)
CASE_IS_OPEN = rule(
    "only-an-open-case-is-resolved",
    clause="11",
    promise="A dispute is opened whatever the order's standing, and only a case that is open is resolved",
    source="Principles, clause 11",
    refusals=(CaseUnknown, OrderState),
)


SAME_ORDER = rule(
    "same-order-is-one",
    clause="11",
    promise="The same order twice, by idempotency key or Message-ID, is one order for ever",
    source="Principles, clause 11",
    refusals=(OrderExists, IdempotencyMismatch),
)
QUARANTINED = rule(
    "unverified-sender-waits",
    clause="11",
    promise="An order by e-mail of an unverified sender, or of one whom the client never named, waits until decided",
    source="Principles, clause 11",
    refusals=(OrderState,),
)
NAMED_USE = rule(
    "use-is-named",
    clause="11",
    promise="A recorded order is used for a purpose that the policy of its day names, or the denial is recorded",
    source="Principles, clause 11; GDPR Art. 5(1)(b)",
    refusals=(UseNotNamed,),
)
NOT_UNDER_RESTRICTION = rule(
    "restricted-orders-are-for-proof",
    clause="8-9",
    promise="While a person's data is restricted their orders are used for proof (of claims) and for nothing else",
    source="GDPR Art. 18(2)",
    refusals=(Restricted, OrderUnknown),
)


@command
class RecordOrder(Command, frozen=True):
    """Record an order as it came: the bytes unchanged, who for, when received, and how the sender was checked."""

    NAME: ClassVar[str] = "record-order"
    RECORDS = (OrderRecorded, OrderQuarantined)
    RULES = (EXACT_BYTES, ONE_ORDER, SAME_ORDER, TERMS_OF_THE_DAY, QUARANTINED)
    order_id: OrderId
    client_id: ClientId
    subject_id: SubjectId
    channel: OrderChannel
    media_type: MediaType
    content: bytes
    terms_version: Reference
    received_at: datetime
    authentication: Word = Word("not-checked")
    claimed_at: datetime | None = None
    file_name: str | None = None

    def boundary(self) -> Boundary:
        return (
            *registration(self.subject_id),
            *unused(history(self.order_id)),
            *publications(DocumentKind.TERMS),
            *mandates(self.client_id),
            *policies(),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        _check_content(self.content, self.file_name, context)
        if past.last(OrderRecorded) is not None:
            raise OrderExists(order=self.order_id)
        if self.received_at > context.now:
            raise Invalid("received_at", "is in the future")
        event = OrderRecorded(
            order_id=self.order_id,
            client_id=self.client_id,
            subject_id=self.subject_id,
            channel=self.channel,
            media_type=self.media_type,
            size_bytes=len(self.content),
            terms_version=self._terms(past),
            received_at=self.received_at,
            claimed_at=self.claimed_at,
            authentication=self.authentication,
            mandate_id=mandate_of(past, self.client_id, self.subject_id, self.received_at),
            content=self.content,
            file_name=self.file_name,
        )
        tags = [order_tag(self.order_id), client_tag(self.client_id), subject_tag(self.subject_id)]
        recorded = Fact(event, tags, scope(subject, RetentionClass.ORDER))
        reason = self._waits(past, event)
        if reason is None:
            return [recorded]
        waits = OrderQuarantined(
            order_id=self.order_id, client_id=self.client_id, subject_id=self.subject_id, reason=reason
        )
        return [recorded, Fact(waits, tags)]

    def _waits(self, past: Past, event: OrderRecorded) -> Quarantine | None:
        """Return why the order waits until somebody decides, None when it does not."""
        rules = policy(past)
        if rules is None:
            return None
        if self.channel is OrderChannel.EMAIL and self.authentication not in rules.verified_senders:
            return Quarantine.UNVERIFIED
        if event.mandate_id is None and names_people(past, self.client_id):
            return Quarantine.NO_MANDATE
        return None

    def _terms(self, past: Past) -> Reference:
        """Return the terms in force at receipt, once any are published. Raises DocumentNotInForce for others."""
        known = in_force(past, DocumentKind.TERMS, self.received_at)
        if known is None or known == self.terms_version:
            return self.terms_version
        if self.terms_version == TERMS_NOT_STATED:
            return known
        raise DocumentNotInForce(kind=DocumentKind.TERMS, version=self.terms_version, in_force=known)


class _Decision(Command, frozen=True):
    """A step of an order that its own history decides."""

    order_id: OrderId

    def boundary(self) -> Boundary:
        return history(self.order_id)


@command
class ReleaseOrder(_Decision, frozen=True):
    """Take an order out of quarantine: the sender was verified afterwards, in this way and on this evidence."""

    NAME: ClassVar[str] = "release-order"
    RECORDS = (OrderReleased,)
    RULES = (QUARANTINED,)
    verification: IdentityCheck
    evidence: Reference

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = order(past, self.order_id)
        found.needs(Standing.QUARANTINED, wanted="released")
        event = OrderReleased(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=found.recorded.subject_id,
            verification=self.verification,
            evidence=self.evidence,
        )
        return [Fact(event, _tags(found))]


@command
class RejectOrder(_Decision, frozen=True):
    """Say no to an order that was not carried out, in quarantine or not; its record stays."""

    NAME: ClassVar[str] = "reject-order"
    RECORDS = (OrderRejected,)
    RULES = (QUARANTINED,)
    channel: Channel
    reason: Word

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = order(past, self.order_id)
        found.needs(Standing.QUARANTINED, Standing.OPEN, wanted="rejected")
        event = OrderRejected(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=found.recorded.subject_id,
            channel=self.channel,
            reason=self.reason,
        )
        return [Fact(event, _tags(found))]


@command
class UseOrder(_Decision, frozen=True):
    """Ask to use a recorded order of a person: for proof, to reproduce it, or for what else the policy names."""

    NAME: ClassVar[str] = "use-order"
    RECORDS = (OrderUsed,)
    KEEPS = (OrderUseDenied,)
    RULES = (NAMED_USE, NOT_UNDER_RESTRICTION)
    subject_id: SubjectId
    use: Word

    def boundary(self) -> Boundary:
        return (*history(self.order_id), *restrictions(self.subject_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = order(past, self.order_id)
        recorded = found.recorded
        if recorded.subject_id != self.subject_id:
            raise OrderUnknown(order=self.order_id)
        refusal: Refused | None = None
        if self.use not in _uses_of_day(past, found):
            refusal = UseNotNamed(order=self.order_id, use=self.use)
        elif self.use != Word(OrderUse.PROOF) and restricted(past, self.subject_id, (ORDERS,)) is not None:
            refusal = Restricted(subject=self.subject_id)
        if refusal is None:
            used = OrderUsed(
                order_id=self.order_id,
                client_id=recorded.client_id,
                subject_id=recorded.subject_id,
                use=self.use,
            )
            return [Fact(used, _tags(found))]
        denied = OrderUseDenied(
            order_id=self.order_id,
            client_id=recorded.client_id,
            subject_id=recorded.subject_id,
            use=self.use,
            reason=Word(refusal.code),
        )
        raise KeptRefusal(refusal, Fact(denied, _tags(found)))


@command
class AmendOrder(Command, frozen=True):
    """Record a change to an order that is still open, again as exact bytes; the first ones stay."""

    NAME: ClassVar[str] = "amend-order"
    RECORDS = (OrderAmended,)
    RULES = (EXACT_BYTES, STANDING_DECIDES)
    order_id: OrderId
    subject_id: SubjectId
    channel: Channel
    media_type: MediaType
    content: bytes
    received_at: datetime
    file_name: str | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *history(self.order_id))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        _check_content(self.content, self.file_name, context)
        found = order(past, self.order_id)
        found.needs(Standing.OPEN, wanted="amended")
        if self.received_at > context.now:
            raise Invalid("received_at", "is in the future")
        event = OrderAmended(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=self.subject_id,
            channel=self.channel,
            media_type=self.media_type,
            size_bytes=len(self.content),
            received_at=self.received_at,
            content=self.content,
            file_name=self.file_name,
        )
        tags = [order_tag(self.order_id), client_tag(found.recorded.client_id), subject_tag(self.subject_id)]
        return [Fact(event, tags, scope(subject, RetentionClass.ORDER))]


@command
class CancelOrder(Command, frozen=True):
    """Cancel an order that was not carried out yet."""

    NAME: ClassVar[str] = "cancel-order"
    RECORDS = (OrderCancelled,)
    RULES = (STANDING_DECIDES,)
    order_id: OrderId
    channel: Channel
    reason: Word

    def boundary(self) -> Boundary:
        return history(self.order_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = order(past, self.order_id)
        found.needs(Standing.OPEN, Standing.QUARANTINED, wanted="cancelled")
        event = OrderCancelled(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=found.recorded.subject_id,
            channel=self.channel,
            reason=self.reason,
        )
        return [Fact(event, _tags(found))]


@command
class ExecuteOrder(Command, frozen=True):
    """Link the transactions by which an order was carried out; more may follow until it is confirmed."""

    NAME: ClassVar[str] = "execute-order"
    RECORDS = (OrderExecuted,)
    RULES = (STANDING_DECIDES, TRANSACTION_ONCE)
    order_id: OrderId
    transactions: tuple[Transaction, ...]

    def boundary(self) -> Boundary:
        return history(self.order_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = order(past, self.order_id)
        found.needs(Standing.OPEN, Standing.EXECUTED, wanted="executed")
        if not self.transactions:
            raise Invalid("transactions", "names at least one")
        references = [transaction.reference for transaction in self.transactions]
        for i, reference in enumerate(references):
            if reference in found.transactions or reference in references[:i]:
                raise TransactionExists(order=self.order_id, reference=reference)
        event = OrderExecuted(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=found.recorded.subject_id,
            transactions=self.transactions,
        )
        return [Fact(event, _tags(found))]


@command
class ConfirmOrder(Command, frozen=True):
    """Record that the client was told, or agreed, that the order is carried out."""

    NAME: ClassVar[str] = "confirm-order"
    RECORDS = (OrderConfirmed,)
    RULES = (STANDING_DECIDES,)
    order_id: OrderId
    channel: Channel

    def boundary(self) -> Boundary:
        return history(self.order_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = order(past, self.order_id)
        found.needs(Standing.EXECUTED, wanted="confirmed")
        event = OrderConfirmed(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=found.recorded.subject_id,
            channel=self.channel,
        )
        return [Fact(event, _tags(found))]


@command
class DisputeOrder(Command, frozen=True):
    """Open a case about an order, whatever its standing: also that something was not done is disputed."""

    NAME: ClassVar[str] = "dispute-order"
    RECORDS = (OrderDisputed,)
    RULES = (CASE_IS_OPEN, STANDING_DECIDES)
    order_id: OrderId
    subject_id: SubjectId
    case_id: CaseId
    ground: Word
    statement: str | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *history(self.order_id))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        found = order(past, self.order_id)
        if any(event.case_id == self.case_id for event in past.of(OrderDisputed)):
            raise OrderState(order=self.order_id, state="in dispute under this case already", wanted="disputed")
        event = OrderDisputed(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=self.subject_id,
            case_id=self.case_id,
            ground=self.ground,
            statement=self.statement,
        )
        return [
            Fact(
                event,
                [*_tags(found), subject_tag(self.subject_id), case_tag(self.case_id)],
                scope(subject, RetentionClass.ORDER),
            )
        ]


@command
class ResolveDispute(Command, frozen=True):
    """Close a case with its outcome."""

    NAME: ClassVar[str] = "resolve-dispute"
    RECORDS = (DisputeResolved,)
    RULES = (CASE_IS_OPEN, STANDING_DECIDES)
    order_id: OrderId
    subject_id: SubjectId
    case_id: CaseId
    outcome: Word
    statement: str | None = None

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *history(self.order_id))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        found = order(past, self.order_id)
        if self.case_id not in found.disputes:
            raise CaseUnknown(case=self.case_id, order=self.order_id)
        event = DisputeResolved(
            order_id=self.order_id,
            client_id=found.recorded.client_id,
            subject_id=self.subject_id,
            case_id=self.case_id,
            outcome=self.outcome,
            statement=self.statement,
        )
        return [
            Fact(
                event,
                [*_tags(found), subject_tag(self.subject_id), case_tag(self.case_id)],
                scope(subject, RetentionClass.ORDER),
            )
        ]


def _uses_of_day(past: Past, found: Order) -> Collection[Word]:
    """Return what the policy in force when the order was recorded names; before any policy, what recording is for."""
    uses: Collection[Word] = [Word(use) for use in OrderUse]
    for entry in past.all:
        if isinstance(entry.event, PolicyAdopted) and entry.index < found.index:
            uses = parse_policy(entry.event.text).order_uses
    return uses


def _check_content(content: bytes, file_name: str | None, context: Context) -> None:
    if not content:
        raise Invalid("content", "is empty: an order has at least one byte")
    if len(content) > context.limits.order_bytes:
        raise Invalid("content", f"has {len(content)} bytes; at most {context.limits.order_bytes} are taken")
    if file_name is not None and not 0 < len(file_name) <= MAX_FILE_NAME:
        raise Invalid("file_name", f"has between 1 and {MAX_FILE_NAME} characters")


def _tags(found: Order) -> list[Tag]:
    recorded = found.recorded
    return [order_tag(recorded.order_id), client_tag(recorded.client_id), subject_tag(recorded.subject_id)]
