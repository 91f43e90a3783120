"""Random commands against a plain model in memory: every refusal, every projection, every as-of view must agree.

The model is in tests/model, one file a capability. Here it is run: all capabilities together, and groups of them, so
that a bounded run comes deep into each; and defects are planted, each of which the model meets on a way of a few steps.
`make campaign` runs it for longer.
"""

from __future__ import annotations

import pkgutil
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from ledger.events import ConsentGiven
from ledger.vocabulary import OfferKind, PersonType, Purpose, RetentionClass
from tests.model.base import PEOPLE, Model
from tests.model.breaches import Breaching
from tests.model.disclosure import Disclosing
from tests.model.employees import STAFF, Working
from tests.model.erasure import Erasing
from tests.model.marketing import CAMPAIGNS, Offering
from tests.model.orders import Ordering
from tests.model.recipients import PARTNER
from tests.model.requests import Requesting


class Disclosures(Disclosing, Erasing):
    """What leaves, of what may be erased meanwhile."""


class Offers(Offering, Erasing):
    """Who is written to, and from where their address is."""


class Requests(Requesting, Erasing):
    """What people ask, and what has to happen for it."""


class Everything(Disclosing, Offering, Working, Ordering, Requesting, Breaching, Erasing):
    """All capabilities at once."""


MACHINES: list[type[Model]] = [Everything, Disclosures, Offers, Requests, Ordering, Working, Breaching]
EXAMPLES = 4


def run(machine: type[Model], examples: int, **options: Any) -> None:
    chosen: dict[str, Any] = {"stateful_step_count": 50, "deadline": None, "suppress_health_check": [*HealthCheck]}
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, **chosen | options))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("times", [1, pytest.param(50, marks=pytest.mark.campaign)])
def test_random_commands(machine: type[Model], times: int) -> None:
    run(machine, EXAMPLES * times)


def test_no_capability_hides_a_rule_of_another() -> None:
    mixins = {one for one in Everything.__mro__ if one.__module__.startswith("tests.model.") and one is not Model}
    names = Counter(name for mixin in mixins for name in vars(mixin) if not name.startswith("_"))
    shared = {"view", "ask", "expected", "due", "owed", "begin", "changed", "carry_out", "by_law", "usable"}
    shared |= {"joined", "parted", "objects"}
    assert {name for name, times in names.items() if times > 1} == shared


