"""The steps of the demo's story: what somebody means to do, before any rule has been asked.

Intentions, not events: a step may well be refused, and some are meant to be. People and clients are indices into the
cast, recipients are handles of people.RECIPIENTS; orders, disclosures and disputes have handles of their own. The
feeder keeps which ledger id each of them became. Every `at` is UTC-aware, and later than that of the step before.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, NewType

import msgspec

from api.demo.people import Language

OrderHandle = NewType("OrderHandle", str)
DisclosureHandle = NewType("DisclosureHandle", str)
DisputeHandle = NewType("DisputeHandle", str)

OrderChannel = Literal["software", "email"]
Channel = Literal["software", "email", "phone"]
Field = Literal["given_name", "family_name", "email", "phone", "personal_code", "iban", "postal_address"]


class Step(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What every step says: when, and about which person of the cast."""

    at: datetime
    person: int


class FieldValue(msgspec.Struct, frozen=True, kw_only=True):
    """One field with its value as text."""

    field: Field
    value: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What was done for an order; `result_sha256` is lower-case hexadecimal, of the result's bytes."""

    action: Literal["credit-transfer", "invoice-issued"]
    reference: str
    result_sha256: str


class RegisterPerson(Step, frozen=True, kw_only=True):
    """A person becomes known; without a client they only wrote to the company. They accept the terms shown."""

    client: int | None
    language: Language
    fields: tuple[FieldValue, ...]
    terms_version: str
    terms_sha256: str


class GiveConsent(Step, frozen=True, kw_only=True):
    """Permission for one recipient and purpose, given to the text with this digest."""

    recipient: str
    purpose: str
    channel: Channel
    language: Language
    text_version: str
    text_sha256: str


class WithdrawConsent(Step, frozen=True, kw_only=True):
    """A consent that was given, and not yet withdrawn, ends."""

    recipient: str
    purpose: str
    channel: Channel


class CollectData(Step, frozen=True, kw_only=True):
    """Fields not held before, from the person or from a public register."""

    source: Literal["self", "public-register"]
    fields: tuple[FieldValue, ...]


class CorrectData(Step, frozen=True, kw_only=True):
    """A held field changes from `old` to `new`, true since `valid_from`."""

    field: Field
    old: str
    new: str
    valid_from: date
    channel: Channel


class RequestDisclosure(Step, frozen=True, kw_only=True):
    """Somebody wants to pass fields on; to be granted when `consented`, else refused."""

    disclosure: DisclosureHandle
    recipient: str
    purpose: str
    fields: tuple[str, ...]
    consented: bool


class Transmit(Step, frozen=True, kw_only=True):
    """A granted disclosure is sent minutes later; `permitted` is false if consent was withdrawn in between."""

    disclosure: DisclosureHandle
    recipient: str
    permitted: bool


class RecordOrder(Step, frozen=True, kw_only=True):
    """An order arrives at `at`, said to be made at `claimed_at`; `body` is its exact bytes."""

    order: OrderHandle
    client: int
    channel: OrderChannel
    media_type: str
    body: bytes
    idempotency_key: str
    claimed_at: datetime
    terms_version: str


class AmendOrder(Step, frozen=True, kw_only=True):
    """New bytes replace those of an order not yet executed; `revision` counts from 1."""

    order: OrderHandle
    revision: int
    channel: OrderChannel
    media_type: str
    body: bytes
    idempotency_key: str
    claimed_at: datetime


class CancelOrder(Step, frozen=True, kw_only=True):
    """The client takes an order back before execution."""

    order: OrderHandle
    channel: Channel
    reason: Literal["duplicate", "mistake", "not-needed"]


class ExecuteOrder(Step, frozen=True, kw_only=True):
    """The order is done: at least one transaction, from its latest bytes."""

    order: OrderHandle
    transactions: tuple[Transaction, ...]


class ConfirmOrder(Step, frozen=True, kw_only=True):
    """The client is told, or says, that the order was done."""

    order: OrderHandle
    channel: OrderChannel


class DisputeOrder(Step, frozen=True, kw_only=True):
    """The client contests an executed order."""

    order: OrderHandle
    dispute: DisputeHandle
    ground: Literal["not-ordered", "wrong-amount", "wrong-payee", "too-late"]


class ResolveDispute(Step, frozen=True, kw_only=True):
    """A dispute ends."""

    order: OrderHandle
    dispute: DisputeHandle
    outcome: Literal["upheld", "rejected", "settled"]


class ErasePerson(Step, frozen=True, kw_only=True):
    """The person asks to be erased; nothing of theirs is pending, and no step about them follows."""
