"""Feeding a ledger with the demo's story: intentions become commands, with ids from the seed, at the story's time.

A few hands work at a time, as in an office: what one person does keeps its order, and the ledger orders the rest. So
two runs record the same facts with the same ids, but neighbours about different people may change places.
Refusals are part of the story: a disclosure without consent is refused and the refusal is kept; one whose consent was
withdrawn on the way is voided. Whatever else is refused is a fault of the demo, and is raised. The one file of the demo
that knows the ledger.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from functools import singledispatchmethod
from random import Random
from typing import Final

import msgspec

from api.demo import steps
from api.demo.people import E_INVOICE, PARTNER_OFFERS, RECIPIENTS, Recipient
from api.demo.steps import DisclosureHandle, OrderHandle, Step
from ledger import Actor, Ledger, Receipt
from ledger import commands as do
from ledger.command import Command
from ledger.errors import ConsentMissing, FieldsNotHeld, TokenExpired
from ledger.events import ClassDecision, Transaction
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    ActorId,
    CaseId,
    Channel,
    ClientId,
    ConsentId,
    Country,
    DisclosureId,
    ErasureOutcome,
    IdentifierKind,
    Language,
    LegalBasis,
    MediaType,
    OrderChannel,
    OrderId,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    RetentionClass,
    Role,
    Sha256Hex,
    SourceKind,
    SubjectId,
    Word,
)

# Enough to share each commit among a few; more would only reorder the story.
HANDS: Final = 8

# Claims out of a contract: Tsiviilseadustiku üldosa seadus § 146(1).
LIMITATION: Final = timedelta(days=3 * 365)

RECIPIENTS_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)

_PURPOSES: Final[Mapping[str, Purpose]] = {
    PARTNER_OFFERS: Purpose.PARTNER_OFFERS,
    E_INVOICE: Purpose.E_INVOICE,
}
_CHECKED: Final[Mapping[str, Word]] = {"software": Word("signed-in"), "email": Word("dkim-pass")}
_STATEMENTS: Final = (
    "I did not give this order.",
    "The amount is not the one that I ordered.",
    "See summa ei ole see, mille ma tellisin.",
    "Makse läks valele saajale.",
)


class StoryClock:
    """The clock of a ledger that lives in the story: for a hand at work its step's time, for all others the latest."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._latest = at
        self._mine = threading.local()

    def __call__(self) -> datetime:
        mine: datetime | None = getattr(self._mine, "at", None)
        return mine or self._latest

    def go_to(self, at: datetime) -> None:
        """Let it be `at` for this thread, and that late at least for those that have no time of their own."""
        self._mine.at = at
        self._latest = max(self._latest, at)


class Tally(msgspec.Struct):
    """What became of the story."""

    steps: int = 0
    refused: int = 0
    voided: int = 0
    erased: int = 0
    disputed: int = 0
    orders: int = 0
    order_bytes: int = 0


