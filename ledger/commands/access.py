"""The access log: reads and refused attempts, unusual reading, and what the officer does about it. Clause 4.

These are commands of the `access` ledger. A read is recorded by the door that is about to answer it, and rests on
nothing recorded before: there is no rule by which somebody who was let in was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Final, TypeVar

import msgspec

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.errors import FlagExists, FlagState, FlagUnknown, OwnAccess, ReadUnknown, RoleMissing
from ledger.events import (
    SYSTEM,
    AccessRefused,
    ActorRevealed,
    FlagReviewed,
    PersonalDataRead,
    UnusualReading,
)
from ledger.rule import rule
from ledger.vocabulary import (
    ActorId,
    FlagId,
    FlagOutcome,
    Purpose,
    ReadingFlag,
    Reference,
    RevealGround,
    Role,
    Sha256Hex,
    SubjectId,
    Tag,
    Word,
    employee_tag,
    flag_tag,
    reader_tag,
    subject_tag,
)

# Who watches over reading: the officer, and over a lone officer somebody from outside.
REVIEWERS: Final = frozenset({Role.OFFICER, Role.AUDITOR})

# How many people one event names: twice their ids, once in the data and once as tags, fit into an entry.
MOST_SUBJECTS: Final = 400

READ_IS_RECORDED = rule(
    "read-is-recorded-first",
    clause="4",
    promise="Who looks at what of whom is durable before the data is served, or nothing is served; attempts too",
    source="GDPR Art. 5(2), 24, 32(1)(d)",
    refusals=(OwnAccess,),
)
UNUSUAL_ONCE = rule(
    "unusual-reading-is-flagged-once",
    clause="4",
    promise="Unusual reading is flagged to the officer, once for a reader, a kind and a window",
    source="GDPR Art. 32(1)(d), 32(4)",
    refusals=(RoleMissing, FlagExists),
)
NOT_OWN_ACCESS = rule(
    "nobody-reviews-their-own-access",
    clause="4",
    promise="Flags are reviewed by the officer or an auditor, and never by the one they are about",
    source="GDPR Art. 38(6)",
    refusals=(RoleMissing, FlagUnknown, FlagState, OwnAccess),
)
REVEALED_ON_GROUND = rule(
    "actor-is-revealed-on-a-ground",
    clause="4",
    promise="Who the reader behind a pseudonym is shows only after the officer's recorded act, on a ground and a case",
    source="GDPR Art. 15(1), 15(4); CJEU C-579/21",
    refusals=(RoleMissing, ReadUnknown, OwnAccess),
)


@command
class RecordRead(Command, frozen=True):
    """Record what is about to be shown, and to whom. The doors do this, nobody asks for it."""

    NAME: ClassVar[str] = "record-read"
    RECORDS = (PersonalDataRead,)
    RULES = (READ_IS_RECORDED,)
    operation: Word
    door: Word
    subjects: tuple[SubjectId, ...]
    records: int
    items: int
    fields: tuple[Word, ...] = ()
    purpose: Purpose | None = None
    case_reference: Reference | None = None
    digest: Sha256Hex | None = None
    employee_id: ActorId | None = None
    hidden_until: datetime | None = None

    def boundary(self) -> Boundary:
        return ()

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if self.employee_id == context.actor.id:
            raise OwnAccess(actor=context.actor.id)
        about = [] if self.employee_id is None else [employee_tag(self.employee_id)]
        whole = PersonalDataRead(
            **{name: getattr(self, name) for name in self.__struct_fields__} | {"fields": tuple(sorted({*self.fields}))}
        )
        return _parts(whole, [reader_tag(context.actor.id), *about])


@command
class RecordRefusedAccess(Command, frozen=True):
    """Record that somebody asked for personal data and was refused. `reason` is the code they were answered."""

    NAME: ClassVar[str] = "record-refused-access"
    RECORDS = (AccessRefused,)
    RULES = (READ_IS_RECORDED,)
    operation: Word
    door: Word
    subjects: tuple[SubjectId, ...]
    reason: Word

    def boundary(self) -> Boundary:
        return ()

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        whole = AccessRefused(operation=self.operation, door=self.door, subjects=self.subjects, reason=self.reason)
        return _parts(whole, [reader_tag(context.actor.id)])


@command
class FlagReading(Command, frozen=True):
    """Flag unusual reading. The access log itself does this; `flag_id` stands for reader, kind and window."""

    NAME: ClassVar[str] = "flag-reading"
    RECORDS = (UnusualReading,)
    RULES = (UNUSUAL_ONCE,)
    flag_id: FlagId
    reader_id: ActorId
    kind: ReadingFlag
    window_start: datetime
    read: int
    count: int

    def boundary(self) -> Boundary:
        return _flag(self.flag_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor != SYSTEM:
            raise RoleMissing(needed="access log itself")
        if past.all:
            raise FlagExists(flag=self.flag_id)
        event = UnusualReading(**{name: getattr(self, name) for name in self.__struct_fields__})
        return [Fact(event, [flag_tag(self.flag_id), reader_tag(self.reader_id)])]


@command
class ReviewFlag(Command, frozen=True):
    """Say what unusual reading turned out to be. `case_reference` names where that was looked into."""

    NAME: ClassVar[str] = "review-flag"
    RECORDS = (FlagReviewed,)
    RULES = (NOT_OWN_ACCESS,)
    flag_id: FlagId
    outcome: FlagOutcome
    case_reference: Reference | None = None

    def boundary(self) -> Boundary:
        return _flag(self.flag_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        check_reviewer(context.actor.role)
        raised = past.last(UnusualReading)
        if raised is None:
            raise FlagUnknown(flag=self.flag_id)
        if raised.reader_id == context.actor.id:
            raise OwnAccess(actor=context.actor.id)
        if past.last(FlagReviewed) is not None:
            raise FlagState(flag=self.flag_id)
        event = FlagReviewed(
            flag_id=self.flag_id,
            reader_id=raised.reader_id,
            outcome=self.outcome,
            case_reference=self.case_reference,
        )
        return [Fact(event, [flag_tag(self.flag_id), reader_tag(raised.reader_id)])]


@command
class RevealActor(Command, frozen=True):
    """Reveal which actor read a person's data: to the officer, and with `to_subject` to the person too."""

    NAME: ClassVar[str] = "reveal-actor"
    RECORDS = (ActorRevealed,)
    RULES = (REVEALED_ON_GROUND,)
    subject_id: SubjectId
    reader_id: ActorId
    ground: RevealGround
    case_reference: Reference
    to_subject: bool = False

    def boundary(self) -> Boundary:
        return (selector(PersonalDataRead, tags=[subject_tag(self.subject_id), reader_tag(self.reader_id)]),)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.role is not Role.OFFICER:
            raise RoleMissing(needed="officer")
        if context.actor.id in (self.reader_id, self.subject_id):
            raise OwnAccess(actor=context.actor.id)
        if not past.all:
            raise ReadUnknown(subject=self.subject_id)
        event = ActorRevealed(**{name: getattr(self, name) for name in self.__struct_fields__})
        return [Fact(event, [subject_tag(self.subject_id), reader_tag(self.reader_id)])]


