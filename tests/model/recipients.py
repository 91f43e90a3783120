"""Recipients and what processors are sent; which notices recipients are owed. Clauses 6 and 12; GDPR Art. 19."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from ledger.commands import EndRecipient, NotifyRecipient, RegisterRecipient, SendToProcessor
from ledger.errors import (
    FieldsNotHeld,
    NoProcessor,
    NothingDisclosed,
    RecipientEndedAlready,
    RecipientExists,
    RecipientExpired,
    RecipientUnknown,
    Restricted,
    SubjectUnknown,
)
from ledger.vocabulary import Channel, NoticeCause, Purpose, RecipientCategory, Role
from tests.bench import an_id
from tests.model.base import AIMED, PEOPLE, PERSON, Refusal, View
from tests.model.merges import Merging

PARTNER, OPERATOR = an_id("partner"), an_id("operator")
RECIPIENT = st.sampled_from([PARTNER, OPERATOR])
FIELDS = st.sampled_from([("email",), ("given-name",), ("email", "given-name")])


# So many entries are there before anybody is ended.
BEGINNING = 60


class Registered(NamedTuple):
    since: datetime
    until: datetime | None
    ended: bool = False


class Sent(NamedTuple):
    index: int
    field: str
    recipient: str
    disclosure: str | None


class Change(NamedTuple):
    """What a recipient may be owed: of a field, or of the class that the field was in when it was erased."""

    index: int
    field: str
    cause: str
    recipient: str | None = None


class Receiving(Merging):
    def __init__(self) -> None:
        super().__init__()
        self.recipients: dict[str, Registered] = {}
        self.sent: dict[str, list[Sent]] = {subject: [] for subject in PEOPLE}
        self.failed: set[str] = set()  # disclosures that never arrived
        self.changes: dict[str, list[Change]] = {subject: [] for subject in PEOPLE}
        self.told: dict[tuple[str, str, str, str], int] = {}  # person, recipient, cause, field: when last

    def begin(self, everybody: bool) -> None:
        super().begin(everybody)
        self.register_recipient(PARTNER, None)

    @rule(recipient=RECIPIENT, days=st.none() | st.just(15))
    def register_recipient(self, recipient: Any, days: int | None) -> None:
        operator = recipient == OPERATOR
        until = None if days is None else self.now + timedelta(days=days)
        command = RegisterRecipient(
            recipient_id=recipient, category=RecipientCategory.E_INVOICE if operator else RecipientCategory.OTHER,
            country="EE", valid_from=self.now, valid_to=until, contract="C-1" if operator else None, name="OÜ",
        )  # fmt: skip
        earlier = self.recipients.get(recipient)
        if earlier and not earlier.ended and (earlier.until is None or self.now < earlier.until):
            self.do(command, RecipientExists)
        else:
            self.do(command)
            self.recipients[recipient] = Registered(self.now, until)

    @precondition(lambda self: self.later())
    @rule(recipient=RECIPIENT)
    def end_recipient(self, recipient: Any) -> None:
        found, command = self.recipients.get(recipient), EndRecipient(recipient_id=recipient, reason="over")
        if found is None or found.ended:
            self.do(command, RecipientEndedAlready if found else RecipientUnknown)
        else:
            self.do(command)
            self.recipients[recipient] = found._replace(ended=True)

    def later(self) -> bool:
        """Whether a while has passed: a recipient that is ended at once keeps everything else from happening."""
        return self.ledger.size() > BEGINNING

    def not_in_force(self, recipient: str) -> Refusal:
        """Return why nothing may go to a recipient now, None when it may."""
        found = self.recipients.get(recipient)
        if found is None:
            return RecipientUnknown
        if found.ended:
            return RecipientEndedAlready
        return RecipientExpired if found.until is not None and self.now >= found.until else None

    @rule(subject=PERSON, recipient=RECIPIENT, fields=FIELDS)
    def send_to_processor(self, subject: Any, recipient: Any, fields: Any) -> None:
        command = SendToProcessor(subject_id=subject, recipient_id=recipient, purpose=Purpose.E_INVOICE, fields=fields)
        if subject not in self.people:
            self.do(command, SubjectUnknown)
            return
        expected = self.not_in_force(recipient) or (None if recipient == OPERATOR else NoProcessor)
        held = self.people[subject].held
        if expected is None and not all(self.usable(held[field]) for field in fields if field in held):
            expected = FieldsNotHeld
        if expected is None and self.restricted(subject, fields):
            expected = Restricted
        index = self.do(command, expected, kept=expected is not None)
        if expected is None:
            self.sent[subject] += [Sent(index, field, recipient, None) for field in fields]

    # --- notices ---------------------------------------------------------------------------------------------------

    def changed(self, subject: str, index: int, name: str, cause: str) -> None:
        super().changed(subject, index, name, cause)
        known = self.people[subject]
        # An erasure concerns the fields that were kept in the class by then.
        fields = [name] if cause == "correction" else [f for f, kept in known.classes.items() if kept == name]
        self.changes[subject] += [Change(index, field, cause) for field in fields]

    @precondition(lambda self: any(self.sent.values()))
    @rule(subject=PERSON, recipient=RECIPIENT, fields=FIELDS, cause=st.sampled_from(NoticeCause), aimed=AIMED)
    def notify(self, subject: Any, recipient: Any, fields: Any, cause: Any, aimed: bool) -> None:
        owed = [
            (who, to, (field,), NoticeCause(why))
            for who in self.people
            for to, why, _, field in sorted(self.obligations(who))
        ]
        subject, recipient, fields, cause = self.aim(aimed, (subject, recipient, fields, cause), owed)
        if cause is NoticeCause.RECALL:
            given = {change.field for change in self.changes[subject] if change.recipient == recipient}
        else:
            given = {sent.field for sent in self.sent[subject] if sent.recipient == recipient}
        index = self.do(
            NotifyRecipient(
                subject_id=subject, recipient_id=recipient, cause=cause, fields=fields, channel=Channel.EMAIL
            ),
            None if set(fields) <= given else NothingDisclosed,
        )
        if set(fields) <= given:
            self.told |= {(subject, recipient, cause, field): index for field in fields}

    def arrived(self, subject: str) -> list[Sent]:
        return [sent for sent in self.sent[subject] if sent.disclosure not in self.failed]

    def obligations(self, subject: str) -> set[tuple[str, str, int, str]]:
        """Return what recipients are owed: recipient, cause, since which entry, field."""
        first: dict[tuple[str, str], int] = {}
        for sent in self.arrived(subject):
            first.setdefault((sent.recipient, sent.field), sent.index)
        found: set[tuple[str, str, int, str]] = set()
        for (recipient, field), index in first.items():
            last: dict[str, int] = {}
            for change in self.changes[subject]:
                if change.index >= index and change.field == field and change.recipient in (None, recipient):
                    if change.cause == "erasure":
                        last.pop("correction", None)
                    last[change.cause] = change.index
            for cause, at in last.items():
                if self.told.get((subject, recipient, cause, field), -1) < at:
                    found.add((recipient, cause, at, field))
        return found

    def owed(self, now: datetime) -> list[str]:
        notices = {
            (subject, recipient, cause, at)
            for subject in self.people
            for recipient, cause, at, _ in self.obligations(subject)
        }
        return super().owed(now) + [f"recipient-{cause}-notice" for _, _, cause, _ in notices]

    # --- comparing -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        named: dict[str, Any] = {}
        for subject in self.people:
            arrived = self.arrived(subject)
            named[subject] = {
                who: (
                    tuple(sorted({sent.field for sent in arrived if sent.recipient == who})),
                    len({sent.index for sent in arrived if sent.recipient == who}),
                    any(sent.disclosure for sent in arrived if sent.recipient == who),
                )
                for who in {sent.recipient for sent in arrived}
            }
        return super().view() | {
            "recipients": dict(self.recipients),
            "recipients of": named,
            "obligations": {
                subject: {(who, cause, field) for who, cause, _, field in self.obligations(subject)}
                for subject in self.people
            },
        }

    def ask(self, as_of: int | None, then: datetime) -> View:
        found = super().ask(as_of, then)
        people: Any = found["roles"].keys()
        return found | {
            "recipients": {
                one.recipient_id: (one.valid_from, one.valid_to, one.ended_at is not None)
                for one in self.asked.recipients(as_of=as_of)
            },
            "recipients of": {
                subject: {
                    one.recipient_id: (one.fields, one.times, one.third_party)
                    for one in self.asked.recipients_of(subject, viewer=Role.OFFICER, as_of=as_of)
                }
                for subject in people
            },
            "obligations": {
                subject: {
                    (one.recipient_id, one.cause, field)
                    for one in self.asked.obligations(subject, viewer=Role.OFFICER, as_of=as_of)
                    for field in one.fields
                }
                for subject in people
            },
        }
