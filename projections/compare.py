"""Two builds of the same tables, compared row by row in the order of their keys, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from projections.projection import Projection, schema
from projections.storage.store import Generation, Row

# Rows that are read and compared at a time.
_PAGE: Final = 1_000


class What(StrEnum):
    """How the table in use differs from a fresh build."""

    MISSING = "missing"  # the row should be there
    EXTRA = "extra"  # the row should not be there
    CHANGED = "changed"


class Difference(msgspec.Struct, frozen=True):
    """One row that differs, by the values of its primary key. Digests and ids only: no row holds a personal value."""

    projection: str
    table: str
    key: tuple[int | str, ...]
    what: What


class Comparison(msgspec.Struct, frozen=True):
    """What a comparison found at `position`: `rows` compared, `count` that differ, the first of them named."""

    position: int
    rows: int
    count: int
    differences: tuple[Difference, ...]


def compare(
    live: Generation, fresh: Generation, projections: Sequence[Projection], *, position: int, limit: int
) -> Comparison:
    """Compare every table of the projections, and the quarantine, in two generations of one store."""
    rows = count = 0
    differences: list[Difference] = []
    for owner, statements in [("quarantine", schema("store")), *((p.NAME, p.schema()) for p in projections)]:
        for table in _tables(statements):
            if owner == "quarantine" and table != owner:
                continue
            columns, key = fresh.columns(table)
            places = [columns.index(part) for part in key]
            sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(key)}"
            for what, found in _merge(live.stream(sql), fresh.stream(sql), places):
                if what is None:
                    rows += len(found)
                    continue
                count += 1
                rows += 1
                if len(differences) < limit:
                    differences.append(Difference(owner, table, tuple(found[0][i] for i in places), what))
    return Comparison(position, rows, count, tuple(differences))


def _tables(statements: Sequence[str]) -> Iterator[str]:
    for statement in statements:
        _, found, rest = statement.partition("CREATE TABLE ")
        if found:
            yield rest.split()[0]


def _merge(live: Iterator[Row], fresh: Iterator[Row], places: Sequence[int]) -> Iterator[tuple[What | None, list[Row]]]:
    """Yield runs of equal rows with None, and each row that differs with how."""
    ours, theirs = list(islice(live, _PAGE)), list(islice(fresh, _PAGE))
    while ours and theirs:
        if ours == theirs:
            yield None, ours
            ours, theirs = list(islice(live, _PAGE)), list(islice(fresh, _PAGE))
            continue
        # As many rows of the two pages as are certain: those up to the lower of their last keys.
        a, b = 0, 0
        while a < len(ours) and b < len(theirs):
            one, other = ours[a], theirs[b]
            key, wanted = [one[i] for i in places], [other[i] for i in places]
            if key == wanted:
                yield (None, [one]) if one == other else (What.CHANGED, [one])
                a, b = a + 1, b + 1
            elif key < wanted:
                yield What.EXTRA, [one]
                a += 1
            else:
                yield What.MISSING, [other]
                b += 1
        # Filled up to a page again, so that equal pages meet as soon as the two are in step.
        ours = ours[a:] + list(islice(live, _PAGE - len(ours) + a))
        theirs = theirs[b:] + list(islice(fresh, _PAGE - len(theirs) + b))
    for row in (*ours, *live):
        yield What.EXTRA, [row]
    for row in (*theirs, *fresh):
        yield What.MISSING, [row]
