"""Hostile input: whatever arrives, a claim fails, nothing is raised, and no limit is passed."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.evidence import verify
from projections.evidence.package import build_package
from tests.evidence.log import ORDER, Log, b64, b64url, rebuilt, short_log

LOG = short_log()
PACKAGE = build_package(LOG.contents(), key=LOG.key)
MEMBERS = verify.read_package(PACKAGE)
PROGRAM = verify.own_source()


def failure(package: bytes, log: Log = LOG) -> tuple[str, str]:
    """The step that fails, and why. It must be a refusal that was meant, not a slip of the program."""
    report = verify.verify_package(package, log.verifier_key, PROGRAM)
    assert report.failure is not None
    assert report.files == {}
    assert "could not finish" not in report.failure.why
    assert report.failure.why.isprintable()
    assert len(report.failure.why) < 1000
    return report.failure.id, report.failure.why


# --- the container --------------------------------------------------------------------------------------------


def zipped(names: list[str], *, compression: int = zipfile.ZIP_STORED, **attributes: Any) -> bytes:
    """A zip file as ordinary tools write it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = attributes.pop("archive_comment", b"")
        for name in names:
            info = zipfile.ZipInfo(name, attributes.get("date_time", (1980, 1, 1, 0, 0, 0)))
            info.external_attr = 0o100644 << 16
            info.compress_type = compression
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            archive.writestr(info, MEMBERS.get(name, b"x"))
    return buffer.getvalue()


NAMES = list(MEMBERS)
LOCAL = PACKAGE.index(b"PK\x03\x04", 4)  # the second local header, of verify.py


def with_size(size: int) -> bytes:
    return PACKAGE[:18] + struct.pack("<2L", size, size) + PACKAGE[26:]


CONTAINERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "canonical form"),
    "no zip": (b"hello" * 100, "canonical form"),
    "an end record only": (b"PK\x05\x06" + bytes(18), "is missing"),
    "a header cut": (PACKAGE[:20], "ends too early"),
    "a file cut": (PACKAGE[:500], "ends too early"),
    "no directory": (PACKAGE[: PACKAGE.index(b"PK\x01\x02")], "canonical form"),
    "the file twice": (PACKAGE * 2, "something follows"),
    "something before": (b"#!/bin/sh\n" + PACKAGE, "canonical form"),
    "something after": (PACKAGE + b"\n", "something follows"),
    "compressed": (zipped(NAMES, compression=zipfile.ZIP_DEFLATED), "compressed"),
    "a bomb": (with_size(2**32 - 1), "ends too early"),
    "a bomb in the compressed size": (PACKAGE[:22] + b"\xff\xff\xff\x7f" + PACKAGE[26:], "compressed"),
    "encrypted": (PACKAGE[:6] + b"\x01" + PACKAGE[7:], "encrypted"),
    "streamed": (PACKAGE[:6] + b"\x08" + PACKAGE[7:], "encrypted"),
    "a unicode flag": (PACKAGE[:7] + b"\x08" + PACKAGE[8:], "encrypted"),
    "an archive comment": (zipped(NAMES, archive_comment=b"hi"), "canonical form"),
    "a member comment": (zipped(NAMES, comment=b"hi"), "canonical form"),
    "an extra field": (zipped(NAMES, extra=b"\xfe\xca\x00\x00"), "extra fields"),
    "a later date": (zipped(NAMES, date_time=(2026, 1, 1, 0, 0, 0)), "canonical form"),
    "other attributes": (zipped(NAMES, external_attr=0o100755 << 16), "canonical form"),
    "another order of names": (zipped([*NAMES[1:], NAMES[0]]), "canonical form"),
    "a long name": (PACKAGE[:26] + b"\xff\xff" + PACKAGE[28:], "a name longer"),
    "a symbolic link": (zipped(NAMES, external_attr=0o120777 << 16), "canonical form"),
}


