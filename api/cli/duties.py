"""tick: do what time makes due, and say what people owe."""

from __future__ import annotations

import typer

from api.cli.options import DataOption, JsonOption, opened
from api.cli.output import Output, counted
from projections.duties import run_duties


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("tick")(tick)


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
