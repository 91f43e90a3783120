"""A ledger with a history: a tenth as many subjects as events, their data, consents, orders and disclosures.

Every fact is decided by its command from a past that is kept in memory, and goes through `ledger.append` in batches:
the result is a ledger like any other, which verifies, built about as fast as the sequencer can write. One client, an
accountancy firm, stands on every event; orders have a client of their own beside it.
"""

from __future__ import annotations

import random
import shutil
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks import store
from ledger import Ledger
from ledger.append import Committed, Outcome
from ledger.command import Command, CommandSlice, Context, Fact, Limits, Recorded
from ledger.commands import (
    CollectData,
    ConfirmOrder,
    ExecuteOrder,
    GiveConsent,
    LinkIdentifier,
    RecordOrder,
    RegisterSubject,
    RequestDisclosure,
    WithdrawConsent,
)
from ledger.entry import Entry, parse
from ledger.events import OrderRecorded, SubjectRegistered, Transaction
from ledger.storage.engine import QueryItem
from ledger.vocabulary import (
    Channel,
    ClientId,
    ConsentId,
    DisclosureId,
    IdentifierKind,
    Language,
    LegalBasis,
    MediaType,
    OrderChannel,
    OrderId,
    Purpose,
    RecipientId,
    Reference,
    Sha256Hex,
    SourceKind,
    SubjectId,
    SubjectRole,
    Word,
    client_tag,
    new_id,
)

EVENTS_PER_SUBJECT: Final = 10
_BATCH: Final = 1_000
_AFFAIRS: Final = 200
_WAITING: Final = 4
_TEXT: Final = Sha256Hex("5f" * 32)
_ORDER: Final = b"<order><line>annual report</line>" + b"<note>as agreed</note>" * 12 + b"</order>"
_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# How often each thing happens, of 100; one event in ten registers a subject besides.
_WEIGHTS: Final = {"collect": 35, "identify": 10, "consent": 15, "order": 30, "disclose": 10}


