"""api-key create, list, revoke: the API keys of services that use the HTTP door."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import DataOption, JsonOption, identifier, word
from api.cli.output import Output
from api.settings import API_KEYS_FILE, now, read_settings
from ledger.vocabulary import ActorId, Word, check_word, new_id

if TYPE_CHECKING:
    from pathlib import Path

    from api.http.identity.api_keys import ApiKey, ApiKeys


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(help="The API keys of services that use the HTTP door.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(every)
    group.command("revoke")(revoke)
    app.add_typer(group, name="api-key")


def create(
    name: Annotated[
        str, typer.Option("--name", metavar="WORD", help="What the key is for, in one word such as billing.")
    ],
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="ID", help="Whom its acts are recorded under (default: a new id)."),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3653, help="How long it holds.")] = 365,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key for a service and print it, this once: only a digest of it is kept.

    Example: prooftrail api-key create --name billing > billing.key

    To replace a key without a gap make a second one for the same --service, then revoke the first one.
    """
    output = Output(as_json)
    service_id = ActorId(identifier(service, "--service") if service else new_id())
    chosen = Word(word(check_word, name, "--name"))
    made, text = _keys(data).create(service_id=service_id, name=chosen, now=now(), lifetime=timedelta(days=days))
    if as_json:
        output.document({"api_key": text} | _document(made))
        return
    typer.echo(text)
    output.warn(
        f"key {made.id} of service {made.service_id} holds until {_shown(made.expires_at)}; it is not shown again"
    )


def every(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the API keys that were ever made, by id: what they are for, and until when they hold.

    Example: prooftrail api-key list
    """
    output = Output(as_json)
    keys = _keys(data).all()
    if as_json:
        output.document({"api_keys": [_document(key) for key in keys]})
        return
    columns = ("id", "name", "service", "made at", "holds until", "revoked at")
    rows = [
        (key.id, key.name, key.service_id, _shown(key.created_at), _shown(key.expires_at), _shown(key.revoked_at))
        for key in keys
    ]
    output.table(columns, rows)


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key, by its id: the part between the two _.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an API key, for ever: the next request with it is refused, also by a server that is running.

    Example: prooftrail api-key revoke 0123456789abcdef
    """
    output = Output(as_json)
    ended = _keys(data).revoke(key_id, now())
    if as_json:
        output.document(_document(ended))
    else:
        output.say(f"Revoked key {ended.id} ({ended.name}) of service {ended.service_id}")


def _keys(data: Path | None) -> ApiKeys:
    # Slow to load, and no other command needs it.
    from api.http.identity.api_keys import ApiKeys

    settings = read_settings(data)
    settings.check_is_there()
    return ApiKeys(settings.data / API_KEYS_FILE)


def _document(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "service_id": key.service_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _shown(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%MZ")
