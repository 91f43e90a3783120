"""token: access tokens of the local issuer, for the HTTP door of a ledger without an identity provider."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from api.cli.failure import Usage
from api.cli.options import DataOption, JsonOption, identifier
from api.cli.output import Output
from api.settings import now, read_settings
from ledger.errors import Invalid
from ledger.vocabulary import ActorId, ClientId, Role


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("token")(token)


def token(
    role: Annotated[Role, typer.Option("--role", metavar="ROLE", help=f"In which role: {', '.join(Role)}.")],
    subject: Annotated[
        str,
        typer.Option("--subject", metavar="ID", help="Whom it is for: the person, the employee or the service, by id."),
    ],
    client: Annotated[
        str | None, typer.Option("--client", metavar="ID", help="The client that a client-user acts for.")
    ] = None,
    hours: Annotated[int, typer.Option("--hours", min=1, max=24, help="How long it holds.")] = 8,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print an access token for `prooftrail serve`, signed by the key in the data directory.

    Example: prooftrail token --role support --subject $(prooftrail new-id)

    Example: curl -H "Authorization: Bearer $(prooftrail token --role subject --subject ID)" ...

    Whoever holds a token acts as the one it is for, until it ends; none can be called back. To end all of them delete
    the file token-key and restart. With PROOFTRAIL_OIDC_ISSUER set these tokens are not taken, unless
    PROOFTRAIL_LOCAL_TOKENS=1.
    """
    # PyJWT and its algorithms are slow to load, and no other command needs them.
    from api.http.identity import local_issuer

    settings = read_settings(data)
    settings.check_is_there()
    try:
        made = local_issuer(settings).token(
            role=role,
            actor_id=ActorId(identifier(subject, "--subject")),
            client_id=None if client is None else ClientId(identifier(client, "--client")),
            now=now(),
            lifetime=timedelta(hours=hours),
        )
    except Invalid:
        raise Usage("--client: the client that a client-user acts for is needed, and no other role has one") from None
    output = Output(as_json)
    if not settings.local_tokens:
        output.warn("by these settings the HTTP door does not take this token: see PROOFTRAIL_LOCAL_TOKENS")
    if as_json:
        output.document({"token": made, "token_type": "Bearer", "expires_in": hours * 3600})
    else:
        typer.echo(made)