# --- the model notices -------------------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def replaced(target: str, make: Callable[[Any], Any]) -> Patch:
    """Plant a defect in place of something that is named by where it is used, made of what is there."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        module, _, name = target.rpartition(".")
        owner: Any = pkgutil.resolve_name(module)
        patch.setattr(owner, name, make(getattr(owner, name)))

    return plant


def given_only(real: Any) -> Any:
    """A withdrawal is ignored: every consent that was given is live."""
    return lambda past, subject_id: {event.consent_id: event for event in past.of(ConsentGiven)}


def off_by_one(real: Any) -> Any:
    """A field is at a version before the one it is at."""
    return lambda past: {
        name: msgspec.structs.replace(field, version=field.version - 1) for name, field in real(past).items()
    }


def one_more(real: Any) -> Any:
    """As of a position, one entry too many is known."""
    return lambda as_of: real(as_of + 1 if isinstance(as_of, int) else as_of)


def first_only(real: Any) -> Any:
    """Of several facts only the first is recorded."""
    return lambda self, past, context: real(self, past, context)[:1]


def of_this_record(real: Any) -> Any:
    """A hold defers the erasure of its own record and of no other of the person."""
    return lambda past, subject_id: {
        name: hold for name, hold in real(past, subject_id).items() if hold.subject_id == subject_id
    }


def nothing(result: Any) -> Callable[[Any], Any]:
    """Nothing is ever found, or refused."""
    return lambda real: lambda *arguments, **options: result


def one_partner_offer_less(real: Any) -> Any:
    return lambda self, kind, since, besides: real(self, kind, since, besides=besides) - (kind is OfferKind.PARTNER)


Walk = Callable[[Any], object]
MARI, JAAN = PEOPLE
EMAIL = ("email",)
LATEST = datetime.max.replace(tzinfo=UTC)

# What is wrong, where, and the shortest way on which the model meets it.
DEFECTS: dict[str, tuple[type[Model], Patch, Sequence[Walk]]] = {
    "withdrawal ignored": (
        Disclosures,
        replaced("ledger.state.consent.live_consents", given_only),
        [
            lambda m: m.disclose(MARI, 0, PARTNER, EMAIL, False, 2, ""),
            lambda m: m.withdraw(MARI, 0, False),
            lambda m: m.transmit(MARI, 0, None, "", False),
        ],
    ),
    "ended recipient served": (
        Disclosures,
        replaced("ledger.commands.disclosure._recipient_now", nothing(None)),
        [
            lambda m: m.disclose(MARI, 0, PARTNER, EMAIL, False, 2, ""),
            lambda m: m.end_recipient(PARTNER),
            lambda m: m.transmit(MARI, 0, None, "", False),
        ],
    ),
    "erased field sent": (
        Disclosures,
        replaced("ledger.commands.disclosure._held_now", nothing(None)),
        [
            lambda m: m.disclose(MARI, 0, PARTNER, ("given-name",), True, 2, ""),
            lambda m: m.forget(MARI),
            lambda m: m.transmit(MARI, 0, None, "", False),
        ],
    ),
    "no recall": (
        Disclosures,
        replaced("ledger.commands.consent.WithdrawConsent.decide", first_only),
        [
            lambda m: m.disclose(MARI, 0, PARTNER, EMAIL, False, 3, ""),
            lambda m: m.withdraw(MARI, 0, False),
        ],
    ),
    "hold ignored": (
        Disclosures,
        replaced("ledger.commands.erasure.hold_on", nothing(None)),
        [lambda m: m.hold(MARI, 0), lambda m: m.forget(MARI)],
    ),
    "as of off by one": (
        Disclosures,
        replaced("projections.consents.bound", one_more),
        [lambda m: m.consent(MARI, 0, PARTNER, EMAIL)],
    ),
    "hold on another record ignored": (
        Disclosures,
        replaced("ledger.commands.erasure.holds_over", of_this_record),
        [lambda m: m.merge(False, False), lambda m: m.hold(JAAN, 0), lambda m: m.forget(MARI)],
    ),
    "deferred erasure forgotten": (
        Disclosures,
        replaced("projections.Projections.released_erasures", nothing(())),
        [lambda m: m.postpone(MARI, 0, True, "part")],
    ),
    "restriction ignored": (
        Disclosures,
        replaced("ledger.commands.disclosure.restricted", nothing(None)),
        [
            lambda m: m.disclose(MARI, 0, PARTNER, EMAIL, False, 2, ""),
            lambda m: m.restrict(MARI, 0, EMAIL),
            lambda m: m.transmit(MARI, 0, None, "", False),
        ],
    ),
    "restriction of another record not carried": (
        Disclosures,
        replaced("ledger.commands.merge.binding", nothing([])),
        [
            lambda m: m.disclose(MARI, 0, PARTNER, EMAIL, False, 2, ""),
            lambda m: m.restrict(JAAN, 0, ()),
            lambda m: m.merge(False, False),
            lambda m: m.transmit(MARI, 0, None, "", False),
        ],
    ),
    "contested and not restricted": (
        Requests,
        replaced("ledger.commands.accuracy.ProposeCorrection.decide", first_only),
        [lambda m: m.propose(MARI, "email", 0, False)],
    ),
    "version off by one": (
        Requests,
        replaced("ledger.commands.personal_data.fields", off_by_one),
        [lambda m: m.correct(MARI, "email", "b@example.com", False, None, False)],
    ),
    "suppression forgotten": (
        Offers,
        replaced("ledger.suppression.Suppression.objectors", nothing(frozenset())),
        [lambda m: m.object(JAAN), lambda m: m.write_to(MARI, 2, 1)],
    ),
    "refusal of another record ignored": (
        Offers,
        replaced("ledger.state.marketing.Standing.refused_elsewhere", nothing(False)),
        [
            lambda m: m.classify(MARI, PersonType.LEGAL),
            lambda m: m.agree(JAAN, OfferKind.OWN, 0),
            lambda m: m.disagree(JAAN, OfferKind.OWN, 0),
            lambda m: m.merge(False, False),
            lambda m: m.offer(MARI, CAMPAIGNS[2]),
        ],
    ),
    "revocation forgotten": (
        Offers,
        replaced("ledger.commands.marketing.revoked", nothing(frozenset())),
        [
            lambda m: m.take_in(0, 0, MARI, "a@example.com"),
            lambda m: m.inform(MARI),
            lambda m: m.revoke(0),
            lambda m: m.write_to(MARI, 2, 1),
        ],
    ),
    "one partner offer too many": (
        Offers,
        replaced("ledger.state.marketing.Standing.in_window", one_partner_offer_less),
        [lambda m: m.write_to(MARI, 2, 4)],
    ),
    "lapse forgotten": (
        Working,
        replaced("ledger.commands.use.check_access", nothing(None)),
        [
            lambda m: m.work(MARI, STAFF[0], "1", EMAIL),
            lambda m: m.lapse(STAFF[0]),
            lambda m: m.use(MARI, STAFF[0], Purpose.CONTRACT, EMAIL, False),
        ],
    ),
    "booked order erased": (
        Ordering,
        replaced("ledger.commands.erasure.check_not_kept_by_law", nothing(None)),
        [
            lambda m: m.carry_out_order(MARI, 0, 3, True),
            lambda m: m.decide(MARI, RetentionClass.ORDER, None),
        ],
    ),
    "kept for ever": (
        Requests,
        replaced("ledger.commands.erasure.longest", nothing(LATEST)),
        [lambda m: m.decide(MARI, RetentionClass.CONTRACT, 40_000)],
    ),
    "quarantine skipped": (
        Ordering,
        replaced("ledger.commands.order.RecordOrder.decide", first_only),
        [lambda m: m.order(MARI, 0, False, "not-stated")],
    ),
}


def walked(machine: type[Model], walk: Sequence[Walk]) -> None:
    """Go a way step by step, comparing after each one as a random run does, and all of the past at the end."""
    model = machine()
    try:
        model.adopt(True)
        for step in [lambda _: None, *walk]:
            step(model)
            model.projections_say_what_the_model_says()
        model.compare_past()
    finally:
        model.shut()


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_model_notices_a_planted_defect(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, plant, walk = DEFECTS[defect]
    walked(machine, walk)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        walked(machine, walk)
