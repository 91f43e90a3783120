"""copy: the same ledger in another place, on another engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.failure import Usage
from api.cli.options import DataOption, JsonOption, opened
from api.cli.output import Output, counted, path_text
from api.settings import copied_settings
from ledger.copy import copy_ledger
from ledger.errors import Invalid
from ledger.storage.server import DEFAULT_SCHEMA, Server

# What a connection string begins with; a directory of such a name is written ./name=.
_DSN: Final = re.compile(r"postgres(ql)?://|\w+\s*=")


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command("copy")(copy)


def copy(
    to: Annotated[str, typer.Option("--to", metavar="DSN|DIR", help="A PostgreSQL connection string, or a directory.")],
    schema: Annotated[
        str, typer.Option("--schema", metavar="NAME", help="The schema of the copy on its server.")
    ] = DEFAULT_SCHEMA,
    to_data: Annotated[
        Path | None,
        typer.Option(
            "--to-data",
            metavar="DIR",
            help="With a DSN: the copy's own data directory, for its guard and key files (default: <data>-<schema>).",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the ledger to another place and engine, byte for byte. Every receipt and checkpoint holds for the copy too.

    Example: prooftrail copy --to "host=db.example dbname=ledger user=owner"

    Example: prooftrail copy --to /srv/ledger-copy

    The source is only read. A copy that was cut off does not open: run it again, and it goes on. Run it again too when
    something was recorded since. Then record in one of the two only: both sign with the same key, so two different
    entries of one number would prove to anybody that the ledger cheats.

    The data keys are copied as they are wrapped, and the key files too; the copy has a guard of its own. Passwords
    belong into ~/.pgpass, not into the DSN.
    """
    output = Output(as_json)
    with opened(data) as (settings, ledger):
        if _DSN.match(to):
            try:
                server: Server | None = Server(dsn=to, schema=schema)
            except Invalid as error:
                raise Usage(f"--{error}") from None
            directory = to_data or settings.data.with_name(f"{settings.data.absolute().name}-{schema}")
        else:
            server, directory = None, Path(to)
            if to_data is not None:
                raise Usage("--to-data: is for a copy on a server; a directory holds everything itself")
        if directory.resolve() == settings.data.resolve():
            raise Usage("--to: the copy needs a directory of its own, as its guard lies there")
        kek, signer = settings.kek(), settings.signer()
        target = copied_settings(settings, directory, server)
        with output.progresses() as tell:
            found = copy_ledger(ledger, target.place, kek=kek, signer=signer, progress=tell)
    if as_json:
        output.document(
            {
                "size": found.size,
                "root": found.root.hex(),
                "found": found.found,
                "keys": found.keys,
                "data": path_text(directory),
                "schema": schema if server else None,
            }
        )
        return
    there = f", of which {found.found:,} were there" if found.found else ""
    output.say(f"Copied and compared: {counted(found.size, 'entry', 'entries')}{there}; the root is the same", "bold")
    if server is not None:
        output.say(f"  {directory}: its guard and key files")
        output.say(f"To use it: PROOFTRAIL_DSN='…' PROOFTRAIL_SCHEMA={schema} PROOFTRAIL_DATA={directory}")
    output.say(f"Next: prooftrail verify --data {directory}, and prooftrail rebuild; record in one of the two only")
