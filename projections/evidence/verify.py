#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verify an evidence package of a Prooftrail ledger, offline, with nothing but Python 3.9 or later.

    python3 verify.py PACKAGE.zip --key KEY [--key FORMER_KEY] [--witness WITNESS_KEY] [--json] [--extract DIR]
    python3 verify.py ACCUSATION.json --key KEY [--key FORMER_KEY] [--json]

KEY is the ledger's public key, `<name>+<8 hex digits>+<base64>`, or a file that holds it. Get the key and this
program from the ledger's publisher, never from the package: whoever forged one would have forged the other two.

Exit status: 0 every claim is proven; 1 a claim failed; 2 the command is wrong or the file cannot be read.

This file is written to be audited. It reads from top to bottom as the steps run: the claims, the limits, the
protocol in fifteen steps (`examine` and `verify_package`), then each format by its specification, then Ed25519.

The package is a zip file with one possible form: members stored, 1980-01-01, no comments, a fixed order.

    README.txt                     for people; generated from what is proven, so it must match to the byte
    verify.py                      this file
    package.json                   {"as_of":null,"index":…,"kind":"order","ledger":…,"size":…,"tag":"order:…","v":2}
    checkpoint                     the signed size and root hash of the log      c2sp.org/tlog-checkpoint
    entries.jsonl                  the exact bytes of each entry, one a line, by index
    index/entry.json               the entry that commits to the index of all tags, at index `index`
    index/entry.tlog-proof         that it stands in the log
    index/proof.json               what that index says about the tag: how many events, or none
    as-of/checkpoint               the last one at or before the moment `as_of`
    as-of/consistency              that the log above extends it: one hash a line       RFC 6962 §2.1.2
    witness/<size>.checkpoint      an earlier one, with what witnesses signed of it     c2sp.org/tlog-cosignature
    witness/<size>.consistency     that the log above extends it: one hash a line
    proofs/<index>.tlog-proof      that the entry stands in the log              c2sp.org/tlog-proof@v1
    fields/<index>.json            disclosed fields: {"<field>":{"salt":…,"value":…}} or {"salt":…,"file":…}
    orders/<index>.<field>.bin     the exact bytes of a field that is disclosed as a file

`index` and `as_of` may be null; then the files of that folder are not there, and what they would prove is not claimed.
All JSON is canonical (RFC 8785, without floating point), all hashes are SHA-256, all base64 has one form.
Everything that arrives here may be hostile: what is malformed fails its step, and a step that fails ends the run.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
    Members = dict[str, bytes]

VERSION = 2
ENTRY_VERSION = 1

# --- What is claimed, and what is not -------------------------------------------------------------------------

CLAIMS = (
    ("container", "the file is a package in its one canonical form: every byte of it is accounted for"),
    ("package", "package.json says what of which ledger this is about"),
    ("checkpoint", "the ledger's key signed the size and the root hash of its log"),
    ("inclusion", "every entry stands in that log, unchanged, at its index"),
    ("entries", "every entry is a record of this ledger, and the time of recording never runs backwards"),
    ("about", "every entry is about what package.json names"),
    ("chain", "no event of it is missing between its first and the last one shown"),
    ("index", "the log itself commits, in an entry, to how many events everything in it has"),
    ("complete", "by that index the events shown are all there are, or there is none"),
    ("as-of", "exactly those up to the moment asked for were recorded by then"),
    ("fields", "every disclosed field is, to the byte, the one that was recorded"),
    ("members", "nothing is missing from the package, and nothing is in it that no step has checked"),
    ("program", "the verify.py in the package is the one that is running"),
    ("readme", "README.txt says what the steps above found, and nothing else"),
    (
        "witness",
        "the witnesses saw this log grow, and when by their clocks each event was not, and was, in it",
    ),
)

NOT_CLAIMED = (
    ("later", "that nothing happened after the last event shown: no index of all events is in here"),
    ("unrecorded", "that everything that happened was recorded"),
    ("truth", "that what was written or recorded is true, or that a sender is who they say"),
    ("time", "any time other than the ledger's own clock when it recorded the event"),
    ("witness", "that the ledger shows this same log to everybody; no independent witness is consulted"),
    ("withheld", "anything about the content of a field that is withheld"),
)

# What a package may be about, and how that is called.
KINDS = {"order": "order", "subject": "person", "consent": "consent", "client": "client", "tag": "tag"}

PROVEN, FAILED, UNCLAIMED = "proven", "failed", "not claimed"

# --- Limits: what is larger fails, so that no input takes a machine down --------------------------------------

MAX_PACKAGE_BYTES = 256 * 1024 * 1024
MAX_MEMBERS = 40_000
MAX_NAME_BYTES = 100
MAX_ENTRIES = 10_000
MAX_ENTRY_BYTES = 65_535  # C2SP tlog-tiles, "Log Entries": a length is 16 bits
MAX_FIELDS_BYTES = 4 * 1024 * 1024  # one fields/<index>.json; larger values travel as files
MAX_NOTE_BYTES = 128 * 1024
MAX_SIGNATURES = 64  # c2sp.org/signed-note: at least 16
MAX_PROOF_HASHES = 63
MAX_INDEX_PROOF_BYTES = 64 * 1024
KEY_BITS = 256  # most levels of the tag index
MAX_KEY_BYTES = 4096
MAX_WITNESSED = 64  # checkpoints with cosignatures
MAX_DEPTH = 64  # of nested JSON
MAX_INTEGER = 2**53 - 1  # RFC 7493 §2.2
MAX_SHOWN = 200  # characters of one value in the story
MAX_FACTS = 64  # lines of one event in the story

# --- What a run finds -----------------------------------------------------------------------------------------


class Failed(Exception):
    """A step does not hold. `why` holds ids, member names and counts only."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Key(NamedTuple):
    """The public key of a ledger: c2sp.org/signed-note."""

    name: str
    id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    """The state of a log at `size` entries, signed by the key of that name."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Event:
    """One proven line of the story."""

    index: int
    recorded_at: str
    type: str
    what: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Disclosed:
    """A field whose value is in the package; `file` names the member when it is a file, else it is None."""

    index: int
    name: str
    file: str | None
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Complete:
    """That of the entries before `size` exactly `count` are about it."""

    size: int
    count: int
    root: str

    @property
    def text(self) -> str:
        if self.count < 2:
            return "this is the only event of it" if self.count else "there is no event of it"
        return f"these are all {self.count} events of it"


@dataclass(frozen=True)
class Cut:
    """That exactly the first `count` of them were recorded by `as_of`, when the log had `size` entries."""

    as_of: str
    size: int
    count: int


@dataclass(frozen=True)
class Findings:
    """What the package proves; made only when every step up to `members` holds."""

    ledger: str
    kind: str
    tag: str
    size: int
    root: str
    story: tuple[Event, ...]
    complete: Complete | None
    cut: Cut | None
    witnessed: tuple[tuple[int, bytes], ...]  # (size, signed note) of checkpoints that the log extends
    disclosed: tuple[Disclosed, ...]
    withheld: tuple[tuple[int, str], ...]
    digests: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bracket:
    """When a witness, by its own clock, had seen the log without an event, and with it: POSIX seconds, or None."""

    index: int
    witness: str
    after: int | None
    not_later_than: int | None


@dataclass(frozen=True)
class Claim:
    number: int
    id: str
    text: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Report:
    """The verdict of every claim; `findings` and `files` (member name → bytes) only when all of them hold."""

    claims: tuple[Claim, ...]
    findings: Findings | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    brackets: tuple[Bracket, ...] = ()

    @property
    def proven(self) -> bool:
        return self.findings is not None

    @property
    def failure(self) -> Claim | None:
        """Return the claim that failed first, if one did."""
        return next((claim for claim in self.claims if claim.verdict == FAILED), None)


class Sheet:
    """Fills in the claims, in order. A claim that was never reached counts as failed: it fails closed."""

    def __init__(self) -> None:
        self.step = ""
        self._verdicts: dict[str, tuple[str, str]] = {}

    def begin(self, step: str) -> None:
        self.step = step

    def hold(self, why: str, verdict: str = PROVEN) -> None:
        self._verdicts[self.step] = (verdict, why)

    def fail(self, why: str) -> None:
        self._verdicts[self.step] = (FAILED, why)

    def claims(self) -> tuple[Claim, ...]:
        number = [id for id, _ in CLAIMS].index(self.step) + 1
        unreached = (FAILED, f"not reached, as step ({number}) failed")
        found = [(id, text, *self._verdicts.get(id, unreached)) for id, text in CLAIMS]
        return tuple(Claim(number, *row) for number, row in enumerate(found, 1))


# --- The protocol ---------------------------------------------------------------------------------------------


