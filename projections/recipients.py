"""Recipients: who they are and were, who got what of a person by name, and which notices they are owed. Clause 12.

GDPR Art. 15(1)(c): the actual recipients. Art. 19: each is told of corrections and erasures. A disclosure that is
secret for now (clause 6) is here for the officer only: for everybody else it is in no answer and in no count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from ledger import Ledger
from ledger.entry import parse_moment
from ledger.errors import StorageError
from ledger.events import (
    DataCorrected,
    DataSentToProcessor,
    DisclosureTransmitted,
    Event,
    PersonalDataErased,
    RecallOwed,
    RecipientEnded,
    RecipientNotified,
    RecipientRegistered,
)
from ledger.vocabulary import (
    Country,
    DisclosureId,
    NoticeCause,
    Purpose,
    RecipientCategory,
    RecipientId,
    Reference,
    Role,
    SubjectId,
    TransferBasis,
    Word,
)
from projections.disclosures import hidden
from projections.policies import policy_now
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Rows, Store, Writer
from projections.values import shown


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient as it was last registered. `name` is None once a sole trader's is erased."""

    recipient_id: RecipientId
    category: RecipientCategory
    name: str | None
    subject_id: SubjectId | None
    country: Country
    contract: Reference | None
    transfer_basis: TransferBasis | None
    valid_from: datetime
    valid_to: datetime | None
    registered: int
    ended_at: datetime | None
    reason: Word | None  # why it was ended


class NamedRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who got which fields of a person, for what, first and last when.

    `standing`: everything, for as long as it is in force. `recipient` is None for one that was sent to before
    recipients were registered.
    """

    recipient_id: RecipientId
    recipient: Recipient | None
    standing: bool
    fields: tuple[Word, ...]
    purposes: tuple[Purpose, ...]
    third_party: bool
    times: int
    first_at: datetime
    last_at: datetime


class Obligation(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that a recipient is owed: of which fields, why, since when. GDPR Art. 19; clause 6 for a recall."""

    subject_id: SubjectId
    recipient_id: RecipientId
    cause: NoticeCause
    fields: tuple[Word, ...]
    since: datetime


class _Sent(msgspec.Struct, frozen=True, array_like=True):
    index: int
    subject_id: SubjectId
    field: Word
    recorded_at: str
    recipient_id: RecipientId
    disclosure_id: DisclosureId | None
    purpose: Purpose | None  # None for a transmission of which nobody had asked for the disclosure


_RECIPIENTS: Final = """
SELECT idx, recipient, recorded_at, category, name, subject, country, contract, transfer_basis, valid_from, valid_to,
       reason
FROM recipients WHERE idx < ? AND recorded_at <= ? ORDER BY idx
"""
_SENT: Final = """
SELECT s.idx, s.subject, s.field, s.recorded_at, s.recipient, s.disclosure, COALESCE(s.purpose, r.purpose)
FROM sent_fields s
LEFT JOIN disclosure_steps r ON r.subject = s.subject AND r.disclosure = s.disclosure AND r.stage = 'requested'
LEFT JOIN disclosure_steps f ON f.subject = s.subject AND f.disclosure = s.disclosure AND f.stage = 'failed'
  AND f.idx < ? AND f.recorded_at <= ?
WHERE s.subject = ? AND s.idx < ? AND s.recorded_at <= ? AND f.idx IS NULL ORDER BY s.idx, s.field
"""
_CHANGED: Final = """
SELECT idx, name, recorded_at, cause, recipient FROM changed_fields
WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_NOTIFIED: Final = """
SELECT idx, field, recipient, cause FROM notified_fields WHERE subject = ? AND idx < ? AND recorded_at <= ?
"""
_CLASSES: Final = """
SELECT idx, field, retention_class FROM field_versions WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_OWED_TO: Final = """
SELECT DISTINCT c.subject FROM changed_fields c WHERE c.idx < ? AND c.recorded_at <= ?
  AND EXISTS (SELECT 1 FROM sent_fields s WHERE s.subject = c.subject AND s.idx < c.idx) ORDER BY c.subject
"""


