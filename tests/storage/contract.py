"""The contract that every storage engine keeps: one class of tests, run for each engine.

A subclass gives the fixture `open_engine`: called, it opens the same fresh store once more, as another process would.
The engine knows no entry format here: entries are any bytes.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256

import msgspec
import pytest

from ledger.sealing import Box
from ledger.storage.engine import (
    NO_EVENTS,
    PAGE,
    TAIL,
    Ahead,
    Batch,
    Condition,
    Engine,
    EventRow,
    IdempotencyRow,
    Query,
    QueryItem,
    Stored,
    Tile,
)
from ledger.storage.tag_store import TagIndexChange, TagIndexState, all_leaves, all_packs
from ledger.vocabulary import KeyId, Tag

OpenEngine = Callable[[], Engine]

ORIGIN = "example.com/store"
VERIFIER = "example.com/store+00000000+none"


class Put(msgspec.Struct, frozen=True):
    """An event to be put into a store, and what the tests expect to find of it."""

    type: str
    tags: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    def matches(self, query: Query) -> bool:
        """Say by the definition whether a query means this event."""
        return not query or any(
            (not item.types or self.type in item.types) and set(item.tags) <= set(self.tags) for item in query
        )


def entry_of(index: int) -> bytes:
    return b"entry %d \x00\xff" % index


def leaf_of(index: int) -> bytes:
    return sha256(entry_of(index)).digest()


def key_of(number: int) -> bytes:
    return sha256(b"key %d" % number).digest()


def head_of(number: int) -> bytes:
    return sha256(b"head %d" % number).digest()


def note_of(size: int) -> bytes:
    return b"note %d" % size


def put(engine: Engine, *events: Put, idempotency: Sequence[IdempotencyRow] = (), tiles: Sequence[Tile] = ()) -> int:
    """Insert events in one transaction; return the size after it."""
    with engine.begin() as transaction:
        size = transaction.head.size
        heads = transaction.tag_heads({Tag(tag) for event in events for tag in event.tags})
        rows = []
        for index, event in enumerate(events, size):
            tags = []
            for tag in map(Tag, event.tags):
                heads[tag] = (heads[tag][0] + 1, index)
                tags.append((tag, heads[tag][0]))
            rows.append(EventRow(index, event.type, entry_of(index), leaf_of(index), tags, event.boxes))
        size += len(rows)
        transaction.insert(Batch(rows, tiles, idempotency, size, note_of(size)))
        transaction.commit()
    return size


def item(*tags: str, types: Iterable[str] = ()) -> QueryItem:
    return QueryItem(tuple(types), tuple(map(Tag, tags)))


def indexes(
    engine: Engine, *items: QueryItem, after: int = 0, end: int | None = None, limit: int | None = None
) -> list[int]:
    """Return the indexes that a query finds; their entries are checked on the way."""
    end = engine.size() if end is None else end
    found = list(engine.select(tuple(items), after=after, end=end, limit=limit))
    assert all(stored.entry == entry_of(stored.index) for stored in found)
    return [stored.index for stored in found]


def fails(engine: Engine, *items: QueryItem, after: int = 0) -> bool:
    with engine.begin() as transaction:
        (failed,) = transaction.failed([Condition(tuple(items), after)])
    return failed


class EngineContract:
    """Every promise of `ledger.storage.engine`."""

    @pytest.fixture
    def engine(self, open_engine: OpenEngine) -> Engine:
        return open_engine()

    # --- what is asked ahead -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("known", [0, 1, 3])
    def test_what_is_named_ahead_is_as_it_is_under_the_lock(self, open_engine: OpenEngine, known: int) -> None:
        first, second = open_engine(), open_engine()
        used = IdempotencyRow(key_of(1), key_of(2), 0, 1)
        put(first, Put("t", ("a",)), idempotency=[used])
        put(second, Put("t", ("a", "b")), Put("u", ("b",)))
        ahead = Ahead(known, {Tag("a"), Tag("unused")}, {key_of(1), key_of(3)})
        with first.begin(ahead) as transaction:
            assert transaction.head.size == 3
            assert transaction.head.last_entry == entry_of(2)
            assert transaction.tail(known) == [entry_of(index) for index in range(known, 3)]
            assert transaction.tail(2) == [entry_of(2)], "what was not named ahead may be asked too"
            assert transaction.last_checkpoint() == (3, note_of(3))
            found = transaction.tag_heads(list(map(Tag, ("a", "b", "unused", "never"))))
            assert found == {"a": (2, 1), "b": (2, 2), "unused": NO_EVENTS, "never": NO_EVENTS}
            assert transaction.idempotent([key_of(1), key_of(3), key_of(4)]) == {key_of(1): used}

    def test_nothing_is_ahead_in_an_empty_store(self, engine: Engine) -> None:
        with engine.begin(Ahead(0, {Tag("a")}, {key_of(1)})) as transaction:
            assert transaction.head.size == 0
            assert transaction.tail(0) == []
            assert transaction.last_checkpoint() is None
            assert transaction.tag_heads([Tag("a")]) == {Tag("a"): NO_EVENTS}
            assert transaction.idempotent([key_of(1)]) == {}

    def test_a_tail_is_cut_off_where_it_is_long(self, engine: Engine) -> None:
        put(engine, *(Put("t") for _ in range(TAIL + 2)))
        for first, entries in ((0, TAIL), (1, TAIL), (2, TAIL), (3, TAIL - 1)):
            with engine.begin(Ahead(first)) as transaction:
                assert transaction.head.last_entry == entry_of(TAIL + 1)
                assert transaction.tail(first) == [entry_of(index) for index in range(first, first + entries)]

    # --- an empty store ----------------------------------------------------------------------------------------

    def test_an_empty_store_has_nothing(self, engine: Engine) -> None:
        assert (engine.origin, engine.verifier) == (ORIGIN, VERIFIER)
        assert engine.size() == 0
        assert engine.entry(0) is None
        assert list(engine.entries()) == []
        assert list(engine.select((), end=0)) == []
        assert list(engine.select((item("a", types=["t"]),), end=10)) == []
        assert engine.leaves(0, 256) == []
        assert engine.tile(0, 0) is None
        assert engine.boxes(0) == []
        assert list(engine.boxes_between(0, 10)) == []
        assert engine.checkpoint() is None
        assert engine.checkpoint(1) is None
        assert list(engine.checkpoints()) == []
        assert list(engine.tags(10)) == []
        assert list(engine.tiles()) == []
        assert list(engine.idempotency()) == []
        assert engine.find_idempotent(b"k") is None
        assert engine.delete_boxes([KeyId("k")], 10) == 0

    def test_a_transaction_on_an_empty_store_starts_at_zero(self, engine: Engine) -> None:
        with engine.begin() as transaction:
            assert (transaction.head.size, transaction.head.last_entry) == (0, None)
            assert transaction.tag_heads([Tag("a")]) == {Tag("a"): NO_EVENTS}
            assert transaction.tag_heads([]) == {}
            assert transaction.failed([Condition((), 0), Condition((item("a"),), 0)]) == [False, False]
            assert transaction.failed([]) == []
            assert transaction.idempotent([b"k"]) == {}

    # --- appending ---------------------------------------------------------------------------------------------

    def test_what_is_committed_is_there_as_it_was_given(self, engine: Engine) -> None:
        put(engine, Put("t", ("a", "b")), Put("u"))
        put(engine, Put("t", ("b",)))
        assert engine.size() == 3
        assert [(stored.index, stored.entry) for stored in engine.entries()] == [(i, entry_of(i)) for i in range(3)]
        assert [engine.entry(i) for i in range(4)] == [entry_of(0), entry_of(1), entry_of(2), None]
        assert engine.leaves(0, 3) == [leaf_of(i) for i in range(3)]
        assert engine.leaves(1, 2) == [leaf_of(1)]
        assert [(row.tag, row.index, row.n, row.type) for row in engine.tags(3)] == [
            ("a", 0, 1, "t"), ("b", 0, 1, "t"), ("b", 2, 2, "t"),
        ]  # fmt: skip
        assert [(row.tag, row.index) for row in engine.tags(2)] == [("a", 0), ("b", 0)]

    def test_a_transaction_knows_where_the_log_ends(self, engine: Engine) -> None:
        put(engine, Put("t", ("a",)), Put("t", ("a", "b")))
        with engine.begin() as transaction:
            assert (transaction.head.size, transaction.head.last_entry) == (2, entry_of(1))
            tags = [Tag("a"), Tag("b"), Tag("c")]
            assert transaction.tag_heads(tags) == {"a": (2, 1), "b": (1, 1), "c": NO_EVENTS}

    @pytest.mark.parametrize("count", [1, 3, 63, 64, 65, 85, 300])
    def test_heads_of_many_tags_at_once(self, engine: Engine, count: int) -> None:
        tags = [f"tag:{i}" for i in range(count)]
        put(engine, *(Put("t", (tag,)) for tag in tags), Put("t", (tags[0],)))
        with engine.begin() as transaction:
            heads = transaction.tag_heads(list(map(Tag, tags)))
        assert heads == {tag: (2, count) if i == 0 else (1, i) for i, tag in enumerate(tags)}

    @pytest.mark.parametrize("tag", ["", " ", "a b", "a'b", 'a"b', "ä", "a%", "\U0001f600", "a" * 2_000])
    def test_tags_and_types_of_any_text(self, engine: Engine, tag: str) -> None:
        put(engine, Put(tag, (tag, "other")), Put("t", ("other",)))
        assert indexes(engine, item(tag)) == [0]
        assert indexes(engine, item(types=[tag])) == [0]
        assert [row.tag for row in engine.tags(1)] == sorted([tag, "other"])
        assert fails(engine, item(tag, types=[tag]))

    def test_a_transaction_that_is_left_undoes_everything(self, engine: Engine) -> None:
        put(engine, Put("t"))
        row = EventRow(1, "new-type", entry_of(1), leaf_of(1), [(Tag("a"), 1)], [Box(KeyId("k"), b"box")])
        used = IdempotencyRow(b"k", b"c", 1, 1)
        with engine.begin() as transaction:
            transaction.insert(Batch([row], [Tile(0, 0, bytes(8_192))], [used], 2, note_of(2)))
        with suppress(ZeroDivisionError), engine.begin() as transaction:
            transaction.insert(Batch([row], [Tile(0, 0, bytes(8_192))], [used], 2, note_of(2)))
            raise ZeroDivisionError
        assert engine.size() == 1
        assert engine.boxes(1) == []
        assert engine.tile(0, 0) is None
        assert engine.find_idempotent(b"k") is None
        assert engine.checkpoint() == (1, note_of(1))
        # Also the number that the type got must be forgotten.
        put(engine, Put("another-type", ("a",)), Put("new-type", ("a",)))
        assert indexes(engine, item(types=["new-type"])) == [2]
        assert indexes(engine, item("a", types=["another-type"])) == [1]

    def test_what_is_not_committed_is_seen_by_nobody(self, open_engine: OpenEngine) -> None:
        engine, other = open_engine(), open_engine()
        row = EventRow(0, "t", entry_of(0), leaf_of(0), [], [])
        with engine.begin() as transaction:
            transaction.insert(Batch([row], [], [], 1, note_of(1)))
            assert (engine.size(), other.size()) == (0, 0)
            transaction.commit()
        assert (engine.size(), other.size()) == (1, 1)

    def test_one_writer_at_a_time_across_instances(self, open_engine: OpenEngine) -> None:
        engines = [open_engine(), open_engine()]
        barrier = threading.Barrier(4)

        def write(engine: Engine) -> None:
            barrier.wait(30)
            for _ in range(25):
                put(engine, Put("t", ("shared",)))

        threads = [threading.Thread(target=write, args=(engine,)) for engine in engines for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for engine in engines:
            assert [stored.index for stored in engine.entries()] == list(range(100))
            assert [(row.index, row.n) for row in engine.tags(100)] == [(i, i + 1) for i in range(100)]

    # --- conditions --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("items", "after", "expected"),
        [
            ((), 0, True),
            ((), 2, True),
            ((), 3, False),
            ((QueryItem(),), 2, True),
            ((QueryItem(),), 3, False),
            ((item("a"),), 0, True),
            ((item("a"),), 1, True),
            ((item("a"),), 2, False),
            ((item("z"),), 0, False),
            ((item("a", "b"),), 0, True),
            ((item("b", "a"),), 0, True),
            ((item("a", "b"),), 1, False),
            ((item("a", "c"),), 0, False),
            ((item("a", "a"),), 1, True),
            ((item("a", "z"),), 0, False),
            ((item(types=["t"]),), 0, True),
            ((item(types=["t"]),), 1, False),
            ((item(types=["u"]),), 1, True),
            ((item(types=["never"]),), 0, False),
            ((item(types=["never", "u"]),), 0, True),
            ((item("a", types=["t"]),), 0, True),
            ((item("a", types=["t"]),), 1, False),
            ((item("a", types=["u"]),), 1, True),
            ((item("b", types=["u"]),), 0, False),
            ((item("a", types=["never"]),), 0, False),
            ((item("a", "b", types=["t", "u"]),), 0, True),
            ((item("z"), item("c")), 0, True),
            ((item("z"), item(types=["never"])), 0, False),
            ((item("z"), QueryItem()), 0, True),
        ],
    )
    def test_a_condition_fails_on_a_match_after_its_position_and_only_then(
        self, engine: Engine, items: Query, after: int, expected: bool
    ) -> None:
        put(engine, Put("t", ("a", "b")), Put("u", ("a",)), Put("v", ("c",)))
        assert fails(engine, *items, after=after) is expected

    def test_a_tag_on_every_event_decides_nothing(self, engine: Engine) -> None:
        put(engine, *(Put("t", ("everywhere", f"one:{i}", f"two:{i % 7}")) for i in range(200)))
        assert fails(engine, item("everywhere", "one:5", "two:5"))
        assert not fails(engine, item("everywhere", "one:5", "two:4"))
        assert not fails(engine, item("everywhere", "one:5", "two:5"), after=6)
        assert indexes(engine, item("everywhere", "two:3", "one:10")) == [10]

    def test_many_conditions_are_answered_in_their_order(self, engine: Engine) -> None:
        put(engine, *(Put("t", (f"tag:{i}",)) for i in range(0, 100, 2)))
        with engine.begin() as transaction:
            conditions = [Condition((item(f"tag:{i}"),), 0) for i in range(100)]
            assert transaction.failed(conditions) == [i % 2 == 0 for i in range(100)]

    def test_a_condition_does_not_see_what_its_own_transaction_inserted(self, engine: Engine) -> None:
        """The sequencer answers for those itself; an engine is asked about what is committed."""
        put(engine, Put("t", ("a",)))
        with engine.begin() as transaction:
            assert transaction.failed([Condition((item("b"),), 0)]) == [False]

    # --- reading by query --------------------------------------------------------------------------------------

    def test_any_query_finds_what_the_definition_says(self, engine: Engine) -> None:
        rng = random.Random(11)
        types, tags = ["t", "u", "v"], ["a", "b", "c", "d"]
        events = [
            Put(rng.choice(types), tuple(sorted(rng.sample(tags, rng.randrange(len(tags) + 1))))) for _ in range(120)
        ]
        for start in range(0, len(events), 7):
            put(engine, *events[start : start + 7])
        for _ in range(400):
            query = tuple(
                item(
                    *rng.sample([*tags, "never"], rng.randrange(4)),
                    types=rng.sample([*types, "never"], rng.randrange(3)),
                )
                for _ in range(rng.randrange(4))
            )
            after, end = rng.randrange(125), rng.randrange(121)
            limit = rng.choice([None, 0, 1, 2, 5, 200])
            expected = [i for i in range(after, end) if events[i].matches(query)][:limit]
            assert indexes(engine, *query, after=after, end=end, limit=limit) == expected, (query, after, end, limit)
            assert fails(engine, *query, after=after) is any(event.matches(query) for event in events[after:]), query

    @pytest.mark.parametrize("size", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 500])
    def test_reads_over_page_boundaries_are_whole_and_ordered(self, engine: Engine, size: int) -> None:
        put(engine, *(Put("even" if i % 2 == 0 else "odd", ("all", f"third:{i % 3}")) for i in range(size)))
        everything = list(range(size))
        assert [stored.index for stored in engine.entries()] == everything
        assert [stored.index for stored in engine.entries(PAGE - 1, size)] == everything[PAGE - 1 :]
        assert [stored.index for stored in engine.entries(5, 12)] == everything[5:12]
        assert indexes(engine) == everything
        assert indexes(engine, item("all")) == everything
        assert indexes(engine, item(types=["even", "odd"])) == everything
        assert indexes(engine, item(types=["odd"])) == everything[1::2]
        assert indexes(engine, item("all", "third:1", types=["even"])) == everything[4::6]
        # Items that overlap: each event once, in order.
        assert indexes(engine, item("third:0"), item("all", types=["even"]), item("third:0")) == [
            i for i in everything if i % 3 == 0 or i % 2 == 0
        ]
        for limit in (1, PAGE - 1, PAGE, PAGE + 1):
            assert indexes(engine, limit=limit) == everything[:limit]
            assert indexes(engine, item("all"), item("third:0"), limit=limit) == everything[:limit]
            assert indexes(engine, item("all"), after=7, limit=limit) == everything[7 : 7 + limit]
        assert len(list(engine.tags(size))) == 2 * size
        assert len(list(engine.tags(size - 1))) == 2 * size - 2

    def test_a_read_keeps_to_its_end_while_the_log_grows(self, engine: Engine) -> None:
        put(engine, *(Put("t", ("a",)) for _ in range(PAGE)))
        reading = engine.select((item("a"),), end=PAGE)
        assert next(reading).index == 0
        put(engine, Put("t", ("a",)))
        assert [stored.index for stored in reading] == list(range(1, PAGE))
        reading = engine.entries()
        assert next(reading).index == 0
        put(engine, Put("t", ("a",)))
        assert len(list(reading)) == PAGE

    def test_readers_in_threads_see_whole_batches(self, engine: Engine) -> None:
        done = threading.Event()
        seen: list[int] = []

        def watch() -> None:
            while not done.is_set():
                seen.append(engine.size())

        watchers = [threading.Thread(target=watch) for _ in range(2)]
        for watcher in watchers:
            watcher.start()
        for _ in range(30):
            put(engine, *(Put("t") for _ in range(10)))
        done.set()
        for watcher in watchers:
            watcher.join(30)
        assert {size % 10 for size in seen} <= {0}

    # --- sealed values -----------------------------------------------------------------------------------------

    def test_boxes_are_kept_by_event_and_deleted_by_key(self, engine: Engine) -> None:
        key, other = KeyId("key-1"), KeyId("key-2")
        put(
            engine,
            Put("t", (f"key:{key}",), (Box(key, b"one"),)),
            Put("t"),
            Put("t", (f"key:{key}", f"key:{other}"), (Box(key, b"\x00two\xff"), Box(other, b""))),
            Put("t", (f"key:{key}",), (Box(key, b"three"),)),
        )
        assert engine.boxes(0) == [Box(key, b"one")]
        assert engine.boxes(1) == []
        assert engine.boxes(2) == [Box(key, b"\x00two\xff"), Box(other, b"")]
        assert [index for index, _ in engine.boxes_between(0, 4)] == [0, 2, 2, 3]
        assert [index for index, _ in engine.boxes_between(1, 3)] == [2, 2]
        assert engine.delete_boxes([key], 3) == 2
        assert engine.boxes(0) == []
        assert engine.boxes(2) == [Box(other, b"")]
        assert engine.boxes(3) == [Box(key, b"three")]
        assert engine.delete_boxes([key, other, KeyId("none")], 4) == 2
        assert engine.delete_boxes([key], 4) == 0
        assert list(engine.boxes_between(0, 4)) == []
        assert engine.size() == 4

    def test_boxes_of_many_events_are_read_in_pages(self, engine: Engine) -> None:
        key = KeyId("key")
        put(engine, *(Put("t", (f"key:{key}",), (Box(key, b"%d" % i),)) for i in range(300)))
        assert [(index, box.bytes) for index, box in engine.boxes_between(0, 300)] == [
            (i, b"%d" % i) for i in range(300)
        ]

    # --- tiles, checkpoints, idempotency -----------------------------------------------------------------------

    def test_tiles_are_kept_by_level_and_number(self, engine: Engine) -> None:
        tiles = [Tile(level, n, bytes([level, n]) * 4_096) for level in range(2) for n in range(3)]
        put(engine, Put("t"), tiles=tiles)
        for tile in tiles:
            assert engine.tile(tile.level, tile.n) == tile.hashes
        assert engine.tile(2, 0) is None
        assert engine.tile(0, 3) is None
        assert list(engine.tiles()) == [(level, n) for level in range(2) for n in range(3)]

    def test_a_checkpoint_is_found_by_the_size_it_must_cover(self, engine: Engine) -> None:
        for count in (1, 3, 2):
            put(engine, *(Put("t") for _ in range(count)))
        assert engine.checkpoint() == (6, note_of(6))
        found = [engine.checkpoint(size) for size in range(8)]
        sizes = [None if each is None else each[0] for each in found]
        assert sizes == [1, 1, 4, 4, 4, 6, 6, None]
        assert list(engine.checkpoints()) == [(size, note_of(size)) for size in (1, 4, 6)]

    def test_more_checkpoints_than_a_page_are_all_read(self, engine: Engine) -> None:
        for _ in range(PAGE + 2):
            put(engine, Put("t"))
        assert [size for size, _ in engine.checkpoints()] == list(range(1, PAGE + 3))

    def test_idempotency_rows_are_found_by_key(self, engine: Engine) -> None:
        rows = [IdempotencyRow(bytes([i]) * 32, bytes([i + 1]) * 32, i, 2) for i in range(5)]
        put(engine, Put("t"), idempotency=rows)
        assert engine.find_idempotent(rows[3].key) == rows[3]
        assert engine.find_idempotent(b"\x09" * 32) is None
        with engine.begin() as transaction:
            keys: Collection[bytes] = {rows[0].key, rows[4].key, b"\x09" * 32}
            assert transaction.idempotent(keys) == {rows[0].key: rows[0], rows[4].key: rows[4]}
        assert sorted(engine.idempotency(), key=lambda row: row.key) == rows

    def test_an_undamaged_store_reports_no_damage(self, engine: Engine) -> None:
        put(engine, *(Put("t", ("a",)) for _ in range(50)))
        assert list(engine.damage()) == []

    # --- the last of a type ------------------------------------------------------------------------------------

    def test_the_last_entry_of_a_type_before_an_end(self, engine: Engine) -> None:
        assert engine.last_of_type("t", 0) is None
        assert engine.last_of_type("t", 10) is None
        put(engine, Put("t"), Put("u"), Put("t"), Put("u"), Put("u"))
        found = [engine.last_of_type("t", end) for end in range(7)]
        assert [None if each is None else each.index for each in found] == [None, 0, 0, 2, 2, 2, 2]
        assert engine.last_of_type("u", 5) == Stored(4, entry_of(4))
        assert engine.last_of_type("never", 5) is None

    # --- the tag index -----------------------------------------------------------------------------------------

    def test_a_fresh_index_is_empty(self, engine: Engine) -> None:
        index = engine.tag_index
        assert index.state() == TagIndexState()
        assert index.leaves([]) == index.leaves([key_of(1)]) == []
        assert index.leaves_between(bytes(32), b"\xff" * 32, 10) == []
        assert index.pack(b"\x00") is None
        assert index.packs_after(b"", 10) == []
        assert index.marks(10) == []
        assert list(all_leaves(index)) == list(all_packs(index)) == []

    def test_what_is_written_to_the_index_is_there_for_every_instance(self, open_engine: OpenEngine) -> None:
        engine, other = open_engine(), open_engine()
        leaves = [(key_of(i), i + 1, head_of(i)) for i in range(150)]
        change = TagIndexChange(7, 150, leaves[::-1], {5, 3, 2**20 - 1}, [(b"\x04\xf0", b"b"), (b"\x00", b"a")])
        assert engine.tag_index.write(change, TagIndexState())
        for index in (engine.tag_index, other.tag_index):
            assert (index.state().size, index.state().tags) == (7, 150)
            assert sorted(index.leaves([key_of(i) for i in (149, 3, 500, 3)])) == sorted([leaves[3], leaves[149]])
            assert len(index.leaves([leaf[0] for leaf in leaves])) == 150
            assert list(all_leaves(index)) == sorted(leaves)
            assert index.packs([b"\x00", b"\x04\xf0", b"\x08"]) == {b"\x00": b"a", b"\x04\xf0": b"b"}
            assert index.packs([]) == {}
            everything = (bytes(32), b"\xff" * 32)
            ten = sorted(leaves)[:10]
            spans = [(*everything, 10), (b"\xff" * 32, b"\xff" * 32, 10), (*everything, 1)] * 500
            assert index.leaves_in(spans) == [ten, [], ten[:1]] * 500, "more than one statement takes"
            assert index.leaves_in([]) == []
            assert index.packs_after(b"", 10) == [(b"\x00", b"a"), (b"\x04\xf0", b"b")]
            assert index.packs_after(b"\x00", 10) == [(b"\x04\xf0", b"b")]
            assert (index.pack(b"\x00"), index.pack(b"\x04\xf0"), index.pack(b"\x04\xe0")) == (b"a", b"b", None)
            assert (index.marks(10), index.marks(2)) == ([3, 5, 2**20 - 1], [3, 5])

    def test_leaves_of_a_range_come_in_order_up_to_a_limit(self, engine: Engine) -> None:
        leaves = [(bytes([i]) * 32, 1, head_of(i)) for i in range(256)]
        assert engine.tag_index.write(TagIndexChange(1, 256, leaves), TagIndexState())
        between = engine.tag_index.leaves_between
        assert between(bytes(32), b"\xff" * 32, 1_000) == leaves
        assert between(bytes([7]) * 32, bytes([9]) * 32, 1_000) == leaves[7:10]
        assert between(bytes([7]) * 32, bytes([9]) * 32, 2) == leaves[7:9]
        assert between(bytes([7]) * 31 + b"\x08", bytes([8]) * 31 + b"\x07", 5) == []

    def test_a_change_replaces_leaves_and_packs_and_settles_marks(self, engine: Engine) -> None:
        index = engine.tag_index
        first = TagIndexChange(
            3, 2, [(key_of(1), 1, head_of(1)), (key_of(2), 1, head_of(2))], [1, 2, 3], [(b"p", b"1")]
        )
        assert index.write(first, index.state())
        second = TagIndexChange(4, 2, [(key_of(1), 2, head_of(9))], [2, 7], [(b"p", b"2"), (b"q", b"3")], [1, 3, 99])
        assert index.write(second, index.state())
        assert (index.state().size, index.state().tags) == (4, 2)
        assert list(all_leaves(index)) == sorted([(key_of(1), 2, head_of(9)), (key_of(2), 1, head_of(2))])
        assert list(all_packs(index)) == [(b"p", b"2"), (b"q", b"3")]
        assert index.marks(10) == [2, 7]

    def test_a_change_of_another_state_is_not_made(self, open_engine: OpenEngine) -> None:
        engine, other = open_engine(), open_engine()
        found = engine.tag_index.state()
        assert other.tag_index.write(TagIndexChange(1, 1, [(key_of(1), 1, head_of(1))]), found)
        assert not engine.tag_index.write(TagIndexChange(2, 2, [(key_of(2), 1, head_of(2))], [1]), found)
        assert [leaf[0] for leaf in all_leaves(engine.tag_index)] == [key_of(1)]
        assert engine.tag_index.marks(1) == []
        # Also when nothing but the revision differs.
        same = engine.tag_index.state()
        assert engine.tag_index.write(TagIndexChange(1, 1), same)
        assert not other.tag_index.write(TagIndexChange(1, 1), same)

    def test_the_index_is_changed_with_the_transaction_or_not_at_all(self, engine: Engine) -> None:
        change = TagIndexChange(1, 1, [(key_of(1), 1, head_of(1))], [4], [(b"p", b"1")])
        with engine.begin() as transaction:
            assert transaction.tag_index.state() == TagIndexState()
            transaction.tag_index.change(change)
            assert transaction.tag_index.state().size == 1
            assert transaction.tag_index.leaves([key_of(1)]) == [(key_of(1), 1, head_of(1))]
            assert transaction.tag_index.marks(9) == [4]
            assert engine.tag_index.state() == TagIndexState()
        assert engine.tag_index.state() == TagIndexState()
        assert list(all_leaves(engine.tag_index)) == []
        with engine.begin() as transaction:
            transaction.tag_index.change(change)
            row = EventRow(0, "t", entry_of(0), leaf_of(0), [], [])
            transaction.insert(Batch([row], [], [], 1, note_of(1)))
            transaction.commit()
        assert (engine.size(), engine.tag_index.state().size) == (1, 1)
        assert list(all_packs(engine.tag_index)) == [(b"p", b"1")]

    def test_an_index_that_was_cleared_is_empty_and_takes_no_older_change(self, engine: Engine) -> None:
        index = engine.tag_index
        assert index.write(TagIndexChange(1, 1, [(key_of(1), 1, head_of(1))], [4], [(b"p", b"1")]), index.state())
        found = index.state()
        index.clear()
        assert (index.state().size, index.state().tags, index.marks(9)) == (0, 0, [])
        assert list(all_leaves(index)) == list(all_packs(index)) == []
        assert not index.write(TagIndexChange(2, 2), found)
        assert not index.write(TagIndexChange(2, 2), TagIndexState())
        assert index.write(TagIndexChange(2, 2), index.state())

    # --- several instances -------------------------------------------------------------------------------------

    def test_instances_on_one_store_see_each_others_commits(self, open_engine: OpenEngine) -> None:
        engine, other = open_engine(), open_engine()
        put(engine, Put("first-type", ("a",)))
        assert indexes(other, item("a", types=["first-type"])) == [0]
        put(other, Put("second-type", ("a",)))
        put(engine, Put("second-type", ("a",)), Put("first-type", ("a",)))
        for each in (engine, other):
            assert indexes(each, item(types=["second-type"])) == [1, 2]
            assert indexes(each, item("a", types=["first-type"])) == [0, 3]
            assert fails(each, item("a", types=["second-type"]), after=2)
            assert not fails(each, item("a", types=["second-type"]), after=3)

    def test_a_condition_sees_types_that_another_instance_made_since(self, open_engine: OpenEngine) -> None:
        engine, other = open_engine(), open_engine()
        put(engine, Put("t", ("a",)))
        assert not fails(engine, item("a", types=["new"]))
        assert not fails(engine, item(types=["new"]))
        put(other, Put("new", ("a",)))
        assert fails(engine, item("a", types=["new"]))
        assert fails(engine, item(types=["new"]))
        assert indexes(engine, item(types=["new"])) == [1]

    def test_closing_one_instance_leaves_the_other(self, open_engine: OpenEngine) -> None:
        engine, other = open_engine(), open_engine()
        put(engine, Put("t"))
        engine.close()
        put(other, Put("t"))
        assert other.size() == 2
