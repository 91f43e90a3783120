"""Completeness, absence and as of: proven when so, and refused when anything is left out, put in or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import VerificationError
from projections.evidence import verify
from projections.evidence.package import PackageContents, build_package
from tests.evidence.log import ORDER, Log, b64, b64url, members_of, rebuilt, short_log
from tests.tlog import naive_index

TAG = f"order:{ORDER}"
NEVER = "order:0b5e2c1a-9c1f-4a4e-8a55-0f4f2d0c7f11"


def log_with_index() -> Log:
    """The short story, then an index entry, then life goes on."""
    log = short_log()
    log.commit_index()
    log.record("consent-given", "consent:1")
    return log


LOG = log_with_index()
INDEX = 5
KEY = LOG.verifier_key
ALL = LOG.complete(LOG.contents(), INDEX)
NONE = LOG.complete(replace(LOG.contents(), tag=NEVER, entries=[]), INDEX)
# After the entry at index 2, which was recorded two seconds past ten; one of the three events came before.
THEN = "2026-11-22T10:00:02.500000Z"
CUT = LOG.cut(ALL, 3, THEN)

# As if a shorter program had made them and were running: every byte can be tried in seconds.
PROGRAM = b"#!/usr/bin/env python3\nprint('stands for verify.py')\n"


def small(contents: PackageContents) -> dict[str, bytes]:
    members = members_of(contents, LOG.key) | {"verify.py": PROGRAM}
    members["README.txt"] = verify.readme(verify.examine(members, KEY, verify.Sheet()))
    return members


MEMBERS = {"all": small(ALL), "none": small(NONE), "as of": small(CUT)}


@pytest.fixture(autouse=True)
def remembered_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "check_ed25519", lru_cache(maxsize=256)(verify.check_ed25519))


def report_of(package: bytes, program: bytes | None = PROGRAM) -> verify.Report:
    report = verify.verify_package(package, KEY, program)
    assert not any("could not finish" in claim.why for claim in report.claims), [claim.why for claim in report.claims]
    return report


def failing_step(members: dict[str, bytes]) -> str | None:
    failure = report_of(rebuilt(members)).failure
    return failure.id if failure else None


def verdicts(members: dict[str, bytes]) -> dict[str, tuple[str, str]]:
    return {claim.id: (claim.verdict, claim.why) for claim in report_of(rebuilt(members)).claims}


# --- proven -------------------------------------------------------------------------------------------------------


def test_all_events_are_proven_to_be_all() -> None:
    found = verdicts(MEMBERS["all"])
    assert found["complete"] == ("proven", "these are all 3 events of it, among the first 5 entries of the log")
    assert found["index"][0] == "proven"
    assert found["as-of"] == ("not claimed", "")


def test_none_is_proven_without_any_entry() -> None:
    found = verdicts(MEMBERS["none"])
    assert found["complete"] == ("proven", "there is no event of it, among the first 5 entries of the log")
    assert {found[id][0] for id in ("inclusion", "entries", "about", "chain", "fields")} == {"not claimed"}


def test_a_moment_is_proven() -> None:
    assert verdicts(MEMBERS["as of"])["as-of"] == ("proven", f"1 of 3 by {THEN}, when the log had 3 entries")
    story = "\n".join(verify.text_lines(report_of(rebuilt(MEMBERS["as of"])), []))
    assert (
        story.index("order-recorded")
        < story.index(f"what follows was recorded after {THEN}")
        < story.index("order-executed")
    )


def test_the_readme_says_what_is_claimed_and_what_is_not() -> None:
    texts = {name: members["README.txt"].decode() for name, members in MEMBERS.items()}
    assert "Complete   these are all 3 events of it, among the first 5 entries of the log" in texts["all"]
    assert "Complete   there is no event of it" in texts["none"]
    assert f"As of      {THEN}: 1 of them" in texts["as of"]
    for text in texts.values():
        claimed, not_claimed = text.split("WHAT IS NOT CLAIMED")
        assert "that nothing was recorded about it later: the index covers the first 5 entries" in not_claimed
        assert "that everything that happened was recorded" in not_claimed
        assert "by that index the events shown are all there are" in claimed
    assert "stands in that log" not in texts["none"].split("WHAT IS NOT CLAIMED")[0]


def test_a_package_without_an_index_claims_no_completeness() -> None:
    found = verdicts(small(LOG.contents()))
    assert {found[id][0] for id in ("index", "complete", "as-of")} == {"not claimed"}
    text = small(LOG.contents())["README.txt"].decode()
    assert "no index of all events is in here" in text
    assert "are all there are" not in text


# --- left out, put in ---------------------------------------------------------------------------------------------


def test_an_event_left_out_of_the_end_is_missed() -> None:
    shorter = LOG.complete(LOG.contents(1, 3), INDEX)
    with pytest.raises(VerificationError, match="2 entries are shown, the index counts 3"):
        build_package(shorter, key=LOG.key)


def test_an_absence_of_what_is_there_is_refused() -> None:
    forged = LOG.complete(replace(LOG.contents(), tag=TAG, entries=[]), INDEX)
    with pytest.raises(VerificationError, match="0 entries are shown, the index counts 3"):
        build_package(forged, key=LOG.key)
    other = replace(forged, index=NONE.index)
    with pytest.raises(VerificationError, match="another tag"):
        build_package(other, key=LOG.key)


def test_an_event_after_the_index_entry_is_not_covered_by_it() -> None:
    log = short_log()
    log.commit_index()
    log.record("order-confirmed", TAG)
    with pytest.raises(VerificationError, match="4 entries are shown, the index counts 3"):
        build_package(log.complete(log.contents(), INDEX), key=log.key)
    # A ledger that lies: its index counts an event that was recorded only after it.
    log = short_log()
    later = log.record("order-confirmed", TAG)
    tags, entry = log.index_of(6), log.entries.pop()
    log.tags[TAG] = (3, 4)
    log.record("index-committed", data={"root": naive_root(log, tags), "size": 5, "tags": len(tags)})
    log.entries.append(entry)
    assert later == 5
    contents = log.complete(log.contents(1, 3, 4), INDEX)
    with pytest.raises(VerificationError, match=r"index/proof\.json does not lead to the root"):
        build_package(contents, key=log.key)


def naive_root(log: Log, tags: Any) -> str:
    return naive_index.root(log.origin, tags).hex()


def changed(name: str, **files: bytes | None) -> dict[str, bytes]:
    members = dict(MEMBERS[name])
    for file, content in files.items():
        if content is None:
            del members[file]
        else:
            members[file] = content
    return members


def index_proof(name: str = "all", **changes: Any) -> bytes:
    value = verify.parse_canonical(MEMBERS[name]["index/proof.json"], "", 10**6)
    assert isinstance(value, dict)
    return rfc8785.dumps(value | changes)


PATH: list[Any] = verify.parse_canonical(MEMBERS["all"]["index/proof.json"], "", 10**6)["path"]  # type: ignore[index,call-overload,assignment]
END: dict[str, Any] = verify.parse_canonical(MEMBERS["all"]["index/proof.json"], "", 10**6)["end"]  # type: ignore[index,call-overload,assignment]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        MEMBERS["all"]["index/proof.json"] + b"\n",
        MEMBERS["none"]["index/proof.json"],
        index_proof(v=2),
        index_proof(v=True),
        index_proof(tag=NEVER),
        index_proof(tag=""),
        index_proof(tag=1),
        index_proof(extra=1),
        index_proof(path=None),
        index_proof(path=PATH[1:]),
        index_proof(path=PATH[:-1]),
        index_proof(path=PATH[::-1]),
        index_proof(path=[*PATH, PATH[0]]),
        index_proof(path=["", *PATH]),
        index_proof(path=[*PATH, ""]),
        index_proof(path=[b64url(bytes(32)), *PATH[1:]]),
        index_proof(path=[PATH[0] + "=", *PATH[1:]]),
        index_proof(path=[PATH[0] + "AA", *PATH[1:]]),
        index_proof(path=[b64(b"x" * 32), *PATH[1:]]),
        index_proof(path=[1, *PATH[1:]]),
        index_proof(path=PATH * 300),
        index_proof(end=None),
        index_proof(end={}),
        index_proof(end={**END, "n": 2}),
        index_proof(end={**END, "n": 0}),
        index_proof(end={**END, "n": -3}),
        index_proof(end={**END, "n": True}),
        index_proof(end={**END, "n": "3"}),
        index_proof(end={**END, "head": b64url(bytes(32))}),
        index_proof(end={**END, "extra": 1}),
        index_proof(end={**END, "key": b64url(bytes(32))}),
        MEMBERS["all"]["index/proof.json"].replace(b'"n":3', b'"n":03'),
        MEMBERS["all"]["index/proof.json"].replace(b'"n":3', b'"n":9223372036854775811'),
        MEMBERS["all"]["index/proof.json"].replace(b'"n":3', b'"n":3.0'),
    ],
)
def test_a_malformed_or_forged_index_proof_fails(data: bytes) -> None:
    assert failing_step(changed("all", **{"index/proof.json": data})) == "complete"


def other_commitment(**changes: Any) -> Callable[[], tuple[dict[str, bytes], Log]]:
    """A log whose own key signed an index entry that is not well formed, or says something else."""

    def make() -> tuple[dict[str, bytes], Log]:
        log = short_log()
        tags = log.index_of(5)
        members = {"data": {"root": naive_root(log, tags), "size": 5, "tags": len(tags)}}
        log.record(
            str(changes.get("type", "index-committed")),
            *changes.get("tags", ()),
            **(members | {name: value for name, value in changes.items() if name not in ("type", "tags")}),
        )
        note = log.checkpoint()
        files = dict(MEMBERS["all"]) | {"checkpoint": note, "index/entry.json": log.entries[5]}
        files["package.json"] = files["package.json"].replace(b'"size":7', b'"size":6')
        files["index/entry.tlog-proof"] = log.proof(5, note)
        files |= {f"proofs/{i}.tlog-proof": log.proof(i, note) for i in (1, 3, 4)}
        return files, log

    return make


ROOT = "00" * 32


@pytest.mark.parametrize(
    ("make", "step"),
    [
        (other_commitment(), "readme"),  # nothing wrong but that the README is of the longer log
        (other_commitment(type="noted"), "index"),
        (other_commitment(tags=("t",)), "index"),
        (other_commitment(data={"root": ROOT, "size": 5, "tags": 1}), "complete"),
        (other_commitment(data={"root": ROOT, "size": 4, "tags": 1}), "index"),
        (other_commitment(data={"root": ROOT, "size": "5", "tags": 1}), "index"),
        (other_commitment(data={"root": ROOT.upper() + "A", "size": 5, "tags": 1}), "index"),
        (other_commitment(data={"root": "AB" * 32, "size": 5, "tags": 1}), "index"),
        (other_commitment(data={"root": None, "size": 5, "tags": 1}), "index"),
        (other_commitment(data={"root": ROOT, "size": 5, "tags": -1}), "index"),
        (other_commitment(data={"root": ROOT, "size": 5}), "index"),
        (other_commitment(data={"root": ROOT, "size": 5, "tags": 1, "by": 1}), "index"),
        (other_commitment(recorded_at="2026-11-22T10:00:03.000000Z"), "complete"),
    ],
)
def test_an_index_entry_that_is_signed_but_wrong_fails(
    make: Callable[[], tuple[dict[str, bytes], Log]], step: str
) -> None:
    members, log = make()
    report = verify.verify_package(rebuilt(members), log.verifier_key, PROGRAM)
    assert report.failure is not None
    assert report.failure.id == step, report.failure.why


# --- as of --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "as_of"),
    [
        (2, "2026-11-22T10:00:02.500000Z"),  # a log of then that was shorter: also right, as far as this order goes
        (3, "2026-11-22T10:00:00.500000Z"),
        (3, "2026-11-22T10:00:03.000000Z"),
        (4, "2026-11-22T10:00:02.500000Z"),
        (1, "2026-11-22T10:00:02.500000Z"),
        (6, "2026-11-22T10:00:04.500000Z"),
        (7, "2026-11-22T10:00:09.000000Z"),
        (5, "2026-11-22T10:00:05.000000Z"),
    ],
)
def test_a_cut_at_another_place_fails(size: int, as_of: str) -> None:
    contents = LOG.cut(ALL, size, as_of)
    if size == 2:
        assert verify.verify_package(build_package(contents, key=LOG.key), KEY).proven
        return
    with pytest.raises(VerificationError, match="as-of: "):
        build_package(contents, key=LOG.key)


CHECKPOINT = MEMBERS["as of"]["as-of/checkpoint"]
HASHES = MEMBERS["as of"]["as-of/consistency"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("as-of/checkpoint", b""),
        ("as-of/checkpoint", CHECKPOINT[:-1]),
        ("as-of/checkpoint", MEMBERS["as of"]["checkpoint"]),
        ("as-of/checkpoint", CHECKPOINT.replace(b"\n3\n", b"\n03\n")),
        ("as-of/consistency", b""),
        ("as-of/consistency", HASHES[:-1]),
        ("as-of/consistency", HASHES + b"\n"),
        ("as-of/consistency", HASHES * 2),
        ("as-of/consistency", HASHES * 40),
        ("as-of/consistency", b"\n".join(reversed(HASHES.split(b"\n")[:-1])) + b"\n"),
        ("as-of/consistency", HASHES.replace(b"=", b"")),
        ("as-of/consistency", b"AAAA\n" + HASHES),
    ],
)
def test_a_malformed_cut_fails(file: str, content: bytes) -> None:
    assert failing_step(changed("as of", **{file: content})) == "as-of"


# --- any change at all --------------------------------------------------------------------------------------------


def flips(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


@pytest.mark.parametrize("name", MEMBERS)
def test_the_packages_that_are_changed_below_verify(name: str) -> None:
    assert failing_step(MEMBERS[name]) is None


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("folder", ["index/", "as-of/", "package.json"])
def test_any_flipped_byte_fails_though_every_checksum_is_right(name: str, folder: str) -> None:
    members = MEMBERS[name]
    for file in members:
        if file.startswith(folder):
            assert [
                flipped for flipped in flips(members[file]) if failing_step(members | {file: flipped}) is None
            ] == []
            assert failing_step({kept: content for kept, content in members.items() if kept != file}), file


PACKAGES = {name: rebuilt(members) for name, members in MEMBERS.items()}
HOW = ["flip", "drop", "swap", "splice", "double"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(PACKAGES)), how=st.sampled_from(HOW))
def test_whatever_is_flipped_dropped_swapped_or_spliced_in_the_file_fails(
    data: st.DataObject, name: str, how: str
) -> None:
    package = PACKAGES[name]
    forged = changed_bytes(data, package, PACKAGES[data.draw(st.sampled_from(sorted(PACKAGES)))], how)
    if forged not in PACKAGES.values():
        assert not report_of(forged).proven


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(MEMBERS)), how=st.sampled_from(HOW))
def test_whatever_is_flipped_dropped_swapped_or_spliced_in_a_member_fails(
    data: st.DataObject, name: str, how: str
) -> None:
    members = MEMBERS[name]
    file = data.draw(st.sampled_from(sorted(members)))
    others = MEMBERS[data.draw(st.sampled_from(sorted(MEMBERS)))]
    other = others[data.draw(st.sampled_from(sorted(others)))]
    forged = changed_bytes(data, members[file], other, how)
    if forged != members[file]:
        assert failing_step(members | {file: forged}) is not None


def changed_bytes(data: st.DataObject, content: bytes, other: bytes, how: str) -> bytes:
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(content)), st.integers(0, len(content)))))
    c, d = sorted(data.draw(st.tuples(st.integers(0, len(other)), st.integers(0, len(other)))))
    if how == "flip" and a < len(content):
        return content[:a] + bytes([content[a] ^ 1 << data.draw(st.integers(0, 7))]) + content[a + 1 :]
    if how == "drop":
        return content[:a] + content[b:]
    if how == "swap":
        return content[b:] + content[a:b] + content[:a]
    if how == "splice":
        return content[:a] + other[c:d] + content[b:]
    return content + content[a:b]
