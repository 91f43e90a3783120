"""Flip any one byte and it must fail: as it lies in the file, and again with every checksum made right."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from projections.evidence import verify
from projections.evidence.package import build_package
from tests.evidence.log import OTHER_ORDER, Log, long_log, members_of, rebuilt, short_log

LOG = short_log()
KEY = LOG.verifier_key
REAL = build_package(LOG.contents(withhold={"statement"}), key=LOG.key)

# The same package as if a shorter program had made it and were running: every byte of it can be tried in seconds.
PROGRAM = b"#!/usr/bin/env python3\nprint('stands for verify.py')\n"
MEMBERS = verify.read_package(REAL) | {"verify.py": PROGRAM}
MEMBERS["README.txt"] = verify.readme(verify.examine(MEMBERS, KEY, verify.Sheet()))
PACKAGE = rebuilt(MEMBERS)


@pytest.fixture(autouse=True)
def remembered_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of a signature is a pure function: remember it, so that ten thousand flips take seconds."""
    monkeypatch.setattr(verify, "check_ed25519", lru_cache(maxsize=64)(verify.check_ed25519))


def failing_step(package: bytes, key: verify.Key = KEY, program: bytes | None = PROGRAM) -> str | None:
    report = verify.verify_package(package, key, program)
    assert not any("could not finish" in claim.why for claim in report.claims)
    assert report.proven == (report.failure is None)
    return report.failure.id if report.failure else None


def flips(data: bytes, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """Every `step`-th byte with one bit flipped, the bit changing from byte to byte."""
    for at in range(0, len(data), step):
        yield at, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def test_the_package_that_is_tampered_with_below_verifies() -> None:
    assert failing_step(PACKAGE) is None
    assert failing_step(rebuilt(MEMBERS)) is None


def test_any_flipped_byte_of_the_file_fails() -> None:
    assert [at for at, flipped in flips(PACKAGE) if failing_step(flipped) is None] == []


def test_any_flipped_byte_of_a_package_with_the_real_program_fails() -> None:
    program = verify.own_source()
    members = verify.read_package(REAL)
    assert failing_step(REAL, program=program) is None
    assert [at for at, flipped in flips(REAL, 11) if failing_step(flipped, program=program) is None] == []
    for at, flipped in flips(members["verify.py"], 101):
        assert failing_step(rebuilt(members | {"verify.py": flipped}), program=program) == "program", at


@pytest.mark.parametrize("name", MEMBERS)
def test_any_flipped_byte_of_a_member_fails_though_every_checksum_is_right(name: str) -> None:
    caught = set()
    for at, flipped in flips(MEMBERS[name]):
        step = failing_step(rebuilt(MEMBERS | {name: flipped}))
        assert step is not None, (name, at)
        caught.add(step)
    assert caught <= CAUGHT_BY[name.partition("/")[0]]


CAUGHT_BY = {
    "README.txt": {"readme"},
    "verify.py": {"program"},
    "package.json": {"package", "checkpoint", "about"},
    "checkpoint": {"checkpoint", "inclusion"},
    "entries.jsonl": {"inclusion"},
    "proofs": {"inclusion"},
    "fields": {"fields"},
    "orders": {"fields"},
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_is_cut_or_grown_fails(name: str) -> None:
    content = MEMBERS[name]
    for changed in (b"", content[:-1], content[1:], content + b"\n", content + b"\x00", b"\n" + content, content * 2):
        assert failing_step(rebuilt(MEMBERS | {name: changed})), name


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member_fails(name: str) -> None:
    assert failing_step(rebuilt({kept: content for kept, content in MEMBERS.items() if kept != name}))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("proofs/0.tlog-proof", "inclusion"),
        ("proofs/2.tlog-proof", "inclusion"),
        ("fields/3.json", "fields"),
        ("fields/2.json", "members"),
        ("fields/9.json", "members"),
        ("orders/1.file_name.bin", "members"),
        ("orders/1.content.bin.bin", "members"),
        ("orders/3.content.bin", "members"),
    ],
)
def test_an_extra_member_fails(name: str, step: str) -> None:
    for content in (b"", MEMBERS["orders/1.content.bin"], MEMBERS["fields/1.json"], MEMBERS["proofs/1.tlog-proof"]):
        assert failing_step(rebuilt(MEMBERS | {name: content})) == step


