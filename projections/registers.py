"""The registers that an officer keeps: persons, documents, employees, violations, breaches.

A row says that an entry belongs to a register and what it is about there; the entries are read from the ledger, and
folded by the same functions that the commands decide with. So a register never says anything else than the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final

from ledger import Ledger
from ledger.command import Past, Recorded
from ledger.events import (
    AcknowledgementLapsed,
    AuthorityNotified,
    BreachAssessed,
    BreachClosed,
    BreachConfirmed,
    BreachSuspected,
    ConfidentialityAcknowledged,
    DocumentPresented,
    DocumentPublished,
    EmployeeOffboarded,
    EmployeeOnboarded,
    Event,
    PolicyAdopted,
    SubjectsMerged,
    SubjectsNotified,
    SubjectsUnmerged,
    TermsAccepted,
    ViolationReported,
    ViolationResolved,
)
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Store, Writer


class Register(StrEnum):
    """The registers, and what their entries are about."""

    POLICIES = "policies"  # nothing: "all"
    PERSONS = "persons"  # a subject
    DOCUMENTS = "documents"  # a kind of document
    BINDINGS = "bindings"  # a subject
    EMPLOYEES = "employees"  # an employee
    VIOLATIONS = "violations"  # a violation
    BREACHES = "breaches"  # a breach


ALL: Final = "all"

About = Callable[[Any], Iterable[str]]
_EVENTS: Final[Mapping[type[Event], tuple[Register, About]]] = {
    PolicyAdopted: (Register.POLICIES, lambda event: (ALL,)),
    SubjectsMerged: (Register.PERSONS, lambda event: event.members),
    SubjectsUnmerged: (Register.PERSONS, lambda event: (event.subject_id, event.merged_id)),
    DocumentPublished: (Register.DOCUMENTS, lambda event: (event.kind,)),
    DocumentPresented: (Register.BINDINGS, lambda event: (event.subject_id,)),
    TermsAccepted: (Register.BINDINGS, lambda event: (event.subject_id,)),
    **dict.fromkeys(
        (EmployeeOnboarded, ConfidentialityAcknowledged, AcknowledgementLapsed, EmployeeOffboarded),
        (Register.EMPLOYEES, lambda event: (event.employee_id,)),
    ),
    **dict.fromkeys((ViolationReported, ViolationResolved), (Register.VIOLATIONS, lambda event: (event.violation_id,))),
    **dict.fromkeys(
        (BreachSuspected, BreachConfirmed, BreachAssessed, AuthorityNotified, SubjectsNotified, BreachClosed),
        (Register.BREACHES, lambda event: (event.breach_id,)),
    ),
}

_STEPS: Final = """
SELECT idx FROM register_steps WHERE register = ? AND about = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_ABOUT: Final = """
SELECT about, min(idx) FROM register_steps WHERE register = ? AND idx < ? AND recorded_at <= ? GROUP BY about ORDER BY 2
"""


class Registers(Projection):
    """Which entries belong to which register."""

    NAME: ClassVar[str] = "registers"
    VERSION: ClassVar[int] = 1
    EVENTS: ClassVar[Mapping[type[Event], Any]] = _EVENTS

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        rows: list[Row] = []
        for item in batch:
            register, about = _EVENTS[type(item.event)]
            rows += [(item.index, register, one, item.recorded_at) for one in about(item.event)]
        writer.insert("register_steps", rows)

    def about(self, register: Register, *, as_of: AsOf = None) -> list[str]:
        """Return what the entries of a register are about, the first known first."""
        with self._store.read() as rows:
            return [about for about, _ in rows(_ABOUT, register, *bound(as_of))]

    def past(self, *wanted: tuple[Register, str], as_of: AsOf = None) -> Past:
        """Return the events about these, in the order of the log, each once, fields sealed: what a fold takes."""
        known = bound(as_of)
        with self._store.read() as rows:
            found = {idx for register, about in wanted for (idx,) in rows(_STEPS, register, about, *known)}
        past = Past()
        past.all = [Recorded.parse(self._ledger.entry(idx)) for idx in sorted(found)]
        return past
