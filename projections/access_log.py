"""The access log: who looked at what of whom, recorded before it is served, and read by whoever may. Clause 4.

    position = await log.arecord(Read(…))       # durable; when this raises, nothing may be served
    log.who_looked(subject_id, viewer)          # the person's own question, and the officer's
    log.of_actor(actor_id, viewer)              # what somebody read, and what they were refused

It is a ledger of its own, of the same code as the records. What is asked of it is answered by its tags: there is
nothing to rebuild. Reading the access log is itself a read, which the door records like any other.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final

import msgspec

from ledger import Actor, Ledger
from ledger.append import Append, Committed, Outcome
from ledger.command import Command, Recorded
from ledger.commands import RecordRead, RecordRefusedAccess, RevealActor, ReviewFlag
from ledger.commands.access import MOST_SUBJECTS, check_reviewer
from ledger.errors import OwnAccess, ReadUnknown, RoleMissing
from ledger.events import AccessRefused, ActorRevealed, FlagReviewed, PersonalDataRead, UnusualReading
from ledger.storage.engine import QueryItem
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
    Word,
    flag_tag,
    reader_tag,
    subject_tag,
)
from projections.reading_watch import ReadingWatch
from projections.unusual_reading import Usual

MAX_PAGE: Final = 500
HTTP: Final = Word("http")
# A read of more people than these name takes several transactions: other readers need not wait for all of it.
_EVENTS_AT_ONCE: Final = 8
# Entries that one look backwards covers at first; four times as many each time it found too little.
_FIRST_LOOK: Final = 4_096
# 60 bits: two readers of one person never have the same one.
_PSEUDONYM_CHARACTERS: Final = 12


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be served: `subjects` are all people that the answer shows anything of, in any order.

    `records` is the size of the records ledger that the answer rests on, `items` how many things it shows, `digest`
    what `AccessLog.digest` says of exactly its bytes. `employee_id` is whose reading it shows, for reads of this log;
    `hidden_until` keeps it from the subjects where knowing of it would reveal a secret disclosure.
    """

    actor: Actor
    operation: Word
    subjects: tuple[SubjectId, ...]
    records: int
    items: int
    purpose: Purpose | None = None
    case_reference: Reference | None = None
    fields: tuple[Word, ...] = ()
    door: Word = HTTP
    digest: str | None = None
    employee_id: ActorId | None = None
    hidden_until: datetime | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One read of a person's data. `pseudonym` stands for the reader to this person alone; `own`: the viewer read it.

    `actor_id` is None until it is revealed, `case_reference` and `items` but to those who watch over reading.
    """

    position: int
    read_at: datetime
    role: Role
    pseudonym: str
    own: bool
    operation: Word
    door: Word
    purpose: Purpose | None
    fields: tuple[Word, ...]
    actor_id: ActorId | None = None
    case_reference: Reference | None = None
    items: int | None = None


class Looks(msgspec.Struct, frozen=True, kw_only=True):
    """A page, the newest first; `next` is the cursor of the page after it, None at the end."""

    looks: tuple[Look, ...]
    next: int | None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor read, or was refused: then `refused` is the code they were answered."""

    position: int
    at: datetime
    role: Role
    operation: Word
    door: Word
    subjects: tuple[SubjectId, ...]
    purpose: Purpose | None = None
    case_reference: Reference | None = None
    fields: tuple[Word, ...] = ()
    items: int = 0
    part: int = 0
    parts: int = 1
    refused: Word | None = None


class Accesses(msgspec.Struct, frozen=True, kw_only=True):
    """A page, the newest first; `next` is the cursor of the page after it, None at the end."""

    accesses: tuple[Access, ...]
    next: int | None


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """Unusual reading. `read` is the position of the read that went beyond; what a review says is None before it."""

    position: int
    flag_id: FlagId
    reader_id: ActorId
    kind: ReadingFlag
    window_start: datetime
    raised_at: datetime
    read: int
    count: int
    outcome: FlagOutcome | None = None
    reviewed_by: ActorId | None = None
    reviewed_at: datetime | None = None
    case_reference: Reference | None = None


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """A page, the newest first; `next` is the cursor of the page after it, None at the end."""

    flags: tuple[Flag, ...]
    next: int | None


