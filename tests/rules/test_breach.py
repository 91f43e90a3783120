"""Breaches: documented from suspicion to close, with the clock of 72 hours. Clause 4; GDPR Art. 33, 34."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    AssessBreach,
    CloseBreach,
    ConfirmBreach,
    ExpireBreach,
    NotifyAuthority,
    NotifySubjects,
    SuspectBreach,
)
from ledger.errors import BreachExists, BreachState, BreachUnknown, Invalid, RetentionRuns, RoleMissing
from ledger.events import (
    AuthorityNotified,
    BreachAssessed,
    BreachClosed,
    BreachConfirmed,
    BreachSuspected,
    SubjectsNotified,
    Withheld,
)
from ledger.explain import explain
from ledger.policy import default_policy_text
from ledger.vocabulary import BreachNature, BreachRisk, Channel
from projections import PROJECTIONS_FILE, open_projections
from projections.duties import run_duties
from tests.bench import START, SUPPORT, Bench, an_id

BREACH = an_id("breach")
HOUR = timedelta(hours=1)


def suspect(**given: Any) -> SuspectBreach:
    usual: dict[str, Any] = {
        "breach_id": BREACH,
        "natures": (BreachNature.CONFIDENTIALITY,),
        "suspected_at": START,
        "facts": "A laptop was left in a train",
    }
    return SuspectBreach(**usual | given)


def confirm(**given: Any) -> ConfirmBreach:
    return ConfirmBreach(**{"breach_id": BREACH, "aware_at": START} | given)


def assess(**given: Any) -> AssessBreach:
    usual: dict[str, Any] = {
        "breach_id": BREACH,
        "risk": BreachRisk.RISK,
        "subjects": 120,
        "records": 400,
        "categories": ("contact", "financial"),
        "effects": "Strangers may write to them",
        "measures": "Keys revoked",
    }
    return AssessBreach(**usual | given)


def tell_authority(**given: Any) -> NotifyAuthority:
    usual: dict[str, Any] = {
        "breach_id": BREACH,
        "authority": "aki",
        "reference": "2.1-3/26/117",
        "notified_at": START + HOUR,
    }
    return NotifyAuthority(**usual | given)


def tell_people(**given: Any) -> NotifySubjects:
    usual: dict[str, Any] = {"channel": Channel.EMAIL, "subjects": 120, "notified_at": START + HOUR}
    return NotifySubjects(**{"breach_id": BREACH} | usual | given)


def close(**given: Any) -> CloseBreach:
    return CloseBreach(**{"breach_id": BREACH, "outcome": "contained"} | given)


def expire(**given: Any) -> ExpireBreach:
    return ExpireBreach(**{"breach_id": BREACH} | given)


MAKERS = [suspect, confirm, assess, tell_authority, tell_people, close, expire]
FIELD_KINDS = {
    "breach_id": "id", "suspected_at": "moment", "aware_at": "moment", "notified_at": "moment", "risk": "enum",
    "facts": "text", "effects": "text", "measures": "text", "delay_reason": "text", "authority": "word",
    "reference": "reference", "categories": "words", "exemption": "word", "subjects": "count", "records": "count",
}  # fmt: skip
OTHER_FIELDS = {"natures"}
CODES = ["breach-exists", "breach-state", "breach-unknown"]


@pytest.fixture
def aware(bench: Bench) -> Bench:
    bench.given(AdoptPolicy(text=default_policy_text()), suspect(), confirm())
    bench.clock.forward(hours=2)
    return bench


@pytest.mark.rule("anybody-reports-a-breach")
def test_anybody_reports_a_suspicion_and_its_facts_are_sealed(bench: Bench) -> None:
    done = bench.when(suspect(), by=SUPPORT)
    done.then(
        BreachSuspected(
            breach_id=BREACH,
            natures=(BreachNature.CONFIDENTIALITY,),
            suspected_at=START,
            facts="A laptop was left in a train",
        )
    )
    assert b"laptop" not in bench.ledger.entry(0)
    bench.when(suspect()).refused(BreachExists, breach=BREACH)
    other = an_id("another breach")
    bench.when(suspect(breach_id=other, natures=())).refused(Invalid, field="natures")
    bench.when(suspect(breach_id=other, facts="")).refused(Invalid, field="facts")
    bench.when(suspect(breach_id=other, suspected_at=START + HOUR)).refused(Invalid, field="suspected_at")


@pytest.mark.rule("breach-clock-starts-at-awareness")
def test_the_clock_of_72_hours_starts_at_awareness(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=default_policy_text()))
    bench.when(confirm()).refused(BreachUnknown, breach=BREACH)
    bench.given(suspect(suspected_at=START - HOUR))
    bench.when(confirm(), by=SUPPORT).refused(RoleMissing, needed="officer")
    for wrong in (START - 2 * HOUR, START + HOUR):
        bench.when(confirm(aware_at=wrong)).refused(Invalid, field="aware_at")
    bench.when(confirm()).then(
        BreachConfirmed(breach_id=BREACH, aware_at=START, notice_due_at=START + timedelta(hours=72))
    )
    bench.when(confirm()).refused(BreachState, state="confirmed already")


@pytest.mark.rule("breach-is-documented")
def test_facts_effects_and_remedial_action_are_recorded_for_every_breach(aware: Bench) -> None:
    done = aware.when(assess())
    done.then(
        BreachAssessed(
            breach_id=BREACH,
            risk=BreachRisk.RISK,
            subjects=120,
            records=400,
            categories=("contact", "financial"),  # type: ignore[arg-type]
            effects="Strangers may write to them",
            measures="Keys revoked",
        )
    )
    assert b"Strangers" not in aware.ledger.entry(done.before)
    aware.when(assess(effects="")).refused(Invalid, field="effects")
    aware.when(assess(measures="")).refused(Invalid, field="measures")
    aware.when(assess(records=-1)).refused(Invalid, field="records")
    assert aware.when(assess(risk=BreachRisk.HIGH)).refusal is None, "more is known now"


@pytest.mark.rule("late-notice-says-why")
def test_a_late_notice_to_the_authority_says_why(aware: Bench) -> None:
    due = START + timedelta(hours=72)
    aware.when(tell_authority(delay_reason="no reason")).refused(Invalid, field="delay_reason")
    aware.clock.now = due + HOUR
    aware.when(tell_authority(notified_at=due + timedelta(microseconds=1))).refused(Invalid, field="delay_reason")
    aware.when(tell_authority(notified_at=due)).then(
        AuthorityNotified(
            breach_id=BREACH,
            authority="aki",  # type: ignore[arg-type]
            reference="2.1-3/26/117",  # type: ignore[arg-type]
            notified_at=due,
        )
    )
    late = aware.when(tell_authority(notified_at=due + HOUR, delay_reason="The extent was not known"))
    assert late.refusal is None
    assert b"extent" not in aware.ledger.entry(late.before)


@pytest.mark.rule("late-notice-says-why")
def test_nobody_is_told_before_the_company_is_aware_or_in_the_future(aware: Bench) -> None:
    for make in (tell_authority, tell_people):
        for wrong in (START - HOUR, START + 3 * HOUR):
            aware.when(make(notified_at=wrong)).refused(Invalid, field="notified_at")
        aware.when(make(), by=SUPPORT).refused(RoleMissing)
        aware.when(make(breach_id=an_id("none"))).refused(BreachUnknown)
    aware.when(tell_people(subjects=0)).refused(Invalid, field="subjects")
    aware.when(tell_people()).then(
        SubjectsNotified(breach_id=BREACH, channel=Channel.EMAIL, subjects=120, notified_at=START + HOUR)
    )


@pytest.mark.rule("breach-closes-when-told")
def test_a_suspicion_that_was_none_is_closed(bench: Bench) -> None:
    bench.given(suspect()).when(close(outcome="no-breach")).then(
        BreachClosed(breach_id=BREACH, outcome="no-breach")  # type: ignore[arg-type]
    )
    bench.when(close()).refused(BreachState, state="closed")
    bench.when(assess()).refused(BreachState, state="closed")


@pytest.mark.rule("breach-closes-when-told")
@pytest.mark.parametrize(
    ("risk", "steps", "closes"),
    [
        (BreachRisk.UNLIKELY, (), True),
        (BreachRisk.RISK, (), False),
        (BreachRisk.RISK, (tell_authority,), True),
        (BreachRisk.HIGH, (tell_authority,), False),
        (BreachRisk.HIGH, (tell_people,), False),
        (BreachRisk.HIGH, (tell_authority, tell_people), True),
    ],
)
def test_a_breach_closes_once_everybody_was_told_whom_its_risk_concerns(
    aware: Bench, risk: BreachRisk, steps: Any, closes: bool
) -> None:
    aware.when(close()).refused(BreachState, state="not assessed")
    aware.given(assess(risk=risk), *(step() for step in steps))
    done = aware.when(close())
    if closes:
        done.then(BreachClosed(breach_id=BREACH, outcome="contained"))  # type: ignore[arg-type]
    else:
        done.refused(BreachState, breach=BREACH)


@pytest.mark.rule("breach-closes-when-told")
def test_people_at_high_risk_are_told_or_the_exemption_is_named(aware: Bench) -> None:
    aware.given(assess(risk=BreachRisk.HIGH), tell_authority())
    aware.when(close(exemption="encrypted")).then(
        BreachClosed(breach_id=BREACH, outcome="contained", exemption="encrypted")  # type: ignore[arg-type]
    )


@pytest.mark.rule("breach-closes-when-told")
def test_an_exemption_is_named_only_where_it_is_needed(aware: Bench) -> None:
    aware.given(assess(), tell_authority())
    aware.when(close(exemption="encrypted")).refused(Invalid, field="exemption")


@pytest.mark.rule("breach-texts-expire")
def test_what_is_written_about_a_breach_is_erased_when_its_limitation_period_is_over(bench: Bench) -> None:
    bench.given(AdoptPolicy(text=default_policy_text()))
    bench.when(expire()).refused(BreachUnknown, breach=BREACH)
    bench.given(suspect())
    first = bench.ledger.size() - 1
    bench.when(expire()).refused(BreachUnknown)
    bench.given(close(outcome="none"))
    bench.clock.now = datetime(2029, 11, 22, 21, 59, 59, tzinfo=UTC)
    bench.when(expire()).refused(RetentionRuns, retention_class="contract")
    assert bench.ledger.open(first).facts == "A laptop was left in a train"  # type: ignore[attr-defined]
    with open_projections(bench.ledger, bench.directory / PROJECTIONS_FILE) as projections:
        assert not run_duties(projections, bench.ledger, bench.clock.now).done
        bench.clock.forward(seconds=1)
        done = run_duties(projections, bench.ledger, bench.clock.now).done
        assert [(one.duty, one.command) for one in done] == [("breach-expiry", "expire-breach")]
        assert not run_duties(projections, bench.ledger, bench.clock.now).done
        assert projections.breaches(show=True)[0].facts is Withheld.ERASED
    assert [event.TOPIC for event in map(bench.ledger.open, range(done[0].index, bench.ledger.size()))] == [
        "retention-expired", "key-destroyed", "personal-data-erased",
    ]  # fmt: skip
    assert {explain(bench.ledger, done[0].index + n).command for n in range(3)} == {"expire-breach"}
    bench.when(expire()).refused(RetentionRuns)
    bench.reopen()
    assert bench.ledger.open(first).facts is Withheld.ERASED  # type: ignore[attr-defined]
