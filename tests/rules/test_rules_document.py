"""What every rule owes: a command that enforces it, a test that proves it, and its line in docs/rules.md."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from ledger.command import BY_NAME, Command
from ledger.commands import RecordRead, RecordRefusedAccess
from ledger.events import BY_TOPIC, Event, log
from ledger.rule import BY_ID
from tests.rules.document import FILE, document, proofs, rule_places

# What a door is about to show, or refused, depends on nothing that the access log holds.
REST_ON_NOTHING = (RecordRead, RecordRefusedAccess)
COMMANDS = sorted(BY_NAME.values(), key=lambda command: command.NAME)


def test_the_document_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), "run: make rules"


def test_every_rule_has_a_line_and_a_test_that_proves_it() -> None:
    assert set(rule_places()) == set(BY_ID)
    assert set(proofs()) == set(BY_ID)


def test_every_rule_is_enforced_by_a_command_and_every_command_enforces_one() -> None:
    enforced = {rule.id for command in COMMANDS for rule in command.RULES}
    assert enforced == set(BY_ID)
    assert not [command.NAME for command in COMMANDS if not command.RULES]


def test_every_event_is_recorded_by_a_command_or_is_what_the_log_says_of_itself() -> None:
    recorded = {event.TOPIC for command in COMMANDS for event in (*command.RECORDS, *command.KEEPS)}
    of_the_log = {topic for topic, event in BY_TOPIC.items() if event.__module__ == log.__name__}
    assert not recorded & of_the_log
    assert recorded | of_the_log == set(BY_TOPIC)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_a_boundary_can_be_asked_of_what_the_command_recorded(command: type[Command]) -> None:
    """An explanation asks the event: whatever else a boundary reads of a command would be missing there."""
    for event in (*command.RECORDS, *command.KEEPS):
        stand_in = SimpleNamespace(**dict.fromkeys(event.__struct_fields__, "x"))
        assert bool(command.boundary(cast(Any, stand_in))) is (command not in REST_ON_NOTHING), event.TOPIC
        assert not _sealed(event) & _read(command), event.TOPIC


def _sealed(event: type[Event]) -> set[str]:
    return {*event.PERSONAL, *([event.PERSONAL_MAP] if event.PERSONAL_MAP else [])}


def _read(command: type[Command]) -> set[str]:
    """Return the fields that a command's boundary reads."""
    read: set[str] = set()

    class Watch:
        def __getattr__(self, name: str) -> str:
            read.add(name)
            return "x"

    command.boundary(cast(Any, Watch()))
    assert read <= {field.name for field in msgspec.structs.fields(command)}
    return read


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.KEEPS], ids=lambda command: command.NAME)
def test_every_refusal_that_is_kept_says_why(command: type[Command]) -> None:
    assert all("reason" in event.__struct_fields__ for event in command.KEEPS)
    assert any(rule.refusals for rule in command.RULES)
