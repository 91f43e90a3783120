"""The stored index: whatever is counted in whatever steps, root and proofs are those of the definition."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import Tampered
from ledger.storage.engine import AuditRow
from ledger.storage.sqlite import index_schema
from ledger.storage.sqlite_tags import SqliteTagStore, scratch_index
from ledger.storage.tag_store import TagIndexReader, all_packs
from ledger.tlog import tag_map
from ledger.tlog.index import TagState
from tests.tlog import naive_index

LEDGER = "example.com/ledger"
ABSENT = [f"absent:{i}" for i in range(4)]


class Map:
    """A stored index beside the leaf hashes that it was given, by tag."""

    def __init__(self) -> None:
        self.store: SqliteTagStore = scratch_index(index_schema())
        self.tags: dict[str, list[bytes]] = {}
        self.size = 0

    def count(self, events: list[list[int]]) -> None:
        """Count entries with these tags, in one step."""
        rows = []
        for numbers in events:
            links = [[f"tag:{n}", len(self.tags.get(f"tag:{n}", ())) + 1, None] for n in sorted(set(numbers))]
            entry = json.dumps({"other": [1.5, {}], "tags": links}).encode()
            leaf = sha256(entry + b"%d" % self.size).digest()
            for tag, _, _ in links:
                self.tags.setdefault(str(tag), []).append(leaf)
            rows.append(AuditRow(self.size, "t", entry, leaf))
            self.size += 1
        state = self.store.state()
        assert self.store.write(tag_map.count(self.store, state, rows, LEDGER), state)

    def settle(self, at_once: int) -> None:
        """Hash what is marked, so many marks in a step."""
        while marks := self.store.marks(at_once):
            state = self.store.state()
            assert self.store.write(tag_map.settle(self.store, state, marks), state)

    def check(self) -> None:
        root = naive_index.root(LEDGER, self.tags)
        assert tag_map.node_at(self.store).hash == root
        assert (self.store.state().size, self.store.state().tags) == (self.size, len(self.tags))
        for tag in [*list(self.tags)[:6], *ABSENT]:
            proof = tag_map.prove(self.store, LEDGER, tag)
            path, end = naive_index.walk(LEDGER, self.tags, tag)
            assert list(proof.path) == path
            assert (proof.end_key is None) == (end in (None, tag))
            leaves = self.tags.get(tag)
            expected = None if leaves is None else TagState(len(leaves), naive_index.head(leaves))
            assert proof.verify(root, LEDGER) == expected


STEPS = st.lists(
    st.tuples(st.lists(st.lists(st.integers(0, 60), max_size=4), max_size=12), st.sampled_from([0, 1, 3, 1_000])),
    max_size=6,
)


@pytest.mark.parametrize(("split", "mark_bits"), [(1, 4), (2, 2), (2, 20), (3, 8), (32, 20)])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_root_and_proofs_are_those_of_the_definition(
    monkeypatch: pytest.MonkeyPatch, split: int, mark_bits: int, steps: list[tuple[list[list[int]], int]]
) -> None:
    """Small packs and coarse marks, so that few tags reach as deep as millions do."""
    monkeypatch.setattr(tag_map, "SPLIT", split)
    monkeypatch.setattr(tag_map, "MARK_BITS", mark_bits)
    index = Map()
    for events, at_once in steps:
        index.count(events)
        if at_once:
            index.settle(at_once)
            index.check()
    index.settle(1_000)
    index.check()


def test_the_packs_do_not_depend_on_the_steps() -> None:
    """`verify` compares them byte by byte with those of a rebuild in other steps."""
    events = [[i % 97, i % 89 + 1_000, i % 501 + 5_000] for i in range(900)]
    one, many = Map(), Map()
    one.count(events)
    one.settle(10_000)
    for start in range(0, len(events), 7):
        many.count(events[start : start + 7])
        many.settle(5)
    assert list(all_packs(one.store)) == list(all_packs(many.store))
    assert len(list(all_packs(one.store))) > 10
    one.check()


def test_what_is_hashed_is_read_in_as_few_steps_however_much_it_is() -> None:
    """A store behind a network answers each call in a round trip, and the commitment holds up appends meanwhile."""
    index = Map()
    index.count([[i] for i in range(6_000)])
    index.settle(10_000)
    calls: list[str] = []

    class Counting:
        """Notes what is asked of the store."""

        def __getattr__(self, name: str) -> object:
            calls.append(name)
            return getattr(index.store, name)

    reader = cast(TagIndexReader, Counting())
    for count in (5, 2_000):
        index.count([[i] for i in range(count)])
        calls.clear()
        change = tag_map.settle(reader, index.store.state(), index.store.marks(10_000))
        assert len(change.settled) > count * 0.9
        assert set(calls) == {"packs", "leaves_in"}
        # Packs reach two levels down here: one read of packs, and two of leaves, for each and the one below.
        assert len(calls) <= 3 * 4
        assert index.store.write(change, index.store.state())
    index.check()


@pytest.mark.parametrize(
    "rows",
    [
        [AuditRow(1, "t", b'{"tags":[["a",1,null]]}', bytes(32))],
        [AuditRow(0, "t", b'{"tags":[["a",2,0]]}', bytes(32))],
        [AuditRow(0, "t", b'{"tags":[["a",0,null]]}', bytes(32))],
        [AuditRow(0, "t", b'{"tags":[["a",1,null],["a",1,null]]}', bytes(32))],
        [AuditRow(i, "t", b'{"tags":[["a",%d,null]]}' % n, bytes(32)) for i, n in enumerate((1, 3))],
        [AuditRow(0, "t", b'{"tags":1}', bytes(32))],
        [AuditRow(0, "t", b"", bytes(32))],
        [AuditRow(0, "t", b"\xff", bytes(32))],
    ],
)
def test_entries_that_do_not_count_on_are_refused(rows: list[AuditRow]) -> None:
    store = scratch_index(index_schema())
    with pytest.raises(Tampered):
        tag_map.count(store, store.state(), rows, LEDGER)


@pytest.mark.parametrize("depth", range(0, 256, 4))
def test_a_place_is_named_by_its_depth_and_its_bits(depth: int) -> None:
    prefix = int.from_bytes(sha256(b"x").digest(), "big") >> (256 - depth)
    place = tag_map.place_of(depth, prefix)
    assert place[0] == depth
    assert len(place) == 1 + -(-depth // 8)
    first, last = tag_map.span_of(depth, prefix)
    assert first <= sha256(b"x").digest() <= last
    assert (int.from_bytes(last, "big") - int.from_bytes(first, "big") + 1).bit_length() == 257 - depth