class Recipients(Projection):
    """Recipients, what went to them, and what they were and are to be told."""

    NAME: ClassVar[str] = "recipients"
    VERSION: ClassVar[int] = 2
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys(
        (
            RecipientRegistered,
            RecipientEnded,
            DisclosureTransmitted,
            DataSentToProcessor,
            DataCorrected,
            PersonalDataErased,
            RecallOwed,
            RecipientNotified,
        )
    )

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    # --- rows ------------------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        recipients: list[Row] = []
        sent: list[Row] = []
        changed: list[Row] = []
        notified: list[Row] = []
        for item in batch:
            index, at, event = item.index, item.recorded_at, item.event
            match event:
                case RecipientRegistered():
                    recipients.append(
                        (
                            index, event.recipient_id, at, event.category, event.name, event.subject_id, event.country,
                            event.contract, event.transfer_basis, event.valid_from.isoformat(),
                            None if event.valid_to is None else event.valid_to.isoformat(), None,
                        )
                    )  # fmt: skip
                case RecipientEnded():
                    recipients.append((index, event.recipient_id, at, *[None] * 8, event.reason))
                case DisclosureTransmitted() | DataSentToProcessor():
                    disclosure = event.disclosure_id if isinstance(event, DisclosureTransmitted) else None
                    purpose = event.purpose if isinstance(event, DataSentToProcessor) else None
                    for field in event.fields:
                        sent.append((index, field, event.subject_id, at, event.recipient_id, disclosure, purpose))
                case DataCorrected():
                    changed.append((index, event.field, event.subject_id, at, NoticeCause.CORRECTION, None))
                case PersonalDataErased():
                    for name in event.retention_classes:
                        changed.append((index, name, event.subject_id, at, NoticeCause.ERASURE, None))
                case RecallOwed():
                    for field in event.fields:
                        changed.append((index, field, event.subject_id, at, NoticeCause.RECALL, event.recipient_id))
                case RecipientNotified():
                    for field in event.fields:
                        notified.append((index, field, event.subject_id, at, event.recipient_id, event.cause))
        writer.insert("recipients", recipients)
        writer.insert("sent_fields", sent)
        writer.insert("changed_fields", changed)
        writer.insert("notified_fields", notified)

    # --- questions -------------------------------------------------------------------------------------------

    def recipients(self, *, as_of: AsOf = None) -> tuple[Recipient, ...]:
        """Return every recipient as it was last registered as of then, in order of registration, ended or not."""
        with self._store.read() as rows:
            return tuple(self._recipients(rows, as_of).values())

    def recipients_of(
        self, subject_id: SubjectId, *, viewer: Role = Role.SUBJECT, as_of: AsOf = None
    ) -> tuple[NamedRecipient, ...]:
        """Return the actual recipients of a person's data as of then, the first one first.

        A standing one (hosting) is among them when it was in force since the person was registered. Raises
        StorageError, and Invalid for a moment without time zone.
        """
        known = bound(as_of)
        with self._store.read() as rows:
            registered = self._recipients(rows, as_of)
            sent = self._sent(rows, subject_id, viewer, as_of)
            since = rows(
                "SELECT recorded_at FROM subjects WHERE subject = ? AND idx < ? AND recorded_at <= ?",
                subject_id, *known,
            )  # fmt: skip
        found = [_named(who, registered.get(who), parts) for who, parts in _by_recipient(sent).items()]
        if since:
            found += self._standing(registered.values(), parse_moment(since[0][0]))
        return tuple(sorted(found, key=lambda one: one.first_at))

    def obligations(
        self, subject_id: SubjectId | None = None, *, viewer: Role = Role.SUBJECT, as_of: AsOf = None
    ) -> tuple[Obligation, ...]:
        """Return the notices that recipients are owed as of then: about one person, or about everybody."""
        with self._store.read() as rows:
            whose = [subject_id]
            if subject_id is None:
                whose = [subject for (subject,) in rows(_OWED_TO, *bound(as_of))]
            return tuple(owed for who in whose if who for owed in self._owed(rows, who, viewer, as_of))

    # --- inside ----------------------------------------------------------------------------------------------

    def _recipients(self, rows: Rows, as_of: AsOf) -> dict[RecipientId, Recipient]:
        found: dict[RecipientId, Recipient] = {}
        for index, who, at, category, name, subject, country, contract, basis, start, end, reason in rows(
            _RECIPIENTS, *bound(as_of)
        ):
            if category is None:
                if who in found:
                    found[who] = msgspec.structs.replace(found[who], ended_at=parse_moment(at), reason=reason)
                continue
            found[who] = Recipient(
                recipient_id=who,
                category=RecipientCategory(category),
                name=name if subject is None else self._trader_name(index, who),
                subject_id=subject,
                country=country,
                contract=contract,
                transfer_basis=None if basis is None else TransferBasis(basis),
                valid_from=datetime.fromisoformat(start),
                valid_to=None if end is None else datetime.fromisoformat(end),
                registered=index,
                ended_at=None,
                reason=None,
            )
        return found

    def _trader_name(self, index: int, recipient_id: RecipientId) -> str | None:
        event = self._ledger.open(index)
        if not isinstance(event, RecipientRegistered) or event.recipient_id != recipient_id:
            raise StorageError(f"the projections do not agree with entry {index}; `prooftrail rebuild` makes them anew")
        name: str | None = shown(event.trader_name)[1]
        return name

    def _sent(self, rows: Rows, subject_id: SubjectId, viewer: Role, as_of: AsOf) -> list[_Sent]:
        known = bound(as_of)
        secret = hidden(rows, subject_id, viewer, self._ledger.now())
        found = msgspec.convert(rows(_SENT, *known, subject_id, *known), list[_Sent])
        return [one for one in found if one.disclosure_id not in secret]

    def _standing(self, registered: Sequence[Recipient] | Any, since: datetime) -> list[NamedRecipient]:
        policy = policy_now(self._ledger)
        if policy is None:
            return []
        found: list[NamedRecipient] = []
        for one in registered:
            rules = policy.recipients.get(one.category)
            end = min(filter(None, (one.ended_at, one.valid_to)), default=None)
            first, last = max(one.valid_from, since), end or self._ledger.now()
            if rules is not None and rules.standing and first <= last:
                found.append(
                    NamedRecipient(
                        recipient_id=one.recipient_id,
                        recipient=one,
                        standing=True,
                        fields=(),
                        purposes=(),
                        third_party=False,
                        times=1,
                        first_at=first,
                        last_at=last,
                    )
                )
        return found

    def _owed(self, rows: Rows, subject_id: SubjectId, viewer: Role, as_of: AsOf) -> list[Obligation]:
        known = bound(as_of)
        changes = rows(_CHANGED, subject_id, *known)
        told: dict[tuple[str, str, str], int] = {}
        for index, field, recipient, cause in rows(_NOTIFIED, subject_id, *known):
            key = (recipient, cause, field)
            told[key] = max(index, told.get(key, -1))
        versions = rows(_CLASSES, subject_id, *known)
        owed: dict[tuple[RecipientId, str, str], list[Word]] = {}
        for (recipient, field), first in _first_sent(self._sent(rows, subject_id, viewer, as_of)).items():
            for cause, change in _last_changes(changes, versions, recipient, field, first).items():
                index, at = change
                if told.get((recipient, cause, field), -1) < index:
                    owed.setdefault((recipient, cause, at), []).append(field)
        return [
            Obligation(
                subject_id=subject_id,
                recipient_id=recipient,
                cause=NoticeCause(cause),
                fields=tuple(sorted(fields)),
                since=parse_moment(at),
            )
            for (recipient, cause, at), fields in owed.items()
        ]


