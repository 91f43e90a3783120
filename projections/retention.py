"""Retention: until when each class of a person's data is kept, and whose periods are over.

Rows find candidates quickly; what holds is what the write side's own fold says of the person's events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ledger import Ledger
from ledger.command import Boundary, Command, Past, query_of
from ledger.commands import DestroyKeys, ExpireRetention
from ledger.deadline import add_months
from ledger.events import BY_TOPIC, ErasureDeferred, Event, KeyDestroyed
from ledger.policy import Policy
from ledger.state.erasure import deferred, open_decisions
from ledger.state.hold import hold_on, holds_over
from ledger.state.policy import policies, policy
from ledger.state.restriction import KEEPING, binding
from ledger.state.retention import Term, everything, expired, kept_by_law, terms
from ledger.storage.engine import QueryItem
from ledger.vocabulary import ErasureOutcome, RetentionClass, SubjectId
from projections.duties import duty
from projections.projection import AsOf, Item, Projection, bound, text
from projections.storage.store import Row, Store, Writer

if TYPE_CHECKING:
    from projections import Projections

_CANDIDATES: Final = """
SELECT subject FROM kept WHERE retention_class = ?
GROUP BY subject
HAVING max(recorded_at) <= ? AND max(CASE destroyed WHEN 0 THEN idx END) > max(CASE destroyed WHEN 1 THEN idx ELSE -1 END)
ORDER BY subject
"""  # noqa: E501


def _sealing() -> dict[type[Event], Any]:
    """Return the kinds of events that may hold personal values."""
    return dict.fromkeys(kind for kind in BY_TOPIC.values() if kind.PERSONAL or kind.PERSONAL_MAP)


class Retention(Projection):
    """What is kept under whose key."""

    NAME: ClassVar[str] = "retention"
    VERSION: ClassVar[int] = 1
    EVENTS: ClassVar[Mapping[type[Event], Any]] = {**_sealing(), KeyDestroyed: None}

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        kept: list[Row] = []
        for item in batch:
            event: Any = item.event
            if isinstance(event, KeyDestroyed):
                kept.append((item.index, event.subject_id, item.recorded_at, event.retention_class, 1))
            elif item.entry.sealed and (subject := getattr(event, "subject_id", None)) is not None:
                kept.append((item.index, subject, item.recorded_at, event.retention, 0))
        writer.insert("kept", kept)

    def retention(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Term, ...]:
        """Return the period of each class in which something of a subject was kept; none before any policy."""
        past = self._past(subject_id, as_of)
        in_force = policy(past)
        return () if in_force is None else tuple(terms(past, subject_id, in_force).values())

    def due(self, retention_class: RetentionClass, before: datetime) -> list[SubjectId]:
        """Return who has something in a class, none of it recorded after `before`: candidates, no more."""
        with self._store.read() as rows:
            return [SubjectId(subject) for (subject,) in rows(_CANDIDATES, retention_class, text(before))]

    def over(self, subject_id: SubjectId, retention_class: RetentionClass, now: datetime) -> Term | None:
        """Return the period of a class that is over and that nothing keeps from expiring, else None."""
        past = self._past(subject_id, None)
        in_force = policy(past)
        if in_force is None or hold_on(holds_over(past, subject_id), retention_class) is not None:
            return None
        if any(one.ground in KEEPING for one in binding(past, subject_id)):
            return None
        return expired(past, subject_id, in_force, now).get(retention_class)

    def released(self, now: datetime) -> Iterator[tuple[SubjectId, RetentionClass, int]]:
        """Yield the erasures that were decided and deferred and that nothing keeps any more, and where it was said.

        The release of a hold runs what it deferred of its own record; of another one of the same person the clock does.
        """
        last: dict[SubjectId, int] = {}
        for recorded in self._ledger.read((QueryItem((ErasureDeferred.TOPIC,)),)):
            if isinstance(recorded.event, ErasureDeferred):
                last[recorded.event.subject_id] = recorded.index
        for subject_id, index in last.items():
            past = self._past(subject_id, None)
            decided, holds = open_decisions(past), holds_over(past, subject_id)
            by_law = kept_by_law(past, subject_id, now)
            for name in sorted(deferred(past)):
                # What was booked since it was decided is kept by law first.
                waits = hold_on(holds, name) is not None or name in by_law
                if decided.get(name) is ErasureOutcome.ERASED and not waits:
                    yield subject_id, name, index

    def in_force(self, *, as_of: AsOf = None) -> Policy | None:
        """Return the policy in force as of then, None before any."""
        return policy(self._read(policies(), as_of))

    def _past(self, subject_id: SubjectId, as_of: AsOf) -> Past:
        return self._read((*everything(subject_id), *policies()), as_of)

    def _read(self, boundary: Boundary, as_of: AsOf) -> Past:
        end, moment = bound(as_of)
        past = Past()
        query = query_of(boundary)
        for recorded in self._ledger.read(query, end=min(end, self._ledger.size())):
            if text(recorded.recorded_at) <= moment:
                past.all.append(recorded)
        return past


@duty("retention-expiry")
def expiries(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    """A class whose period is over is erased."""
    in_force = projections.policy()
    if in_force is None:
        return
    for retention_class, rule in in_force.retention.items():
        # No period runs from earlier than the last thing that is kept in its class.
        day = add_months(now.date(), -rule.months)
        before = datetime.combine(day, now.timetz())
        for subject_id in projections.kept_since(retention_class, before):
            term = projections.over(subject_id, retention_class, now)
            if term is not None and term.until is not None:
                command = ExpireRetention(subject_id=subject_id, retention_class=retention_class)
                yield command, f"{subject_id}:{retention_class}:{text(term.until)}"


@duty("deferred-erasure")
def deferred_erasures(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    """A decided erasure that a hold deferred is carried out once no hold does."""
    for subject_id, retention_class, index in projections.released_erasures(now):
        command = DestroyKeys(subject_id=subject_id, retention_classes=(retention_class,))
        yield command, f"{subject_id}:{retention_class}:{index}"