@pytest.mark.parametrize(("package", "why"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_container_in_another_form_fails(package: bytes, why: str) -> None:
    step, told = failure(package)
    assert step == ("package" if why == "is missing" else "container")
    assert why in told


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_occurs_twice_fails(name: str) -> None:
    assert failure(zipped([*NAMES, name])) == ("container", f"{name} is in it twice")


@pytest.mark.parametrize(
    "name",
    [
        "../README.txt",
        "/etc/passwd",
        "orders/../../x.bin",
        "orders\\1.content.bin",
        "orders/1.content.bin/",
        "orders/1..bin",
        "orders/1.Content.bin",
        "orders/01.content.bin",
        "orders/-1.content.bin",
        "orders/1.con\x1btent.bin",
        "proofs/1.tlog-proof\n",
        "proofs/١.tlog-proof",
        "proofs/99999999999999999.tlog-proof",
        "proofs/01.tlog-proof",
        "fields/1.JSON",
        "readme.txt",
        "META-INF/manifest.xml",
        "C:verify.py",
        "verify.py ",
        "é",
        "",
    ],
)
def test_a_name_that_no_package_has_fails(name: str) -> None:
    raw = name.encode()
    crc = zlib.crc32(b"x")
    member = struct.pack("<4s5H3L2H", b"PK\x03\x04", 10, 0, 0, 0, 0x21, crc, 1, 1, len(raw), 0) + raw + b"x"
    step, why = failure(member + PACKAGE)
    assert step == "container"
    assert why.endswith("is not a name that a package has")


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "larger than" in failure(bytes(verify.MAX_PACKAGE_BYTES + 1))[1]
    many = {f"orders/{n}.content.bin": b"" for n in range(verify.MAX_MEMBERS + 1)}
    assert "more than 40000 files" in failure(rebuilt(many))[1]
    assert failure(rebuilt(MEMBERS | {"entries.jsonl": b"{}\n" * 10_001}))[1].endswith("more than 10000 entries")
    monkeypatch.setattr(verify, "MAX_ENTRY_BYTES", 300)
    assert failure(PACKAGE)[1] == "entry 1 is larger than 300 bytes"


def test_a_package_of_the_largest_size_costs_seconds_not_minutes() -> None:
    fill = MEMBERS | {"orders/1.content.bin": bytes(64 * 1024 * 1024)}
    package = rebuilt(fill)
    began = time.perf_counter()
    assert failure(package)[0] == "fields"
    assert time.perf_counter() - began < 10


# --- JSON -----------------------------------------------------------------------------------------------------

NOT_CANONICAL = [
    b"",
    b" {}",
    b"{}\n",
    b'{"b":1,"a":2}',
    b'{"a":1,"a":1}',
    b'{"a":{"b":1,"b":2}}',
    b'{"a": 1}',
    b'{"a":1.0}',
    b'{"a":1e3}',
    b'{"a":-0}',
    b'{"a":-0.0}',
    b'{"a":01}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":9007199254740992}',
    b'{"a":-9007199254740992}',
    b'{"a":1' + b"0" * 5000 + b"}",
    b'{"a":"\\u0061"}',
    b'{"a":"\\/"}',
    b'{"a":"\\u001F"}',
    b'{"a":"\\u0008"}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\ud83d\\ude00"}',
    b'{"a":"\x01"}',
    b'{"a":"\\u0000"}',
    b'{"\\u0000":1}',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xc0\xaf"}',
    b"\xef\xbb\xbf{}",
    b"{'a':1}",
    b'{"a":1,}',
    b'{"a":/**/1}',
    b"[" * 100 + b"]" * 100,
    b"[" * 60_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    '{"\U0001f600":1,"\ufb33":2}'.encode()[:-1],
    '{"\ufb33":1,"\U0001f600":2}'.encode(),
]


@pytest.mark.parametrize("data", NOT_CANONICAL, ids=range(len(NOT_CANONICAL)))
def test_json_in_any_other_form_is_refused(data: bytes) -> None:
    with pytest.raises(verify.Failed):
        verify.parse_canonical(data, "it", 10**6)
    assert failure(rebuilt(MEMBERS | {"package.json": data}))[0] == "package"
    assert failure(rebuilt(MEMBERS | {"fields/1.json": data}))[0] == "fields"


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "\\u0000" not in json.dumps(value))


@settings(max_examples=200, deadline=None)
@given(value=plain)
def test_canonical_json_is_that_of_another_implementation_and_comes_back(value: Any) -> None:
    encoded = verify.canonical(value)
    assert encoded == rfc8785.dumps(value)
    assert verify.parse_canonical(encoded, "it", 10**6) == value


def package_json(**changes: Any) -> bytes:
    whole = {"v": 2, "kind": "order", "ledger": LOG.origin, "tag": f"order:{ORDER}", "size": 5} | changes
    whole = {"as_of": None, "index": None} | whole
    return rfc8785.dumps({name: value for name, value in whole.items() if value is not ...})


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"null",
        *(package_json(v=v) for v in (0, 1, 3, True, "1", None, ...)),
        *(package_json(kind=kind) for kind in ("subject", "life", "", 1, [], None, ...)),
        *(package_json(index=index) for index in (-1, "5", True, 1.5, ...)),
        *(package_json(as_of=as_of) for as_of in ("", "2026-11-22", "2026-11-22T10:00:00Z", 1, True, ...)),
        *(package_json(kind="tag", tag=tag) for tag in ("", 1, None, ...)),
        *(package_json(ledger=ledger) for ledger in ("", "a b", "a+b", "a\nb", 1, None, [], ...)),
        *(package_json(tag=f"order:{order}") for order in ("", ORDER.upper(), ORDER + "\n", "1")),
        *(package_json(tag=tag) for tag in ("", ORDER, f"subject:{ORDER}", 1, None, ...)),
        *(package_json(size=size) for size in (-1, "5", True, None, ...)),
        package_json(extra=1),
    ],
)
def test_a_malformed_package_json_fails(data: bytes) -> None:
    assert failure(rebuilt(MEMBERS | {"package.json": data}))[0] == "package"


