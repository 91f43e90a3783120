"""What reading is unusual: many reads, many different people, colleagues, oneself, out of hours. Clause 4.

Fed with reads in the order of the log, it says what went beyond the usual. It keeps no more of a reader than it takes
to tell: so many moments, so many people. What does not live here: where reads come from, and what is done about it
(reading_watch).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from ledger.events import PersonalDataRead
from ledger.state.employee import STAFF
from ledger.vocabulary import ActorId, ReadingFlag, Role, SubjectId

# Readers that are known at once. Of one beyond, whoever read nothing for longest is forgotten.
MAX_READERS: Final = 10_000

WORKING_DAYS: Final = frozenset(range(5))  # Monday is 0


class Usual(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is usual: at most so many reads, and different people, in any `window_s` seconds; working time of the staff.

    Software has limits of its own. Working time is from `opens` to `closes` on `days`, as clocks in `zone` show it;
    public holidays are days like others.
    """

    window_s: int = 3_600
    reads: int = 120
    people: int = 60
    service_reads: int = 20_000
    service_people: int = 10_000
    opens: time = time(7)
    closes: time = time(20)
    days: frozenset[int] = WORKING_DAYS
    zone: str = "Europe/Tallinn"

    @cached_property
    def clock(self) -> ZoneInfo:
        """The time zone of the working time."""
        return ZoneInfo(self.zone)

    def of(self, role: Role) -> tuple[int, int]:
        """Return how many reads and people are usual in a window for somebody in this role."""
        return (self.service_reads, self.service_people) if role is Role.SERVICE else (self.reads, self.people)

    def window(self, at: datetime) -> datetime:
        """Return when the window of a moment began, for what is told once a window."""
        return datetime.fromtimestamp(at.timestamp() // self.window_s * self.window_s, UTC)

    def working_day(self, at: datetime) -> datetime:
        """Return when the working day of a moment began: a night is of the day before it."""
        local = at.astimezone(self.clock)
        start = datetime.combine(local.date(), self.opens, self.clock)
        if local < start:
            start = datetime.combine(local.date() - timedelta(days=1), self.opens, self.clock)
        return start.astimezone(UTC)

    def is_working_time(self, at: datetime) -> bool:
        """Whether the staff is at work at a moment."""
        local = at.astimezone(self.clock)
        return local.weekday() in self.days and self.opens <= local.time() < self.closes


class Finding(msgspec.Struct, frozen=True):
    """Reading beyond the usual: `read` is the index of the entry that went beyond, `count` what was counted by then."""

    reader_id: ActorId
    kind: ReadingFlag
    window_start: datetime
    read: int
    count: int


class _Reader:
    """What is kept of one reader."""

    __slots__ = ("found", "moments", "people")

    def __init__(self, most_reads: int) -> None:
        # The last reads, one more than are usual: all of them within a window are too many.
        self.moments: deque[datetime] = deque(maxlen=most_reads + 1)
        # Whom they read, and when last, the longest ago first.
        self.people: OrderedDict[SubjectId, datetime] = OrderedDict()
        self.found: dict[ReadingFlag, datetime] = {}


class UnusualReadings:
    """Takes in reads, one at a time and in order. Memory is bounded by the limits and MAX_READERS.

    `employee_of` says which employee a person is, None for whoever does not work here.
    """

    def __init__(self, usual: Usual, employee_of: Callable[[SubjectId], ActorId | None]) -> None:
        self._usual = usual
        self._employee_of = employee_of
        self._readers: OrderedDict[ActorId, _Reader] = OrderedDict()

    def take(self, index: int, at: datetime, read: PersonalDataRead) -> list[Finding]:
        """Take in a read; return what it went beyond, each kind once a window."""
        # People read what is theirs as often as they like, and at night.
        if read.by.role is Role.SUBJECT:
            return []
        reader = self._reader(read.by.id, read.by.role)
        return [
            Finding(read.by.id, kind, window, index, count)
            for kind, window, count in self._beyond(reader, at, read)
            if self._is_new(reader, kind, window)
        ]

    def _beyond(
        self, reader: _Reader, at: datetime, read: PersonalDataRead
    ) -> Iterator[tuple[ReadingFlag, datetime, int]]:
        usual = self._usual
        oldest = at - timedelta(seconds=usual.window_s)
        most_reads, most_people = usual.of(read.by.role)
        if read.part == 0:
            reader.moments.append(at)
            if len(reader.moments) > most_reads and reader.moments[0] > oldest:
                yield ReadingFlag.RATE, usual.window(at), len(reader.moments)
        if (people := _people(reader, read, at, oldest, most_people)) > most_people:
            yield ReadingFlag.BREADTH, usual.window(at), people
        if read.by.role not in STAFF:
            return
        if not usual.is_working_time(at):
            yield ReadingFlag.OUT_OF_HOURS, usual.working_day(at), 1
        for subject in read.subjects:
            employee = read.by.id if SubjectId(read.by.id) == subject else self._employee_of(subject)
            if employee is not None:
                kind = ReadingFlag.SELF if employee == read.by.id else ReadingFlag.COLLEAGUE
                yield kind, usual.working_day(at), 1

    def _reader(self, reader_id: ActorId, role: Role) -> _Reader:
        reader = self._readers.get(reader_id)
        if reader is None:
            reader = self._readers[reader_id] = _Reader(self._usual.of(role)[0])
            if len(self._readers) > MAX_READERS:
                self._readers.popitem(last=False)
        self._readers.move_to_end(reader_id)
        return reader

    @staticmethod
    def _is_new(reader: _Reader, kind: ReadingFlag, window: datetime) -> bool:
        if reader.found.get(kind) == window:
            return False
        reader.found[kind] = window
        return True


def _people(reader: _Reader, read: PersonalDataRead, at: datetime, oldest: datetime, most: int) -> int:
    """Note whom a read shows; return how many different people that makes in the window, as far as it matters."""
    people = reader.people
    counted = 0
    for subject in read.subjects:
        people[subject] = at
        people.move_to_end(subject)
        while len(people) > most + 1 or next(iter(people.values())) <= oldest:
            people.popitem(last=False)
        counted = max(counted, len(people))
    return counted
