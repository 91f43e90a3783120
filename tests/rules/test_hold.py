"""Erasure against retention and holds: what must be kept is kept, what a hold defers its release runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.command import Past
from ledger.commands import (
    AdoptPolicy,
    CollectData,
    DecideErasure,
    DestroyKeys,
    EndRelationship,
    ExecuteOrder,
    ExpireRetention,
    GiveConsent,
    PlaceHold,
    RecordOrder,
    RegisterSubject,
    ReleaseHold,
    RestrictProcessing,
    ResumeRelationship,
    ReviewHold,
    WithdrawConsent,
)
from ledger.errors import (
    ErasureUndecided,
    HoldExists,
    HoldUnknown,
    Invalid,
    KeptByLaw,
    KeptByRestriction,
    RelationshipState,
    RetentionRuns,
    RoleMissing,
    UnderHold,
)
from ledger.events import (
    ClassDecision,
    ErasureDeferred,
    KeyDestroyed,
    LegalHoldPlaced,
    LegalHoldReleased,
    LegalHoldReviewed,
    PersonalDataErased,
    RelationshipEnded,
    RelationshipResumed,
    RetentionExpired,
    Transaction,
    Withheld,
)
from ledger.policy import default_policy_text, parse_policy
from ledger.state.retention import terms
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    LegalBasis,
    OrderChannel,
    Purpose,
    RestrictionGround,
    RetentionClass,
    SourceKind,
    SubjectRole,
)
from projections import PROJECTIONS_FILE, open_projections
from projections.duties import run_duties
from tests.bench import START, SUPPORT, Bench, an_id
from tests.conftest import MakeBench
from tests.rules.test_request import at

MARI, HOLD, CASE, OTHER = an_id("mari"), an_id("hold"), an_id("case"), an_id("other hold")
POLICY = parse_policy(default_policy_text())
SOON = START + timedelta(days=30)
SHA256: Any = sha256(b"x").hexdigest()


def maker(command: Any, **usual: Any) -> Any:
    return lambda **given: command(**{"subject_id": MARI} | usual | given)


place = maker(PlaceHold, hold_id=HOLD, case_id=CASE, ground="claim", owner=an_id("lawyer"), review_at=SOON)
review = maker(ReviewHold, hold_id=HOLD, review_at=SOON + timedelta(days=30))
release = maker(ReleaseHold, hold_id=HOLD, reason="case-closed")
end = maker(EndRelationship, ended_at=START, reason="contract-ended")
resume = maker(ResumeRelationship)
expire = maker(ExpireRetention, retention_class=RetentionClass.MARKETING)
collect = maker(
    CollectData, purpose=Purpose.OWN_OFFERS, basis=LegalBasis.CONSENT, source=SourceKind.SUBJECT,
    values={"email": "mari@example.com"}, retention_class=RetentionClass.MARKETING,
)  # fmt: skip
destroy = maker(DestroyKeys, retention_classes=(RetentionClass.MARKETING,))

MAKERS = [place, review, release, end, resume, expire]
FIELD_KINDS = {"hold_id": "id", "owner": "id", "review_at": "moment", "ended_at": "moment"}
OTHER_FIELDS: set[str] = set()
CODES = [
    "hold-unknown", "hold-exists", "under-hold", "kept-by-law", "kept-by-restriction", "retention-runs",
    "relationship-state",
]  # fmt: skip


@pytest.fixture
def bench(bench: Bench) -> Bench:
    return bench.given(AdoptPolicy(text=default_policy_text()), RegisterSubject(subject_id=MARI))


def decide(*classes: RetentionClass) -> DecideErasure:
    return DecideErasure(
        subject_id=MARI,
        decisions=tuple(
            ClassDecision(retention_class=name, outcome=ErasureOutcome.ERASED, ground="asked") for name in classes
        ),
    )


def placed(**given: Any) -> LegalHoldPlaced:
    usual: dict[str, Any] = {
        "hold_id": HOLD, "subject_id": MARI, "case_id": CASE, "ground": "claim", "owner": an_id("lawyer"),
        "review_at": SOON,
    }  # fmt: skip
    return LegalHoldPlaced(**usual | given)


DEFERRED = ErasureDeferred(
    subject_id=MARI, retention_classes=(RetentionClass.MARKETING,), hold_id=HOLD, reason="under-hold"
)


def key_of(bench: Bench, retention_class: RetentionClass) -> KeyDestroyed:
    (key,) = [key for key in bench.ledger.keys.of_subject(MARI) if key.scope.retention_class is retention_class]
    return KeyDestroyed(subject_id=MARI, key_id=key.id, retention_class=retention_class)


def erased(retention_class: RetentionClass) -> PersonalDataErased:
    return PersonalDataErased(subject_id=MARI, retention_classes=(retention_class,), keys=1)


def value(bench: Bench, index: int) -> Any:
    return bench.ledger.open(index).values["email"]  # type: ignore[attr-defined]


# --- holds -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("hold-has-owner-and-review")
def test_a_hold_has_a_case_an_owner_and_a_review_in_time(bench: Bench) -> None:
    bench.when(place(), by=SUPPORT).refused(RoleMissing)
    for wrong in (START, START + timedelta(days=181)):
        bench.when(place(review_at=wrong)).refused(Invalid, field="review_at")
    bench.when(place()).then(placed())
    bench.when(place()).refused(HoldExists, hold=HOLD)
    bench.when(review(review_at=START)).refused(Invalid, field="review_at")
    later = SOON + timedelta(days=30)
    bench.when(review()).then(LegalHoldReviewed(hold_id=HOLD, subject_id=MARI, review_at=later))
    bench.when(release(), by=SUPPORT).refused(RoleMissing)
    bench.when(release()).then(LegalHoldReleased(hold_id=HOLD, subject_id=MARI, reason="case-closed"))
    for make in (review, release):
        bench.when(make()).refused(HoldUnknown, hold=HOLD, subject=MARI)


@pytest.mark.rule("hold-defers-erasure")
@pytest.mark.rule("release-runs-what-was-deferred")
def test_a_hold_defers_an_erasure_and_its_release_runs_it(bench: Bench) -> None:
    bench.given(collect(), place(), decide(RetentionClass.MARKETING))
    bench.when(destroy()).refused(UnderHold, DEFERRED, hold=HOLD, retention_class="marketing")
    assert value(bench, at(2)) == "mari@example.com"
    key = key_of(bench, RetentionClass.MARKETING)
    bench.when(release()).then(
        LegalHoldReleased(hold_id=HOLD, subject_id=MARI, reason="case-closed"), key, erased(RetentionClass.MARKETING)
    )
    assert value(bench, at(2)) is Withheld.ERASED


@pytest.mark.rule("release-runs-what-was-deferred")
def test_the_last_hold_to_be_released_runs_what_any_deferred(bench: Bench) -> None:
    bench.given(collect(), place(), place(hold_id=OTHER), decide(RetentionClass.MARKETING))
    bench.when(destroy()).refused(UnderHold, DEFERRED)
    bench.given(release())
    assert value(bench, at(2)) == "mari@example.com"
    bench.given(release(hold_id=OTHER))
    assert value(bench, at(2)) is Withheld.ERASED


@pytest.mark.rule("hold-defers-erasure")
def test_a_hold_on_other_classes_defers_nothing(bench: Bench) -> None:
    bench.given(collect(), place(retention_classes=(RetentionClass.ORDER,)), decide(RetentionClass.MARKETING))
    key = key_of(bench, RetentionClass.MARKETING)
    bench.when(destroy()).then(key, erased(RetentionClass.MARKETING))


def test_a_release_erases_nothing_that_nobody_asked_to_erase(bench: Bench) -> None:
    bench.given(collect(), place())
    bench.when(release()).then(LegalHoldReleased(hold_id=HOLD, subject_id=MARI, reason="case-closed"))
    bench.given(place(hold_id=OTHER), decide(RetentionClass.MARKETING))
    deferred = ErasureDeferred(
        subject_id=MARI, retention_classes=(RetentionClass.MARKETING,), hold_id=OTHER, reason="under-hold"
    )
    bench.when(destroy()).refused(UnderHold, deferred)
    kept = ClassDecision(
        retention_class=RetentionClass.MARKETING, outcome=ErasureOutcome.KEPT, ground="claim",
        until=START + timedelta(days=400),
    )  # fmt: skip
    bench.given(DecideErasure(subject_id=MARI, decisions=(kept,)))
    bench.when(release(hold_id=OTHER)).then(LegalHoldReleased(hold_id=OTHER, subject_id=MARI, reason="case-closed"))


# --- what the law keeps ------------------------------------------------------------------------------------------


def accounting(**given: Any) -> CollectData:
    return collect(
        purpose=Purpose.ACCOUNTING,
        basis=LegalBasis.LEGAL_OBLIGATION,
        retention_class=RetentionClass.ACCOUNTING,
        **given,
    )


@pytest.mark.rule("law-keeps")
def test_source_documents_are_kept_seven_years_from_the_end_of_the_financial_year(bench: Bench) -> None:
    bench.given(accounting())
    bench.when(decide(RetentionClass.ACCOUNTING)).refused(
        KeptByLaw, retention_class="accounting", until="2033-12-31T21:59:59Z"
    )
    bench.clock.now = datetime(2033, 12, 31, 22, 0, tzinfo=UTC)
    assert bench.when(decide(RetentionClass.ACCOUNTING)).refusal is None


def order(bench: Bench, booked: str | None) -> None:
    bench.given(
        RecordOrder(
            order_id=an_id("order"), client_id=an_id("client"), subject_id=MARI, channel=OrderChannel.SOFTWARE,
            media_type="text/plain", content=b"Pay", terms_version="1", received_at=START,
        ),
        ExecuteOrder(
            order_id=an_id("order"),
            transactions=(Transaction(reference="T-1", result_digest=SHA256, booked_document=booked),),
        ),
    )  # fmt: skip


@pytest.mark.rule("law-keeps")
def test_an_order_is_under_the_accounting_rule_only_once_it_is_booked(bench: Bench) -> None:
    order(bench, None)
    assert bench.when(decide(RetentionClass.ORDER)).refusal is None
    bench.given(
        ExecuteOrder(
            order_id=an_id("order"),
            transactions=(Transaction(reference="T-2", result_digest=SHA256, booked_document="A-1"),),
        )
    )
    bench.when(destroy(retention_classes=(RetentionClass.ORDER,))).refused(KeptByLaw, retention_class="order")
    bench.when(decide(RetentionClass.ORDER)).refused(KeptByLaw, until="2033-12-31T21:59:59Z")


@pytest.mark.rule("law-keeps")
@pytest.mark.rule("release-runs-what-was-deferred")
def test_what_was_booked_since_its_erasure_was_deferred_waits_for_the_law_too(bench: Bench) -> None:
    """The tick does not try in vain for seven years, and then it does what was decided."""
    order(bench, None)
    bench.given(place(retention_classes=(RetentionClass.ORDER,)), decide(RetentionClass.ORDER))
    assert isinstance(bench.when(destroy(retention_classes=(RetentionClass.ORDER,))).refusal, UnderHold)
    bench.given(
        ExecuteOrder(
            order_id=an_id("order"),
            transactions=(Transaction(reference="T-2", result_digest=SHA256, booked_document="A-1"),),
        ),
        release(),
    )
    with open_projections(bench.ledger, bench.directory / PROJECTIONS_FILE) as projections:
        report = run_duties(projections, bench.ledger, bench.clock.now)
        assert (report.done, report.not_done) == ((), ())
        bench.clock.now = datetime(2033, 12, 31, 22, 0, tzinfo=UTC)
        report = run_duties(projections, bench.ledger, bench.clock.now)
        assert ("deferred-erasure", "destroy-keys") in {(one.duty, one.command) for one in report.done}


@pytest.mark.rule("only-what-was-decided-is-erased")
def test_what_the_law_keeps_is_decided_to_be_kept(bench: Bench) -> None:
    bench.given(accounting())
    bench.when(destroy(retention_classes=(RetentionClass.ACCOUNTING,))).refused(ErasureUndecided)
    kept = ClassDecision(
        retention_class=RetentionClass.ACCOUNTING, outcome=ErasureOutcome.KEPT, ground="accounting-act",
        until=datetime(2033, 12, 31, tzinfo=UTC),
    )  # fmt: skip
    assert bench.when(DecideErasure(subject_id=MARI, decisions=(kept,))).refusal is None


@pytest.mark.rule("erasure-is-decided-per-class")
@pytest.mark.parametrize(
    ("retention_class", "latest"),
    [
        (RetentionClass.MARKETING, "2028-11-22T21:59:59+00:00"),
        (RetentionClass.ACCOUNTING, "2033-12-31T21:59:59+00:00"),
        (RetentionClass.ORDER, "2036-11-22T21:59:59+00:00"),
    ],
)
def test_nothing_is_decided_to_be_kept_longer_than_its_period(
    bench: Bench, retention_class: RetentionClass, latest: str
) -> None:
    def kept(until: datetime) -> DecideErasure:
        decision = ClassDecision(
            retention_class=retention_class,
            outcome=ErasureOutcome.KEPT,
            ground="claim",  # type: ignore[arg-type]
            until=until,
        )
        return DecideErasure(subject_id=MARI, decisions=(decision,))

    last = datetime.fromisoformat(latest)
    bench.when(kept(last + timedelta(seconds=1))).refused(Invalid, field="decisions")
    assert bench.when(kept(last)).refusal is None
    bench.when(kept(START)).refused(Invalid, field="decisions")


# --- expiry ------------------------------------------------------------------------------------------------------

OVER = datetime(2028, 11, 22, 21, 59, 59, tzinfo=UTC)
EXPIRED = RetentionExpired(subject_id=MARI, retention_class=RetentionClass.MARKETING, started_at=START, until=OVER)


@pytest.mark.rule("expiry-erases-by-itself")
def test_a_class_expires_after_its_last_second_and_not_before(bench: Bench) -> None:
    bench.given(collect())
    bench.clock.now = OVER
    bench.when(expire()).refused(RetentionRuns, retention_class="marketing")
    bench.clock.forward(seconds=1)
    key = key_of(bench, RetentionClass.MARKETING)
    bench.when(expire()).then(EXPIRED, key, erased(RetentionClass.MARKETING))
    assert value(bench, at(2)) is Withheld.ERASED
    bench.when(expire()).refused(RetentionRuns)


@pytest.mark.rule("expiry-erases-by-itself")
def test_the_period_runs_from_the_last_thing_that_is_kept(bench: Bench) -> None:
    bench.given(collect())
    bench.clock.forward(days=300)
    bench.given(collect(values={"phone": "+372 5"}))
    bench.clock.now = OVER + timedelta(seconds=1)
    bench.when(expire()).refused(RetentionRuns)


@pytest.mark.rule("expiry-waits-for-hold")
def test_expiry_waits_for_a_hold_and_the_release_runs_it(bench: Bench) -> None:
    bench.given(collect())
    bench.clock.now = OVER + timedelta(seconds=1)
    bench.given(place(review_at=bench.clock.now + timedelta(days=1)))
    bench.when(expire()).refused(UnderHold, DEFERRED)
    bench.when(expire()).refused(UnderHold)
    key = key_of(bench, RetentionClass.MARKETING)
    bench.when(release()).then(
        LegalHoldReleased(hold_id=HOLD, subject_id=MARI, reason="case-closed"), EXPIRED, key,
        erased(RetentionClass.MARKETING),
    )  # fmt: skip


@pytest.mark.rule("expiry-waits-for-hold")
def test_what_the_person_wants_kept_does_not_expire(bench: Bench) -> None:
    bench.given(
        collect(),
        RestrictProcessing(
            restriction_id=an_id("r"), subject_id=MARI, ground=RestrictionGround.CLAIMS, channel=Channel.EMAIL
        ),
    )
    bench.clock.now = OVER + timedelta(seconds=1)
    bench.when(expire()).refused(KeptByRestriction)


def started(bench: Bench, retention_class: RetentionClass) -> datetime | None:
    past = Past()
    past.all.extend(bench.ledger.read())
    return terms(past, MARI, POLICY)[retention_class].started_at


@pytest.mark.rule("relationship-ends-once")
def test_a_relationship_ends_when_that_is_recorded_and_may_go_on(bench: Bench) -> None:
    bench.given(collect(retention_class=RetentionClass.CONTRACT, basis=LegalBasis.CONTRACT, purpose=Purpose.CONTRACT))
    assert started(bench, RetentionClass.CONTRACT) is None
    bench.when(resume()).refused(RelationshipState, subject=MARI)
    bench.when(end(ended_at=START + timedelta(seconds=1))).refused(Invalid, field="ended_at")
    bench.when(end()).then(RelationshipEnded(subject_id=MARI, ended_at=START, reason="contract-ended"))
    assert started(bench, RetentionClass.CONTRACT) == START
    bench.when(end()).refused(RelationshipState)
    bench.when(resume()).then(RelationshipResumed(subject_id=MARI))
    assert started(bench, RetentionClass.CONTRACT) is None


def test_with_a_person_who_has_no_contract_it_ends_with_the_last_contact(bench: Bench) -> None:
    helped = {"purpose": Purpose.SERVICE, "basis": LegalBasis.LEGITIMATE_INTEREST}
    bench.given(collect(retention_class=RetentionClass.CONTRACT, **helped))
    assert started(bench, RetentionClass.CONTRACT) == START


def test_a_clients_own_person_is_kept_until_the_relationship_is_said_to_end(bench: Bench) -> None:
    jaan = an_id("jaan")
    bench.given(
        RegisterSubject(subject_id=jaan, role=SubjectRole.PROCESSOR, client_id=an_id("client")),
        collect(
            subject_id=jaan, retention_class=RetentionClass.CONTRACT, purpose=Purpose.LEGAL,
            basis=LegalBasis.LEGAL_OBLIGATION,
        ),
    )  # fmt: skip
    past = Past()
    past.all.extend(bench.ledger.read())
    assert terms(past, jaan, POLICY)[RetentionClass.CONTRACT].started_at is None


def test_consent_proof_runs_from_the_last_withdrawal(make_bench: MakeBench) -> None:
    # No activity of the default policy keeps a field as proof of consent: it was collected before there was one.
    bench = make_bench()
    consent = GiveConsent(
        consent_id=an_id("c"), subject_id=MARI, purpose=Purpose.OWN_OFFERS, recipient_id=None, fields=("email",),
        text_sha256=SHA256, language="et", channel=Channel.LINK,
    )  # fmt: skip
    bench.given(RegisterSubject(subject_id=MARI), collect(retention_class=RetentionClass.CONSENT_PROOF), consent)
    assert started(bench, RetentionClass.CONSENT_PROOF) is None
    bench.clock.forward(days=1)
    bench.given(WithdrawConsent(consent_id=an_id("c"), subject_id=MARI, channel=Channel.PHONE))
    assert started(bench, RetentionClass.CONSENT_PROOF) == START + timedelta(days=1)
