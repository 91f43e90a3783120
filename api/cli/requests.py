"""requests, holds, quarantine, retention, answer, export: what people ask, and what they are given."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from api.answer_files import Written, write_answer, write_export
from api.cli.options import DataOption, JsonOption, SubjectOption, identifier, moment, opened
from api.cli.output import Output, path_text
from api.cli.tables import AsOfOption, CsvOption, form_of, print_register
from ledger.state.request import RequestStage
from ledger.state.retention import Term
from ledger.vocabulary import SubjectId
from projections import Hold, OrderSummary, RequestState
from projections.answer import answer as answer_of
from projections.answer import portable

AnySubjectOption = Annotated[
    str | None, typer.Option("--subject", metavar="ID", help="Of this person only.", show_default=False)
]
ToOption = Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the files go; none is overwritten.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("requests")(requests)
    app.command("holds")(holds)
    app.command("quarantine")(quarantine)
    app.command("retention")(retention)
    app.command("answer")(answer)
    app.command("export")(export)


def requests(
    subject: AnySubjectOption = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not answered.")] = False,
    as_of: AsOfOption = None,
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the requests of people with their clocks: access, rectification, erasure, restriction, and the others.

    Example: prooftrail requests --open

    A request is opened with: prooftrail record, command receive-request; a phone call opens one like any letter.
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject")) if subject else None
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        now = then or ledger.now()
        found = [
            one
            for one in projections.requests(subject_id, as_of=then)
            if not only_open or one.stage is RequestStage.OPEN
        ]

    def cells(one: RequestState) -> tuple[object, ...]:
        overdue = one.stage is RequestStage.OPEN and now > one.due_at
        return (
            one.request_id, one.kind, one.stage, f"{one.received_at:%Y-%m-%d}", f"{one.due_at:%Y-%m-%d}", overdue,
        )  # fmt: skip

    columns = ("request", "asks for", "stage", "received", "due", "overdue")
    print_register(form, "requests", RequestState, found, columns, cells, at=now)


def holds(
    subject: AnySubjectOption = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that stand.")] = False,
    as_of: AsOfOption = None,
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the legal holds: on whose data, for which case, whose they are and when each is reviewed.

    Example: prooftrail holds --open
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject")) if subject else None
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.holds(subject_id, as_of=then, open_only=only_open)
    print_register(
        form, "holds", Hold, found, ("hold", "subject", "case", "ground", "owner", "review", "released"),
        lambda one: (
            one.hold_id, one.subject_id, one.case_id, one.ground, one.owner, f"{one.review_at:%Y-%m-%d}",
            one.released_at is not None,
        ),
    )  # fmt: skip


def quarantine(
    as_of: AsOfOption = None, as_csv: CsvOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the orders that wait because their sender was not verified, or was never named by the client.

    Example: prooftrail quarantine --json

    Decide with: prooftrail record, command release-order or reject-order.
    """
    form = form_of(as_csv, as_json)
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.quarantine(as_of=then)
    print_register(
        form, "orders", OrderSummary, found, ("order", "client", "subject", "received (UTC)"),
        lambda one: (one.order_id, one.client_id, one.subject_id, f"{one.received_at:%Y-%m-%d %H:%M}"),
    )  # fmt: skip


def retention(
    subject: SubjectOption,
    as_of: AsOfOption = None,
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say until when each class of a person's data is kept, and until when the law requires it.

    Example: prooftrail retention --subject ID
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        found = projections.retention(subject_id, as_of=then)
    print_register(
        form, "terms", Term, found, ("kept as", "runs from", "until", "by law until"),
        lambda one: (one.retention_class, _day(one.started_at), _day(one.until), _day(one.mandatory_until)),
        subject=subject_id,
    )  # fmt: skip


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"


def answer(
    subject: SubjectOption, to: ToOption, as_of: AsOfOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Write the answer to a person who asks what is held of them (GDPR Art. 15): answer.json and answer.md.

    Example: prooftrail answer --subject ID --to answers/ID

    Hand them over, then record deliver-answer with the digest that is printed.
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        written = write_answer(answer_of(projections, ledger, subject_id, as_of=then), to)
    _print(Output(as_json), to, written)


def export(subject: SubjectOption, to: ToOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Write what a person may take along (GDPR Art. 20): export.json and export.csv, never cut.

    Example: prooftrail export --subject ID --to exports/ID
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        # Both files are of one position: what is recorded meanwhile is in neither.
        position = max(1, projections.catch_up())
        written = write_export(lambda: portable(projections, subject_id, as_of=position), to)
    _print(Output(as_json), to, written)


def _print(output: Output, to: Path, written: list[Written]) -> None:
    if output.as_json:
        output.document(written)
        return
    for file in written:
        output.say(f"{path_text(to / file.name)}  {file.bytes} bytes  sha256 {file.sha256}")
