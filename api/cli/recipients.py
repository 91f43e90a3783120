"""recipients, disclosures, obligations: who gets personal data, what was disclosed, who is owed a notice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
import typer

from api.cli.options import DataOption, JsonOption, SubjectOption, identifier, moment, opened
from api.cli.tables import AsOfOption, CsvOption, Form, form_of, print_csv, print_register
from ledger.state.disclosure import Stage
from ledger.vocabulary import (
    ActorId,
    ConsentId,
    DisclosureId,
    LegalBasis,
    Purpose,
    RecipientId,
    Reference,
    Role,
    SubjectId,
    Word,
)
from projections import Disclosure, NamedRecipient, Obligation, Recipient
from projections.answer import RecipientTold, recipient_told

ViewerOption = Annotated[
    Role,
    typer.Option("--as", metavar="ROLE", help="Who asks: what is secret still is shown to the officer only."),
]


class DisclosureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a disclosure as CSV has it: what was asked for stands on each."""

    disclosure_id: DisclosureId
    subject_id: SubjectId
    recipient_id: RecipientId
    recipient: str | None
    purpose: Purpose
    basis: LegalBasis
    act: Reference | None
    authority: Word | None
    reference: Reference | None
    stage: Stage
    entry: int
    recorded_at: datetime
    by: ActorId
    role: Role
    fields: tuple[Word, ...]
    consent_id: ConsentId | None
    expires_at: datetime | None
    reason: Word | None


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
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every recipient with its category, contract and dates, or the actual recipients of one person's data.

    Example: prooftrail recipients

    Example: prooftrail recipients --subject ID --as officer

    One is registered with: prooftrail commands register-recipient
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject")) if subject else None
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        if subject_id is None:
            registered = projections.recipients(as_of=then)
            columns = ("recipient", "category", "name", "country", "contract", "valid", "ended")
            print_register(form, "recipients", Recipient, registered, columns, _recipient_row)
            return
        named = projections.recipients_of(subject_id, viewer=viewer, as_of=then)
    if form is Form.CSV:
        print_csv(RecipientTold, map(recipient_told, named))
        return
    columns = ("recipient", "name", "category", "fields", "first", "last", "count")
    print_register(form, "recipients", NamedRecipient, named, columns, _named_row, subject=subject_id)


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
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the accounting of disclosures of a person's data: asked for, authorized, refused, sent, failed, voided.

    Example: prooftrail disclosures --subject ID --json
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.disclosures(subject_id, viewer=viewer, as_of=then)
        names = {one.recipient_id: one.name for one in projections.recipients(as_of=then)}
    if form is Form.CSV:
        print_csv(DisclosureRow, (row for one in found for row in _account(one, names.get(one.recipient_id))))
        return
    columns = ("disclosure", "recipient", "basis", "purpose", "fields", "stage", "last step")
    print_register(
        form, "disclosures", Disclosure, found, columns,
        lambda one: (
            one.disclosure_id, names.get(one.recipient_id) or one.recipient_id, one.basis, one.purpose,
            ", ".join(one.fields), one.stage, f"{one.steps[-1].recorded_at:%Y-%m-%d %H:%M}",
        ),
        subject=subject_id,
    )  # fmt: skip


def _account(one: Disclosure, name: str | None) -> Iterator[DisclosureRow]:
    for step in one.steps:
        yield DisclosureRow(
            disclosure_id=one.disclosure_id,
            subject_id=one.subject_id,
            recipient_id=one.recipient_id,
            recipient=name,
            purpose=one.purpose,
            basis=one.basis,
            act=None if one.statute is None else one.statute.act,
            authority=None if one.statute is None else one.statute.authority,
            reference=None if one.statute is None else one.statute.reference,
            stage=step.stage,
            entry=step.index,
            recorded_at=step.recorded_at,
            by=step.by.id,
            role=step.by.role,
            fields=step.fields or one.fields,
            consent_id=step.consent_id,
            expires_at=step.expires_at,
            reason=step.reason,
        )


def obligations(
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="About this person (default: about everybody).")
    ] = None,
    as_of: AsOfOption = None,
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the notices that recipients are owed, of what was corrected, erased or called back. For the officer.

    Example: prooftrail obligations

    A notice that was given is recorded with: prooftrail commands notify-recipient
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject")) if subject else None
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        if subject_id is None:
            found = projections.everybodys_obligations(as_of=then)
        else:
            found = projections.obligations(subject_id, viewer=Role.OFFICER, as_of=then)
    print_register(
        form, "obligations", Obligation, found, ("recipient", "why", "fields", "subject", "since"),
        lambda one: (
            one.recipient_id, one.cause, ", ".join(one.fields), one.subject_id, f"{one.since:%Y-%m-%d %H:%M}",
        ),
    )  # fmt: skip
