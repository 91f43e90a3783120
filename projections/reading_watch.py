"""The watch over reading: follows the access log and records a flag for each unusual reading. Clause 4.

It reads the log and not the calls: so it sees what every process records, keeps nobody waiting for an answer, and finds
after a crash what it was about to flag. What is unusual is `unusual_reading`.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ledger import Ledger
from ledger.commands import FlagReading
from ledger.entry import format_moment, parse
from ledger.errors import FlagExists
from ledger.events import SYSTEM, PersonalDataRead
from ledger.storage.engine import PAGE, QueryItem
from ledger.vocabulary import ActorId, FlagId, SubjectId, id_of
from projections.unusual_reading import Finding, UnusualReadings, Usual

# How far back reading is looked at when the watch begins: flags of a day are told once a day.
_BACK: Final = timedelta(days=1)
# How often the log is looked at while it grows, and how long after a failure.
_EVERY_S: Final = 0.2
_RETRY_S: Final = 1.0

_READS: Final = (QueryItem((PersonalDataRead.TOPIC,)),)


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """Of an entry, what tells whether reading is unusual."""

    data: PersonalDataRead
    recorded_at: datetime


_decode: Final = msgspec.json.Decoder(_Entry).decode


class ReadingWatch:
    """Flags unusual reading in one access ledger. Several processes may watch the same one: each flag is raised once.

    `failure` is the class of what stops the thread, None while it goes well.
    """

    def __init__(self, ledger: Ledger, usual: Usual, employee_of: Callable[[SubjectId], ActorId | None]) -> None:
        self._ledger = ledger
        self._secret = ledger.keys.secret("access-flags")
        self._readings = UnusualReadings(usual, employee_of)
        self._found: deque[Finding] = deque()
        self._position: int | None = None
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: str | None = None

    def follow(self) -> None:
        """Watch in a thread of its own, until `stop`. Starting twice is starting once."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._follow, name="prooftrail-reading-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop watching; what was not looked at yet is when the watch begins again."""
        if self._thread is not None:
            self._stopping.set()
            self._thread.join()
            self._thread = None

    def catch_up(self) -> None:
        """Look at everything that is recorded by now, and record what is unusual. Raises StorageError, Busy."""
        with self._turn:
            if self._position is None:
                self._position = self._start()
            end = self._ledger.size()
            while self._position < end and not self._stopping.is_set():
                stop = min(self._position + PAGE, end)
                for stored in self._ledger.engine.select(_READS, after=self._position, end=stop):
                    entry = _decode(stored.entry)
                    self._found += self._readings.take(stored.index, entry.recorded_at, entry.data)
                self._position = stop
                self._raise_flags()
            # What an earlier failure kept from being recorded.
            self._raise_flags()

    def _raise_flags(self) -> None:
        while self._found:
            found = self._found[0]
            named = f"{found.reader_id} {found.kind} {format_moment(found.window_start)}"
            command = FlagReading(
                flag_id=FlagId(id_of(hmac.digest(self._secret, named.encode(), hashlib.sha256))),
                reader_id=found.reader_id,
                kind=found.kind,
                window_start=found.window_start,
                read=found.read,
                count=found.count,
            )
            # Another process, or this one before it was ended, raised it.
            with suppress(FlagExists):
                self._ledger.record(command, SYSTEM)
            self._found.popleft()

    def _start(self) -> int:
        """Return the index to begin at: a day before the last entry, however long ago that is."""
        size = self._ledger.size()
        if not size:
            return 0
        last = parse(self._ledger.entry(size - 1)).recorded_at
        day_before = format_moment(datetime.fromisoformat(last) - _BACK)
        return bisect_left(range(size), day_before, key=lambda index: parse(self._ledger.entry(index)).recorded_at)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._position is None or self._found or self._ledger.wait_for(self._position + 1, _EVERY_S):
                    self.catch_up()
                self.failure = None
                # In between more comes together: looking at many at once costs those who record them the least.
                self._stopping.wait(_EVERY_S)
            except Exception as error:
                # A full disk passes, as does a lost server; until then the status says why nothing is flagged.
                self.failure = type(error).__name__
                self._stopping.wait(_RETRY_S)
