"""A crowd: many subjects whose lives fill a ledger, quickly, with prepared facts instead of commands.

The mix of a life is that of the ledger's own tests: registration, identifier, collection, consent, a disclosure in
three steps, corrections, withdrawal, an order with amendment, execution and confirmation, now and then a dispute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from ledger import Actor, Ledger
from ledger.append import Append
from ledger.command import Fact
from ledger.errors import Conflict
from ledger.events import (
    ConsentGiven,
    ConsentWithdrawn,
    DataCorrected,
    DisclosureAuthorized,
    DisclosureRequested,
    DisclosureTransmitted,
    DisputeResolved,
    Event,
    IdentifierLinked,
    OrderAmended,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderRecorded,
    PersonalDataCollected,
    SubjectRegistered,
    Transaction,
)
from ledger.keys import KeyScope
from ledger.vocabulary import (
    CaseId,
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
    RetentionClass,
    Role,
    Sha256Hex,
    SourceKind,
    SubjectId,
    SubjectRole,
    Tag,
    Word,
    client_tag,
    consent_tag,
    disclosure_tag,
    order_tag,
    subject_tag,
)

ACTOR = Actor(id="00000000-0000-4000-8000-00000000000a", role=Role.SERVICE)  # type: ignore[arg-type]
DIGEST = Sha256Hex(hashlib.sha256(b"").hexdigest())
EVENTS_A_LIFE = 20


def crowd(ledger: Ledger, events: int, *, seed: int = 1, lives_a_batch: int = 25) -> None:
    """Append at least `events` events of new subjects to a ledger."""
    rng = Random(seed)
    end = ledger.size() + events
    while ledger.size() < end:
        facts = [fact for _ in range(lives_a_batch) for fact in life(rng)]
        prepared = ledger.seal(facts, (), 0)
        while True:
            try:
                ledger.append(Append(prepared.drafts, prepared.boxes, None, prepared.new_keys))
                break
            except Conflict:
                continue


def life(rng: Random) -> Iterator[Fact]:
    """Yield what is recorded of one new subject, 20 events on average."""
    subject, client, consent = SubjectId(_id(rng)), ClientId(_id(rng)), ConsentId(_id(rng))
    recipient, disclosure = RecipientId(_id(rng)), DisclosureId(_id(rng))
    name = f"person{rng.randrange(10**9)}"
    about = [subject_tag(subject)]
    now = datetime(2026, 1, 5, 10, tzinfo=UTC)

    def fact(event: Event, *tags: Tag, retention_class: RetentionClass | None = None) -> Fact:
        scope = KeyScope(subject, SubjectRole.CONTROLLER, retention_class) if retention_class else None
        return Fact(event, [*about, *tags], scope)

    yield fact(SubjectRegistered(by=ACTOR, subject_id=subject, role=SubjectRole.CONTROLLER))
    yield fact(
        IdentifierLinked(by=ACTOR, subject_id=subject, kind=IdentifierKind.EMAIL, value=f"{name}@example.com"),
        retention_class=RetentionClass.IDENTITY,
    )
    yield fact(
        PersonalDataCollected(
            by=ACTOR,
            subject_id=subject,
            purpose=Purpose.CONTRACT,
            basis=LegalBasis.CONTRACT,
            source=SourceKind.SUBJECT,
            retention_class=RetentionClass.CONTRACT,
            values={"given-name": name, "email": f"{name}@example.com", "phone": f"+372{rng.randrange(10**7)}"},
        ),
        retention_class=RetentionClass.CONTRACT,
    )
    yield fact(
        ConsentGiven(
            by=ACTOR,
            consent_id=consent,
            subject_id=subject,
            purpose=Purpose.E_INVOICE,
            recipient_id=recipient,
            fields=(Word("email"),),
            text_sha256=DIGEST,
            language=Language("et"),
            channel=Channel.SOFTWARE,
        ),
        consent_tag(consent),
    )
    for _ in range(2):
        yield from (
            fact(event, disclosure_tag(disclosure)) for event in _disclosure(subject, disclosure, recipient, now)
        )
        disclosure = DisclosureId(_id(rng))
    for field in ("address", "given-name"):
        yield fact(
            DataCorrected(
                by=ACTOR,
                subject_id=subject,
                field=Word(field),
                replaces=0,
                channel=Channel.PHONE,
                retention_class=RetentionClass.CONTRACT,
                valid_from=now - timedelta(days=rng.randrange(400)),
                values={field: f"{name} {rng.randrange(99)}"},
            ),
            retention_class=RetentionClass.CONTRACT,
        )
    for _ in range(rng.choice((1, 2))):
        order = OrderId(_id(rng))
        for event in _order(rng, order, client, subject, now):
            sealed = bool(event.PERSONAL)
            yield fact(
                event, order_tag(order), client_tag(client), retention_class=RetentionClass.ORDER if sealed else None
            )
    if rng.random() < 0.5:
        yield fact(
            ConsentWithdrawn(by=ACTOR, consent_id=consent, subject_id=subject, channel=Channel.LINK),
            consent_tag(consent),
        )


def _disclosure(subject: SubjectId, disclosure: DisclosureId, recipient: RecipientId, now: datetime) -> Iterator[Event]:
    fields = (Word("email"),)
    yield DisclosureRequested(
        by=ACTOR,
        disclosure_id=disclosure,
        subject_id=subject,
        recipient_id=recipient,
        purpose=Purpose.E_INVOICE,
        basis=LegalBasis.CONSENT,
        fields=fields,
    )
    yield DisclosureAuthorized(
        by=ACTOR,
        disclosure_id=disclosure,
        subject_id=subject,
        token_sha256=DIGEST,
        expires_at=now + timedelta(minutes=15),
    )
    yield DisclosureTransmitted(
        by=ACTOR, disclosure_id=disclosure, subject_id=subject, recipient_id=recipient, fields=fields
    )


def _order(rng: Random, order: OrderId, client: ClientId, subject: SubjectId, now: datetime) -> Iterator[Event]:
    yield OrderRecorded(
        by=ACTOR,
        order_id=order,
        client_id=client,
        subject_id=subject,
        channel=OrderChannel.SOFTWARE,
        media_type=MediaType("application/xml"),
        size_bytes=400,
        terms_version=Reference("2026-01"),
        received_at=now,
        authentication=Word("session"),
        content=rng.randbytes(400),
    )
    yield OrderAmended(
        by=ACTOR,
        order_id=order,
        client_id=client,
        subject_id=subject,
        channel=Channel.SOFTWARE,
        media_type=MediaType("application/xml"),
        size_bytes=400,
        received_at=now,
        content=rng.randbytes(400),
    )
    done = Transaction(reference=Reference(f"T-{rng.randrange(10**9)}"), result_digest=DIGEST)
    yield OrderExecuted(by=ACTOR, order_id=order, client_id=client, subject_id=subject, transactions=(done,))
    yield OrderConfirmed(by=ACTOR, order_id=order, client_id=client, subject_id=subject, channel=Channel.EMAIL)
    if rng.random() < 0.1:
        case = CaseId(_id(rng))
        yield OrderDisputed(
            by=ACTOR, order_id=order, client_id=client, subject_id=subject, case_id=case, ground=Word("not-done")
        )
        yield DisputeResolved(
            by=ACTOR, order_id=order, client_id=client, subject_id=subject, case_id=case, outcome=Word("refunded")
        )


def _id(rng: Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