def test_a_package_json_of_another_ledger_size_or_order_fails_where_it_is_compared() -> None:
    assert failure(rebuilt(MEMBERS | {"package.json": package_json(size=6)}))[0] == "checkpoint"
    assert failure(rebuilt(MEMBERS | {"package.json": package_json(ledger="x")}))[0] == "checkpoint"
    other = package_json(tag=f"order:{ORDER[:-1]}0")
    assert failure(rebuilt(MEMBERS | {"package.json": other}))[0] == "about"


# --- keys, notes and proofs: what a ledger's own key signed may still be malformed ----------------------------

ROOT = LOG.checkpoint().decode().split("\n")[2]
ORIGIN = LOG.origin
SIGNATURE = LOG.checkpoint().decode().split("\n")[4]
LATER = b64(b"1234" + bytes(64))


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n05\n{ROOT}\n",
        f"{ORIGIN}\n+5\n{ROOT}\n",
        f"{ORIGIN}\n5 \n{ROOT}\n",
        f"{ORIGIN}\n٥\n{ROOT}\n",
        f"{ORIGIN}\n\n{ROOT}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n",
        f"{ORIGIN}\n6\n{ROOT}\n",
        f"other.example\n5\n{ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT}\nextension\n",
        f"{ORIGIN}\n5\n",
        f"{ORIGIN}\n5\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n5\n{ROOT[:-2]}{chr(ord(ROOT[-2]) + 1)}=\n",
        f"{ORIGIN}\n5\n{ROOT[:-4]}\n",
        f"{ORIGIN}\n5\n {ROOT}\n",
        f"{ORIGIN}\n5\n{ROOT}",
        f"\n{ORIGIN}\n5\n{ROOT}\n",
        f"{ORIGIN}\r\n5\r\n{ROOT}\r\n",
    ],
)
def test_a_checkpoint_that_is_signed_but_malformed_fails(text: str) -> None:
    assert failure(rebuilt(MEMBERS | {"checkpoint": LOG.sign(text)}))[0] == "checkpoint"


