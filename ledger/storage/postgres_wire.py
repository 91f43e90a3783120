"""The short way to the server: prepared statements, as many as one likes in one round trip, all values in binary.

This is libpq in pipeline mode, through the driver's own binding of it (`psycopg.pq`). The driver's cursors choose a
conversion for each value and wait statement by statement: for the few statements that every command runs, that took
eight times the processor time. Everything else (connections, roles, COPY, what runs rarely) is the driver's.
"""

from __future__ import annotations

import itertools
import re
import select
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from ledger.storage.postgres_arrays import Array

Call = tuple[bytes, Sequence[Any]]
"""A statement with `%s` for each parameter, and the parameters: int, bytes, str (of whatever type fits), an array."""


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


# By the number of the type, those of our columns: bytea, bigint, smallint, integer, text.
_DECODERS: Final[dict[int, Callable[[bytes], Any]]] = {
    17: bytes,
    20: _integer,
    21: _integer,
    23: _integer,
    25: bytes.decode,
}
_ENDED: Final = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


class Wire:
    """Runs statements on one connection, for one thread at a time; each is prepared when it first comes.

    A ROLLBACK goes this way too: after one of its own the driver has the server forget every prepared statement.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbers = itertools.count()
        self.said = ""
        """What the server called that which it did last: `COMMIT`, or `ROLLBACK` where COMMIT was asked for."""

    def run(self, *calls: Call) -> list[list[tuple[Any, ...]]]:
        """Run statements in order, in one round trip; return the rows of each.

        Outside of a transaction they are one. Raises what the driver would raise: for the first that fails, and none
        behind it is run then. After a lost connection `closed` is true; nothing can be said of what was under way.
        """
        try:
            results = self._run(calls)
        except BaseException:
            # Whatever was left on the way would be taken for an answer to the next question.
            self._connection.close()
            raise
        for result in results:
            if result.status in _ENDED:
                error = error_from_result(result)
                if _ends_the_connection(result):
                    self._connection.close()
                raise error
        self.said = (results[-1].command_status or b"").decode()
        return [_rows(result) for result in results]

    def _run(self, calls: Sequence[Call]) -> list[pq.abc.PGresult]:
        libpq = self._libpq
        libpq.enter_pipeline_mode()
        # For each answer, the statement that it says to be prepared.
        expected: list[tuple[bytes, tuple[int, ...]] | None] = []
        for statement, parameters in calls:
            values, types, formats = _encoded(parameters)
            name = self._prepared.get((statement, types))
            if name is None:
                name = b"prooftrail_%d" % next(self._numbers)
                self._prepared[statement, types] = name
                libpq.send_prepare(name, _numbered(statement), types)
                expected.append((statement, types))
            libpq.send_query_prepared(name, values, formats, pq.Format.BINARY)
            expected.append(None)
        libpq.pipeline_sync()
        answers = self._answers()
        results = []
        for what, answer in zip(expected, answers, strict=False):
            if what is None or answer.status in _ENDED:
                results.append(answer)
            if what is not None and answer.status != pq.ExecStatus.COMMAND_OK:
                del self._prepared[what]
        if not any(result.status in _ENDED and _ends_the_connection(result) for result in results):
            libpq.exit_pipeline_mode()
        return results

    def _answers(self) -> list[pq.abc.PGresult]:
        """Send what is to be sent and return the answers up to the end of the pipeline, or of the connection."""
        libpq = self._libpq
        # Not `select`: that takes no descriptor above 1,023.
        poll = select.poll()
        poll.register(libpq.socket, select.POLLIN | select.POLLOUT)
        while libpq.flush():
            poll.poll()
            libpq.consume_input()
        poll.modify(libpq.socket, select.POLLIN)
        answers: list[pq.abc.PGresult] = []
        while True:
            while libpq.is_busy():
                poll.poll()
                libpq.consume_input()
            answer = libpq.get_result()
            if answer is None:
                continue
            if answer.status == pq.ExecStatus.PIPELINE_SYNC:
                return answers
            answers.append(answer)
            if answer.status in _ENDED and _ends_the_connection(answer):
                return answers


def _ends_the_connection(failure: pq.abc.PGresult) -> bool:
    # Without a severity it is libpq itself that reports.
    return failure.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) != b"ERROR"


def _encoded(parameters: Sequence[Any]) -> tuple[list[bytes], tuple[int, ...], list[int]]:
    values: list[bytes] = []
    types: list[int] = []
    formats: list[int] = []
    for parameter in parameters:
        if isinstance(parameter, Array):
            value, type, format = parameter.data, parameter.oid, 1
        elif isinstance(parameter, int):
            value, type, format = parameter.to_bytes(8, "big", signed=True), 20, 1
        elif isinstance(parameter, str):
            # In text, so that the server takes it for what the statement needs there: text, or an array.
            value, type, format = parameter.encode(), 0, 0
        else:
            value, type, format = bytes(parameter), 17, 1
        values.append(value)
        types.append(type)
        formats.append(format)
    return values, tuple(types), formats


def _rows(result: pq.abc.PGresult) -> list[tuple[Any, ...]]:
    decoders = [_DECODERS[result.ftype(column)] for column in range(result.nfields)]
    rows: list[tuple[Any, ...]] = []
    for row in range(result.ntuples):
        values = []
        for column, decode in enumerate(decoders):
            value = result.get_value(row, column)
            values.append(None if value is None else decode(value))
        rows.append(tuple(values))
    return rows


@cache
def _numbered(statement: bytes) -> bytes:
    """Return a statement with `$1`, `$2` … in the place of `%s`, and `%` in that of `%%`."""
    numbers = itertools.count(1)
    return re.sub(b"%[%s]", lambda found: b"%" if found[0] == b"%%" else b"$%d" % next(numbers), statement)
