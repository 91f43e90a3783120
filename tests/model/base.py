"""What all capabilities share: a ledger beside the model, one step of both, the clock, and the comparison."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger import Actor
from ledger.command import Command
from ledger.commands import AdoptPolicy
from ledger.errors import Refused
from ledger.policy import default_policy_text, parse_policy
from projections import PROJECTIONS_FILE, open_projections
from projections.duties import run_duties
from tests.bench import OFFICER, START, Bench, an_id, check_ledger

NUMBERS = st.integers(0, 1)
PEOPLE = [an_id(f"person {number}") for number in range(2)]
PERSON = st.sampled_from(PEOPLE)
POLICY = parse_policy(default_policy_text())
# Most steps are about something that they fit: a run comes deep. The others are refused.
AIMED = st.sampled_from([True, True, True, False])
SELDOM = st.sampled_from([False, False, False, True])
# A usual way goes so many steps at once: what lies behind it is reached, and what comes in between is random.
STEPS = st.integers(1, 5)
GONE = "(erased)"

Refusal = type[Refused] | None
View = dict[str, Any]
T = TypeVar("T")

# So many of the positions that were passed are compared again at the end.
REMEMBERED = 10


class Model(RuleBasedStateMachine):
    """A capability overrides `view` (what the model says), `ask` (what the projections say), `due` and `owed`."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "data"
        self.bench = Bench(path)
        self.ledger = self.bench.ledger
        self.asked = open_projections(self.ledger, path / PROJECTIONS_FILE)
        self.seen: list[tuple[int, datetime, View]] = []

    @initialize(everybody=AIMED)
    def adopt(self, everybody: bool) -> None:
        self.bench.given(AdoptPolicy(text=default_policy_text()))
        self.begin(everybody)

    def begin(self, everybody: bool) -> None:
        """Let happen what steps are not to be wasted on; `everybody` is known from the start, or only one person."""

    def teardown(self) -> None:
        self.compare_past()
        assert self.asked.verify().count == 0
        check_ledger(self.ledger)
        self.shut()

    def compare_past(self) -> None:
        """Compare again what was said at positions that were passed."""
        step = max(1, len(self.seen) // REMEMBERED)
        for position, then, view in self.seen[::step]:
            self.compare(view, position, then)

    def shut(self) -> None:
        self.asked.close()
        self.ledger.close()
        self.directory.cleanup()

    # --- one step ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.bench.clock.now

    def do(self, command: Command, expected: Refusal = None, *, by: Actor = OFFICER, kept: bool = False) -> int:
        """Ask for a command; it is refused for exactly the `expected` reason, and only a `kept` refusal is recorded."""
        before = self.ledger.size()
        refusal: Refused | None = None
        try:
            self.ledger.record(command, by)
        except Refused as error:
            refusal = error
        code = None if refusal is None else refusal.code
        assert code == (None if expected is None else expected.code), (command, code, expected)
        if expected is None:
            assert self.ledger.size() > before
        else:
            assert self.ledger.size() == before + kept, (command, code, "kept")
        return before

    def aim(self, aimed: bool, target: T, candidates: Iterable[T]) -> T:
        """Return what a step is about: one of what it fits, when it is aimed, and else whatever was drawn."""
        fitting = [*candidates]
        return fitting[self.ledger.size() % len(fitting)] if aimed and fitting else target

    def forget(self, subject: Any) -> None:
        """Let what is held of somebody be erased, where erasure is among the capabilities that are run."""

    @rule(days=st.sampled_from([0.005, 0.02, 1, 3, 10, 20]))
    def wait(self, days: float) -> None:
        # Within a year no retention period ends: expiry has tests of its own.
        if self.now < START + timedelta(days=300):
            self.bench.clock.forward(days=days)

    @rule()
    def tick(self) -> None:
        expected = self.due(self.now)
        report = run_duties(self.asked, self.ledger, self.now)
        assert (len(report.done), report.not_done) == (expected, ())
        assert Counter(owed.what for owed in report.owed) == Counter(self.owed(self.now))

    def due(self, now: datetime) -> int:
        """Do what the clock does at `now`, in the model; return how many commands that takes."""
        return 0

    def owed(self, now: datetime) -> list[str]:
        """Return what people owe at `now`, each by its name."""
        return []

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """Return what the model says now, in a form that stays as it is."""
        return {}

    def expected(self, view: View) -> View:
        """Return a view as it reads by now: what was erased since is gone from every past."""
        return view

    def ask(self, as_of: int | None, then: datetime) -> View:
        """Return what the projections say as of a position that was reached at `then`."""
        return {}

    def compare(self, view: View, as_of: int | None, then: datetime) -> None:
        said, expected = self.ask(as_of, then), self.expected(view)
        assert said.keys() == expected.keys()
        for name, value in expected.items():
            assert said[name] == value, (name, as_of)

    @invariant()
    def projections_say_what_the_model_says(self) -> None:
        if not self.ledger.size():
            return
        self.asked.catch_up()
        view = self.view()
        self.compare(view, None, self.now)
        if not self.seen or self.seen[-1][0] < self.ledger.size():
            self.seen.append((self.ledger.size(), self.now, view))
