"""The breach register of GDPR Art. 33(5), and what is owed to the authority and to people. Clause 4."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ledger import Ledger
from ledger.command import Command, Recorded
from ledger.commands import ExpireBreach
from ledger.events import (
    AuthorityNotified,
    BreachAssessed,
    BreachClosed,
    BreachConfirmed,
    BreachSuspected,
    SubjectsNotified,
    Withheld,
)
from ledger.state.case_file import case_kept_until
from ledger.vocabulary import BreachId, BreachNature, BreachRisk, Reference, Word
from projections.duties import Owed, debt, duty
from projections.projection import AsOf, text
from projections.registers import Register, Registers

if TYPE_CHECKING:
    from projections import Projections

Text = str | Withheld | None


class BreachRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A breach as it is known. None is what did not happen yet; a text that is not open says why."""

    breach_id: BreachId
    natures: tuple[BreachNature, ...]
    suspected_at: datetime
    facts: Text
    aware_at: datetime | None = None
    notice_due_at: datetime | None = None
    risk: BreachRisk | None = None
    subjects: int | None = None
    records: int | None = None
    categories: tuple[Word, ...] = ()
    effects: Text = None
    measures: Text = None
    authority: Word | None = None
    authority_reference: Reference | None = None
    authority_notified_at: datetime | None = None
    delay_reason: Text = None
    subjects_notified_at: datetime | None = None
    outcome: Word | None = None
    exemption: Word | None = None
    closed_at: datetime | None = None


def breaches(
    registers: Registers, ledger: Ledger, *, show: bool = False, as_of: AsOf = None
) -> tuple[BreachRecord, ...]:
    """Return the register, the first suspected first. With `show` its texts are opened: they may name people."""
    found: list[BreachRecord] = []
    for breach_id in registers.about(Register.BREACHES, as_of=as_of):
        record: BreachRecord | None = None
        for recorded in registers.past((Register.BREACHES, breach_id), as_of=as_of).all:
            event = ledger.open(recorded.index) if show else recorded.event
            if isinstance(event, BreachSuspected):
                record = BreachRecord(
                    breach_id=event.breach_id,
                    natures=event.natures,
                    suspected_at=event.suspected_at,
                    facts=event.facts,
                )
            elif record is not None:
                record = _after(record, event, recorded)
        if record is not None:
            found.append(record)
    return tuple(found)


def _after(record: BreachRecord, event: object, recorded: Recorded) -> BreachRecord:
    replace = msgspec.structs.replace
    match event:
        case BreachConfirmed():
            return replace(record, aware_at=event.aware_at, notice_due_at=event.notice_due_at)
        case BreachAssessed():
            return replace(
                record,
                risk=event.risk,
                subjects=event.subjects,
                records=event.records,
                categories=event.categories,
                effects=event.effects,
                measures=event.measures,
            )
        case AuthorityNotified():
            return replace(
                record,
                authority=event.authority,
                authority_reference=event.reference,
                authority_notified_at=event.notified_at,
                delay_reason=event.delay_reason,
            )
        case SubjectsNotified():
            return replace(record, subjects_notified_at=event.notified_at)
        case BreachClosed():
            return replace(record, outcome=event.outcome, exemption=event.exemption, closed_at=recorded.recorded_at)
    return record


@debt("breach-notice")
def notices(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    """Find breaches that the authority was not told of. GDPR Art. 33(1): unless a risk is unlikely."""
    for record in projections.breaches():
        told = record.authority_notified_at is not None or record.risk is BreachRisk.UNLIKELY
        if record.notice_due_at is not None and not told and record.closed_at is None:
            yield Owed(
                what=Word("breach-notice"),
                id=record.breach_id,
                due_at=record.notice_due_at,
                overdue=record.notice_due_at < now,
            )


@debt("breach-communication")
def communications(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[Owed]:
    """Find breaches of high risk that people were not told of. GDPR Art. 34(1): without undue delay, so it is due."""
    for record in projections.breaches():
        if record.risk is BreachRisk.HIGH and record.subjects_notified_at is None and record.closed_at is None:
            assert record.aware_at is not None
            yield Owed(what=Word("breach-communication"), id=record.breach_id, due_at=record.aware_at, overdue=True)


@duty("breach-expiry")
def expiries(projections: Projections, ledger: Ledger, now: datetime) -> Iterator[tuple[Command, str]]:
    """Find closed breaches whose texts were kept long enough."""
    in_force = projections.policy()
    if in_force is None:
        return
    for record in projections.breaches():
        if record.closed_at is not None and (until := case_kept_until(record.closed_at, in_force)) < now:
            yield ExpireBreach(breach_id=record.breach_id), f"{record.breach_id}:{text(until)}"
