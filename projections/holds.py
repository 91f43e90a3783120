"""Legal holds: which stand, since when, for which case, and when each is looked at again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from ledger import Ledger
from ledger.entry import parse_moment
from ledger.events import Event, LegalHoldPlaced, LegalHoldReleased, LegalHoldReviewed
from ledger.vocabulary import ActorId, CaseId, HoldId, RetentionClass, SubjectId, Word
from projections.duties import Owed, debt
from projections.projection import AsOf, Item, Projection, bound, text
from projections.storage.store import Row, Store, Writer

if TYPE_CHECKING:
    from projections import Projections


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as it was known. `placed` is an index; `released_at` is None while it stands. No class named: all."""

    hold_id: HoldId
    subject_id: SubjectId
    case_id: CaseId
    ground: Word
    owner: ActorId
    retention_classes: tuple[RetentionClass, ...]
    placed: int
    placed_at: datetime
    review_at: datetime
    released_at: datetime | None


_OF_SUBJECT: Final = "SELECT * FROM hold_steps WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx"
_ALL: Final = "SELECT * FROM hold_steps WHERE idx < ? AND recorded_at <= ? ORDER BY idx"


class Holds(Projection):
    """Every step of every hold."""

    NAME: ClassVar[str] = "holds"
    VERSION: ClassVar[int] = 1
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys((LegalHoldPlaced, LegalHoldReviewed, LegalHoldReleased))

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        steps: list[Row] = []
        for item in batch:
            event: Any = item.event
            case_id = ground = owner = classes = None
            if isinstance(event, LegalHoldPlaced):
                case_id, ground, owner = event.case_id, event.ground, event.owner
                classes = msgspec.json.encode(event.retention_classes).decode()
            review_at = text(event.review_at) if hasattr(event, "review_at") else None
            steps.append(
                (
                    item.index, event.hold_id, event.subject_id, item.recorded_at, event.TOPIC, case_id, ground,
                    owner, review_at, classes,
                )
            )  # fmt: skip
        writer.insert("hold_steps", steps)

    def holds(
        self, subject_id: SubjectId | None = None, *, as_of: AsOf = None, open_only: bool = False
    ) -> tuple[Hold, ...]:
        """Return the holds on a subject's data, or all, in the order they were placed."""
        with self._store.read() as rows:
            found = rows(_ALL, *bound(as_of)) if subject_id is None else rows(_OF_SUBJECT, subject_id, *bound(as_of))
        by_id: dict[str, list[Row]] = {}
        for row in found:
            by_id.setdefault(row[1], []).append(row)
        holds = tuple(map(_hold, by_id.values()))
        return tuple(hold for hold in holds if hold.released_at is None) if open_only else holds


def _hold(steps: Sequence[Row]) -> Hold:
    index, hold_id, subject_id, recorded_at, _, case_id, ground, owner, _, classes = steps[0]
    released = next((step for step in steps if step[4] == LegalHoldReleased.TOPIC), None)
    review_at = [step[8] for step in steps if step[8] is not None][-1]
    return Hold(
        hold_id=hold_id,
        subject_id=subject_id,
        case_id=case_id,
        ground=ground,
        owner=owner,
        retention_classes=msgspec.json.decode(classes, type=tuple[RetentionClass, ...]),
        placed=index,
        placed_at=parse_moment(recorded_at),
        review_at=datetime.fromisoformat(review_at),
        released_at=None if released is None else parse_moment(released[3]),
    )


@debt("review-hold")
def reviews(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    """Every hold that stands is looked at again."""
    for hold in projections.holds(open_only=True):
        yield Owed(what=Word("review-hold"), id=hold.hold_id, due_at=hold.review_at, overdue=now > hold.review_at)
