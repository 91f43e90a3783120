"""may-send, campaign, suppression, imports, recipients, disclosures, obligations."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.cli.marketing import reservations
from api.settings import read_settings
from ledger import Ledger
from ledger.events import SYSTEM
from ledger.policy import default_policy_text
from ledger.vocabulary import CampaignId, SubjectId, new_id
from tests.cli.conftest import CANARY, Program

CAMPAIGN, CONSENT, NOBODY, PARTNER = (new_id() for _ in range(4))
TEXT = "ab" * 32
PLAN = {"command": "plan-campaign", "campaign_id": CAMPAIGN, "kind": "own", "channel": "email", "opt_out": "link"}


def recorded(program: Program, *commands: dict[str, Any]) -> None:
    ran = program("record", "-", "--as", "officer", stdin="\n".join(map(json.dumps, commands)))
    assert ran.code == 0, ran.out


@pytest.fixture
def planned(program: Program, subject: str) -> str:
    """A campaign, and a person who agreed to it."""
    agree = {
        "command": "give-marketing-consent", "consent_id": CONSENT, "subject_id": subject, "kind": "own",
        "channels": ["email"], "text_sha256": TEXT, "language": "et", "channel": "link",
    }  # fmt: skip
    recorded(program, {"command": "adopt-policy", "text": default_policy_text()}, PLAN, agree)
    return subject


def test_may_send_has_one_reason_for_each(program: Program, planned: str) -> None:
    ran = program("may-send", CAMPAIGN, "--json", stdin=f"{planned}\n\n{NOBODY}\n")
    assert ran.json["answers"] == [
        {"subject_id": planned, "allowed": True, "basis": "consent", "reason": None},
        {"subject_id": NOBODY, "allowed": False, "basis": None, "reason": "subject-unknown"},
    ]
    ran = program("may-send", CAMPAIGN, stdin=f"{planned}\n{NOBODY}\n")
    assert ran.out == f"{planned}\tyes\tconsent\n{NOBODY}\tno\tsubject-unknown\n"
    assert "1 of 2 people" in ran.err


@pytest.mark.parametrize(
    ("campaign", "people", "code", "error"),
    [
        (CAMPAIGN, f"{CANARY}@example.com\n", 1, "invalid"),
        (CAMPAIGN, "x" * 1_000 + NOBODY + "\n", 1, "invalid"),
        (CAMPAIGN, f"{NOBODY}\n" * 10_001, 1, "invalid"),
        (NOBODY, f"{NOBODY}\n", 1, "campaign-unknown"),
        (f"{CANARY}@example.com", "", 2, "usage"),
    ],
    ids=["no id", "too long", "too many", "no campaign", "no campaign id"],
)
def test_a_bad_question_is_refused_and_not_repeated(
    program: Program, planned: str, campaign: str, people: str, code: int, error: str
) -> None:
    ran = program("may-send", campaign, "--json", stdin=people)
    assert (ran.code, ran.error["code"]) == (code, error)
    assert CANARY not in ran.err


def test_a_file_that_is_absent_is_wrong_usage(program: Program, planned: str) -> None:
    ran = program("may-send", CAMPAIGN, "--subjects", "absent.txt", "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")


def test_a_reservation_is_made_for_each_and_run_again_changes_nothing(
    program: Program, planned: str, tmp_path: Path
) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{planned}\n{NOBODY}\nno id\n")
    first = program("campaign", "reserve", CAMPAIGN, "--subjects", people)
    assert first.code == 1, "a line that is no id was not carried out"
    assert first.out == f"{planned}\treserved\n{NOBODY}\tsubject-unknown\nline 3\tnot-an-id\n"
    size = len(program("replay", "--json").lines)
    again = program("campaign", "reserve", CAMPAIGN, "--subjects", people)
    assert again.out == first.out
    assert len(program("replay", "--json").lines) == size
    (found,) = program("campaign", "list", "--json").json["campaigns"]
    assert (found["campaign_id"], found["reserved"], found["sent"]) == (CAMPAIGN, 1, 0)
    assert CAMPAIGN in program("campaign", "list").out


def test_whoever_objected_is_listed_and_has_the_reason_recorded(program: Program, planned: str) -> None:
    objection = {
        "command": "object-to-marketing", "subject_id": planned, "channel": "phone",
        "received_at": "2026-01-01T10:00:00Z",
    }  # fmt: skip
    recorded(program, objection)
    ran = program("campaign", "reserve", CAMPAIGN, "--json", stdin=planned)
    assert ran.lines == [{"subject": planned, "outcome": "objection-stands"}]
    (found,) = program("suppression", "--json").json["objections"]
    assert (found["subject_id"], found["addresses"]) == (planned, 2)
    assert CANARY not in program("suppression").out
    assert program("campaign", "list", "--json").json["campaigns"][0]["suppressed"] == {"objection-stands": 1}


def test_imports_lists_batches_without_a_guarantee(program: Program, planned: str) -> None:
    source, batch = new_id(), new_id()
    recorded(
        program,
        {"command": "register-source", "source_id": source, "kind": "issuer", "name": "Lists OÜ"},
        {
            "command": "import-batch", "batch_id": batch, "source_id": source, "purpose": "own-offers",
            "basis": "legitimate-interest", "categories": ["contact"],
        },
    )  # fmt: skip
    assert program("imports", "--json").json["batches"][0]["reason"] == "guarantee-missing"
    assert batch in program("imports").out


def test_recipients_disclosures_and_obligations(program: Program, planned: str) -> None:
    partner = {
        "command": "register-recipient", "recipient_id": PARTNER, "category": "postal", "name": "Post AS",
        "country": "EE", "contract": "DPA-1", "valid_from": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    sent = {
        "command": "send-to-processor", "subject_id": planned, "recipient_id": PARTNER, "purpose": "contract",
        "fields": ["email"],
    }  # fmt: skip
    corrected = {
        "command": "correct-data", "subject_id": planned, "field": "email", "value": "new@example.com",
        "expected_version": 1, "channel": "phone", "verification": "call-back", "evidence": "call-1",
    }  # fmt: skip
    recorded(program, partner, sent, corrected)
    assert "Post AS" in program("recipients").out
    assert program("recipients", "--json").json["recipients"][0]["contract"] == "DPA-1"
    (named,) = program("recipients", "--subject", planned, "--json").json["recipients"]
    assert (named["recipient"]["name"], named["fields"], named["third_party"]) == ("Post AS", ["email"], False)
    assert "Post AS" in program("recipients", "--subject", planned).out
    assert program("disclosures", "--subject", planned, "--json").json["disclosures"] == []
    assert program("disclosures", "--subject", planned).code == 0
    (owed,) = program("obligations", "--json").json["obligations"]
    assert (owed["recipient_id"], owed["cause"], owed["fields"]) == (PARTNER, "correction", ["email"])
    assert program("obligations", "--subject", planned, "--json").json["obligations"] == [owed]
    assert PARTNER in program("obligations").out


def test_a_reservation_of_any_number_of_people_keeps_few_of_them(planned: str) -> None:
    """Memory is flat as no more people are read than may wait."""
    read = 0

    def people() -> Iterator[tuple[int, SubjectId | None]]:
        nonlocal read
        for number in range(2_000):
            read = number + 1
            yield number, None

    with read_settings(None).open() as ledger:
        done = 0
        for who, outcome in reservations(ledger, CampaignId(CAMPAIGN), people(), SYSTEM):
            assert (who, outcome) == (f"line {done}", "not-an-id")
            done += 1
            assert read - done <= 64
    assert done == 2_000


def test_memory_does_not_grow_with_the_number_of_people(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the people, and not a hundred bytes more for each at the end: nothing is kept of anybody."""
    few, many = 100, 1_000
    # What the ledger remembers of recent decisions is bounded by number: full in either case.
    monkeypatch.setattr("ledger.boundaries._EVENTS_IN_ALL", 20)

    def held(ledger: Ledger, count: int) -> int:
        people = ((number, SubjectId(new_id())) for number in range(count))
        tracemalloc.start()
        for done, _ in enumerate(reservations(ledger, CampaignId(CAMPAIGN), people, SYSTEM), 1):
            if done == count:
                gc.collect()
                found = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return found

    with read_settings(None).open() as ledger:
        held(ledger, few)
        assert (held(ledger, many) - held(ledger, few)) / (many - few) < 100


def test_a_reservation_that_is_cut_off_is_gone_on_with_and_records_nothing_twice(
    program: Program, planned: str
) -> None:
    people = [planned, *(program("register").out.strip() for _ in range(20))]

    class Cut(Exception):
        pass

    def asked(until: int) -> Iterator[tuple[int, SubjectId | None]]:
        for number, subject in enumerate(people):
            if number == until:
                raise Cut
            yield number, SubjectId(subject)

    def outcomes(ledger: Ledger, until: int) -> dict[str, str]:
        return dict(reservations(ledger, CampaignId(CAMPAIGN), asked(until), SYSTEM))

    with read_settings(None).open() as ledger:
        before = ledger.size()
        with pytest.raises(Cut):
            outcomes(ledger, 10)
        reserved = outcomes(ledger, len(people))
        size = ledger.size()
        assert size == before + len(people), "one outcome each"
        assert outcomes(ledger, len(people)) == reserved
        assert ledger.size() == size
    assert reserved == {planned: "reserved"} | dict.fromkeys(people[1:], "address-missing")
