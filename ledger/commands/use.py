"""The gate: every use of personal data states a purpose and a case, and is allowed or denied. Clauses 1 and 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command
from ledger.errors import (
    AcknowledgementMissing,
    EmployeeUnknown,
    FieldNotAllowed,
    FieldNotDefined,
    FieldsNotHeld,
    FieldUnknown,
    Invalid,
    PolicyMissing,
    PurposeNotAssessed,
    Refused,
    Restricted,
    RoleMissing,
    SubjectUnknown,
)
from ledger.events import DataUsed, PurposeChangeAssessed, UseDenied
from ledger.policy import Policy
from ledger.rule import rule
from ledger.state.consent import consents, permissions
from ledger.state.employee import STAFF, check_access, employment
from ledger.state.personal_data import ONLY_USABLE, personal_data, reasons, unusable
from ledger.state.policy import check_fields, policies, policy_needed
from ledger.state.restriction import restricted, restrictions
from ledger.state.source import revocations, revoked
from ledger.state.subject import registered, registration
from ledger.state.use import assessments, compatible
from ledger.vocabulary import (
    ActorId,
    Compatibility,
    Purpose,
    Reference,
    Role,
    SubjectId,
    SubjectRole,
    Tag,
    Word,
    employee_tag,
    purpose_tag,
    subject_tag,
)

USE_IS_ALLOWED = rule(
    "use-needs-an-activity",
    clause="1-2",
    promise="A use states a purpose for which an activity allows each field, or is denied by the field's name",
    source="GDPR Art. 5(1)(b), 5(1)(c), 6(1)",
    refusals=(FieldNotAllowed, FieldUnknown, PolicyMissing, SubjectUnknown, Invalid),
)
PURPOSE_STAYS = rule(
    "purpose-change-needs-assessment",
    clause="1-2",
    promise="What was collected for another purpose is used only after an assessment found the two compatible",
    source="GDPR Art. 6(4)",
    refusals=(PurposeNotAssessed,),
)
NO_ACCESS_UNACKNOWLEDGED = rule(
    "access-needs-acknowledgement",
    clause="5",
    promise="Without a current acknowledgement of the procedure an employee has no access to personal data",
    source="GDPR Art. 29, 32(4)",
    refusals=(AcknowledgementMissing, EmployeeUnknown),
)
NOT_UNDER_RESTRICTION = rule(
    "restricted-data-is-not-used",
    clause="8-9",
    promise="Restricted data is kept and not used, but for claims, or with a consent to this very use given since",
    source="GDPR Art. 18(2)",
    refusals=(Restricted,),
)
OFFICER_ASSESSES = rule(
    "officer-assesses-purpose-changes",
    clause="1-2",
    promise="A change of purpose is assessed by the officer, between two purposes and for named fields",
    source="GDPR Art. 6(4), 39(1)(a)",
    refusals=(RoleMissing, FieldNotDefined, Invalid),
)


@command
class UseData(Command, frozen=True):
    """Ask to use named fields of a subject, for a purpose and a case. `employee_id` is whoever asks, if a person."""

    NAME: ClassVar[str] = "use-data"
    RECORDS = (DataUsed,)
    KEEPS = (UseDenied,)
    RULES = (USE_IS_ALLOWED, PURPOSE_STAYS, ONLY_USABLE, NOT_UNDER_RESTRICTION, NO_ACCESS_UNACKNOWLEDGED)
    subject_id: SubjectId
    purpose: Purpose
    fields: tuple[Word, ...]
    case_reference: Reference
    employee_id: ActorId | None = None

    def boundary(self) -> Boundary:
        asked_by = () if self.employee_id is None else employment(self.employee_id)
        return (
            *registration(self.subject_id),
            *personal_data(self.subject_id),
            *assessments(self.purpose),
            *consents(self.subject_id),
            *restrictions(self.subject_id),
            *revocations(),
            *policies(),
            *asked_by,
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        policy = policy_needed(past)
        if not self.fields:
            raise Invalid("fields", "names at least one field")
        expected = context.actor.id if context.actor.role in STAFF else None
        if self.employee_id != expected:
            raise Invalid("employee_id", "is whoever asks, when an employee does, and only then")
        try:
            if self.employee_id is not None:
                check_access(past, self.employee_id, context.now, policy)
            self._check_fields(past, policy, subject.role)
        except Refused as refusal:
            raise KeptRefusal(refusal, self._denied(refusal, policy)) from None
        event = DataUsed(
            subject_id=self.subject_id,
            purpose=self.purpose,
            fields=tuple(sorted(set(self.fields))),
            case_reference=self.case_reference,
            employee_id=self.employee_id,
        )
        return [Fact(event, self._tags())]

    def _check_fields(self, past: Past, policy: Policy, role: SubjectRole) -> None:
        held = reasons(past)
        suspended = unusable(past, revoked(past), self.fields)
        for field in self.fields:
            if not policy.may_use(field, purpose=self.purpose, role=role):
                raise FieldNotAllowed(field=field, purpose=self.purpose, role=role)
            if field not in held:
                raise FieldUnknown(subject=self.subject_id, field=field)
            if field in suspended:
                raise FieldsNotHeld(subject=self.subject_id, fields=field)
            if not compatible(past, field, self.purpose, held[field]):
                raise PurposeNotAssessed(field=field, purpose=self.purpose)
            given = permissions(past, self.subject_id, recipient_id=None, purpose=self.purpose, fields=(field,))
            if restricted(past, self.subject_id, (field,), purpose=self.purpose, consents=given) is not None:
                raise Restricted(subject=self.subject_id)

    def _denied(self, refusal: Refused, policy: Policy) -> Fact:
        event = UseDenied(
            command=Word(self.NAME),
            subject_id=self.subject_id,
            purpose=self.purpose,
            # A name that nobody defined may be anything: it is told to whoever asked, and not kept.
            fields=tuple(sorted(set(self.fields) & policy.fields.keys())),
            reason=Word(refusal.code),
            case_reference=self.case_reference,
            employee_id=self.employee_id,
        )
        return Fact(event, self._tags())

    def _tags(self) -> list[Tag]:
        asked_by = [] if self.employee_id is None else [employee_tag(self.employee_id)]
        return [subject_tag(self.subject_id), *asked_by]


@command
class AssessPurposeChange(Command, frozen=True):
    """Record whether fields collected for one purpose may be used for another; `reference` names the assessment."""

    NAME: ClassVar[str] = "assess-purpose-change"
    RECORDS = (PurposeChangeAssessed,)
    RULES = (OFFICER_ASSESSES,)
    from_purpose: Purpose
    purpose: Purpose
    fields: tuple[Word, ...]
    outcome: Compatibility
    reference: Reference

    def boundary(self) -> Boundary:
        return (*policies(), *assessments(self.purpose))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.role is not Role.OFFICER:
            raise RoleMissing(needed="officer")
        policy_needed(past)
        if self.from_purpose is self.purpose:
            raise Invalid("from_purpose", "is the purpose itself: there is nothing to assess")
        if not self.fields:
            raise Invalid("fields", "names at least one field")
        check_fields(past, self.fields)
        event = PurposeChangeAssessed(
            from_purpose=self.from_purpose,
            purpose=self.purpose,
            fields=tuple(sorted(set(self.fields))),
            outcome=self.outcome,
            reference=self.reference,
        )
        return [Fact(event, [purpose_tag(self.purpose)])]
