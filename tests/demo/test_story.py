"""The story: the same for the same seed, in causal order, with a mix that shows every kind of step."""

from __future__ import annotations

import email
import hashlib
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, timedelta
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from api.demo import orders
from api.demo.people import RECIPIENTS, Cast
from api.demo.steps import (
    AmendOrder,
    CancelOrder,
    CollectData,
    ConfirmOrder,
    CorrectData,
    DisputeOrder,
    ErasePerson,
    ExecuteOrder,
    FieldValue,
    GiveConsent,
    RecordOrder,
    RegisterPerson,
    RequestDisclosure,
    ResolveDispute,
    Step,
    Transmit,
    WithdrawConsent,
)
from api.demo.story import scenario

SEED = 2026
STEPS = list(scenario(SEED))
DIGEST_SCRIPT = """
import hashlib, msgspec
from api.demo.story import scenario
print(hashlib.sha256(msgspec.json.encode(list(scenario(5, people=20, clients=5, events=400)))).hexdigest())
"""


def encoded(seed: int) -> bytes:
    return msgspec.json.encode(list(scenario(seed, people=20, clients=5, events=400)))


def check_person(steps: list[Step]) -> None:
    """Replay one person's steps and assert that each was possible."""
    registered = erased = False
    held: dict[str, str] = {}
    consents: set[str] = set()
    underway: dict[str, tuple[str, bool]] = {}
    for step in steps:
        assert not erased, "nothing follows an erasure"
        assert registered or isinstance(step, RegisterPerson)
        match step:
            case RegisterPerson():
                assert not registered
                registered = True
                held |= new_fields(step.fields, held)
            case CollectData():
                held |= new_fields(step.fields, held)
            case CorrectData():
                assert held[step.field] == step.old != step.new
                held[step.field] = step.new
            case GiveConsent():
                assert step.recipient not in consents
                consents.add(step.recipient)
            case WithdrawConsent():
                consents.remove(step.recipient)
                for handle, (recipient, _) in underway.items():
                    if recipient == step.recipient:
                        underway[handle] = (recipient, False)
            case RequestDisclosure():
                assert step.consented == (step.recipient in consents)
                assert set(step.fields) <= set(held)
                if step.consented:
                    underway[step.disclosure] = (step.recipient, True)
            case Transmit():
                assert underway.pop(step.disclosure) == (step.recipient, step.permitted)
            case ErasePerson():
                assert not underway
                erased = True
            case _:
                pass


def new_fields(fields: tuple[FieldValue, ...], held: dict[str, str]) -> dict[str, str]:
    collected: dict[str, str] = {one.field: one.value for one in fields}
    assert collected
    assert not collected.keys() & held.keys()
    return collected


MAY_FOLLOW: dict[type[Step], set[type[Step] | None]] = {
    RecordOrder: {None},
    AmendOrder: {RecordOrder, AmendOrder},
    CancelOrder: {RecordOrder, AmendOrder},
    ExecuteOrder: {RecordOrder, AmendOrder},
    ConfirmOrder: {ExecuteOrder},
    DisputeOrder: {ExecuteOrder, ConfirmOrder},
    ResolveDispute: {DisputeOrder},
}

OrderStep = RecordOrder | AmendOrder | CancelOrder | ExecuteOrder | ConfirmOrder | DisputeOrder | ResolveDispute


def test_times_increase_strictly_over_the_year_in_utc() -> None:
    assert all(before.at < after.at for before, after in pairwise(STEPS))
    assert {step.at.year for step in STEPS} == {2026}
    assert {step.at.month for step in STEPS} == set(range(1, 13))
    assert all(step.at.tzinfo is UTC and step.at.weekday() < 5 for step in STEPS)


def test_each_life_is_causally_consistent() -> None:
    lives: dict[int, list[Step]] = {}
    for step in STEPS:
        lives.setdefault(step.person, []).append(step)
    assert set(lives) == set(range(120))
    for steps in lives.values():
        check_person(steps)


def test_each_order_is_causally_consistent() -> None:
    last: dict[str, OrderStep] = {}
    revisions: Counter[str] = Counter()
    for step in STEPS:
        if not isinstance(step, OrderStep):
            continue
        before = last.get(step.order)
        assert (type(before) if before else None) in MAY_FOLLOW[type(step)]
        if before is not None:
            assert step.person == before.person
        if isinstance(step, AmendOrder):
            revisions[step.order] += 1
            assert step.revision == revisions[step.order]
        if isinstance(step, ResolveDispute):
            assert isinstance(before, DisputeOrder)
            assert step.dispute == before.dispute
        last[step.order] = step


def test_nobody_is_erased_while_something_of_theirs_is_open() -> None:
    open_orders: Counter[int] = Counter()
    for step in STEPS:
        if isinstance(step, RecordOrder | DisputeOrder):
            open_orders[step.person] += 1
        elif isinstance(step, ExecuteOrder | CancelOrder | ResolveDispute):
            open_orders[step.person] -= 1
        elif isinstance(step, ErasePerson):
            assert open_orders[step.person] == 0


