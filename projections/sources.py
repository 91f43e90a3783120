"""Other sources: what is quarantined or suspended, which guarantees run out, and who is to be told. Clause 10."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from ledger import Ledger
from ledger.command import Command
from ledger.commands import VoidDisclosure
from ledger.entry import parse_moment
from ledger.events import (
    BatchImported,
    BatchQuarantined,
    Event,
    GuaranteeRevoked,
    LawfulnessGuaranteed,
    PersonalDataCollected,
    RecordSuppressed,
    SourceRegistered,
    SubjectInformed,
)
from ledger.vocabulary import BatchId, GuaranteeId, Reference, SourceId, SourceKind, SubjectId, Word
from projections.duties import Owed, debt, duty
from projections.policies import policy_now
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Store, Writer

if TYPE_CHECKING:
    from projections import Projections

# So long before a guarantee runs out somebody is reminded of it.
NOTICE: Final = timedelta(days=30)


class QuarantinedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that is not usable: `reason` is what its guarantee lacked, or guarantee-revoked; how many records."""

    batch_id: BatchId
    source_id: SourceId
    guarantee_id: GuaranteeId | None
    reason: Word
    since: datetime
    records: int
    suppressed: int


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The registered source that an entry's fields came from: `index` is the entry. GDPR Art. 14(2)(f), 15(1)(g)."""

    index: int
    source_id: SourceId
    kind: SourceKind
    name: str
    locator: Reference | None


class Guarantee(msgspec.Struct, frozen=True, kw_only=True):
    """A guarantee that was not revoked, and until when it holds."""

    guarantee_id: GuaranteeId
    source_id: SourceId
    valid_to: datetime


class NoticeOwed(msgspec.Struct, frozen=True):
    """Somebody who was not told yet that their data came from elsewhere, and since when it is here."""

    subject_id: SubjectId
    since: datetime


_QUARANTINE: Final = """
SELECT b.batch, b.source, b.guarantee, b.reason, b.recorded_at, r.reason, r.recorded_at,
  (SELECT count(*) FROM batch_records c WHERE c.batch = b.batch AND c.reason IS NULL AND c.idx < ?
     AND c.recorded_at <= ?),
  (SELECT count(*) FROM batch_records c WHERE c.batch = b.batch AND c.reason IS NOT NULL AND c.idx < ?
     AND c.recorded_at <= ?)
FROM batches b
LEFT JOIN guarantee_revocations r ON r.guarantee = b.guarantee AND r.idx < ? AND r.recorded_at <= ?
WHERE b.idx < ? AND b.recorded_at <= ? AND (b.reason IS NOT NULL OR r.idx IS NOT NULL) ORDER BY b.idx
"""
_ORIGINS: Final = """
SELECT r.idx, s.source, s.kind, s.name, s.locator FROM batch_records r
JOIN batches b ON b.batch = r.batch JOIN sources s ON s.source = b.source
WHERE r.subject = ? AND r.reason IS NULL AND r.idx < ? AND r.recorded_at <= ? ORDER BY r.idx
"""
_GUARANTEES: Final = """
SELECT g.guarantee, g.source, g.valid_to FROM guarantees g
LEFT JOIN guarantee_revocations r ON r.guarantee = g.guarantee AND r.idx < ? AND r.recorded_at <= ?
WHERE g.idx < ? AND g.recorded_at <= ? AND r.idx IS NULL ORDER BY g.idx
"""
_NOTICES: Final = """
SELECT s.subject, min(s.recorded_at) FROM source_notices s
WHERE s.informed = 0 AND s.idx < ? AND s.recorded_at <= ? AND s.idx > COALESCE((
    SELECT max(t.idx) FROM source_notices t
    WHERE t.subject = s.subject AND t.informed = 1 AND t.idx < ? AND t.recorded_at <= ?
), -1) GROUP BY s.subject ORDER BY min(s.idx)
"""
_RUN_OUT: Final = """
SELECT a.disclosure, a.subject, a.expires_at FROM disclosure_steps a
WHERE a.stage = 'authorized' AND NOT EXISTS (
    SELECT 1 FROM disclosure_steps l WHERE l.subject = a.subject AND l.disclosure = a.disclosure AND l.idx > a.idx
) ORDER BY a.idx
"""


