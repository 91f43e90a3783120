"""register, record, commands."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from api.cli.recording import MAX_FIELDS
from api.command_json import COMMANDS, example, parse_command
from ledger import Receipt
from ledger.commands import CollectData
from ledger.errors import Invalid
from ledger.tlog.note import Verifier
from tests.cli.conftest import CANARY, ORIGIN, Program

ID = "2ba03a18-56dc-45ef-bb42-6c45819de0c2"
OTHER = "30e17a1d-2a10-4e9a-80b0-968040a242c0"


def lines(*commands: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in commands)


def registration(**members: Any) -> dict[str, Any]:
    return {"command": "register-subject", "subject_id": ID, **members}


# --- register -------------------------------------------------------------------------------------------------


def test_register_prints_the_id_that_it_made(program: Program, data: Path) -> None:
    ran = program("register")
    assert ran.code == 0
    assert program("history", "--subject", ran.out.strip(), "--json").lines[0]["type"] == "subject-registered"


def test_register_takes_fields_from_a_file_and_from_standard_input(program: Program, data: Path) -> None:
    Path("fields.json").write_text('{"given-name": "Mari"}')
    for words, stdin in ((("fields.json",), ""), (("-",), '{"given-name": "Mari"}')):
        ran = program("register", "--fields", *words, "--json", stdin=stdin)
        assert ran.code == 0
        state = program("state", "--subject", ran.json["subject"], "--json").json
        assert state["fields"]["given-name"]["value"] == "Mari"


def test_a_clients_own_person_is_held_as_processor(program: Program, data: Path, client: str) -> None:
    made = program("register", "--client", client).out.strip()
    assert program("state", "--subject", made, "--json").json["role"] == "processor"


def test_registering_twice_is_refused(program: Program, data: Path) -> None:
    assert program("register", "--subject", ID).code == 0
    ran = program("register", "--subject", ID, "--json")
    assert (ran.code, ran.error["code"], ran.error["evidence"]) == (1, "subject-exists", {"subject": ID})


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (f'{{"email": "{CANARY}', 1),
        (f'["{CANARY}"]', 1),
        ("{}", 2),
        ("", 1),
        (f'{{"{CANARY}@example.com": "x"}}', 1),
        (f'{{"given-name": "{CANARY}", "given-name": "{CANARY}"}}', 1),
        ('{"email": null}', 1),
        ('{"email": "\\ud800"}', 1),
        ('{"given-name": "Mari", "email": 1.5}', 1),
        ('{"given-name": "Mari", "email": NaN}', 1),
        ('{"email": "\\u0000"}', 1),
        (json.dumps({f"field-{number}": "x" for number in range(MAX_FIELDS + 1)}), 1),
    ],
)
def test_wrong_fields_register_nobody_and_are_not_repeated(
    program: Program, data: Path, fields: str, code: int
) -> None:
    ran = program("register", "--fields", "-", stdin=fields)
    assert ran.code == code
    assert CANARY not in ran.err + ran.out
    assert program("replay", "--json").out == ""


def test_as_many_fields_as_are_allowed_fit_into_an_entry(program: Program, data: Path) -> None:
    fields = {f"field-{number:03}".ljust(64, "x"): "value" for number in range(MAX_FIELDS)}
    assert program("register", "--fields", "-", stdin=json.dumps(fields)).code == 0


def test_a_person_whose_fields_were_not_recorded_after_all_is_named(
    program: Program, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: CollectData) -> None:
        raise Invalid("values", "is refused")

    monkeypatch.setattr(CollectData, "check", refuse)
    ran = program("register", "--subject", ID, "--fields", "-", stdin='{"given-name": "Mari"}')
    assert ran.code == 1
    assert ID in ran.err


def test_a_file_of_fields_that_is_not_there_is_wrong_usage(program: Program, data: Path) -> None:
    assert program("register", "--fields", "nowhere.json").code == 2


# --- record ---------------------------------------------------------------------------------------------------


def test_each_command_is_answered_on_a_line_of_its_own(program: Program, data: Path) -> None:
    stdin = lines(registration(), registration(), registration(subject_id=OTHER)) + "\n\nnot json\n"
    ran = program("record", "-", "--json", stdin=stdin)
    assert ran.code == 1
    first, second, third, fourth = ran.lines
    assert (first["line"], first["index"], first["command"]) == (1, 0, "register-subject")
    assert second["error"]["code"] == "subject-exists"
    assert (third["line"], third["index"]) == (3, 1)
    assert (fourth["line"], fourth["command"], fourth["error"]["code"]) == (6, None, "invalid")


def test_a_receipt_verifies_offline(program: Program, data: Path) -> None:
    found = program("record", "-", "--json", stdin=lines(registration())).lines[0]
    receipt = Receipt(
        found["index"],
        tuple(entry.encode() for entry in found["entries"]),
        tuple(proof.encode() for proof in found["proofs"]),
    )
    receipt.verify(Verifier.parse(program("key").out.strip()), ORIGIN)


def test_an_idempotency_key_gives_the_same_receipt_again(program: Program, data: Path) -> None:
    stdin = lines(registration(idempotency_key="k"))
    first, second = (program("record", "-", "--json", stdin=stdin).lines[0] for _ in range(2))
    assert first == second
    other = program("record", "-", "--json", stdin=lines(registration(subject_id=OTHER, idempotency_key="k")))
    assert other.lines[0]["error"]["code"] == "idempotency-mismatch"


def test_commands_come_from_a_file_and_in_a_role(program: Program, data: Path) -> None:
    Path("commands.jsonl").write_text(lines(registration()))
    assert program("record", "commands.jsonl", "--as", "officer", "--actor", OTHER).code == 0
    assert program("replay", "--json").lines[0]["by"] == {"id": OTHER, "role": "officer"}


def test_bytes_travel_as_base64(program: Program, data: Path, client: str) -> None:
    content = b"\x00\xff<order/>"
    order = {
        "command": "record-order", "order_id": OTHER, "client_id": client, "subject_id": ID, "channel": "software",
        "media_type": "application/xml", "content": base64.b64encode(content).decode(), "terms_version": "2026-01",
        "received_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    ran = program("record", "-", "--json", stdin=lines(registration(), order))
    assert ran.code == 0, ran.out
    opened = program("replay", "--open", "--json").lines[1]
    assert base64.b64decode(opened["data"]["content"]) == content


def test_a_line_beyond_the_limit_fails_alone(program: Program, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROOFTRAIL_MAX_ORDER_BYTES", "10")
    long = '{"command": "' + "x" * 200_000 + '"}\n'
    ran = program("record", "-", "--json", stdin=long + lines(registration()))
    assert [("error" in one, one["line"]) for one in ran.lines] == [(True, 1), (False, 2)]


@pytest.mark.parametrize(
    "line",
    [
        b'{"command":"register-subject","subject_id":"mari.kanaarilind@example.com"}',
        b'{"command":"mari.kanaarilind"}',
        b'{"command":"register-subject","subject_id":["mari.kanaarilind"]}',
        b'{"command":"register-subject","mari.kanaarilind":1}',
        b'{"command":"register-subject"}',
        b'{"command":"register-subject","subject_id":"x","role":"mari.kanaarilind"}',
        b'{"command":"link-identifier","subject_id":"x","kind":"email","value":"mari.kanaarilind\\ud800"}',
        b'{"command":"collect-data","values":{"mari.kanaarilind@x":1}}',
        b'{"command":"register-subject","subject_id":"a","subject_id":"mari.kanaarilind"}',
        b'{"command":"record-order","received_at":"2026-01-01T00:00:00mari.kanaarilind"}',
        b'{"command":"record-order","content":"mari.kanaarilind@"}',
        b'{"command":"register-subject","idempotency_key":["mari.kanaarilind"]}',
        b'{"command":"register-subject","subject_id":NaN}',
        b"[" * 100_000,
        b'{"command":"correct-data","expected_version":' + b"9" * 10_000 + b"}",
        b"\xff\xfe mari.kanaarilind",
        b'"mari.kanaarilind"',
        b"{}",
    ],
)
def test_what_is_no_command_is_refused_without_repeating_it(program: Program, data: Path, line: bytes) -> None:
    ran = program("record", "-", stdin=line + b"\n")
    assert ran.code == 1
    assert ran.lines[0]["error"]["code"] == "invalid"
    assert CANARY not in ran.out + ran.err
    assert program("replay", "--json").out == ""


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "Infinity", "1.5"])
def test_a_value_that_cannot_be_recorded_is_named(program: Program, subject: str, value: str) -> None:
    command = json.dumps(example(COMMANDS["collect-data"]) | {"subject_id": subject, "values": {"name": "?"}})
    found = program("record", "-", stdin=command.replace('"?"', value)).lines[0]["error"]
    assert found["evidence"]["field"] in ("values.name", "name")


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in sorted(COMMANDS) for field in COMMANDS[name].__struct_fields__]
)
def test_what_json_cannot_hold_is_refused_wherever_it_stands(
    program: Program, data: Path, name: str, field: str
) -> None:
    for value in ("\ud800", ["\ud800"], {"\ud800": "x"}, [{"\ud800": "x"}], float("nan"), 1e300):
        command = example(COMMANDS[name]) | {field: value}
        found = program("record", "-", stdin=lines(command, command | {"idempotency_key": "k"})).lines
        # A rule may refuse first: what counts is that the program does not fail on it.
        assert {one["error"]["code"] for one in found} <= {"invalid", "subject-unknown"}, found
    odd = [{"command": "\ud800"}, registration(idempotency_key="\ud800"), registration(**{"\ud800": 1})]
    assert [one["error"]["code"] for one in program("record", "-", stdin=lines(*odd)).lines] == ["invalid"] * 3


def test_a_moment_without_a_zone_is_refused(program: Program, data: Path) -> None:
    order = example(COMMANDS["record-order"]) | {"received_at": "2026-01-01T00:00:00"}
    found = program("record", "-", stdin=lines(order)).lines[0]["error"]
    assert found["evidence"]["field"] == "received_at"


# --- commands -------------------------------------------------------------------------------------------------


def test_every_command_is_listed_and_described(program: Program) -> None:
    listed = {one["name"] for one in program("commands", "--json").json["commands"]}
    assert listed == set(COMMANDS)
    table = program("commands").out
    assert all(name in table for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_example_is_a_command_that_could_be_sent(program: Program, name: str) -> None:
    described = program("commands", name, "--json").json
    asked = parse_command(json.dumps(described["example"]).encode())
    asked.command.check()
    assert {one["name"] for one in described["fields"]} == set(COMMANDS[name].__struct_fields__)
    assert all(one["holds"] and "json value" not in one["holds"] for one in described["fields"])
    assert name in program("commands", name).out


def test_a_command_that_does_not_exist_is_wrong_usage(program: Program) -> None:
    ran = program("commands", CANARY)
    assert ran.code == 2
    assert CANARY not in ran.err


def test_an_error_names_the_field_that_is_needed() -> None:
    with pytest.raises(Invalid, match="subject_id: is needed"):
        parse_command(b'{"command":"register-subject"}')
    with pytest.raises(Invalid, match="not known"):
        parse_command(b'{"command":"register-subject","subject_id":"a","recorded_at":"2026-01-01T00:00:00Z"}')
