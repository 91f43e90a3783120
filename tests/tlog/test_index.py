"""The tag index: the tree is that of the definition, and a proof shows one thing about a tag and no other."""

from __future__ import annotations

import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import encode
from ledger.errors import Invalid, VerificationError
from ledger.tlog.index import (
    EMPTY,
    NO_HEAD,
    Index,
    IndexCommitment,
    IndexProof,
    TagState,
    key_of,
    leaf_node,
    next_head,
    replay,
)
from tests.tlog import naive_index

LEDGER = "example.com/ledger"

HASHES = st.integers(0, 2**20).map(lambda number: sha256(number.to_bytes(4, "big")).digest())
TAGS = st.dictionaries(st.text("abc:", min_size=1, max_size=4), st.lists(HASHES, min_size=1, max_size=4), max_size=12)


def index_of(tags: naive_index.Tags, ledger: str = LEDGER) -> Index:
    index = Index(ledger)
    index.states = {tag: TagState(len(leaves), replay(leaves)) for tag, leaves in tags.items()}
    return index


def some_tags(count: int) -> dict[str, list[bytes]]:
    return {f"tag:{i}": [sha256(b"%d %d" % (i, n)).digest() for n in range(1 + i % 3)] for i in range(count)}


# --- the tree -----------------------------------------------------------------------------------------------------


def test_an_empty_index_is_zeros_and_a_single_tag_is_its_leaf() -> None:
    assert index_of({}).root() == EMPTY == bytes(32)
    (only,) = some_tags(1).values()
    assert index_of(some_tags(1)).root() == leaf_node(key_of(LEDGER, "tag:0"), 1, next_head(NO_HEAD, only[0]))


def test_the_key_names_the_ledger_and_the_tag_apart() -> None:
    assert key_of("a", "b") == sha256(b"prooftrail/tag/v1\x00a\x00b").digest()
    assert key_of("a", "b") != key_of("ab", "")
    assert key_of("example.com/a", "t") != key_of("example.com/b", "t")


@given(TAGS)
def test_root_heads_and_leaves_are_those_of_the_definition(tags: dict[str, list[bytes]]) -> None:
    index = index_of(tags)
    assert index.root() == naive_index.root(LEDGER, tags)
    for tag, leaves in tags.items():
        assert index.states[tag].head == naive_index.head(leaves)


@given(TAGS, st.text("abc:", min_size=1, max_size=4))
def test_a_proof_is_that_of_the_definition_and_says_what_is_so(tags: dict[str, list[bytes]], tag: str) -> None:
    index = index_of(tags)
    proof = index.prove(tag)
    path, end = naive_index.walk(LEDGER, tags, tag)
    assert list(proof.path) == path
    assert proof.end == (None if end is None else index.states[end])
    assert proof.end_key == (None if end in (None, tag) else key_of(LEDGER, str(end)))
    again = IndexProof.parse(proof.encode())
    assert again == proof
    assert again.verify(index.root(), LEDGER) == index.states.get(tag)


# --- the proof, forged --------------------------------------------------------------------------------------------

TAGS_40 = some_tags(40)
INDEX = index_of(TAGS_40)
ROOT = INDEX.root()
ABSENT_BY_LEAF = next(p for p in (INDEX.prove(f"no:{i}") for i in range(99)) if p.end_key is not None)
ABSENT_BY_NOTHING = next(p for p in (INDEX.prove(f"no:{i}") for i in range(99)) if p.end is None)
PRESENT = INDEX.prove("tag:7")
PROOFS = (PRESENT, ABSENT_BY_LEAF, ABSENT_BY_NOTHING)


def holds(data: bytes) -> tuple[str, TagState | None]:
    """Return what a file shows, once it holds."""
    proof = IndexProof.parse(data)
    return proof.tag, proof.verify(ROOT, LEDGER)


def test_one_flipped_bit_anywhere_refuses_the_proof() -> None:
    for proof in PROOFS:
        data = proof.encode()
        for at in range(len(data)):
            for bit in range(8):
                forged = bytearray(data)
                forged[at] ^= 1 << bit
                with pytest.raises(VerificationError):
                    holds(bytes(forged))


@settings(max_examples=400)
@given(st.data())
def test_whatever_is_dropped_swapped_or_spliced_shows_nothing_else(data: st.DataObject) -> None:
    """A file that was changed is refused, or is the proof of something that is so."""
    first, second = data.draw(st.sampled_from(PROOFS)).encode(), data.draw(st.sampled_from(PROOFS)).encode()
    a, b = sorted(data.draw(st.lists(st.integers(0, len(first)), min_size=2, max_size=2)))
    c, d = sorted(data.draw(st.lists(st.integers(0, len(second)), min_size=2, max_size=2)))
    forged = data.draw(
        st.sampled_from([first[:a] + first[b:], first[:a] + second[c:d] + first[b:], first[:a] + second[c:], first * 2])
    )
    try:
        tag, state = holds(forged)
    except VerificationError:
        return
    assert state == INDEX.states.get(tag)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        IndexProof.parse(data)
    with pytest.raises(VerificationError):
        IndexCommitment.parse(data, LEDGER)


