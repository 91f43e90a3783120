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


def struct_rows(found: Sequence[Any]) -> tuple[tuple[str, ...], Iterator[list[str]]]:
    """Return the header and the rows of structs, or objects, of one kind: every field, each as one cell."""
    if found and isinstance(found[0], dict):
        header = tuple(found[0])
        return header, ([_text(one[name]) for name in header] for one in found)
    header = found[0].__struct_fields__ if found else ()
    return header, ([_text(getattr(one, name)) for name in header] for one in found)


def _text(value: Any) -> str:
    """Return a value as one cell: lists and objects as JSON, so that nothing of them is lost."""
    if isinstance(value, Withheld):
        return f"<{value.value}>"
    plain = msgspec.to_builtins(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