def test_another_key_fails_even_under_the_same_name() -> None:
    assert failing_step(PACKAGE, Log(seed=5).verifier_key) == "checkpoint"
    assert failing_step(PACKAGE, KEY._replace(name="other.example")) == "checkpoint"
    # The 4-byte key id collides: the signature decides.
    assert failing_step(PACKAGE, KEY._replace(public=Log(seed=5).public)) == "checkpoint"


def test_a_package_that_a_forger_signs_with_a_key_of_their_own_fails() -> None:
    forger = short_log()
    forger.private = Log(seed=5).private
    forger.public = Log(seed=5).public
    forged = build_package(forger.contents(), key=forger.key)
    assert failing_step(forged, forger.verifier_key, None) is None
    assert failing_step(forged, KEY, None) == "checkpoint"


def test_the_other_form_of_the_same_signature_fails() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    head, _, line = LOG.checkpoint().rpartition(b" ")
    data = verify._unbase64(line.decode().strip(), "")
    s = int.from_bytes(data[36:], "little") + order
    text = verify._base64(data[:36] + s.to_bytes(32, "little")).encode()
    note = head + b" " + text + b"\n"
    members = MEMBERS | {"checkpoint": note}
    members |= {f"proofs/{i}.tlog-proof": LOG.proof(i, note) for i in (1, 3, 4)}
    assert failing_step(rebuilt(members)) == "checkpoint"


def test_swapped_entries_fail() -> None:
    lines = MEMBERS["entries.jsonl"].splitlines(keepends=True)
    for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0)):
        swapped = b"".join(lines[i] for i in order)
        assert failing_step(rebuilt(MEMBERS | {"entries.jsonl": swapped})) == "inclusion"
    proofs = {"proofs/1.tlog-proof": LOG.proof(3), "proofs/3.tlog-proof": LOG.proof(1)}
    assert failing_step(rebuilt(MEMBERS | proofs)) == "inclusion"


def test_two_entries_for_one_index_fail() -> None:
    lines = MEMBERS["entries.jsonl"].splitlines(keepends=True)
    doubled = b"".join([lines[0], *lines])
    assert failing_step(rebuilt(MEMBERS | {"entries.jsonl": doubled})) == "inclusion"


def test_a_proof_against_another_checkpoint_of_the_same_ledger_fails() -> None:
    grown = short_log()
    grown.record("order-confirmed", "subject:a2b7")
    assert failing_step(rebuilt(MEMBERS | {"proofs/3.tlog-proof": grown.proof(3)})) == "inclusion"
    assert failing_step(rebuilt(MEMBERS | {"checkpoint": grown.checkpoint()})) == "checkpoint"


def test_the_fields_and_files_of_another_package_fail() -> None:
    other = short_log()
    salt, _ = other.openings[1]["content"]
    other.openings.clear()
    other.entries.clear()
    other.tags.clear()
    other.record("subject-registered", "subject:a2b7")
    other.record("order-recorded", f"order:{OTHER_ORDER}", personal={"content": b"another order"})
    others = members_of(other.contents(order=OTHER_ORDER), other.key)
    for name in ("fields/1.json", "orders/1.content.bin"):
        assert failing_step(rebuilt(MEMBERS | {name: others[name]})) == "fields"
    assert salt != other.openings[1]["content"][0]


def test_one_package_of_a_long_log_fails_at_sampled_bytes_too() -> None:
    log = long_log()
    package = build_package(log.contents(), key=log.key)
    program = verify.own_source()
    assert failing_step(package, log.verifier_key, program) is None
    members = verify.read_package(package)
    for name, content in members.items():
        for at, flipped in flips(content, 97 if name != "verify.py" else 9973):
            assert failing_step(rebuilt(members | {name: flipped}), log.verifier_key, program), (name, at)
