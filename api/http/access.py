"""Opening the access log: the ledger beside the records, made by itself when it is first needed.

Embedded it lies in `<data>/access`, with keys and a guard of its own; on PostgreSQL in the schema `access`, with key
files and guard still in that directory.
"""

from __future__ import annotations

from typing import Final

import msgspec

from api.settings import Clock, Settings, now
from ledger.opening import GUARD_FILE, existing_stores
from ledger.storage.server import DEFAULT_SCHEMA
from projections.access_log import AccessLog

ACCESS_DIRECTORY: Final = "access"
ACCESS_SCHEMA: Final = "access"


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


def open_access_log(settings: Settings, *, clock: Clock = now) -> AccessLog:
    """Open the access log of these records, whose settings are given; make it where there is none.

    Raises StorageError or VerificationError, saying what to do: without the log nothing personal may be served.
    """
    settings.check_is_there()
    own = access_settings(settings)
    if not (own.guard.exists() and any(is_ledger for _, is_ledger in existing_stores(own.data, own.server))):
        # Interrupted, or by several processes at once, this completes what is there and overwrites nothing.
        own.initialise(f"{settings.signer().name}/{ACCESS_DIRECTORY}")
    return AccessLog(own.open(clock=clock))
