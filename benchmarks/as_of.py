"""One subject with 1,000 events: what was known of them as of any position, the median and the 99th percentile."""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from benchmarks.result import Result, measured
from benchmarks.store import ACTOR
from ledger import Ledger
from ledger.commands import CollectData, CorrectData, RegisterSubject
from ledger.vocabulary import Channel, LegalBasis, Purpose, SourceKind, SubjectId, Word, new_id
from projections import PROJECTIONS_FILE, open_projections

EVENTS: Final = 1_000
_FIELDS: Final = 10
# The mark of the issue: 50 ms at the 99th percentile.
_MARK_MS: Final = 50


def rows(ledger: Ledger, *, count: int) -> list[Result]:
    """Measure so many questions on an open ledger, after recording the subject's events in it."""
    subject_id, first = _recorded(ledger)
    chosen = random.Random(count)
    seconds: list[float] = []
    processor: list[float] = []
    with tempfile.TemporaryDirectory() as folder, open_projections(ledger, Path(folder, PROJECTIONS_FILE)) as asked:
        asked.catch_up()
        for _ in range(count):
            position = chosen.randrange(first, ledger.size())
            started, processor_started = perf_counter(), process_time()
            state = asked.state(subject_id, as_of=position)
            seconds.append(perf_counter() - started)
            processor.append(process_time() - processor_started)
            assert len(state.fields) == _FIELDS
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    return [
        measured("as-of-state-p50", percentiles[49] * 1_000, unit="ms", note=f"a subject with {EVENTS:,} events"),
        measured("as-of-state-p99", percentiles[98] * 1_000, unit="ms", at_most=_MARK_MS),
        measured("as-of-state-processor", statistics.median(processor) * 1_000, unit="ms", note="without neighbours"),
    ]


def _recorded(ledger: Ledger) -> tuple[SubjectId, int]:
    """Record a subject with so many events; return it and the position from which all its fields are known."""
    subject_id = SubjectId(new_id())
    ledger.record(RegisterSubject(subject_id=subject_id), ACTOR)
    names = [Word(f"field-{number}") for number in range(_FIELDS)]
    collected = CollectData(
        subject_id=subject_id,
        purpose=Purpose.CONTRACT,
        basis=LegalBasis.CONTRACT,
        source=SourceKind.SUBJECT,
        values=dict.fromkeys(names, "first"),
    )
    first = ledger.record(collected, ACTOR).index
    versions = dict.fromkeys(names, first)
    for number in range(EVENTS - 2):
        name = names[number % _FIELDS]
        correction = CorrectData(
            subject_id=subject_id,
            field=name,
            value=f"value {number}",
            expected_version=versions[name],
            channel=Channel.SOFTWARE,
        )
        versions[name] = ledger.record(correction, ACTOR).index
    return subject_id, first + 1