class AccessLog:
    """The `access` ledger, open. Safe for many threads and event loops; several processes may open the same one."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        usual: Usual | None = None,
        employee_of: Callable[[SubjectId], ActorId | None] | None = None,
    ) -> None:
        self.ledger = ledger
        self.watch = ReadingWatch(ledger, usual or Usual(), employee_of or (lambda _: None))
        self._digests = ledger.keys.secret("access-digests")
        self._pseudonyms = ledger.keys.secret("access-pseudonyms")

    def close(self) -> None:
        """Stop watching, finish what was accepted, then close every file."""
        self.watch.stop()
        self.ledger.close()

    def __enter__(self) -> AccessLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- recording -------------------------------------------------------------------------------------------

    def digest(self, answer: bytes) -> Sha256Hex:
        """Return the digest of an answer's bytes, keyed: a plain one of personal data could be guessed."""
        return Sha256Hex(hmac.digest(self._digests, answer, hashlib.sha256).hex())

    async def arecord(self, read: Read) -> int:
        """Record a read; return its position once it is durable. Only then may a byte of the answer be served.

        Many at once share a transaction. Raises Invalid, naming the field, OwnAccess for somebody's own access log,
        Busy, Stopped, StorageError: then nothing may be served, as it may not be recorded.
        """
        return await self._arecord(_command(read), read.actor)

    async def arefused(
        self,
        actor: Actor,
        operation: Word,
        subjects: Sequence[SubjectId],
        reason: Word,
        *,
        door: Word = HTTP,
    ) -> int:
        """Record an attempt that was refused; the same as `arecord`. `reason` is the code that was answered."""
        return await self._arecord(_refusal(operation, subjects, reason, door), actor)

    def record(self, read: Read) -> int:
        """The same as `arecord` for a door without an event loop."""
        return self._record(_command(read), read.actor)

    def refused(
        self, actor: Actor, operation: Word, subjects: Sequence[SubjectId], reason: Word, *, door: Word = HTTP
    ) -> int:
        """The same as `arefused` for a door without an event loop."""
        return self._record(_refusal(operation, subjects, reason, door), actor)

    def _record(self, command: Command, actor: Actor) -> int:
        position = 0
        for append in self._prepared(command, actor):
            position = _position(self.ledger.append(append))
        return position

    async def _arecord(self, command: RecordRead | RecordRefusedAccess, actor: Actor) -> int:
        if len(command.subjects) > MOST_SUBJECTS:
            # Thousands of tags take a while to encode: not on the loop.
            appends = await asyncio.to_thread(self._prepared, command, actor)
        else:
            appends = self._prepared(command, actor)
        position = 0
        for append in appends:
            position = _position(await self.ledger.aappend(append))
        return position

    def _prepared(self, command: Command, actor: Actor) -> list[Append]:
        """Decide a command that rests on nothing: it reads no store, so the loop may do it, and never conflicts."""
        facts = self.ledger.decide(command, actor, fresh=False)[0].facts
        return [
            self.ledger.seal(facts[first : first + _EVENTS_AT_ONCE], (), 0)
            for first in range(0, len(facts), _EVENTS_AT_ONCE)
        ]

    # --- who looked ------------------------------------------------------------------------------------------

    def who_looked(self, subject_id: SubjectId, viewer: Actor, *, cursor: int | None = None, limit: int = 100) -> Looks:
        """Return who read a person's data, the newest first, at most `limit` (up to MAX_PAGE) before `cursor`.

        The person sees role and pseudonym of each reader, and nothing of a read that would reveal a secret disclosure,
        in no count and no cursor. The officer and an auditor see every read; who it was shows once it is revealed.
        Raises RoleMissing for anybody else, and OwnAccess for an officer's own data: that is for them to ask in person.
        """
        themselves = SubjectId(viewer.id) == subject_id
        person = themselves and viewer.role is Role.SUBJECT
        if not person:
            check_reviewer(viewer.role)
            if themselves:
                raise OwnAccess(actor=viewer.id)
        now = self.ledger.now()
        revealed = self._revealed(subject_id, to_subject=person)
        query = QueryItem((PersonalDataRead.TOPIC,), (subject_tag(subject_id),))
        looks: list[Look] = []
        for recorded in self._newest(query, cursor):
            event = recorded.event
            assert isinstance(event, PersonalDataRead)
            if person and event.hidden_until is not None and now < event.hidden_until:
                continue
            if len(looks) == min(limit, MAX_PAGE):
                return Looks(looks=tuple(looks), next=looks[-1].position)
            looks.append(self._look(subject_id, recorded, event, viewer, revealed, person=person))
        return Looks(looks=tuple(looks), next=None)

    def pseudonym(self, subject_id: SubjectId, actor_id: ActorId) -> str:
        """Return what an actor is called to one person: always the same, and to every other person another."""
        mac = hmac.digest(self._pseudonyms, f"{subject_id} {actor_id}".encode(), hashlib.sha256)
        return base64.b32encode(mac).decode()[:_PSEUDONYM_CHARACTERS].lower()

    def reveal(
        self,
        subject_id: SubjectId,
        pseudonym: str,
        ground: RevealGround,
        case_reference: Reference,
        officer: Actor,
        *,
        to_subject: bool = False,
    ) -> ActorId:
        """Record that it is revealed who is behind a pseudonym, and return who. Reads all reads of the person once.

        Raises RoleMissing, OwnAccess, ReadUnknown when nobody of that name read this person, Conflict, StorageError.
        """
        if officer.role is not Role.OFFICER:
            raise RoleMissing(needed="officer")
        query = (QueryItem((PersonalDataRead.TOPIC,), (subject_tag(subject_id),)),)
        readers = {recorded.event.by.id for recorded in self.ledger.read(query)}
        found = next((one for one in readers if self.pseudonym(subject_id, one) == pseudonym), None)
        if found is None:
            raise ReadUnknown(subject=subject_id)
        command = RevealActor(
            subject_id=subject_id,
            reader_id=found,
            ground=ground,
            case_reference=case_reference,
            to_subject=to_subject,
        )
        self.ledger.record(command, officer)
        return found

    def _look(
        self,
        subject_id: SubjectId,
        recorded: Recorded,
        event: PersonalDataRead,
        viewer: Actor,
        revealed: frozenset[ActorId],
        *,
        person: bool,
    ) -> Look:
        reader = event.by
        return Look(
            position=recorded.index + 1,
            read_at=recorded.recorded_at,
            role=reader.role,
            pseudonym=self.pseudonym(subject_id, reader.id),
            own=reader.id == viewer.id,
            operation=event.operation,
            door=event.door,
            purpose=event.purpose,
            fields=event.fields,
            actor_id=reader.id if reader.id in revealed else None,
            case_reference=None if person else event.case_reference,
            items=None if person else event.items,
        )

    def _revealed(self, subject_id: SubjectId, *, to_subject: bool) -> frozenset[ActorId]:
        query = (QueryItem((ActorRevealed.TOPIC,), (subject_tag(subject_id),)),)
        events = [recorded.event for recorded in self.ledger.read(query)]
        return frozenset(
            event.reader_id
            for event in events
            if isinstance(event, ActorRevealed) and (event.to_subject or not to_subject)
        )

    # --- who read --------------------------------------------------------------------------------------------

    def of_actor(self, actor_id: ActorId, viewer: Actor, *, cursor: int | None = None, limit: int = 100) -> Accesses:
        """Return what an actor read and was refused, the newest first, at most `limit` (MAX_PAGE) before `cursor`.

        Raises RoleMissing for all but the officer and an auditor, OwnAccess: nobody reviews their own access.
        """
        check_reviewer(viewer.role)
        if viewer.id == actor_id:
            raise OwnAccess(actor=actor_id)
        query = QueryItem((PersonalDataRead.TOPIC, AccessRefused.TOPIC), (reader_tag(actor_id),))
        found: list[Access] = []
        for recorded in self._newest(query, cursor):
            if len(found) == min(limit, MAX_PAGE):
                return Accesses(accesses=tuple(found), next=found[-1].position)
            found.append(_access(recorded))
        return Accesses(accesses=tuple(found), next=None)

    def flags(self, viewer: Actor, *, cursor: int | None = None, limit: int = 100, open_only: bool = False) -> Flags:
        """Return unusual reading, the newest first, at most `limit` (up to MAX_PAGE) before `cursor`.

        With `open_only` what nobody has reviewed yet. What is about the viewer is for another officer, or an auditor.
        Raises RoleMissing for all but the officer and an auditor.
        """
        check_reviewer(viewer.role)
        found: list[Flag] = []
        for recorded in self._newest(QueryItem((UnusualReading.TOPIC,)), cursor):
            assert isinstance(recorded.event, UnusualReading)
            if recorded.event.reader_id == viewer.id:
                continue
            flag = self._flag(recorded, recorded.event)
            if open_only and flag.outcome is not None:
                continue
            if len(found) == min(limit, MAX_PAGE):
                return Flags(flags=tuple(found), next=found[-1].position)
            found.append(flag)
        return Flags(flags=tuple(found), next=None)

    def review(
        self, flag_id: FlagId, outcome: FlagOutcome, reviewer: Actor, *, case_reference: Reference | None = None
    ) -> None:
        """Record what unusual reading turned out to be. Raises RoleMissing, OwnAccess, FlagUnknown, FlagState."""
        self.ledger.record(ReviewFlag(flag_id=flag_id, outcome=outcome, case_reference=case_reference), reviewer)

    def _flag(self, recorded: Recorded, raised: UnusualReading) -> Flag:
        flag = Flag(
            position=recorded.index + 1,
            flag_id=raised.flag_id,
            reader_id=raised.reader_id,
            kind=raised.kind,
            window_start=raised.window_start,
            raised_at=recorded.recorded_at,
            read=raised.read + 1,
            count=raised.count,
        )
        query = (QueryItem((FlagReviewed.TOPIC,), (flag_tag(raised.flag_id),)),)
        for review in self.ledger.read(query, after=recorded.index + 1):
            assert isinstance(review.event, FlagReviewed)
            flag = msgspec.structs.replace(
                flag,
                outcome=review.event.outcome,
                reviewed_by=review.event.by.id,
                reviewed_at=review.recorded_at,
                case_reference=review.event.case_reference,
            )
        return flag

    def _newest(self, query: QueryItem, cursor: int | None) -> Iterator[Recorded]:
        """Yield what matches below a position, the newest first, in windows that grow while they hold little."""
        end = self.ledger.size() if cursor is None else min(cursor - 1, self.ledger.size())
        width = _FIRST_LOOK
        while end > 0:
            after = max(0, end - width)
            yield from reversed([*self.ledger.read((query,), after=after, end=end)])
            end, width = after, 4 * width


