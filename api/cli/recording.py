"""register, record, commands: putting facts into the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO, Final

import typer

from api.cli.failure import REFUSED, Usage, failure_of
from api.cli.options import (
    STANDARD_INPUT,
    ActorOption,
    DataOption,
    JsonOption,
    RoleOption,
    actor,
    identifier,
    input_bytes,
    opened,
)
from api.cli.output import Output, encode
from api.command_json import COMMANDS, describe, example, parse_command, parse_object, summary
from ledger import Receipt, canonical
from ledger.commands import CollectData, RegisterSubject
from ledger.errors import Conflict, Invalid, Refused
from ledger.vocabulary import (
    ClientId,
    LegalBasis,
    Purpose,
    Role,
    SourceKind,
    SubjectId,
    SubjectRole,
    check_word,
    new_id,
)

MAX_FIELDS_BYTES: Final = 1024 * 1024

# An entry holds at most 65,535 bytes, and each field takes its name and its commitment in one.
MAX_FIELDS: Final = 200

# The JSON around the base64 of an order's bytes.
_LINE_OVERHEAD: Final = 65_536


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("register")(register)
    app.command("record")(record)
    app.command("commands")(commands)


# --- register -------------------------------------------------------------------------------------------------


def register(
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="The id to register (default: a fresh one).")
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", metavar="ID", help="Whose own person this is: then we only process.")
    ] = None,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="FILE|-", help='Personal fields: {"given-name":"…","email":"…"}')
    ] = None,
    purpose: Annotated[Purpose, typer.Option(metavar="WORD", help="Why the fields are needed.")] = Purpose.CONTRACT,
    basis: Annotated[LegalBasis, typer.Option(metavar="WORD", help="On which legal basis.")] = LegalBasis.CONTRACT,
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a person, and print their id. Personal values come from a file or standard input, never as options.

    Example: prooftrail register --fields person.json

    Example: echo '{"given-name":"Mari","email":"mari@example.com"}' | prooftrail register --fields -
    """
    output = Output(as_json)
    acting = actor(role, actor_id)
    subject_id = SubjectId(identifier(subject, "--subject") if subject else new_id())
    client_id = ClientId(identifier(client, "--client")) if client else None
    values = _fields(fields) if fields else {}
    with opened(data) as (_, ledger):
        command = RegisterSubject(
            subject_id=subject_id,
            role=SubjectRole.PROCESSOR if client_id else SubjectRole.CONTROLLER,
            client_id=client_id,
        )
        receipt = ledger.record(command, acting)
        try:
            if values:
                collect = CollectData(
                    subject_id=subject_id, purpose=purpose, basis=basis, source=SourceKind.SUBJECT, values=values
                )
                receipt = ledger.record(collect, acting)
        except Refused:
            output.warn(f"subject {subject_id} is registered, its fields are not")
            raise
    if as_json:
        output.document({"subject": subject_id, "position": receipt.position})
    else:
        typer.echo(subject_id)


def _fields(name: str) -> dict[str, Any]:
    """Return the fields in a file, checked before the person is registered: all or nothing. Raises Usage, Invalid."""
    values = parse_object(input_bytes(name, MAX_FIELDS_BYTES, "--fields"))
    if not values:
        raise Usage("--fields: holds no field; leave the option out")
    if len(values) > MAX_FIELDS:
        raise Invalid("--fields", f"holds more than {MAX_FIELDS} fields; record the others with collect-data")
    for field, value in values.items():
        check_word(field, "--fields")
        if value is None:
            raise Invalid(field, "is null: leave the field out")
        # What the ledger would refuse later is refused now: else the person would stand there without the fields.
        canonical.encode(value, f"values.{field}", nested_names=False)
    return values


# --- record ---------------------------------------------------------------------------------------------------


def record(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Commands, one JSON object a line.")],
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out commands, one JSON object a line; a receipt comes out for each. Each succeeds or fails alone.

    Example: prooftrail commands withdraw-consent --json | jq -c .example | prooftrail record -

    With an "idempotency_key" a command can be sent again safely: the same receipt comes back. On a terminal a receipt
    is shown as a short line; into a pipe, or with --json, it is whole: the entries and their proofs, which verify
    offline.
    """
    output = Output(as_json)
    whole = as_json or not output.on_terminal
    acting = actor(role, actor_id)
    failed = done = 0
    with _stream(file) as stream, opened(data) as (settings, ledger):
        limit = settings.limits.order_bytes * 4 // 3 + _LINE_OVERHEAD
        for number, line in _lines(stream, limit):
            done += 1
            name: str | None = None
            try:
                if line is None:
                    raise Invalid("line", f"is longer than {limit} bytes")
                asked = parse_command(line)
                name = asked.command.NAME
                receipt = ledger.record(asked.command, acting, idempotency_key=asked.idempotency_key)
            except (Refused, Conflict) as error:
                failed += 1
                failure = failure_of(error)
                if whole:
                    output.document({"line": number, "command": name, **failure.document()})
                else:
                    output.warn(f"line {number}: {failure.message}")
                continue
            if whole:
                output.document({"line": number, "command": name, **receipt_document(receipt)})
            else:
                output.say(f"line {number}: {name} is entry {receipt.index}")
    if failed:
        if not as_json:
            output.warn(f"{failed} of {done} commands were not carried out")
        raise typer.Exit(REFUSED)


def receipt_document(receipt: Receipt) -> dict[str, object]:
    """Return a receipt as JSON: entries and proofs are text, to be kept byte for byte."""
    return {
        "index": receipt.index,
        "position": receipt.position,
        "entries": [entry.decode() for entry in receipt.entries],
        "proofs": [proof.decode() for proof in receipt.proofs],
    }


def _stream(name: str) -> BinaryIO:
    if name == STANDARD_INPUT:
        return sys.stdin.buffer
    try:
        return open(name, "rb")
    except OSError as error:
        raise Usage(f"the file of commands cannot be read ({error.strerror})") from None


def _lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the numbered lines that are not blank; None stands for one that is longer than `limit`."""
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        too_long = len(line) > limit
        while too_long and line and not line.endswith(b"\n"):
            line = stream.readline(limit + 1)
        if too_long:
            yield number, None
        elif line.strip():
            yield number, line


# --- commands -------------------------------------------------------------------------------------------------


def commands(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One command, with its fields.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what can be recorded; with a NAME, its fields and an example to start from.

    Example: prooftrail commands give-consent
    """
    output = Output(as_json)
    if name is None:
        rows = [(one.NAME, summary(one)) for one in COMMANDS.values()]
        if as_json:
            output.document({"commands": [{"name": word, "summary": text} for word, text in rows]})
        else:
            output.table(("command", "what it does"), rows)
        return
    command = COMMANDS.get(name)
    if command is None:
        raise Usage("there is no command of that name; `prooftrail commands` lists them")
    fields = describe(command)
    if as_json:
        described = [{"name": one.name, "holds": one.holds, "required": one.required} for one in fields]
        output.document(
            {"name": command.NAME, "summary": summary(command), "fields": described, "example": example(command)}
        )
        return
    output.say(f"{command.NAME}: {summary(command)}", "bold")
    output.table(("field", "needed", "holds"), [(one.name, one.required, one.holds) for one in fields])
    output.say("Example:", "bold")
    output.say(f"echo '{encode(example(command))}' | prooftrail record -")
