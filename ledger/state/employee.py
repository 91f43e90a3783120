"""Whether an employee may see personal data now: onboarded, and with a current acknowledgement. Clause 5."""

from __future__ import annotations

from datetime import datetime, timedelta

from ledger.command import Boundary, Past, selector
from ledger.errors import AcknowledgementMissing, EmployeeUnknown
from ledger.events import (
    AcknowledgementLapsed,
    ConfidentialityAcknowledged,
    EmployeeOffboarded,
    EmployeeOnboarded,
)
from ledger.policy import Policy
from ledger.state.document import publications, versions
from ledger.vocabulary import ActorId, DocumentKind, Role, employee_tag

# Who acts for the company in person. Software, the person concerned and an auditor from outside acknowledge nothing.
STAFF = frozenset({Role.SUPPORT, Role.OFFICER, Role.LAWYER, Role.OPERATOR})


def employment(employee_id: ActorId) -> Boundary:
    """The boundary of `onboarded` and `acknowledged`."""
    return (
        selector(
            EmployeeOnboarded,
            ConfidentialityAcknowledged,
            AcknowledgementLapsed,
            EmployeeOffboarded,
            tags=[employee_tag(employee_id)],
        ),
        *publications(DocumentKind.PROCEDURE),
    )


def onboarded(past: Past, employee_id: ActorId) -> EmployeeOnboarded:
    """Return since when and as what an employee is here. Raises EmployeeUnknown, also once they left."""
    last = past.last(EmployeeOnboarded, EmployeeOffboarded)
    if not isinstance(last, EmployeeOnboarded):
        raise EmployeeUnknown(employee=employee_id)
    return last


def acknowledged(past: Past) -> ConfidentialityAcknowledged | None:
    """Return the acknowledgement that has not lapsed; one from before they left and came back does not count."""
    last = past.last(ConfidentialityAcknowledged, AcknowledgementLapsed, EmployeeOnboarded)
    return last if isinstance(last, ConfidentialityAcknowledged) else None


def current_until(past: Past, given: ConfidentialityAcknowledged, policy: Policy) -> datetime | None:
    """Return when an acknowledgement ceases to be current, None while no later version says so.

    The grace period runs from the first version that it misses: a row of new versions does not prolong it.
    """
    known = versions(past, DocumentKind.PROCEDURE)
    place = next((i for i, (version, _) in enumerate(known) if version == given.version), len(known))
    if place + 1 >= len(known):
        return None
    return known[place + 1][1] + timedelta(days=policy.deadlines.acknowledgement_grace_days)


def check_access(past: Past, employee_id: ActorId, now: datetime, policy: Policy) -> None:
    """Raise EmployeeUnknown or AcknowledgementMissing unless this employee may see personal data at `now`."""
    onboarded(past, employee_id)
    given = acknowledged(past)
    until = None if given is None else current_until(past, given, policy)
    if given is None or (until is not None and until <= now):
        raise AcknowledgementMissing(employee=employee_id)
