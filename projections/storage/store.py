"""The contract of where projections live: generations of tables, one of them in use, others being built beside it.

A generation is read in one state, written a batch at a time, and turned to at once. Every implementation passes
tests/projections. Statements are in the words that SQLite and PostgreSQL share: a `?` for each parameter, the types
INTEGER (64 bits), TEXT (in the order of its bytes) and BLOB. What does not live here: which tables (projections), and
when they are written (runner).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any

Row = tuple[Any, ...]

Rows = Callable[..., list[Row]]
"""Runs one query: `rows(sql, *parameters)`."""


class Writer(ABC):
    """Takes the rows of a batch, inside its transaction."""

    @abstractmethod
    def insert(self, table: str, rows: Collection[Row]) -> None:
        """Insert rows with all columns of a table, in their order. Raises Misfit for one that does not fit."""

    @abstractmethod
    def delete(self, table: str, column: str, values: Collection[str]) -> None:
        """Delete the rows with one of these values in a column."""


class Generation(Writer):
    """One generation of tables, open for one thread at a time. Raises StorageError when the engine fails."""

    @abstractmethod
    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        """Run a query and return its rows."""

    @abstractmethod
    def stream(self, sql: str) -> Iterator[Row]:
        """Run a query and yield its rows, in flat memory."""

    @abstractmethod
    def execute(self, sql: str, *parameters: Any) -> None:
        """Run a statement. Raises Misfit for values that do not fit."""

    @abstractmethod
    def columns(self, table: str) -> tuple[list[str], list[str]]:
        """Return the names of a table's columns, and of those in its primary key, each in order."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Do all of it or, when an error leaves it, nothing. One inside another undoes its own part alone."""


class Store(ABC):
    """The generations of one ledger's projections. Safe for many threads and processes.

    Readers never wait for writers. Every lock is freed when its holder dies.
    """

    @abstractmethod
    def close(self) -> None:
        """Close every connection. No other thread may be reading."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything was built."""

    @abstractmethod
    def read(self) -> AbstractContextManager[Rows]:
        """Read from one state: all queries inside see the same position, whatever is written meanwhile.

        Raises StorageError when nothing is built yet, or what is there is damaged or of another version.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Generation]:
        """Read one state through a connection of its own, for an answer as large as all of it."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Generation | None]:
        """Hold the right to write, and yield the generation in use, None when nothing is built. Not reentrant.

        What was written inside stands, whole, when this ends without error.
        """

    @abstractmethod
    def building(self) -> AbstractContextManager[Generation]:
        """Hold the right to build and yield an empty generation, removed at the end unless it was turned to.

        Waits for another build to end. Clears away what a killed one left.
        """

    @abstractmethod
    def turning(self, generation: Generation) -> AbstractContextManager[None]:
        """Hold the right to write, for the last rows of a built generation; at the end it is the one in use, at once.

        Durable when this ends. The old one goes as soon as nobody reads it.
        """