ACCESS_COMMANDS: Final = (RecordRead, RecordRefusedAccess, FlagReading, ReviewFlag, RevealActor)
"""The commands of the `access` ledger; all others are of `records`."""


def check_reviewer(role: Role) -> None:
    """Raise RoleMissing unless somebody in this role may watch over reading."""
    if role not in REVIEWERS:
        raise RoleMissing(needed="officer or auditor")


E = TypeVar("E", PersonalDataRead, AccessRefused)


def _parts(whole: E, tags: Iterable[Tag]) -> list[Fact]:
    """Return an event as the facts that together name all of its subjects, each of them once."""
    subjects = sorted({*whole.subjects})
    chunks = [tuple(subjects[first : first + MOST_SUBJECTS]) for first in range(0, len(subjects), MOST_SUBJECTS)]
    with_part: Callable[..., E] = msgspec.structs.replace
    facts: list[Fact] = []
    some: tuple[SubjectId, ...]
    for part, some in enumerate(chunks or [()]):
        event = with_part(whole, subjects=some, part=part, parts=len(chunks) or 1)
        facts.append(Fact(event, [*tags, *map(subject_tag, some)]))
    return facts


def _flag(flag_id: FlagId) -> Boundary:
    return (selector(UnusualReading, FlagReviewed, tags=[flag_tag(flag_id)]),)
