"""recipients, disclosures, obligations: who gets personal data, what was disclosed, who is owed a notice."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import DataOption, JsonOption, SubjectOption, identifier, moment, opened
from api.cli.output import Output
from ledger.vocabulary import Role, SubjectId
from projections import NamedRecipient, Recipient

AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="What was known then, with zone (default: now).")
]
ViewerOption = Annotated[
    Role,
    typer.Option("--as", metavar="ROLE", help="Who asks: what is secret still is shown to the officer only."),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("recipients")(recipients)
    app.command("disclosures")(disclosures)
    app.command("obligations")(obligations)


def recipients(
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Who actually got data of this person (default: all).")
    ] = None,
    viewer: ViewerOption = Role.SUBJECT,
    as_of: AsOfOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every recipient with its category, contract and dates, or the actual recipients of one person's data.

    Example: prooftrail recipients

    Example: prooftrail recipients --subject ID --as officer

    One is registered with: prooftrail commands register-recipient
    """
    output = Output(as_json)
    subject_id = SubjectId(identifier(subject, "--subject")) if subject else None
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        if subject_id is None:
            registered = projections.recipients(as_of=then)
            if as_json:
                output.document({"recipients": registered})
                return
            rows = [_recipient_row(one) for one in registered]
            output.table(("recipient", "category", "name", "country", "contract", "valid", "ended"), rows)
            return
        named = projections.recipients_of(subject_id, viewer=viewer, as_of=then)
    if as_json:
        output.document({"subject": subject_id, "recipients": named})
        return
    output.table(("recipient", "name", "category", "fields", "first", "last", "count"), map(_named_row, named))


def _recipient_row(one: Recipient) -> tuple[object, ...]:
    valid = f"{one.valid_from:%Y-%m-%d}–{f'{one.valid_to:%Y-%m-%d}' if one.valid_to else ''}"
    ended = f"{one.ended_at:%Y-%m-%d} ({one.reason})" if one.ended_at else ""
    return one.recipient_id, one.category, one.name or "<erased>", one.country, one.contract, valid, ended


def _named_row(one: NamedRecipient) -> tuple[object, ...]:
    known = one.recipient
    return (
        one.recipient_id,
        "<not registered>" if known is None else known.name or "<erased>",
        "" if known is None else known.category,
        "everything, standing" if one.standing else ", ".join(one.fields),
        f"{one.first_at:%Y-%m-%d %H:%M}",
        f"{one.last_at:%Y-%m-%d %H:%M}",
        one.times,
    )


def disclosures(
    subject: SubjectOption,
    viewer: ViewerOption = Role.SUBJECT,
    as_of: AsOfOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the accounting of disclosures of a person's data: asked for, authorized, refused, sent, failed, voided.

    Example: prooftrail disclosures --subject ID --json
    """
    output = Output(as_json)
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.disclosures(subject_id, viewer=viewer, as_of=then)
    if as_json:
        output.document({"subject": subject_id, "disclosures": found})
        return
    rows = [
        (
            one.disclosure_id,
            one.recipient_id,
            one.basis,
            one.purpose,
            ", ".join(one.fields),
            one.stage,
            f"{one.steps[-1].recorded_at:%Y-%m-%d %H:%M}",
        )
        for one in found
    ]
    output.table(("disclosure", "recipient", "basis", "purpose", "fields", "stage", "last step"), rows)


def obligations(
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="About this person (default: about everybody).")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the notices that recipients are owed, of what was corrected, erased or called back. For the officer.

    Example: prooftrail obligations

    A notice that was given is recorded with: prooftrail commands notify-recipient
    """
    output = Output(as_json)
    subject_id = SubjectId(identifier(subject, "--subject")) if subject else None
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        if subject_id is None:
            found = projections.everybodys_obligations()
        else:
            found = projections.obligations(subject_id, viewer=Role.OFFICER)
    if as_json:
        output.document({"obligations": found})
        return
    rows = [
        (one.recipient_id, one.cause, ", ".join(one.fields), one.subject_id, f"{one.since:%Y-%m-%d %H:%M}")
        for one in found
    ]
    output.table(("recipient", "why", "fields", "subject", "since"), rows)
