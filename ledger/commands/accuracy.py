"""Accuracy: what a person says is wrong, and what the company does until it is settled. Clauses 8–9; GDPR Art. 16, 18.

Whoever contests a field restricts its use at once. The restriction stands until the correction is made or rejected and
the person is told (Art. 18(3)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.errors import (
    AccuracyContested,
    FieldNotDefined,
    FieldUnknown,
    Invalid,
    NoticeNotOwed,
    ProposalExists,
    ProposalUnknown,
    RestrictionExists,
    RestrictionUnknown,
    StaleVersion,
)
from ledger.events import (
    AddressNotified,
    CorrectionProposed,
    CorrectionRejected,
    ProcessingRestricted,
    RestrictionLifted,
    StatementAttached,
)
from ledger.rule import rule
from ledger.state.accuracy import address_notices, open_proposals, owed_addresses, proposals
from ledger.state.merge import merges, others, person_tags
from ledger.state.personal_data import Field, fields, personal_data
from ledger.state.policy import check_fields, policies
from ledger.state.restriction import ORDERS, open_restrictions, restrictions
from ledger.state.subject import registered, registration, scope
from ledger.vocabulary import (
    Address,
    Channel,
    ProposalId,
    Reference,
    RestrictionGround,
    RestrictionId,
    SubjectId,
    Word,
    restriction_tag,
    subject_tag,
)

CONTESTED = rule(
    "contested-is-restricted",
    clause="8-9",
    promise="A field whose accuracy is contested is restricted from that entry on",
    source="GDPR Art. 18(1)(a)",
    refusals=(ProposalExists, FieldUnknown, StaleVersion),
)
SETTLED_FIRST = rule(
    "restriction-until-settled",
    clause="8-9",
    promise="A restriction for contested accuracy is lifted only once the proposal is settled and the person is told",
    source="GDPR Art. 18(1)(a), 18(3)",
    refusals=(AccuracyContested, RestrictionUnknown),
)
REJECTED_ON_EVIDENCE = rule(
    "rejection-on-evidence",
    clause="8-9",
    promise="A proposed correction is rejected with a ground and the evidence for it, and only while it is open",
    source="GDPR Art. 5(2), 12(4), 16",
    refusals=(ProposalUnknown,),
)
STATEMENT_STANDS = rule(
    "statement-stands-with-its-field",
    clause="8-9",
    promise="A person's own statement is kept with the field that it is about, sealed as the field is",
    source="GDPR Art. 16",
    refusals=(FieldUnknown, Invalid),
)
RESTRICTED_ON_A_GROUND = rule(
    "restriction-has-a-ground",
    clause="8-9",
    promise="Processing of known fields is restricted on a ground of the law; contested accuracy needs a proposal",
    source="GDPR Art. 18(1)",
    refusals=(RestrictionExists, FieldNotDefined, Invalid),
)
BOTH_ADDRESSES = rule(
    "both-addresses-are-told",
    clause="8-9",
    promise="A corrected contact address owes a notice to the old one and to the new one, each once",
    source="Principles, clause 9; GDPR Art. 5(1)(f)",
    refusals=(NoticeNotOwed,),
)


@command
class ProposeCorrection(Command, frozen=True):
    """Record what a person says is right instead; from here on the field is restricted."""

    NAME: ClassVar[str] = "propose-correction"
    RECORDS = (CorrectionProposed, ProcessingRestricted)
    RULES = (CONTESTED,)
    proposal_id: ProposalId
    subject_id: SubjectId
    field: Word
    value: Any
    expected_version: int
    channel: Channel

    def boundary(self) -> Boundary:
        subject_id = self.subject_id
        return (
            *registration(subject_id),
            *personal_data(subject_id),
            *proposals(subject_id),
            *merges(subject_id),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        if any(event.proposal_id == self.proposal_id for event in past.of(CorrectionProposed)):
            raise ProposalExists(proposal=self.proposal_id)
        field = _field(past, self.subject_id, self.field)
        if self.value is None:
            raise Invalid("value", "is empty: a proposal says what is right instead")
        if field.version != self.expected_version:
            raise StaleVersion(
                subject=self.subject_id, field=self.field, expected=self.expected_version, actual=field.version
            )
        proposed = CorrectionProposed(
            proposal_id=self.proposal_id,
            subject_id=self.subject_id,
            field=self.field,
            contests=field.version,
            channel=self.channel,
            retention_class=field.retention_class,
            values={self.field: self.value},
        )
        # The proposal's restriction bears its id: the one leads to the other.
        restriction_id = RestrictionId(self.proposal_id)
        restricted = ProcessingRestricted(
            restriction_id=restriction_id,
            subject_id=self.subject_id,
            ground=RestrictionGround.ACCURACY_CONTESTED,
            channel=self.channel,
            fields=(self.field,),
            together=others(past, self.subject_id),
        )
        tags = [subject_tag(self.subject_id), restriction_tag(restriction_id)]
        return [
            Fact(proposed, tags, scope(subject, field.retention_class)),
            Fact(restricted, [*tags, *person_tags(past, self.subject_id)]),
        ]


@command
class RejectCorrection(Command, frozen=True):
    """Record that the field is right as it is, on which evidence, and that the person is told now by this channel."""

    NAME: ClassVar[str] = "reject-correction"
    RECORDS = (CorrectionRejected,)
    RULES = (REJECTED_ON_EVIDENCE,)
    proposal_id: ProposalId
    subject_id: SubjectId
    field: Word
    ground: Word
    evidence: Reference
    channel: Channel

    def boundary(self) -> Boundary:
        return proposals(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        proposed = open_proposals(past).get(self.proposal_id)
        if proposed is None or proposed.field != self.field:
            raise ProposalUnknown(proposal=self.proposal_id, subject=self.subject_id, field=self.field)
        event = CorrectionRejected(
            proposal_id=self.proposal_id,
            subject_id=self.subject_id,
            field=self.field,
            ground=self.ground,
            evidence=self.evidence,
            channel=self.channel,
        )
        return [Fact(event, [subject_tag(self.subject_id), restriction_tag(RestrictionId(self.proposal_id))])]


@command
class AttachStatement(Command, frozen=True):
    """Keep the person's own statement with a field: what completes it, or why they hold it to be wrong."""

    NAME: ClassVar[str] = "attach-statement"
    RECORDS = (StatementAttached,)
    RULES = (STATEMENT_STANDS,)
    subject_id: SubjectId
    field: Word
    statement: str
    channel: Channel

    def boundary(self) -> Boundary:
        return (*registration(self.subject_id), *personal_data(self.subject_id))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        subject = registered(past, self.subject_id)
        field = _field(past, self.subject_id, self.field)
        if not self.statement:
            raise Invalid("statement", "is empty")
        event = StatementAttached(
            subject_id=self.subject_id,
            field=self.field,
            channel=self.channel,
            retention_class=field.retention_class,
            statement=self.statement,
        )
        return [Fact(event, [subject_tag(self.subject_id)], scope(subject, field.retention_class))]