class Sources(Projection):
    """Sources, guarantees, batches and their records, and the notices of GDPR Art. 14."""

    NAME: ClassVar[str] = "sources"
    VERSION: ClassVar[int] = 2
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys(
        (
            SourceRegistered,
            LawfulnessGuaranteed,
            GuaranteeRevoked,
            BatchImported,
            BatchQuarantined,
            PersonalDataCollected,
            RecordSuppressed,
            SubjectInformed,
        )
    )

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        sources: list[Row] = []
        guarantees: list[Row] = []
        revocations: list[Row] = []
        batches: list[Row] = []
        records: list[Row] = []
        notices: list[Row] = []
        for item in batch:
            index, at, event = item.index, item.recorded_at, item.event
            match event:
                case SourceRegistered():
                    sources.append((index, event.source_id, at, event.kind, event.name, event.locator))
                case LawfulnessGuaranteed():
                    guarantees.append((index, event.guarantee_id, event.source_id, at, event.valid_to.isoformat()))
                case GuaranteeRevoked():
                    revocations.append((index, event.guarantee_id, at, event.reason))
                case BatchImported():
                    batches.append((index, event.batch_id, event.source_id, at, event.guarantee_id, None))
                case BatchQuarantined():
                    batches.append((index, event.batch_id, event.source_id, at, event.guarantee_id, event.reason))
                case RecordSuppressed():
                    records.append((index, event.batch_id, event.subject_id, at, event.reason))
                case SubjectInformed():
                    notices.append((index, event.subject_id, at, 1))
                case PersonalDataCollected():
                    if event.batch_id is not None:
                        records.append((index, event.batch_id, event.subject_id, at, None))
                    if event.source is not SourceKind.SUBJECT:
                        notices.append((index, event.subject_id, at, 0))
        writer.insert("sources", sources)
        writer.insert("guarantees", guarantees)
        writer.insert("guarantee_revocations", revocations)
        writer.insert("batches", batches)
        writer.insert("batch_records", records)
        writer.insert("source_notices", notices)

    # --- questions -------------------------------------------------------------------------------------------

    def quarantine(self, *, as_of: AsOf = None) -> tuple[QuarantinedBatch, ...]:
        """Return the batches that were not usable as of then, the first one first."""
        known = bound(as_of)
        with self._store.read() as rows:
            found = rows(_QUARANTINE, *known, *known, *known, *known)
        return tuple(
            QuarantinedBatch(
                batch_id=batch_id,
                source_id=source_id,
                guarantee_id=guarantee_id,
                reason=Word(reason or "guarantee-revoked"),
                since=parse_moment(at if reason is not None else revoked_at),
                records=records,
                suppressed=suppressed,
            )
            for batch_id, source_id, guarantee_id, reason, at, _, revoked_at, records, suppressed in found
        )

    def origins(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Origin, ...]:
        """Return where the imported fields of a person came from as of then, entry by entry."""
        with self._store.read() as rows:
            found = rows(_ORIGINS, subject_id, *bound(as_of))
        return tuple(
            Origin(index=index, source_id=source_id, kind=SourceKind(kind), name=name, locator=locator)
            for index, source_id, kind, name, locator in found
        )

    def guarantees(self, *, as_of: AsOf = None) -> tuple[Guarantee, ...]:
        """Return the guarantees that were given and not revoked as of then, run out or not."""
        known = bound(as_of)
        with self._store.read() as rows:
            found = rows(_GUARANTEES, *known, *known)
        return tuple(
            Guarantee(guarantee_id=guarantee_id, source_id=source_id, valid_to=datetime.fromisoformat(valid_to))
            for guarantee_id, source_id, valid_to in found
        )

    def notices_owed(self, *, as_of: AsOf = None) -> tuple[NoticeOwed, ...]:
        """Return who was not told as of then where their data came from (GDPR Art. 14), the first one first."""
        known = bound(as_of)
        with self._store.read() as rows:
            return tuple(NoticeOwed(who, parse_moment(at)) for who, at in rows(_NOTICES, *known, *known))

    def run_out(self, now: datetime) -> Iterator[VoidDisclosure]:
        """Yield what voids each authorization that nobody used in time."""
        with self._store.read() as rows:
            found = rows(_RUN_OUT)
        for disclosure_id, subject_id, expires_at in found:
            if datetime.fromisoformat(expires_at) <= now:
                yield VoidDisclosure(disclosure_id=disclosure_id, subject_id=subject_id, reason=Word("token-expired"))


@duty("authorization-expiry")
def _authorizations(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    for command in projections.run_out_authorizations(now):
        yield command, command.disclosure_id


@debt("guarantee-expiry")
def _guarantees(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    for one in projections.guarantees():
        if one.valid_to - NOTICE <= now:
            yield Owed(
                what=Word("guarantee-expiry"), id=one.guarantee_id, due_at=one.valid_to, overdue=one.valid_to <= now
            )


@debt("art-14-notice")
def _notices(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    policy = policy_now(ledger)
    if policy is None:
        return
    for owed in projections.notices_owed():
        due = owed.since + timedelta(days=policy.deadlines.collection_notice_days)
        yield Owed(what=Word("art-14-notice"), id=owed.subject_id, due_at=due, overdue=due <= now)


@debt("recipient-notice")
def _recipients(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    # GDPR Art. 19 names no day: what is owed is owed at once, so it stands as overdue from the next day on.
    for owed in projections.everybodys_obligations():
        due = owed.since + timedelta(days=1)
        yield Owed(what=Word(f"recipient-{owed.cause}-notice"), id=owed.recipient_id, due_at=due, overdue=due <= now)
