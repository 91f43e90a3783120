"""Taking turns: A B A B, in many short rounds, so that a neighbour's load falls on both sides alike."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Spent(NamedTuple):
    """What some work took: seconds on the clock, and seconds of processor time of the whole process."""

    seconds: float
    processor_s: float


class Clock:
    """Started when it is made."""

    def __init__(self) -> None:
        self._processor, self._began = process_time(), perf_counter()

    def read(self) -> Spent:
        return Spent(perf_counter() - self._began, process_time() - self._processor)


Measure = Callable[[], float]
"""Do one round and return its result: events per second, or seconds."""


def alternate(rounds: int, *measures: Measure) -> list[list[float]]:
    """Return what each measure gave in each of `rounds` rounds, taken in turns."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for results, measure in zip(taken, measures, strict=True):
            gc.collect()
            results.append(measure())
    return taken


def in_threads(work: Callable[[Sequence[T]], None], shares: Sequence[Sequence[T]]) -> Spent:
    """Run `work` on each share in a thread of its own; return what it took from the first start to the last end."""
    barrier = threading.Barrier(len(shares) + 1)
    errors: list[BaseException] = []

    def run(share: Sequence[T]) -> None:
        barrier.wait()
        try:
            work(share)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    barrier.wait()
    clock = Clock()
    for thread in threads:
        thread.join()
    spent = clock.read()
    if errors:
        raise errors[0]
    return spent


def dealt(items: Sequence[T], hands: int) -> list[Sequence[T]]:
    """Return the items dealt out to so many hands."""
    return [items[hand::hands] for hand in range(hands)]
