"""Indexing: what is committed is the index over the entries, whoever commits; proofs of all, of none, as of then."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ledger import Ledger, canonical, indexing, open_ledger
from ledger.entry import parse
from ledger.errors import Busy, Invalid, Tampered, VerificationError
from ledger.events import IndexCommitted
from ledger.tlog import tag_map
from ledger.tlog.fsck import fsck
from ledger.tlog.index import Index, IndexCommitment, IndexProof
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.tag_proof import TagHistory, TagProof
from ledger.vocabulary import Tag
from tests.bench import KEK, ORIGIN, SIGNER, Bench, append, check_ledger
from tests.conftest import MakeBench
from tests.tlog import naive_index


@pytest.fixture
def bench(any_bench: Bench) -> Bench:
    """A bench with an empty ledger, on each engine in turn."""
    return any_bench


def tags_of(ledger: Ledger, size: int) -> dict[str, list[bytes]]:
    """Return from the entries below `size` alone the leaf hashes of the events of each tag."""
    found: dict[str, list[bytes]] = {}
    for stored in ledger.engine.entries(0, size):
        for link in parse(stored.entry).tags:
            found.setdefault(link.tag, []).append(leaf_hash(stored.entry))
    return found


def check_index(ledger: Ledger) -> list[IndexCommitment]:
    """Every commitment in the log is the index of the definition over the entries before it; return them."""
    found = [
        IndexCommitment.parse(stored.entry, ledger.origin)
        for stored in ledger.engine.entries()
        if parse(stored.entry).type == IndexCommitted.TOPIC
    ]
    for commitment in found:
        tags = tags_of(ledger, commitment.size)
        assert commitment.tags == len(tags)
        assert commitment.root == naive_index.root(ledger.origin, tags), f"the index at {commitment.size}"
    return found


def fill(ledger: Ledger, count: int, *, seed: int = 1, of: int = 40) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        append(ledger, "all", *{f"tag:{rng.randrange(of)}" for _ in range(2)}, count=rng.randrange(1, 4))


def history(ledger: Ledger, tag: str, **options: Any) -> TagHistory:
    return ledger.prove_tag(Tag(tag), **options).verify(ledger.verifier, ledger.origin)


# --- committing ---------------------------------------------------------------------------------------------------


def test_an_empty_ledger_commits_to_an_empty_index(bench: Bench) -> None:
    commitment = bench.ledger.commit_index()
    assert (commitment.size, commitment.root, commitment.tags) == (0, bytes(32), 0)
    check_ledger(bench.ledger, 1)


def test_the_entry_is_that_of_the_format(bench: Bench) -> None:
    append(bench.ledger, "a", "b")
    commitment = bench.ledger.commit_index()
    entry = parse(bench.ledger.entry(1))
    assert bytes(entry.data) == b'{"root":"%b","size":1,"tags":2}' % commitment.root.hex().encode()
    assert (entry.type, entry.tags, entry.sealed) == ("index-committed", (), {})
    assert bench.ledger.open(1) == IndexCommitted(root=commitment.root.hex(), size=1, tags=2)


def test_commitments_are_the_index_of_the_entries_before_them(bench: Bench) -> None:
    for seed in range(12):
        fill(bench.ledger, 9, seed=seed)
        commitment = bench.ledger.commit_index()
        assert commitment.size == bench.ledger.size() - 1
    assert len(check_index(bench.ledger)) == 12
    check_ledger(bench.ledger)


def test_nothing_new_is_not_committed_again(bench: Bench) -> None:
    fill(bench.ledger, 3)
    first = bench.ledger.commit_index()
    assert bench.ledger.commit_index() == first
    assert bench.reopen().commit_index() == first
    append(bench.ledger, "one more")
    assert bench.ledger.commit_index().size == first.size + 2


def test_a_commitment_shares_its_transaction_and_goes_first(bench: Bench) -> None:
    """It covers the entries before it: what is recorded in the same transaction comes after it."""
    fill(bench.ledger, 5)
    threads = [threading.Thread(target=fill, args=(bench.ledger, 40), kwargs={"seed": seed}) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        bench.ledger.commit_index()
    for thread in threads:
        thread.join(60)
    bench.ledger.commit_index()
    assert len(check_index(bench.ledger)) > 3
    check_ledger(bench.ledger)


def test_many_entries_are_counted_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "STEP_ENTRIES", 7)
    monkeypatch.setattr(indexing, "STEP_MARKS", 5)
    monkeypatch.setattr(indexing, "LAST_ENTRIES", 3)
    monkeypatch.setattr(indexing, "LAST_MARKS", 2)
    fill(bench.ledger, 120, of=500)
    bench.ledger.commit_index()
    fill(bench.ledger, 60, of=500, seed=2)
    bench.ledger.commit_index()
    assert len(check_index(bench.ledger)) == 2


@pytest.mark.parametrize("steps", range(0, 28, 3))
def test_an_index_that_was_left_in_the_middle_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """A process that dies after any step leaves what the next one goes on from."""
    for name, value in {"STEP_ENTRIES": 9, "STEP_MARKS": 6, "LAST_ENTRIES": 3, "LAST_MARKS": 2}.items():
        monkeypatch.setattr(indexing, name, value)
    fill(bench.ledger, 40, of=200)
    bench.ledger.commit_index()
    fill(bench.ledger, 60, of=200, seed=2)
    store = bench.ledger.engine.tag_index
    write, left = store.write, steps

    def die(*arguments: Any) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(store, "write", die)
    with pytest.raises(KeyboardInterrupt):
        bench.ledger.commit_index()
    bench.reopen()
    fill(bench.ledger, 5, of=200, seed=3)
    assert history(bench.ledger, "all").count == len(tags_of(bench.ledger, bench.ledger.size())["all"])
    assert len(check_index(bench.ledger)) == 2


def test_an_index_that_was_counted_in_two_steps_is_found(bench: Bench) -> None:
    """The defect that the tests above, and the kills in faults/, are there for: leaves first, and then how far."""
    fill(bench.ledger, 10)
    store = bench.ledger.engine.tag_index
    state = store.state()
    change = bench.ledger.index._count(store, state, state.size + 5)
    assert store.write(msgspec.structs.replace(change, size=state.size, tags=state.tags), state)
    bench.reopen()
    with pytest.raises(Tampered):
        bench.ledger.commit_index()
    assert any("on no entry" in why for _, why in problems(bench.ledger))


def test_two_processes_index_one_ledger(bench: Bench) -> None:
    other = bench.another()
    try:

        def work(ledger: Ledger, seed: int) -> None:
            for turn in range(15):
                fill(ledger, 3, seed=seed * 100 + turn, of=80)
                ledger.commit_index()
                proof = ledger.prove_tag(Tag(f"tag:{turn}"))
                proof.verify(ledger.verifier, ledger.origin)

        threads = [threading.Thread(target=work, args=(ledger, n)) for n, ledger in enumerate((bench.ledger, other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
    finally:
        other.close()
    bench.ledger.commit_index()
    check_index(bench.ledger)
    check_ledger(bench.ledger)


def test_what_another_process_changed_meanwhile_is_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves read after another process counted on do not fit the state read before: that is no damage."""
    for name in ("LAST_ENTRIES", "LAST_MARKS"):
        monkeypatch.setattr(indexing, name, 0)
    other = bench.another()
    try:
        fill(bench.ledger, 10)
        size = bench.ledger.size()
        store = bench.ledger.engine.tag_index
        leaves, between = store.leaves, [0]

        def late(keys: Any) -> Any:
            between[0] += 1
            if between[0] == 1:
                other.commit_index()
            return leaves(keys)

        monkeypatch.setattr(store, "leaves", late)
        assert history(bench.ledger, "all").count == size
        assert between[0], "the other one came in between"
    finally:
        other.close()
    check_index(bench.ledger)


