"""state, lookup: what is held about a person, and whose an identifier is."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from api.cli.failure import Usage
from api.cli.options import DataOption, JsonOption, SubjectOption, identifier, moment, opened
from api.cli.output import Output, counted
from ledger.vocabulary import IdentifierKind, SubjectId
from projections import FieldState, IdentifierState, SubjectState, ValueState

# The longest e-mail address is 320 characters (RFC 5321 §4.5.3.1); what is longer is no identifier.
MAX_LINE: Final = 1_024


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("state")(state)
    app.command("lookup")(lookup)


def state(
    subject: SubjectOption,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="What was known then, with zone (default: now)."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the personal data held of a person, now or as it was known at a moment.

    Example: prooftrail state --subject ID --as-of 2026-06-30T23:59:59+03:00

    The version of a field is the entry that set it; a correction names the one it replaces.
    """
    output = Output(as_json)
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.state(subject_id, as_of=then)
        set_aside = projections.status().quarantined
    if set_aside:
        output.warn(
            f"{counted(set_aside, 'entry', 'entries')} could not be taken in, so something may be missing here; "
            "`prooftrail rebuild` names them"
        )
    if as_json:
        output.document(found)
        return
    whose = f", as the own person of client {found.client_id}" if found.client_id else ""
    output.say(f"Subject {found.subject_id}, {found.role}{whose}", "bold")
    output.say(f"registered at {found.registered_at:%Y-%m-%d %H:%M:%S} UTC, entry {found.registered}")
    output.say(f"as of {found.valid_at:%Y-%m-%d %H:%M:%S} UTC")
    if found.fields:
        output.table(("field", "value", "true since", "purpose", "basis", "version"), _field_rows(found))
    if found.identifiers:
        rows = [(one.kind, _value(one), one.version) for one in found.identifiers]
        output.table(("known by", "value", "version"), rows)


def _field_rows(found: SubjectState) -> list[tuple[object, ...]]:
    return [
        (name, _value(one), f"{one.valid_from:%Y-%m-%d %H:%M}", one.purpose, one.basis, one.version)
        for name, one in found.fields.items()
    ]


def _value(one: FieldState | IdentifierState) -> Any:
    return one.value if one.state is ValueState.PRESENT else f"<{one.state.value}>"


def lookup(
    kind: Annotated[IdentifierKind, typer.Argument(metavar="KIND", help="email, phone or personal-code.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find who an e-mail address, phone number or personal code belongs to. It is read from standard input.

    Example: prooftrail lookup email < address.txt

    On a terminal it asks. The value is no option, as the shell keeps a history of those.
    """
    output = Output(as_json)
    value = _asked(kind)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.lookup(kind, value)
    if as_json:
        output.document({"kind": kind, "subjects": found})
    elif found:
        for subject_id in found:
            typer.echo(subject_id)
    else:
        output.warn("nobody is known by it")


def _asked(kind: IdentifierKind) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(str(kind), err=True))
    line = sys.stdin.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise Usage(f"the {kind} on standard input is longer than any is")
    if not line.strip():
        raise Usage(f"the {kind} is read from standard input, and there was none")
    return line.strip()
