"""requests, holds, quarantine, retention, answer, export, tick: the files are whole and nothing in them is executed."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from api.answer_files import markdown
from api.csv_text import cell
from api.settings import read_settings
from ledger.policy import default_policy_text
from ledger.vocabulary import Purpose, Role, SubjectId, Word
from projections.answer import Consultation
from projections.answer import answer as answer_of
from tests.cli.conftest import CANARY, Program


def record(program: Program, **command: object) -> None:
    ran = program("record", "-", stdin=json.dumps(command))
    assert ran.code == 0, ran.out + ran.err


@pytest.fixture
def asked(program: Program, subject: str) -> str:
    """A request of the person in the ledger, by phone."""
    policy = {"command": "adopt-policy", "text": default_policy_text()}
    # It may be adopted already when the ledger is made.
    program("record", "-", stdin=json.dumps(policy))
    request = program("new-id").out.strip()
    record(
        program, command="receive-request", request_id=request, subject_id=subject, kind="access", channel="phone",
        received_at="2026-01-31T10:00:00+02:00",
    )  # fmt: skip
    return request


def test_requests_are_listed_with_their_clocks(program: Program, subject: str, asked: str) -> None:
    (found,) = program("requests", "--json").json["requests"]
    assert (found["request_id"], found["stage"], found["due_at"]) == (asked, "open", "2026-03-02T21:59:59Z")
    assert asked in program("requests", "--subject", subject, "--open").out


def test_tick_records_what_was_missed_and_says_what_is_overdue(program: Program, asked: str) -> None:
    first = program("tick", "--json").json
    assert [done["command"] for done in first["done"]] == ["miss-deadline"]
    assert [(owed["id"], owed["overdue"]) for owed in first["owed"]] == [(asked, True)]
    assert program("tick", "--json").json["done"] == []
    assert program("owed", "--overdue", "--json").json["owed"] == first["owed"]
    assert "1 duty overdue" in program("tick").out


def test_the_answer_is_whole_and_its_digests_are_those_of_the_files(
    program: Program, subject: str, asked: str, tmp_path: Path
) -> None:
    written = program("answer", "--subject", subject, "--to", tmp_path / "a", "--json").json
    for file in written:
        data = (tmp_path / "a" / file["name"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file["sha256"], file["bytes"])
    answer = json.loads((tmp_path / "a" / "answer.json").read_text())
    assert {one["field"]: one["value"] for one in answer["data"]}["email"] == f"{CANARY}@example.com"
    assert [one["request_id"] for one in answer["requests"]] == [asked]
    for part in ("history", "recipients", "retention", "consents", "orders", "rights", "consultations", "holds"):
        assert part in answer
    text = (tmp_path / "a" / "answer.md").read_text()
    assert "Andmekaitse Inspektsioon" in text
    assert f"{CANARY}@example.com" in text
    assert program("answer", "--subject", subject, "--to", tmp_path / "a").code == 2, "nothing is overwritten"


def test_the_answer_names_who_got_the_data_and_who_looked_at_it(
    program: Program, subject: str, asked: str, tmp_path: Path
) -> None:
    post = program("new-id").out.strip()
    record(
        program, command="register-recipient", recipient_id=post, category="postal", name="Post <b>AS</b>",
        country="EE", contract="DPA-1", valid_from="2026-01-01T00:00:00Z",
    )  # fmt: skip
    record(
        program, command="send-to-processor", subject_id=subject, recipient_id=post, purpose="contract",
        fields=["email"],
    )  # fmt: skip
    assert program("answer", "--subject", subject, "--to", tmp_path / "a").code == 0
    text = (tmp_path / "a" / "answer.md").read_text()
    assert "| Post &lt;b&gt;AS&lt;/b&gt; | postal | EE | processor | email | contract | 1 |" in text
    assert "it is not part of this answer" in text
    with read_settings(None).open() as ledger, read_settings(None).projections(ledger) as projections:
        looked = Consultation(
            at=ledger.now(), role=Role.OPERATOR, who="P-17", purpose=Purpose.CONTRACT, fields=(Word("email"),),
            door=Word("http"),
        )  # fmt: skip
        told = "\n".join(markdown(answer_of(projections, ledger, SubjectId(subject), consultations=[looked])))
    assert "| operator | P-17 | contract | email | http |" in told
    assert "it is not part of this answer" not in told


def test_nothing_in_a_value_is_taken_for_markup_or_a_formula(
    program: Program, subject: str, asked: str, tmp_path: Path
) -> None:
    hostile = "=1+1|<script>alert(1)</script>\n# not a heading"
    record(
        program, command="correct-data", subject_id=subject, field="email", value=hostile, expected_version=1,
        channel="phone", verification="call-back", evidence="call-1",
    )  # fmt: skip
    assert program("answer", "--subject", subject, "--to", tmp_path / "a").code == 0
    lines = (tmp_path / "a" / "answer.md").read_text().splitlines()
    assert not [line for line in lines if "<script" in line or line.startswith("# not")]
    assert program("export", "--subject", subject, "--to", tmp_path / "e").code == 0
    with (tmp_path / "e" / "export.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {row["name"]: row["value"] for row in rows}
    assert values["email"] == "'" + hostile
    assert values["phone"] == "'+372 5555 0123"
    exported = json.loads((tmp_path / "e" / "export.json").read_text())["things"]
    assert {one["name"]: one["value"] for one in exported}["email"] == hostile, "JSON keeps it as it is"
    assert len(rows) == len(exported)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " =", "\n="])
def test_a_cell_that_would_be_calculated_is_escaped(start: str) -> None:
    assert cell(f"{start}1") == f"'{start}1"
    assert cell("mari@example.com") == "mari@example.com"
    assert cell("") == ""


def test_holds_quarantine_and_retention_are_listed(program: Program, subject: str, asked: str) -> None:
    for words, name in (("holds", "holds"), ("quarantine", "orders")):
        assert program(words, "--json").json == {name: []}
        assert program(words).code == 0
    (kept,) = program("retention", "--subject", subject, "--json").json["terms"]
    assert kept["retention_class"] == "contract"
    assert program("retention", "--subject", subject).code == 0