def test_a_steady_pace_commits_what_changed_and_nothing_else(bench: Bench) -> None:
    bench.ledger.close()
    bench.ledger = open_ledger(bench.directory, kek=KEK, signer=SIGNER, server=bench.server, index_every_s=0.05)
    append(bench.ledger, "a")
    assert bench.ledger.wait_for(2, 30)
    # Several turns without a change: a commitment is no change.
    assert not bench.ledger.wait_for(3, 0.4)
    append(bench.ledger, "b")
    assert bench.ledger.wait_for(4, 30)
    assert len(check_index(bench.ledger)) == 2
    assert bench.ledger.index.failure is None


def test_without_a_pace_nothing_is_committed_by_itself(bench: Bench) -> None:
    append(bench.ledger, "a")
    assert not bench.ledger.wait_for(2, 0.3)


def test_a_ledger_closes_at_once_whatever_the_pace(bench: Bench) -> None:
    bench.ledger.close()
    bench.ledger = open_ledger(bench.directory, kek=KEK, signer=SIGNER, server=bench.server, index_every_s=3_600)
    append(bench.ledger, "a")
    bench.reopen()
    check_ledger(bench.ledger, 1)


# --- proving ------------------------------------------------------------------------------------------------------


def test_all_events_of_a_tag_are_proven_and_an_absence_too(bench: Bench) -> None:
    fill(bench.ledger, 200, of=60)
    size = bench.ledger.size()
    expected = tags_of(bench.ledger, size)
    for number in range(70):
        tag = f"tag:{number}"
        found = history(bench.ledger, tag)
        assert (found.tag, found.size, found.count) == (tag, size, len(expected.get(tag, ())))
    assert history(bench.ledger, "all").count == size
    assert bench.ledger.size() == size + 1, "one commitment was enough for all of them"


