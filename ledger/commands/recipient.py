"""Recipients: registered before anything goes to them, ended, and what is sent to processors. Clause 12; Art. 28."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command
from ledger.errors import (
    ContractMissing,
    FieldNotAllowed,
    FieldsNotHeld,
    Invalid,
    NoProcessor,
    RecipientCategoryUnknown,
    RecipientEndedAlready,
    RecipientExists,
    RecipientExpired,
    RecipientUnknown,
    Refused,
    Restricted,
    TransferBasisMissing,
)
from ledger.events import DataSentToProcessor, RecipientEnded, RecipientRegistered, TransmissionDenied
from ledger.policy import Policy
from ledger.rule import rule
from ledger.state.consent import consents, permissions
from ledger.state.personal_data import ONLY_USABLE, personal_data, unusable
from ledger.state.policy import policies, policy_needed
from ledger.state.recipient import ended, recipient, recipient_in_force, registrations
from ledger.state.restriction import restricted, restrictions
from ledger.state.source import revocations, revoked
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    Country,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    RetentionClass,
    SubjectId,
    SubjectRole,
    Tag,
    TransferBasis,
    Word,
    recipient_tag,
    subject_tag,
)

MAX_NAME: Final = 200

# The European Economic Area: where the GDPR holds, and no basis for a transfer is needed (ISO 3166-1).
EEA: Final = frozenset((
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT",
    "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
))  # fmt: skip

CATEGORY_NAMED = rule(
    "recipient-category-is-named",
    clause="12",
    promise="A recipient of a category that the principles in force do not name is refused",
    source="Principles, clause 12; GDPR Art. 13(1)(e)",
    refusals=(RecipientCategoryUnknown,),
)
PROCESSOR_CONTRACT = rule(
    "processor-has-a-contract",
    clause="12",
    promise="A processor has a contract, and a recipient outside the EEA something that the transfer rests on",
    source="GDPR Art. 28(3), 44",
    refusals=(ContractMissing, TransferBasisMissing),
)
RECIPIENT_IN_FORCE = rule(
    "recipient-is-in-force",
    clause="12",
    promise="Nothing is sent to a recipient that is not registered, or whose contract has not begun, expired or ended",
    source="Principles, clause 12; GDPR Art. 28(3)",
    refusals=(RecipientUnknown, RecipientExpired, RecipientEndedAlready),
)
ONLY_PROCESSORS = rule(
    "processors-only-without-permission",
    clause="6",
    promise="Without law or permission data goes to processors under contract only",
    source="Principles, clause 6; GDPR Art. 4(10), 28",
    refusals=(NoProcessor,),
)
ONLY_ALLOWED_FIELDS = rule(
    "processors-get-allowed-fields",
    clause="1-2",
    promise="A field goes to a processor for a purpose for which an activity allows it, or is refused by its name",
    source="GDPR Art. 5(1)(b), 5(1)(c), 28(3)(a)",
    refusals=(FieldNotAllowed,),
)
NOT_UNDER_RESTRICTION = rule(
    "restricted-data-is-not-sent",
    clause="8-9",
    promise="Restricted data goes to no processor, but for claims, or with a consent to this very use given since",
    source="GDPR Art. 18(2), 28(3)",
    refusals=(Restricted,),
)


@command
class RegisterRecipient(Command, frozen=True):
    """Name who may be sent to. A company has a `name`; a sole trader is a subject, with `trader_name` sealed."""

    NAME: ClassVar[str] = "register-recipient"
    RECORDS = (RecipientRegistered,)
    RULES = (CATEGORY_NAMED, PROCESSOR_CONTRACT)
    recipient_id: RecipientId
    category: RecipientCategory
    country: Country
    valid_from: datetime
    valid_to: datetime | None = None
    contract: Reference | None = None
    transfer_basis: TransferBasis | None = None
    name: str | None = None
    subject_id: SubjectId | None = None
    trader_name: str | None = None

    def boundary(self) -> Boundary:
        trader = registration(self.subject_id) if self.subject_id else ()
        return (*registrations(self.recipient_id), *trader, *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        _check_name(self.name, self.subject_id, self.trader_name)
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise Invalid("valid_to", "is not after valid_from")
        rules = policy_needed(past).recipients.get(self.category)
        if rules is None:
            raise RecipientCategoryUnknown(category=self.category)
        if rules.processor and self.contract is None:
            raise ContractMissing(recipient=self.recipient_id)
        if self.country not in EEA and self.transfer_basis is None:
            raise TransferBasisMissing(recipient=self.recipient_id, country=self.country)
        _check_free(past, self.recipient_id, context.now)
        event = RecipientRegistered(
            recipient_id=self.recipient_id,
            category=self.category,
            country=self.country,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            contract=self.contract,
            transfer_basis=self.transfer_basis,
            name=self.name,
            subject_id=self.subject_id,
            trader_name=self.trader_name,
        )
        if self.subject_id is None:
            return [Fact(event, [recipient_tag(self.recipient_id)])]
        trader = registered(past, self.subject_id)
        tags = [recipient_tag(self.recipient_id), subject_tag(self.subject_id)]
        return [Fact(event, tags, scope(trader, RetentionClass.CONTRACT))]


@command
class EndRecipient(Command, frozen=True):
    """Record that nothing more goes to a recipient, from this entry on."""

    NAME: ClassVar[str] = "end-recipient"
    RECORDS = (RecipientEnded,)
    RULES = (RECIPIENT_IN_FORCE,)
    recipient_id: RecipientId
    reason: Word

    def boundary(self) -> Boundary:
        return registrations(self.recipient_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        found = recipient(past, self.recipient_id)
        if ended(past, self.recipient_id):
            raise RecipientEndedAlready(recipient=self.recipient_id)
        tags = [recipient_tag(self.recipient_id), *([subject_tag(found.subject_id)] if found.subject_id else [])]
        return [Fact(RecipientEnded(recipient_id=self.recipient_id, reason=self.reason), tags)]


@command
class SendToProcessor(Command, frozen=True):
    """Record that fields of a subject go to a processor now. A recipient not in force: the denial is recorded."""

    NAME: ClassVar[str] = "send-to-processor"
    RECORDS = (DataSentToProcessor,)
    KEEPS = (TransmissionDenied,)
    RULES = (RECIPIENT_IN_FORCE, ONLY_PROCESSORS, ONLY_ALLOWED_FIELDS, ONLY_USABLE, NOT_UNDER_RESTRICTION)
    subject_id: SubjectId
    recipient_id: RecipientId
    purpose: Purpose
    fields: tuple[Word, ...]

    def boundary(self) -> Boundary:
        return (
            *registration(self.subject_id),
            *registrations(self.recipient_id),
            *consents(self.subject_id),
            *restrictions(self.subject_id),
            *personal_data(self.subject_id),
            *revocations(),
            *policies(),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        policy = policy_needed(past)
        if not self.fields:
            raise Invalid("fields", "names at least one field")
        try:
            found = recipient_in_force(past, self.recipient_id, context.now)
            rules = policy.recipients.get(found.category)
            if rules is None or not rules.processor:
                raise NoProcessor(recipient=self.recipient_id)
            self._check_fields(past, policy, subject.role)
            self._check_restriction(past)
        except Refused as refusal:
            raise KeptRefusal(refusal, self._denied(refusal.code, policy)) from None
        if rules.standing:
            raise Invalid("recipient_id", "holds a standing disclosure: its registration says so, once, with dates")
        event = DataSentToProcessor(
            subject_id=self.subject_id,
            recipient_id=self.recipient_id,
            purpose=self.purpose,
            fields=tuple(sorted(set(self.fields))),
        )
        return [Fact(event, self._tags())]

    def _check_fields(self, past: Past, policy: Policy, role: SubjectRole) -> None:
        for field in sorted(self.fields):
            if not policy.may_use(field, purpose=self.purpose, role=role):
                raise FieldNotAllowed(field=field, purpose=self.purpose, role=role)
        # What is not held as a field may be an identifier.
        suspended = unusable(past, revoked(past), self.fields)
        if suspended:
            raise FieldsNotHeld(subject=self.subject_id, fields=", ".join(suspended))

    def _check_restriction(self, past: Past) -> None:
        given = permissions(past, self.subject_id, recipient_id=None, purpose=self.purpose, fields=self.fields)
        if restricted(past, self.subject_id, self.fields, purpose=self.purpose, consents=given) is not None:
            raise Restricted(subject=self.subject_id)

    def _denied(self, reason: str, policy: Policy) -> Fact:
        event = TransmissionDenied(
            subject_id=self.subject_id,
            recipient_id=self.recipient_id,
            purpose=self.purpose,
            # A name that nobody defined may be anything: it is told to whoever asked, and not kept.
            fields=tuple(sorted(set(self.fields) & policy.fields.keys())),
            reason=Word(reason),
        )
        return Fact(event, self._tags())

    def _tags(self) -> list[Tag]:
        return [subject_tag(self.subject_id), recipient_tag(self.recipient_id)]


def _check_name(name: str | None, subject_id: SubjectId | None, trader_name: str | None) -> None:
    if (name is None) == (subject_id is None):
        raise Invalid("name", "is needed for a company, and subject_id instead of it for a sole trader")
    if (trader_name is None) != (subject_id is None):
        raise Invalid("trader_name", "is needed for a sole trader, and only there")
    for field, text in (("name", name), ("trader_name", trader_name)):
        if text is not None and not 0 < len(text) <= MAX_NAME:
            raise Invalid(field, f"has between 1 and {MAX_NAME} characters")


def _check_free(past: Past, recipient_id: RecipientId, now: datetime) -> None:
    """Raise RecipientExists while an earlier registration runs: a new contract follows one that ended or expired."""
    try:
        earlier = recipient(past, recipient_id)
    except RecipientUnknown:
        return
    if not ended(past, recipient_id) and (earlier.valid_to is None or now < earlier.valid_to):
        raise RecipientExists(recipient=recipient_id)
