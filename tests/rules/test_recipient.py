"""Recipients: registered with category, country and contract; nothing goes to one that is not in force. Clause 12."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ledger.commands import AdoptPolicy, EndRecipient, RegisterRecipient, RegisterSubject, SendToProcessor
from ledger.errors import (
    ContractMissing,
    FieldNotAllowed,
    Invalid,
    NoProcessor,
    PolicyMissing,
    PrinciplesUnchanged,
    RecipientCategoryUnknown,
    RecipientEndedAlready,
    RecipientExists,
    RecipientExpired,
    RecipientUnknown,
    SubjectUnknown,
    TransferBasisMissing,
)
from ledger.events import DataSentToProcessor, RecipientEnded, RecipientRegistered, TransmissionDenied
from ledger.explain import explain
from ledger.policy import default_policy_text
from ledger.vocabulary import DocumentKind, Purpose, RecipientCategory, TransferBasis
from tests.bench import START, Bench, an_id
from tests.rules.test_published import publish

MARI, POST, TRADER = an_id("mari"), an_id("the post"), an_id("a sole trader")
NEXT_YEAR = START + timedelta(days=365)
FIELDS: Any = ("address", "given-name")


def register_recipient(**given: Any) -> RegisterRecipient:
    usual: dict[str, Any] = {
        "recipient_id": POST,
        "category": RecipientCategory.POSTAL,
        "name": "Post AS",
        "country": "EE",
        "contract": "DPA-7",
        "valid_from": START,
        "valid_to": NEXT_YEAR,
    }
    return RegisterRecipient(**usual | given)


def trader(**given: Any) -> RegisterRecipient:
    return register_recipient(**{"name": None, "subject_id": TRADER, "trader_name": "Mari Kanaarilind"} | given)


def end_recipient(**given: Any) -> EndRecipient:
    return EndRecipient(**{"recipient_id": POST, "reason": "moved"} | given)


def send(**given: Any) -> SendToProcessor:
    usual: dict[str, Any] = {
        "subject_id": MARI,
        "recipient_id": POST,
        "purpose": Purpose.CONTRACT,
        "fields": ("given-name", "address", "address"),
    }
    return SendToProcessor(**usual | given)


MAKERS = [register_recipient, trader, end_recipient, send]
FIELD_KINDS = {
    "category": "enum", "country": "country", "name": "text", "trader_name": "text", "contract": "reference",
    "transfer_basis": "enum", "valid_to": "moment",
}  # fmt: skip
OTHER_FIELDS: set[str] = set()
CODES = [
    "contract-missing", "no-processor", "principles-unchanged", "recipient-category-unknown", "recipient-ended",
    "recipient-exists", "recipient-expired", "recipient-unknown", "transfer-basis-missing",
]  # fmt: skip

POLICY = AdoptPolicy(text=default_policy_text())


def registered(**given: Any) -> RecipientRegistered:
    command = register_recipient(**given)
    return RecipientRegistered(**{name: getattr(command, name) for name in command.__struct_fields__})


def denied(reason: Any, **given: Any) -> TransmissionDenied:
    usual: dict[str, Any] = {"purpose": Purpose.CONTRACT, "fields": FIELDS}
    return TransmissionDenied(subject_id=MARI, recipient_id=POST, reason=reason, **usual | given)


@pytest.fixture
def ready(bench: Bench) -> Bench:
    return bench.given(POLICY, RegisterSubject(subject_id=MARI))


def test_a_recipient_is_registered_with_contract_and_dates(ready: Bench) -> None:
    ready.when(register_recipient()).then(registered())
    ready.when(register_recipient()).refused(RecipientExists, recipient=POST)
    ready.when(end_recipient()).then(RecipientEnded(recipient_id=POST, reason="moved"))  # type: ignore[arg-type]
    ready.when(end_recipient()).refused(RecipientEndedAlready, recipient=POST)
    ready.when(register_recipient(contract="DPA-8")).then(registered(contract="DPA-8"))


def test_a_recipient_whose_contract_expired_may_be_registered_with_its_next(ready: Bench) -> None:
    ready.given(register_recipient())
    ready.clock.forward(days=365)
    ready.when(register_recipient(valid_from=NEXT_YEAR, valid_to=None)).then(
        registered(valid_from=NEXT_YEAR, valid_to=None)
    )


def test_a_recipient_is_registered_under_a_policy_only(bench: Bench) -> None:
    bench.when(register_recipient()).refused(PolicyMissing)


def test_a_sole_traders_name_never_stands_in_the_entry(ready: Bench) -> None:
    ready.when(trader()).refused(SubjectUnknown, subject=TRADER)
    done = ready.given(RegisterSubject(subject_id=TRADER)).when(trader())
    done.then(registered(name=None, subject_id=TRADER, trader_name="Mari Kanaarilind"))
    assert b"Kanaarilind" not in ready.ledger.entry(ready.ledger.size() - 1)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": None}, "name"),
        ({"subject_id": TRADER}, "name"),
        ({"trader_name": "Mari"}, "trader_name"),
        ({"name": None, "subject_id": TRADER}, "trader_name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"valid_to": START}, "valid_to"),
        ({"country": "Estonia"}, "country"),
        ({"country": "ee"}, "country"),
    ],
    ids=str,
)
def test_a_recipient_is_refused_by_the_name_of_what_is_wrong(ready: Bench, wrong: dict[str, Any], field: str) -> None:
    ready.when(register_recipient(**wrong)).refused(Invalid, field=field)


@pytest.mark.rule("recipient-category-is-named")
def test_a_category_that_the_principles_do_not_name_is_refused(bench: Bench) -> None:
    text = default_policy_text()
    first, last = text.index("[recipients.postal]"), text.index("[recipients.software-development]")
    without = (text[:first] + text[last:]).replace(', "postal"', "")
    bench.given(AdoptPolicy(text=without))
    bench.when(register_recipient()).refused(RecipientCategoryUnknown, category="postal")
    version = 'version = "ee-accounting-1"'
    named = AdoptPolicy(text=text.replace(version, 'version = "ee-accounting-2"'))
    soon = START + timedelta(seconds=1)
    bench.given(publish(kind=DocumentKind.PRINCIPLES, effective_at=soon))
    bench.clock.forward(seconds=1)
    bench.given(named)
    bench.when(register_recipient()).then(registered())


@pytest.mark.rule("new-category-needs-new-principles")
def test_a_new_category_needs_a_new_version_of_the_principles_in_force(bench: Bench) -> None:
    text = default_policy_text()
    first, last = text.index("[recipients.postal]"), text.index("[recipients.software-development]")
    without = (text[:first] + text[last:]).replace(', "postal"', "")
    principles: dict[str, Any] = {"kind": DocumentKind.PRINCIPLES}

    def numbered(policy: str, number: int) -> AdoptPolicy:
        return AdoptPolicy(text=policy.replace('version = "ee-accounting-1"', f'version = "ee-accounting-{number}"'))

    bench.given(
        AdoptPolicy(text=without),
        publish(**principles, effective_at=START + timedelta(seconds=1)),
        numbered(without, 2),
    )
    in_a_month = START + timedelta(days=30)
    bench.clock.forward(seconds=1)
    assert bench.when(numbered(text, 3)).refusal is None, "the principles came after the policy that lacks it"
    bench.given(numbered(without, 4))
    bench.when(numbered(text, 5)).refused(PrinciplesUnchanged, category="postal")
    bench.given(publish(**principles, version="2", effective_at=in_a_month), numbered(without, 6))
    bench.when(numbered(text, 5)).refused(PrinciplesUnchanged, category="postal")
    bench.clock.forward(days=30)
    assert bench.when(numbered(text, 5)).refusal is None
    bench.when(register_recipient()).then(registered())


@pytest.mark.rule("processor-has-a-contract")
def test_a_processor_has_a_contract_and_a_third_country_its_basis(ready: Bench) -> None:
    ready.when(register_recipient(contract=None)).refused(ContractMissing, recipient=POST)
    ready.when(register_recipient(country="US")).refused(TransferBasisMissing, recipient=POST, country="US")
    ready.when(register_recipient(country="US", transfer_basis=TransferBasis.ADEQUACY)).then(
        registered(country="US", transfer_basis=TransferBasis.ADEQUACY)
    )
    other = an_id("a bailiff")
    authority = {"recipient_id": other, "category": RecipientCategory.AUTHORITY, "contract": None, "valid_to": None}
    ready.when(register_recipient(**authority)).then(registered(**authority))


@pytest.mark.rule("recipient-is-in-force")
def test_nothing_is_sent_to_a_recipient_that_is_not_in_force(ready: Bench) -> None:
    ready.when(end_recipient()).refused(RecipientUnknown, recipient=POST)
    ready.when(send()).refused(RecipientUnknown, denied("recipient-unknown"), recipient=POST)
    ready.given(register_recipient(valid_from=START + timedelta(days=1)))
    ready.when(send()).refused(RecipientExpired, denied("recipient-expired"), recipient=POST)
    ready.clock.forward(days=1)
    ready.when(send()).then(
        DataSentToProcessor(subject_id=MARI, recipient_id=POST, purpose=Purpose.CONTRACT, fields=FIELDS)
    )
    ready.clock.forward(days=364)
    ready.when(send()).refused(RecipientExpired, denied("recipient-expired"), recipient=POST)
    ready.given(end_recipient())
    ready.when(send()).refused(RecipientEndedAlready, denied("recipient-ended"), recipient=POST)
    found = explain(ready.ledger, ready.ledger.size() - 1)
    assert (found.command, found.refusal, found.allowed) == ("send-to-processor", "recipient-ended", False)
    assert [rule.id for rule in found.rules] == ["recipient-is-in-force"]
    assert [fact.topic for fact in found.facts] == [
        "policy-adopted", "subject-registered", "recipient-registered", "recipient-ended",
    ]  # fmt: skip


@pytest.mark.rule("processors-only-without-permission")
def test_without_law_or_permission_data_goes_to_processors_only(ready: Bench) -> None:
    ready.given(register_recipient(category=RecipientCategory.OTHER, contract=None))
    ready.when(send()).refused(NoProcessor, denied("no-processor"), recipient=POST)
    ready.when(send(fields=())).refused(Invalid, field="fields")


@pytest.mark.rule("processors-get-allowed-fields")
def test_a_field_that_no_activity_allows_goes_to_no_processor(ready: Bench) -> None:
    ready.given(register_recipient())
    known = denied("field-not-allowed", fields=("address",))
    ready.when(send(fields=("address", "shoe-size"))).refused(FieldNotAllowed, known, field="shoe-size")
    offers = denied("field-not-allowed", fields=("iban",), purpose=Purpose.OWN_OFFERS)
    ready.when(send(fields=("iban",), purpose=Purpose.OWN_OFFERS)).refused(FieldNotAllowed, offers, field="iban")


def test_hosting_is_one_standing_disclosure(ready: Bench) -> None:
    ready.given(register_recipient(category=RecipientCategory.HOSTING))
    ready.when(send()).refused(Invalid, field="recipient_id")
