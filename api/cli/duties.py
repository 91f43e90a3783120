"""tick, owed: do what time makes due, and say what people owe."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import DataOption, JsonOption, opened
from api.cli.output import Output, counted
from api.cli.tables import CsvOption, form_of, print_register
from projections.duties import Owed, all_owed, run_duties


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("tick")(tick)
    app.command("owed")(owed)


def tick(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Do what time makes due (expiries, lapses, missed deadlines) and list what people owe.

    Example, each hour from cron: prooftrail tick --json

    Safe to run anywhere, any number of times and at once: each act is recorded once.
    """
    output = Output(as_json)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        report = run_duties(projections, ledger, ledger.now())
    if as_json:
        output.document(report)
        return
    output.say(f"{counted(len(report.done), 'act')} recorded, {counted(len(report.overdue), 'duty', 'duties')} overdue")
    if report.done:
        output.table(("duty", "command", "entry"), [(one.duty, one.command, one.index) for one in report.done])
    if report.not_done:
        rows = [(one.duty, one.command, one.reason, one.index) for one in report.not_done]
        output.table(("duty", "command", "not done", "entry"), rows)
    if report.owed:
        owed = [(one.what, one.id, f"{one.due_at:%Y-%m-%d %H:%M}", one.overdue) for one in report.owed]
        output.table(("owed", "id", "due (UTC)", "overdue"), owed)


def owed(
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what should be done already.")] = False,
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people owe: answers to requests, notices, reviews, renewals, the earliest due first.

    Example: prooftrail owed --overdue

    It records nothing; `prooftrail tick` does what the clock can do by itself.
    """
    form = form_of(as_csv, as_json)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        now = ledger.now()
        found = [one for one in all_owed(projections, ledger, now) if one.overdue or not overdue]
    print_register(
        form, "owed", Owed, found, ("owed", "id", "due (UTC)", "overdue"),
        lambda one: (one.what, one.id, f"{one.due_at:%Y-%m-%d %H:%M}", one.overdue), at=now,
    )  # fmt: skip
