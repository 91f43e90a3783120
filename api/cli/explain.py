"""explain: why something was allowed or refused: the facts it rested on, the rules, and the policy of its day."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.failure import Usage
from api.cli.options import ActorOption, DataOption, JsonOption, RoleOption, actor, input_bytes, opened
from api.cli.output import Output, counted
from api.command_json import parse_command
from ledger.explain import Explanation, explain, explain_command
from ledger.vocabulary import Role


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command("explain")(explain_decision)


def explain_decision(
    index: Annotated[int | None, typer.Argument(metavar="[INDEX]", min=0, help="The entry to explain.")] = None,
    command: Annotated[
        str | None,
        typer.Option("--command", metavar="FILE|-", help="Explain this command instead, recording nothing."),
    ] = None,
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a decision was made: the entries it rested on, the rules that decided it, the policy of that day.

    Example: prooftrail explain 41

    Example: prooftrail commands withdraw-consent --json | jq -c .example | prooftrail explain --command -

    An entry is explained the same whenever it is asked. A command is decided as it would be now, and not recorded.
    """
    output = Output(as_json)
    if (index is None) == (command is None):
        raise Usage("an INDEX or --command is needed, and not both")
    with opened(data) as (settings, ledger):
        if index is not None:
            found = explain(ledger, index)
        else:
            limit = settings.limits.order_bytes * 4 // 3 + 65_536
            asked = parse_command(input_bytes(command or "", limit, "--command"))
            found = explain_command(ledger, asked.command, actor(role, actor_id))
    if as_json:
        output.document(found)
        return
    _print(output, found)


def _print(output: Output, found: Explanation) -> None:
    what = f"entry {found.index}, {found.command}" if found.index is not None else f"{found.command}, not recorded"
    output.say(f"{what}: {'allowed' if found.allowed else f'refused, {found.refusal}'}", "bold")
    if found.policy is None:
        output.say("no policy was in force")
    else:
        output.say(f"policy {found.policy.version}, adopted in entry {found.policy.index}")
    rows = [(rule.id, rule.clause, rule.promise, rule.source) for rule in found.rules]
    output.table(("rule", "clause", "promise", "source"), rows)
    output.say(f"It rested on {counted(len(found.facts), 'entry', 'entries')}")
    if found.facts:
        output.table(("#", "recorded at", "event"), [(one.index, one.recorded_at, one.topic) for one in found.facts])
