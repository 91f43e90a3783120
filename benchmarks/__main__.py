"""`python -m benchmarks`: measure, print, and write bench.json."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import (
    append,
    as_of,
    condition,
    history,
    index,
    marketing,
    memory,
    proof,
    rebuild,
    record,
    result,
    space,
    store,
    verify,
)
from benchmarks.result import Result
from ledger import Ledger

QUICK_EVENTS = 20_000
SMALL_EVENTS = 5_000
SERVER_EVENTS = 100_000


class Name(StrEnum):
    """The benchmarks, in the order in which they run."""

    APPEND = "append-32"
    RECORD = "record-32"
    APPEND_LARGE = "append-32-at-1M"
    CONDITION = "condition-common-tag"
    REBUILD = "rebuild"
    VERIFY = "verify"
    PROOF = "proof"
    INDEX = "index"
    COMPLETENESS = "completeness"
    AS_OF = "as-of"
    BYTES = "bytes-per-event"
    MEMORY = "memory"
    MARKETING = "marketing"
    HTTP = "http"
    POSTGRES = "postgres"
    POSTGRES_READING = "postgres-reading"


class Bench:
    """The ledgers of one run, built when the first benchmark asks for them."""

    def __init__(self, scratch: Path, cache: Path, *, events: int, quick: bool) -> None:
        self._scratch = scratch
        self._cache = cache
        self._events = events
        self._rounds = 3 if quick else 9
        # What takes long by itself is steady enough.
        self._long_rounds = 3 if quick else 1
        self._proofs = 20 if quick else 200
        self._reference_events = 2_000 if quick else 5_000

    def run(self, name: Name) -> Iterable[Result]:
        measures: dict[Name, Callable[[], Iterable[Result]]] = {
            Name.APPEND: self._append,
            Name.RECORD: self._record,
            Name.APPEND_LARGE: self._append_large,
            Name.CONDITION: self._condition,
            Name.REBUILD: self._rebuild,
            Name.VERIFY: self._verify,
            Name.POSTGRES_READING: self._postgres_reading,
            Name.PROOF: self._proof,
            Name.INDEX: self._index,
            Name.COMPLETENESS: self._completeness,
            Name.AS_OF: self._as_of,
            Name.BYTES: lambda: space.rows(self._built(self._events)),
            Name.MEMORY: lambda: memory.rows(self._built(self._events)),
            Name.MARKETING: self._marketing,
            Name.HTTP: self._http,
            Name.POSTGRES: self._postgres,
        }
        return measures[name]()

    def _append(self) -> list[Result]:
        with self._fresh(SMALL_EVENTS) as (ledger, data):
            return append.rows(ledger, data, name="append-32", events=SMALL_EVENTS, rounds=self._rounds)

    def _append_large(self) -> list[Result]:
        name = f"append-32-at-{_short(self._events)}"
        with self._fresh(self._events) as (ledger, data):
            return append.rows(ledger, data, name=name, events=self._events, rounds=self._rounds)

    def _record(self) -> list[Result]:
        with self._fresh(SMALL_EVENTS) as (ledger, _):
            return record.rows(ledger, name="record-32", events=SMALL_EVENTS, rounds=self._rounds)

    def _condition(self) -> list[Result]:
        with self._fresh(self._events) as (ledger, _):
            return condition.rows(ledger, events=self._events, rounds=self._rounds)

    def _rebuild(self) -> list[Result]:
        with store.reopen(self._built(self._events)) as ledger:
            return rebuild.rows(ledger, reference_events=self._reference_events, rounds=3)

    def _verify(self) -> list[Result]:
        with store.reopen(self._built(self._events)) as ledger:
            return verify.rows(ledger, rounds=self._long_rounds)

    def _proof(self) -> list[Result]:
        with store.reopen(self._built(self._events)) as ledger:
            return proof.rows(ledger, count=self._proofs)

    def _postgres_reading(self) -> list[Result]:
        from benchmarks import postgres_reading

        return postgres_reading.rows(self._built(min(self._events, SERVER_EVENTS)), rounds=3)

    def _postgres(self) -> Iterable[Result]:
        # The driver and the server are loaded when they are asked for.
        from benchmarks.postgres import Bench as PostgresBench

        return PostgresBench(self._scratch, events=self._events, rounds=self._rounds).rows()

    def _index(self) -> list[Result]:
        with self._fresh(self._events) as (ledger, _):
            results = index.updates(ledger, events=self._events, rounds=self._rounds)
        return results + index.tag_updates(tags=self._events, batches=3)

    def _completeness(self) -> list[Result]:
        with self._fresh(self._events) as (ledger, _):
            return index.proofs(ledger, count=self._proofs)

    def _as_of(self) -> list[Result]:
        with self._fresh(self._events) as (ledger, _):
            return as_of.rows(ledger, count=self._proofs)

    def _marketing(self) -> list[Result]:
        with self._fresh(self._events) as (ledger, data):
            return marketing.rows(ledger, data, events=self._events, rounds=self._rounds)

    def _http(self) -> Iterable[Result]:
        # The servers' libraries are loaded when they are asked for.
        from benchmarks import http

        return http.rows(self._scratch, requests=2_560 if self._rounds == 3 else 6_400, rounds=self._rounds)

    def _built(self, events: int) -> Path:
        """Return the directory of a ledger that is only read."""
        data = self._cache / f"ledger-{events}"
        history.built(data, events)
        return data

    @contextmanager
    def _fresh(self, events: int) -> Iterator[tuple[Ledger, Path]]:
        """Open a copy to append to, with its directory; it is gone afterwards."""
        data = self._scratch / "fresh"
        shutil.copytree(self._built(events), data)
        try:
            with store.reopen(data) as ledger:
                yield ledger, data
        finally:
            shutil.rmtree(data)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    quick: Annotated[bool, typer.Option(help=f"A ledger of {QUICK_EVENTS:,} events, under a minute.")] = False,
    only: Annotated[list[Name] | None, typer.Option(help="Run only this one; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="Where the rows are written.")] = Path("bench.json"),
    events: Annotated[int, typer.Option(min=2_000, help="The size of the large ledger.")] = 1_000_000,
    cache: Annotated[Path | None, typer.Option(help="Keep the built ledgers here for the next run.")] = None,
) -> None:
    """Measure Prooftrail against bare references, side by side."""
    with tempfile.TemporaryDirectory(prefix="prooftrail-bench-") as folder:
        scratch = Path(folder)
        kept = cache or scratch / "built"
        kept.mkdir(parents=True, exist_ok=True)
        bench = Bench(scratch, kept, events=QUICK_EVENTS if quick else events, quick=quick)
        results: list[Result] = []
        print(result.HEADER, flush=True)
        for name in only or list(Name):
            for row in bench.run(name):
                results.append(row)
                print(result.line(row), flush=True)
    result.write(out, results)


def _short(events: int) -> str:
    for factor, letter in ((1_000_000, "M"), (1_000, "k")):
        if events >= factor and not events % factor:
            return f"{events // factor}{letter}"
    return str(events)


if __name__ == "__main__":
    app()
