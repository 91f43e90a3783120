"""Accusations: each kind of cheating is found and proven, here and by the one-file verifier; honest logs are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.accusation import Accusation
from ledger.canonical import encode
from ledger.errors import VerificationError
from ledger.events import IndexCommitted
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.index import Index
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.proof import LogProof
from ledger.tlog.tiles import TileReader, tiles_for_size
from ledger.tlog.tree import Tree
from projections.evidence import verify
from projections.evidence.accuse import Kept, find_contradiction, kind_of
from tests.cli.conftest import Program, program  # noqa: F401

ORIGIN = "example.com/accused"
SIGNER = Signer(ORIGIN, b"s" * 32)
FORMER = Signer(ORIGIN, b"f" * 32)
KEYS = [SIGNER.verifier]
VERIFY = Path(verify.__file__)

ORDER = "order:11111111-1111-4111-8111-111111111111"


def entry(index: int, *, tags: list[list[Any]] | None = None, note: str = "", minute: int | None = None) -> bytes:
    document = {
        "v": 1,
        "ledger": ORIGIN,
        "index": index,
        "id": f"00000000-0000-4000-8000-{index:012}",
        "type": "noted",
        "recorded_at": f"2026-11-24T10:{index if minute is None else minute:02}:00.000000Z",
        "tags": tags or [],
        "data": {"note": note},
        "sealed": {},
    }
    return encode(document)


@dataclass
class Log:
    """A log that an operator shows to somebody: entries, signed by its key."""

    entries: list[bytes]
    signer: Signer = SIGNER

    def tree(self, size: int | None = None) -> Tree:
        tree = Tree(lambda level, n: b"")
        for one in self.entries[:size]:
            tree.append(leaf_hash(one))
        return tree

    def note(self, size: int | None = None) -> bytes:
        tree = self.tree(size)
        return sign_checkpoint(Checkpoint(ORIGIN, tree.size, tree.root()), self.signer)

    def receipt(self, index: int, size: int | None = None) -> tuple[bytes, bytes]:
        tree = self.tree(size)
        return self.entries[index], LogProof(index, tree.inclusion_proof(index), self.note(size)).encode()

    def published(self) -> tuple[TileReader, bytes]:
        tree = self.tree()
        files = {
            tile.path: b"".join(tree.hash(8 * (tile.level or 0), tile.n * 256 + i) for i in range(tile.width))
            for tile in tiles_for_size(tree.size)
        }
        return TileReader(tree.size, tree.root(), files.__getitem__), self.note()

    def state(self, tag: str) -> tuple[bytes, bytes, bytes]:
        """Commit the tag index at the end; return the index entry, its proof, and the index proof of a tag."""
        index = Index.rebuild(self.entries, ORIGIN)
        size = len(self.entries)
        committed = json.loads(entry(size))
        committed["type"] = IndexCommitted.TOPIC
        committed["data"] = {"size": size, "root": index.root().hex(), "tags": len(index.states)}
        self.entries.append(encode(committed))
        found, proof = self.receipt(size)
        return found, proof, index.prove(tag).encode()


def honest(count: int = 20) -> Log:
    entries = []
    n, last = 0, None
    for index in range(count):
        tags = []
        if index % 3 == 0:
            n += 1
            tags.append([ORDER, n, last])
            last = index
        entries.append(entry(index, tags=tags))
    return Log(entries)


def changed(log: Log, index: int, **other: Any) -> Log:
    """Return the log as it is shown to somebody else: with another entry at `index`."""
    entries = [*log.entries]
    entries[index] = entry(index, **{"note": "changed", **other})
    return Log(entries)


def kept() -> Kept:
    return Kept(KEYS)


def both_verify(found: Accusation | None, claim: str, tmp_path: Path) -> str:
    """Check that library and standard-library file agree that an accusation holds; return what it says."""
    assert found is not None
    assert found.claim == claim
    data = found.encode()
    said = Accusation.parse(data).verify(KEYS)
    assert verify.verify_accusation(data, [verify.parse_key(str(SIGNER.verifier))]) == said
    path = tmp_path / "accusation.json"
    path.write_bytes(data)
    words = [sys.executable, "-I", str(VERIFY), str(path), "--key", str(SIGNER.verifier)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"PROVEN: {said}")
    return said


def test_two_roots_for_one_size(tmp_path: Path) -> None:
    log = honest()
    mine = kept()
    mine.add_checkpoint(log.note())
    mine.add_checkpoint(changed(log, 4).note())
    assert "two logs of 20 entries" in both_verify(find_contradiction(mine), "two-roots", tmp_path)


def test_a_checkpoint_that_the_published_log_does_not_extend(tmp_path: Path) -> None:
    log = honest()
    for size in (1, 7, 8, 16, 19):
        mine = kept()
        mine.add_checkpoint(log.note(size))
        said = both_verify(find_contradiction(mine, changed(log, 0).published()), "not-extended", tmp_path)
        assert f"does not extend the log of {size} entries" in said
        assert find_contradiction(mine_of(log.note(size)), log.published()) is None


def mine_of(note: bytes) -> Kept:
    mine = kept()
    mine.add_checkpoint(note)
    return mine


def test_a_receipt_with_another_entry_at_its_index(tmp_path: Path) -> None:
    log = honest()
    mine = kept()
    mine.add_entry(*log.receipt(6, 10))
    mine.add_entry(*changed(log, 6).receipt(6, 15))
    assert "two entries at index 6" in both_verify(find_contradiction(mine), "two-hashes", tmp_path)


def test_two_histories_though_the_receipts_are_about_different_entries(tmp_path: Path) -> None:
    log = honest()
    mine = kept()
    mine.add_entry(*log.receipt(6, 10))
    mine.add_entry(*changed(log, 3).receipt(9, 15))
    assert "two histories of the entries 0 to 7" in both_verify(find_contradiction(mine), "two-hashes", tmp_path)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ([[ORDER, 1, None]], "no higher count"),
        ([[ORDER, 9, 3]], "not enough entries"),
        ([[ORDER, 3, 1]], "does not follow"),
        ([[ORDER, 4, 3]], "does not follow"),
    ],
)
def test_counts_of_a_tag_that_contradict_each_other(tmp_path: Path, tags: list[list[Any]], why: str) -> None:
    """In one and the same log: entry 3 is event 2 of the order, and entry 7 counts otherwise."""
    log = changed(honest(), 7, tags=tags)
    mine = kept()
    mine.add_entry(*log.receipt(3))
    mine.add_entry(*log.receipt(7))
    assert why in both_verify(find_contradiction(mine), "counters", tmp_path)


def test_an_entry_that_the_tag_index_leaves_out(tmp_path: Path) -> None:
    log = honest(12)
    shown = Log([one if index != 9 else entry(9) for index, one in enumerate(log.entries)])
    state = shown.state(ORDER)
    # The entry itself stands in the log that the index entry is in: the index is what leaves it out.
    log.entries.append(state[0])
    mine = kept()
    mine.add_entry(*log.receipt(9))
    mine.add_state(state[0], log.receipt(12)[1], state[2])
    said = both_verify(find_contradiction(mine), "beyond-count", tmp_path)
    assert "entry 9 is event 4 of its tag" in said
    assert "counts 3" in said


def test_a_tag_that_is_said_to_have_no_event(tmp_path: Path) -> None:
    log = honest(5)
    none = Log([entry(index) for index in range(5)]).state(ORDER)
    log.entries.append(none[0])
    mine = kept()
    mine.add_entry(*log.receipt(3))
    mine.add_state(none[0], log.receipt(5)[1], none[2])
    assert "counts 0" in both_verify(find_contradiction(mine), "beyond-count", tmp_path)


def test_times_that_run_backwards(tmp_path: Path) -> None:
    log = changed(honest(), 7, minute=2)
    mine = kept()
    mine.add_entry(*log.receipt(5))
    mine.add_entry(*log.receipt(7))
    assert "recorded before entry 5" in both_verify(find_contradiction(mine), "times", tmp_path)


def test_honest_material_gives_no_contradiction() -> None:
    log = honest(40)
    mine = kept()
    for size in range(1, 40):
        mine.add_checkpoint(log.note(size))
        for index in range(0, size, 4):
            mine.add_entry(*log.receipt(index, size))
    mine.add_state(*log.state(ORDER))
    mine.add_state(*log.state("order:none"))
    assert find_contradiction(mine) is None
    assert find_contradiction(mine, log.published()) is None


def test_both_keys_of_a_rotation_count() -> None:
    log = honest()
    other = changed(log, 2)
    other.signer = FORMER
    mine = Kept([SIGNER.verifier, FORMER.verifier])
    mine.add_checkpoint(log.note())
    mine.add_checkpoint(other.note())
    found = find_contradiction(mine)
    assert found is not None
    keys = [verify.parse_key(str(signer.verifier)) for signer in (SIGNER, FORMER)]
    assert "two logs" in verify.verify_accusation(found.encode(), keys)
    for check in (lambda: found.verify(KEYS), lambda: verify.verify_accusation(found.encode(), keys[:1])):
        with pytest.raises((VerificationError, verify.Failed)):
            check()


def test_what_the_log_did_not_sign_proves_nothing() -> None:
    stranger = changed(honest(), 4)
    stranger.signer = Signer(ORIGIN, b"x" * 32)
    with pytest.raises(VerificationError):
        kept().add_checkpoint(stranger.note())
    with pytest.raises(VerificationError):
        kept().add_entry(*stranger.receipt(3))


# --- false accusations ----------------------------------------------------------------------------------------


def accusations() -> dict[str, Accusation]:
    log = honest()
    made: dict[str, Accusation | None] = {}
    mine = kept()
    mine.add_checkpoint(log.note())
    mine.add_checkpoint(changed(log, 4).note())
    made["two-roots"] = find_contradiction(mine)
    made["not-extended"] = find_contradiction(mine_of(log.note(7)), changed(log, 0).published())
    mine = kept()
    mine.add_entry(*log.receipt(6, 10))
    mine.add_entry(*changed(log, 3).receipt(9, 15))
    made["two-hashes"] = find_contradiction(mine)
    wrong = changed(log, 7, tags=[[ORDER, 1, None]])
    mine = kept()
    mine.add_entry(*wrong.receipt(3))
    mine.add_entry(*wrong.receipt(7))
    made["counters"] = find_contradiction(mine)
    short = honest(5)
    none = Log([entry(index) for index in range(5)]).state(ORDER)
    short.entries.append(none[0])
    mine = kept()
    mine.add_entry(*short.receipt(3))
    mine.add_state(none[0], short.receipt(5)[1], none[2])
    made["beyond-count"] = find_contradiction(mine)
    return {claim: found for claim, found in made.items() if found is not None}


ALL = accusations()


def test_every_kind_was_made() -> None:
    assert len(ALL) == 5


def refused(data: bytes) -> None:
    """Check that library and standard-library file both refuse an accusation, each by its one kind of error."""
    with pytest.raises(VerificationError):
        Accusation.parse(data).verify(KEYS)
    with pytest.raises(verify.Failed):
        verify.verify_accusation(data, [verify.parse_key(str(SIGNER.verifier))])


def test_the_same_evidence_twice_accuses_nobody() -> None:
    for claim, member in (("two-roots", "checkpoints"), ("two-hashes", "entries"), ("counters", "entries")):
        evidence = dict(ALL[claim].evidence)
        pair: Any = evidence[member]
        evidence[member] = [pair[0], pair[0]]
        refused(Accusation(ORIGIN, claim, evidence).encode())
    refused(Accusation(ORIGIN, "times", {"entries": ALL["two-hashes"].evidence["entries"]}).encode())
    older = ALL["not-extended"].evidence
    checkpoint: Any = older["checkpoints"]
    honest_root = checkpoint[0].split("\n")[2]
    refused(Accusation(ORIGIN, "not-extended", {**older, "root": honest_root}).encode())


@pytest.mark.parametrize("claim", sorted(ALL))
def test_malformed_accusations_are_refused(claim: str) -> None:
    document = json.loads(ALL[claim].encode())
    for change in (
        {"v": 2}, {"v": True}, {"kind": "order"}, {"claim": "another"}, {"claim": 5}, {"ledger": "example.com/other"},
        {"evidence": {}}, {"evidence": []}, {"more": 1}, {"evidence": {**document["evidence"], "more": 1}},
    ):  # fmt: skip
        refused(encode({**document, **change}))
    for name, value in document["evidence"].items():
        for other in (None, 5, [], {}, "", [value], [5, 5], "x" * 100):
            refused(encode({**document, "evidence": {**document["evidence"], name: other}}))
    data = ALL[claim].encode()
    for wrong in (b"", b"{}", b"[]", data + b"\n", data.replace(b'"v":1', b'"v": 1'), b"\xff", data[:-1], b"[" * 5_000):
        refused(wrong)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_changed_byte_makes_another_accusation(data: st.DataObject) -> None:
    """Flip, drop, swap or splice bytes: refused by both, with their own error, unless both say the very same."""
    original = ALL[data.draw(st.sampled_from(sorted(ALL)))].encode()
    found = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(found) - 1))
        match data.draw(st.sampled_from(("flip", "drop", "swap", "splice"))):
            case "flip":
                found[at] ^= 1 << data.draw(st.integers(0, 7))
            case "drop":
                del found[at]
            case "swap":
                other = data.draw(st.integers(0, len(found) - 1))
                found[at], found[other] = found[other], found[at]
            case "splice":
                start = data.draw(st.integers(0, len(found)))
                found[at:at] = found[start : start + data.draw(st.integers(0, 60))]
    key = verify.parse_key(str(SIGNER.verifier))
    said: list[str | None] = []
    checks: list[Callable[[], str]] = [
        lambda: Accusation.parse(bytes(found)).verify(KEYS),
        lambda: verify.verify_accusation(bytes(found), [key]),
    ]
    for check in checks:
        try:
            said.append(check())
        except (VerificationError, verify.Failed):
            said.append(None)
    assert said[0] == said[1]
    if said[0] is not None:
        # What is not signed may differ (a stranger's signature line): the two things said stay the same.
        assert said[0] == Accusation.parse(original).verify(KEYS)


# --- the command ----------------------------------------------------------------------------------------------


def saved(directory: Path, name: str, receipt: tuple[bytes, bytes]) -> Path:
    (directory / f"{name}.entry.json").write_bytes(receipt[0])
    path = directory / f"{name}.tlog-proof"
    path.write_bytes(receipt[1])
    return path


def test_the_command_writes_what_verify_py_checks(program: Program, tmp_path: Path) -> None:  # noqa: F811
    log = honest()
    mine = saved(tmp_path, "mine", log.receipt(6, 10))
    later = tmp_path / "later.checkpoint"
    later.write_bytes(changed(log, 4).note(10))
    fair = tmp_path / "fair.checkpoint"
    fair.write_bytes(log.note(15))
    to = tmp_path / "accusation.json"
    ran = program("accuse", mine, fair, "--key", SIGNER.verifier, "-o", to)
    assert ran.code == 0, ran.err
    assert "No contradiction" in ran.out
    assert not to.exists()
    ran = program("accuse", mine, later, "--key", SIGNER.verifier, "-o", to, "--json")
    assert ran.code == 1
    assert ran.json["claim"] == "two-roots"
    assert verify.main([str(to), "--key", str(SIGNER.verifier)]) == 0
    assert verify.main([str(to), "--key", str(FORMER.verifier), "--json"]) == 1
    assert program("accuse", mine, later, "--key", SIGNER.verifier, "-o", to).code == 2


def test_files_that_say_nothing_are_named_by_number(program: Program, tmp_path: Path) -> None:  # noqa: F811
    lonely = tmp_path / "lonely.tlog-proof"
    lonely.write_bytes(honest().receipt(3)[1])
    for content in (b"", b"{}", b"PK\x03\x04", b"nothing\n\n\xe2\x80\x94 x AAAA\n"):
        path = tmp_path / "other"
        path.write_bytes(content)
        ran = program("accuse", path, "--key", SIGNER.verifier)
        assert ran.code == 2, content
        assert "file 1" in ran.err
    assert program("accuse", lonely, "--key", SIGNER.verifier).code == 2
    assert program("accuse", lonely, "--key", "x+y").code == 2


def test_kinds_are_told_by_their_first_bytes() -> None:
    found, proof = honest().receipt(3)
    assert [kind_of(data) for data in (found, proof, honest().note(), b"PK\x03\x04")] == [
        "entry",
        "receipt",
        "checkpoint",
        "package",
    ]
