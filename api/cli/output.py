"""What a command prints: tables for people, JSON for programs, progress on a terminal only.

A document goes to standard output, everything about the run (progress, warnings, errors) to standard error. With
--json a command prints one JSON document, or one a line for a stream, with keys that do not change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Into a pipe or a file nothing is folded: an id that is cut in two cannot be copied or searched for.
WIDE: Final = 400

Step = Callable[[int], None]
"""Says how much is done by now."""


class Output:
    """Where one command prints to. Made when it starts, as the streams may be others then."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.on_terminal = sys.stdout.isatty()
        self.people = Console(
            file=sys.stdout, highlight=False, emoji=False, width=None if self.on_terminal else WIDE, soft_wrap=False
        )
        self.asides = Console(file=sys.stderr, highlight=False, emoji=False, soft_wrap=True)

    # --- programs --------------------------------------------------------------------------------------------

    def document(self, document: object) -> None:
        """Print one JSON document on one line."""
        sys.stdout.write(encode(document) + "\n")
        sys.stdout.flush()

    @property
    def is_wide(self) -> bool:
        """Whether a table of several long columns can be read."""
        return self.people.width >= 140

    # --- people ----------------------------------------------------------------------------------------------

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line for people; nothing in it is markup."""
        self.people.print(Text(printable(text), style), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
        """Print a table for people. Long values fold on a terminal and are whole elsewhere."""
        table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in columns:
            whole = column in NUMBERS or column in WHOLE
            justify: JustifyMethod = "right" if column in NUMBERS else "left"
            table.add_column(column, overflow="fold", justify=justify, no_wrap=whole)
        for row in rows:
            table.add_row(*(Text(printable(shown(value))) for value in row))
        self.people.print(table)

    def warn(self, text: str) -> None:
        """Print a warning to standard error. Never with personal data: ids, counts and numbers of files only."""
        self.asides.print(Text(f"prooftrail: {printable(text)}", "" if self.as_json else "yellow"))

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Step]:
        """Show how far a long work is: on a terminal only, and not with --json."""
        with self.progresses() as tell:
            yield lambda done: tell(what, done, total)

    @contextmanager
    def progresses(self) -> Iterator[Callable[[str, int, int | None], None]]:
        """The same for a work of several parts: (part, done, total)."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda what, done, total: None
            return
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.asides, transient=True,
        )  # fmt: skip
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        with bar:
            yield tell


# Columns that are not folded while there is room elsewhere: one copies from them.
WHOLE: Final = frozenset(("order", "recorded at", "event", "field", "command"))
NUMBERS: Final = frozenset(("#", "n", "entry", "index", "bytes", "from", "count", "version"))


def encode(document: object) -> str:
    """Return JSON on one line. Bytes are base64, moments ISO 8601."""
    return msgspec.json.encode(document).decode()


def path_text(path: str | Path) -> str:
    """Return a path as text that can be written: bytes of it that are not UTF-8 are replaced by U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def counted(count: int, one: str, many: str = "") -> str:
    """Return "1 event" or "2 events"; `many` is the plural where it does not just end in -s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def shown(value: object) -> str:
    """Return a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return encode(value)


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey, or show in another order, made visible: ESC as \\x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
