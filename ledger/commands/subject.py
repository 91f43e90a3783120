"""Subjects: people the company holds data about. They need no account: whoever wrote an e-mail is one. Clause 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command, unused
from ledger.errors import Invalid, SubjectExists, SubjectUnknown
from ledger.events import IdentifierLinked, SubjectRegistered
from ledger.rule import rule
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import ClientId, IdentifierKind, RetentionClass, SubjectId, SubjectRole, client_tag, subject_tag

MAX_IDENTIFIER = 320  # the longest e-mail address: RFC 5321 §4.5.3.1

REGISTERED_ONCE = rule(
    "subject-is-registered-once",
    clause="0",
    promise="A person has one record, in one role: the company's own, or that of the client whose person it is",
    source="GDPR Art. 4(7), 4(8)",
    refusals=(SubjectExists, Invalid),
)
IDENTIFIERS_SEALED = rule(
    "identifiers-are-sealed",
    clause="0",
    promise="An e-mail address, phone number or personal code never stands in an entry, only sealed beside it",
    source="GDPR Art. 5(1)(c), 25",
    refusals=(SubjectUnknown, Invalid),
)


@command
class RegisterSubject(Command, frozen=True):
    """Open the record of a person, in the controller's role or as a client's own person (processor)."""

    NAME: ClassVar[str] = "register-subject"
    RECORDS = (SubjectRegistered,)
    RULES = (REGISTERED_ONCE,)
    subject_id: SubjectId
    role: SubjectRole = SubjectRole.CONTROLLER
    client_id: ClientId | None = None

    def boundary(self) -> Boundary:
        return unused(registration(self.subject_id))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if (self.role is SubjectRole.PROCESSOR) != (self.client_id is not None):
            raise Invalid("client_id", "is needed in the processor role, and only there: it says whose person this is")
        if past.all:
            raise SubjectExists(subject=self.subject_id)
        tags = [subject_tag(self.subject_id), *([client_tag(self.client_id)] if self.client_id else [])]
        return [Fact(SubjectRegistered(subject_id=self.subject_id, role=self.role, client_id=self.client_id), tags)]


@command
class LinkIdentifier(Command, frozen=True):
    """Say by which e-mail address, phone number or personal code a subject is known. Several may share one."""

    NAME: ClassVar[str] = "link-identifier"
    RECORDS = (IdentifierLinked,)
    RULES = (IDENTIFIERS_SEALED,)
    subject_id: SubjectId
    kind: IdentifierKind
    value: str

    def boundary(self) -> Boundary:
        return registration(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if not 0 < len(self.value) <= MAX_IDENTIFIER:
            raise Invalid("value", f"has between 1 and {MAX_IDENTIFIER} characters")
        subject = registered(past, self.subject_id)
        event = IdentifierLinked(subject_id=self.subject_id, kind=self.kind, value=self.value)
        return [Fact(event, [subject_tag(self.subject_id)], scope(subject, RetentionClass.IDENTITY))]
