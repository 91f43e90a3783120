"""The gate for employees: a current acknowledgement, and for each field a use that clauses 1, 2 and 5 allow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ledger import Actor, Ledger
from ledger.command import Past
from ledger.commands import UseData
from ledger.state.employee import check_access, employment
from ledger.state.policy import policies, policy_needed
from ledger.vocabulary import ActorId, Purpose, Reference, SubjectId, Word


def check_employee(ledger: Ledger, employee_id: ActorId, now: datetime) -> None:
    """Raise EmployeeUnknown, AcknowledgementMissing or PolicyMissing unless this employee may see personal data."""
    past = Past()
    past.all = ledger.recall((*employment(employee_id), *policies()))
    check_access(past, employee_id, now, policy_needed(past))


class Use:
    """What an employee wants somebody's data for: a purpose and a case.

    What is allowed is not recorded here: the access log does that, with what was shown.
    """

    def __init__(self, ledger: Ledger, actor: Actor, subject_id: SubjectId, purpose: Purpose, case: Reference) -> None:
        self._ledger = ledger
        self._actor = actor
        self._subject_id = subject_id
        self._purpose = purpose
        self._case = case

    def allowed(self, fields: Iterable[Word]) -> tuple[Word, ...]:
        """Return those of the fields that pass the gate: nobody is shown more than that (GDPR Art. 5(1)(c))."""
        return tuple(one for one in fields if self._passes(self._of((one,))))

    def check(self, fields: tuple[Word, ...]) -> None:
        """Raise Refused unless all of these fields pass the gate; a denial is itself recorded (UseDenied)."""
        command = self._of(fields)
        if not self._passes(command):
            # Decided again on what the store says; a denial is kept, and raised.
            self._ledger.record(command, self._actor)

    def _passes(self, command: UseData) -> bool:
        return self._ledger.decide(command, self._actor, fresh=False)[0].refusal is None

    def _of(self, fields: tuple[Word, ...]) -> UseData:
        return UseData(
            subject_id=self._subject_id,
            purpose=self._purpose,
            fields=fields,
            case_reference=self._case,
            employee_id=self._actor.id,
        )
