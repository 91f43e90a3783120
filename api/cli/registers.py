"""activities, documents, employees, breaches, consent-record, audit-events: what an officer shows, as files too."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from api.cli.failure import Usage
from api.cli.options import (
    ActorOption,
    DataOption,
    RoleOption,
    SubjectOption,
    actor,
    identifier,
    moment,
    opened,
    word,
)
from api.cli.output import Output
from api.csv_text import write_rows
from ledger.command import query_of
from ledger.errors import ConsentUnknown, PolicyMissing
from ledger.events import PolicyAdopted, Withheld
from ledger.policy import parse_policy
from ledger.state.policy import policies
from ledger.vocabulary import ConsentId, Role, Sha256Hex, SubjectId, check_sha256
from projections import open_projections
from projections.audit_event import audit_events
from projections.consent_record import consent_record

AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="What was known then, with zone (default: now).")
]


class Format(StrEnum):
    """How a register is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", metavar="WORD", help="table, csv or json.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("activities")(activities)
    app.command("documents")(documents)
    app.command("document-text")(document_text)
    app.command("bindings")(bindings)
    app.command("employees")(employees)
    app.command("violations")(violations)
    app.command("breaches")(breaches)
    app.command("consent-record")(record_of_consent)
    app.command("audit-events")(events_of_audit)


def activities(as_of: AsOfOption = None, form: FormatOption = Format.TABLE, data: DataOption = None) -> None:
    """Print the record of processing activities of GDPR Art. 30: as controller, and as processor for clients.

    Example: prooftrail activities --format csv > art30.csv
    """
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        found = projections.activities(as_of=then)
    _print(form, found, ("article", "activity", "purpose", "legal_bases", "recipients", "retention"))


def documents(as_of: AsOfOption = None, form: FormatOption = Format.TABLE, data: DataOption = None) -> None:
    """List the documents that were published, with the hash of each text.

    Example: prooftrail documents --format json
    """
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        found = projections.documents(as_of=then)
    _print(form, found, ("index", "kind", "version", "language", "effective_at", "text_sha256"))


def document_text(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="The hash of the text: prooftrail documents.")],
    data: DataOption = None,
) -> None:
    """Print a published text, byte for byte.

    Example: prooftrail document-text SHA256 | sha256sum
    """
    digest = Sha256Hex(word(check_sha256, sha256, "SHA256"))
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        text = projections.document_text(digest)
    sys.stdout.buffer.write(text.encode())


def bindings(
    subject: SubjectOption,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="The day asked about, with zone.")],
    form: FormatOption = Format.TABLE,
    data: DataOption = None,
) -> None:
    """Say which principles and terms bound a person at a moment, and what they had seen and accepted by then.

    Example: prooftrail bindings --subject ID --at 2026-06-30T12:00:00+03:00
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(at, "--at")
    if then is None:
        raise Usage("--at: is a moment such as 2026-11-22T10:00:00Z")
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        found = projections.bindings(subject_id, then)
    _print(form, found, ("kind", "version", "presented", "accepted", "documents"))


def employees(as_of: AsOfOption = None, form: FormatOption = Format.TABLE, data: DataOption = None) -> None:
    """List employees, what they acknowledged, and whether they may see personal data now.

    Example: prooftrail employees
    """
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        found = projections.employees(then or ledger.now(), as_of=then)
    _print(form, found, ("employee_id", "role", "acknowledged", "has_access", "access_until", "offboarded_at"))


def violations(
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    form: FormatOption = Format.TABLE,
    data: DataOption = None,
) -> None:
    """List violations with their details. Only the officer may.

    Example: prooftrail violations --as officer
    """
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        found = projections.violations(actor(role, actor_id))
    _print(form, found, ("violation_id", "category", "employee", "details", "outcome"))


def breaches(
    as_of: AsOfOption = None,
    show: Annotated[bool, typer.Option("--open", help="Open the texts: they may name people.")] = False,
    form: FormatOption = Format.TABLE,
    data: DataOption = None,
) -> None:
    """Print the breach register of GDPR Art. 33(5), with when the authority has to be told.

    Example: prooftrail breaches --open --format csv > register.csv
    """
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        found = projections.breaches(show=show, as_of=then)
    _print(form, found, ("breach_id", "aware_at", "notice_due_at", "risk", "authority_notified_at", "closed_at"))


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
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        known = {one.consent_id: one for one in projections.consents(subject_id, as_of=then)}
        if consent_id not in known:
            raise ConsentUnknown(consent=consent_id, subject=subject_id)
        adopted = [one.event for one in ledger.read(query_of(policies()))]
        if not adopted or not isinstance(adopted[-1], PolicyAdopted):
            raise PolicyMissing
        policy = parse_policy(adopted[-1].text)
        Output(True).document(consent_record(known[consent_id], policy, receipt=receipt, ledger=ledger.origin))


def events_of_audit(subject: SubjectOption, as_of: AsOfOption = None, data: DataOption = None) -> None:
    """Print every step of the disclosures of a person's data as AuditEvent in the style of HL7 FHIR, one a line.

    Example: prooftrail audit-events --subject ID > disclosures.ndjson
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    output = Output(True)
    with opened(data) as (settings, ledger), open_projections(ledger, settings.projections_file) as projections:
        projections.catch_up()
        for disclosure in projections.disclosures(subject_id, as_of=then):
            for event in audit_events(disclosure, ledger=ledger.origin):
                output.document(event)


def _print(form: Format, found: Sequence[msgspec.Struct], columns: Sequence[str]) -> None:
    """Print rows: all fields as CSV or JSON, those of `columns` as a table."""
    output = Output(form is Format.JSON)
    rows = [{name: _plain(getattr(one, name)) for name in one.__struct_fields__} for one in found]
    if form is Format.JSON:
        output.document(rows)
    elif form is Format.TABLE:
        output.table(columns, [[_cell(row[name]) for name in columns] for row in rows])
    elif found:
        text = io.StringIO(newline="")
        write_rows(text, found[0].__struct_fields__, ([_cell(value) for value in row.values()] for row in rows))
        sys.stdout.buffer.write(text.getvalue().encode())


def _plain(value: Any) -> Any:
    return {"withheld": value.value} if isinstance(value, Withheld) else msgspec.to_builtins(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "; ".join(map(_cell, value))
    if isinstance(value, dict):
        return f"<{value['withheld']}>" if "withheld" in value else " ".join(map(_cell, value.values()))
    return str(value)
