"""Orders: recorded, quarantined, executed, confirmed, disputed, used; and whom a client names. Clause 11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import (
    AmendOrder,
    CancelOrder,
    ConfirmOrder,
    DisputeOrder,
    ExecuteOrder,
    GiveMandate,
    RecordOrder,
    RejectOrder,
    ReleaseOrder,
    ResolveDispute,
    RevokeMandate,
    UseOrder,
)
from ledger.errors import (
    CaseUnknown,
    DocumentNotInForce,
    MandateExists,
    MandateUnknown,
    OrderExists,
    OrderState,
    OrderUnknown,
    Restricted,
    SubjectUnknown,
    UseNotNamed,
)
from ledger.events import Transaction
from ledger.vocabulary import Channel, IdentityCheck, OrderChannel, RetentionClass
from tests.bench import an_id
from tests.model.base import AIMED, GONE, NUMBERS, PERSON, STEPS, Refusal, View
from tests.model.documents import TERMS, Publishing
from tests.model.erasure import Erasing
from tests.model.people import CLIENT, Person

ORDER = RetentionClass.ORDER
# The policy names the first two. A restriction leaves proof alone.
USE = st.sampled_from(["proof", "reproduction", "statistics"])
WAYS = {
    "release": ("open", {"quarantined"}),
    "reject": ("rejected", {"quarantined", "open"}),
    "cancel": ("cancelled", {"quarantined", "open"}),
    "execute": ("executed", {"open", "executed"}),
    "book": ("executed", {"open", "executed"}),
    "confirm": ("confirmed", {"executed"}),
}


class Order:
    def __init__(self, subject: str, index: int, standing: str) -> None:
        self.subject = subject
        self.index = index
        self.standing = standing
        self.cases: dict[str, bool] = {}  # open?


class Ordering(Publishing, Erasing):
    def __init__(self) -> None:
        super().__init__()
        self.orders: dict[str, Order] = {}
        self.booked: set[str] = set()  # people with a booked order that is not erased
        self.mandates: dict[str, tuple[str, bool]] = {}  # mandate: whose, and whether it holds

    def by_law(self, known: Person, name: RetentionClass) -> bool:
        subject = next(subject for subject, one in self.people.items() if one is known)
        return name is ORDER and subject in self.booked and ORDER in known.sealed.values()

    def carry_out(self, subject: str, classes: set[RetentionClass], index: int) -> None:
        super().carry_out(subject, classes, index)
        if ORDER in classes:
            self.booked.discard(subject)

    @rule(subject=PERSON, number=NUMBERS, verified=st.booleans(), terms=st.sampled_from(["1", "not-stated"]))
    def order(self, subject: Any, number: int, verified: bool, terms: Any) -> None:
        known, order_id = self.people.get(subject), an_id(f"order {number}")
        current = self.in_force(TERMS, self.now)
        command = RecordOrder(
            order_id=order_id, client_id=CLIENT, subject_id=subject, channel=OrderChannel.EMAIL,
            media_type="text/plain", content=b"Pay", terms_version=terms, received_at=self.now,
            authentication="dkim-pass" if verified else "not-checked",
        )  # fmt: skip
        if known is None:
            self.do(command, SubjectUnknown)
        elif order_id in self.orders:
            self.do(command, OrderExists)
        elif current not in (None, terms) and terms == "1":
            self.do(command, DocumentNotInForce)
        else:
            index = self.do(command)
            named = not self.mandates or any(stands and who == subject for who, stands in self.mandates.values())
            self.orders[order_id] = Order(subject, index, "open" if verified and named else "quarantined")
            known.seal(index, ORDER)
            self.values[index] = b"Pay"

    def ordered(self, number: int) -> tuple[Any, Order | None]:
        order_id = an_id(f"order {number}")
        return order_id, self.orders.get(order_id)

    @precondition(lambda self: self.orders)
    @rule(number=NUMBERS, step=st.sampled_from([*WAYS]))
    def step_order(self, number: int, step: str) -> None:
        order_id, found = self.ordered(number)
        booked: Any = "A-1" if step == "book" else None
        done = Transaction(reference=f"T-{self.ledger.size()}", result_digest="0" * 64, booked_document=booked)
        command: Any = {
            "release": lambda: ReleaseOrder(order_id=order_id, verification=IdentityCheck.CALL_BACK, evidence="call-1"),
            "reject": lambda: RejectOrder(order_id=order_id, channel=Channel.EMAIL, reason="not-ours"),
            "cancel": lambda: CancelOrder(order_id=order_id, channel=Channel.EMAIL, reason="changed-mind"),
            "confirm": lambda: ConfirmOrder(order_id=order_id, channel=Channel.EMAIL),
        }.get(step, lambda: ExecuteOrder(order_id=order_id, transactions=(done,)))()
        after, stages = WAYS[step]
        self.do(command, OrderUnknown if found is None else None if found.standing in stages else OrderState)
        if found and found.standing in stages:
            found.standing = after
            if step == "book":
                self.booked.add(found.subject)

    @rule(subject=PERSON, number=NUMBERS, steps=STEPS, book=st.booleans())
    def carry_out_order(self, subject: Any, number: int, steps: int, book: bool) -> None:
        """Go some steps of the usual way."""
        self.order(subject, number, True, "not-stated")
        for step in ("release", "book" if book else "execute", "confirm")[: steps - 1]:
            self.step_order(number, step)

    @precondition(lambda self: self.orders)
    @rule(subject=PERSON, number=NUMBERS)
    def amend(self, subject: Any, number: int) -> None:
        known, (order_id, found) = self.people.get(subject), self.ordered(number)
        command = AmendOrder(
            order_id=order_id, subject_id=subject, channel=Channel.EMAIL, media_type="text/plain", content=b"Pay more",
            received_at=self.now,
        )  # fmt: skip
        expected: Refusal = None
        if known is None:
            expected = SubjectUnknown
        elif found is None:
            expected = OrderUnknown
        elif found.standing != "open":
            expected = OrderState
        index = self.do(command, expected)
        if known and expected is None:
            known.seal(index, ORDER)

    @precondition(lambda self: self.orders)
    @rule(subject=PERSON, number=NUMBERS, case=NUMBERS, resolve=st.booleans())
    def dispute(self, subject: Any, number: int, case: int, resolve: bool) -> None:
        known, (order_id, found), case_id = self.people.get(subject), self.ordered(number), an_id(f"case {case}")
        said: dict[str, Any] = {"order_id": order_id, "subject_id": subject, "case_id": case_id}
        expected: Refusal = None
        if known is None:
            expected = SubjectUnknown
        elif found is None:
            expected = OrderUnknown
        elif resolve and not found.cases.get(case_id):
            expected = CaseUnknown
        elif not resolve and case_id in found.cases:
            expected = OrderState
        self.do(ResolveDispute(**said, outcome="upheld") if resolve else DisputeOrder(**said, ground="wrong"), expected)
        if known and found and expected is None:
            found.cases[case_id] = not resolve
            known.kept.add(ORDER)

    @precondition(lambda self: self.orders)
    @rule(subject=PERSON, number=NUMBERS, use=USE, aimed=AIMED)
    def use_order(self, subject: Any, number: int, use: Any, aimed: bool) -> None:
        order_id, found = self.ordered(number)
        subject = self.aim(aimed, subject, [found.subject] if found else [])
        expected: Refusal = None
        theirs = found is not None and found.subject == subject
        if not theirs:
            expected = OrderUnknown
        elif use == "statistics":
            expected = UseNotNamed
        elif use != "proof" and self.restricted(subject, ("order",)):
            expected = Restricted
        command = UseOrder(order_id=order_id, subject_id=subject, use=use)
        self.do(command, expected, kept=theirs and expected is not None)

    @rule(subject=PERSON, number=NUMBERS, revoke=st.booleans())
    def mandate(self, subject: Any, number: int, revoke: bool) -> None:
        mandate_id: Any = an_id(f"mandate {number}")
        found = self.mandates.get(mandate_id)
        said: dict[str, Any] = {"mandate_id": mandate_id, "client_id": CLIENT, "subject_id": subject}
        if subject not in self.people:
            command = RevokeMandate(**said, reason="left") if revoke else GiveMandate(**said, evidence="doc-1")
            self.do(command, SubjectUnknown)
        elif revoke:
            stands = found == (subject, True)
            self.do(RevokeMandate(**said, reason="left"), None if stands else MandateUnknown)
            self.mandates |= {mandate_id: (subject, False)} if stands else {}
        else:
            self.do(GiveMandate(**said, evidence="doc-1"), MandateExists if found else None)
            self.mandates.setdefault(mandate_id, (subject, True))

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        return super().view() | {
            "orders": {name: (one.standing, sum(one.cases.values())) for name, one in self.orders.items()},
            "quarantine": {name for name, one in self.orders.items() if one.standing == "quarantined"},
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        orders = self.asked.orders(client_id=CLIENT, as_of=as_of)
        for one in orders:
            content = self.asked.trail(one.order_id, as_of=as_of).content
            assert (content.bytes or GONE) == self.values[self.orders[one.order_id].index]
        return super().ask(as_of, then) | {
            "orders": {one.order_id: (one.standing, one.open_disputes) for one in orders},
            "quarantine": {one.order_id for one in self.asked.quarantine(as_of=as_of)},
        }