def test_a_proof_covers_what_was_recorded_before_it_was_asked_for(bench: Bench) -> None:
    for number in range(1, 6):
        append(bench.ledger, "t")
        assert history(bench.ledger, "t").count == number


def test_more_events_than_are_wanted_are_refused(bench: Bench) -> None:
    append(bench.ledger, "t", count=5)
    with pytest.raises(Invalid):
        bench.ledger.prove_tag(Tag("t"), limit=4)
    assert len(bench.ledger.prove_tag(Tag("t"), limit=5).entries) == 5


@pytest.mark.parametrize("tag", ["", "a\x00b", "\ud800"])
def test_a_tag_that_cannot_be_is_refused(bench: Bench, tag: str) -> None:
    with pytest.raises(Invalid):
        bench.ledger.prove_tag(Tag(tag))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-22T{text}").replace(tzinfo=UTC)


@pytest.fixture
def days(bench: Bench) -> Bench:
    """An event with the tag `t` at 10:00, 11:00, 12:00 …, beside others."""
    for _ in range(5):
        append(bench.ledger, "t")
        append(bench.ledger, "u", count=2)
        bench.clock.forward(hours=1)
    return bench


@pytest.mark.parametrize(
    ("at", "count", "size"),
    [("10:00", 1, 3), ("10:59", 1, 3), ("11:00", 2, 6), ("13:30", 4, 12), ("14:59:59.999999", 5, 15)],
)
def test_a_past_moment_cuts_the_history(days: Bench, at: str, count: int, size: int) -> None:
    found = history(days.ledger, "t", as_of=moment(at))
    assert (found.count, found.count_then, found.size_then) == (5, count, size)
    assert history(days.ledger, "never", as_of=moment(at)).count == 0


def test_what_came_later_is_none_as_of_before(days: Bench) -> None:
    append(days.ledger, "late")
    days.clock.forward(hours=1)
    found = history(days.ledger, "late", as_of=moment("12:00"))
    assert (found.count, found.count_then) == (1, 0)


def test_a_quiet_ledger_is_proven_up_to_a_moment_after_its_last_entry(days: Bench) -> None:
    """The index entry is made anew, so that it stands after the moment."""
    days.ledger.commit_index()
    days.clock.forward(days=30)
    found = history(days.ledger, "t", as_of=datetime(2026, 12, 1, tzinfo=UTC))
    assert (found.count, found.count_then, found.size_then) == (5, 5, 16)
    assert found.size == 16


@pytest.mark.parametrize("at", ["15:00", "15:01", "23:00", "09:59:59"])
def test_a_moment_that_is_not_past_or_before_everything_is_refused(days: Bench, at: str) -> None:
    with pytest.raises(Invalid):
        days.ledger.prove_tag(Tag("t"), as_of=moment(at))


# --- forged proofs ------------------------------------------------------------------------------------------------


def changed(proof: TagProof, **changes: Any) -> TagProof:
    return msgspec.structs.replace(proof, **changes)


def test_a_history_that_is_not_whole_is_refused(days: Bench) -> None:
    proof, other = days.ledger.prove_tag(Tag("t")), days.ledger.prove_tag(Tag("u"))
    absent = days.ledger.prove_tag(Tag("none"))
    assert proof.verify(days.ledger.verifier, ORIGIN).count == 5
    forged = [
        changed(proof, entries=proof.entries[:-1]),
        changed(proof, entries=proof.entries[1:]),
        changed(proof, entries=()),
        changed(proof, entries=(*proof.entries, proof.entries[-1])),
        changed(proof, entries=(*proof.entries[:-1], proof.entries[0])),
        changed(proof, entries=proof.entries[::-1]),
        changed(proof, entries=other.entries[:5]),
        changed(proof, entries=(*proof.entries[:-1], proof.index_entry)),
        changed(proof, entries=(*proof.entries[:-1], b"{}")),
        changed(proof, entries=(*proof.entries[:-1], b"x" * 70_000)),
        changed(proof, index_proof=other.index_proof),
        changed(proof, index_proof=absent.index_proof),
        changed(proof, index_proof=b""),
        changed(proof, index_entry=proof.entries[0]),
        changed(proof, index_entry=b""),
        changed(proof, inclusion=b""),
        changed(proof, inclusion=days.ledger.prove(0)),
        changed(proof, tag="u"),
        changed(absent, tag="t"),
        changed(absent, entries=proof.entries),
    ]
    for each in forged:
        with pytest.raises(VerificationError):
            each.verify(days.ledger.verifier, ORIGIN)
    with pytest.raises(VerificationError):
        proof.verify(days.ledger.verifier, "example.com/other")


