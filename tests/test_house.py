"""The house: arrows point downward, nothing goes in circles, every file says what it is, three rooms in the wheel."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
ROOMS = ("ledger", "projections", "api")
MAY_IMPORT = {"ledger": {"ledger"}, "projections": {"projections", "ledger"}, "api": {"api", "projections", "ledger"}}
FORBIDDEN_NAMES = {"utils", "util", "common", "manager", "managers", "helpers", "helper", "misc", "base", "tools"}

FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when a module is imported: not the inside of functions, not what only type checkers read."""
    for statement in body:
        if isinstance(statement, ast.If):
            test = ast.unparse(statement.test)
            if test not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                yield from statements(statement.body)
            yield from statements(statement.orelse)
        elif isinstance(statement, ast.Try):
            for part in (statement.body, statement.orelse, statement.finalbody):
                yield from statements(part)
            for handler in statement.handlers:
                yield from statements(handler.body)
        elif isinstance(statement, ast.ClassDef | ast.With):
            yield from statements(statement.body)
        else:
            yield statement


def names_imported(path: Path, found: Iterator[ast.AST]) -> set[str]:
    """Return the modules of ours that these nodes import, `from package import module` as the module."""
    here = module_of(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    names: set[str] = set()
    for node in found:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (start, node.module)))
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                names.add(whole if whole in MODULES else base)
    return {name for name in names if name.split(".")[0] in ROOMS}


def imports_when_loaded(path: Path) -> set[str]:
    return names_imported(path, iter(statements(tree_of(path).body)))


def imports_anywhere(path: Path) -> set[str]:
    return names_imported(path, ast.walk(tree_of(path)))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_arrows_point_downward_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    wrong = {name for name in imports_anywhere(path) if name.split(".")[0] not in MAY_IMPORT[room]}
    assert not wrong
    assert not any(
        isinstance(node, ast.Import | ast.ImportFrom) and "tests" in ast.unparse(node).replace(",", " ").split()
        for node in ast.walk(tree_of(path))
    )


def test_no_imports_go_in_a_circle() -> None:
    graph = {module: imports_when_loaded(path) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_a_circle_would_be_found() -> None:
    """The check above must be able to fail."""
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()
    assert "ledger.tlog.merkle" in imports_when_loaded(ROOT / "ledger" / "sequencer.py")
    assert len(MODULES) > 30


def test_a_command_never_imports_a_command() -> None:
    for path in (ROOT / "ledger" / "commands").glob("*.py"):
        if path.name != "__init__.py":
            assert not {name for name in imports_anywhere(path) if name.startswith("ledger.commands")}, path.name


def test_rules_know_no_storage() -> None:
    """Commands and folds decide from what was recorded; only the seam knows where it lies."""
    for folder in ("commands", "state"):
        for path in (ROOT / "ledger" / folder).glob("*.py"):
            modules = ("storage", "append", "queue", "sequencer", "ledger", "opening", "sealing")
            wrong = {f"ledger.{module}" for module in modules}
            assert not {n for n in imports_anywhere(path) if any(n == w or n.startswith(w + ".") for w in wrong)}, path


def test_the_event_library_is_touched_at_its_seams_only() -> None:
    seams = {"ledger.command", "ledger.events.event", "ledger.recorder"}
    found = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "eventsourcing")
        or (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "eventsourcing" for a in node.names))
    }
    assert {module for module in found if module.startswith("ledger")} <= seams


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip():
        return
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert len(docstring.split()) >= 4


def test_every_file_is_named_for_the_noun_it_serves() -> None:
    names = {part for path in FILES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not names & FORBIDDEN_NAMES


def test_assertions_are_never_about_input() -> None:
    """`assert` may be compiled away: whatever a caller can cause is raised. Doors have none at all."""
    for module, path in MODULES.items():
        if module.startswith(("ledger.commands", "api.http.routes")):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Assert):
                    assert "is not None" in ast.unparse(node.test), f"{module}: {ast.unparse(node)}"


def test_the_wheel_holds_exactly_the_three_rooms(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(ROOMS)
    assert "ledger/storage/sql/sqlite/03_events.sql" in names, "what the code reads is shipped with it"
    assert {"ledger/storage/sql/postgres/ledger/05_events.sql", "ledger/storage/sql/postgres/ledger.txt"} <= set(names)
    shipped = {str(path.relative_to(ROOT)) for path in FILES}
    assert shipped <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".db", ".key", ".pem"))]