TEXT = f"{ORIGIN}\n5\n{ROOT}\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n\n",
        f"{TEXT}{SIGNATURE}\n",
        f"{TEXT}\n{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE}\n\n",
        f"{TEXT}\n{SIGNATURE}\n{SIGNATURE[2:]}\n",
        f"{TEXT}\n{SIGNATURE.replace('—', '-')}\n",
        f"{TEXT}\n{SIGNATURE.replace('— ', '—  ')}\n",
        f"{TEXT}\n{SIGNATURE} \n",
        f"{TEXT}\n{SIGNATURE} x\n",
        f"{TEXT}\n{SIGNATURE.replace('—', chr(8211))}\n",
        f"{TEXT}\n{SIGNATURE.replace('=', '')}\n",
        f"{TEXT}\n{SIGNATURE}\r\n",
        f"{TEXT}\n{SIGNATURE}\n\x00\n",
        f"{TEXT}\n— other.example {LATER}\n",
        f"{TEXT}\n— a+b {LATER}\n{SIGNATURE}\n",
        f"{TEXT}\n—  {LATER}\n{SIGNATURE}\n",
        f"{TEXT}\n" + f"— other.example {LATER}\n" * 64 + f"{SIGNATURE}\n",
        f"{TEXT}\n— other.example {b64(bytes(130_000))}\n{SIGNATURE}\n",
    ],
)
def test_a_malformed_note_fails(note: str) -> None:
    assert failure(rebuilt(MEMBERS | {"checkpoint": note.encode()}))[0] == "checkpoint"
    assert failure(rebuilt(MEMBERS | {"checkpoint": note.encode() + b"\xff"}))[0] == "checkpoint"


def proof(*lines: str) -> bytes:
    return "\n".join([*lines, "", ""]).encode() + LOG.checkpoint()


HEAD, INDEX, *HASHES = LOG.proof(1).decode().split("\n\n")[0].split("\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LOG.checkpoint(),
        proof(),
        proof(HEAD),
        proof(HEAD, *HASHES),
        proof(HEAD.replace("v1", "v2"), INDEX, *HASHES),
        proof(HEAD, "extra eA==", INDEX, *HASHES),
        proof(HEAD, INDEX, "extra eA==", *HASHES),
        proof(HEAD, "index 01", *HASHES),
        proof(HEAD, "index 3", *HASHES),
        proof(HEAD, "index  1", *HASHES),
        proof(HEAD, INDEX, *HASHES[:-1]),
        proof(HEAD, INDEX, *HASHES, HASHES[0]),
        proof(HEAD, INDEX, *reversed(HASHES)),
        proof(HEAD, INDEX, *HASHES[:-1], HASHES[-1] + "\r"),
        proof(HEAD, INDEX, *HASHES[:-1], HASHES[-1].rstrip("=")),
        proof(HEAD, INDEX, *HASHES[:-1], b64(bytes(31))),
        proof(HEAD, INDEX, *HASHES[:-1], "é" * 44),
        proof(HEAD, INDEX, *[HASHES[0]] * 100),
        LOG.proof(1) + b"\n",
        LOG.proof(1).replace(b"\n\n", b"\n\n\n", 1),
        LOG.proof(1).replace(b"\n", b"\r\n"),
    ],
)
def test_a_malformed_proof_fails(data: bytes) -> None:
    assert failure(rebuilt(MEMBERS | {"proofs/1.tlog-proof": data}))[0] == "inclusion"


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: key.replace("+", "-"),
        lambda key: "+" + key.split("+", 1)[1],
        lambda key: "a b+" + key.split("+", 1)[1],
        lambda key: "other" + key,
        lambda key: key.split("+")[0] + "+" + key.split("+")[1].upper() + "x+" + key.split("+", 2)[2],
        lambda key: key[:-1],
        lambda key: key + "=",
        lambda key: key + "\n" + key,
        lambda key: key.replace("+A", "+B"),
        lambda key: "\udcff" + key,
    ],
)
def test_a_malformed_key_is_refused(change: Callable[[str], str]) -> None:
    assert verify.parse_key(LOG.key + "\n") == LOG.verifier_key
    with pytest.raises(verify.Failed):
        verify.parse_key(change(LOG.key))


# --- entries: the log may hold anything that its operator signed ----------------------------------------------


def packaged(log: Log, *indices: int) -> bytes:
    """A package of these entries, put together without the writer, which would refuse them."""
    note = log.checkpoint()
    head = {"v": 2, "kind": "order", "ledger": log.origin, "tag": f"order:{ORDER}", "size": len(log.entries)}
    head |= {"as_of": None, "index": None}
    members = {"README.txt": b"", "verify.py": PROGRAM, "package.json": rfc8785.dumps(head), "checkpoint": note}
    members["entries.jsonl"] = b"".join(log.entries[i] + b"\n" for i in indices)
    return rebuilt(members | {f"proofs/{i}.tlog-proof": log.proof(i, note) for i in indices})