def test_a_cut_at_another_place_is_refused(days: Bench) -> None:
    proof = days.ledger.prove_tag(Tag("t"), as_of=moment("12:30"))
    cut = proof.cut
    assert cut is not None
    tree, size = days.ledger.tree(), days.ledger.size()

    def at(size_then: int, as_of: str) -> TagProof:
        found = days.ledger.checkpoint(size_then)
        assert found is not None
        return changed(
            proof,
            cut=msgspec.structs.replace(
                cut, as_of=as_of, checkpoint=found[1], consistency=tree.consistency_proof(found[0], size)
            ),
        )

    assert at(9, "2026-11-22T12:30:00.000000Z").verify(days.ledger.verifier, ORIGIN).count_then == 3
    for size_then, as_of in [
        (6, "2026-11-22T12:30:00.000000Z"),  # leaves the event of 12:00 out
        (12, "2026-11-22T12:30:00.000000Z"),  # takes the one of 13:00 in
        (9, "2026-11-22T13:00:00.000000Z"),
        (9, "2026-11-22T11:59:00.000000Z"),
        (9, "2026-11-22T12:30:00Z"),
        (9, "x"),
        (15, "2026-11-23T12:30:00.000000Z"),  # after the index entry
        (16, "2026-11-22T14:30:00.000000Z"),  # holds the index entry itself
    ]:
        with pytest.raises(VerificationError):
            at(size_then, as_of).verify(days.ledger.verifier, ORIGIN)
    for consistency in [(), cut.consistency[1:], cut.consistency[:-1], (*cut.consistency, bytes(32)), (b"short",)]:
        with pytest.raises(VerificationError):
            changed(proof, cut=msgspec.structs.replace(cut, consistency=consistency)).verify(
                days.ledger.verifier, ORIGIN
            )


# --- a store that was changed -------------------------------------------------------------------------------------


def tamper_leaf(bench: Bench) -> None:
    bench.sql(
        "UPDATE tag_index_leaves SET n = n + 1 WHERE key = (SELECT key FROM tag_index_leaves ORDER BY key LIMIT 1)"
    )


def tamper_head(bench: Bench) -> None:
    bench.sql("UPDATE tag_index_leaves SET head = ?", (bytes(32),))


def drop_leaves(bench: Bench) -> None:
    bench.sql("DELETE FROM tag_index_leaves WHERE n = 1")


def tamper_packs(bench: Bench) -> None:
    bench.sql("UPDATE tag_index_packs SET nodes = ?", (bytes(514),))


def drop_packs(bench: Bench) -> None:
    bench.sql("DELETE FROM tag_index_packs")


def shorten_packs(bench: Bench) -> None:
    bench.sql("UPDATE tag_index_packs SET nodes = ?", (b"\x00",))


@pytest.mark.parametrize("tamper", [tamper_leaf, tamper_head, drop_leaves, tamper_packs, drop_packs, shorten_packs])
def test_a_changed_index_proves_nothing_and_is_built_again(bench: Bench, tamper: Callable[[Bench], None]) -> None:
    fill(bench.ledger, 80, of=100)
    before = bench.ledger.commit_index()
    tags = tags_of(bench.ledger, before.size)
    tamper(bench)
    failed = 0
    for tag in tags:
        try:
            assert history(bench.ledger, tag).count == len(tags[tag])
        except Tampered:
            failed += 1
    assert failed
    append(bench.ledger, "all")
    bench.ledger.index.rebuild()
    for tag in tags:
        assert history(bench.ledger, tag).count == len(tags[tag]) + (tag == "all")
    check_index(bench.ledger)


def test_an_index_ahead_of_the_log_is_refused(bench: Bench) -> None:
    fill(bench.ledger, 5)
    bench.ledger.commit_index()
    bench.sql("UPDATE tag_index SET size = 1000")
    append(bench.ledger, "t")
    with pytest.raises(Tampered):
        bench.ledger.commit_index()


