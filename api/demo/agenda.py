"""Working time and what is due in it: the clock of the demo's story, which is no real one.

Time is counted in worked milliseconds since the year began: weekdays, twelve hours each, so that a delay of a few
hours runs over a night or a weekend. Integers only, hence the same on every machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from api.demo.steps import Step

Act = Callable[[datetime], Step]

YEAR = 2026
HOUR_MS = 3_600_000
DAY_MS = 12 * HOUR_MS
_OPENS = time(6, tzinfo=UTC)  # 8:00 in Tallinn in winter, 9:00 in summer
_DAYS = tuple(
    day
    for day in (date(YEAR, 1, 2) + timedelta(days=offset) for offset in range(364))  # 1 January is a holiday
    if day.weekday() < 5
)
YEAR_MS = len(_DAYS) * DAY_MS


def moment(worked_ms: int) -> datetime:
    """Return the UTC moment when so many milliseconds (below YEAR_MS) have been worked since the year began."""
    day, rest_ms = divmod(worked_ms, DAY_MS)
    return datetime.combine(_DAYS[day], _OPENS) + timedelta(milliseconds=rest_ms)


class Agenda:
    """Acts by the time they are due; time goes forward at least one millisecond with each act."""

    def __init__(self) -> None:
        self.now_ms = -1
        self._due: list[tuple[int, int, Act]] = []
        self._added = 0

    def add(self, due_ms: int, act: Act) -> None:
        """Note an act; of two due together, the one added first comes first."""
        self._added += 1
        heapq.heappush(self._due, (due_ms, self._added, act))

    def next_due(self, by_ms: int | None) -> Act | None:
        """Take out the earliest act due by then (None: whenever) and go forward to its time, or return None."""
        if not self._due or (by_ms is not None and self._due[0][0] > by_ms):
            return None
        due_ms, _, act = heapq.heappop(self._due)
        self.go_to(due_ms)
        return act

    def go_to(self, worked_ms: int) -> None:
        """Go forward to that time, or past the last act if it is over already."""
        self.now_ms = max(worked_ms, self.now_ms + 1)

    def now(self) -> datetime:
        """Return the present moment of the story."""
        return moment(self.now_ms)
