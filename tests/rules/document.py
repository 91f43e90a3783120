"""docs/rules.md: clause → rule → command → event → test, made from the code. `make rules` writes it, CI compares it.

Rules are read from the commands that enforce them, tests from their marks, without running either. Whoever audits
can walk from a sentence of the principles to the line that enforces it and to the test that proves it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ledger.commands
from ledger.command import BY_NAME, Command
from ledger.errors import Refused
from ledger.rule import BY_ID, CLAUSES, Rule

assert ledger.commands.__all__

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "rules.md"

TITLES = {
    "0": "Customers and other persons",
    "1-2": "No unjustified use; lawful, necessary scope",
    "3": "Details stand in the Terms and Conditions",
    "4": "Safety measures and monitoring",
    "5": "Employees",
    "6": "No disclosure unless law requires it or the person permits it",
    "7": "Offers",
    "8-9": "Access and correction",
    "10": "Collection from other sources",
    "11": "Orders",
    "12": "Recipients",
    "13": "Contact",
    "erasure": "Erasure, retention, holds",
}


class Place(NamedTuple):
    """A line of a file, as a link from docs/."""

    name: str
    path: str
    line: int

    @property
    def link(self) -> str:
        return f"[{self.name}](../{self.path}#L{self.line})"


def document() -> str:
    """Return the whole text of docs/rules.md."""
    parts = [
        "# Rules: from the principle to the line that enforces it\n",
        "Made from the code by `make rules`; CI refuses a copy that is out of date. A refusal in **bold** is itself\n"
        "recorded as an event; its code is permanent.\n",
    ]
    for clause in CLAUSES:
        rules = [rule for rule in BY_ID.values() if rule.clause == clause]
        if not rules:
            continue
        parts.append(f"## {'Clause ' if clause != 'erasure' else ''}{clause}: {TITLES[clause]}\n")
        parts.append("| rule | command | event | refusal | test |\n|---|---|---|---|---|")
        parts += [_row(rule) for rule in sorted(rules, key=lambda rule: rule.id)]
        parts.append("")
    parts.append("## Reasons of refusal\n")
    parts.append("The closed vocabulary of `reason` in events and of `code` in errors.\n")
    parts.append("| code | says |\n|---|---|")
    parts += [f"| `{kind.code}` | {kind.message} |" for kind in sorted(_refusals(Refused), key=lambda kind: kind.code)]
    return "\n".join(parts) + "\n"


def _row(rule: Rule) -> str:
    commands = [command for command in BY_NAME.values() if rule in command.RULES]
    kept = {event.TOPIC for command in commands for event in command.KEEPS}
    recorded = {event.TOPIC for command in commands for event in command.RECORDS}
    cells = (
        f"{rule_places()[rule.id].link}<br>{rule.promise}<br>*{rule.source}*",
        "<br>".join(_command(command).link for command in commands),
        "<br>".join([*(f"`{topic}`" for topic in sorted(recorded - kept)), *(f"**`{t}`**" for t in sorted(kept))]),
        "<br>".join(f"`{code}`" for code in rule.refusals) or "–",
        "<br>".join(place.link for place in proofs().get(rule.id, [])),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _command(command: type[Command]) -> Place:
    path = Path(sys.modules[command.__module__].__file__ or "")
    line = next(n.lineno for n in _tree(path).body if isinstance(n, ast.ClassDef) and n.name == command.__name__)
    return Place(command.NAME, str(path.relative_to(ROOT)), line)


@cache
def rule_places() -> dict[str, Place]:
    """Return where each rule is declared."""
    found: dict[str, Place] = {}
    for path in sorted((ROOT / "ledger").rglob("*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "rule" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found[first.value] = Place(first.value, str(path.relative_to(ROOT)), node.lineno)
    return found


@cache
def proofs() -> dict[str, list[Place]]:
    """Return the tests that carry the mark of each rule."""
    found: dict[str, list[Place]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef):
                for name in _marks(node):
                    found.setdefault(name, []).append(Place(node.name, str(path.relative_to(ROOT)), node.lineno))
    return found


def _marks(function: ast.FunctionDef) -> Iterator[str]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rule":
            yield ast.literal_eval(mark.args[0])


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _refusals(kind: type[Refused]) -> set[type[Refused]]:
    return {each for direct in kind.__subclasses__() for each in {direct, *_refusals(direct)}}


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
