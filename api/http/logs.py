"""Logs: one JSON object a line, of ids, numbers and closed words. Nothing that was sent, and no text of an exception.

    {"at":"2026-03-02T09:00:00.120Z","level":"info","logger":"prooftrail.http","message":"request","request_id":"…",
     "operation":"show-subject","method":"GET","status":200,"ms":3.1,"role":"support","actor":"…","bytes_in":0,
     "bytes_out":812}

Addresses, query strings, headers and bodies are in no line. Other libraries may put anything into their messages: of
a warning or an error only the unformatted message of uvicorn is kept, and of anybody else only the class of what was
raised and where.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from api.http.exchange import Exchange, place_of

REQUESTS: Final = logging.getLogger("prooftrail.http")

_OURS: Final = "prooftrail"
_SERVER: Final = "uvicorn"


class JsonFormatter(logging.Formatter):
    """Turns a record into a line. Our own records carry their values in `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = place_of(record.exc_info[1])
        return msgspec.json.encode(line).decode()


def _message(record: logging.LogRecord) -> str:
    room = record.name.split(".")[0]
    if room == _OURS:
        return record.getMessage()
    if room != _SERVER:
        return "withheld"
    # What uvicorn says of itself at start and stop has its own address in it; a fault has what somebody sent.
    return record.getMessage() if record.levelno <= logging.INFO else str(record.msg).strip()


def configure_logs(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send everything that this process logs to `stream` (standard error) in that form. To be called once, at start.

    uvicorn is run with `log_config=None, access_log=False`: then it leaves this as it is.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    # Nothing of this stands in a line, and finding it out costs a third of it.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # The text of a record that cannot be written would go to standard error as it is.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (_OURS, _SERVER):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(level)
    logging.captureWarnings(True)


def log_request(exchange: Exchange) -> None:
    """Write the line of one request: an observer of Exchanges."""
    fields: dict[str, Any] = {
        "request_id": exchange.request_id,
        "operation": exchange.operation,
        "method": exchange.method,
        "status": exchange.status,
        "ms": round(exchange.seconds * 1000, 1),
        "role": exchange.role,
        "actor": exchange.actor_id,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
    }
    if exchange.problem is not None:
        fields["problem"] = exchange.problem
    if exchange.error is not None:
        fields["error"] = exchange.error
    level = logging.INFO if exchange.error is None else logging.ERROR
    if REQUESTS.isEnabledFor(level):
        # Not `log`, which would look for the line of code that called it.
        REQUESTS.handle(REQUESTS.makeRecord(REQUESTS.name, level, "", 0, "request", (), None, extra={"fields": fields}))
