"""When a term of months ends. Regulation (EEC, Euratom) No 1182/71 Art. 3; EDPB Guidelines 01/2022, 157–160.

The day of the event is not counted. A term of months ends with the last hour of the day of the same number, or of the
last day of a shorter month; for an act of the company it moves to the next working day. Days are those of the policy's
time zone. What does not live here: how long terms are (policy).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from ledger.policy import Calendar

_LAST_SECOND: Final = time(23, 59, 59)
_SATURDAY: Final = 5


def add_months(day: date, months: int) -> date:
    """Return the day of the same number `months` later, or the last of a shorter month: 31 January → 28 February."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def easter(year: int) -> date:
    """Return Easter Sunday of a Gregorian year (the anonymous algorithm, Meeus, Astronomical Algorithms, ch. 8)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (a + 11 * h) // 319
    r = (2 * e + 2 * i - k - h + m + 32) % 7
    month = (h - m + r + 90) // 25
    return date(year, month, (h - m + r + month + 19) % 32)


def is_working_day(day: date, calendar: Calendar) -> bool:
    """Whether a day is neither Saturday, Sunday nor a public holiday of the policy."""
    if day.weekday() >= _SATURDAY or f"{day:%m-%d}" in calendar.holidays:
        return False
    return (day - easter(day.year)).days not in calendar.easter_holidays


def due_after(received_at: datetime, months: int, calendar: Calendar) -> datetime:
    """Return the last second, UTC, in which something that came at `received_at` can be answered in time."""
    last = add_months(_day(received_at, calendar), months)
    while not is_working_day(last, calendar):
        last += timedelta(days=1)
    return _end_of(last, calendar)


def kept_until(start: datetime, months: int, calendar: Calendar) -> datetime:
    """Return the last second, UTC, of a retention period. It ends by itself, on whatever day."""
    return _end_of(add_months(_day(start, calendar), months), calendar)


def financial_year_end(moment: datetime, calendar: Calendar) -> datetime:
    """Return the last second, UTC, of the financial year in which `moment` lies."""
    day = _day(moment, calendar)
    end = _year_end(day.year, calendar)
    return _end_of(end if day <= end else _year_end(day.year + 1, calendar), calendar)


def _year_end(year: int, calendar: Calendar) -> date:
    month, day = map(int, calendar.financial_year_end.split("-"))
    return date(year, month, min(day, monthrange(year, month)[1]))


def _day(moment: datetime, calendar: Calendar) -> date:
    return moment.astimezone(ZoneInfo(calendar.time_zone)).date()


def _end_of(day: date, calendar: Calendar) -> datetime:
    return datetime.combine(day, _LAST_SECOND, ZoneInfo(calendar.time_zone)).astimezone(UTC)
