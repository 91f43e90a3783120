"""A fresh ledger for each test, and the program as a function."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.settings import read_settings

ORIGIN = "example.com/records"
CANARY = "mari.kanaarilind"


class Ran(NamedTuple):
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        document = json.loads(self.err)
        assert document.keys() == {"error"}
        assert document["error"].keys() == {"code", "message", "evidence"}
        found: dict[str, Any] = document["error"]
        return found


Program = Callable[..., Ran]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith("PROOFTRAIL_") and not name.startswith("PROOFTRAIL_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def program() -> Program:
    def run(*words: object, stdin: str | bytes = "") -> Ran:
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


class Template(NamedTuple):
    """Files to copy: a ledger in which nothing was recorded, and one with a person whom no error may name."""

    empty: Path
    peopled: Path
    subject: str


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    empty, peopled = (tmp_path_factory.mktemp("template") / name for name in ("empty", "peopled"))
    read_settings(empty, {}).initialise(ORIGIN)
    shutil.copytree(empty, peopled)
    fields = {"given-name": "Mari", "email": f"{CANARY}@example.com", "phone": "+372 5555 0123"}
    words = ["register", "--fields", "-", "--data", str(peopled)]
    made = CliRunner().invoke(app, words, input=json.dumps(fields))
    assert made.exit_code == 0, made.stderr
    return Template(empty, peopled, made.stdout.strip())


@pytest.fixture
def data(template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a ledger, which commands find by themselves: empty unless the test asks for `subject`."""
    path = tmp_path / "data"
    shutil.copytree(template.empty, path)
    monkeypatch.setenv("PROOFTRAIL_DATA", str(path))
    return path


@pytest.fixture
def subject(template: Template, data: Path) -> str:
    """A person with fields that no error may repeat, in the ledger of `data`."""
    shutil.rmtree(data)
    shutil.copytree(template.peopled, data)
    return template.subject


@pytest.fixture
def client() -> str:
    return str(uuid.UUID(int=0x7A11, version=4))
