"""The history of a person, as they may see it: complete, in pages, and without a sign of what is secret still."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ledger.commands import GiveConsent, MergeSubjects, NotifyRecipient, RegisterSubject, UnmergeSubjects
from ledger.errors import Invalid
from ledger.vocabulary import Channel, NoticeCause, Role
from projections.subject_history import HistoryPage, subject_history
from tests.bench import START, Bench, an_id
from tests.rules import test_disclosure as disclosures

MARI, JAAN = an_id("mari"), an_id("jaan")
LATER = START + timedelta(days=90)


def topics(page: HistoryPage) -> list[str]:
    return [one.event.TOPIC for one in page.events]


def before_and_after(bench: Bench, **asked: Any) -> tuple[HistoryPage, HistoryPage]:
    """Return a person's history before and after a disclosure that is secret, with a notice to its recipient."""
    bench.given(disclosures.POLICY, RegisterSubject(subject_id=MARI), disclosures.collect(), disclosures.partner())
    before = subject_history(bench.ledger, MARI, **asked)
    bench.given(disclosures.by_law(secret_until=LATER), disclosures.authorize(), disclosures.transmit())
    bench.given(
        NotifyRecipient(
            subject_id=MARI,
            recipient_id=disclosures.PARTNER,
            cause=NoticeCause.CORRECTION,
            fields=("email",),  # type: ignore[arg-type]
            channel=Channel.EMAIL,
        )
    )
    return before, subject_history(bench.ledger, MARI, **asked)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_what_is_secret_is_absent_from_events_counts_and_pages_alike(bench: Bench, limit: int) -> None:
    before, after = before_and_after(bench, limit=limit)
    assert after == before, "nothing gives it away"
    officers = subject_history(bench.ledger, MARI, viewer=Role.OFFICER)
    assert topics(officers)[-4:] == [
        "disclosure-requested", "disclosure-authorized", "disclosure-transmitted", "recipient-notified",
    ]  # fmt: skip
    bench.clock.now = LATER
    assert subject_history(bench.ledger, MARI) == officers, "the day has come"
    assert subject_history(bench.ledger, MARI, as_of=START).total == officers.total, "told now, of what was then"


def test_pages_follow_each_other_and_leave_nothing_out(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=MARI), RegisterSubject(subject_id=JAAN))
    for name in range(5):
        bench.given(disclosures.consent(consent_id=an_id(f"{name}"), recipient_id=None))
    found, after = [], 0
    while True:
        page = subject_history(bench.ledger, MARI, after=after, limit=4)
        found += [one.index for one in page.events]
        assert page.total == 6
        if page.after is None:
            break
        after = page.after
    assert found == [0, 2, 3, 4, 5, 6]
    assert subject_history(bench.ledger, an_id("nobody")) == HistoryPage(events=(), total=0, after=None)
    for limit in (0, 1_001):
        with pytest.raises(Invalid):
            subject_history(bench.ledger, MARI, limit=limit)


def test_what_a_record_said_that_was_merged_by_mistake_is_not_shown(bench: Bench) -> None:
    bench.given(RegisterSubject(subject_id=MARI), RegisterSubject(subject_id=JAAN))
    bench.given(MergeSubjects(subject_id=MARI, merged_id=JAAN, ground="same-name"))  # type: ignore[arg-type]
    theirs: GiveConsent = disclosures.consent(subject_id=JAAN, recipient_id=None)
    bench.given(theirs, UnmergeSubjects(subject_id=MARI, merged_id=JAAN, ground="namesake"))  # type: ignore[arg-type]
    assert topics(subject_history(bench.ledger, MARI)) == ["subject-registered", "subjects-merged", "subjects-unmerged"]
    assert "consent-given" in topics(subject_history(bench.ledger, JAAN))
