"""What an order of the demo says: drawn from a seeded source, then written out by orders.py.

A draft is one version of an order: its bytes, and the transactions that executing those bytes leads to.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Literal

import msgspec

from api.demo import orders, texts
from api.demo.people import Cast, Client, Person, weighted_731
from api.demo.steps import OrderChannel, Transaction

Kind = Literal["payment", "invoice"]

PAYMENT_SHARE = 0.6
SALARY_SHARE = 0.25
ATTACHED_SHARE = 0.5
MOST_TRANSFERS = 6
MOST_LINES = 4
TERM_DAYS = 14


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an order. `key` is the Message-ID of an e-mail, else the software's message id."""

    kind: Kind
    channel: OrderChannel
    media_type: str
    body: bytes
    key: str
    claimed_at: datetime
    transactions: tuple[Transaction, ...]


class Desk:
    """Draws drafts. Suppliers and buyers are companies of the cast beyond its first `clients`."""

    def __init__(self, rng: Random, cast: Cast, *, people: int, clients: int) -> None:
        self._rng = rng
        self._cast = cast
        self._people = people
        self._clients = clients

    def draw(self, number: int, person: Person, client: Client, received_at: datetime) -> Draft:
        """Draw the first version of order `number`, from `person` in the name of `client`."""
        kind: Kind = "payment" if self._rng.random() < PAYMENT_SHARE else "invoice"
        channel: OrderChannel = "software" if self._rng.random() < 0.65 else "email"
        return self._write(f"PT{number:06}", kind, channel, person, client, received_at, None)

    def redraw(
        self, number: int, revision: int, last: Draft, person: Person, client: Client, received_at: datetime
    ) -> Draft:
        """Draw a new version of the order: the same kind through the same channel, other amounts."""
        reference = f"PT{number:06}R{revision}"
        return self._write(reference, last.kind, last.channel, person, client, received_at, last.key)

    def _write(
        self,
        reference: str,
        kind: Kind,
        channel: OrderChannel,
        person: Person,
        client: Client,
        received_at: datetime,
        replaces: str | None,
    ) -> Draft:
        # A second is the precision of both formats; an order is made shortly before it arrives.
        claimed_at = received_at.replace(microsecond=0) - timedelta(seconds=self._rng.randint(1, 90))
        single = channel == "email"
        content = (self._payment if kind == "payment" else self._invoice)(reference, client, claimed_at, single)
        if channel == "software":
            return Draft(
                kind=kind,
                channel=channel,
                media_type=orders.XML,
                body=content.xml,
                key=reference,
                claimed_at=claimed_at,
                transactions=content.transactions,
            )
        key = f"{reference}.{self._rng.getrandbits(48):012x}@{person.email.partition('@')[2]}"
        return Draft(
            kind=kind,
            channel=channel,
            media_type=orders.MAIL_MESSAGE,
            body=self._mail(key, kind, content, person, client, claimed_at, replaces),
            key=key,
            claimed_at=claimed_at,
            transactions=content.transactions,
        )

    def _payment(self, reference: str, client: Client, at: datetime, single: bool) -> _Content:
        count = 1 if single else self._rng.randint(1, MOST_TRANSFERS)
        # An e-mail speaks of one invoice; pay-rolls come from the software.
        salary_share = 0.0 if single else SALARY_SHARE
        transfers = [self._transfer(f"{reference}-E{place}", salary_share) for place in range(1, count + 1)]
        execute_on = at.date() + timedelta(days=self._rng.randint(0, 3))
        xml = orders.payment_order(
            message_id=reference, created_at=at, execute_on=execute_on, debtor=client, transfers=transfers
        )
        return _Content(
            xml=xml,
            number=transfers[0].remittance.partition(" ")[2],
            amount=transfers[0].amount,
            counterparty=transfers[0].creditor,
            due=execute_on.isoformat(),
            transactions=tuple(_transaction("credit-transfer", one.end_to_end_id, one.amount) for one in transfers),
        )

    def _transfer(self, end_to_end_id: str, salary_share: float) -> orders.Transfer:
        if self._rng.random() < salary_share:
            person = self._cast.person(self._rng.randrange(self._people))
            amount, what = self._amount(90_000, 450_000), f"Töötasu {self._rng.randint(1, 12):02}/2026"
            return orders.Transfer(end_to_end_id=end_to_end_id, amount=amount, creditor=person, remittance=what)
        return orders.Transfer(
            end_to_end_id=end_to_end_id,
            amount=self._amount(500, 900_000),
            creditor=self._counterparty(),
            remittance=f"Arve {self._rng.randint(1000, 99_999)}",
        )

    def _invoice(self, reference: str, client: Client, at: datetime, single: bool) -> _Content:
        number = f"{at.year}-{reference}"
        buyer = self._counterparty()
        lines = [self._line() for _ in range(1 if single else self._rng.randint(1, MOST_LINES))]
        due_on = at.date() + timedelta(days=TERM_DAYS)
        stem = str(self._rng.randrange(10**6, 10**7))
        xml = orders.invoice(
            number=number,
            issued_on=at.date(),
            due_on=due_on,
            seller=client,
            buyer=buyer,
            buyer_reference=f"leping {self._rng.randint(1, 400)}",
            payment_reference=stem + weighted_731(stem),
            lines=lines,
        )
        gross = orders.invoice_total(lines)[2]
        return _Content(
            xml=xml,
            number=number,
            amount=gross,
            counterparty=buyer,
            due=due_on.isoformat(),
            transactions=(_transaction("invoice-issued", number, gross),),
        )

    def _line(self) -> orders.Line:
        name, unit = self._rng.choice(_GOODS)
        hours = unit == "HUR"
        quantity = Decimal(self._rng.randint(1, 60)) * (Decimal("0.25") if hours else 1)
        return orders.Line(name=name, quantity=quantity, unit=unit, price=self._amount(350, 45_000))

    def _mail(
        self,
        key: str,
        kind: Kind,
        content: _Content,
        person: Person,
        client: Client,
        sent_at: datetime,
        replaces: str | None,
    ) -> bytes:
        words = texts.MAIL[person.language]
        attached = self._rng.random() < ATTACHED_SHARE
        amount = str(content.amount)
        body = (words.pay_body if kind == "payment" else words.invoice_body).format(
            number=content.number,
            amount=amount.replace(".", ",") if person.language == "et" else amount,
            payee=content.counterparty.name,
            iban=content.counterparty.iban,
            due=content.due,
            name=person.name,
            company=client.name,
            phone=person.phone,
            extra=(words.amended if replaces else "") + (words.attached if attached else ""),
        )
        subject = (words.pay_subject if kind == "payment" else words.invoice_subject).format(number=content.number)
        return orders.email_order(
            message_id=key,
            sent_at=sent_at,
            sender=person,
            to=texts.ORDER_DESK,
            subject=subject,
            body=body,
            attachment=orders.Attachment(filename=f"{kind}.xml", data=content.xml) if attached else None,
            in_reply_to=replaces,
        )

    def _counterparty(self) -> Client:
        return self._cast.client(self._clients + self._rng.randrange(3 * self._clients))

    def _amount(self, lowest: int, highest: int) -> Decimal:
        """Draw an amount in euro between two bounds in cents."""
        return Decimal(self._rng.randint(lowest, highest)).scaleb(-2)


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    xml: bytes
    number: str
    amount: Decimal
    counterparty: Person | Client
    due: str
    transactions: tuple[Transaction, ...]


def _transaction(action: Literal["credit-transfer", "invoice-issued"], reference: str, amount: Decimal) -> Transaction:
    result = f"{action} {reference} {amount} EUR\n"
    digest = hashlib.sha256(result.encode()).hexdigest()
    return Transaction(action=action, reference=reference, result_sha256=digest)


_GOODS = (  # name, unit of UN/ECE Recommendation 20: H87 piece, HUR hour, MON month
    ("Raamatupidamisteenus", "HUR"),
    ("Tarkvara kuutasu", "MON"),
    ("Kontoripaber A4, karp", "H87"),
    ("Toolid, tamm", "H87"),
    ("Transport Tallinn–Tartu", "H87"),
    ("Projekteerimine", "HUR"),
    ("Veebilehe hooldus", "MON"),
)
