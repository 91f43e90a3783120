"""record-order, prove: exact bytes in, evidence out."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.cli import evidence as door
from api.demo import orders
from api.demo.people import Cast
from api.order_file import MAIL, PDF, XML, file_name, mail_facts, mail_key, media_type
from ledger.tlog.note import Verifier
from ledger.tlog.proof import LogProof
from projections.evidence import verify
from projections.evidence.package import write_package
from tests.cli.conftest import CANARY, ORIGIN, Program, Ran

CAST = Cast(7)
SENT_AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def payment(reference: str = "PT000001") -> bytes:
    transfer = orders.Transfer(
        end_to_end_id=f"{reference}-E1", amount=Decimal("12.50"), creditor=CAST.client(2), remittance="Arve 17"
    )
    return orders.payment_order(
        message_id=reference, created_at=datetime(2026, 3, 2, 9, tzinfo=UTC), execute_on=date(2026, 3, 3),
        debtor=CAST.client(1), transfers=[transfer],
    )  # fmt: skip


def mail(message_id: str = "PT1.abc@example.com", body: str = "Palun makske.") -> bytes:
    return orders.email_order(
        message_id=message_id, sent_at=datetime(2026, 3, 2, 9, 30, tzinfo=UTC), sender=CAST.person(0),
        to="orders@example.com", subject="Maksekorraldus", body=body,
    )  # fmt: skip


@pytest.fixture
def record(program: Program, subject: str, client: str) -> Any:
    def run(*words: object, channel: str = "software", as_json: bool = True, stdin: bytes = b"") -> Ran:
        options = ("--client", client, "--subject", subject, "--channel", channel)
        return program("record-order", *words, *options, *(["--json"] if as_json else []), stdin=stdin)

    return run


def test_an_order_is_recorded_byte_for_byte(record: Any, program: Program) -> None:
    contents = {"a.xml": payment(), "b.eml": mail(), "c.pdf": b"%PDF-1.7\n\x00\xff", "d": b"\x00" * 70_000}
    for name, content in contents.items():
        Path(name).write_bytes(content)
    ran = record(*contents)
    assert ran.code == 0, ran.err
    found = ran.json["orders"]
    assert [one["media_type"] for one in found] == [XML, MAIL, PDF, "application/octet-stream"]
    for one, (name, content) in zip(found, contents.items(), strict=True):
        opened = program("replay", "--from", one["index"], "--to", one["index"], "--open", "--json").json["data"]
        assert base64.b64decode(opened["content"]) == content
        assert opened["file_name"] == name


def test_a_receipt_is_saved_and_verifies_offline(record: Any, program: Program) -> None:
    Path("a.xml").write_bytes(payment())
    found = record("a.xml", "--receipts", "receipts/2026").json["orders"][0]
    proof = Path(found["receipt"])
    entry = proof.with_name(f"{found['order']}.entry.json").read_bytes()
    verifier = Verifier.parse(program("key").out.strip())
    LogProof.parse(proof.read_bytes()).verify(entry, verifier, ORIGIN)
    assert len(list(Path("receipts/2026").iterdir())) == 2


def test_people_see_a_table_with_whole_ids(record: Any) -> None:
    Path("a.xml").write_bytes(payment())
    ran = record("a.xml", "--receipts", "receipts", as_json=False)
    assert ran.code == 0
    [found] = re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", ran.out)
    assert Path(f"receipts/{found}.tlog-proof").exists()
    assert "receipts/<order>.tlog-proof" in ran.out


def test_the_same_mail_twice_is_one_order(record: Any, program: Program) -> None:
    Path("first.eml").write_bytes(mail())
    Path("copy.eml").write_bytes(mail())
    ran = record("first.eml", "copy.eml", "--receipts", "receipts", channel="email")
    first, again = ran.json["orders"]
    assert first["order"] == again["order"]
    assert (first["again"], again["again"]) == (False, True)
    assert first["claimed_at"] == "2026-03-02T09:30:00Z"
    assert record("first.eml", "--as", "support", channel="email").json["orders"][0]["order"] == first["order"]
    assert sum(one["type"] == "order-recorded" for one in program("replay", "--json").lines) == 1


def test_another_mail_under_the_same_message_id_is_refused(record: Any) -> None:
    Path("a.eml").write_bytes(mail())
    Path("b.eml").write_bytes(mail(body="Palun makske rohkem."))
    ran = record("a.eml", "b.eml", channel="email")
    assert ran.code == 1
    assert ran.json["failed"] == 1
    assert ran.json["orders"][1]["error"]["code"] == "idempotency-mismatch"


def test_the_same_mail_for_another_person_is_refused(record: Any, program: Program, client: str) -> None:
    Path("a.eml").write_bytes(mail())
    assert record("a.eml", channel="email").code == 0
    other = program("register").out.strip()
    ran = program("record-order", "a.eml", "--client", client, "--subject", other, "--channel", "email", "--json")
    assert ran.json["orders"][0]["error"]["code"] == "idempotency-mismatch"


def test_a_mail_without_message_id_is_known_by_its_bytes(record: Any) -> None:
    content = mail().replace(b"Message-ID: <PT1.abc@example.com>\r\n", b"")
    Path("a.eml").write_bytes(content)
    first, again = (record("a.eml", channel="email").json["orders"][0] for _ in range(2))
    assert first["order"] == again["order"]


def test_files_from_the_software_are_different_orders_unless_a_key_says_so(record: Any) -> None:
    Path("a.xml").write_bytes(payment())
    first, second = (record("a.xml").json["orders"][0]["order"] for _ in range(2))
    assert first != second
    keyed = [record("a.xml", "--idempotency-key", "PT1").json["orders"][0] for _ in range(2)]
    assert keyed[0]["order"] == keyed[1]["order"]
    Path("a.xml").write_bytes(payment("PT000002"))
    assert record("a.xml", "--idempotency-key", "PT1").code == 1


def test_a_key_that_another_command_used_is_refused(record: Any, program: Program) -> None:
    made = program("new-id").out.strip()
    line = f'{{"command":"register-subject","subject_id":"{made}","idempotency_key":"PT1"}}\n'
    assert program("record", "-", stdin=line).code == 0
    Path("a.xml").write_bytes(payment())
    ran = record("a.xml", "--idempotency-key", "PT1")
    assert ran.json["orders"][0]["error"]["code"] == "idempotency-mismatch"


def test_each_file_succeeds_or_fails_alone(record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROOFTRAIL_MAX_ORDER_BYTES", "5000")
    Path("good.xml").write_bytes(payment())
    Path(f"{CANARY}.xml").write_bytes(b"")
    Path(f"{CANARY}-large.xml").write_bytes(b"<" * 5001)
    Path(f"{CANARY}-dir").mkdir()
    names = ("good.xml", f"{CANARY}.xml", f"{CANARY}-large.xml", f"{CANARY}-dir", f"{CANARY}-nowhere.xml")
    ran = record(*names)
    assert ran.code == 1
    assert ["error" in one for one in ran.json["orders"]] == [False, True, True, True, True]
    assert [one["number"] for one in ran.json["orders"]] == [1, 2, 3, 4, 5]
    assert [one["file"] for one in ran.json["orders"]] == list(names)
    told = record(*names, as_json=False)
    assert told.code == 1
    # The document may name a file, as it does one that was recorded; what ends up in logs does not.
    assert CANARY not in json.dumps([one.get("error") for one in ran.json["orders"]]) + ran.err + told.out + told.err
    assert "file 2" in told.err


def test_an_order_of_the_limit_is_taken(record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROOFTRAIL_MAX_ORDER_BYTES", "5000")
    Path("a").write_bytes(b"x" * 5000)
    assert record("a").code == 0


def test_options_about_one_file_are_refused_for_several(record: Any) -> None:
    for option in ("--order", "--idempotency-key"):
        assert record("a", "b", option, "x").code == 2


@pytest.mark.parametrize("option", ["--terms", "--authentication", "--media-type", "--order", "--received-at"])
def test_a_word_that_an_option_does_not_take_is_wrong_usage(record: Any, option: str) -> None:
    Path("a.xml").write_bytes(payment())
    ran = record("a.xml", option, f"{CANARY} @")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert CANARY not in ran.err


def test_an_order_comes_from_standard_input_too(record: Any, program: Program) -> None:
    found = record("-", "--terms", "2026-07", "--authentication", "signed-in", stdin=payment()).json["orders"][0]
    data = program("replay", "--from", found["index"], "--json").lines[0]["data"]
    assert (data["terms_version"], data["authentication"], data["size_bytes"]) == (
        "2026-07",
        "signed-in",
        len(payment()),
    )


def test_terms_that_nobody_states_are_recorded_as_such(
    record: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.xml").write_bytes(payment())
    first = record("a.xml").json["orders"][0]["index"]
    monkeypatch.setenv("PROOFTRAIL_TERMS", "2026-01")
    record("a.xml")
    terms = [one["data"]["terms_version"] for one in program("replay", "--from", first, "--json").lines]
    assert terms == ["not-stated", "2026-01"]


def test_a_time_of_receipt_needs_a_zone_and_is_not_in_the_future(record: Any) -> None:
    Path("a.xml").write_bytes(payment())
    assert record("a.xml", "--received-at", "2026-03-02T09:00:00").code == 2
    assert record("a.xml", "--received-at", "2026-03-02T09:00:00+02:00").code == 0
    assert record("a.xml", "--received-at", "9026-03-02T09:00:00Z").code == 1


# --- what a file is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"<?xml version='1.0'?><a/>", "noname", "application/xml"),
        (b"\xef\xbb\xbf  <Document/>", "a.txt", "application/xml"),
        ("<?xml?>".encode("utf-16"), "a", "application/xml"),
        (b"<!DOCTYPE html><html>", "a.xml", "text/html"),
        (b"%PDF-1.4", "a.xml", "application/pdf"),
        (b"Message-ID: <a@b>\r\n\r\nbody", "noname", "message/rfc822"),
        (b"From: a\r\n\r\nbody", "A.EML", "message/rfc822"),
        (b"From: a\r\n\r\nbody", "noname", "application/octet-stream"),
        (b"a;b\n", "a.csv", "text/csv"),
        (b"\x00\x01", "a.bin", "application/octet-stream"),
        (b"", "", "application/octet-stream"),
    ],
)
def test_the_kind_is_told_by_the_first_bytes_then_by_the_name(content: bytes, name: str, kind: str) -> None:
    assert media_type(content, name) == kind


@pytest.mark.parametrize(
    ("header", "message_id", "sent_at"),
    [
        (b"Message-ID: <a@b>\r\nDate: Mon, 2 Mar 2026 11:30:00 +0200", "<a@b>", SENT_AT),
        (b"message-id:\r\n <a@b>\nDate: Mon, 2 Mar 2026 09:30:00 -0000", "<a@b>", SENT_AT),
        (b"Date: yesterday", None, None),
        (b"Date: Mon, 99 Foo 99999 99:99:99 +9999", None, None),
        (b"Message-ID: a@b", None, None),
        (b"Message-ID: <" + b"a" * 2000 + b">", None, None),
        (b"\xff\xfe\x00", None, None),
        (b"X: y\r\n" * 100_000, None, None),
    ],
)
def test_a_header_says_what_it_says_or_nothing(header: bytes, message_id: str | None, sent_at: datetime | None) -> None:
    facts = mail_facts(header + b"\r\n\r\nMessage-ID: <not@header>\r\n")
    assert (facts.message_id, facts.sent_at) == (message_id, sent_at)


def test_a_message_id_of_strange_bytes_can_be_a_key() -> None:
    content = b"Message-ID: <\xff\xe4@b>\r\n\r\n"
    mail_key(content, mail_facts(content)).encode()


def test_a_file_name_of_strange_bytes_can_be_recorded() -> None:
    assert file_name("dir/order \udcff.xml") == "order �.xml"
    assert file_name("dir/..") == ".."
    assert file_name("") is None


# --- prove ----------------------------------------------------------------------------------------------------


@pytest.fixture
def order(record: Any) -> str:
    Path("a.xml").write_bytes(payment())
    found: str = record("a.xml").json["orders"][0]["order"]
    return found


def test_a_stranger_verifies_the_package(program: Program, order: str) -> None:
    ran = program("prove", "--order", order, "-o", "order.zip", "--json")
    assert ran.code == 0, ran.err
    assert {one["field"] for one in ran.json["disclosed"]} == {"content", "file_name"}
    assert ran.json["withheld"] == []
    command = [sys.executable, "-I", str(verify.__file__), "order.zip", "--key", program("key").out.strip()]
    outside = subprocess.run([*command, "--extract", "out"], capture_output=True, text=True, check=False)
    assert outside.returncode == 0, outside.stdout + outside.stderr
    assert payment() in [path.read_bytes() for path in Path("out").iterdir()]


def test_fields_are_withheld_on_request(program: Program, order: str) -> None:
    for number, (words, shown) in enumerate(
        (
            (("--withhold", "content"), {"file_name"}),
            (("--disclose", "content"), {"content"}),
            (("--disclose", "content,file_name", "--withhold", "file_name"), {"content"}),
            (("--disclose", "none"), set()),
        )
    ):
        ran = program("prove", "--order", order, "-o", f"{number}.zip", "--json", *words)
        assert ran.code == 0, ran.err
        assert {one["field"] for one in ran.json["disclosed"]} == shown
        assert {one["field"] for one in ran.json["withheld"]} == {"content", "file_name"} - shown
    assert program("prove", "--order", order, "-o", "x.zip", "--disclose", CANARY).code == 2


def test_a_package_is_not_overwritten_unasked(program: Program, order: str) -> None:
    Path("order.zip").write_text("mine")
    assert program("prove", "--order", order, "-o", "order.zip").code == 2
    assert Path("order.zip").read_text() == "mine"
    told = program("prove", "--order", order, "-o", "order.zip", "--replace")
    assert told.code == 0
    assert "python3 verify.py order.zip" in told.out


def test_an_order_that_is_not_there_is_refused(program: Program, data: Path, client: str) -> None:
    for _ in range(2):
        ran = program("prove", "--order", client, "-o", "order.zip", "--json")
        assert (ran.code, ran.error["code"]) == (1, "order-unknown")
        program("register")
    assert not Path("order.zip").exists()
    assert program("prove", "--order", CANARY, "-o", "order.zip").code == 2


def test_a_package_that_does_not_verify_is_not_handed_out(
    program: Program, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_package

    def damage(path: Path, *rest: Any, **options: Any) -> None:
        written(path, *rest, **options)
        path.write_bytes(path.read_bytes()[:-1])

    monkeypatch.setattr(door, "write_package", damage)
    ran = program("prove", "--order", order, "-o", "order.zip", "--json")
    assert (ran.code, ran.error["code"]) == (1, "verification-failed")
    assert not Path("order.zip").exists()
