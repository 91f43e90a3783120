"""Offers to many people: `may_send` for 10,000 in one call, and the memory and rate of a campaign's reservations.

The people are those of a history; each of them agreed to offers, some got some, one in fifty objected. A reservation
runs in a process of its own (`python -m benchmarks.marketing DATA EVENTS PEOPLE`), through the command line's own code:
its peak memory for ten times the people must be about the same.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter, thread_time
from typing import Final

from api.cli.marketing import reservations
from benchmarks import store
from benchmarks.history import People
from benchmarks.result import Result, measured
from ledger import Ledger
from ledger.command import Fact
from ledger.commands import AdoptPolicy, ClassifyContact, PlanCampaign
from ledger.events import MarketingConsentGiven, MarketingObjected, OfferReserved, OfferSent
from ledger.keys import KeyScope
from ledger.policy import default_policy_text
from ledger.vocabulary import (
    SUPPRESSION_TAG,
    CampaignId,
    Channel,
    ConsentId,
    Language,
    OfferBasis,
    OfferKind,
    PersonType,
    RetentionClass,
    Sha256Hex,
    SubjectId,
    SubjectRole,
    campaign_tag,
    consent_tag,
    new_id,
    subject_tag,
)
from projections import PROJECTIONS_FILE, open_projections

LIMIT_S: Final = 0.5
ASKED: Final = 10_000
_TEXT: Final = Sha256Hex("5f" * 32)
_BATCH: Final = 1_000
_CAMPAIGN: Final = CampaignId("00000000-0000-4000-8000-00000000c001")
_EARLIER: Final = CampaignId("00000000-0000-4000-8000-00000000c002")


def prepare(ledger: Ledger, subjects: list[SubjectId]) -> None:
    """Adopt a policy, plan a campaign, and let these people have agreed to it."""
    ledger.record(AdoptPolicy(text=default_policy_text()), store.ACTOR)
    for campaign in (_CAMPAIGN, _EARLIER):
        plan = PlanCampaign(
            campaign_id=campaign, kind=OfferKind.OWN, channel=Channel.EMAIL, opt_out=Channel.LINK, similar=True
        )
        ledger.record(plan, store.ACTOR)
    ledger.record(ClassifyContact(subject_id=subjects[0], person_type=PersonType.LEGAL), store.ACTOR)
    facts: list[Fact] = []
    for number, subject_id in enumerate(subjects):
        facts += _life(number, subject_id)
        if len(facts) >= _BATCH or number == len(subjects) - 1:
            ledger.append(ledger.seal(facts, (), ledger.size()))
            facts = []


def rows(ledger: Ledger, data: Path, *, events: int, rounds: int) -> list[Result]:
    """Measure on a fresh ledger of so many events."""
    subjects = People(events).subjects
    asked = subjects[:ASKED]
    prepare(ledger, subjects)
    with tempfile.TemporaryDirectory() as folder, open_projections(ledger, Path(folder, PROJECTIONS_FILE)) as built:
        built.rebuild()
        seconds: list[float] = []
        of_processor: list[float] = []
        for _ in range(rounds):
            started, before = perf_counter(), thread_time()
            answers = built.may_send(_CAMPAIGN, asked)
            seconds.append(perf_counter() - started)
            of_processor.append(thread_time() - before)
        reasons = Counter(answer.basis or answer.reason for answer in answers)
    note = f"{len(asked):,} people, {ledger.size():,} events: " + ", ".join(f"{k} {n:,}" for k, n in reasons.items())
    found = [measured("may-send", statistics.median(seconds), unit="s", at_most=LIMIT_S, note=note)]
    found.append(measured("may-send-processor", statistics.median(of_processor), unit="s"))
    few, many = max(1, len(subjects) // 10), len(subjects)
    for count in (few, many):
        megabytes, rate = _child(data, events, count)
        found.append(measured(f"reserve-{count}-memory", megabytes, unit="MB", note="peak RSS of a process"))
        found.append(measured(f"reserve-{count}", rate, unit="people/s"))
    return found


def _life(number: int, subject_id: SubjectId) -> Iterator[Fact]:
    consent_id = ConsentId(new_id())
    consent = MarketingConsentGiven(
        consent_id=consent_id,
        subject_id=subject_id,
        kind=OfferKind.OWN,
        channels=(Channel.EMAIL,),
        text_sha256=_TEXT,
        language=Language("et"),
        channel=Channel.SOFTWARE,
    )
    yield Fact(consent, [subject_tag(subject_id), consent_tag(consent_id)])
    tags = [subject_tag(subject_id), campaign_tag(_EARLIER)]
    if not number % 3:
        what = {"campaign_id": _EARLIER, "subject_id": subject_id, "kind": OfferKind.OWN, "channel": Channel.EMAIL}
        yield Fact(OfferReserved(**what, basis=OfferBasis.CONSENT), tags)  # type: ignore[arg-type]
        yield Fact(OfferSent(**what), tags)  # type: ignore[arg-type]
    if not number % 50:
        objected = MarketingObjected(
            subject_id=subject_id,
            channel=Channel.LINK,
            received_at=store.LONG_AGO,
            digests=[sha256(subject_id.encode()).hexdigest()],
        )
        scope = KeyScope(subject_id, SubjectRole.CONTROLLER, RetentionClass.SUPPRESSION)
        yield Fact(objected, [subject_tag(subject_id), SUPPRESSION_TAG], scope)


def _child(data: Path, events: int, people: int) -> tuple[float, float]:
    child = [sys.executable, "-m", "benchmarks.marketing", str(data), str(events), str(people)]
    found = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(found[0]), float(found[1])


def _main(data: str, events: str, people: str) -> None:
    count = int(people)
    campaign = CampaignId(new_id())
    with store.reopen(Path(data)) as ledger:
        plan = PlanCampaign(campaign_id=campaign, kind=OfferKind.OWN, channel=Channel.EMAIL, opt_out=Channel.LINK)
        ledger.record(plan, store.ACTOR)
        asked = ((number, subject_id) for number, subject_id in enumerate(People(int(events)).subjects[:count]))
        started = perf_counter()
        done = sum(1 for _ in reservations(ledger, campaign, asked, store.ACTOR))
        rate = done / (perf_counter() - started)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    assert done == count
    print(int(found.group(1)) / 1_024, rate)


if __name__ == "__main__":
    _main(*sys.argv[1:])
