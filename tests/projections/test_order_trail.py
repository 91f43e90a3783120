"""The trail of an order: every step, the exact bytes, the consents of that day; and lists of orders."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from ledger.commands import (
    AmendOrder,
    CancelOrder,
    ConfirmOrder,
    DisputeOrder,
    ExecuteOrder,
    RecordOrder,
    ResolveDispute,
    WithdrawConsent,
)
from ledger.errors import Invalid, OrderUnknown, StorageError
from ledger.events import Transaction
from ledger.state.order import Standing
from ledger.vocabulary import (
    CaseId,
    Channel,
    ClientId,
    MediaType,
    OrderChannel,
    OrderId,
    RecipientId,
    Reference,
    RetentionClass,
    Sha256Hex,
    SubjectId,
    Word,
    new_id,
)
from projections import ValueState
from tests.projections.test_consents import consent
from tests.projections.world import World

XML = MediaType("application/xml")
BYTES = b"\xef\xbb\xbf<order>\r\n\x00\xff</order>\n"
DONE = Transaction(reference=Reference("T-1"), result_digest=Sha256Hex("cd" * 32))


def order(world: World, subject: SubjectId, client: ClientId | None = None, content: bytes = BYTES) -> RecordOrder:
    return RecordOrder(
        order_id=OrderId(new_id()),
        client_id=client or ClientId(new_id()),
        subject_id=subject,
        channel=OrderChannel.SOFTWARE,
        media_type=XML,
        content=content,
        terms_version=Reference("2026-01"),
        received_at=world.now,
        authentication=Word("session"),
        file_name="order.xml",
    )


def amendment(world: World, amended: RecordOrder, content: bytes) -> AmendOrder:
    return AmendOrder(
        order_id=amended.order_id,
        subject_id=amended.subject_id,
        channel=Channel.EMAIL,
        media_type=XML,
        content=content,
        received_at=world.now,
    )


def execution(executed: RecordOrder, *transactions: Transaction) -> ExecuteOrder:
    return ExecuteOrder(order_id=executed.order_id, transactions=transactions or (DONE,))


def dispute(disputed: RecordOrder, case: CaseId) -> DisputeOrder:
    return DisputeOrder(
        order_id=disputed.order_id,
        subject_id=disputed.subject_id,
        case_id=case,
        ground=Word("not-as-ordered"),
        statement="I asked for two",
    )


def test_a_trail_has_every_step_in_order(world: World) -> None:
    subject, case = world.subject(), CaseId(new_id())
    placed = order(world, subject)
    confirmation = ConfirmOrder(order_id=placed.order_id, channel=Channel.EMAIL)
    resolution = ResolveDispute(
        order_id=placed.order_id, subject_id=subject, case_id=case, outcome=Word("refunded"), statement="sorry"
    )
    first = world.given(placed)
    last = world.given(
        amendment(world, placed, b"<order n='2'/>"), execution(placed), confirmation, dispute(placed, case), resolution
    )
    trail = world.then.trail(placed.order_id)
    assert [step.topic for step in trail.steps] == [
        "order-recorded", "order-amended", "order-executed", "order-confirmed", "order-disputed", "dispute-resolved",
    ]  # fmt: skip
    assert [step.index for step in trail.steps] == list(range(first.index, last.position))
    assert trail.steps[-1].recorded_at == world.now
    assert (trail.standing, trail.terms_version, trail.authentication) == (Standing.CONFIRMED, "2026-01", "session")
    assert trail.transactions == (DONE,)
    assert trail.steps[2].details["transactions"][0]["reference"] == "T-1"
    (about,) = trail.disputes
    assert (about.case_id, about.ground, about.outcome) == (case, "not-as-ordered", "refunded")
    assert (about.opened, about.resolved) == (last.index - 1, last.index)
    assert [step.statement for step in trail.steps] == [None, None, None, None, "I asked for two", "sorry"]


def test_the_bytes_are_reproduced_exactly(world: World) -> None:
    subject = world.subject()
    placed = order(world, subject)
    world.given(placed, amendment(world, placed, b"\x00amended\r\n"))
    trail = world.then.trail(placed.order_id)
    assert trail.content.bytes == BYTES
    assert trail.content.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert (trail.content.media_type, trail.content.size_bytes, trail.content.file_name) == (
        XML,
        len(BYTES),
        "order.xml",
    )
    assert trail.steps[0].content == trail.content
    amended = trail.steps[1].content
    assert amended is not None
    assert (amended.bytes, amended.state, amended.file_name) == (b"\x00amended\r\n", ValueState.PRESENT, None)
    assert "content" not in trail.steps[0].details
    assert msgspec.to_builtins(trail)["standing"] == "open"


def test_a_trail_as_of_then_stops_there(world: World) -> None:
    subject = world.subject()
    placed = order(world, subject)
    before = world.now
    first = world.given(placed)
    then = world.now
    world.given(execution(placed))
    assert world.then.trail(placed.order_id).standing is Standing.EXECUTED
    assert world.then.trail(placed.order_id, as_of=then).standing is Standing.OPEN
    assert len(world.then.trail(placed.order_id, as_of=first.position).steps) == 1
    with pytest.raises(OrderUnknown):
        world.then.trail(placed.order_id, as_of=before)
    with pytest.raises(OrderUnknown):
        world.then.trail(OrderId(new_id()))


def test_a_trail_shows_the_consents_of_the_day_of_the_order(world: World) -> None:
    subject, recipient = world.subject(), RecipientId(new_id())
    before, after = consent(subject, recipient), consent(subject, recipient)
    placed = order(world, subject)
    withdrawn = WithdrawConsent(consent_id=before.consent_id, subject_id=subject, channel=Channel.LINK)
    world.given(before, placed, withdrawn, after)
    (found,) = world.then.trail(placed.order_id).consents
    assert found.consent_id == before.consent_id
    assert found.live


def test_an_erased_order_keeps_its_trail_and_loses_its_bytes(world: World) -> None:
    subject, case = world.subject(), CaseId(new_id())
    placed = order(world, subject)
    world.given(placed, execution(placed), dispute(placed, case))
    world.erase(subject, RetentionClass.ORDER)
    trail = world.then.trail(placed.order_id)
    assert (trail.content.state, trail.content.bytes, trail.content.sha256) == (ValueState.ERASED, None, None)
    assert (trail.content.size_bytes, trail.content.file_name) == (len(BYTES), None)
    assert (trail.steps[2].statement, trail.steps[2].statement_state) == (None, ValueState.ERASED)
    assert trail.steps[1].statement_state is None
    assert (trail.standing, trail.transactions, len(trail.steps)) == (Standing.EXECUTED, (DONE,), 3)


def test_orders_are_listed_by_subject_and_by_client(world: World) -> None:
    mari, jaan, client = world.subject(), world.subject(), ClientId(new_id())
    first, second, other = order(world, mari, client), order(world, jaan, client), order(world, mari)
    case = CaseId(new_id())
    world.given(first, second, other)
    listed_at = world.now
    cancel = CancelOrder(order_id=second.order_id, channel=Channel.PHONE, reason=Word("changed-mind"))
    world.given(execution(first), dispute(first, case), cancel)
    then = world.then
    assert [o.order_id for o in then.orders(subject_id=mari)] == [first.order_id, other.order_id]
    assert [o.order_id for o in then.orders(client_id=client)] == [first.order_id, second.order_id]
    one, two = then.orders(client_id=client)
    assert (one.standing, one.steps, one.open_disputes) == (Standing.EXECUTED, 3, 1)
    assert (two.standing, two.subject_id, two.terms_version) == (Standing.CANCELLED, jaan, "2026-01")
    assert one.received_at == first.received_at
    assert {o.standing for o in then.orders(client_id=client, as_of=listed_at)} == {Standing.OPEN}
    assert then.orders(client_id=client, as_of=one.recorded) == ()
    resolution = ResolveDispute(order_id=first.order_id, subject_id=mari, case_id=case, outcome=Word("upheld"))
    world.given(resolution)
    assert world.then.orders(client_id=client)[0].open_disputes == 0


def test_an_order_that_somebody_else_disputed_is_in_their_list_too(world: World) -> None:
    mari, jaan = world.subject(), world.subject()
    placed = order(world, mari)
    world.given(placed, msgspec.structs.replace(dispute(placed, CaseId(new_id())), subject_id=jaan))
    (found,) = world.then.orders(subject_id=jaan)
    assert (found.order_id, found.subject_id, found.steps) == (placed.order_id, mari, 2)


def test_a_list_is_of_a_subject_or_of_a_client(world: World) -> None:
    subject = world.subject()
    with pytest.raises(Invalid):
        world.then.orders()
    with pytest.raises(Invalid):
        world.then.orders(subject_id=subject, client_id=ClientId(new_id()))
    assert world.then.orders(client_id=ClientId(new_id())) == ()


def test_a_row_that_points_to_another_order_is_never_shown(world: World) -> None:
    subject = world.subject()
    one, other = order(world, subject), order(world, subject, content=b"other")
    world.given(one)
    receipt = world.given(other)
    world.tamper("UPDATE order_steps SET order_id = ? WHERE idx = ?", one.order_id, receipt.index)
    with pytest.raises(StorageError, match="rebuild"):
        world.asked.trail(one.order_id)
