"""docs/problems.md: every problem of the API, made from the code. `make rules` writes it, CI compares it."""

from __future__ import annotations

from pathlib import Path

from api.http.problem import TYPE_PREFIX
from api.http.problems import PROBLEMS, REFUSALS, status_of

FILE = Path(__file__).parents[2] / "docs" / "problems.md"


def document() -> str:
    """Return the document."""
    lines = [
        "# Problems of the HTTP API",
        "",
        f"`type` is `{TYPE_PREFIX}<code>`. Made from the code by `make rules`.",
        "",
        "## What the door refuses",
        "",
        "| code | status | what to do |",
        "| --- | --- | --- |",
        *(f"| `{code}` | {status} | {detail} |" for code, (status, detail) in sorted(PROBLEMS.items())),
        "",
        "## What a rule refuses",
        "",
        "`evidence` holds the ids and numbers that it is about; other words in braces are not repeated.",
        "",
        "| code | status | meaning |",
        "| --- | --- | --- |",
        *(f"| `{code}` | {status_of(code)} | {found.message} |" for code, found in sorted(REFUSALS.items())),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