def _by_recipient(sent: Sequence[_Sent]) -> dict[RecipientId, list[_Sent]]:
    found: dict[RecipientId, list[_Sent]] = {}
    for one in sent:
        found.setdefault(one.recipient_id, []).append(one)
    return found


def _named(recipient_id: RecipientId, recipient: Recipient | None, sent: Sequence[_Sent]) -> NamedRecipient:
    return NamedRecipient(
        recipient_id=recipient_id,
        recipient=recipient,
        standing=False,
        fields=tuple(sorted({one.field for one in sent})),
        purposes=tuple(sorted({one.purpose for one in sent if one.purpose is not None})),
        third_party=any(one.disclosure_id is not None for one in sent),
        times=len({one.index for one in sent}),
        first_at=parse_moment(sent[0].recorded_at),
        last_at=parse_moment(sent[-1].recorded_at),
    )


def _first_sent(sent: Sequence[_Sent]) -> dict[tuple[RecipientId, Word], int]:
    found: dict[tuple[RecipientId, Word], int] = {}
    for one in sent:
        found.setdefault((one.recipient_id, one.field), one.index)
    return found


def _last_changes(
    changes: Sequence[tuple[Any, ...]],
    versions: Sequence[tuple[Any, ...]],
    recipient: RecipientId,
    field: Word,
    first: int,
) -> dict[str, tuple[int, str]]:
    """Return by cause the last change of a field since it first went to a recipient: its index and moment.

    What is erased needs no correction any more.
    """
    found: dict[str, tuple[int, str]] = {}
    for index, name, at, cause, whose in changes:
        if index < first:
            continue
        if cause == NoticeCause.RECALL:
            concerns = name == field and whose == recipient
        elif cause == NoticeCause.CORRECTION:
            concerns = name == field
        else:
            held = [version[2] for version in versions if version[0] < index and version[1] == field]
            concerns = bool(held) and held[-1] == name
            if concerns:
                found.pop(NoticeCause.CORRECTION, None)
        if concerns:
            found[cause] = (index, at)
    return found