TAG = f"order:{ORDER}"
BAD_ENTRIES: list[dict[str, Any]] = [
    {"v": 2},
    {"v": True},
    {"index": 1},
    {"index": "0"},
    {"index": False},
    {"ledger": "other.example"},
    {"id": "1"},
    {"id": None},
    {"type": "Order"},
    {"type": "order recorded"},
    {"type": "\u202eorder"},
    {"type": 5},
    {"recorded_at": "2026-11-22T10:00:00Z"},
    {"recorded_at": "2026-11-22T10:00:00.000000+00:00"},
    {"recorded_at": "2026-02-30T10:00:00.000000Z"},
    {"recorded_at": "2026-11-22T10:00:00.00000٠Z"},
    {"recorded_at": "2026-11-22T10:00:60.000000Z"},
    {"recorded_at": "0000-11-22T10:00:00.000000Z"},
    {"recorded_at": 0},
    {"data": []},
    {"data": None},
    {"sealed": []},
    {"sealed": {"content": "A" * 42}},
    {"sealed": {"content": "A" * 42 + "B"}},
    {"sealed": {"content": "A" * 43 + "="}},
    {"sealed": {"content": "+" * 43}},
    {"sealed": {"content": 5}},
    {"sealed": {"content": "é" * 43}},
    {"tags": {}},
    {"tags": TAG},
    {"tags": [TAG]},
    {"tags": [[TAG, 1]]},
    {"tags": [[TAG, 1, None, None]]},
    {"tags": [[TAG, 0, None]]},
    {"tags": [[TAG, 2, None]]},
    {"tags": [[TAG, 1, 0]]},
    {"tags": [[TAG, 2, 0]]},
    {"tags": [[TAG, "1", None]]},
    {"tags": [[TAG, True, None]]},
    {"tags": [[TAG, 1, None], [TAG, 1, None]]},
    {"tags": [["z", 1, None], [TAG, 1, None]]},
    {"tags": [["", 1, None], [TAG, 1, None]]},
    {"extra": 1},
]


@pytest.mark.parametrize("change", BAD_ENTRIES, ids=range(len(BAD_ENTRIES)))
def test_a_malformed_entry_fails_though_the_ledger_signed_it(change: dict[str, Any]) -> None:
    log = Log()
    log.record("order-recorded", TAG, **change)
    assert failure(packaged(log, 0), log)[0] == "entries"


@pytest.mark.parametrize("entry", [b"", b"x", b"{}", b"[]", b"null", *NOT_CANONICAL[1:3], b"[" * 60_000])
def test_an_entry_that_is_no_entry_fails(entry: bytes) -> None:
    log = Log()
    log.append(entry)
    assert failure(packaged(log, 0), log)[0] in ("entries", "inclusion")


def test_an_entry_in_another_byte_form_fails_though_the_ledger_signed_it() -> None:
    log = Log()
    log.record("order-recorded", TAG, data={"a": 1})
    for old, new in ((b'"a":1', b'"a":1.0'), (b'"a":1', b'"a": 1'), (b'"a":1', b'"a":1,"a":1'), (b'"a":1', b'"a":01')):
        changed = Log()
        changed.append(log.entries[0].replace(old, new))
        assert failure(packaged(changed, 0), changed)[0] == "entries"


def test_time_that_runs_backwards_fails_and_time_that_stands_still_does_not() -> None:
    for moment, step in (("2026-11-22T09:59:59.999999Z", "entries"), ("2026-11-22T10:00:00.000000Z", "fields")):
        log = Log()
        log.record("order-recorded", TAG)
        log.record("order-confirmed", TAG, recorded_at=moment)
        report = verify.verify_package(packaged(log, 0, 1), log.verifier_key, PROGRAM)
        assert report.failure is not None
        assert report.failure.id == (step if step == "entries" else "readme")


def test_two_entries_with_one_id_fail() -> None:
    log = Log()
    log.record("order-recorded", TAG)
    log.record("order-confirmed", TAG, id="00000000-0000-4000-8000-000000000000")
    assert failure(packaged(log, 0, 1), log) == ("entries", "two entries have the same id")


