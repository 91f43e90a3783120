"""kill -9 at random moments: of a follower, of a rebuild. What is left equals a rebuild, always (fault 11).

PROOFTRAIL_PROJECTION_KILLS sets the number of rounds of each.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable

from projections import Progress
from tests.projections.crowd import crowd
from tests.projections.world import Where, dump

ROUNDS = int(os.environ.get("PROOFTRAIL_PROJECTION_KILLS", "24"))


def follow_to(where: Where, target: int, *, batch: int) -> None:
    """Follow a ledger in small batches until a position; the life of one process."""
    with where.opened() as ledger, where.projections(ledger) as projections:
        projections.runner._batch = batch
        projections.follow()
        print("following", flush=True)
        if not projections.wait_for(target, 60):
            sys.exit("the target was never reached")


def rebuild_for_ever(where: Where, tell: Progress) -> None:
    with where.opened() as ledger, where.projections(ledger) as projections:
        projections.runner._batch = 50
        while True:
            projections.rebuild(tell)


def catch_up(where: Where, tell: Progress) -> None:
    with where.opened() as ledger, where.projections(ledger) as projections:
        projections.runner._batch = 3
        projections.catch_up(tell)
        time.sleep(60)


def killed(work: Callable[[Where, Progress], None], where: Where, *, batches: int, later_s: float) -> None:
    """Do work in a child that is killed a little after it has told of so many batches.

    By batches and not by time, so that a slow machine kills as well as a fast one. Forked, as a fresh interpreter would
    take longer than the work; nothing of SQLite is open in the parent then.
    """
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        out = os.fdopen(tell, "w")
        try:
            work(where, lambda done, total: print(end=".", file=out, flush=True))
        finally:
            os._exit(1)
    os.close(tell)
    for _ in range(batches):
        assert os.read(told, 1), "the child ended by itself"
    os.close(told)
    time.sleep(later_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"


def test_a_follower_that_is_killed_equals_a_rebuild(made: Where) -> None:
    rng = random.Random(11)
    lags: set[int] = set()
    with made.opened() as ledger, made.projections(ledger) as projections:
        projections.catch_up()
    for number in range(ROUNDS):
        with made.opened() as ledger:
            crowd(ledger, 100, seed=number, lives_a_batch=5)
        killed(catch_up, made, batches=rng.randrange(33), later_s=rng.uniform(0, 0.01))
        with made.opened() as ledger, made.projections(ledger) as projections:
            position = projections.status().position
            lags.add(ledger.size() - position)
            kept = dump(projections)
            indexes = [row[0] for table in ("subjects", "order_steps", "consents_given") for row in kept[table]]
            assert len(indexes) == len(set(indexes))
            assert max(indexes, default=-1) < position
            assert projections.verify().count == 0
    # Some died on the way, or this proved nothing.
    assert len(lags) > 1


def test_a_rebuild_that_is_killed_leaves_the_old_state_or_the_new(made: Where) -> None:
    rng = random.Random(12)
    with made.opened() as ledger, made.projections(ledger) as projections:
        crowd(ledger, 400)
        projections.catch_up()
        whole = dump(projections)
    generations: set[str] = set()
    for _ in range(ROUNDS):
        killed(rebuild_for_ever, made, batches=rng.randrange(20), later_s=rng.uniform(0, 0.02))
        generations.add(made.in_use())
        if made.server is None:
            store = made.store()
            with store.read() as rows:
                assert rows("PRAGMA integrity_check") == [("ok",)]
            store.close()
        with made.opened() as ledger, made.projections(ledger) as projections:
            assert dump(projections) == whole
    assert len(generations) > 1
    with made.opened() as ledger, made.projections(ledger) as projections:
        projections.rebuild()
    assert made.generations() == [made.in_use()]
