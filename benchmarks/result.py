"""One row of the outcome, and how rows are printed and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. `ratio` is how well ours does: higher is better; `mark` is what it should reach, if anything.

    `note` is for people and stays out of the file.
    """

    name: str
    ours: float
    reference: float | None = None
    unit: str
    ratio: float | None = None
    mark: float | None = None
    met: bool | None = None
    note: str = ""


def rate(
    name: str,
    ours: Sequence[float],
    reference: Sequence[float],
    *,
    unit: str,
    mark: float | None = None,
    note: str = "",
) -> Result:
    """Return the row of two rates in each round, where more is better.

    The ratio is the median of the ratios of the rounds: the load of a machine drifts less within a round than between.
    """
    ratio = median(a / b for a, b in zip(ours, reference, strict=True))
    met = None if mark is None else ratio >= mark
    return Result(
        name=name,
        ours=median(ours),
        reference=median(reference),
        unit=unit,
        ratio=ratio,
        mark=mark,
        met=met,
        note=note,
    )


def measured(name: str, ours: float, *, unit: str, at_most: float | None = None, note: str = "") -> Result:
    """Return the row of one number; `at_most` is its mark, where less is better."""
    met = None if at_most is None else ours < at_most
    return Result(name=name, ours=ours, unit=unit, mark=at_most, met=met, note=note)


def line(result: Result) -> str:
    """Return the row as it is printed."""
    verdict = {True: "met", False: "MISSED", None: ""}[result.met]
    cells = (
        f"{result.name:<28}{_number(result.ours):>12}{_number(result.reference):>12}  {result.unit:<11}"
        f"{_number(result.ratio, 3):>9}{_number(result.mark, 2):>9}  {verdict:<7}"
    )
    return f"{cells}{result.note}".rstrip()


HEADER = f"{'':<28}{'ours':>12}{'reference':>12}  {'unit':<11}{'ratio':>9}{'mark':>9}"


def write(path: Path, results: Sequence[Result]) -> None:
    """Write the rows as JSON."""
    rows = [{key: value for key, value in msgspec.to_builtins(row).items() if key != "note"} for row in results]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")


def _number(value: float | None, decimals: int | None = None) -> str:
    if value is None:
        return ""
    if decimals is None:
        decimals = 0 if abs(value) >= 100 else 2
    return f"{value:,.{decimals}f}"
