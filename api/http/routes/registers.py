"""Registers: who works here, breaches, sources and their guarantees, activities, the policy."""

from __future__ import annotations

from api.http.ask import Ask
from api.http.operation import Reply, Shows, query
from api.http.parameters import CURSOR, FORMAT, LIMIT, MIN_POSITION, PAGE, Parameter, truth
from ledger.errors import PolicyMissing
from projections import (
    ActivityRecord,
    Employee,
    Guarantee,
    NoticeOwed,
    QuarantinedBatch,
)


@query("list-employees", "/employees", shows=Shows.SEALED, result=Employee, paged=True, parameters=PAGE)
def list_employees(ask: Ask) -> Reply:
    """List who works here, what they acknowledged, and whether they may see personal data."""
    return Reply(items=ask.projections.employees(ask.at, as_of=ask.as_of))


@query(
    "list-violations", "/violations", shows=Shows.PERSONAL, result=dict, paged=True,
    parameters=(MIN_POSITION, LIMIT, CURSOR, FORMAT),
)  # fmt: skip
def list_violations(ask: Ask) -> Reply:
    """List violations with their details. They are the officer's alone."""
    return Reply(items=ask.projections.violations(ask.caller.actor))


@query(
    "list-breaches", "/breaches", shows=Shows.PERSONAL, result=dict, paged=True,
    parameters=(*PAGE, Parameter("show", "Open the texts: they may name people.", truth, {"type": "boolean"})),
)  # fmt: skip
def list_breaches(ask: Ask) -> Reply:
    """List the breach register of GDPR Art. 33(5), with when the authority has to be told."""
    return Reply(items=ask.projections.breaches(show=bool(ask.get("show")), as_of=ask.as_of))


@query("list-guarantees", "/sources/guarantees", shows=Shows.NOTHING, result=Guarantee, paged=True, parameters=PAGE)
def list_guarantees(ask: Ask) -> Reply:
    """List the guarantees of lawfulness that issuers gave and that were not revoked."""
    return Reply(items=ask.projections.guarantees(as_of=ask.as_of))


@query(
    "list-quarantined-batches", "/quarantine/batches", shows=Shows.NOTHING, result=QuarantinedBatch, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_quarantined_batches(ask: Ask) -> Reply:
    """List the batches from other sources that are not usable, and why."""
    return Reply(items=ask.projections.quarantined_batches(as_of=ask.as_of))


@query(
    "list-notices-owed", "/sources/notices-owed", shows=Shows.PERSONAL, result=NoticeOwed, paged=True, parameters=PAGE
)
def list_notices_owed(ask: Ask) -> Reply:
    """List who is to be told where their data comes from (GDPR Art. 14)."""
    return Reply(items=ask.projections.notices_owed(as_of=ask.as_of), subject_of=lambda one: one.subject_id)


@query("list-activities", "/activities", shows=Shows.NOTHING, result=ActivityRecord, paged=True, parameters=PAGE)
def list_activities(ask: Ask) -> Reply:
    """List the record of processing activities of GDPR Art. 30."""
    return Reply(items=ask.projections.activities(as_of=ask.as_of))


@query("read-policy", "/policy", shows=Shows.NOTHING, result=dict, parameters=(MIN_POSITION,))
def read_policy(ask: Ask) -> Reply:
    """Read the policy in force."""
    if (found := ask.projections.policy()) is None:
        raise PolicyMissing
    return Reply(body=found)
