"""Random commands against a plain model in memory: every refusal, every projection, every as-of view must agree.

The model knows dictionaries and no ledger. Each step predicts the code of the refusal, or none; after it the
projections say what the model says, and at the end so does every position that was remembered on the way.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.command import Command
from ledger.commands import (
    AdoptPolicy,
    CancelOrder,
    CollectData,
    CorrectData,
    DecideErasure,
    DeliverAnswer,
    DestroyKeys,
    ExecuteOrder,
    ExtendDeadline,
    FulfilRequest,
    GiveConsent,
    LiftRestriction,
    PlaceHold,
    ProposeCorrection,
    ReceiveRequest,
    RecordOrder,
    RefuseRequest,
    RegisterSubject,
    RejectCorrection,
    RejectOrder,
    ReleaseHold,
    ReleaseOrder,
    RestrictProcessing,
    VerifyIdentity,
    WithdrawConsent,
)
from ledger.deadline import due_after
from ledger.errors import Refused, SubjectUnknown
from ledger.events import ClassDecision, Transaction
from ledger.policy import default_policy_text, parse_policy
from ledger.vocabulary import (
    Channel,
    ErasureOutcome,
    ExtensionGround,
    IdentityCheck,
    LegalBasis,
    OrderChannel,
    Purpose,
    RequestGround,
    RequestKind,
    RestrictionGround,
    RetentionClass,
    SourceKind,
)
from projections import PROJECTIONS_FILE, open_projections
from projections.duties import run_duties
from projections.values import ValueState
from tests.bench import OFFICER, START, Bench, an_id, check_ledger

PEOPLE = [an_id(f"person {number}") for number in range(2)]
NUMBERS = st.integers(0, 1)
PERSON = st.sampled_from(PEOPLE)
FIELD = st.sampled_from(["given-name", "phone"])
CLASS = st.sampled_from([RetentionClass.CONTRACT, RetentionClass.ORDER])
CLIENT = an_id("client")
CALENDAR = parse_policy(default_policy_text()).calendar
NEEDS_IDENTITY = {RequestKind.ACCESS, RequestKind.PORTABILITY, RequestKind.RECTIFICATION, RequestKind.ERASURE}
GONE = object()


class Person:
    """What the model knows of one person."""

    def __init__(self) -> None:
        self.fields: dict[str, int] = {}  # field: its last version, erased or not
        self.live: dict[str, int] = {}  # field: the version that can be corrected
        self.consents: dict[str, bool] = {}
        self.restrictions: dict[str, bool] = {}
        self.holds: dict[str, bool] = {}
        self.proposals: dict[str, str] = {}  # open ones: their field
        self.decided: set[RetentionClass] = set()
        self.deferred: set[RetentionClass] = set()
        self.sealed: dict[int, RetentionClass] = {}
        self.proofs: list[tuple[int, str]] = []
        self.booked = False

    def erase(self, classes: set[RetentionClass], values: dict[int, Any]) -> None:
        for index, name in list(self.sealed.items()):
            if name in classes:
                values[index] = GONE
                del self.sealed[index]
        if RetentionClass.CONTRACT in classes:
            self.live = {}
        if RetentionClass.ORDER in classes:
            self.booked = False
        self.decided -= classes
        self.deferred -= classes

    @property
    def held(self) -> bool:
        return any(self.holds.values())


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "data"
        self.bench = Bench(path)
        self.ledger = self.bench.ledger
        self.asked = open_projections(self.ledger, path / PROJECTIONS_FILE)
        self.people: dict[str, Person] = {}
        self.values: dict[int, Any] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[int, dict[str, Any]]] = []

    @initialize()
    def adopt(self) -> None:
        self.bench.given(AdoptPolicy(text=default_policy_text()))
        # One is known from the start, so that steps are not wasted on nobody; the other may come later.
        self.register(PEOPLE[0])

    def teardown(self) -> None:
        for position, then in self.seen:
            self.compare(then, position)
        assert self.asked.verify().count == 0
        check_ledger(self.ledger)
        self.asked.close()
        self.ledger.close()
        self.directory.cleanup()

    # --- one step ------------------------------------------------------------------------------------------------

    def do(self, command: Command, expected: str | None, kept: bool = False) -> int:
        """Carry a command out; it is refused with exactly the `expected` code, and records nothing but a kept one."""
        before = self.ledger.size()
        code = None
        try:
            self.ledger.record(command, OFFICER)
        except Refused as refusal:
            code = refusal.code
        assert code == expected, (command.NAME, code, expected)
        if code is not None:
            assert self.ledger.size() == before + kept
        return before

    def person(self, subject: str) -> Person | None:
        return self.people.get(subject)

    @rule(subject=PERSON)
    def register(self, subject: Any) -> None:
        if subject in self.people:
            self.do(RegisterSubject(subject_id=subject), "subject-exists")
        else:
            self.do(RegisterSubject(subject_id=subject), None)
            self.people[subject] = Person()

    @rule(subject=PERSON, field=FIELD, value=st.text(max_size=3).filter(lambda t: t.isprintable() and bool(t)))
    def collect(self, subject: Any, field: Any, value: str) -> None:
        command = CollectData(
            subject_id=subject, purpose=Purpose.CONTRACT, basis=LegalBasis.CONTRACT, source=SourceKind.SUBJECT,
            values={field: value},
        )  # fmt: skip
        known = self.person(subject)
        index = self.do(command, None if known else "subject-unknown")
        if known:
            known.fields[field] = known.live[field] = index
            known.sealed[index] = RetentionClass.CONTRACT
            self.values[index] = value

    @rule(subject=PERSON, field=FIELD, number=NUMBERS, stale=st.booleans(), proposal=st.none() | NUMBERS)
    def correct(self, subject: Any, field: Any, number: int, stale: bool, proposal: int | None) -> None:
        known = self.person(subject)
        version = known.live.get(field) if known else None
        proposal_id = None if proposal is None else an_id(f"proposal {proposal}")
        command = CorrectData(
            subject_id=subject, field=field, value=f"value {number}",
            expected_version=(version or 0) + stale, channel=Channel.PHONE,
            verification=IdentityCheck.CALL_BACK, evidence="call-1", proposal_id=proposal_id,
        )  # fmt: skip
        expected = None
        if known is None:
            expected = "subject-unknown"
        elif version is None:
            expected = "field-unknown"
        elif stale:
            expected = "stale-version"
        elif proposal_id is not None and known.proposals.get(proposal_id) != field:
            expected = "proposal-unknown"
        index = self.do(command, expected)
        if known and expected is None:
            known.fields[field] = known.live[field] = index
            known.sealed[index] = RetentionClass.CONTRACT
            known.proofs.append((index, "corrected"))
            self.values[index] = f"value {number}"
            known.proposals.pop(proposal_id, None)

    @rule(subject=PERSON, field=FIELD, number=NUMBERS)
    def propose(self, subject: Any, field: Any, number: int) -> None:
        known, proposal_id = self.person(subject), an_id(f"proposal {number}")
        version = known.live.get(field) if known else None
        command = ProposeCorrection(
            proposal_id=proposal_id, subject_id=subject, field=field, value="proposed", expected_version=version or 0,
            channel=Channel.PHONE,
        )  # fmt: skip
        expected = None
        if known is None:
            expected = "subject-unknown"
        elif proposal_id in known.restrictions:
            expected = "proposal-exists"
        elif version is None:
            expected = "field-unknown"
        index = self.do(command, expected)
        if known and expected is None:
            known.proposals[proposal_id] = field
            known.restrictions[proposal_id] = True
            known.sealed[index] = RetentionClass.CONTRACT
            known.proofs.append((index + 1, "restricted"))

    @rule(subject=PERSON, field=FIELD, number=NUMBERS)
    def reject(self, subject: Any, field: Any, number: int) -> None:
        known, proposal_id = self.person(subject), an_id(f"proposal {number}")
        fits = known is not None and known.proposals.get(proposal_id) == field
        command = RejectCorrection(
            proposal_id=proposal_id, subject_id=subject, field=field, ground="right", evidence="doc-1",
            channel=Channel.EMAIL,
        )  # fmt: skip
        self.do(command, None if fits else "proposal-unknown")
        if known and fits:
            del known.proposals[proposal_id]

    @rule(subject=PERSON, number=NUMBERS)
    def restrict(self, subject: Any, number: int) -> None:
        known = self.person(subject)
        # Ids are random in life; here each is of one person, so that it is new or theirs.
        restriction_id = an_id(f"restriction {subject} {number}")
        command = RestrictProcessing(
            restriction_id=restriction_id, subject_id=subject, ground=RestrictionGround.CLAIMS, channel=Channel.EMAIL
        )
        expected = None
        if known is None:
            expected = "subject-unknown"
        elif restriction_id in known.restrictions:
            expected = "restriction-exists"
        index = self.do(command, expected)
        if known and expected is None:
            known.restrictions[restriction_id] = True
            known.proofs.append((index, "restricted"))

    @rule(subject=PERSON, number=NUMBERS, proposal=st.booleans())
    def lift(self, subject: Any, number: int, proposal: bool) -> None:
        known = self.person(subject)
        restriction_id = an_id(f"proposal {number}" if proposal else f"restriction {subject} {number}")
        expected = None
        if known is None or not known.restrictions.get(restriction_id):
            expected = "restriction-unknown"
        elif restriction_id in known.proposals:
            expected = "accuracy-contested"
        self.do(
            LiftRestriction(restriction_id=restriction_id, subject_id=subject, reason="settled", channel=Channel.EMAIL),
            expected,
        )
        if known and expected is None:
            known.restrictions[restriction_id] = False

    @rule(subject=PERSON, number=NUMBERS, withdraw=st.booleans())
    def consent(self, subject: Any, number: int, withdraw: bool) -> None:
        known, consent_id = self.person(subject), an_id(f"consent {subject} {number}")
        if withdraw:
            live = None if known is None else known.consents.get(consent_id)
            expected = {None: "consent-unknown", False: "consent-not-live", True: None}[live]
            self.do(WithdrawConsent(consent_id=consent_id, subject_id=subject, channel=Channel.PHONE), expected)
        else:
            given = GiveConsent(
                consent_id=consent_id, subject_id=subject, purpose=Purpose.E_INVOICE, recipient_id=an_id("recipient"),
                fields=("phone",), text_sha256="0" * 64, language="et", channel=Channel.LINK,
            )  # fmt: skip
            expected = "subject-unknown" if known is None else None
            if known and consent_id in known.consents:
                expected = "consent-exists"
            self.do(given, expected)
        if known and expected is None:
            known.consents[consent_id] = not withdraw

    # --- requests ------------------------------------------------------------------------------------------------

    @rule(subject=PERSON, number=NUMBERS, kind=st.sampled_from(RequestKind))
    def receive(self, subject: Any, number: int, kind: RequestKind) -> None:
        request_id, now = an_id(f"request {number}"), self.bench.clock.now
        expected = "subject-unknown" if subject not in self.people else None
        if expected is None and request_id in self.requests:
            expected = "request-exists"
        index = self.do(
            ReceiveRequest(
                request_id=request_id, subject_id=subject, kind=kind, channel=Channel.PHONE, received_at=now
            ),
            expected,
        )
        if expected is None:
            self.requests[request_id] = {
                "subject": subject, "kind": kind, "index": index, "stage": "open", "received": now,
                "due": due_after(now, 1, CALENDAR), "verified": False, "extended": False, "missed": False,
                "delivered": False,
            }  # fmt: skip

    def opened(self, subject: str, number: int) -> tuple[Any, dict[str, Any] | None, str | None]:
        """Return the ids, the request if it is this person's and open, and the code of the refusal if it is not."""
        request_id = an_id(f"request {number}")
        found = self.requests.get(request_id)
        ids = {"request_id": request_id, "subject_id": subject}
        if found is None or found["subject"] != subject:
            return ids, None, "request-unknown"
        return (ids, found, None) if found["stage"] == "open" else (ids, None, "request-state")

    @rule(subject=PERSON, number=NUMBERS)
    def verify(self, subject: Any, number: int) -> None:
        ids, found, expected = self.opened(subject, number)
        self.do(VerifyIdentity(**ids, method=IdentityCheck.CALL_BACK), expected)
        if found:
            found["verified"] = True

    @rule(subject=PERSON, number=NUMBERS)
    def extend(self, subject: Any, number: int) -> None:
        ids, found, expected = self.opened(subject, number)
        if found and found["extended"]:
            expected = "request-state"
        elif found and self.bench.clock.now > found["due"]:
            expected = "deadline-passed"
        self.do(ExtendDeadline(**ids, months=2, ground=ExtensionGround.COMPLEXITY, channel=Channel.EMAIL), expected)
        if found and expected is None:
            found |= {"extended": True, "due": due_after(found["received"], 3, CALENDAR)}

    @rule(subject=PERSON, number=NUMBERS)
    def deliver(self, subject: Any, number: int) -> None:
        ids, found, expected = self.opened(subject, number)
        if found and found["kind"] in NEEDS_IDENTITY and not found["verified"]:
            expected = "identity-unverified"
        elif found and found["kind"] not in (RequestKind.ACCESS, RequestKind.PORTABILITY):
            expected = "request-state"
        self.do(DeliverAnswer(**ids, sha256="0" * 64, media_type="application/json", channel=Channel.EMAIL), expected)
        if found and expected is None:
            found["delivered"] = True

    @rule(subject=PERSON, number=NUMBERS)
    def fulfil(self, subject: Any, number: int) -> None:
        ids, found, expected = self.opened(subject, number)
        if found and found["kind"] in NEEDS_IDENTITY and not found["verified"]:
            expected = "identity-unverified"
        elif found and not self.happened(found):
            expected = "not-fulfilled"
        self.do(FulfilRequest(**ids, channel=Channel.EMAIL), expected)
        if found and expected is None:
            found["stage"] = "fulfilled"

    def happened(self, found: dict[str, Any]) -> bool:
        wanted = {
            RequestKind.RECTIFICATION: {"corrected"}, RequestKind.ERASURE: {"erased"},
            RequestKind.RESTRICTION: {"restricted"}, RequestKind.OBJECTION: {"restricted", "erased"},
        }.get(found["kind"])  # fmt: skip
        if wanted is None:
            return bool(found["delivered"])
        proofs = self.people[found["subject"]].proofs
        return any(index > found["index"] and what in wanted for index, what in proofs)

    @rule(subject=PERSON, number=NUMBERS)
    def refuse(self, subject: Any, number: int) -> None:
        ids, found, expected = self.opened(subject, number)
        self.do(RefuseRequest(**ids, ground=RequestGround.EXCESSIVE, channel=Channel.EMAIL), expected)
        if found:
            found["stage"] = "refused"

    # --- erasure and holds -----------------------------------------------------------------------------------------

    def by_law(self, known: Person, name: RetentionClass) -> bool:
        return name is RetentionClass.ORDER and known.booked and name in known.sealed.values()

    @rule(subject=PERSON, name=CLASS)
    def decide(self, subject: Any, name: RetentionClass) -> None:
        known = self.person(subject)
        decision = ClassDecision(retention_class=name, outcome=ErasureOutcome.ERASED, ground="asked")
        expected = "subject-unknown" if known is None else None
        if known and self.by_law(known, name):
            expected = "kept-by-law"
        self.do(DecideErasure(subject_id=subject, decisions=(decision,)), expected)
        if known and expected is None:
            known.decided.add(name)

    @rule(subject=PERSON, name=CLASS)
    def destroy(self, subject: Any, name: RetentionClass) -> None:
        known = self.person(subject)
        expected = None
        if known is None:
            expected = "subject-unknown"
        elif name not in known.decided:
            expected = "erasure-undecided"
        elif self.by_law(known, name):
            expected = "kept-by-law"
        elif known.held:
            expected = "under-hold"
            known.deferred.add(name)
        self.do(DestroyKeys(subject_id=subject, retention_classes=(name,)), expected, kept=expected == "under-hold")
        if known and expected is None:
            known.erase({name}, self.values)
            known.proofs.append((self.ledger.size() - 1, "erased"))

    @rule(subject=PERSON, number=NUMBERS)
    def hold(self, subject: Any, number: int) -> None:
        known, hold_id = self.person(subject), an_id(f"hold {subject} {number}")
        expected = "subject-unknown" if known is None else None
        if known and hold_id in known.holds:
            expected = "hold-exists"
        self.do(
            PlaceHold(
                hold_id=hold_id, subject_id=subject, case_id=an_id("case"), ground="claim", owner=an_id("lawyer"),
                review_at=self.bench.clock.now + timedelta(days=100),
            ),
            expected,
        )  # fmt: skip
        if known and expected is None:
            known.holds[hold_id] = True

    @rule(subject=PERSON, number=NUMBERS)
    def release(self, subject: Any, number: int) -> None:
        known, hold_id = self.person(subject), an_id(f"hold {subject} {number}")
        stands = known is not None and known.holds.get(hold_id, False)
        self.do(ReleaseHold(hold_id=hold_id, subject_id=subject, reason="settled"), None if stands else "hold-unknown")
        if known and stands:
            known.holds[hold_id] = False
            run = {name for name in known.deferred & known.decided if not self.by_law(known, name)}
            if run and not known.held:
                known.erase(run, self.values)
                known.proofs.append((self.ledger.size() - 1, "erased"))

    # --- orders ----------------------------------------------------------------------------------------------------

    @rule(subject=PERSON, number=NUMBERS, verified=st.booleans())
    def order(self, subject: Any, number: int, verified: bool) -> None:
        known, order_id = self.person(subject), an_id(f"order {number}")
        expected = "subject-unknown" if known is None else None
        if known and order_id in self.orders:
            expected = "order-exists"
        index = self.do(
            RecordOrder(
                order_id=order_id, client_id=CLIENT, subject_id=subject, channel=OrderChannel.EMAIL,
                media_type="text/plain", content=b"Pay", terms_version="1", received_at=self.bench.clock.now,
                authentication="dkim-pass" if verified else "not-checked",
            ),
            expected,
        )  # fmt: skip
        if known and expected is None:
            self.orders[order_id] = {"subject": subject, "standing": "open" if verified else "quarantined"}
            known.sealed[index] = RetentionClass.ORDER

    @rule(number=NUMBERS, step=st.sampled_from(["execute", "book", "release", "reject", "cancel"]))
    def step_order(self, number: int, step: str) -> None:
        order_id = an_id(f"order {number}")
        found = self.orders.get(order_id)
        booked = "A-1" if step == "book" else None
        done = Transaction(reference=f"T-{self.ledger.size()}", result_digest="0" * 64, booked_document=booked)
        command: Any = {
            "release": lambda: ReleaseOrder(order_id=order_id, verification=IdentityCheck.CALL_BACK, evidence="call-1"),
            "reject": lambda: RejectOrder(order_id=order_id, channel=Channel.EMAIL, reason="not-ours"),
            "cancel": lambda: CancelOrder(order_id=order_id, channel=Channel.EMAIL, reason="changed-mind"),
        }.get(step, lambda: ExecuteOrder(order_id=order_id, transactions=(done,)))()
        after, from_ = {
            "release": ("open", {"quarantined"}),
            "reject": ("rejected", {"quarantined", "open"}),
            "cancel": ("cancelled", {"quarantined", "open"}),
        }.get(step, ("executed", {"open", "executed"}))
        expected = "order-unknown" if found is None else None if found["standing"] in from_ else "order-state"
        self.do(command, expected)
        if found and expected is None:
            found["standing"] = after
            if step == "book":
                self.people[found["subject"]].booked = True

    # --- time ------------------------------------------------------------------------------------------------------

    @rule(days=st.integers(1, 12))
    def wait(self, days: int) -> None:
        # Within a year no retention period ends: expiry has tests of its own.
        if self.bench.clock.now < START + timedelta(days=300):
            self.bench.clock.forward(days=days)

    @rule()
    def tick(self) -> None:
        now = self.bench.clock.now
        late = [r for r in self.requests.values() if r["stage"] == "open" and now > r["due"] and not r["missed"]]
        report = run_duties(self.asked, self.ledger, now)
        assert (len(report.done), report.not_done) == (len(late), ())
        for request in late:
            request["missed"] = True
        stood = sum(stands for known in self.people.values() for stands in known.holds.values())
        opened = [r for r in self.requests.values() if r["stage"] == "open"]
        names = [owed.what for owed in report.owed if owed.what != "notify-address"]
        assert sorted(names) == sorted(["answer-request"] * len(opened) + ["review-hold"] * stood)

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> dict[str, Any]:
        """What the model says now, in a form that stays as it is."""
        return {
            "people": {
                subject: {
                    "fields": dict(known.fields),
                    "consents": dict(known.consents),
                    "restrictions": dict(known.restrictions),
                    "holds": dict(known.holds),
                }
                for subject, known in self.people.items()
            },
            "requests": {name: (r["stage"], r["due"], r["missed"]) for name, r in self.requests.items()},
            "orders": {name: order["standing"] for name, order in self.orders.items()},
        }

    def compare(self, then: dict[str, Any], as_of: int | None) -> None:
        asked = self.asked
        for subject in PEOPLE:
            known = then["people"].get(subject)
            if known is None:
                try:
                    asked.state(subject, as_of=as_of)
                except SubjectUnknown:
                    continue
                raise AssertionError("a person was known before they were registered")
            state = asked.state(subject, as_of=as_of)
            assert {name: field.version for name, field in state.fields.items()} == known["fields"]
            for field in state.fields.values():
                value = self.values[field.version]
                if value is GONE:
                    assert field.state is ValueState.ERASED
                else:
                    assert (field.state, field.value) == (ValueState.PRESENT, value)
            consents = {one.consent_id: one.withdrawn is None for one in asked.consents(subject, as_of=as_of)}
            assert consents == known["consents"]
            restrictions = {
                one.restriction_id: one.lifted_at is None for one in asked.restrictions(subject, as_of=as_of)
            }
            assert restrictions == known["restrictions"]
            assert {one.hold_id: one.released_at is None for one in asked.holds(subject, as_of=as_of)} == known["holds"]
        requests = {one.request_id: (one.stage, one.due_at, one.missed) for one in asked.requests(as_of=as_of)}
        assert requests == then["requests"]
        orders = {one.order_id: one.standing for one in asked.orders(client_id=CLIENT, as_of=as_of)}
        assert orders == then["orders"]
        waiting = {name for name, standing in then["orders"].items() if standing == "quarantined"}
        assert {one.order_id for one in asked.quarantine(as_of=as_of)} == waiting

    @invariant()
    def projections_say_what_the_model_says(self) -> None:
        if not self.ledger.size():
            return
        self.asked.catch_up()
        now = self.view()
        self.compare(now, None)
        if not self.seen or self.seen[-1][0] < self.ledger.size():
            self.seen.append((self.ledger.size(), now))


Machine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_random_commands = Machine.TestCase
