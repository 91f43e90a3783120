"""Opening the access log: the ledger beside the records, made by itself when it is first needed.

Embedded it lies in `<data>/access`, with keys and a guard of its own; on PostgreSQL in the schema `access`, with key
files and guard still in that directory.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

import msgspec

from api.settings import SIGNING_KEY_FILE, Clock, Settings, now
from ledger import Ledger
from ledger.errors import StorageError
from ledger.events import EmployeeOnboarded
from ledger.opening import GUARD_FILE, LEDGER_FILE, existing_stores
from ledger.storage.engine import QueryItem
from ledger.storage.guard import Guard
from ledger.storage.server import DEFAULT_SCHEMA
from ledger.vocabulary import ActorId, SubjectId
from projections.access_log import AccessLog

ACCESS_DIRECTORY: Final = "access"
ACCESS_SCHEMA: Final = "access"

# How long it may take until a new colleague is known as one.
_FRESH_S: Final = 1.0
_ONBOARDINGS: Final = (QueryItem((EmployeeOnboarded.TOPIC,)),)


def access_settings(settings: Settings) -> Settings:
    """Return the settings of the access ledger that belongs to the records of these settings."""
    data = settings.data / ACCESS_DIRECTORY
    own_disk = settings.guard != settings.data / GUARD_FILE
    guard = settings.guard.with_name(f"{settings.guard.name}.{ACCESS_DIRECTORY}") if own_disk else data / GUARD_FILE
    server = settings.server
    if server is not None:
        schema = ACCESS_SCHEMA if server.schema == DEFAULT_SCHEMA else f"{server.schema}_{ACCESS_SCHEMA}"
        server = msgspec.structs.replace(server, schema=schema)
    # Witnesses are asked for the records: who looked is not published.
    return msgspec.structs.replace(settings, data=data, guard=guard, server=server, witnesses_file=None)


def make_access_log(settings: Settings) -> None:
    """Make the access log of these records, or join it, with the rights of whoever makes schemas. Idempotent.

    On a server, where others made it, it is joined once copies of its key files are here. Raises StorageError, saying
    what to do.
    """
    own = access_settings(settings)
    if _has_keys(own) or not any(is_ledger for _, is_ledger in existing_stores(own.data, own.server)):
        _make(settings, own)


def open_access_log(
    settings: Settings, *, records: Ledger | None = None, watch: bool = True, clock: Clock = now
) -> AccessLog:
    """Open the access log of these records, whose settings are given; make it where there is none.

    With `records`, the open records ledger, reading a colleague is unusual: a person whose id is an employee's is one.
    With `watch` unusual reading is flagged as it happens, else when `AccessLog.watch.catch_up` is called. Raises
    StorageError or VerificationError, saying what to do: without the log nothing personal may be served.
    """
    settings.check_is_there()
    own = access_settings(settings)
    if own.server is None:
        if not (own.data / LEDGER_FILE).exists():
            _make(settings, own)
        _wait_for_maker(own)
    elif not own.guard.exists():
        if _has_keys(own):
            # A guard that was lost is not made anew by itself: a log that was rolled back would go unnoticed.
            raise StorageError(f"{own.guard}: is missing; to join the log again run: prooftrail init")
        _make(settings, own)
    employee_of = None if records is None else _Colleagues(records).employee_of
    log = AccessLog(own.open(clock=clock), usual=settings.usual, employee_of=employee_of)
    if watch:
        log.watch.follow()
    return log


def _make(settings: Settings, own: Settings) -> None:
    # Interrupted, or by several processes at once, this completes what is there and overwrites nothing.
    own.initialise(f"{settings.signer().name}/{ACCESS_DIRECTORY}")


def _wait_for_maker(own: Settings) -> None:
    """Return when the file that is there is a whole ledger: who makes one holds the guard's lock until it is."""
    guard = Guard(own.guard)
    try:
        with guard.lock():
            pass
    finally:
        guard.close()


def _has_keys(own: Settings) -> bool:
    return (own.data / SIGNING_KEY_FILE).exists()


class _Colleagues:
    """Which people work here, or did: those whose id is that of an employee of the records. For one thread."""

    def __init__(self, records: Ledger) -> None:
        self._records = records
        self._known: set[str] = set()
        self._position = 0
        self._looked_at = -_FRESH_S

    def employee_of(self, subject_id: SubjectId) -> ActorId | None:
        """Return which employee a person is, None for whoever is none."""
        if monotonic() - self._looked_at >= _FRESH_S:
            self._looked_at, end = monotonic(), self._records.size()
            for recorded in self._records.read(_ONBOARDINGS, after=self._position, end=end):
                assert isinstance(recorded.event, EmployeeOnboarded)
                self._known.add(recorded.event.employee_id)
            self._position = end
        return ActorId(subject_id) if subject_id in self._known else None