@command
class RestrictProcessing(Command, frozen=True):
    """Restrict the use of a subject's data, or of some fields, on a ground of Art. 18(1)."""

    NAME: ClassVar[str] = "restrict-processing"
    RECORDS = (ProcessingRestricted,)
    RULES = (RESTRICTED_ON_A_GROUND,)
    restriction_id: RestrictionId
    subject_id: SubjectId
    ground: RestrictionGround
    channel: Channel
    fields: tuple[Word, ...] = ()

    def boundary(self) -> Boundary:
        tag = restriction_tag(self.restriction_id)
        return (
            *registration(self.subject_id),
            selector(ProcessingRestricted, tags=[tag]),
            *merges(self.subject_id),
            *policies(),
        )

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if past.last(ProcessingRestricted) is not None:
            raise RestrictionExists(restriction=self.restriction_id)
        if self.ground is RestrictionGround.ACCURACY_CONTESTED:
            raise Invalid("ground", "is of a proposed correction: propose one, and the restriction starts with it")
        check_fields(past, self.fields, ORDERS)
        event = ProcessingRestricted(
            restriction_id=self.restriction_id,
            subject_id=self.subject_id,
            ground=self.ground,
            channel=self.channel,
            fields=tuple(sorted(set(self.fields))),
            together=others(past, self.subject_id),
        )
        return [Fact(event, [*person_tags(past, self.subject_id), restriction_tag(self.restriction_id)])]


@command
class LiftRestriction(Command, frozen=True):
    """Lift a restriction, after the person was told by this channel."""

    NAME: ClassVar[str] = "lift-restriction"
    RECORDS = (RestrictionLifted,)
    RULES = (SETTLED_FIRST,)
    restriction_id: RestrictionId
    subject_id: SubjectId
    reason: Word
    channel: Channel

    def boundary(self) -> Boundary:
        return (*restrictions(self.subject_id), *proposals(self.subject_id))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if self.restriction_id not in open_restrictions(past, self.subject_id):
            raise RestrictionUnknown(restriction=self.restriction_id, subject=self.subject_id)
        if ProposalId(self.restriction_id) in open_proposals(past):
            raise AccuracyContested(restriction=self.restriction_id)
        event = RestrictionLifted(
            restriction_id=self.restriction_id,
            subject_id=self.subject_id,
            reason=self.reason,
            channel=self.channel,
            together=others(past, self.subject_id),
        )
        return [Fact(event, [*person_tags(past, self.subject_id), restriction_tag(self.restriction_id)])]


@command
class NotifyAddress(Command, frozen=True):
    """Record that the old or the new contact address was told of a correction (`correction`: its entry)."""

    NAME: ClassVar[str] = "notify-address"
    RECORDS = (AddressNotified,)
    RULES = (BOTH_ADDRESSES,)
    subject_id: SubjectId
    correction: int
    address: Address
    channel: Channel

    def boundary(self) -> Boundary:
        return address_notices(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if (self.correction, self.address) not in owed_addresses(past):
            raise NoticeNotOwed(correction=self.correction, address=self.address)
        event = AddressNotified(
            subject_id=self.subject_id, correction=self.correction, address=self.address, channel=self.channel
        )
        return [Fact(event, [subject_tag(self.subject_id)])]


def _field(past: Past, subject_id: SubjectId, name: Word) -> Field:
    field = fields(past).get(name)
    if field is None:
        raise FieldUnknown(subject=subject_id, field=name)
    return field