def verify_package(
    package: bytes,
    key: Key,
    program: bytes | None = None,
    witnesses: Iterable[Key] = (),
    former: Iterable[Key] = (),
) -> Report:
    """Return the verdict on every claim of `package` under the ledger's `key`. Never raises on any input.

    `program` is the bytes of the verify.py that is running; by default they are read from its file. Each of the
    `witnesses` must have cosigned something in the package; without any, nothing is claimed of them. With keys that the
    ledger had before, `former`, how things stood at a moment before the change of keys can be verified too.
    """
    brackets: tuple[Bracket, ...] = ()
    sheet = Sheet()
    try:
        # (1) One byte form, and cheap to test: nothing else is looked at in a file that is not in it.
        sheet.begin("container")
        members = read_package(package)
        sheet.hold(f"{len(members)} files, {len(package)} bytes")

        # (2) to (12)
        findings = examine(members, key, sheet, former)

        # (13) A package cannot vouch for its own verifier. What counts is the one that you fetched and ran.
        sheet.begin("program")
        running = own_source() if program is None else program
        if members["verify.py"] != running:
            digests = f"its SHA-256 is {_hex(members['verify.py'])}, that of the running one {_hex(running)}"
            raise Failed(digests + "; get the version that fits from the publisher")
        sheet.hold(f"SHA-256 {_hex(running)}")

        # (14) What people read first is held to what was proven.
        sheet.begin("readme")
        if members["README.txt"] != readme(findings):
            raise Failed("README.txt was changed")
        sheet.hold("generated again from the findings, and identical")

        # (15) A witness has no part in the ledger: what it signed was so at that time, whatever the ledger says.
        sheet.begin("witness")
        sheet.hold("", UNCLAIMED)
        for witness in witnesses:
            brackets += find_brackets(findings, witness)
            sheet.hold(f"cosigned by {', '.join(sorted({shown(item.witness) for item in brackets}))}")
    except Failed as failed:
        sheet.fail(failed.why)
        return Report(sheet.claims())
    except Exception as error:
        # A bug of ours, or no memory left: never a proof, and never a traceback before a court.
        sheet.fail(f"the program could not finish this step ({type(error).__name__})")
        return Report(sheet.claims())
    files = {item.file: members[item.file] for item in findings.disclosed if item.file is not None}
    return Report(sheet.claims(), findings, files, brackets)


def examine(members: Members, key: Key, sheet: Sheet, former: Iterable[Key] = ()) -> Findings:
    """Steps (2) to (12): return what the members prove under `key`, or raise Failed with `sheet` at the step."""
    # (2) package.json is where the other steps learn what they look for; it proves nothing by itself.
    sheet.begin("package")
    about = parse_package(_member(members, "package.json"))
    sheet.hold(f"{KINDS[about.kind]} {about.name}, ledger {shown(about.ledger)}")

    # (3) One signature covers everything: the checkpoint commits to every entry of the log.
    sheet.begin("checkpoint")
    note = _member(members, "checkpoint")
    checkpoint = open_checkpoint(note, key)
    if checkpoint.origin != about.ledger or checkpoint.size != about.size:
        raise Failed("package.json names another ledger or another size than the checkpoint")
    witnessed = open_witnessed(members, checkpoint, key)
    sheet.hold(f"{about.size} entries, root hash {_base64(checkpoint.root)}")

    # (4) RFC 6962 §2.1.1. The bytes of an entry are hashed before anything in them is read.
    sheet.begin("inclusion")
    lines = split_lines(_member(members, "entries.jsonl"))
    indices = sorted(int(match.group(1)) for match in map(_PROOF_NAME.fullmatch, members) if match)
    if len(lines) != len(indices):
        raise Failed(f"{len(lines)} entries, but {len(indices)} proofs")
    if not lines and about.index is None:
        raise Failed("there are no entries, and no index that says so")
    for index, line in zip(indices, lines):  # noqa: B905  (Python 3.9; the lengths were compared)
        proof = parse_proof(members[f"proofs/{index}.tlog-proof"], f"proofs/{index}.tlog-proof", index, note)
        check_inclusion(line, index, checkpoint, proof)
    span = f"{len(lines)} entries, from index {indices[0]} to {indices[-1]}" if lines else "no entries are shown"
    sheet.hold(span, PROVEN if lines else UNCLAIMED)

    # (5) The log holds whatever its operator put in; here it must be entries, at the index that they state.
    sheet.begin("entries")
    entries = [parse_entry(line, index, about.ledger) for index, line in zip(indices, lines)]  # noqa: B905
    for before, entry in zip(entries, entries[1:]):  # noqa: B905, RUF007  (Python 3.9)
        if entry.recorded_at < before.recorded_at:
            raise Failed(f"entry {entry.index} was recorded before entry {before.index}")
    if len({entry.id for entry in entries}) != len(entries):
        raise Failed("two entries have the same id")
    moments = f"recorded from {entries[0].recorded_at} to {entries[-1].recorded_at}" if entries else ""
    sheet.hold(moments, PROVEN if entries else UNCLAIMED)

    # (6)
    sheet.begin("about")
    for entry in entries:
        if about.tag not in entry.tags:
            raise Failed(f"entry {entry.index} is not about this {KINDS[about.kind]}")
    sheet.hold(f"each carries the tag {shown(about.tag)}" if entries else "", PROVEN if entries else UNCLAIMED)

    # (7) The ledger numbers the events of a tag from 1, and each names the index of the one before it. This says
    # nothing about events after the last one: that is for the index.
    sheet.begin("chain")
    previous: int | None = None
    for count, entry in enumerate(entries, 1):
        if entry.tags[about.tag] != (count, previous):
            raise Failed(f"entry {entry.index} is not the next event of it after {count - 1} shown")
        previous = entry.index
    numbered = f"events 1 to {len(entries)}, each naming the one before it" if entries else ""
    sheet.hold(numbered, PROVEN if entries else UNCLAIMED)

    # (8) The index of all tags is committed to by an entry of the log, so the one signature covers it too.
    sheet.begin("index")
    committed: IndexEntry | None = None
    if about.index is None:
        sheet.hold("", UNCLAIMED)
    else:
        line, name = _member(members, "index/entry.json"), "index/entry.tlog-proof"
        check_inclusion(line, about.index, checkpoint, parse_proof(_member(members, name), name, about.index, note))
        committed = parse_index_entry(line, about.index, about.ledger)
        sheet.hold(f"entry {about.index}: {committed.tags} tags, root hash {committed.root.hex()}")

    # (9) So many events with such leaf hashes, in this order: nothing can be left out of them, nor put in.
    sheet.begin("complete")
    complete: Complete | None = None
    if committed is None:
        sheet.hold("", UNCLAIMED)
    else:
        count, head = parse_index_proof(_member(members, "index/proof.json"), about, committed.root)
        if count != len(entries):
            raise Failed(f"{len(entries)} entries are shown, the index counts {count}")
        if head_of(lines) != head:
            raise Failed("the entries shown are not the ones that the index counts")
        if entries and (entries[-1].index >= committed.index or entries[-1].recorded_at > committed.recorded_at):
            raise Failed(f"entry {entries[-1].index} is not before the index entry")
        complete = Complete(committed.index, count, committed.root.hex())
        sheet.hold(f"{complete.text}, among the first {complete.size} entries of the log")

    # (10) The later log extends that of the moment; the index entry came after it, so it covers all there was by then.
    sheet.begin("as-of")
    cut: Cut | None = None
    if about.as_of is None:
        sheet.hold("", UNCLAIMED)
    else:
        if committed is None:
            raise Failed("a moment is asked for, but there is no index")
        cut = check_cut(members, about.as_of, entries, committed, checkpoint, [key, *former])
        sheet.hold(f"{cut.count} of {len(entries)} by {cut.as_of}, when the log had {cut.size} entries")

    # (11) A disclosed value is right when its salted hash is the commitment in the entry. A field that the package
    # does not disclose stays a commitment: it is withheld, and every other proof stays whole.
    sheet.begin("fields")
    disclosed: list[Disclosed] = []
    for entry in entries:
        if f"fields/{entry.index}.json" in members:
            disclosed += open_fields(entry, members)
    known = {(item.index, item.name) for item in disclosed}
    sealed = [(entry.index, name) for entry in entries for name in sorted(entry.sealed)]
    withheld = tuple(item for item in sealed if item not in known)
    text = f"{len(disclosed)} disclosed, {len(withheld)} withheld"
    sheet.hold(text, PROVEN if disclosed else UNCLAIMED)

    # (12)
    sheet.begin("members")
    expected = ["README.txt", "verify.py", "package.json", "checkpoint", "entries.jsonl"]
    expected += ["index/entry.json", "index/entry.tlog-proof", "index/proof.json"] if complete else []
    expected += ["as-of/checkpoint", "as-of/consistency"] if cut else []
    for size, _ in witnessed:
        expected += [f"witness/{size}.checkpoint", f"witness/{size}.consistency"]
    expected += [f"proofs/{index}.tlog-proof" for index in indices]
    expected += [f"fields/{index}.json" for index in sorted({item.index for item in disclosed})]
    expected += [item.file for item in disclosed if item.file is not None]
    extra, missing = set(members) - set(expected), set(expected) - set(members)
    if extra or missing:
        name = min(extra | missing)
        raise Failed(f"{name} {'is missing' if name in missing else 'does not belong here'}")
    sheet.hold(f"{len(expected)} files")

    return Findings(
        ledger=about.ledger,
        kind=about.kind,
        tag=about.tag,
        size=about.size,
        root=_base64(checkpoint.root),
        story=tuple(entry.event for entry in entries),
        complete=complete,
        cut=cut,
        witnessed=witnessed,
        disclosed=tuple(disclosed),
        withheld=withheld,
        digests=tuple((name, _hex(members[name])) for name in expected if name != "README.txt"),
    )


def own_source() -> bytes:
    """Return the bytes of the verify.py that is running."""
    try:
        with open(__file__, "rb") as file:
            return file.read()
    except OSError:
        raise Failed("the running verify.py cannot read its own file") from None


