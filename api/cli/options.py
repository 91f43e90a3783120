"""The options that commands share, and how their values are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.failure import Usage
from api.settings import Settings, read_settings
from ledger import Actor, Ledger
from ledger.command import EARLIEST, LATEST
from ledger.errors import Invalid
from ledger.events import SYSTEM
from ledger.vocabulary import ActorId, Role, check_id

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The data directory (default: $PROOFTRAIL_DATA, else ./prooftrail-data).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RoleOption = Annotated[Role, typer.Option("--as", metavar="ROLE", help=f"In which role: {', '.join(Role)}.")]
ActorOption = Annotated[
    str | None,
    typer.Option("--actor", metavar="ID", help="Who acts, an opaque id (default: the operator of this machine)."),
]
SubjectOption = Annotated[str, typer.Option("--subject", metavar="ID", help="The person, by id.")]

STANDARD_INPUT: Final = "-"


@contextmanager
def opened(data: Path | None) -> Iterator[tuple[Settings, Ledger]]:
    """Open the ledger that the options name, and close it whatever happens."""
    settings = read_settings(data)
    with settings.open() as ledger:
        yield settings, ledger


def actor(role: Role, actor_id: str | None) -> Actor:
    """Return who acts. Raises Usage."""
    return Actor(id=ActorId(identifier(actor_id, "--actor")) if actor_id else SYSTEM.id, role=role)


def identifier(text: str, option: str) -> str:
    """Return an id. Raises Usage, naming the option and not the value."""
    try:
        return check_id(text, option)
    except Invalid as error:
        raise Usage(f"{error}; `prooftrail new-id` makes one") from None


def word(check: Callable[[str, str], str], text: str, option: str) -> str:
    """Return a word that passes a check of the vocabulary. Raises Usage, naming the option and not the value."""
    try:
        return check(text, option)
    except Invalid as error:
        raise Usage(str(error)) from None


def moment(text: str | None, option: str) -> datetime | None:
    """Return a moment in ISO 8601 with its zone. Raises Usage: a time without one is a different moment elsewhere."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Usage(f"{option}: is a moment such as 2026-11-22T10:00:00Z or 2026-11-22T12:00:00+02:00") from None
    if found.tzinfo is None:
        raise Usage(f"{option}: has no time zone, so it could be several moments; add Z for UTC, or an offset: +02:00")
    if not EARLIEST <= found <= LATEST:
        raise Usage(f"{option}: is not between {EARLIEST:%Y} and {LATEST:%Y}")
    return found


def input_bytes(name: str, limit: int, what: str) -> bytes:
    """Return the content of a file, or of standard input for `-`. Raises Usage when it is absent or too large."""
    try:
        if name == STANDARD_INPUT:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise Usage(f"{what}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise Usage(f"{what}: is not the name of a file") from None
    if len(data) > limit:
        raise Usage(f"{what}: is larger than {limit} bytes")
    return data
