"""Explanations: the facts that a decision rested on, and the rules that decided it.

A decision depends on the events in its command's boundary and on nothing else, and the append condition made sure that
nothing came between. So the boundary of the command that recorded an event, read up to that event, is what it rested
on: the same answer whenever it is asked. A decision that was not recorded is explained before it is made, by deciding
it without recording.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

import ledger.commands
from ledger.command import BY_NAME, Boundary, Command, Recorded, query_of
from ledger.entry import format_moment
from ledger.errors import Invalid, Refused
from ledger.events import Actor, PolicyAdopted
from ledger.ledger import Ledger
from ledger.rule import Rule
from ledger.state.policy import policies
from ledger.vocabulary import Reference, Sha256Hex

assert ledger.commands.__all__  # importing it is what fills BY_NAME


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that a decision rested on."""

    index: int
    topic: str
    recorded_at: str


class PolicyOfDay(msgspec.Struct, frozen=True, kw_only=True):
    """The policy that was in force, and the entry that adopted it."""

    index: int
    version: Reference
    sha256: Sha256Hex


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why something was allowed or refused. `index` is None for a decision that is not recorded.

    `refusal` is the reason's code, None when it was allowed; `rules` are those that can give it then, else all that the
    command enforces. `facts` are in the order of the log.
    """

    index: int | None
    command: str
    allowed: bool
    refusal: str | None
    rules: tuple[Rule, ...]
    policy: PolicyOfDay | None
    facts: tuple[Ground, ...]


def explain(log: Ledger, index: int) -> Explanation:
    """Explain the decision recorded at `index`. Raises Invalid beyond the end, and for what no command decided."""
    recorded = Recorded.parse(log.entry(index))
    event = recorded.event
    refusal = getattr(event, "reason", None)
    for command in BY_NAME.values():
        # A denial of use is kept by several commands: it says of which.
        of_this = getattr(event, "command", command.NAME) == command.NAME
        if of_this and isinstance(event, command.KEEPS) and _refuses(command, refusal):
            return _of_recorded(log, command, recorded, refusal)
    for command in BY_NAME.values():
        if isinstance(event, command.RECORDS) and command.decided(event):
            return _of_recorded(log, command, recorded, None)
    raise Invalid("index", f"entry {index} was decided by no command")


def explain_command(log: Ledger, command: Command, actor: Actor) -> Explanation:
    """Explain what would be decided now, recording nothing. Raises Invalid when the command itself is malformed."""
    command.check()
    boundary = command.boundary()
    facts = [*log.read(query_of(boundary))] if boundary else []
    refusal: str | None = None
    try:
        decision, _ = log.decide(command, actor)
        if decision.refusal is not None:
            refusal = decision.refusal.code
    except Refused as error:
        refusal = error.code
    return _explanation(log, type(command), facts, index=None, end=log.size(), refusal=refusal)


def _of_recorded(log: Ledger, command: type[Command], recorded: Recorded, refusal: str | None) -> Explanation:
    # An event says what its command said under the same names, as far as a boundary asks.
    boundary = command.boundary(cast(Any, recorded.event))
    end = _first_of_request(log, command, recorded, boundary)
    facts = [*log.read(query_of(boundary), end=end)] if boundary else []
    return _explanation(log, command, facts, index=recorded.index, end=end, refusal=refusal)


def _first_of_request(log: Ledger, command: type[Command], recorded: Recorded, boundary: Boundary) -> int:
    """Return the index of the first event that was recorded together with this one: they did not rest on each other.

    Two requests with one boundary never stand in one transaction if what they record lies in it; so same actor, moment
    and boundary means same request, wherever it makes a difference.
    """
    first = recorded.index
    for before in range(recorded.index - 1, -1, -1):
        other = Recorded.parse(log.entry(before))
        same = (other.recorded_at, other.event.by) == (recorded.recorded_at, recorded.event.by)
        if not same or not isinstance(other.event, command.RECORDS):
            break
        if command.boundary(cast(Any, other.event)) != boundary:
            break
        first = before
    return first


def _refuses(command: type[Command], reason: str | None) -> bool:
    return reason is not None and any(reason in rule.refusals for rule in command.RULES)


def _explanation(
    log: Ledger, command: type[Command], facts: list[Recorded], *, index: int | None, end: int, refusal: str | None
) -> Explanation:
    rules = command.RULES if refusal is None else tuple(r for r in command.RULES if refusal in r.refusals)
    return Explanation(
        index=index,
        command=command.NAME,
        allowed=refusal is None,
        refusal=refusal,
        rules=rules or command.RULES,
        policy=_policy_of_day(log, end),
        facts=tuple(
            Ground(index=f.index, topic=f.event.TOPIC, recorded_at=format_moment(f.recorded_at)) for f in facts
        ),
    )


def _policy_of_day(log: Ledger, end: int) -> PolicyOfDay | None:
    """Return the policy in force before entry `end`, also where the decision itself read none."""
    in_force = None
    for adopted in log.read(query_of(policies()), end=end):
        if isinstance(adopted.event, PolicyAdopted):
            event = adopted.event
            in_force = PolicyOfDay(index=adopted.index, version=event.version, sha256=event.sha256)
    return in_force
