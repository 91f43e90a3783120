"""Restrictions of processing, contested accuracy, statements, and notices of changed addresses. GDPR Art. 16, 18."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from ledger import Ledger
from ledger.entry import parse_moment
from ledger.events import (
    AddressNotified,
    CorrectionProposed,
    CorrectionRejected,
    DataCorrected,
    Event,
    ProcessingRestricted,
    RestrictionLifted,
    StatementAttached,
)
from ledger.vocabulary import Address, Channel, RestrictionGround, RestrictionId, SubjectId, Word
from projections.duties import Owed, debt
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Store, Writer

if TYPE_CHECKING:
    from projections import Projections

# GDPR Art. 19: without undue delay; a day is none.
_NOTICE: Final = timedelta(days=1)


class Restriction(msgspec.Struct, frozen=True, kw_only=True):
    """A restriction as it was known. `restricted` is an index; `fields` empty means everything."""

    restriction_id: RestrictionId
    subject_id: SubjectId
    ground: RestrictionGround
    channel: Channel
    fields: tuple[Word, ...]
    restricted: int
    restricted_at: datetime
    lifted_at: datetime | None


_OF_SUBJECT: Final = """
SELECT * FROM restriction_steps WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_NOTICES: Final = """
SELECT c.idx, c.recorded_at, n.ground FROM restriction_steps c
LEFT JOIN restriction_steps n ON n.topic = 'address-notified' AND n.subject = c.subject AND n.entry = c.idx
WHERE c.topic = 'data-corrected' ORDER BY c.idx
"""


class Restrictions(Projection):
    """Every step of accuracy and restriction, by subject."""

    NAME: ClassVar[str] = "restrictions"
    VERSION: ClassVar[int] = 1
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys(
        (
            ProcessingRestricted, RestrictionLifted, CorrectionProposed, CorrectionRejected, StatementAttached,
            AddressNotified, DataCorrected,
        )
    )  # fmt: skip

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        steps: list[Row] = []
        for item in batch:
            event: Any = item.event
            if isinstance(event, DataCorrected) and not event.notify_addresses:
                continue
            named = getattr(event, "fields", None)
            fields = (event.field,) if named is None and hasattr(event, "field") else named
            steps.append(
                (
                    item.index, event.subject_id, item.recorded_at, event.TOPIC,
                    getattr(event, "restriction_id", None) or getattr(event, "proposal_id", None),
                    getattr(event, "ground", None) or getattr(event, "address", None), event.channel,
                    None if fields is None else msgspec.json.encode(fields).decode(),
                    getattr(event, "correction", None),
                )
            )  # fmt: skip
        writer.insert("restriction_steps", steps)

    def restrictions(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Restriction, ...]:
        """Return every restriction of a subject's data, lifted or not, in the order they started."""
        with self._store.read() as rows:
            steps = rows(_OF_SUBJECT, subject_id, *bound(as_of))
        lifted = {row[4]: row[2] for row in steps if row[3] == RestrictionLifted.TOPIC}
        return tuple(
            Restriction(
                restriction_id=restriction_id,
                subject_id=subject_id,
                ground=RestrictionGround(ground),
                channel=Channel(channel),
                fields=msgspec.json.decode(fields, type=tuple[Word, ...]),
                restricted=index,
                restricted_at=parse_moment(recorded_at),
                lifted_at=parse_moment(lifted[restriction_id]) if restriction_id in lifted else None,
            )
            for index, _, recorded_at, topic, restriction_id, ground, channel, fields, _ in steps
            if topic == ProcessingRestricted.TOPIC
        )

    def statements(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[int, ...]:
        """Return the entries of the statements that a subject attached, in order."""
        with self._store.read() as rows:
            steps = rows(_OF_SUBJECT, subject_id, *bound(as_of))
        return tuple(row[0] for row in steps if row[3] == StatementAttached.TOPIC)

    def owed_notices(self) -> Iterator[tuple[int, datetime, Address]]:
        """Yield the address notices that are owed: of which correction, recorded when, to which address."""
        with self._store.read() as rows:
            found = rows(_NOTICES)
        told: dict[int, set[str | None]] = {}
        recorded: dict[int, str] = {}
        for index, recorded_at, address in found:
            recorded[index] = recorded_at
            told.setdefault(index, set()).add(address)
        for index, known in told.items():
            for address in Address:
                if address not in known:
                    yield index, parse_moment(recorded[index]), address


@debt("notify-address")
def notices(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    """The old and the new contact address are told of a correction."""
    for index, recorded_at, address in projections.owed_address_notices():
        due_at = recorded_at + _NOTICE
        yield Owed(what=Word("notify-address"), id=f"{index}:{address}", due_at=due_at, overdue=now > due_at)
