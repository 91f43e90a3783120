"""Registers on the command line: the same rows as a table for people, as CSV with --csv, as JSON with --json.

CSV is RFC 4180 in UTF-8 and holds every field, as JSON does, its header also when there are no rows; a table shows
those that fit. What is a list or has parts of its own stands in one cell: words with "; " between them, else JSON.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
import typer

from api.cli.failure import Usage
from api.cli.output import Output
from api.csv_text import cell_text, plain, struct_rows, write_rows

AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="What was known then, with zone (default: now).")
]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with every field, for spreadsheets.")]

_Row = TypeVar("_Row", bound=msgspec.Struct)


class Form(StrEnum):
    """How a register is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def form_of(as_csv: bool, as_json: bool) -> Form:
    """Return the form that the options ask for. Raises Usage for both."""
    if as_csv and as_json:
        raise Usage("--csv and --json: one of them")
    return Form.CSV if as_csv else Form.JSON if as_json else Form.TABLE


def print_register(
    form: Form,
    name: str,
    kind: type[_Row],
    found: Sequence[_Row],
    columns: Sequence[str],
    cells: Callable[[_Row], Sequence[object]] | None = None,
    **about: object,
) -> None:
    """Print rows: as JSON `{about..., name: [...]}`, as CSV all fields of `kind`, as a table `columns`.

    `cells` returns what stands in the columns; without it they are the names of fields.
    """
    output = Output(form is Form.JSON)
    if form is Form.JSON:
        output.document({**about, name: [plain(one) for one in found]})
    elif form is Form.CSV:
        print_csv(kind, found)
    elif cells is not None:
        output.table(columns, map(cells, found))
    else:
        output.table(columns, [[cell_text(plain(getattr(one, column))) for column in columns] for one in found])


def print_csv(kind: type[msgspec.Struct], found: Iterable[msgspec.Struct]) -> None:
    """Print rows of one kind as CSV."""
    text = io.StringIO(newline="")
    write_rows(text, *struct_rows(kind, found))
    sys.stdout.buffer.write(text.getvalue().encode())
    sys.stdout.buffer.flush()