def _member(members: Members, name: str) -> bytes:
    if name not in members:
        raise Failed(f"{name} is missing")
    return members[name]


# --- (1) The container: a zip file in one possible form (APPNOTE 6.3.10 §4.3, stored members only) ------------

_PROOF_NAME = re.compile(r"proofs/(0|[1-9][0-9]{0,15})\.tlog-proof")
_WITNESSED_NAME = re.compile(r"witness/(0|[1-9][0-9]{0,15})\.checkpoint")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")  # of a field that is disclosed as a file
_MEMBER_NAMES = (
    re.compile(r"README\.txt"),
    re.compile(r"verify\.py"),
    re.compile(r"package\.json"),
    re.compile(r"checkpoint"),
    re.compile(r"entries\.jsonl"),
    re.compile(r"index/entry\.json"),
    re.compile(r"index/entry\.tlog-proof"),
    re.compile(r"index/proof\.json"),
    re.compile(r"as-of/checkpoint"),
    re.compile(r"as-of/consistency"),
    _WITNESSED_NAME,
    re.compile(r"witness/(0|[1-9][0-9]{0,15})\.consistency"),
    _PROOF_NAME,
    re.compile(r"fields/(0|[1-9][0-9]{0,15})\.json"),
    re.compile(rf"orders/(0|[1-9][0-9]{{0,15}})\.{_FIELD_NAME.pattern}\.bin"),
)
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_STORED = (0, 0, 0, 0x0021)  # no flags, method "stored", 00:00:00, 1980-01-01
_NEEDS_ZIP_1_0 = 10
_MADE_BY_ZIP_2_0_UNIX = 0x0314
_REGULAR_FILE_0644 = 0o100644 << 16


def member_order(name: str) -> tuple[int, int, str]:
    """Return the sort key of a member's name; raise Failed for a name that no package has.

    The names hold no path but the six folders, so unpacking one with any tool stays inside its folder.
    """
    for place, pattern in enumerate(_MEMBER_NAMES):
        match = pattern.fullmatch(name)
        if match:
            return (place, int(match.group(1)) if match.lastindex else 0, name)
    raise Failed(f"{shown(name)} is not a name that a package has")


def zip_pieces(members: Members) -> Iterator[bytes]:
    """Yield the canonical zip file of `members`, piece by piece."""
    directory = []
    offset = 0
    for name in sorted(members, key=member_order):
        content = members[name]
        path = name.encode("ascii")
        facts = (*_STORED, binascii.crc32(content), len(content), len(content), len(path), 0)
        yield _LOCAL.pack(b"PK\x03\x04", _NEEDS_ZIP_1_0, *facts) + path
        yield content
        head = _CENTRAL.pack(
            b"PK\x01\x02", _MADE_BY_ZIP_2_0_UNIX, _NEEDS_ZIP_1_0, *facts, 0, 0, 0, _REGULAR_FILE_0644, offset
        )
        directory.append(head + path)
        offset += _LOCAL.size + len(path) + len(content)
    central = b"".join(directory)
    yield central
    yield _END.pack(b"PK\x05\x06", 0, 0, len(directory), len(directory), len(central), offset, 0)


def read_package(package: bytes) -> Members:
    """Return the members of a canonical package: name → bytes. Raises Failed.

    The file is walked from its first byte; then the canonical form of what was found is compared with every byte
    of it, which leaves no header, checksum, order, gap or trailer that could differ.
    """
    if len(package) > MAX_PACKAGE_BYTES:
        raise Failed(f"the file is larger than {MAX_PACKAGE_BYTES} bytes")
    members: Members = {}
    at = 0
    while package[at : at + 4] == b"PK\x03\x04":
        if len(members) == MAX_MEMBERS:
            raise Failed(f"more than {MAX_MEMBERS} files")
        if len(package) - at < _LOCAL.size:
            raise Failed("the zip file ends too early")
        _, _, flags, method, _, _, _, packed, size, name_size, extra_size = _LOCAL.unpack_from(package, at)
        if method != 0 or packed != size:
            raise Failed("a file in it is compressed")
        if flags != 0 or extra_size != 0:
            raise Failed("a file in it is encrypted, streamed or has extra fields")
        if name_size > MAX_NAME_BYTES:
            raise Failed(f"a name longer than {MAX_NAME_BYTES} bytes")
        at += _LOCAL.size
        name = package[at : at + name_size].decode("ascii", "backslashreplace")
        member_order(name)
        at += name_size
        if size > len(package) - at:
            raise Failed("the zip file ends too early")
        if name in members:
            raise Failed(f"{name} is in it twice")
        members[name] = package[at : at + size]
        at += size
    at = 0
    for piece in zip_pieces(members):
        if package[at : at + len(piece)] != piece:
            raise Failed(f"not in canonical form, at byte {at} or soon after")
        at += len(piece)
    if at != len(package):
        raise Failed("something follows the zip file")
    return members


# --- (2) package.json and canonical JSON (RFC 8785, without floating point) -----------------------------------

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class About:
    """What package.json says."""

    ledger: str
    kind: str
    tag: str
    size: int
    index: int | None
    as_of: str | None

    @property
    def name(self) -> str:
        return name_of(self.kind, self.tag)


def name_of(kind: str, tag: str) -> str:
    """Return the id in the tag of an order and the like, else the tag, safe to print."""
    return shown(tag if kind == "tag" else tag.partition(":")[2])


def parse_package(data: bytes) -> About:
    """Return what a package says it is about. Raises Failed."""
    what = "package.json"
    package = parse_canonical(data, what, MAX_ENTRY_BYTES)
    if not isinstance(package, dict) or set(package) != {"as_of", "index", "kind", "ledger", "size", "tag", "v"}:
        raise Failed("package.json has other members than as_of, index, kind, ledger, size, tag and v")
    kind = package["kind"]
    if not _is_version(package["v"], VERSION) or not isinstance(kind, str) or kind not in KINDS:
        raise Failed("package.json is of a kind or version that this program does not know")
    ledger, tag = _text(package["ledger"], what), _text(package["tag"], what)
    if not is_key_name(ledger):
        raise Failed("package.json names a ledger by a name that no ledger has")
    if not tag or (kind != "tag" and not (tag.startswith(kind + ":") and _UUID.fullmatch(tag[len(kind) + 1 :]))):
        raise Failed(f"package.json names {'an' if kind == 'order' else 'a'} {kind} by something that is not an id")
    index = None if package["index"] is None else _count(package["index"], what)
    as_of = None if package["as_of"] is None else _text(package["as_of"], what)
    if as_of is not None:
        _check_moment(as_of, what)
    return About(ledger, kind, tag, _count(package["size"], what), index, as_of)