class Workload:
    """Carries out steps one by one, in their order. The same seed gives the same ids, commands and times."""

    def __init__(self, ledger: Ledger, seed: int, clock: StoryClock) -> None:
        self.tally = Tally()
        self.subjects: dict[int, SubjectId] = {}
        self.orders: dict[OrderHandle, OrderId] = {}
        self.ordered: dict[OrderHandle, int] = {}  # by which person of the cast
        self.disputed: dict[OrderHandle, int] = {}
        self.erased: set[int] = set()
        self._ledger = ledger
        self._seed = seed
        self._clock = clock
        self._counting = threading.Lock()
        self._recipients = {one.handle: RecipientId(self._id("recipient", one.handle)) for one in RECIPIENTS}
        self._fields = {one.handle: tuple(Word(_word(field)) for field in one.fields) for one in RECIPIENTS}
        self._service = Actor(id=ActorId(self._id("actor", "service")), role=Role.SERVICE)
        self._officer = Actor(id=ActorId(self._id("actor", "officer")), role=Role.OFFICER)
        self._lawyer = Actor(id=ActorId(self._id("actor", "lawyer")), role=Role.LAWYER)
        self._consents: dict[tuple[int, str], ConsentId] = {}
        self._disclosures: dict[DisclosureHandle, tuple[DisclosureId, str, tuple[Word, ...]]] = {}
        self._versions: dict[tuple[int, str], int] = {}

    def feed(self, story: Iterable[Step], progress: Callable[[int], None] = lambda done: None) -> Tally:
        """Carry out a story; `progress` is told how many steps are done. Raises what the first failing step raised."""
        # The story is lived under the policy that comes with the program.
        self._record(do.AdoptPolicy(text=default_policy_text()), self._officer, "policy")
        for one in RECIPIENTS:
            self._register(one)
        underway: deque[Future[None]] = deque()
        today = date.min
        last: dict[int, Future[None]] = {}
        with ThreadPoolExecutor(HANDS, thread_name_prefix="hand") as hands:
            for number, step in enumerate(story):
                # In the evening everybody is done: no time that is recorded is of another day than the story's.
                while underway and step.at.date() != today:
                    underway.popleft().result()
                today = step.at.date()
                last[step.person] = hands.submit(self._take, number, step, last.get(step.person))
                underway.append(last[step.person])
                # No further ahead than the hands reach: the times that are recorded stay close to the story's.
                if len(underway) > HANDS:
                    underway.popleft().result()
                    progress(self.tally.steps)
            for future in underway:
                future.result()
        progress(self.tally.steps)
        return self.tally

    def _register(self, recipient: Recipient) -> None:
        operator = recipient.purpose == E_INVOICE
        command = do.RegisterRecipient(
            recipient_id=self._recipients[recipient.handle],
            category=RecipientCategory.E_INVOICE if operator else RecipientCategory.OTHER,
            country=Country("EE"),
            valid_from=RECIPIENTS_SINCE,
            contract=Reference(f"contract-{recipient.handle}") if operator else None,
            name=recipient.name,
        )
        self._record(command, self._officer, f"recipient:{recipient.handle}")

    def _take(self, number: int, step: Step, before: Future[None] | None) -> None:
        """Carry out one step at its time, after the one of the same person before it."""
        if before is not None:
            before.result()
        self._clock.go_to(step.at)
        self._do(step, number)
        self._count(steps=1)

    # --- steps -----------------------------------------------------------------------------------------------

    @singledispatchmethod
    def _do(self, step: Step, number: int) -> None:
        raise AssertionError(type(step).__name__)

    @_do.register
    def _(self, step: steps.RegisterPerson, number: int) -> None:
        subject_id = self.subjects[step.person] = SubjectId(self._id("subject", step.person))
        self._record(do.RegisterSubject(subject_id=subject_id), self._service)
        self._collect(step.person, step.fields, SourceKind.SUBJECT)
        email = next(one.value for one in step.fields if one.field == "email")
        self._record(do.LinkIdentifier(subject_id=subject_id, kind=IdentifierKind.EMAIL, value=email), self._service)

    @_do.register
    def _(self, step: steps.CollectData, number: int) -> None:
        self._collect(
            step.person, step.fields, SourceKind.SUBJECT if step.source == "self" else SourceKind.PUBLIC_REGISTER
        )

    @_do.register
    def _(self, step: steps.CorrectData, number: int) -> None:
        field = Word(_word(step.field))
        command = do.CorrectData(
            subject_id=self.subjects[step.person],
            field=field,
            value=step.new,
            expected_version=self._versions[step.person, field],
            channel=Channel(step.channel),
            valid_from=datetime.combine(step.valid_from, time(), UTC),
            evidence=Reference(f"document-{number}"),
        )
        self._versions[step.person, field] = self._record(command, self._person(step)).index

    @_do.register
    def _(self, step: steps.GiveConsent, number: int) -> None:
        consent_id = self._consents[step.person, step.recipient] = ConsentId(self._id("consent", number))
        command = do.GiveConsent(
            consent_id=consent_id,
            subject_id=self.subjects[step.person],
            purpose=_PURPOSES[step.purpose],
            fields=self._fields[step.recipient],
            text_sha256=Sha256Hex(step.text_sha256),
            language=Language(step.language),
            channel=Channel(step.channel),
            recipient_id=self._recipients[step.recipient],
        )
        self._record(command, self._person(step))

    @_do.register
    def _(self, step: steps.WithdrawConsent, number: int) -> None:
        consent_id = self._consents.pop((step.person, step.recipient))
        command = do.WithdrawConsent(
            consent_id=consent_id, subject_id=self.subjects[step.person], channel=Channel(step.channel)
        )
        self._record(command, self._person(step))

    @_do.register
    def _(self, step: steps.RequestDisclosure, number: int) -> None:
        subject_id, disclosure_id = self.subjects[step.person], DisclosureId(self._id("disclosure", step.disclosure))
        fields = tuple(Word(_word(field)) for field in step.fields)
        request = do.RequestDisclosure(
            disclosure_id=disclosure_id,
            subject_id=subject_id,
            recipient_id=self._recipients[step.recipient],
            purpose=_PURPOSES[step.purpose],
            basis=LegalBasis.CONSENT,
            fields=fields,
        )
        self._record(request, self._service)
        token = self._random("token", number).randbytes(32).hex()
        authorize = do.AuthorizeDisclosure(
            disclosure_id=disclosure_id,
            subject_id=subject_id,
            token_sha256=Sha256Hex(hashlib.sha256(token.encode()).hexdigest()),
            recipient_id=self._recipients[step.recipient],
        )
        try:
            self._record(authorize, self._service)
        except ConsentMissing:
            self._count(refused=1)
        else:
            self._disclosures[step.disclosure] = (disclosure_id, token, fields)

    @_do.register
    def _(self, step: steps.Transmit, number: int) -> None:
        disclosure_id, token, fields = self._disclosures.pop(step.disclosure)
        command = do.TransmitDisclosure(
            disclosure_id=disclosure_id,
            subject_id=self.subjects[step.person],
            recipient_id=self._recipients[step.recipient],
            fields=fields,
            token=token,
        )
        try:
            self._record(command, self._service)
        except (ConsentMissing, TokenExpired, FieldsNotHeld):
            # Withdrawn on the way; or the office closed in between, and the authorization lived only minutes.
            self._count(voided=1)

    @_do.register
    def _(self, step: steps.RecordOrder, number: int) -> None:
        order_id = self.orders[step.order] = OrderId(self._id("order", step.order))
        email = step.channel == "email"
        command = do.RecordOrder(
            order_id=order_id,
            client_id=ClientId(self._id("client", step.client)),
            subject_id=self.subjects[step.person],
            channel=OrderChannel(step.channel),
            media_type=MediaType(step.media_type),
            content=step.body,
            terms_version=Reference(step.terms_version),
            received_at=step.at,
            authentication=_CHECKED[step.channel],
            claimed_at=step.claimed_at,
            file_name=f"{step.order}.{'eml' if email else 'xml'}",
        )
        key = f"message-id:<{step.idempotency_key}>" if email else f"software:{step.idempotency_key}"
        self._record(command, self._service, key)
        self.ordered[step.order] = step.person
        self._count(orders=1, order_bytes=len(step.body))

    @_do.register
    def _(self, step: steps.AmendOrder, number: int) -> None:
        command = do.AmendOrder(
            order_id=self.orders[step.order],
            subject_id=self.subjects[step.person],
            channel=Channel(step.channel),
            media_type=MediaType(step.media_type),
            content=step.body,
            received_at=step.at,
        )
        self._record(command, self._service)
        self._count(order_bytes=len(step.body))

    @_do.register
    def _(self, step: steps.CancelOrder, number: int) -> None:
        command = do.CancelOrder(
            order_id=self.orders[step.order], channel=Channel(step.channel), reason=Word(step.reason)
        )
        self._record(command, self._service)

    @_do.register
    def _(self, step: steps.ExecuteOrder, number: int) -> None:
        transactions = tuple(
            Transaction(reference=Reference(one.reference), result_digest=Sha256Hex(one.result_sha256))
            for one in step.transactions
        )
        self._record(do.ExecuteOrder(order_id=self.orders[step.order], transactions=transactions), self._service)

    @_do.register
    def _(self, step: steps.ConfirmOrder, number: int) -> None:
        self._record(do.ConfirmOrder(order_id=self.orders[step.order], channel=Channel(step.channel)), self._service)

    @_do.register
    def _(self, step: steps.DisputeOrder, number: int) -> None:
        case_id = CaseId(self._id("case", step.dispute))
        command = do.DisputeOrder(
            order_id=self.orders[step.order],
            subject_id=self.subjects[step.person],
            case_id=case_id,
            ground=Word(step.ground),
            statement=self._random("statement", number).choice(_STATEMENTS),
        )
        self._record(command, self._person(step))
        self.disputed[step.order] = step.person
        self._count(disputed=1)

    @_do.register
    def _(self, step: steps.ResolveDispute, number: int) -> None:
        command = do.ResolveDispute(
            order_id=self.orders[step.order],
            subject_id=self.subjects[step.person],
            case_id=CaseId(self._id("case", step.dispute)),
            outcome=Word(step.outcome),
        )
        self._record(command, self._lawyer)

    @_do.register
    def _(self, step: steps.ErasePerson, number: int) -> None:
        self.erase(step.person)

    # --- erasure ---------------------------------------------------------------------------------------------

    def erase(self, person: int) -> None:
        """Erase who a person is and what is held of them; their orders are kept for claims, and then go too."""
        subject_id = self.subjects[person]
        erased = (RetentionClass.CONTRACT, RetentionClass.IDENTITY)
        decisions = [
            ClassDecision(retention_class=one, outcome=ErasureOutcome.ERASED, ground=Word("no-longer-needed"))
            for one in erased
        ]
        # GDPR Art. 17(3)(e): what legal claims need is kept, for a time that can be told.
        kept = ClassDecision(
            retention_class=RetentionClass.ORDER,
            outcome=ErasureOutcome.KEPT,
            ground=Word("legal-claims"),
            until=self._clock() + LIMITATION,
        )
        self._record(do.DecideErasure(subject_id=subject_id, decisions=(*decisions, kept)), self._officer)
        self._record(do.DestroyKeys(subject_id=subject_id, retention_classes=erased), self._officer)
        self.erased.add(person)
        self._count(erased=1)

    # --- inside ----------------------------------------------------------------------------------------------

    def _record(self, command: Command, actor: Actor, key: str | None = None) -> Receipt:
        return self._ledger.record(command, actor, idempotency_key=key)

    def _collect(self, person: int, values: tuple[steps.FieldValue, ...], source: SourceKind) -> None:
        command = do.CollectData(
            subject_id=self.subjects[person],
            purpose=Purpose.CONTRACT,
            basis=LegalBasis.CONTRACT,
            source=source,
            source_reference=None if source is SourceKind.SUBJECT else Reference("register.example.com/addresses"),
            retrieved_at=None if source is SourceKind.SUBJECT else self._clock(),
            values={_word(one.field): one.value for one in values},
        )
        index = self._record(command, self._service).index
        self._versions |= {(person, _word(one.field)): index for one in values}

    def _person(self, step: Step) -> Actor:
        return Actor(id=ActorId(self.subjects[step.person]), role=Role.SUBJECT)

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, count in more.items():
                setattr(self.tally, name, getattr(self.tally, name) + count)

    def _id(self, kind: str, which: int | str) -> str:
        return str(uuid.UUID(int=self._random(kind, which).getrandbits(128), version=4))

    def _random(self, kind: str, which: int | str) -> Random:
        # A source for each thing: whichever hand comes first, the same thing gets the same id.
        return Random(f"{self._seed}/{kind}/{which}")


def _word(field: str) -> str:
    # What the policy calls it.
    return "address" if field == "postal_address" else field.replace("_", "-")
