"""Disclosures: the accounting of who got what, the recipients by name, and the notices that they are owed."""

from __future__ import annotations

from api.http.ask import Ask
from api.http.operation import Reply, Shows, query
from api.http.parameters import AS_OF, CURSOR, LIMIT, MIN_POSITION, PAGE
from api.http.secrecy import sees_secrets
from projections import Disclosure, NamedRecipient, Obligation, Recipient
from projections.audit_event import audit_events


@query(
    "list-disclosures", "/subjects/{subject_id}/disclosures", shows=Shows.PERSONAL, result=Disclosure, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_disclosures(ask: Ask) -> Reply:
    """List the disclosures of a person's data. What is secret by law until a date is the officer's alone."""
    found = ask.projections.disclosures(ask.subject_id, viewer=ask.caller.actor.role, as_of=ask.as_of)
    return Reply(items=found, secrets=sees_secrets(ask))


@query(
    "list-audit-events", "/subjects/{subject_id}/audit-events", shows=Shows.PERSONAL, result=dict, paged=True,
    parameters=(AS_OF, MIN_POSITION, LIMIT, CURSOR),
)  # fmt: skip
def list_audit_events(ask: Ask) -> Reply:
    """List every step of the disclosures of a person's data as AuditEvent, in the style of HL7 FHIR."""
    found = ask.projections.disclosures(ask.subject_id, viewer=ask.caller.actor.role, as_of=ask.as_of)
    items = [event for one in found for event in audit_events(one, ledger=ask.ledger.origin)]
    return Reply(items=items, secrets=sees_secrets(ask))


@query(
    "list-subject-recipients", "/subjects/{subject_id}/recipients", shows=Shows.PERSONAL, result=NamedRecipient,
    paged=True, parameters=PAGE,
)  # fmt: skip
def list_recipients_of(ask: Ask) -> Reply:
    """List the actual recipients of a person's data, by name (GDPR Art. 15(1)(c))."""
    found = ask.projections.recipients_of(ask.subject_id, viewer=ask.caller.actor.role, as_of=ask.as_of)
    return Reply(items=found, secrets=sees_secrets(ask))


@query(
    "list-subject-obligations", "/subjects/{subject_id}/obligations", shows=Shows.PERSONAL, result=Obligation,
    paged=True, parameters=PAGE,
)  # fmt: skip
def list_obligations_about(ask: Ask) -> Reply:
    """List the notices that recipients of a person's data are owed (GDPR Art. 19)."""
    found = ask.projections.obligations(ask.subject_id, viewer=ask.caller.actor.role, as_of=ask.as_of)
    return Reply(items=found, secrets=sees_secrets(ask))


@query("list-obligations", "/obligations", shows=Shows.PERSONAL, result=Obligation, paged=True, parameters=PAGE)
def list_obligations(ask: Ask) -> Reply:
    """List the notices that recipients are owed about anybody, secret disclosures too."""
    found = ask.projections.everybodys_obligations(as_of=ask.as_of)
    return Reply(items=found, subject_of=lambda one: one.subject_id, secrets=sees_secrets(ask))


@query("list-recipients", "/recipients", shows=Shows.NOTHING, result=Recipient, paged=True, parameters=PAGE)
def list_recipients(ask: Ask) -> Reply:
    """List every registered recipient: category, name, country, contract and dates."""
    return Reply(items=ask.projections.recipients(as_of=ask.as_of))