def test_a_counter_that_skips_or_a_link_that_lies_fails() -> None:
    for link in ([TAG, 3, 1], [TAG, 2, 0], [TAG, 3, 0], [TAG, 1, None]):
        log = Log()
        log.record("order-recorded", "subject:a")
        log.record("order-recorded", TAG)
        log.record("order-confirmed", TAG, tags=[link])
        assert failure(packaged(log, 1, 2), log)[0] == "chain"


def test_what_people_read_holds_no_command_to_a_terminal() -> None:
    log = Log()
    nasty = "\x1b[2J\u202e\u200b\x07\n\r\x85\u2028 õ \\ \U0001f600" + "x" * 1000
    log.record("order-recorded", TAG, data={nasty[:30]: nasty, "a": [{"b": nasty}], "c": [nasty]}, personal={"é\n": 1})
    report = verify.verify_package(build_package(log.contents(), key=log.key), log.verifier_key)
    assert report.findings is not None
    for line in verify.text_lines(report, []):
        assert line.isprintable(), line
        assert len(line) < 2500
    told = "\n".join(verify.story_lines(report.findings))
    assert "\\u{1b}[2J\\u{202e}" in told
    assert " õ \\u{5c} " in told
    assert "(cut)" in told


# --- disclosed fields -----------------------------------------------------------------------------------------

OPENINGS = json.loads(MEMBERS["fields/1.json"])
SALT = OPENINGS["content"]["salt"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        None,
        "x",
        {"salt": SALT},
        {"file": "orders/1.content.bin"},
        {"salt": SALT, "file": "orders/1.content.bin", "value": ""},
        {"salt": SALT, "file": "orders/1.file_name.bin"},
        {"salt": SALT, "file": "verify.py"},
        {"salt": SALT, "file": "/etc/passwd"},
        {"salt": SALT, "file": 5},
        {"salt": SALT, "file": None},
        {"salt": SALT, "value": ""},
        {"salt": SALT + "==", "file": "orders/1.content.bin"},
        {"salt": SALT[:-1] + chr(ord(SALT[-1]) + 1), "file": "orders/1.content.bin"},
        {"salt": b64url(bytes(15)), "file": "orders/1.content.bin"},
        {"salt": b64url(bytes(16)), "file": "orders/1.content.bin"},
        {"salt": None, "file": "orders/1.content.bin"},
        {"salt": "\u0661" * 22, "file": "orders/1.content.bin"},
    ],
)
def test_a_malformed_opening_fails(content: Any) -> None:
    fields = rfc8785.dumps(OPENINGS | {"content": content})
    assert failure(rebuilt(MEMBERS | {"fields/1.json": fields}))[0] == "fields"


def test_a_fields_file_without_fields_or_with_unknown_ones_fails() -> None:
    for fields in ({}, [], {"unknown": OPENINGS["content"]}, OPENINGS | {"unknown": OPENINGS["content"]}):
        assert failure(rebuilt(MEMBERS | {"fields/1.json": rfc8785.dumps(fields)}))[0] == "fields"


def test_a_fields_file_beyond_its_limit_fails() -> None:
    fields = rfc8785.dumps(OPENINGS | {"x": "y" * verify.MAX_FIELDS_BYTES})
    assert "is larger than" in failure(rebuilt(MEMBERS | {"fields/1.json": fields}))[1]


# --- anything -------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: b"PK\x03\x04" + tail))
def test_any_bytes_fail_without_a_slip(data: bytes) -> None:
    assert failure(data)[0] == "container"


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.binary(max_size=200), at=st.integers(0, 500), cut=st.integers(0, 50))
def test_any_bytes_in_any_member_fail_without_a_slip(name: str, data: bytes, at: int, cut: int) -> None:
    content = MEMBERS[name]
    changed = content[:at] + data + content[at + cut :]
    if changed != content:
        failure(rebuilt(MEMBERS | {name: changed}))


def test_a_slip_of_the_program_is_a_failed_claim_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def slip(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(verify, "check_inclusion", slip)
    report = verify.verify_package(PACKAGE, LOG.verifier_key)
    assert report.failure is not None
    assert report.failure.id == "inclusion"
    assert report.failure.why == "the program could not finish this step (MemoryError)"
