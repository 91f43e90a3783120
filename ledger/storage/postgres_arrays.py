"""Arrays as PostgreSQL takes them in binary: many rows in one parameter, for `unnest`.

The driver builds arrays element by element in Python; packed here a batch costs half of that. The layout is that of
`array_send` in the server's sources: dimensions, has-nulls, element type, length, lower bound, then each element after
its length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import ClassVar, Final

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD: Final = struct.Struct(">iiIii")
_LENGTH: Final = struct.Struct(">i")
_BYTEA, _BIGINT, _TEXT = 17, 20, 25


class Array:
    """The bytes of a one-dimensional array without nulls, and the type that it is of."""

    __slots__ = ("data",)
    oid: ClassVar[int]

    def __init__(self, data: bytes) -> None:
        self.data = data


class Bigints(Array):
    """A `bigint[]`."""

    oid = 1016

    def __init__(self, items: Sequence[int]) -> None:
        # Each number after its length, 8.
        flat = [8] * (2 * len(items))
        flat[1::2] = items
        super().__init__(_head(_BIGINT, len(items)) + struct.pack(f">{'iq' * len(items)}", *flat))


class Byteas(Array):
    """A `bytea[]`."""

    oid = 1001

    def __init__(self, items: Sequence[bytes]) -> None:
        super().__init__(_head(_BYTEA, len(items)) + _joined(items))


class Texts(Array):
    """A `text[]`. The texts hold neither NUL nor lone surrogates."""

    oid = 1009

    def __init__(self, items: Sequence[str]) -> None:
        super().__init__(_head(_TEXT, len(items)) + _joined([item.encode() for item in items]))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


class _BigintsDumper(_ArrayDumper):
    oid = Bigints.oid


class _ByteasDumper(_ArrayDumper):
    oid = Byteas.oid


class _TextsDumper(_ArrayDumper):
    oid = Texts.oid


def register(connection: Connection[tuple[object, ...]]) -> None:
    """Let a connection take these arrays as parameters."""
    for kind, dumper in ((Bigints, _BigintsDumper), (Byteas, _ByteasDumper), (Texts, _TextsDumper)):
        connection.adapters.register_dumper(kind, dumper)


def _head(element: int, length: int) -> bytes:
    # An empty array has no dimension at all.
    return _HEAD.pack(1, 0, element, length, 1) if length else struct.pack(">iiI", 0, 0, element)


def _joined(items: Sequence[bytes]) -> bytes:
    return b"".join(chain.from_iterable((_LENGTH.pack(len(item)), item) for item in items))