class People:
    """The ids of a history, the same for the same number of events."""

    def __init__(self, events: int) -> None:
        self._random = random.Random(events)
        self.firm = ClientId(self.id())
        self.subjects = [SubjectId(self.id()) for _ in range(max(1, events // EVENTS_PER_SUBJECT))]
        self.clients = [ClientId(self.id()) for _ in range(max(1, events // 1_000))]
        self.recipients = [RecipientId(self.id()) for _ in range(20)]

    def id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


def collect(subject_id: SubjectId, value: str) -> CollectData:
    """Return the command that records two fields of a subject."""
    return CollectData(
        subject_id=subject_id,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values={"given-name": "Mari-Liis", "email": f"{value}@example.com"},
    )


def consent(subject_id: SubjectId, consent_id: ConsentId, recipient_id: RecipientId) -> GiveConsent:
    """Return the command by which a subject agrees that its address goes to a recipient."""
    return GiveConsent(
        consent_id=consent_id,
        subject_id=subject_id,
        purpose=Purpose.E_INVOICE,
        fields=(Word("email"),),
        text_sha256=_TEXT,
        language=Language("et"),
        channel=Channel.SOFTWARE,
        recipient_id=recipient_id,
    )


def decided(ledger: Ledger, command: Command, past: Sequence[Recorded], firm: ClientId) -> Sequence[Fact]:
    """Return the facts of a command, decided from a past that is at hand; the firm's tag is added to each."""
    context = Context(_NOW, store.ACTOR, Limits(), ledger.keys.of_subject)
    decision = CommandSlice(command, context)
    for recorded in past:
        decision.fold(recorded)
    decision.execute()
    for fact in decision.facts:
        fact.tags.append(client_tag(firm))
    return decision.facts


def registration(subject_id: SubjectId) -> list[Recorded]:
    """Return the past of a registered subject of whom nothing else is asked."""
    return [Recorded(0, _NOW, (), SubjectRegistered(subject_id=subject_id, role=SubjectRole.CONTROLLER))]


class History:
    """What happened to some people, as facts in order. The same number of events gives the same history, ids apart."""

    def __init__(self, ledger: Ledger, people: People) -> None:
        self._ledger = ledger
        self._people = people
        self._random = random.Random(1)
        self._registered = 0
        self._lives: list[Iterator[Fact]] = []

    def facts(self, count: int) -> Iterator[Fact]:
        """Yield `count` facts: each tenth registers a subject, the others go on with one of many affairs."""
        for number in range(count):
            if not number % EVENTS_PER_SUBJECT:
                command = RegisterSubject(subject_id=self._people.subjects[self._registered])
                self._registered += 1
                yield from decided(self._ledger, command, (), self._people.firm)
            else:
                yield self._go_on()

    def _go_on(self) -> Fact:
        while len(self._lives) < _AFFAIRS:
            self._lives.append(self._start())
        number = self._random.randrange(_AFFAIRS)
        while (fact := next(self._lives[number], None)) is None:
            self._lives[number] = self._start()
        return fact

    def _start(self) -> Iterator[Fact]:
        (kind,) = self._random.choices([*_WEIGHTS], [*_WEIGHTS.values()])
        subject_id = self._people.subjects[self._random.randrange(self._registered)]
        affair: Callable[[SubjectId], Iterable[Command]] = getattr(self, f"_{kind}")
        past = registration(subject_id)
        for command in affair(subject_id):
            for fact in decided(self._ledger, command, past, self._people.firm):
                past.append(Recorded(0, _NOW, (), fact.decision))
                yield fact

    def _collect(self, subject_id: SubjectId) -> Iterable[Command]:
        yield collect(subject_id, subject_id)

    def _identify(self, subject_id: SubjectId) -> Iterable[Command]:
        yield LinkIdentifier(subject_id=subject_id, kind=IdentifierKind.EMAIL, value=f"{subject_id}@example.com")

    def _consent(self, subject_id: SubjectId) -> Iterable[Command]:
        consent_id = ConsentId(new_id())
        yield consent(subject_id, consent_id, self._random.choice(self._people.recipients))
        if self._random.random() < 0.3:
            yield WithdrawConsent(consent_id=consent_id, subject_id=subject_id, channel=Channel.LINK)

    def _order(self, subject_id: SubjectId) -> Iterable[Command]:
        order_id = OrderId(new_id())
        yield RecordOrder(
            order_id=order_id,
            client_id=self._random.choice(self._people.clients),
            subject_id=subject_id,
            channel=OrderChannel.SOFTWARE,
            media_type=MediaType("application/xml"),
            content=_ORDER,
            terms_version=Reference("2026-01"),
            received_at=_NOW,
        )
        done = Transaction(reference=Reference(f"T-{order_id[:8]}"), result_digest=_TEXT)
        yield ExecuteOrder(order_id=order_id, transactions=(done,))
        yield ConfirmOrder(order_id=order_id, channel=Channel.EMAIL)

    def _disclose(self, subject_id: SubjectId) -> Iterable[Command]:
        disclosure_id, consent_id = DisclosureId(new_id()), ConsentId(new_id())
        recipient_id = self._random.choice(self._people.recipients)
        yield consent(subject_id, consent_id, recipient_id)
        yield RequestDisclosure(
            disclosure_id=disclosure_id,
            subject_id=subject_id,
            recipient_id=recipient_id,
            purpose=Purpose.E_INVOICE,
            basis=LegalBasis.CONSENT,
            fields=(Word("email"),),
        )


def build(ledger: Ledger, events: int) -> float:
    """Give an empty ledger a history of so many events; return how many were recorded a second."""
    people = People(events)
    facts = History(ledger, people).facts(events)
    waiting: deque[Future[Outcome]] = deque()
    started = perf_counter()
    # One thread appends in order while this one decides and seals what comes next.
    with ThreadPoolExecutor(1) as writer:
        for first in range(0, events, _BATCH):
            append = ledger.seal(list(islice(facts, _BATCH)), (), first)
            waiting.append(writer.submit(ledger.append, append))
            if len(waiting) > _WAITING:
                assert isinstance(waiting.popleft().result(), Committed)
        for future in waiting:
            assert isinstance(future.result(), Committed)
    seconds = perf_counter() - started
    assert ledger.size() == events
    return events / seconds


def recorded_orders(ledger: Ledger, count: int) -> list[Entry]:
    """Return the entries of so many orders, spread over the whole log."""
    size = ledger.size()
    query = (QueryItem((OrderRecorded.TOPIC,)),)
    found: dict[int, Entry] = {}
    for number in range(count):
        after = number * size // count
        for stored in ledger.engine.select(query, after=after, end=size, limit=1):
            found[stored.index] = parse(stored.entry)
    return list(found.values())


def built(data: Path, events: int) -> None:
    """Build a ledger of so many events in `data`, unless it is there already."""
    if data.exists():
        return
    unfinished = data.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with store.create(unfinished) as ledger:
        events_s = build(ledger, events)
    unfinished.rename(data)
    print(f"built a ledger of {events:,} events at {events_s:,.0f} events/s", file=sys.stderr, flush=True)
