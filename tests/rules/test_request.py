"""Requests of people with their clocks: clauses 8–9 and 13."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from ledger.commands import (
    AdoptPolicy,
    CollectData,
    CorrectData,
    DecideErasure,
    DeliverAnswer,
    DestroyKeys,
    ExtendDeadline,
    ForwardRequest,
    FulfilRequest,
    MergeSubjects,
    MissDeadline,
    ObjectToMarketing,
    ReceiveRequest,
    RefuseRequest,
    RegisterSubject,
    RestrictProcessing,
    VerifyIdentity,
)
from ledger.deadline import add_months, due_after, easter, financial_year_end, is_working_day, kept_until
from ledger.errors import (
    DeadlinePassed,
    DeadlineRuns,
    GroundUnfit,
    IdentityUnverified,
    Invalid,
    NotFulfilled,
    PolicyMissing,
    RequestExists,
    RequestOfClient,
    RequestState,
    RequestUnknown,
)
from ledger.events import (
    ClassDecision,
    DeadlineExtended,
    DeadlineMissed,
    RequestForwarded,
    RequestFulfilled,
    RequestReceived,
    RequestRefused,
)
from ledger.policy import default_policy_text, parse_policy
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    ExtensionGround,
    IdentityCheck,
    LegalBasis,
    Purpose,
    RequestGround,
    RequestKind,
    RestrictionGround,
    RetentionClass,
    SourceKind,
    SubjectRole,
)
from tests.bench import START, Bench, an_id

MARI, JAAN, CLIENT, REQUEST = an_id("mari"), an_id("jaan"), an_id("client"), an_id("request")
SHA256: Any = sha256(b"answer").hexdigest()
POLICY = parse_policy(default_policy_text())
CALENDAR = POLICY.calendar

# What adopting the default policy records: the policy, and each of its processing activities.
ADOPTED = 1 + len(POLICY.activities)


def at(entry: int) -> int:
    """Return where an entry stands that is `entry`-th when adopting a policy is one entry."""
    return ADOPTED - 1 + entry


# Received on Sunday 22 November 2026; 22 December is a Tuesday.
DUE = datetime(2026, 12, 22, 21, 59, 59, tzinfo=UTC)
LATER = datetime(2027, 2, 22, 21, 59, 59, tzinfo=UTC)


def receive(**given: Any) -> ReceiveRequest:
    usual: dict[str, Any] = {
        "request_id": REQUEST, "subject_id": MARI, "kind": RequestKind.ACCESS, "channel": Channel.EMAIL,
        "received_at": START,
    }  # fmt: skip
    return ReceiveRequest(**usual | given)


def step(command: Any, **usual: Any) -> Any:
    return lambda **given: command(**{"request_id": REQUEST, "subject_id": MARI} | usual | given)


verify = step(VerifyIdentity, method=IdentityCheck.SMART_ID)
extend = step(ExtendDeadline, months=2, ground=ExtensionGround.COMPLEXITY, channel=Channel.EMAIL)
miss = step(MissDeadline)
forward = step(ForwardRequest, channel=Channel.EMAIL)
deliver = step(DeliverAnswer, sha256=SHA256, media_type="application/json", channel=Channel.EMAIL)
fulfil = step(FulfilRequest, channel=Channel.EMAIL)
refuse = step(RefuseRequest, ground=RequestGround.EXCESSIVE, channel=Channel.EMAIL)

MAKERS = [receive, verify, extend, miss, forward, deliver, fulfil, refuse]
FIELD_KINDS = {"request_id": "id", "method": "enum", "sha256": "digest"}
OTHER_FIELDS = {"months"}
CODES = [
    "request-unknown", "request-exists", "request-state", "identity-unverified", "not-fulfilled", "deadline-passed",
    "deadline-runs", "ground-unfit", "request-of-client",
]  # fmt: skip

ADOPT = AdoptPolicy(text=default_policy_text())


@pytest.fixture
def bench(bench: Bench) -> Bench:
    return bench.given(ADOPT, RegisterSubject(subject_id=MARI))


def collect(**given: Any) -> CollectData:
    usual: dict[str, Any] = {
        "subject_id": MARI, "purpose": Purpose.CONTRACT, "basis": LegalBasis.CONTRACT, "source": SourceKind.SUBJECT,
        "values": {"email": "mari@example.com", "given-name": "Mari"},
    }  # fmt: skip
    return CollectData(**usual | given)


def received(**given: Any) -> RequestReceived:
    usual: dict[str, Any] = {
        "request_id": REQUEST, "subject_id": MARI, "kind": RequestKind.ACCESS, "channel": Channel.EMAIL,
        "received_at": START, "due_at": DUE,
    }  # fmt: skip
    return RequestReceived(**usual | given)


# --- months ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "months", "then"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-08-31", 1, "2026-09-30"),
        ("2026-12-15", 1, "2027-01-15"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2026-01-31", 84, "2033-01-31"),
    ],
)
def test_a_month_ends_on_the_day_of_its_number_or_the_last(day: str, months: int, then: str) -> None:
    assert add_months(date.fromisoformat(day), months) == date.fromisoformat(then)


@pytest.mark.parametrize(
    ("received_at", "last"),
    [
        ("2026-03-04T10:00:00+02:00", "2026-04-06"),  # 4 April is a Saturday, the 5th Easter Sunday
        ("2026-01-24T10:00:00+02:00", "2026-02-25"),  # 24 February is Independence Day
        ("2026-11-24T10:00:00+02:00", "2026-12-28"),  # Christmas, and a weekend after it
        ("2026-03-05T22:30:00Z", "2026-04-06"),  # already the 6th in Tallinn
        ("2026-01-31T10:00:00+02:00", "2026-03-02"),  # 28 February is a Saturday
    ],
)
def test_a_term_ends_with_its_last_day_or_the_next_working_one(received_at: str, last: str) -> None:
    due = due_after(datetime.fromisoformat(received_at), 1, CALENDAR).astimezone(
        datetime.fromisoformat(f"{last}T12:00:00+03:00").tzinfo
    )
    assert due - timedelta(hours=1) <= datetime.fromisoformat(f"{last}T23:59:59+03:00") <= due


def test_easter_and_the_holidays_that_hang_on_it() -> None:
    assert [easter(year) for year in (2000, 2024, 2026, 2038)] == [
        date(2000, 4, 23), date(2024, 3, 31), date(2026, 4, 5), date(2038, 4, 25),
    ]  # fmt: skip
    assert not is_working_day(date(2026, 4, 3), CALENDAR), "Good Friday"
    assert is_working_day(date(2026, 4, 6), CALENDAR), "Easter Monday is worked in Estonia"


def test_a_financial_year_and_a_retention_period_end_with_their_last_second() -> None:
    end = financial_year_end(datetime(2026, 12, 31, 21, 59, tzinfo=UTC), CALENDAR)
    assert end == datetime(2026, 12, 31, 21, 59, 59, tzinfo=UTC)
    assert financial_year_end(datetime(2026, 12, 31, 22, 0, tzinfo=UTC), CALENDAR).year == 2027
    assert kept_until(end, 84, CALENDAR) == datetime(2033, 12, 31, 21, 59, 59, tzinfo=UTC)


# --- receiving ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("request-by-any-channel")
@pytest.mark.parametrize("channel", list(Channel))
def test_a_request_opens_with_its_clock_by_any_channel(bench: Bench, channel: Channel) -> None:
    bench.when(receive(channel=channel, statement="What do you hold?")).then(
        received(channel=channel, statement="What do you hold?")
    )
    assert b"What do" not in bench.ledger.entry(at(2))
    bench.when(receive()).refused(RequestExists, request=REQUEST)


@pytest.mark.rule("request-within-a-month")
def test_the_clock_starts_at_receipt_and_not_when_it_was_typed_in(bench: Bench) -> None:
    bench.clock.forward(days=10)
    bench.when(receive()).then(received())
    bench.when(receive(request_id=an_id("next"), received_at=START + timedelta(days=11))).refused(
        Invalid, field="received_at"
    )


def test_a_request_needs_a_policy_for_its_clock(make_bench: Any) -> None:
    bench = make_bench().given(RegisterSubject(subject_id=MARI))
    bench.when(receive()).refused(PolicyMissing)


def test_only_an_objection_names_a_purpose(bench: Bench) -> None:
    bench.when(receive(purpose=Purpose.OWN_OFFERS)).refused(Invalid, field="purpose")


@pytest.mark.parametrize("make", [verify, extend, miss, forward, deliver, fulfil, refuse], ids=lambda m: m().NAME)
def test_a_request_that_nobody_made_or_another_made_is_unknown(bench: Bench, make: Any) -> None:
    bench.given(RegisterSubject(subject_id=JAAN))
    bench.when(make()).refused(RequestUnknown, request=REQUEST, subject=MARI)
    bench.given(receive())
    bench.when(make(subject_id=JAAN)).refused(RequestUnknown, request=REQUEST, subject=JAAN)


# --- the clock ---------------------------------------------------------------------------------------------------


@pytest.mark.rule("extension-told-in-time")
def test_an_extension_is_told_within_the_first_month_and_once(bench: Bench) -> None:
    bench.given(receive())
    for months in (0, 3):
        bench.when(extend(months=months)).refused(Invalid, field="months")
    bench.clock.now = DUE
    extended = DeadlineExtended(
        request_id=REQUEST, subject_id=MARI, months=2, ground=ExtensionGround.COMPLEXITY, channel=Channel.EMAIL,
        due_at=LATER,
    )  # fmt: skip
    bench.when(extend()).then(extended)
    bench.when(extend()).refused(RequestState, state="extended already")


@pytest.mark.rule("extension-told-in-time")
def test_an_extension_after_the_first_month_is_refused(bench: Bench) -> None:
    bench.given(receive())
    bench.clock.now = DUE + timedelta(seconds=1)
    bench.when(extend()).refused(DeadlinePassed, request=REQUEST)


@pytest.mark.rule("request-within-a-month")
def test_a_deadline_is_missed_after_its_last_second_and_the_request_stays_open(bench: Bench) -> None:
    bench.given(receive())
    bench.clock.now = DUE
    bench.when(miss()).refused(DeadlineRuns, request=REQUEST)
    bench.clock.forward(seconds=1)
    bench.when(miss()).then(DeadlineMissed(request_id=REQUEST, subject_id=MARI, due_at=DUE))
    bench.when(miss()).refused(RequestState, state="missed already")
    bench.given(verify(), deliver())
    bench.when(fulfil()).then(RequestFulfilled(request_id=REQUEST, subject_id=MARI, proof=at(5), channel=Channel.EMAIL))


# --- closing -----------------------------------------------------------------------------------------------------


def erase() -> list[Any]:
    decision = ClassDecision(
        retention_class=RetentionClass.CONTRACT,
        outcome=ErasureOutcome.ERASED,
        ground="asked",
    )
    return [
        DecideErasure(subject_id=MARI, decisions=(decision,)),
        DestroyKeys(subject_id=MARI, retention_classes=(RetentionClass.CONTRACT,)),
    ]


def correct(field: str = "given-name", version: int = at(2)) -> CorrectData:
    return CorrectData(
        subject_id=MARI,
        field=field,
        value="Maarja",
        expected_version=version,
        channel=Channel.EMAIL,
        verification=IdentityCheck.SMART_ID,
        evidence="mail-1",
    )


def restrict(*fields: str, subject_id: Any = MARI) -> RestrictProcessing:
    return RestrictProcessing(
        restriction_id=an_id("restriction"),
        subject_id=subject_id,
        ground=RestrictionGround.CLAIMS,
        channel=Channel.EMAIL,
        fields=fields,
    )


HAPPENING = {
    RequestKind.ACCESS: lambda: [deliver()],
    RequestKind.PORTABILITY: lambda: [deliver()],
    RequestKind.RECTIFICATION: lambda: [correct()],
    RequestKind.ERASURE: erase,
    RequestKind.RESTRICTION: lambda: [restrict()],
    RequestKind.OBJECTION: lambda: [restrict()],
}


@pytest.mark.rule("fulfilled-means-happened")
@pytest.mark.parametrize("kind", list(RequestKind))
def test_a_request_is_fulfilled_once_what_it_asks_for_is_recorded(bench: Bench, kind: RequestKind) -> None:
    bench.given(collect(), receive(kind=kind), verify())
    bench.when(fulfil()).refused(NotFulfilled, request=REQUEST, asked=kind)
    bench.given(*HAPPENING[kind]())
    bench.when(fulfil()).then(
        RequestFulfilled(request_id=REQUEST, subject_id=MARI, proof=bench.ledger.size() - 2, channel=Channel.EMAIL)
    )
    bench.when(fulfil()).refused(RequestState, state="fulfilled")


@pytest.mark.rule("fulfilled-means-happened")
@pytest.mark.parametrize("purpose", [None, Purpose.OWN_OFFERS, Purpose.PARTNER_OFFERS, Purpose.SERVICE])
def test_an_objection_to_offers_is_fulfilled_by_being_recorded(bench: Bench, purpose: Purpose | None) -> None:
    objected = ObjectToMarketing(subject_id=MARI, channel=Channel.EMAIL, received_at=START)
    bench.given(objected, receive(kind=RequestKind.OBJECTION, purpose=purpose))
    bench.when(fulfil()).refused(NotFulfilled)
    bench.given(objected)
    if purpose is Purpose.SERVICE:
        bench.when(fulfil()).refused(NotFulfilled, asked="objection")
        return
    bench.when(fulfil()).then(
        RequestFulfilled(request_id=REQUEST, subject_id=MARI, proof=bench.ledger.size() - 2, channel=Channel.EMAIL)
    )


@pytest.mark.rule("fulfilled-means-happened")
def test_what_was_done_on_another_record_of_the_person_fulfils_nothing_here(bench: Bench) -> None:
    jaan = an_id("jaan")
    bench.given(RegisterSubject(subject_id=jaan), receive(kind=RequestKind.RESTRICTION))
    bench.given(MergeSubjects(subject_id=MARI, merged_id=jaan, ground="same-code"))  # type: ignore[arg-type]
    bench.given(restrict(subject_id=jaan)).when(fulfil()).refused(NotFulfilled)


@pytest.mark.rule("fulfilled-means-happened")
def test_what_happened_before_the_request_or_for_another_does_not_fulfil_it(bench: Bench) -> None:
    other = an_id("other request")
    bench.given(collect(), correct(), receive(kind=RequestKind.RECTIFICATION), verify())
    bench.when(fulfil()).refused(NotFulfilled)
    bench.given(receive(request_id=other), verify(request_id=other), deliver(request_id=other))
    bench.given(receive(request_id=an_id("third")), verify(request_id=an_id("third")))
    bench.when(fulfil(request_id=an_id("third"))).refused(NotFulfilled)
    bench.given(fulfil(request_id=other))


@pytest.mark.rule("fulfilled-means-happened")
def test_each_field_that_the_request_names_is_dealt_with(bench: Bench) -> None:
    bench.given(collect(), receive(kind=RequestKind.RECTIFICATION, fields=("email", "given-name")), verify(), correct())
    bench.when(fulfil()).refused(NotFulfilled)
    bench.given(correct("email"))
    assert bench.when(fulfil()).refusal is None


@pytest.mark.rule("answer-to-the-verified")
@pytest.mark.parametrize("kind", list(RequestKind))
def test_nothing_is_handed_out_before_the_person_is_verified(bench: Bench, kind: RequestKind) -> None:
    bench.given(collect(), receive(kind=kind, channel=Channel.PHONE))
    if kind in (RequestKind.ACCESS, RequestKind.PORTABILITY):
        bench.when(deliver()).refused(IdentityUnverified, request=REQUEST, channel="phone")
        bench.when(fulfil()).refused(IdentityUnverified)
        bench.given(verify())
        assert bench.when(deliver()).refusal is None
        return
    bench.given(*HAPPENING[kind]())
    done = bench.when(fulfil())
    if kind in (RequestKind.RESTRICTION, RequestKind.OBJECTION):
        assert done.refusal is None, "an objection is as easy as it can be"
    else:
        done.refused(IdentityUnverified)


@pytest.mark.rule("answer-to-the-verified")
def test_whoever_asks_in_the_software_has_logged_in(bench: Bench) -> None:
    bench.given(receive(channel=Channel.SOFTWARE))
    assert bench.when(deliver()).refusal is None


def test_a_copy_answers_a_request_for_one(bench: Bench) -> None:
    bench.given(collect(), receive(kind=RequestKind.ERASURE), verify())
    bench.when(deliver()).refused(RequestState, state="for erasure")


@pytest.mark.rule("refusal-has-a-ground")
def test_a_request_is_refused_on_a_ground_that_fits_its_kind(bench: Bench) -> None:
    bench.given(receive())
    bench.when(refuse(ground=RequestGround.LEGAL_OBLIGATION)).refused(GroundUnfit, asked="access")
    bench.when(refuse()).then(
        RequestRefused(request_id=REQUEST, subject_id=MARI, ground=RequestGround.EXCESSIVE, channel=Channel.EMAIL)
    )
    bench.when(refuse()).refused(RequestState, state="refused")


@pytest.mark.rule("refusal-has-a-ground")
@pytest.mark.parametrize("ground", list(RequestGround))
def test_an_objection_to_offers_is_never_refused(bench: Bench, ground: RequestGround) -> None:
    bench.given(receive(kind=RequestKind.OBJECTION, purpose=Purpose.OWN_OFFERS))
    bench.when(refuse(ground=ground)).refused(GroundUnfit, asked="objection")


@pytest.mark.rule("request-passed-to-client")
def test_a_request_about_a_clients_own_person_is_passed_on_and_not_decided(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=JAAN, role=SubjectRole.PROCESSOR, client_id=CLIENT))
    bench.when(receive(subject_id=JAAN)).then(received(subject_id=JAAN, client_id=CLIENT))
    bench.given(verify(subject_id=JAAN))
    for make in (extend, deliver, fulfil, refuse):
        bench.when(make(subject_id=JAAN)).refused(RequestOfClient, request=REQUEST, client=CLIENT)
    bench.when(forward(subject_id=JAAN)).then(
        RequestForwarded(request_id=REQUEST, subject_id=JAAN, client_id=CLIENT, channel=Channel.EMAIL)
    )
    bench.when(forward(subject_id=JAAN)).refused(RequestState, state="forwarded")


@pytest.mark.rule("request-passed-to-client")
def test_the_companys_own_request_is_passed_to_nobody(bench: Bench) -> None:
    bench.given(receive())
    bench.when(forward()).refused(RequestState)
