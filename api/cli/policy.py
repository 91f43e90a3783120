"""policy show, policy check, policy adopt: what the company may do with personal data, as data."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import ActorOption, DataOption, JsonOption, RoleOption, actor, input_bytes, opened
from api.cli.output import Output, counted
from ledger import Ledger
from ledger.command import query_of
from ledger.commands import AdoptPolicy
from ledger.errors import Invalid, PolicyMissing
from ledger.events import PolicyAdopted
from ledger.policy import MAX_POLICY_BYTES, default_policy_text, parse_policy, policy_digest
from ledger.state.policy import policies
from ledger.vocabulary import Role

FileArgument = Annotated[str, typer.Argument(metavar="FILE|-", help="A policy in TOML.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(
        name="policy",
        help="What the company may do with personal data: show it, check a changed one, adopt it.",
        no_args_is_help=True,
    )
    group.command("show")(show)
    group.command("check")(check)
    group.command("adopt")(adopt)
    app.add_typer(group)


def show(
    default: Annotated[bool, typer.Option("--default", help="The one that comes with the program.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the policy in force, byte for byte as it was adopted: change that and adopt it anew.

    Example: prooftrail policy show > policy.toml
    """
    output = Output(as_json)
    index: int | None = None
    if default:
        text = default_policy_text()
    else:
        with opened(data) as (_, ledger):
            index, text = _in_force(ledger)
    if as_json:
        policy = parse_policy(text)
        output.document({"index": index, "version": policy.version, "sha256": policy_digest(text), "policy": policy})
    else:
        typer.echo(text, nl=False)


def check(file: FileArgument, as_json: JsonOption = False) -> None:
    """Say whether a policy could be adopted, or what is wrong with it and on which line. Needs no ledger.

    Example: prooftrail policy check policy.toml
    """
    output = Output(as_json)
    text = policy_text(file)
    policy = parse_policy(text)
    if as_json:
        output.document({"version": policy.version, "sha256": policy_digest(text), "activities": [*policy.activities]})
        return
    activities = counted(len(policy.activities), "processing activity", "processing activities")
    output.say(f"policy {policy.version} is valid: {activities}, {counted(len(policy.fields), 'field')}")


def adopt(
    file: FileArgument,
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a policy in force from here on. What was decided before stays as it was decided, and is explained so.

    Example: prooftrail policy adopt policy.toml --as officer
    """
    output = Output(as_json)
    text = policy_text(file)
    with opened(data) as (_, ledger):
        receipt = ledger.record(AdoptPolicy(text=text), actor(role, actor_id))
    version = parse_policy(text).version
    if as_json:
        output.document({"index": receipt.index, "version": version, "activities_registered": len(receipt.entries) - 1})
        return
    changed = counted(len(receipt.entries) - 1, "activity", "activities")
    output.say(f"policy {version} is in force from entry {receipt.index}; {changed} new or changed")


def policy_text(name: str) -> str:
    """Return the text of a policy file, not checked further. Raises Usage, and Invalid for what is no UTF-8."""
    try:
        return input_bytes(name, MAX_POLICY_BYTES, "the policy").decode()
    except UnicodeDecodeError as error:
        raise Invalid("policy", f"is not UTF-8 (byte {error.start})") from None


def _in_force(ledger: Ledger) -> tuple[int, str]:
    found = None
    for recorded in ledger.read(query_of(policies())):
        if isinstance(recorded.event, PolicyAdopted):
            found = recorded.index, recorded.event.text
    if found is None:
        raise PolicyMissing
    return found
