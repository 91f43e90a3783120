"""CSV: RFC 4180 with CRLF, UTF-8, and no cell that a spreadsheet would take for a formula (CWE-1236)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Final

import msgspec

from ledger.events import Withheld

# What a spreadsheet calculates when a cell starts with it, also after blanks.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Return `text` as a cell: with an apostrophe before what a spreadsheet would calculate, else unchanged."""
    return "'" + text if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def write_rows(file: IO[str], header: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a header and rows, one at a time; return how many rows. Open the file with newline=""."""
    writer = csv.writer(file)
    writer.writerow(header)
    count = 0
    for row in rows:
        writer.writerow(map(cell, row))
        count += 1
    return count


def struct_rows(
    kind: type[msgspec.Struct], found: Iterable[msgspec.Struct]
) -> tuple[tuple[str, ...], Iterator[list[str]]]:
    """Return the header and the rows of structs of one kind: every field, each as one cell."""
    names = kind.__struct_fields__
    return names, ([cell_text(plain(getattr(one, name))) for name in names] for one in found)


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what is withheld says why."""
    if isinstance(value, Withheld):
        return {"withheld": value.value}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return msgspec.to_builtins(value)


def cell_text(value: Any) -> str:
    """Return a value as one cell: words with "; " between them, what has parts of its own as JSON."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "; ".join(map(cell_text, value)) if all(isinstance(one, str) for one in value) else _json(value)
    if isinstance(value, dict):
        return f"<{value['withheld']}>" if value.keys() == {"withheld"} else _json(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
