"""activities, employees, violations, breaches, consent-record, audit-events: what an officer shows, as files too."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import (
    ActorOption,
    DataOption,
    JsonOption,
    RoleOption,
    SubjectOption,
    actor,
    identifier,
    moment,
    opened,
)
from api.cli.output import Output
from api.cli.tables import AsOfOption, CsvOption, form_of, print_register
from ledger.command import query_of
from ledger.errors import ConsentUnknown, PolicyMissing
from ledger.events import PolicyAdopted
from ledger.policy import parse_policy
from ledger.state.policy import policies
from ledger.vocabulary import ConsentId, Role, SubjectId
from projections import ActivityRecord, BreachRecord, Employee, Violation
from projections.audit_event import audit_events
from projections.consent_record import consent_record


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("activities")(activities)
    app.command("employees")(employees)
    app.command("violations")(violations)
    app.command("breaches")(breaches)
    app.command("consent-record")(record_of_consent)
    app.command("audit-events")(events_of_audit)


def activities(
    as_of: AsOfOption = None, as_csv: CsvOption = False, as_json: JsonOption = False, data: DataOption = None
) -> None:
    """Print the record of processing activities of GDPR Art. 30: as controller, and as processor for clients.

    Example: prooftrail activities --csv > art30.csv
    """
    form = form_of(as_csv, as_json)
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.activities(as_of=then)
    print_register(
        form,
        "activities",
        ActivityRecord,
        found,
        ("article", "activity", "purpose", "legal_bases", "recipients", "retention"),
    )


def employees(
    as_of: AsOfOption = None, as_csv: CsvOption = False, as_json: JsonOption = False, data: DataOption = None
) -> None:
    """List employees, what they acknowledged, and whether they may see personal data now.

    Example: prooftrail employees
    """
    form = form_of(as_csv, as_json)
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.employees(then or ledger.now(), as_of=then)
    print_register(
        form,
        "employees",
        Employee,
        found,
        ("employee_id", "role", "acknowledged", "has_access", "access_until", "offboarded_at"),
    )


def violations(
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """List violations with their details. Only the officer may.

    Example: prooftrail violations --as officer
    """
    form = form_of(as_csv, as_json)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.violations(actor(role, actor_id))
    print_register(form, "violations", Violation, found, ("violation_id", "category", "employee", "details", "outcome"))


def breaches(
    as_of: AsOfOption = None,
    show: Annotated[bool, typer.Option("--open", help="Open the texts: they may name people.")] = False,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Print the breach register of GDPR Art. 33(5), with when the authority has to be told.

    Example: prooftrail breaches --open --csv > register.csv
    """
    form = form_of(as_csv, as_json)
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.breaches(show=show, as_of=then)
    print_register(
        form,
        "breaches",
        BreachRecord,
        found,
        ("breach_id", "aware_at", "notice_due_at", "risk", "authority_notified_at", "closed_at"),
    )


def record_of_consent(
    subject: SubjectOption,
    consent: Annotated[str, typer.Option("--consent", metavar="ID", help="The consent.")],
    receipt: Annotated[bool, typer.Option("--receipt", help="The copy for the person.")] = False,
    as_of: AsOfOption = None,
    data: DataOption = None,
) -> None:
    """Print the record of a consent by ISO/IEC TS 27560, as JSON-LD in the terms of W3C DPV.

    Example: prooftrail consent-record --subject ID --consent ID --receipt > receipt.jsonld
    """
    subject_id, consent_id = SubjectId(identifier(subject, "--subject")), ConsentId(identifier(consent, "--consent"))
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        known = {one.consent_id: one for one in projections.consents(subject_id, as_of=then)}
        if consent_id not in known:
            raise ConsentUnknown(consent=consent_id, subject=subject_id)
        adopted = [one.event for one in ledger.read(query_of(policies()))]
        if not adopted or not isinstance(adopted[-1], PolicyAdopted):
            raise PolicyMissing
        policy = parse_policy(adopted[-1].text)
        found = known[consent_id]
        named = {one.recipient_id: one for one in projections.recipients(as_of=then)}
        recipient = None if found.recipient_id is None else named.get(found.recipient_id)
        record = consent_record(found, policy, receipt=receipt, ledger=ledger.origin, recipient=recipient)
        Output(True).document(record)


def events_of_audit(subject: SubjectOption, as_of: AsOfOption = None, data: DataOption = None) -> None:
    """Print every step of the disclosures of a person's data as AuditEvent in the style of HL7 FHIR, one a line.

    Example: prooftrail audit-events --subject ID > disclosures.ndjson
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    output = Output(True)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        for disclosure in projections.disclosures(subject_id, as_of=then):
            for event in audit_events(disclosure, ledger=ledger.origin):
                output.document(event)