def canonical(value: object) -> bytes:
    """Return the canonical JSON of `value`: strings, integers, booleans, null, lists and dictionaries of text."""
    try:
        text = json.dumps(_sorted(value, 0), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Failed("JSON with half a surrogate pair, which is no text") from None


def _sorted(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Failed(f"JSON nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        if "\x00" in value:
            raise Failed("JSON with a NUL character")
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Failed("JSON with an integer beyond 2^53")
        return value
    if isinstance(value, (list, tuple)):
        return [_sorted(item, depth + 1) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) and "\x00" not in name for name in value):
        # RFC 8785 §3.2.3: names in the order of their UTF-16 code units.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return {name: _sorted(value[name], depth + 1) for name in names}
    raise Failed("JSON with a floating-point number, or something that JSON does not have")


def parse_canonical(data: bytes, what: str, limit: int) -> Json:
    """Return the value whose canonical form is exactly `data`. Raises Failed, naming `what`."""
    if len(data) > limit:
        raise Failed(f"{what} is larger than {limit} bytes")
    try:
        value: Json = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_exact_integer,
        )
        same = canonical(value) == data
    except Failed as failed:
        raise Failed(f"{what}: {failed.why}") from None
    except (ValueError, RecursionError):
        raise Failed(f"{what} is not JSON") from None
    if not same:
        raise Failed(f"{what} is not canonical JSON")
    return value


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Failed("JSON that names a member twice")
    return value


def _no_float(_: str) -> NoReturn:
    raise Failed("JSON with a floating-point number")


def _exact_integer(digits: str) -> int:
    if len(digits) > 17:
        raise Failed("JSON with an integer beyond 2^53")
    return int(digits)


def _is_version(value: Json, version: int) -> bool:
    return type(value) is int and value == version  # to Python, true == 1


def _text(value: Json, what: str) -> str:
    if not isinstance(value, str):
        raise Failed(f"{what} has something else where text belongs")
    return value


def _count(value: Json, what: str) -> int:
    if type(value) is not int or value < 0:
        raise Failed(f"{what} has something else where a number from 0 belongs")
    return value


# --- (3) The checkpoint: c2sp.org/signed-note, c2sp.org/tlog-checkpoint ---------------------------------------

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_ED25519 = b"\x01"  # signature type of c2sp.org/signed-note


def is_key_name(name: str) -> bool:
    """Say whether `name` may name a key: not empty, no spaces, no plus, nothing below U+0020."""
    return name != "" and "+" not in name and not any(c.isspace() or c < " " for c in name)


def parse_key(text: str, type: bytes = _ED25519) -> Key:
    """Return the key of `<name>+<8 hex digits>+<base64>`, of a ledger unless another type is asked. Raises Failed."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not is_key_name(parts[0]):
        raise Failed("a key has the form <name>+<8 hex digits>+<base64>")
    name, key_id, encoded = parts
    data = _unbase64(encoded, "the key")
    if len(data) != 33 or data[:1] != type:
        raise Failed("the key is not an Ed25519 key" + (" of a witness" if type == _COSIGNATURE else ""))
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass") + b"\n" + data).digest()[:4]
    if key_id != digest.hex():
        raise Failed("the key is damaged: its 8 hex digits do not fit")
    _decode_key(data[1:])
    return Key(name, digest, data[1:])


def open_checkpoint(note: bytes, key: Key) -> Checkpoint:
    """Return the checkpoint in a signed note, once a signature by `key` verifies. Raises Failed.

    Signatures by other keys are ignored; of those by `key`, each must hold. No extension lines.
    """
    text, signatures = _split_note(note)
    good = 0
    for name, key_id, signature in signatures:
        if name == key.name and key_id == key.id:
            check_ed25519(key.public, text, signature)
            good += 1
    if not good:
        raise Failed(f"the checkpoint is not signed by the key {shown(key.name)}+{key.id.hex()}")
    # Only now is the text looked at.
    lines = text.decode("utf-8").split("\n")
    if len(lines) != 4 or not _DECIMAL.fullmatch(lines[1]):
        raise Failed("the checkpoint is not three lines: origin, size and root hash")
    if lines[0] != key.name:
        raise Failed("the checkpoint is of another ledger than the key")
    root = _unbase64(lines[2], "the root hash")
    if len(root) != 32:
        raise Failed("the root hash is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def open_by_any(note: bytes, keys: list[Key]) -> Checkpoint:
    """Return the checkpoint that at least one of the ledger's keys signed; each signature must hold. Raises Failed."""
    _, signatures = _split_note(note)
    there = [key for key in keys if any((name, id) == (key.name, key.id) for name, id, _ in signatures)]
    if not there:
        raise Failed("a checkpoint is not signed by the ledger's key")
    opened = [open_checkpoint(note, key) for key in there]
    return opened[0]


def _split_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    """Return the text that is signed, and (key name, key id, signature) of each signature line."""
    if len(note) > MAX_NOTE_BYTES:
        raise Failed(f"the checkpoint is larger than {MAX_NOTE_BYTES} bytes")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise Failed("the checkpoint is not UTF-8") from None
    if any(c < " " and c != "\n" for c in whole):
        raise Failed("the checkpoint has control characters")
    # The text is separated from the signatures by the last empty line in the note.
    text, empty, block = whole.rpartition("\n\n")
    if not text or not empty or not block.endswith("\n"):
        raise Failed("the checkpoint is not a text, an empty line and signatures")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise Failed(f"the checkpoint has more than {MAX_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if dash != "\u2014" or not is_key_name(name):
            raise Failed("the checkpoint has a signature line that is malformed")
        data = _unbase64(encoded, "a signature")
        if len(data) < 5:
            raise Failed("the checkpoint has a signature that is too short")
        signatures.append((name, data[:4], data[4:]))
    return (text + "\n").encode("utf-8"), signatures


def _unbase64(text: str, what: str) -> bytes:
    """Return the bytes of canonical base64 (RFC 4648 §4, §3.5): padded, and no stray bits at the end."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Failed(f"{what} is not base64") from None
    if _base64(data) != text:
        raise Failed(f"{what} is not canonical base64")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64url(value: Json, size: int, what: str) -> bytes:
    """Return the `size` bytes of canonical base64url without padding (RFC 4648 §5)."""
    text = _text(value, what)
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    if len(data) != size or base64url(data) != text:
        raise Failed(f"{what} is not {size} bytes in canonical base64url")
    return data


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- (4) Inclusion: c2sp.org/tlog-proof@v1, RFC 6962 §2.1 -----------------------------------------------------


def split_lines(data: bytes) -> list[bytes]:
    """Return the lines of entries.jsonl; canonical JSON holds no newline, so each line is one entry."""
    if not data:
        return []
    if not data.endswith(b"\n"):
        raise Failed("entries.jsonl does not end its last line")
    if data.count(b"\n") > MAX_ENTRIES:
        raise Failed(f"entries.jsonl has more than {MAX_ENTRIES} entries")
    return data[:-1].split(b"\n")


def parse_proof(data: bytes, what: str, index: int, note: bytes) -> list[bytes]:
    """Return the hashes of a tlog-proof of `index`, leaf's sibling first. Raises Failed.

    It must embed exactly `note`. Extra data is refused: nothing would authenticate it.
    """
    head, empty, embedded = data.partition(b"\n\n")
    if not empty or embedded != note:
        raise Failed(f"{what} is not against the checkpoint of this package")
    lines = head.split(b"\n")
    if len(lines) > 2 + MAX_PROOF_HASHES or lines[0] != b"c2sp.org/tlog-proof@v1":
        raise Failed(f"{what} is not a tlog-proof")
    if lines[1:2] != [b"index %d" % index]:
        raise Failed(f"{what} does not name its index on the second line")
    hashes = [_unbase64(line.decode("ascii", "replace"), what) for line in lines[2:]]
    if any(len(node) != 32 for node in hashes):
        raise Failed(f"{what} has a hash that is not 32 bytes")
    return hashes


def check_inclusion(leaf: bytes, index: int, checkpoint: Checkpoint, proof: list[bytes]) -> None:
    """Raise Failed unless `leaf` is the entry at `index` under the root. RFC 9162 §2.1.3.2 (hashes as RFC 6962)."""
    if len(leaf) > MAX_ENTRY_BYTES:
        raise Failed(f"entry {index} is larger than {MAX_ENTRY_BYTES} bytes")
    if index >= checkpoint.size:
        raise Failed(f"entry {index} is beyond the {checkpoint.size} entries of the log")
    node = hashlib.sha256(b"\x00" + leaf).digest()
    first, last = index, checkpoint.size - 1
    for sibling in proof:
        if last == 0:
            raise Failed(f"the proof of entry {index} is too long")
        if first & 1 or first == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not first & 1 and first != 0:
                first, last = first >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        first, last = first >> 1, last >> 1
    if last != 0 or node != checkpoint.root:
        raise Failed(f"entry {index} is not the one that stands in the log")


# --- (5) Entries, and the story they tell ---------------------------------------------------------------------

_ENTRY_MEMBERS = {"data", "id", "index", "ledger", "recorded_at", "sealed", "tags", "type", "v"}
_TYPE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

STORY = {
    "order-recorded": "the order was received and recorded",
    "order-amended": "the order was changed by a later message",
    "order-cancelled": "the order was cancelled",
    "order-rejected": "the order was rejected",
    "order-executed": "the order was carried out",
    "order-confirmed": "the order was confirmed",
    "order-disputed": "the order was disputed",
    "dispute-resolved": "the dispute was resolved",
    "subject-registered": "the person was registered",
    "identifier-linked": "an identifier was linked to the person",
    "consent-given": "consent was given",
    "consent-withdrawn": "consent was withdrawn",
    "personal-data-collected": "personal data was collected",
    "data-corrected": "personal data was corrected",
    "disclosure-requested": "a disclosure was asked for",
    "disclosure-authorized": "a disclosure was authorized",
    "disclosure-refused": "a disclosure was refused",
    "disclosure-transmitted": "a disclosure was carried out",
    "disclosure-voided": "a disclosure was voided",
    "erasure-decided": "an erasure was decided",
    "key-destroyed": "a key was destroyed, and what was sealed under it with it",
    "personal-data-erased": "personal data was erased",
}


@dataclass(frozen=True)
class Entry:
    """What the later steps need of one entry. `tags`: tag → (n, index before); `sealed`: field → commitment."""

    index: int
    id: str
    recorded_at: str
    tags: dict[str, tuple[int, int | None]]
    sealed: dict[str, bytes]
    data: dict[str, Json]
    event: Event


def parse_entry(line: bytes, index: int, ledger: str) -> Entry:
    """Return the entry in canonical JSON that stands at `index` of `ledger`. Raises Failed."""
    what = f"entry {index}"
    entry = parse_canonical(line, what, MAX_ENTRY_BYTES)
    if not isinstance(entry, dict) or set(entry) != _ENTRY_MEMBERS:
        raise Failed(f"{what} has other members than an entry has")
    if not _is_version(entry["v"], ENTRY_VERSION):
        raise Failed(f"{what} is of a version that this program does not know")
    if entry["ledger"] != ledger or _count(entry["index"], what) != index:
        raise Failed(f"{what} names another ledger or another index")
    id, type, recorded_at = (_text(entry[name], what) for name in ("id", "type", "recorded_at"))
    if not _UUID.fullmatch(id) or not _TYPE.fullmatch(type):
        raise Failed(f"{what} has no valid id or type")
    _check_moment(recorded_at, what)
    sealed, data = entry["sealed"], entry["data"]
    if not isinstance(sealed, dict) or not isinstance(data, dict):
        raise Failed(f"{what} has no valid data or commitments")
    return Entry(
        index=index,
        id=id,
        recorded_at=recorded_at,
        tags=_parse_tags(entry["tags"], index),
        sealed={name: _unbase64url(value, 32, "a commitment of " + what) for name, value in sealed.items()},
        data=data,
        event=Event(index, recorded_at, type, STORY.get(type, "an event of another type"), _facts(data)),
    )


def _check_moment(text: str, what: str) -> None:
    try:
        if _MOMENT.fullmatch(text):
            datetime.fromisoformat(text[:-1])
            return
    except ValueError:
        pass
    raise Failed(f"{what} has no valid time of recording")


def _parse_tags(value: Json, index: int) -> dict[str, tuple[int, int | None]]:
    what = f"a tag of entry {index}"
    if not isinstance(value, list):
        raise Failed(f"entry {index} has no list of tags")
    tags: dict[str, tuple[int, int | None]] = {}
    last = ""
    for item in value:
        if not isinstance(item, list) or len(item) != 3:
            raise Failed(f"{what} is not [tag, count, index before]")
        tag, count = _text(item[0], what), _count(item[1], what)
        before = None if item[2] is None else _count(item[2], what)
        # The first event of a tag has none before it; every later one has, and at a lower index.
        if count < 1 or (count == 1) != (before is None) or (before is not None and before >= index):
            raise Failed(f"{what} contradicts itself")
        if tag <= last:
            raise Failed(f"the tags of entry {index} are not sorted")
        tags[tag] = (count, before)
        last = tag
    return tags


def _facts(data: dict[str, Json]) -> tuple[str, ...]:
    """Return the data of an event as lines for people: recorded values as they stand, none of them interpreted."""
    lines: list[str] = []
    for name, value in data.items():
        if name == "order_id" or value is None or value == []:
            continue
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            lines += [f"{shown(name)} {n}: {_flat(item)}" for n, item in enumerate(value, 1)]
        else:
            lines.append(f"{shown(name)}: {_flat(value)}")
    if len(lines) > MAX_FACTS:
        lines = [*lines[:MAX_FACTS], f"and {len(lines) - MAX_FACTS} more, in entries.jsonl"]
    return tuple(lines)


def _flat(value: Json) -> str:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return shown(", ".join(f"{k} {v if isinstance(v, str) else _compact(v)}" for k, v in value.items()))
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return shown(", ".join(map(str, value)))
    return shown(_compact(value))


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def shown(text: str) -> str:
    r"""Return `text` safe to print: ASCII and Latin letters stay, anything else becomes \u{hex}; cut when long.

    No terminal command, line break or change of writing direction survives. The ranges are fixed, so that every
    version of Python writes the same README.
    """
    cut = text[:MAX_SHOWN]
    safe = "".join(
        c if (" " <= c <= "~" and c != "\\") or "\u00c0" <= c <= "\u024f" else f"\\u{{{ord(c):x}}}" for c in cut
    )
    return safe if len(text) <= MAX_SHOWN else safe + " (cut)"


# --- (8) (9) The index of all tags: a compact sparse Merkle tree ----------------------------------------------
#
#     key   = SHA256("prooftrail/tag/v1" ‖ 0x00 ‖ ledger ‖ 0x00 ‖ tag)       its bits, the highest first: 0 goes left
#     head  = 32 zero bytes; with each event SHA256(0x12 ‖ head ‖ leaf hash of its entry)
#     leaf  = SHA256(0x10 ‖ key ‖ count as 8 bytes ‖ head)
#     node  = SHA256(0x11 ‖ left ‖ right)
# A subtree without leaves is 32 zero bytes, and one with a single leaf is that leaf.

_EMPTY = bytes(32)
_HEX_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class IndexEntry:
    """An entry that commits to the index over all entries before it."""

    index: int
    recorded_at: str
    root: bytes
    tags: int


def parse_index_entry(line: bytes, index: int, ledger: str) -> IndexEntry:
    """Return the commitment in the entry at `index`. Raises Failed."""
    entry = parse_entry(line, index, ledger)
    data = entry.data
    if entry.event.type != "index-committed" or set(data) != {"root", "size", "tags"} or entry.tags or entry.sealed:
        raise Failed(f"entry {index} is not a commitment to an index")
    root = _text(data["root"], "the index entry")
    if not _HEX_HASH.fullmatch(root) or _count(data["size"], "the index entry") != index:
        raise Failed(f"entry {index} does not commit to an index of exactly the entries before it")
    return IndexEntry(index, entry.recorded_at, bytes.fromhex(root), _count(data["tags"], "the index entry"))


def head_of(lines: Iterable[bytes]) -> bytes:
    """Return the head that these entries lead to."""
    head = _EMPTY
    for line in lines:
        head = hashlib.sha256(b"\x12" + head + hashlib.sha256(b"\x00" + line).digest()).digest()
    return head


def parse_index_proof(data: bytes, about: About, root: bytes) -> tuple[int, bytes]:
    """Return how many events the index with this root counts for the tag, and their head. Raises Failed.

    The way from the root along the key of the tag ends in its leaf, in another tag's leaf, or in nothing.
    """
    what = "index/proof.json"
    proof = parse_canonical(data, what, MAX_INDEX_PROOF_BYTES)
    if not isinstance(proof, dict) or set(proof) != {"end", "path", "tag", "v"} or not _is_version(proof["v"], 1):
        raise Failed(f"{what} has other members than end, path, tag and v, or is of another version")
    path, end = proof["path"], proof["end"]
    if proof["tag"] != about.tag or not isinstance(path, list) or len(path) > KEY_BITS:
        raise Failed(f"{what} is about another tag, or has no path of at most {KEY_BITS} hashes")
    siblings = [_index_hash(item, what) for item in path]
    key = hashlib.sha256(b"prooftrail/tag/v1\x00" + f"{about.ledger}\x00{about.tag}".encode()).digest()
    way = int.from_bytes(key, "big")
    node, count, head = _EMPTY, 0, _EMPTY
    if end is not None:
        if not isinstance(end, dict) or set(end) not in ({"head", "n"}, {"head", "key", "n"}):
            raise Failed(f"{what} ends in something else than a leaf or nothing")
        n, end_head = _count(end["n"], what), _unbase64url(end["head"], 32, what)
        end_key = key
        if "key" in end:
            # Another tag's leaf shows that the tag has none, but only where the tag's own would stand.
            end_key = _unbase64url(end["key"], 32, what)
            below = KEY_BITS - len(siblings)
            if end_key == key or int.from_bytes(end_key, "big") >> below != way >> below:
                raise Failed(f"{what} ends in a leaf that is not where the tag would be")
        else:
            count, head = n, end_head
        if n < 1:
            raise Failed(f"{what} ends in a tag without events")
        node = hashlib.sha256(b"\x10" + end_key + n.to_bytes(8, "big") + end_head).digest()
    if siblings and siblings[0] == _EMPTY:
        raise Failed(f"{what} goes deeper than an index does")
    for depth, sibling in zip(range(len(siblings) - 1, -1, -1), siblings):  # noqa: B905  (Python 3.9)
        right = way >> (KEY_BITS - 1 - depth) & 1
        node = hashlib.sha256(b"\x11" + (sibling + node if right else node + sibling)).digest()
    if node != root:
        raise Failed(f"{what} does not lead to the root that the log commits to")
    return count, head


def _index_hash(value: Json, what: str) -> bytes:
    if value == "":
        return _EMPTY
    node = _unbase64url(value, 32, "a hash of " + what)
    if node == _EMPTY:
        raise Failed(f"{what} writes an empty subtree in another form than an empty text")
    return node


# --- (10) As of a moment --------------------------------------------------------------------------------------


def check_cut(
    members: Members, as_of: str, entries: list[Entry], committed: IndexEntry, checkpoint: Checkpoint, keys: list[Key]
) -> Cut:
    """Return where the history stood at the moment `as_of`. Raises Failed."""
    then = open_by_any(_member(members, "as-of/checkpoint"), keys)
    if not 0 < then.size <= committed.index or committed.recorded_at <= as_of:
        raise Failed("the index does not cover everything that was recorded by then")
    check_consistency(then, checkpoint, parse_consistency(members, "as-of/consistency"))
    for entry in entries:
        if (entry.index < then.size) != (entry.recorded_at <= as_of):
            raise Failed(f"entry {entry.index} is on the wrong side of that moment")
    return Cut(as_of, then.size, sum(entry.index < then.size for entry in entries))


def parse_consistency(members: Members, what: str) -> list[bytes]:
    """Return the hashes of a consistency proof, one a line. Raises Failed."""
    lines = _member(members, what).split(b"\n")
    if lines.pop() != b"" or len(lines) > MAX_PROOF_HASHES + 1:
        raise Failed(f"{what} is not one hash a line")
    proof = [_unbase64(line.decode("ascii", "replace"), what) for line in lines]
    if any(len(node) != 32 for node in proof):
        raise Failed(f"{what} has a hash that is not 32 bytes")
    return proof


def check_consistency(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> None:
    """Raise Failed unless the log of `new` extends the one of `old`, which has an entry. RFC 9162 §2.1.4.2."""
    if old.size > new.size or (old.size == new.size and (old.root != new.root or proof)):
        raise Failed("the log is not an extension of the one at that moment")
    if old.size == new.size:
        return
    if old.size & (old.size - 1) == 0:
        proof = [old.root, *proof]
    first, last = old.size - 1, new.size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old_node = new_node = proof[0] if proof else b""
    for sibling in proof[1:]:
        if last == 0:
            raise Failed("the proof that the log was only extended is too long")
        if first & 1 or first == last:
            old_node = hashlib.sha256(b"\x01" + sibling + old_node).digest()
            new_node = hashlib.sha256(b"\x01" + sibling + new_node).digest()
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            new_node = hashlib.sha256(b"\x01" + new_node + sibling).digest()
        first, last = first >> 1, last >> 1
    if last != 0 or old_node != old.root or new_node != new.root:
        raise Failed("the log is not an extension of the one at that moment")


# --- (11) Disclosed fields ------------------------------------------------------------------------------------


def commitment(salt: bytes, name: str, value: bytes) -> bytes:
    """Return SHA256("prooftrail/field/v1" ‖ 0x00 ‖ salt ‖ field name ‖ 0x00 ‖ value)."""
    digest = hashlib.sha256(b"prooftrail/field/v1\x00" + salt + name.encode("utf-8") + b"\x00")
    digest.update(value)
    return digest.digest()


def is_field_name(name: str) -> bool:
    """Say whether a field may be called so."""
    return _FIELD_NAME.fullmatch(name) is not None


def order_file(index: int, name: str) -> str:
    """Return the member's name for a field that is disclosed as a file. Raises Failed for a name that is not safe."""
    if len(name) > 60 or not is_field_name(name):
        raise Failed(f"the field {shown(name)} of entry {index} cannot name a file")
    return f"orders/{index}.{name}.bin"


def open_fields(entry: Entry, members: Members) -> list[Disclosed]:
    """Return the fields of `entry` that are disclosed, each matching its commitment. Raises Failed.

    A value is committed to by its canonical JSON, a file by its bytes.
    """
    what = f"fields/{entry.index}.json"
    fields = parse_canonical(members[what], what, MAX_FIELDS_BYTES)
    if not isinstance(fields, dict) or not fields:
        raise Failed(f"{what} names no field")
    disclosed = []
    for name, opening in fields.items():
        if name not in entry.sealed:
            raise Failed(f"{what} names a field that entry {entry.index} does not have")
        if not isinstance(opening, dict) or set(opening) not in ({"salt", "value"}, {"salt", "file"}):
            raise Failed(f"{what} has a field that is not a salt and a value or a file")
        salt = _unbase64url(opening["salt"], 16, "a salt in " + what)
        file = None
        if "file" in opening:
            file = order_file(entry.index, name)
            if opening["file"] != file:
                raise Failed(f"{what} names another file than {file}")
            value = _member(members, file)
        else:
            value = canonical(opening["value"])
        if commitment(salt, name, value) != entry.sealed[name]:
            raise Failed(f"the field {shown(name)} of entry {entry.index} is not the one recorded")
        disclosed.append(Disclosed(entry.index, name, file, len(value), _hex(value)))
    return disclosed


# --- (3), (15) Checkpoints that witnesses cosigned: c2sp.org/tlog-cosignature, Ed25519 ------------------------

_COSIGNATURE = b"\x04"  # signature type of c2sp.org/signed-note


def open_witnessed(members: Members, checkpoint: Checkpoint, key: Key) -> tuple[tuple[int, bytes], ...]:
    """Return (size, note) of each checkpoint in witness/, once the ledger signed it and its log extends it.

    Who cosigned it is for `find_brackets`, which needs the keys of witnesses. Raises Failed.
    """
    sizes = sorted(int(match.group(1)) for match in map(_WITNESSED_NAME.fullmatch, members) if match)
    if len(sizes) > MAX_WITNESSED:
        raise Failed(f"more than {MAX_WITNESSED} checkpoints for witnesses")
    found = []
    for size in sizes:
        note = members[f"witness/{size}.checkpoint"]
        then = open_checkpoint(note, key)
        if then.size != size or size < 1:
            raise Failed(f"witness/{size}.checkpoint is of another size")
        check_consistency(then, checkpoint, parse_consistency(members, f"witness/{size}.consistency"))
        found.append((size, note))
    return tuple(found)


def parse_witness_key(text: str) -> Key:
    """Return the key of a witness, `<name>+<8 hex digits>+<base64>` of type 0x04. Raises Failed."""
    return parse_key(text, _COSIGNATURE)


def find_brackets(findings: Findings, witness: Key) -> tuple[Bracket, ...]:
    """Return when this witness had seen the log without each event shown, and when with it.

    A cosignature says that at its time this was the largest tree of the log that the witness had seen. Raises Failed
    when one of it is wrong, or there is none.
    """
    seen: list[tuple[int, int]] = []
    for size, note in findings.witnessed:
        text, signatures = _split_note(note)
        for name, id, signature in signatures:
            if (name, id) == (witness.name, witness.id):
                if len(signature) != 72:
                    raise Failed(f"the cosignature of {shown(witness.name)} is not 72 bytes")
                time = int.from_bytes(signature[:8], "big")
                check_ed25519(witness.public, b"cosignature/v1\ntime %d\n" % time + text, signature[8:])
                seen.append((size, time))
    if not seen:
        raise Failed(f"nothing in the package is cosigned by {shown(witness.name)}")
    # The log only grows: the best bounds are the last time without it and the first time with it.
    return tuple(
        Bracket(
            event.index,
            witness.name,
            max((time for size, time in seen if size <= event.index), default=None),
            min((time for size, time in seen if size > event.index), default=None),
        )
        for event in findings.story
    )


def _clock(time: int | None) -> str:
    """Return the time of a witness for people; a witness may write any number."""
    if time is None:
        return "unknown"
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{time} s"


# --- (14) README.txt ------------------------------------------------------------------------------------------


def readme(findings: Findings) -> bytes:
    """Return the one README.txt that a package with these findings has."""
    kind, complete, cut = KINDS[findings.kind], findings.complete, findings.cut
    lines = [
        f"EVIDENCE OF ONE {kind.upper()}",
        "",
        f"Ledger     {shown(findings.ledger)}",
        f"{kind.capitalize():<10} {name_of(findings.kind, findings.tag)}",
        f"Log        {findings.size} entries when it was signed, root hash {findings.root}",
        *([f"Complete   {complete.text}, among the first {complete.size} entries of the log"] if complete else []),
        *([f"As of      {cut.as_of}: {cut.count} of them"] if cut else []),
        "",
        "This file proves nothing by itself. To check the package:",
        "",
        "  1. Get verify.py and the ledger's public key from the ledger's publisher.",
        "     Do not take either from this package or from whoever gave it to you.",
        "  2. Run: python3 verify.py PACKAGE.zip --key KEY",
        "     It needs Python 3.9 or later, no network and nothing to install.",
        "  3. To get the original bytes out, add: --extract FOLDER",
        "",
        "WHAT HAPPENED",
        "Times are the ledger's own clock, in UTC. The number is the place in the log.",
        "",
        *story_lines(findings),
        "",
        "WHAT IS PROVEN, once verify.py says so",
        "",
        *(f"  - {text}" for id, text in CLAIMS if _is_claimed(id, findings)),
        "",
        "WHAT IS NOT CLAIMED",
        "",
        *(f"  - {text}" for _, text in not_claimed(findings)),
        "",
        "SHA-256 OF THE OTHER FILES",
        "",
        *(f"  {digest}  {name}" for name, digest in findings.digests),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _is_claimed(id: str, findings: Findings) -> bool:
    return {
        "fields": bool(findings.disclosed),
        "inclusion": bool(findings.story),
        "entries": bool(findings.story),
        "about": bool(findings.story),
        "chain": bool(findings.story),
        "index": findings.complete is not None,
        "complete": findings.complete is not None,
        "as-of": findings.cut is not None,
        # Only with the keys of witnesses, which whoever verifies brings along.
        "witness": False,
    }.get(id, True)


def not_claimed(findings: Findings | None) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of what a package does not prove."""
    for id, text in NOT_CLAIMED:
        if id == "later" and findings is not None and findings.complete is not None:
            size = findings.complete.size
            text = f"that nothing was recorded about it later: the index covers the first {size} entries"
        if id == "witness" and findings is not None and findings.witnessed:
            text = "that the ledger shows this same log to everybody, unless you add --witness with a witness's key"
        yield id, text


def story_lines(findings: Findings) -> Iterator[str]:
    """Yield the story: each event, what it states, what of it is disclosed and what is withheld."""
    fields: dict[int, list[str]] = {event.index: [] for event in findings.story}
    for item in findings.disclosed:
        where = f"fields/{item.index}.json" if item.file is None else item.file
        fields[item.index].append(f"disclosed: {shown(item.name)}, {item.size_bytes} bytes in {where}")
    for index, name in findings.withheld:
        fields[index].append(f"withheld: {shown(name)}")
    cut = findings.cut
    if not findings.story:
        yield "  nothing"
    for number, event in enumerate(findings.story):
        if cut is not None and number == cut.count:
            yield f"  what follows was recorded after {cut.as_of}:"
        moment = event.recorded_at[:10] + " " + event.recorded_at[11:-1]
        yield f"  [{event.index}] {moment}  {event.what} ({event.type})"
        for line in (*event.facts, *fields[event.index]):
            yield f"        {line}"


# --- Ed25519 (RFC 8032 §5.1), verification only ---------------------------------------------------------------
#
# Strict: one encoding of each point and number, no key or commitment of small order, and the equation without
# the cofactor: [S]B = R + [k]A. Everything here is public, so it need not run in constant time.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)

# (X, Y, Z, T) stands for x = X/Z, y = Y/Z, x·y = T/Z: extended homogeneous coordinates (RFC 8032 §5.1.4).
Point = tuple[int, int, int, int]
_NEUTRAL: Point = (0, 1, 1, 0)


def check_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise Failed unless `signature` is one by the key `public` of exactly `message`. RFC 8032 §5.1.7."""
    if len(signature) != 64:
        raise Failed("a signature is not 64 bytes")
    key = _decode_key(public)
    commitment_point = _decode_point(signature[:32])
    if commitment_point is None or _is_small(commitment_point):
        raise Failed("a signature is malformed")
    s = int.from_bytes(signature[32:], "little")
    if s >= _L:
        raise Failed("a signature is malformed")
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    # [S]B + [k](−A) = R
    x, y, z, t = key
    if not _equal(_double_multiply(s, _BASE, k, (_P - x, y, z, _P - t)), commitment_point):
        raise Failed("the signature does not hold")


def _decode_key(public: bytes) -> Point:
    point = _decode_point(public)
    if point is None or _is_small(point):
        raise Failed("the key is not a valid Ed25519 key")
    return point


def _decode_point(data: bytes) -> Point | None:
    """Return the point of 32 bytes, or None when they are not the canonical encoding of one. RFC 8032 §5.1.3."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if len(data) != 32 or y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P != 0:
        x = x * _SQRT_MINUS_1 % _P
    if (v * x * x - u) % _P != 0 or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _is_small(point: Point) -> bool:
    """Say whether [8]P is the neutral point: P is one of eight that no honest key or signature has."""
    return _equal(_double(_double(_double(point))), _NEUTRAL)


def _equal(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % _P == 0 and (p[1] * q[2] - q[1] * p[2]) % _P == 0


def _add(p: Point, q: Point) -> Point:
    """Return P + Q, for any two points. RFC 8032 §5.1.4."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double(p: Point) -> Point:
    """Return P + P. RFC 8032 §5.1.4."""
    a = p[0] * p[0] % _P
    b = p[1] * p[1] % _P
    c = 2 * p[2] * p[2] % _P
    h = a + b
    e = h - (p[0] + p[1]) * (p[0] + p[1]) % _P
    g = a - b
    f = c + g
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double_multiply(s: int, p: Point, k: int, q: Point) -> Point:
    """Return [s]P + [k]Q for s, k < 2^256: both at once, four bits at a time (Straus, Shamir)."""
    p_table, q_table = _multiples(p), _multiples(q)
    total = _NEUTRAL
    for shift in range(252, -4, -4):
        total = _double(_double(_double(_double(total))))
        total = _add(total, p_table[s >> shift & 15])
        total = _add(total, q_table[k >> shift & 15])
    return total


def _multiples(p: Point) -> list[Point]:
    """Return [0]P to [15]P."""
    table = [_NEUTRAL]
    for _ in range(15):
        table.append(_add(table[-1], p))
    return table


def _base_point() -> Point:
    point = _decode_point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))
    if point is None:
        raise ArithmeticError("the base point of RFC 8032 is not on its curve")
    return point


_BASE = _base_point()


# --- Accusations: two things that a log signed and that cannot both be true -----------------------------------
#
#     {"claim":…,"evidence":{…},"kind":"accusation","ledger":…,"v":1}           canonical JSON
#
#     two-roots      checkpoints: [note, note]                  one size, two root hashes
#     not-extended   checkpoints: [older, newer], root, proof   the newer one extends another tree of that size
#     two-hashes     entries: [proven, proven]                  one place of the tree has two hashes
#     counters       entries: [proven, proven], tag             their counts of a tag contradict each other
#     times          entries: [proven, proven]                  the later one was recorded before the earlier one
#     beyond-count   entries: [proven], index, tag              the tag index covers the entry and counts less events
#
# A proven entry is {"entry":…,"proof":…}, its text and its tlog-proof; `index` has the index proof in "state" too.

ACCUSATION_VERSION = 1
MAX_ACCUSATION_BYTES = 8 * 1024 * 1024


class Proven(NamedTuple):
    """An entry of an accusation that stands in the log, under a checkpoint that the ledger signed."""

    line: bytes
    entry: Entry
    checkpoint: Checkpoint
    proof: list[bytes]


def verify_accusation(data: bytes, keys: list[Key]) -> str:
    """Return in words what cannot be true of the ledger with these keys. Raises Failed when the accusation fails."""
    # (1) One form, one claim, about the ledger of these keys.
    value = parse_canonical(data, "the accusation", MAX_ACCUSATION_BYTES)
    if not isinstance(value, dict) or set(value) != {"claim", "evidence", "kind", "ledger", "v"}:
        raise Failed("the accusation has other members than claim, evidence, kind, ledger and v")
    if not _is_version(value["v"], ACCUSATION_VERSION) or value["kind"] != "accusation":
        raise Failed("the accusation is of a kind or version that this program does not know")
    claim, evidence = _text(value["claim"], "the accusation"), value["evidence"]
    if any(key.name != value["ledger"] for key in keys):
        raise Failed("the accusation is about another ledger than that of the key")
    if claim not in _ACCUSATIONS:
        raise Failed("the accusation makes a claim that this program does not know")
    members, check = _ACCUSATIONS[claim]
    if not isinstance(evidence, dict) or set(evidence) != members:
        raise Failed("the evidence has other members than " + ", ".join(sorted(members)))
    # (2) The ledger signed both sides, and (3) they contradict each other.
    return check(evidence, keys)


def _accuse_two_roots(evidence: dict[str, Json], keys: list[Key]) -> str:
    one, other = _accused_checkpoints(evidence, keys)
    if one.size != other.size or one.root == other.root:
        raise Failed("these are not two root hashes of one size")
    return f"two logs of {one.size} entries were signed: their root hashes differ"


def _accuse_not_extended(evidence: dict[str, Json], keys: list[Key]) -> str:
    older, newer = _accused_checkpoints(evidence, keys)
    root, proof = _accused_hash(evidence["root"]), evidence["proof"]
    if not isinstance(proof, list) or len(proof) > MAX_PROOF_HASHES + 1:
        raise Failed("the proof is not a list of hashes")
    if root == older.root or not 0 < older.size < newer.size:
        raise Failed("the older log is extended as it should be")
    # The newer tree proves by itself which tree of the older one's size it extends: not the one that was signed.
    check_consistency(Checkpoint(older.origin, older.size, root), newer, [_accused_hash(item) for item in proof])
    return f"the log of {newer.size} entries does not extend the log of {older.size} entries: history was changed"


def _accuse_two_hashes(evidence: dict[str, Json], keys: list[Key]) -> str:
    one, other = (_complete_subtrees(proven) for proven in _accused_entries(evidence, 2, keys))
    differing = [place for place in one if place in other and one[place] != other[place]]
    if not differing:
        raise Failed("the two proofs agree wherever they speak of the same place of the tree")
    height, n = min(differing)
    if height == 0:
        return f"the log has two entries at index {n}"
    return f"the log has two histories of the entries {n << height} to {((n + 1) << height) - 1}"


def _accuse_counters(evidence: dict[str, Json], keys: list[Key]) -> str:
    one, other = (proven.entry for proven in _accused_entries(evidence, 2, keys))
    tag = _text(evidence["tag"], "the evidence")
    if one.index > other.index:
        one, other = other, one
    if one.index == other.index or tag not in one.tags or tag not in other.tags:
        raise Failed("the entries are not two that carry this tag")
    (first, _), (second, before) = one.tags[tag], other.tags[tag]
    if second <= first:
        why = "the later one has no higher count of a tag"
    elif second - first > other.index - one.index:
        why = "there are not enough entries between them for the events of a tag that are counted there"
    elif (second == first + 1) != (before == one.index):
        why = "the one does not follow the other as its previous event of a tag"
    else:
        raise Failed("the entries do not contradict each other about this tag")
    return f"entries {one.index} and {other.index} contradict each other: {why}"


def _accuse_times(evidence: dict[str, Json], keys: list[Key]) -> str:
    one, other = (proven.entry for proven in _accused_entries(evidence, 2, keys))
    if not (one.index < other.index and one.recorded_at > other.recorded_at):
        raise Failed("the times are in order")
    return f"entry {other.index} says that it was recorded before entry {one.index}, which precedes it"


def _accuse_beyond_count(evidence: dict[str, Json], keys: list[Key]) -> str:
    (found,) = _accused_entries(evidence, 1, keys)
    tag, index = _text(evidence["tag"], "the evidence"), evidence["index"]
    if not isinstance(index, dict) or set(index) != {"entry", "proof", "state"}:
        raise Failed("the evidence has no valid index")
    committed = _accused_entry({"entry": index["entry"], "proof": index["proof"]}, keys)
    size = committed.entry.index
    root = parse_index_entry(committed.line, size, keys[0].name).root
    about = About(keys[0].name, "tag", tag, size, size, None)
    count, _ = parse_index_proof(_text(index["state"], "the evidence").encode("utf-8"), about, root)
    n, _ = found.entry.tags.get(tag, (0, None))
    if found.entry.index >= size or n <= count:
        raise Failed("the index may well count this entry")
    return (
        f"entry {found.entry.index} is event {n} of its tag, but the index over {size} entries, "
        f"this one among them, counts {count}: it was left out"
    )


_ACCUSATIONS = {
    "two-roots": ({"checkpoints"}, _accuse_two_roots),
    "not-extended": ({"checkpoints", "proof", "root"}, _accuse_not_extended),
    "two-hashes": ({"entries"}, _accuse_two_hashes),
    "counters": ({"entries", "tag"}, _accuse_counters),
    "times": ({"entries"}, _accuse_times),
    "beyond-count": ({"entries", "index", "tag"}, _accuse_beyond_count),
}


def _accused_checkpoints(evidence: dict[str, Json], keys: list[Key]) -> list[Checkpoint]:
    notes = evidence["checkpoints"]
    if not isinstance(notes, list) or len(notes) != 2:
        raise Failed("the evidence has not two checkpoints")
    return [open_by_any(_text(note, "the evidence").encode("utf-8"), keys) for note in notes]


def _accused_entries(evidence: dict[str, Json], count: int, keys: list[Key]) -> list[Proven]:
    entries = evidence["entries"]
    if not isinstance(entries, list) or len(entries) != count:
        raise Failed(f"the evidence has not {count} entries")
    return [_accused_entry(item, keys) for item in entries]


def _accused_entry(value: Json, keys: list[Key]) -> Proven:
    if not isinstance(value, dict) or set(value) != {"entry", "proof"}:
        raise Failed("an entry of the evidence is not an entry and its proof")
    line, proof = (_text(value[name], "the evidence").encode("utf-8") for name in ("entry", "proof"))
    head, _, note = proof.partition(b"\n\n")
    named = re.match(rb"c2sp\.org/tlog-proof@v1\nindex (0|[1-9][0-9]{0,15})(?:\n|$)", head)
    if not named:
        raise Failed("a proof of the evidence is not a tlog-proof that names its index on the second line")
    index, checkpoint = int(named.group(1)), open_by_any(note, keys)
    hashes = parse_proof(proof, "a proof of the evidence", index, note)
    check_inclusion(line, index, checkpoint, hashes)
    return Proven(line, parse_entry(line, index, keys[0].name), checkpoint, hashes)


def _accused_hash(value: Json) -> bytes:
    node = _unbase64(_text(value, "the evidence"), "a hash")
    if len(node) != 32:
        raise Failed("a hash of the evidence is not 32 bytes")
    return node


def _complete_subtrees(proven: Proven) -> dict[tuple[int, int], bytes]:
    """Return (height, n) → hash of each complete subtree on or beside the path: the same in every later tree."""
    size = proven.checkpoint.size
    n, last, height = proven.entry.index, size - 1, 0
    node = hashlib.sha256(b"\x00" + proven.line).digest()
    found = {(0, n): node}
    for sibling in proven.proof:
        while n == last and not n & 1:
            n, last, height = n >> 1, last >> 1, height + 1
        found[height, n ^ 1] = sibling
        node = hashlib.sha256(b"\x01" + (sibling + node if n & 1 else node + sibling)).digest()
        n, last, height = n >> 1, last >> 1, height + 1
        found[height, n] = node
    return {(height, n): node for (height, n), node in found.items() if (n + 1) << height <= size}


def accusation_lines(data: bytes, keys: list[Key], as_json: bool) -> tuple[bool, list[str]]:
    """Return whether an accusation holds, and what to print. Never raises on any input."""
    try:
        what, verdict = verify_accusation(data, keys), PROVEN
    except Failed as failed:
        what, verdict = failed.why, FAILED
    except Exception as error:
        # As in verify_package: never a proof, and never a traceback before a court.
        what, verdict = f"the program could not finish ({type(error).__name__})", FAILED
    if as_json:
        document = {"v": ACCUSATION_VERSION, "kind": "accusation", "verdict": verdict, "what": what}
        return verdict == PROVEN, [json.dumps(document)]
    if verdict == FAILED:
        return False, [f"FAILED: {what}", "This accusation proves nothing."]
    return True, [
        f"PROVEN: {what}.",
        f"The ledger {shown(keys[0].name)} signed both sides; of one honest, growing log they cannot both be true.",
    ]


# --- The command ----------------------------------------------------------------------------------------------

_NO_KEY = """\
verify.py: the ledger's public key is missing: add --key KEY.

KEY looks like  example.com/records+1a2b3c4d+Af...=  or is a file that holds such a line.
Get it from the ledger's publisher in a way that does not depend on whoever gave you the package:
from its website, from an earlier contract, from an authority. A key found in or beside the package
proves nothing, as anybody can sign with a key of their own.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status. Prints for people, or one JSON object with --json."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="verify.py", description="Verify an evidence package, offline.")
    parser.add_argument("package", metavar="PACKAGE.zip")
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        help="the ledger's public key, or a file that holds it; after it perhaps keys that it had before",
    )
    parser.add_argument("--witness", metavar="KEY", action="append", help="a witness that must have cosigned")
    parser.add_argument("--json", action="store_true", help="print one JSON object for programs")
    parser.add_argument("--extract", metavar="DIR", help="write the original bytes into DIR, if all is proven")
    chosen = parser.parse_args(arguments)
    if chosen.key is None:
        sys.stderr.write(_NO_KEY)
        return 2
    try:
        keys = [_find_key(one) for one in chosen.key]
        witnesses = [_find_key(one, _COSIGNATURE) for one in chosen.witness or ()]
    except Failed as failed:
        return _usage(failed.why)
    try:
        with open(chosen.package, "rb") as file:
            package = file.read(MAX_PACKAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        return _usage(f"the package cannot be read ({type(error).__name__})")
    if package[:1] == b"{":
        holds, found = accusation_lines(package, keys, chosen.json)
        return _print(found, holds)
    report = verify_package(package, keys[0], None, witnesses, keys[1:])
    written: list[str] = []
    if chosen.extract is not None and report.proven:
        try:
            written = extract(report.files, chosen.extract)
        except (OSError, ValueError) as error:
            return _usage(f"the package is proven, but nothing more could be written: {type(error).__name__}")
    lines = [json.dumps(as_json(report, written))] if chosen.json else text_lines(report, written)
    return _print(lines, report.proven)


def _print(lines: Iterable[str], holds: bool) -> int:
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError:
        return 2  # Nobody reads the output any more.
    return 0 if holds else 1


def _find_key(argument: str, type: bytes = _ED25519) -> Key:
    """Return the key that `argument` is, or that stands in the file it names. Raises Failed."""
    try:
        return parse_key(argument, type)
    except Failed as failed:
        try:
            with open(argument, "rb") as file:
                data = file.read(MAX_KEY_BYTES + 1)
        except (OSError, ValueError):
            raise Failed(f"--key: {failed.why}, and there is no such file") from None
    if len(data) > MAX_KEY_BYTES:
        raise Failed("--key: the file is too large to hold a key")
    return parse_key(data.decode("utf-8", "replace"), type)


def _usage(why: str) -> int:
    sys.stderr.write(f"verify.py: {why}\n")
    return 2


def extract(files: dict[str, bytes], folder: str) -> list[str]:
    """Write each file into `folder`, which is made if need be; return the paths. Overwrites nothing.

    Raises FileExistsError before the first is written when one of them is there already.
    """
    os.makedirs(folder, exist_ok=True)
    paths = {os.path.join(folder, name.partition("/")[2]): content for name, content in files.items()}
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(path)
    for path, content in paths.items():
        # "x": never through a link, never over a file that came in between.
        with open(path, "xb") as file:
            file.write(content)
    return list(paths)


def text_lines(report: Report, written: Iterable[str]) -> Iterator[str]:
    """Yield the report for people."""
    for claim in report.claims:
        yield f"{claim.verdict.upper():<11}  ({claim.number}) {claim.text}"
        if claim.why:
            yield f"             {claim.why}"
    yield ""
    findings, failure = report.findings, report.failure
    if findings is None or failure is not None:
        number = failure.number if failure else 0
        yield f"FAILED at step ({number}). Do not rely on anything in this package."
        return
    yield "The story, as recorded (times are the ledger's own clock, in UTC):"
    yield ""
    yield from story_lines(findings)
    yield ""
    for item in report.brackets:
        after, before = _clock(item.after), _clock(item.not_later_than)
        yield f"  [{item.index}] after {after}, not later than {before}, by the clock of {shown(item.witness)}"
    if report.brackets:
        yield ""
    for path in written:
        yield f"Written: {path}"
    yield "Not claimed, so not proven by this package:"
    for id, text in not_claimed(findings):
        if not (report.brackets and id in ("witness", "time")):
            yield f"  - {text}"
    yield ""
    name = f"{KINDS[findings.kind]} {name_of(findings.kind, findings.tag)}"
    if findings.complete is not None:
        scope = f"among the first {findings.complete.size} entries of the log"
        yield f"COMPLETE: {findings.complete.text}, {scope}."
    yield f"PROVEN: what the ledger {shown(findings.ledger)} recorded about {name}, as shown."


def as_json(report: Report, written: Iterable[str]) -> dict[str, Any]:
    """Return the report for programs; the story is there only when everything is proven."""
    result: dict[str, Any] = {
        "v": VERSION,
        "verdict": PROVEN if report.proven else FAILED,
        "claims": [vars(claim) for claim in report.claims],
        "not_claimed": [{"id": id, "text": text} for id, text in not_claimed(report.findings)],
    }
    findings = report.findings
    if findings is not None:
        result.update(
            ledger=findings.ledger,
            kind=findings.kind,
            tag=findings.tag,
            complete=vars(findings.complete) if findings.complete is not None else None,
            as_of=vars(findings.cut) if findings.cut is not None else None,
            size=findings.size,
            root=findings.root,
            story=[vars(event) for event in findings.story],
            disclosed=[vars(item) for item in findings.disclosed],
            withheld=[{"index": index, "name": name} for index, name in findings.withheld],
            brackets=[vars(item) for item in report.brackets],
            written=list(written),
        )
    return result


if __name__ == "__main__":
    sys.exit(main())