def test_another_root_ledger_or_tag_is_refused() -> None:
    for proof in PROOFS:
        for root, ledger in ((bytes(32), LEDGER), (sha256(b"").digest(), LEDGER), (ROOT, "example.com/other")):
            with pytest.raises(VerificationError):
                proof.verify(root, ledger)
        for tag in ("tag:8", "", "tag:7 ", "no:98765"):
            with pytest.raises(VerificationError):
                msgspec.structs.replace(proof, tag=tag).verify(ROOT, LEDGER)


def with_path(change: Callable[[list[bytes]], Any]) -> Callable[[IndexProof], IndexProof]:
    def forge(proof: IndexProof) -> IndexProof:
        path = list(proof.path)
        change(path)
        return msgspec.structs.replace(proof, path=tuple(path))

    return forge


FORGERIES: dict[str, Callable[[IndexProof], IndexProof]] = {
    "an extra hash at the end": with_path(lambda path: path.append(bytes(31) + b"\x01")),
    "an extra hash at the leaf": with_path(lambda path: path.insert(0, sha256(b"x").digest())),
    "an extra empty level": with_path(lambda path: path.insert(0, EMPTY)),
    "a missing hash": with_path(lambda path: path.pop()),
    "the first hash missing": with_path(lambda path: path.pop(0)),
    "hashes in another order": with_path(lambda path: path.reverse()),
    "two hashes exchanged": with_path(lambda path: path.insert(0, path.pop(1))),
    "a longer hash": with_path(lambda path: path.append(path.pop() + b"\x00")),
    "a shorter hash": with_path(lambda path: path.append(path.pop()[:-1])),
    "more levels than a key has bits": with_path(lambda path: path.extend([path[0]] * 257)),
    "no path": with_path(lambda path: path.clear()),
    "an event more": lambda proof: msgspec.structs.replace(
        proof, end=TagState(proof.end.n + 1, proof.end.head) if proof.end else TagState(1, NO_HEAD)
    ),
    "no event": lambda proof: msgspec.structs.replace(
        proof, end=TagState(0, proof.end.head) if proof.end else TagState(0, NO_HEAD)
    ),
    "more events than there can be": lambda proof: msgspec.structs.replace(proof, end=TagState(2**64, NO_HEAD)),
    "another head": lambda proof: msgspec.structs.replace(proof, end=TagState(1, sha256(b"x").digest())),
    "its own leaf as another's": lambda proof: msgspec.structs.replace(
        proof, end=proof.end or TagState(1, NO_HEAD), end_key=key_of(LEDGER, proof.tag)
    ),
    "a key without its leaf": lambda proof: msgspec.structs.replace(proof, end=None, end_key=key_of(LEDGER, "tag:1")),
    "a leaf that stands elsewhere": lambda proof: msgspec.structs.replace(
        proof, end=INDEX.states["tag:1"], end_key=key_of(LEDGER, "tag:1")
    ),
    "nothing where something is": lambda proof: msgspec.structs.replace(
        proof, end=None if proof.end else TagState(1, NO_HEAD), end_key=None
    ),
}


@pytest.mark.parametrize("proof", PROOFS, ids=["present", "another leaf", "nothing"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_proof_is_refused(proof: IndexProof, forgery: str) -> None:
    with pytest.raises(VerificationError, match="index proof"):
        FORGERIES[forgery](proof).verify(ROOT, LEDGER)


def test_an_absence_cannot_be_shown_by_a_tree_that_is_not_compact() -> None:
    """A leaf pushed one level down beside nothing: the definition has no such tree, so no such proof is taken."""
    key = key_of(LEDGER, "tag:0")
    state = INDEX.states["tag:0"]
    leaf = leaf_node(key, state.n, state.head)
    deeper = sha256(b"\x11" + (EMPTY + leaf if key[0] >> 7 else leaf + EMPTY)).digest()
    with pytest.raises(VerificationError, match="deeper"):
        IndexProof("tag:0", (EMPTY,), state).verify(deeper, LEDGER)


def text(node: bytes) -> str:
    return urlsafe_b64encode(node).rstrip(b"=").decode()


def document(**changes: Any) -> bytes:
    value = json.loads(PRESENT.encode())
    value.update(changes)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


END = json.loads(PRESENT.encode())["end"]
PATH = json.loads(PRESENT.encode())["path"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        document() + b" ",
        b" " + document(),
        document().replace(b'"v":1', b'"v":1,"v":1'),
        document().replace(b'"v":1', b'"v":01'),
        document().replace(b'"n":2', b'"n":02'),
        document().replace(b'"v":1', b'"v": 1'),
        document().replace(b'"v":1', b'"v":1.0'),
        document(v=2),
        document(v=True),
        document(x=1),
        document(tag=""),
        document(tag=7),
        b'{"end":null,"path":[],"tag":"\\ud800","v":1}',
        document(path=None),
        document(path="x"),
        document(path=[*PATH, 1]),
        document(path=[*PATH, None]),
        document(path=["x", *PATH]),
        document(path=[PATH[0] + "=", *PATH[1:]]),
        document(path=[PATH[0][:-1], *PATH[1:]]),
        document(path=[PATH[0] + "A", *PATH[1:]]),
        document(path=[text(EMPTY), *PATH[1:]]),
        document(path=[PATH[0][:-1] + chr(ord(PATH[0][-1]) + 1), *PATH[1:]]),
        document(path=[PATH[0]] * 257),
        document(path=["ä" * 43]),
        document(end=1),
        document(end={}),
        document(end={"n": 2}),
        document(end={**END, "x": 1}),
        document(end={**END, "n": 0}),
        document(end={**END, "n": -1}),
        document(end={**END, "n": True}),
        document(end={**END, "n": "2"}),
        document(end={**END, "n": 2**53}),
        document(end={**END, "n": 2**63}),
        document(end={**END, "n": 2**64 + 2}),
        document(end={**END, "head": text(EMPTY)}),
        document(end={**END, "key": None}),
        b"[" * 100_000,
        b'{"end":null,"path":[' + b'"",' * 100_000 + b'""],"tag":"t","v":1}',
    ],
)
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError, match="index proof"):
        holds(data)


