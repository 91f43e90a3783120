"""Registers on the command line: the same rows as a table, as CSV or as JSON.

CSV is RFC 4180 in UTF-8 and holds every field, as JSON does; a table shows those that fit.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from api.cli.output import Output
from api.csv_text import write_rows
from ledger.events import Withheld

AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="What was known then, with zone (default: now).")
]


class Format(StrEnum):
    """How a register is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", metavar="WORD", help="table, csv or json.")]


def print_rows(form: Format, found: Sequence[msgspec.Struct], columns: Sequence[str]) -> None:
    """Print rows: all fields as CSV or JSON, those of `columns` as a table."""
    output = Output(form is Format.JSON)
    rows = [{name: _plain(getattr(one, name)) for name in one.__struct_fields__} for one in found]
    if form is Format.JSON:
        output.document(rows)
    elif form is Format.TABLE:
        output.table(columns, [[_cell(row[name]) for name in columns] for row in rows])
    elif found:
        text = io.StringIO(newline="")
        write_rows(text, found[0].__struct_fields__, ([_cell(value) for value in row.values()] for row in rows))
        sys.stdout.buffer.write(text.getvalue().encode())


def _plain(value: Any) -> Any:
    return {"withheld": value.value} if isinstance(value, Withheld) else msgspec.to_builtins(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "; ".join(map(_cell, value))
    if isinstance(value, dict):
        return f"<{value['withheld']}>" if "withheld" in value else " ".join(map(_cell, value.values()))
    return str(value)