def _command(read: Read) -> RecordRead:
    return RecordRead(
        operation=read.operation,
        door=read.door,
        subjects=read.subjects,
        records=read.records,
        items=read.items,
        fields=read.fields,
        purpose=read.purpose,
        case_reference=read.case_reference,
        digest=None if read.digest is None else Sha256Hex(read.digest),
        employee_id=read.employee_id,
        hidden_until=read.hidden_until,
    )


def _refusal(operation: Word, subjects: Sequence[SubjectId], reason: Word, door: Word) -> RecordRefusedAccess:
    return RecordRefusedAccess(operation=operation, door=door, subjects=tuple(subjects), reason=reason)


def _position(outcome: Outcome) -> int:
    assert isinstance(outcome, Committed)
    return outcome.first + len(outcome.entries)


def _access(recorded: Recorded) -> Access:
    event = recorded.event
    assert isinstance(event, PersonalDataRead | AccessRefused)
    access = Access(
        position=recorded.index + 1,
        at=recorded.recorded_at,
        role=event.by.role,
        operation=event.operation,
        door=event.door,
        subjects=event.subjects,
        part=event.part,
        parts=event.parts,
    )
    if isinstance(event, AccessRefused):
        return msgspec.structs.replace(access, refused=event.reason)
    return msgspec.structs.replace(
        access,
        purpose=event.purpose,
        case_reference=event.case_reference,
        fields=event.fields,
        items=event.items,
    )
