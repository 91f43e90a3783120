"""Duties that time brings: what is due now, done by commands; and what people owe, by when.

`run_duties` may run anywhere and any number of times: each command carries an idempotency key made of the duty and of
what it is due for, so that two machines that run it at once record it once. A duty looks for candidates in the
projections; the command decides again in the ledger. What does not live here: the duties (beside their projections).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from ledger import Actor, Ledger
from ledger.command import Command
from ledger.errors import Conflict, Refused
from ledger.events import SYSTEM
from ledger.vocabulary import Role, Word

if TYPE_CHECKING:
    from projections import Projections

# Who acts when nobody asks: the same everywhere, as the actor is part of what an idempotency key stands for.
CLOCK: Final = Actor(id=SYSTEM.id, role=Role.SERVICE)

# A command may make another one due, as an expiry does an erasure; more rounds than this are a circle.
MAX_ROUNDS: Final = 10


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people have to do. `what` is the duty, `id` what it is about, `due_at` UTC."""

    what: Word
    id: str
    due_at: datetime
    overdue: bool


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was carried out: `index` is the first entry that it recorded."""

    duty: Word
    command: str
    index: int


class NotDone(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was refused: the code says why, `index` where the refusal itself was recorded."""

    duty: Word
    command: str
    reason: str
    index: int | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did, what it could not do, and what people owe, the earliest due first."""

    at: datetime
    done: tuple[Done, ...]
    not_done: tuple[NotDone, ...]
    owed: tuple[Owed, ...]

    @property
    def overdue(self) -> tuple[Owed, ...]:
        """What should be done already."""
        return tuple(owed for owed in self.owed if owed.overdue)


Find = Callable[["Projections", Ledger, datetime], Iterator[tuple[Command, str]]]
Look = Callable[["Projections", Ledger, datetime], Iterator[Owed]]


class Duty(msgspec.Struct, frozen=True):
    """What the clock does by itself: `find` yields commands, each with `<id>:<due>`, the same at every run."""

    name: Word
    find: Find


class Debt(msgspec.Struct, frozen=True):
    """What the clock can only remind of: `look` yields what people owe."""

    name: Word
    look: Look


_duties: list[Duty] = []
_debts: list[Debt] = []


def duty(name: str) -> Callable[[Find], Find]:
    """Register a function that finds what the clock does. The name is permanent: it stands in idempotency keys."""

    def register(find: Find) -> Find:
        assert name not in {known.name for known in _duties}, name
        _duties.append(Duty(Word(name), find))
        return find

    return register


def debt(name: str) -> Callable[[Look], Look]:
    """Register a function that finds what people owe."""

    def register(look: Look) -> Look:
        assert name not in {known.name for known in _debts}, name
        _debts.append(Debt(Word(name), look))
        return look

    return register


def run_duties(projections: Projections, ledger: Ledger, now: datetime) -> Report:
    """Do what is due at `now` and say what is owed. Raises StorageError; what was done until then stays done.

    A refusal stops nothing: somebody may have done the same meanwhile, and the next run looks again.
    """
    done: list[Done] = []
    tried: dict[str, NotDone | None] = {}
    for _ in range(MAX_ROUNDS):
        projections.catch_up()
        before = len(tried)
        for known in _duties:
            for command, due in known.find(projections, ledger, now):
                key = f"tick:{known.name}:{due}"
                if key in tried or ledger.recorded_under(key) is not None:
                    continue
                outcome = _carry_out(ledger, known.name, command, key)
                tried[key] = outcome if isinstance(outcome, NotDone) else None
                if isinstance(outcome, Done):
                    done.append(outcome)
        if len(tried) == before:
            break
    projections.catch_up()
    return Report(
        at=now,
        done=tuple(done),
        not_done=tuple(outcome for outcome in tried.values() if outcome is not None),
        owed=all_owed(projections, ledger, now),
    )


def all_owed(projections: Projections, ledger: Ledger, now: datetime) -> tuple[Owed, ...]:
    """Return what people owe at `now`, the earliest due first; record nothing. Raises StorageError."""
    owed = [owed for known in _debts for owed in known.look(projections, ledger, now)]
    return tuple(sorted(owed, key=lambda one: (one.due_at, one.what, one.id)))


def _carry_out(ledger: Ledger, name: Word, command: Command, key: str) -> Done | NotDone:
    try:
        receipt = ledger.record(command, CLOCK, idempotency_key=key)
    except Refused as refusal:
        return NotDone(duty=name, command=command.NAME, reason=refusal.code, index=refusal.index)
    except Conflict:
        return NotDone(duty=name, command=command.NAME, reason="conflict", index=None)
    return Done(duty=name, command=command.NAME, index=receipt.index)
