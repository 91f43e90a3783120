"""init, new-id: what comes before the first record."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import DataOption, JsonOption
from api.cli.output import Output, path_text
from api.cli.policy import policy_text
from api.http.access import make_access_log
from api.settings import KEK_FILE, SIGNING_KEY_FILE, read_settings
from ledger.commands import AdoptPolicy
from ledger.events import SYSTEM
from ledger.policy import default_policy_text, parse_policy
from ledger.vocabulary import new_id


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("init")(init)
    app.command("new-id")(fresh_id)


def init(
    origin: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The ledger's name, for ever: a domain you hold and a path."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The policy to start with (default: the one that comes with the program)."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new ledger with its keys and a policy. Overwrites nothing; run it again if it was interrupted.

    Example: prooftrail init --origin example.com/records --data /var/lib/prooftrail

    Keep a copy of the two key files elsewhere: without kek the personal values cannot be read, without signing-key
    nothing can be recorded. The copy of kek is what makes a backup readable, so do not keep it with the backups.

    With PROOFTRAIL_DSN the ledger lies on PostgreSQL, in the schema PROOFTRAIL_SCHEMA (default: records), and the log
    of who reads it in the schema access; keys and guards stay in the directory. Run it on another host, with copies of
    the key files, to record there too; run it again after an update of the program, to bring the schema forward.
    PROOFTRAIL_OWNER_DSN is the login that may make roles and schemas, when the application's may not.
    """
    output = Output(as_json)
    settings = read_settings(data)
    text = default_policy_text() if policy is None else policy_text(policy)
    # Before anything is made: a ledger without the policy that was asked for is not what was asked for.
    version = parse_policy(text).version
    made = settings.initialise(origin)
    with settings.open() as ledger:
        verifier, name = str(ledger.verifier), ledger.origin
        # One with entries goes on as it was: whoever wants a policy there adopts it.
        adopted = ledger.size() == 0
        if adopted:
            ledger.record(AdoptPolicy(text=text), SYSTEM)
    if settings.server is not None:
        # Whoever serves may lack the right to make schemas; in files the log is made when it is first needed.
        make_access_log(settings)
    if as_json:
        document = {"created": made, "data": path_text(settings.data), "origin": name, "key": verifier}
        output.document(document | {"policy": version if adopted else None})
        return
    place = settings.data if settings.server is None else f"schema {settings.server.schema}"
    output.say(f"{'Made' if made else 'There is already'} the ledger {name} in {place}", "bold")
    if settings.kek_text is None:
        output.say(f"  {settings.data / KEK_FILE}: opens the personal values; keep a copy elsewhere")
    output.say(f"  {settings.data / SIGNING_KEY_FILE}: signs the log; keep a copy elsewhere")
    output.say(f"  public key, for whoever verifies: {verifier}")
    if adopted:
        output.say(f"  policy {version} is in force: read it with prooftrail policy show, change it, adopt it")
    elif policy is not None:
        output.warn("the policy was not adopted, as there are entries already; use: prooftrail policy adopt")
    output.say(f"Next: prooftrail register --data {settings.data}")


def fresh_id(as_json: JsonOption = False) -> None:
    """Print a fresh random id, for a subject, client, order, consent or case.

    Example: CLIENT=$(prooftrail new-id)
    """
    made = new_id()
    if as_json:
        Output(as_json).document({"id": made})
    else:
        typer.echo(made)