def test_the_file_is_that_of_the_specification() -> None:
    state = INDEX.states["tag:7"]
    path = ",".join('""' if node == EMPTY else f'"{text(node)}"' for node in PRESENT.path)
    assert PRESENT.encode() == (
        f'{{"end":{{"head":"{text(state.head)}","n":{state.n}}},"path":[{path}],"tag":"tag:7","v":1}}'.encode()
    )
    assert index_of({}).prove("t").encode() == b'{"end":null,"path":[],"tag":"t","v":1}'


def test_what_cannot_be_read_back_is_not_written() -> None:
    for proof in (IndexProof("", (), None), IndexProof("t", (b"short",), None), IndexProof("t\x00", (), None)):
        with pytest.raises(Invalid):
            proof.encode()


# --- the commitment -----------------------------------------------------------------------------------------------


def commitment(data: Any, **changes: Any) -> bytes:
    entry = {
        "data": data,
        "id": "00000000-0000-4000-8000-000000000001",
        "index": 40,
        "ledger": LEDGER,
        "recorded_at": "2026-11-22T10:00:00.000000Z",
        "sealed": {},
        "tags": [],
        "type": "index-committed",
        "v": 1,
    }
    return encode({**entry, **changes})


GOOD = {"root": ROOT.hex(), "size": 40, "tags": 40}


def test_a_commitment_is_read() -> None:
    assert IndexCommitment.parse(commitment(GOOD), LEDGER) == IndexCommitment(
        40, ROOT, 40, "2026-11-22T10:00:00.000000Z"
    )


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"{}",
        b"null",
        commitment(GOOD) + b"\n",
        commitment(GOOD, ledger="example.com/other"),
        commitment(GOOD, index=41),
        commitment(GOOD, index=-1),
        commitment(GOOD, index=2**53 - 1),
        commitment(GOOD, type="noted"),
        commitment(GOOD, tags=[["t", 1, None]]),
        commitment(GOOD, sealed={"f": "x"}),
        commitment(GOOD, v=2),
        commitment(GOOD, x=1),
        commitment(GOOD, recorded_at="2026-11-22T10:00:00Z"),
        commitment(GOOD, recorded_at="2026-13-22T10:00:00.000000Z"),
        commitment({**GOOD, "size": 41}),
        commitment({**GOOD, "size": "40"}),
        commitment({**GOOD, "size": True}),
        commitment({**GOOD, "tags": -1}),
        commitment({**GOOD, "tags": None}),
        commitment({**GOOD, "root": ROOT.hex().upper()}),
        commitment({**GOOD, "root": ROOT.hex()[:-1]}),
        commitment({**GOOD, "root": None}),
        commitment({**GOOD, "by": {}}),
        commitment({"root": ROOT.hex(), "size": 40}),
        commitment([]),
        commitment(GOOD).replace(b'"size":40', b'"size":040'),
        commitment(GOOD).replace(b'"size":40', b'"size":40.0'),
        commitment(GOOD).replace(b'"size":40', b'"size":9223372036854775808'),
        b" " * 70_000,
    ],
)
def test_a_malformed_commitment_is_refused(entry: bytes) -> None:
    with pytest.raises(VerificationError, match="index entry"):
        IndexCommitment.parse(entry, LEDGER)


def test_paths_stay_short_when_there_are_many_tags() -> None:
    rng = random.Random(1)
    index = index_of({f"tag:{rng.random()}": [sha256(b"x").digest()] for _ in range(5_000)})
    lengths = [len(index.prove(tag).path) for tag in list(index.states)[:20]]
    assert max(lengths) < 30
