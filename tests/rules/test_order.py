"""Orders that wait, orders that are rejected, what a record may be used for, and the same order twice: clause 11."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    CancelOrder,
    ExecuteOrder,
    GiveMandate,
    RecordOrder,
    RegisterSubject,
    RejectOrder,
    ReleaseOrder,
    RevokeMandate,
    UseOrder,
)
from ledger.errors import (
    Invalid,
    MandateExists,
    MandateUnknown,
    OrderState,
    OrderUnknown,
    SubjectUnknown,
    UseNotNamed,
)
from ledger.events import (
    MandateGiven,
    MandateRevoked,
    OrderCancelled,
    OrderQuarantined,
    OrderRecorded,
    OrderRejected,
    OrderReleased,
    OrderUsed,
    OrderUseDenied,
    Transaction,
)
from ledger.policy import default_policy_text
from ledger.vocabulary import Channel, IdentityCheck, OrderChannel, Quarantine
from tests.bench import START, Bench, an_id
from tests.conftest import MakeBench

MARI, JAAN, CLIENT, ORDER, MANDATE = (an_id(name) for name in ("mari", "jaan", "client", "order", "mandate"))
TEXT = default_policy_text()
ADOPT = AdoptPolicy(text=TEXT)
REGISTER = RegisterSubject(subject_id=MARI)


def maker(command: Any, **usual: Any) -> Any:
    return lambda **given: command(**usual | given)


order = maker(
    RecordOrder, order_id=ORDER, client_id=CLIENT, subject_id=MARI, channel=OrderChannel.EMAIL,
    media_type="message/rfc822", content=b"Pay", terms_version="2026-01", received_at=START,
    authentication="dkim-pass",
)  # fmt: skip
release = maker(ReleaseOrder, order_id=ORDER, verification=IdentityCheck.CALL_BACK, evidence="call-1")
reject = maker(RejectOrder, order_id=ORDER, channel=Channel.EMAIL, reason="not-ours")
use = maker(UseOrder, order_id=ORDER, subject_id=MARI, use="proof")
give = maker(GiveMandate, mandate_id=MANDATE, client_id=CLIENT, subject_id=MARI, evidence="doc-1")
revoke = maker(RevokeMandate, mandate_id=MANDATE, client_id=CLIENT, subject_id=MARI, reason="left")
execute = maker(ExecuteOrder, order_id=ORDER, transactions=(Transaction(reference="T-1", result_digest="0" * 64),))
cancel = maker(CancelOrder, order_id=ORDER, channel=Channel.PHONE, reason="changed-mind")

MAKERS = [release, reject, use, give, revoke]
FIELD_KINDS = {"use": "word", "mandate_id": "id", "valid_to": "moment"}
OTHER_FIELDS: set[str] = set()
CODES = ["use-not-named", "mandate-exists", "mandate-unknown"]

WHOSE: dict[str, Any] = {"order_id": ORDER, "client_id": CLIENT, "subject_id": MARI}
UNVERIFIED = OrderQuarantined(**WHOSE, reason=Quarantine.UNVERIFIED)
RELEASED = OrderReleased(**WHOSE, verification=IdentityCheck.CALL_BACK, evidence="call-1")
REJECTED = OrderRejected(**WHOSE, channel=Channel.EMAIL, reason="not-ours")


@pytest.fixture
def bench(bench: Bench) -> Bench:
    return bench.given(ADOPT, REGISTER)


def recorded(**given: Any) -> OrderRecorded:
    usual: dict[str, Any] = {
        "channel": OrderChannel.EMAIL, "media_type": "message/rfc822", "size_bytes": 3, "terms_version": "2026-01",
        "received_at": START, "authentication": "dkim-pass", "content": b"Pay", "file_name": None,
    }  # fmt: skip
    return OrderRecorded(**WHOSE | usual | given)


@pytest.mark.rule("unverified-sender-waits")
@pytest.mark.parametrize("authentication", ["not-checked", "dkim-fail", "spf-pass"])
def test_an_order_of_an_unverified_sender_waits_until_somebody_decides(bench: Bench, authentication: str) -> None:
    bench.when(order(authentication=authentication)).then(recorded(authentication=authentication), UNVERIFIED)
    bench.when(execute()).refused(OrderState, state="quarantined", wanted="executed")
    bench.when(release()).then(RELEASED)
    assert bench.when(execute()).refusal is None


@pytest.mark.rule("unverified-sender-waits")
def test_an_order_of_a_verified_sender_or_from_the_software_does_not_wait(bench: Bench) -> None:
    bench.when(order()).then(recorded())
    bench.when(release()).refused(OrderState, state="open", wanted="released")
    other = an_id("other")
    bench.when(order(order_id=other, channel=OrderChannel.SOFTWARE, authentication="not-checked")).then(
        recorded(order_id=other, channel=OrderChannel.SOFTWARE, authentication="not-checked")
    )


@pytest.mark.rule("unverified-sender-waits")
def test_an_order_in_quarantine_may_be_rejected_or_cancelled_and_is_never_executed(make_bench: MakeBench) -> None:
    for make, event, state in (
        (reject, REJECTED, "rejected"),
        (cancel, OrderCancelled(**WHOSE, channel=Channel.PHONE, reason="changed-mind"), "cancelled"),
    ):
        bench = make_bench().given(ADOPT, REGISTER, order(authentication="not-checked"))
        bench.when(make()).then(event)
        for after in (release, reject, execute, cancel):
            bench.when(after()).refused(OrderState, state=state)


def test_an_open_order_is_rejected_and_an_executed_one_is_not(bench: Bench) -> None:
    bench.given(order()).when(reject()).then(REJECTED)
    other = an_id("other")
    bench.given(order(order_id=other), execute(order_id=other))
    bench.when(reject(order_id=other)).refused(OrderState, state="executed", wanted="rejected")


@pytest.mark.parametrize("make", [release, reject, use], ids=lambda make: make().NAME)
def test_an_order_nobody_recorded_is_unknown(bench: Bench, make: Any) -> None:
    bench.when(make()).refused(OrderUnknown, order=ORDER)


# --- mandates ----------------------------------------------------------------------------------------------------


@pytest.mark.rule("client-names-who-orders")
@pytest.mark.rule("unverified-sender-waits")
def test_once_a_client_names_people_nobody_else_orders_for_it(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=JAAN))
    bench.when(give()).then(MandateGiven(mandate_id=MANDATE, client_id=CLIENT, subject_id=MARI, evidence="doc-1"))
    bench.when(give()).refused(MandateExists, mandate=MANDATE)
    bench.when(order()).then(recorded(mandate_id=MANDATE))
    other = an_id("other")
    bench.when(order(order_id=other, subject_id=JAAN)).then(
        recorded(order_id=other, subject_id=JAAN),
        OrderQuarantined(order_id=other, client_id=CLIENT, subject_id=JAAN, reason=Quarantine.NO_MANDATE),
    )


@pytest.mark.rule("client-names-who-orders")
@pytest.mark.rule("unverified-sender-waits")
def test_a_mandate_that_was_revoked_or_ran_out_is_none(bench: Bench) -> None:
    bench.when(give(valid_to=START)).refused(Invalid, field="valid_to")
    bench.given(give(valid_to=START + timedelta(days=1)))
    bench.clock.forward(days=2)
    waits = OrderQuarantined(**WHOSE, reason=Quarantine.NO_MANDATE)
    late = bench.clock.now
    bench.when(order(received_at=late)).then(recorded(received_at=late), waits)
    bench.when(revoke()).refused(MandateUnknown, mandate=MANDATE, client=CLIENT)
    second = an_id("second")
    bench.given(give(mandate_id=second))
    bench.when(revoke(mandate_id=second)).then(
        MandateRevoked(mandate_id=second, client_id=CLIENT, subject_id=MARI, reason="left")
    )
    other = an_id("other")
    bench.when(order(order_id=other, received_at=late)).then(
        recorded(order_id=other, received_at=late),
        OrderQuarantined(**WHOSE | {"order_id": other}, reason=Quarantine.NO_MANDATE),
    )


@pytest.mark.parametrize("make", [give, revoke], ids=lambda make: make().NAME)
def test_a_mandate_is_of_somebody_registered(bench: Bench, make: Any) -> None:
    bench.when(make(subject_id=JAAN)).refused(SubjectUnknown, subject=JAAN)


# --- use ---------------------------------------------------------------------------------------------------------


@pytest.mark.rule("use-is-named")
def test_a_record_is_used_for_what_is_named_or_the_denial_is_kept(bench: Bench) -> None:
    bench.given(order())
    for named in ("proof", "reproduction", "complaint-handling"):
        bench.when(use(use=named)).then(OrderUsed(**WHOSE, use=named))
    bench.when(use(use="statistics")).refused(
        UseNotNamed, OrderUseDenied(**WHOSE, use="statistics", reason="use-not-named"), order=ORDER, use="statistics"
    )


@pytest.mark.rule("use-is-named")
def test_what_may_be_done_is_what_was_named_on_the_day_of_the_order(bench: Bench) -> None:
    wider = TEXT.replace('"ee-accounting-1"', '"ee-accounting-2"').replace(
        '"complaint-handling"]', '"complaint-handling", "statistics"]'
    )
    later = an_id("later")
    bench.given(order(), AdoptPolicy(text=wider), order(order_id=later))
    bench.when(use(use="statistics")).refused(
        UseNotNamed, OrderUseDenied(**WHOSE, use="statistics", reason="use-not-named")
    )
    bench.when(use(order_id=later, use="statistics")).then(OrderUsed(**WHOSE | {"order_id": later}, use="statistics"))


@pytest.mark.rule("use-is-named")
def test_before_any_policy_a_record_is_for_proof_and_reproduction(make_bench: MakeBench) -> None:
    bench = make_bench().given(REGISTER, order(), ADOPT)
    bench.when(use()).then(OrderUsed(**WHOSE, use="proof"))
    bench.when(use(use="complaint-handling")).refused(
        UseNotNamed, OrderUseDenied(**WHOSE, use="complaint-handling", reason="use-not-named")
    )
