"""The gate for employees: a current acknowledgement, and for fields a purpose that allows each. Clauses 1, 2 and 5."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from ledger import Actor, Ledger
from ledger.command import Past
from ledger.commands import UseData
from ledger.policy import Policy
from ledger.state.employee import check_access, employment
from ledger.state.policy import policies, policy_needed
from ledger.vocabulary import ActorId, Purpose, Reference, SubjectId, SubjectRole, Word


def check_employee(ledger: Ledger, employee_id: ActorId, now: datetime) -> Policy:
    """Return the policy in force. Raises EmployeeUnknown, AcknowledgementMissing, PolicyMissing."""
    past = Past()
    past.all = ledger.recall((*employment(employee_id), *policies()))
    in_force = policy_needed(past)
    check_access(past, employee_id, now, in_force)
    return in_force


def allowed_fields(policy: Policy, held: Collection[Word], *, purpose: Purpose, role: SubjectRole) -> tuple[Word, ...]:
    """Return those of the fields held that this purpose allows: nobody is shown more than it needs (Art. 5(1)(c))."""
    return tuple(name for name in held if policy.may_use(name, purpose=purpose, role=role))


def check_use(
    ledger: Ledger,
    actor: Actor,
    subject_id: SubjectId,
    *,
    purpose: Purpose,
    case_reference: Reference,
    fields: tuple[Word, ...],
) -> None:
    """Pass the gate of clause 1-2 for named fields. Raises Refused; a denial is itself recorded (UseDenied).

    What is allowed is not recorded here: the access log does that, with what was shown.
    """
    command = UseData(
        subject_id=subject_id,
        purpose=purpose,
        fields=fields,
        case_reference=case_reference,
        employee_id=actor.id,
    )
    decision, _ = ledger.decide(command, actor, fresh=False)
    if decision.refusal is not None:
        # Decided again on what the store says; a denial is kept, and raised.
        ledger.record(command, actor)
