"""Metrics for Prometheus, in a registry of their own. Every label is from a closed vocabulary; none is about a person.

    metrics = Metrics(operations=OPERATIONS, problems=CODES)
    metrics.watch("records", ledger)
    Exchanges(app, [metrics.request])
    media_type, body = metrics.render()

Several workers count in files of a directory that WORKERS_DIRECTORY names in their environment before they start: any
of them then answers for all. What is read at a scrape (queue, entries, lags) is of the one that answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import nan
from typing import Final, Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client import generate_latest as render_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.http.exchange import Exchange
from ledger import Ledger
from ledger.errors import LedgerError
from ledger.observer import Observer, Step

LedgerName = Literal["records", "access"]
Steps = Callable[[str], AbstractContextManager[object]]

# As prometheus_client has it, which looks when it is imported.
WORKERS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"

# Whatever is in no vocabulary, so that no label can be made up from outside.
OTHER: Final = "other"

# From a commit on a fast disk to a deadline.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_APPENDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def _unwatched(name: str) -> AbstractContextManager[object]:
    return nullcontext()


class Metrics:
    """What is counted in this process. `operations` and `problems` are all ids and codes that there are."""

    def __init__(self, *, operations: Collection[str], problems: Collection[str]) -> None:
        self.registry = CollectorRegistry()
        self._operations = frozenset(operations)
        self._problems = frozenset(problems)
        self._requests = Counter(
            "prooftrail_requests", "Requests by operation and status.", ("operation", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "prooftrail_request_seconds",
            "From the head of a request to the end of its answer.",
            ("operation",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._answered = Counter("prooftrail_problems", "Problems by type.", ("type",), registry=self.registry)
        self._refusals = Counter(
            "prooftrail_refusals", "Commands that a rule refused, by code.", ("ledger", "code"), registry=self.registry
        )
        self._waited = Histogram(
            "prooftrail_append_seconds",
            "From being queued to being durable; its count of `access` is that of access writes.",
            ("ledger",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "prooftrail_batch_appends",
            "Appends that shared a transaction.",
            ("ledger",),
            buckets=_APPENDS,
            registry=self.registry,
        )
        self._cut = Counter(
            "prooftrail_connections_cut",
            "Connections that were cut off, by reason.",
            ("reason",),
            registry=self.registry,
        )
        # To find a label again costs more than to count.
        self._found: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._now = _Now()
        self.registry.register(self._now)
        ProcessCollector(registry=self.registry)

    def request(self, exchange: Exchange) -> None:
        """Count a request: an observer of Exchanges."""
        operation = exchange.operation if exchange.operation in self._operations else OTHER
        # 499 as elsewhere: the caller had gone.
        key = operation, exchange.status or 499
        found = self._found.get(key)
        if found is None:
            found = self._requests.labels(operation, str(key[1])), self._seconds.labels(operation)
            self._found[key] = found
        found[0].inc()
        found[1].observe(exchange.seconds)
        if exchange.problem is not None:
            self._answered.labels(self.code(exchange.problem)).inc()

    def watch(self, name: LedgerName, ledger: Ledger, steps: Steps = _unwatched) -> None:
        """Count what this ledger does from now on, and put `steps` around what it does (Traces.step)."""
        ledger.observe(_LedgerObserver(self, name, steps))
        self._now.ledgers[name] = ledger

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Read a number at each scrape, under a name of ours. What raises a LedgerError then is NaN."""
        self._now.gauges[f"prooftrail_{name}"] = help, read

    def code(self, code: str) -> str:
        """Return the label of a problem or refusal."""
        return code if code in self._problems else OTHER

    def settled(self, name: LedgerName, waited_s: Sequence[float]) -> None:
        """Count one transaction."""
        observe = self._waited.labels(name).observe
        for seconds in waited_s:
            observe(seconds)
        self._batches.labels(name).observe(len(waited_s))

    def refused(self, name: LedgerName, code: str) -> None:
        """Count one refusal."""
        self._refusals.labels(name, self.code(code)).inc()

    def connection_cut(self, reason: str) -> None:
        """Count a connection that was cut off: an observer of DeadlineProtocol."""
        self._cut.labels(reason).inc()

    def render(self) -> tuple[str, bytes]:
        """Return (media type, body) of a scrape. Reads the ledgers: not to be called in an event loop."""
        registry = self.registry
        if directory := os.environ.get(WORKERS_DIRECTORY):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
            registry.register(self._now)
        return CONTENT_TYPE_LATEST, render_latest(registry)


class _LedgerObserver(Observer):
    def __init__(self, metrics: Metrics, name: LedgerName, steps: Steps) -> None:
        self._metrics = metrics
        self._name: LedgerName = name
        self._steps = steps

    def settled(self, waited_s: Sequence[float]) -> None:
        self._metrics.settled(self._name, waited_s)

    def refused(self, code: str) -> None:
        self._metrics.refused(self._name, code)

    def step(self, name: Step) -> AbstractContextManager[object]:
        return self._steps(f"{self._name} {name}")


class _Now(Collector):
    """What is read at each scrape."""

    def __init__(self) -> None:
        self.ledgers: dict[LedgerName, Ledger] = {}
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def collect(self) -> Iterator[Metric]:
        of_ledgers: tuple[tuple[str, str, Callable[[Ledger], float]], ...] = (
            ("prooftrail_queue_appends", "Appends that wait for their transaction.", Ledger.waiting),
            ("prooftrail_entries", "Entries recorded.", Ledger.size),
            ("prooftrail_index_lag_entries", "Entries that no index commitment covers yet.", _index_lag),
        )
        for name, help, read in of_ledgers:
            family = GaugeMetricFamily(name, help, labels=("ledger",))
            for ledger_name, ledger in self.ledgers.items():
                family.add_metric((ledger_name,), _number(lambda ledger=ledger, read=read: read(ledger)))  # type: ignore[misc]
            yield family
        for name, (help, now) in self.gauges.items():
            yield GaugeMetricFamily(name, help, value=_number(now))


def _index_lag(ledger: Ledger) -> float:
    size = ledger.size()
    last = ledger.index.last(size)
    # The entry of a commitment is covered by none, and is not late.
    return size if last is None else max(0, size - last.size - 1)


def _number(read: Callable[[], float]) -> float:
    try:
        return float(read())
    except LedgerError:
        return nan
