"""Who looked at what of whom, in the `access` ledger. Clause 4; GDPR Art. 5(2), 24, 32(1)(d).

Ids, words and counts only: what was shown is not here, a keyed digest of its bytes is. Nothing is sealed, so nothing
expires: once a person is erased from the records, their id here leads to nobody.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from ledger.events.event import Count, Event, event
from ledger.vocabulary import (
    ActorId,
    FlagId,
    FlagOutcome,
    Purpose,
    ReadingFlag,
    Reference,
    RevealGround,
    Sha256Hex,
    SubjectId,
    Word,
)


@event
class PersonalDataRead(Event, frozen=True):
    """`by` was about to be shown this: recorded before a byte of it is served. One read of many people is several
    events, `part` of `parts` (from 0), each tagged with its own `subjects`; `items` and `digest` are of the whole.
    """

    TOPIC: ClassVar[str] = "personal-data-read"
    operation: Word  # the operation of the door, by its permanent id
    door: Word
    subjects: tuple[SubjectId, ...]
    records: Count  # how many entries of the records ledger the answer rests on
    items: Count
    fields: tuple[Word, ...] = ()
    purpose: Purpose | None = None
    case_reference: Reference | None = None
    digest: Sha256Hex | None = None  # HMAC-SHA-256 of the answer's bytes; None for a stream that was not known whole
    employee_id: ActorId | None = None  # whose own reading was shown, where the access log was what was read
    hidden_until: datetime | None = None  # until then the subjects do not learn of this read
    part: Count = 0
    parts: Count = 1


@event
class AccessRefused(Event, frozen=True):
    """`by` asked for this and was shown nothing. `subjects` are those they named, known here or not."""

    TOPIC: ClassVar[str] = "access-refused"
    operation: Word
    door: Word
    subjects: tuple[SubjectId, ...]
    reason: Word
    part: Count = 0
    parts: Count = 1


@event
class UnusualReading(Event, frozen=True):
    """Reading beyond what is usual, once for a reader, a kind and a window; `read` is the entry that went beyond.

    `count` is what was counted in the window by then: reads for the rate, different people for breadth, else 1.
    """

    TOPIC: ClassVar[str] = "unusual-reading"
    flag_id: FlagId
    reader_id: ActorId
    kind: ReadingFlag
    window_start: datetime
    read: Count
    count: Count


@event
class FlagReviewed(Event, frozen=True):
    TOPIC: ClassVar[str] = "flag-reviewed"
    flag_id: FlagId
    reader_id: ActorId
    outcome: FlagOutcome
    case_reference: Reference | None = None


@event
class ActorRevealed(Event, frozen=True):
    """From here on the officer, and with `to_subject` the person too, see which actor it was that read this person."""

    TOPIC: ClassVar[str] = "actor-revealed"
    subject_id: SubjectId
    reader_id: ActorId
    ground: RevealGround
    case_reference: Reference
    to_subject: bool = False