def test_entries_that_do_not_count_on_are_not_indexed(bench: Bench) -> None:
    fill(bench.ledger, 5)
    bench.ledger.commit_index()
    bench.sql("UPDATE tag_index_leaves SET n = n + 1")
    append(bench.ledger, "all")
    with pytest.raises(Tampered):
        bench.ledger.commit_index()
    size = bench.ledger.size()
    append(bench.ledger, "all")
    assert bench.ledger.size() == size + 1, "appends go on"


def test_an_index_in_memory_agrees(bench: Bench) -> None:
    fill(bench.ledger, 30)
    commitment = bench.ledger.commit_index()
    index = Index.rebuild((stored.entry for stored in bench.ledger.engine.entries(0, commitment.size)), ORIGIN)
    assert (index.root(), len(index.states)) == (commitment.root, commitment.tags)
    for tag in ("all", "tag:3", "none"):
        assert IndexProof.parse(bench.ledger.prove_tag(Tag(tag)).index_proof) == index.prove(tag)


def test_a_full_queue_is_said_to_be_one(make_any_bench: MakeBench) -> None:
    bench = make_any_bench(queue_limit=0)
    with pytest.raises(Busy):
        bench.ledger.commit_index()


# --- verification -------------------------------------------------------------------------------------------------


def problems(ledger: Ledger) -> list[tuple[str, str]]:
    report = fsck(ledger)
    assert {problem.check for problem in report.problems} <= {"tag index"}, report.problems
    return [(problem.where, problem.why) for problem in report.problems]


@pytest.mark.parametrize("between", [0, 1, 30])
def test_a_ledger_with_commitments_verifies(bench: Bench, between: int) -> None:
    for seed in range(4):
        fill(bench.ledger, 40, of=150, seed=seed)
        bench.ledger.commit_index()
    for number in range(between):
        append(bench.ledger, f"new:{number}")
    report = fsck(bench.ledger)
    assert report.ok, report.problems
    assert report.commitments == 4


def test_an_index_that_was_left_in_the_middle_verifies(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEP_ENTRIES": 9, "STEP_MARKS": 6, "LAST_ENTRIES": 3, "LAST_MARKS": 2}.items():
        monkeypatch.setattr(indexing, name, value)
    fill(bench.ledger, 60, of=200)
    store = bench.ledger.engine.tag_index
    while True:
        state = store.state()
        assert problems(bench.ledger) == []
        if bench.ledger.size() - state.size > 3:
            store.write(bench.ledger.index._count(store, state, state.size + 9), state)
        elif marks := store.marks(6):
            store.write(tag_map.settle(store, state, marks), state)
        else:
            break


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        (tamper_leaf, "counts"),
        (tamper_head, "another head"),
        (drop_leaves, "missing from the index"),
        (tamper_packs, "is not the hash"),
        (drop_packs, "is not the hash"),
        (shorten_packs, "is not the hash"),
        (lambda bench: bench.sql("UPDATE tag_index SET tags = tags + 1"), "tags, the entries have"),
        (lambda bench: bench.sql("UPDATE tag_index SET size = 100000"), "counts 100000 entries"),
        (
            lambda bench: bench.sql("INSERT INTO tag_index_leaves VALUES (?, 1, ?)", (b"\x07" * 32, b"\x07" * 32)),
            "on no entry",
        ),
        (
            lambda bench: bench.sql("INSERT INTO tag_index_packs VALUES (?, ?)", (b"\x08\x00", b"\x00")),
            "is not the hash",
        ),
    ],
)
def test_a_changed_index_is_named(bench: Bench, tamper: Callable[[Bench], object], why: str) -> None:
    fill(bench.ledger, 80, of=100)
    bench.ledger.commit_index()
    assert problems(bench.ledger) == []
    tamper(bench)
    found = problems(bench.ledger)
    assert any(why in text for _, text in found), found
    if tamper is tamper_leaf:
        assert found[0][0].startswith("tag "), "by its name"
    bench.ledger.index.rebuild()
    assert problems(bench.ledger) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"root": "00" * 32}, "another index"),
        ({"tags": 3}, "commits to 3 tags"),
        ({"size": 1}, "does not cover exactly"),
    ],
)
def test_a_wrong_commitment_is_named(bench: Bench, changes: dict[str, Any], why: str) -> None:
    """Signed by the ledger itself, with everything else in order: only the entries say that it is a lie."""
    fill(bench.ledger, 30)
    good = bench.ledger.commit_index()
    append(bench.ledger, "one more")
    size = bench.ledger.size()
    data = {"root": good.root.hex(), "size": size, "tags": good.tags, **changes}
    append(bench.ledger, type="index-committed", data=canonical.encode(data))
    found = problems(bench.ledger)
    assert [where for where, _ in found] == [f"entry {size}"] * len(found)
    assert any(why in text for _, text in found), found