def test_transactions_are_those_of_the_latest_bytes() -> None:
    bodies: dict[str, bytes] = {}
    checked = 0
    for step in STEPS:
        if isinstance(step, RecordOrder | AmendOrder):
            bodies[step.order] = step.body if step.media_type == orders.XML else b""
        elif isinstance(step, ExecuteOrder):
            assert step.transactions
            if bodies[step.order]:
                root = ET.fromstring(bodies[step.order])
                ids = [one.text for one in root.iter(f"{{{orders.PAIN}}}EndToEndId")]
                number = root.findtext(f"{{{orders.CBC}}}ID")
                assert [one.reference for one in step.transactions] == (ids or [number])
                checked += 1
    assert checked > 100


def test_every_order_arrives_after_it_was_made_and_only_once() -> None:
    arrived = [step for step in STEPS if isinstance(step, RecordOrder | AmendOrder)]
    assert all(timedelta(0) < step.at - step.claimed_at < timedelta(minutes=2) for step in arrived)
    assert len({step.idempotency_key for step in arrived}) == len(arrived)
    assert len({step.body for step in arrived}) == len(arrived)


def test_every_recorded_body_reads_back_as_its_media_type() -> None:
    for step in STEPS:
        if not isinstance(step, RecordOrder | AmendOrder):
            continue
        if step.channel == "software":
            assert step.media_type == orders.XML
            check_sums(ET.fromstring(step.body))
        else:
            assert step.media_type == orders.MAIL_MESSAGE
            assert b"\n" not in step.body.replace(b"\r\n", b"")
            message = email.message_from_bytes(step.body)
            assert message["Message-ID"] == f"<{step.idempotency_key}>"
            assert bool(message["In-Reply-To"]) == isinstance(step, AmendOrder)


def check_sums(root: ET.Element) -> None:
    if root.tag == f"{{{orders.PAIN}}}Document":
        total = sum(Decimal(one.text or "") for one in root.iter(f"{{{orders.PAIN}}}InstdAmt"))
        assert {Decimal(one.text or "") for one in root.iter(f"{{{orders.PAIN}}}CtrlSum")} == {total}
    else:
        [taxable] = [Decimal(one.text or "") for one in root.iter(f"{{{orders.CBC}}}TaxableAmount")]
        [payable] = [Decimal(one.text or "") for one in root.iter(f"{{{orders.CBC}}}PayableAmount")]
        assert abs(payable - taxable * Decimal("1.24")) <= Decimal("0.005")


def test_the_mix_shows_every_step_both_answers_and_the_race() -> None:
    kinds = Counter(type(step) for step in STEPS)
    assert set(kinds) == set(Step.__subclasses__())
    assert kinds[RegisterPerson] == 120
    assert kinds[RecordOrder] > len(STEPS) // 6
    requests = Counter(step.consented for step in STEPS if isinstance(step, RequestDisclosure))
    assert min(requests[True], requests[False]) > 50
    assert Counter(step.permitted for step in STEPS if isinstance(step, Transmit))[False] > 0
    assert {step.recipient for step in STEPS if isinstance(step, GiveConsent)} == {one.handle for one in RECIPIENTS}
    channels = Counter(step.channel for step in STEPS if isinstance(step, RecordOrder))
    assert min(channels["software"], channels["email"]) > 100


def test_a_granted_disclosure_is_sent_within_minutes() -> None:
    asked = {step.disclosure: step.at for step in STEPS if isinstance(step, RequestDisclosure)}
    gaps = [
        step.at - asked[step.disclosure]
        for step in STEPS
        if isinstance(step, Transmit) and step.at.date() == asked[step.disclosure].date()
    ]
    assert max(gaps) < timedelta(minutes=15)


def test_registration_carries_the_person_of_the_cast() -> None:
    cast = Cast(SEED)
    for step in STEPS[:200]:
        if isinstance(step, RegisterPerson):
            assert {one.field: one.value for one in step.fields}["email"] == cast.person(step.person).email


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert encoded(5) == encoded(5) != encoded(6)


def test_the_hash_seed_of_the_interpreter_changes_nothing() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        [sys.executable, "-c", DIGEST_SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(encoded(5)).hexdigest()


@pytest.mark.parametrize(("people", "clients", "events"), [(1, 1, 300), (2, 1, 1), (50, 3, 20), (5, 5, 0)])
def test_small_stories_have_exactly_the_steps_asked_for(people: int, clients: int, events: int) -> None:
    steps = list(scenario(1, people=people, clients=clients, events=events))
    assert len(steps) == events
    assert all(before.at < after.at for before, after in pairwise(steps))


@pytest.mark.parametrize(("people", "clients"), [(0, 1), (1, 0)])
def test_a_story_without_people_or_clients_is_refused(people: int, clients: int) -> None:
    with pytest.raises(ValueError, match="at least one person"):
        scenario(1, people=people, clients=clients)
