"""The ledger on PostgreSQL against its references, all on one server that is started for the run.

Ours and each reference take turns. The server has settings that anybody would give it (buffers, WAL size) and is as
durable as by default: fsync and synchronous_commit are on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import condition, history, index, rebuild, store, verify
from benchmarks.append import Appends
from benchmarks.history import People
from benchmarks.postgres_references import Copy, Event, Library, Uma
from benchmarks.postgres_writer import Job, Writer
from benchmarks.record import Records
from benchmarks.result import Result, rate
from benchmarks.rounds import alternate
from ledger import Ledger
from ledger.storage.server import Server
from tests.postgres.cluster import Cluster, free_port

CALLERS: Final = 32
COUNT: Final = 1_280
# The slower references get fewer, so that their rounds are as long as ours.
FEWER: Final = 320
SMALL_EVENTS: Final = 5_000

_SETTINGS: Final = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "100",
}


class Bench:
    """One server, and on it a small ledger, a large one, and everybody else's tables."""

    def __init__(self, scratch: Path, *, events: int, rounds: int) -> None:
        self._scratch = scratch
        self._events = events
        self._rounds = rounds

    def rows(self) -> Iterator[Result]:
        """Yield the rows as they are measured."""
        with Cluster(settings=_SETTINGS, on_disk=True) as cluster:
            cluster.create().start()
            small = self._server(cluster, "small")
            with self._built(small, SMALL_EVENTS) as ledger:
                yield from self._appends(ledger, small, cluster)
                yield self._records(ledger, small)
                for row in index.updates(ledger, events=SMALL_EVENTS, rounds=self._rounds):
                    yield _named(row, f"pg-{row.name}")
            yield self._processes(small)
            large = self._server(cluster, "large")
            with self._built(large, self._events) as ledger:
                with store.reopen(self._scratch / "small", small) as empty:
                    yield self._large(ledger, empty)
                for row in condition.rows(ledger, events=self._events, rounds=self._rounds):
                    yield _named(row, f"pg-{row.name}")
                yield from (_named(row, f"pg-{row.name}") for row in verify.rows(ledger, rounds=1))
                for row in rebuild.rows(ledger, reference_events=2_000, rounds=1):
                    yield _named(row, f"pg-{row.name}")

    def _server(self, cluster: Cluster, schema: str) -> Server:
        return Server(dsn=cluster.dsn(socket=True), schema=schema)

    @contextmanager
    def _built(self, server: Server, events: int) -> Iterator[Ledger]:
        with store.create(self._scratch / server.schema, server) as ledger:
            history.build(ledger, events)
            yield ledger

    def _appends(self, ledger: Ledger, server: Server, cluster: Cluster) -> Iterator[Result]:
        appends = Appends(ledger, People(SMALL_EVENTS))
        with ExitStack() as opened:
            library = opened.enter_context(closing(Library(cluster.dsn(), database="library", callers=CALLERS)))
            copy = opened.enter_context(closing(Copy(server, schema="copied")))
            first = ledger.size()

            def ours() -> float:
                return COUNT / appends.in_threads(CALLERS, COUNT).seconds

            def theirs() -> float:
                return FEWER / library.append(self._last(ledger, FEWER)).seconds

            def copied() -> float:
                nonlocal first
                count = ledger.size() - first
                seconds = copy.insert(first, ledger.size()).seconds
                first = ledger.size()
                return count / seconds

            measures = [ours, theirs, copied]
            with suppress(ModuleNotFoundError):
                uma = opened.enter_context(closing(Uma(self._scratch / "uma", port=free_port(), callers=CALLERS)))
                measures.append(lambda: COUNT / uma.append(self._last(ledger, COUNT)).seconds)
            # The first round fills caches on all sides.
            alternate(1, *measures)
            taken = alternate(self._rounds, *measures)
        note = f"{CALLERS} threads; reference: eventsourcing's PostgresDCBRecorderTT"
        yield rate("pg-append-32", taken[0], taken[1], unit="events/s", mark=8, note=note)
        yield rate("pg-append-32-copy", taken[0], taken[2], unit="events/s", note="reference: COPY of the same rows")
        if len(taken) > 3:
            yield rate("pg-append-32-umadb", taken[0], taken[3], unit="events/s", note="reference: UmaDB")

    def _records(self, ledger: Ledger, server: Server) -> Result:
        records = Records(ledger, People(SMALL_EVENTS))
        with closing(Library(server.dsn, database="slices", callers=CALLERS)) as library:
            events = self._last(ledger, FEWER)
            library.register(sorted({event.subject for event in events}))

            def ours() -> float:
                return COUNT / records.in_threads(CALLERS, COUNT)

            def theirs() -> float:
                return FEWER / library.do(events).seconds

            alternate(1, ours, theirs)
            taken = alternate(self._rounds, ours, theirs)
        note = f"{CALLERS} threads; reference: DCBApplication.do on PostgresDCBRecorderTT"
        return rate("pg-record-32", *taken, unit="events/s", mark=4, note=note)

    def _processes(self, server: Server) -> Result:
        data = str(self._scratch / server.schema)
        with ExitStack() as opened:
            writers = [
                opened.enter_context(closing(Writer(Job(data, server, SMALL_EVENTS, CALLERS)))) for _ in range(2)
            ]

            def by(*chosen: Writer) -> float:
                for writer in chosen:
                    writer.begin(COUNT)
                return COUNT * len(chosen) / max([writer.seconds() for writer in chosen])

            measures = (lambda: by(*writers), lambda: by(writers[0]))
            alternate(1, *measures)
            taken = alternate(self._rounds, *measures)
        note = f"two processes with {CALLERS} threads each; reference: one"
        return rate("pg-two-processes", *taken, unit="events/s", mark=1, note=note)

    def _large(self, ledger: Ledger, empty: Ledger) -> Result:
        large, small = Appends(ledger, People(self._events)), Appends(empty, People(SMALL_EVENTS))
        measures = (
            lambda: COUNT / large.in_threads(CALLERS, COUNT).seconds,
            lambda: COUNT / small.in_threads(CALLERS, COUNT).seconds,
        )
        alternate(1, *measures)
        taken = alternate(self._rounds, *measures)
        note = f"on {self._events:,} events; reference: on {empty.size():,}"
        return rate("pg-append-32-large", *taken, unit="events/s", mark=0.8, note=note)

    def _last(self, ledger: Ledger, count: int) -> list[Event]:
        """The newest events of a ledger that are about a subject, as others are given them."""
        size = ledger.size()
        return [Event.of_entry(stored.entry) for stored in ledger.engine.entries(size - count, size)]


def _named(row: Result, name: str) -> Result:
    return msgspec.structs.replace(row, name=name)
