"""Every error of Prooftrail, in one tree.

    LedgerError
    ├── Refused              a rule said no; asking again changes nothing       (code, evidence, index)
    │   ├── Invalid          the input itself is wrong: names the field
    │   └── …                one class for each reason, below
    ├── Conflict             somebody else was first; try again
    │   └── Busy             the queue is full, or another process holds the store; try again later
    ├── VerificationError    evidence does not hold                             (step)
    │   ├── Tampered         stored bytes are not the ones that were recorded
    │   ├── RolledBack       the store is older than the last signed checkpoint
    │   └── NotCosigned      a witness refuses a checkpoint: LogUnknown, Unsigned, SizeMismatch, Inconsistent
    ├── Uncosigned           recorded, but a witness did not cosign it in time  (index, receipt, missing)
    ├── Unreachable          another server gives no answer
    │   ├── AddressRefused   it has an address that is not spoken to
    │   └── WitnessUnreachable  it is a witness
    ├── Misfit               a row does not fit the table that it was made for
    └── StorageError         the engine failed, or refuses to start             (advice)
        ├── Damaged          what is stored is not what was written
        ├── Full             there is no room left where it is stored
        ├── InDoubt          cut off at commit: recorded or not; ask again with the idempotency key
        └── Stopped          an earlier failure stopped writing; restart to recover

Messages and evidence hold ids, counts and public words only, never personal data: they end up in logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ledger.receipt import Receipt

Evidence = str | int | None


class LedgerError(Exception):
    """The base of everything that Prooftrail raises on purpose."""


class Refused(LedgerError):
    """A rule said no. `code` is from a closed vocabulary; `evidence` says about which ids.

    `index` is where the refusal itself was recorded, for those that the rules want kept; else None.
    """

    code: ClassVar[str] = "refused"
    message: ClassVar[str] = "refused"

    def __init__(self, **evidence: Evidence) -> None:
        super().__init__(self.message.format(**evidence))
        self.evidence = evidence
        self.index: int | None = None


class Invalid(Refused):
    """The input is wrong: `field` names where, `why` says what would be right."""

    code = "invalid"
    message = "{field}: {why}"

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field=field, why=why)


class Conflict(LedgerError):
    """Something was recorded in the boundary since it was read. Nothing was recorded; try again."""


class Busy(Conflict):
    """The queue of commands is full, or another process holds the store. Nothing was recorded; try again later."""


class VerificationError(LedgerError):
    """Evidence does not hold. `step` names the check that failed."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


class Tampered(VerificationError):
    """Stored bytes are not the ones that were recorded."""


class RolledBack(VerificationError):
    """The store is older than, or contradicts, the last checkpoint that was signed for it."""


class NotCosigned(VerificationError):
    """A witness refuses a checkpoint that is well formed."""


class LogUnknown(NotCosigned):
    """The witness does not know the origin of the checkpoint."""


class Unsigned(NotCosigned):
    """No key that the witness trusts for this log signed the checkpoint."""


class SizeMismatch(NotCosigned):
    """The request does not start from the checkpoint that the witness cosigned last; that one has `size` entries."""

    def __init__(self, size: int, why: str) -> None:
        super().__init__("old size", why)
        self.size = size


class Inconsistent(NotCosigned):
    """The checkpoint is not shown to extend the one that the witness cosigned last."""


class Uncosigned(LedgerError):
    """The fact is recorded and durable; a witness that was waited for did not cosign it in time."""

    def __init__(self, receipt: Receipt, missing: Sequence[str]) -> None:
        super().__init__(
            f"recorded as entry {receipt.index}, but not cosigned in time by {', '.join(missing)}; "
            "the cosignature is collected when the witness answers"
        )
        self.receipt = receipt
        self.index = receipt.index
        self.missing = tuple(missing)


class Unreachable(LedgerError):
    """Another server gives no answer, or none that makes sense."""


class AddressRefused(Unreachable):
    """Another server has an address that is not spoken to: nothing was sent there."""


class WitnessUnreachable(Unreachable):
    """A witness gives no answer, or none that makes sense; it is asked again."""


class Misfit(LedgerError):
    """A row does not fit the table that it was made for: what it was made from is not what it should be."""


class StorageError(LedgerError):
    """The engine failed or refuses to start; the message says what to do."""


class Damaged(StorageError):
    """A stored page, row or text is not what was written: damage, or somebody else's hand."""


class Full(StorageError):
    """There is no room left on the disk of the store; reading goes on."""


class InDoubt(StorageError):
    """The store was lost while it committed: what was asked may be recorded or not, now or a moment later.

    Asking again with the same idempotency key gives the receipt, or records it: never twice.
    """


class Stopped(StorageError):
    """Writing stopped after a failure (`__cause__` of the first one); reading goes on, a restart recovers."""


# --- reasons of refusal: one class each, the code is permanent ------------------------------------------------


class SubjectUnknown(Refused):
    code = "subject-unknown"
    message = "no subject {subject} is registered"


class SubjectExists(Refused):
    code = "subject-exists"
    message = "subject {subject} is registered already"


class ConsentUnknown(Refused):
    code = "consent-unknown"
    message = "subject {subject} gave no consent {consent}"


class ConsentExists(Refused):
    code = "consent-exists"
    message = "consent {consent} is recorded already"


class ConsentNotLive(Refused):
    code = "consent-not-live"
    message = "consent {consent} was withdrawn already"


class ConsentMissing(Refused):
    code = "consent-missing"
    message = (
        "subject {subject} has no live consent for recipient {recipient}, purpose {purpose} and these fields: {fields}"
    )


class FieldUnknown(Refused):
    code = "field-unknown"
    message = "subject {subject} has no recorded field {field}"


class StaleVersion(Refused):
    code = "stale-version"
    message = "field {field} of subject {subject} is at version {actual}, not {expected}: read it again"


class DisclosureUnknown(Refused):
    code = "disclosure-unknown"
    message = "no disclosure {disclosure} is recorded for subject {subject}"


class DisclosureExists(Refused):
    code = "disclosure-exists"
    message = "disclosure {disclosure} is recorded already"


class DisclosureState(Refused):
    code = "disclosure-state"
    message = "disclosure {disclosure} is {state}; this step needs it to be {needed}"


class ApproverMissing(Refused):
    code = "approver-missing"
    message = "disclosure {disclosure} rests on law: the data protection officer must approve it"


class TokenWrong(Refused):
    code = "token-wrong"
    message = "the token presented does not authorize disclosure {disclosure}"


class TokenExpired(Refused):
    code = "token-expired"
    message = "the authorization of disclosure {disclosure} expired at {expires_at}"


class RecipientMismatch(Refused):
    code = "recipient-mismatch"
    message = "disclosure {disclosure} is authorized for another recipient"


class FieldsMismatch(Refused):
    code = "fields-mismatch"
    message = "disclosure {disclosure} is authorized for other fields: not for {fields}"


class StatuteUnknown(Refused):
    code = "statute-unknown"
    message = "the policy in force names no act {act} under which {authority} may ask for personal data"


class ScopeMissing(Refused):
    code = "scope-missing"
    message = "disclosure {disclosure} rests on law: what the order asks for (scope) is needed"


class FieldsExcessive(Refused):
    code = "fields-excessive"
    message = "disclosure {disclosure} asks for more than its act allows: {fields}"


class FieldsNotHeld(Refused):
    code = "fields-not-held"
    message = "subject {subject} has no usable value of these fields: {fields}"


class NothingDisclosed(Refused):
    code = "nothing-disclosed"
    message = "recipient {recipient} never got these fields of subject {subject}: {fields}"


class OrderUnknown(Refused):
    code = "order-unknown"
    message = "no order {order} is recorded"


class OrderExists(Refused):
    code = "order-exists"
    message = "order {order} is recorded already"


class OrderState(Refused):
    code = "order-state"
    message = "order {order} is {state}; it cannot be {wanted}"


class TransactionExists(Refused):
    code = "transaction-exists"
    message = "transaction {reference} is linked to order {order} already"


class CaseUnknown(Refused):
    code = "case-unknown"
    message = "no open dispute {case} stands on order {order}"


class ErasureUndecided(Refused):
    code = "erasure-undecided"
    message = "no erasure of retention class {retention_class} is decided for subject {subject}"


class PolicyMissing(Refused):
    code = "policy-missing"
    message = "no policy is adopted: adopt one with `prooftrail policy adopt`"


class PolicyVersionUsed(Refused):
    code = "policy-version-used"
    message = "policy version {version} was adopted already: a changed policy has a version of its own"


class PrinciplesUnchanged(Refused):
    code = "principles-unchanged"
    message = (
        "recipients of category {category} are new: publish a version of the principles that names them, "
        "and adopt this policy once it is in force"
    )


class FieldNotDefined(Refused):
    code = "field-not-defined"
    message = "the policy in force defines no field {field}"


class FieldNotAllowed(Refused):
    code = "field-not-allowed"
    message = "no registered activity allows field {field} for purpose {purpose} in the {role} role on that basis"


class PurposeNotAssessed(Refused):
    code = "purpose-not-assessed"
    message = "field {field} was collected for another purpose, and no assessment found {purpose} compatible with it"


class AcknowledgementMissing(Refused):
    code = "acknowledgement-missing"
    message = "employee {employee} has no current acknowledgement of the procedure"


class AcknowledgementCurrent(Refused):
    code = "acknowledgement-current"
    message = "the acknowledgement of employee {employee} is current: only the officer may end it now"


class EmployeeUnknown(Refused):
    code = "employee-unknown"
    message = "no employee {employee} is onboarded"


class EmployeeExists(Refused):
    code = "employee-exists"
    message = "employee {employee} is onboarded already"


class ViolationUnknown(Refused):
    code = "violation-unknown"
    message = "no open violation {violation} is recorded"


class ViolationExists(Refused):
    code = "violation-exists"
    message = "violation {violation} is recorded already"


class DocumentUnknown(Refused):
    code = "document-unknown"
    message = "no {kind} of exactly that text, version and language {language} is published"


class DocumentExists(Refused):
    code = "document-exists"
    message = "{kind} {version} in language {language} is published already"


class NoticeTooShort(Refused):
    code = "notice-too-short"
    message = "an amendment of {kind} takes effect {needed} at the earliest"


class DocumentNotInForce(Refused):
    code = "document-not-in-force"
    message = "{kind} {version} is not in force then: {in_force} is"


class SubjectsNotApart(Refused):
    code = "subjects-not-apart"
    message = "subject {subject} is merged with another already, or is the same one"


class SubjectsNotMerged(Refused):
    code = "subjects-not-merged"
    message = "subject {merged} is not merged with subject {subject}"


class SubjectErased(Refused):
    code = "subject-erased"
    message = "subject {subject} is erased: nothing is held that could be merged"


class BreachUnknown(Refused):
    code = "breach-unknown"
    message = "no breach {breach} is recorded"


class BreachExists(Refused):
    code = "breach-exists"
    message = "breach {breach} is recorded already"


class BreachState(Refused):
    code = "breach-state"
    message = "breach {breach} is {state}: {needed}"


class RoleMissing(Refused):
    code = "role-missing"
    message = "this needs the role {needed}"


class RequestUnknown(Refused):
    code = "request-unknown"
    message = "subject {subject} made no request {request}"


class RequestExists(Refused):
    code = "request-exists"
    message = "request {request} is recorded already"


class RequestState(Refused):
    code = "request-state"
    message = "request {request} is {state}; it cannot be {wanted}"


class IdentityUnverified(Refused):
    code = "identity-unverified"
    message = "request {request} came by {channel}: record how the person was verified before it is answered"


class NotFulfilled(Refused):
    code = "not-fulfilled"
    message = "request {request} asks for {asked}, and nothing of that kind is recorded since it came"


class DeadlinePassed(Refused):
    code = "deadline-passed"
    message = "the deadline of request {request} was {due_at}: an extension is told before it"


class DeadlineRuns(Refused):
    code = "deadline-runs"
    message = "the deadline of request {request} is {due_at}: it is not missed"


class GroundUnfit(Refused):
    code = "ground-unfit"
    message = "a request for {asked} cannot be refused on the ground {ground}"


class RequestOfClient(Refused):
    code = "request-of-client"
    message = "request {request} is about a person of client {client}: pass it to them, they decide"


class EvidenceMissing(Refused):
    code = "evidence-missing"
    message = "a correction of field {field} needs {needed}"


class ProposalUnknown(Refused):
    code = "proposal-unknown"
    message = "no open proposal {proposal} of subject {subject} is about field {field}"


class ProposalExists(Refused):
    code = "proposal-exists"
    message = "proposal {proposal} is recorded already"


class RestrictionUnknown(Refused):
    code = "restriction-unknown"
    message = "no restriction {restriction} of subject {subject} is in force"


class RestrictionExists(Refused):
    code = "restriction-exists"
    message = "restriction {restriction} is recorded already"


class Restricted(Refused):
    code = "restricted"
    message = "the processing of data of subject {subject} is restricted (GDPR Art. 18): it is kept, and not used"


class AccuracyContested(Refused):
    code = "accuracy-contested"
    message = "restriction {restriction} stands until the correction that was proposed is made or rejected"


class NoticeNotOwed(Refused):
    code = "notice-not-owed"
    message = "no notice to the {address} address is owed for entry {correction}"


class HoldUnknown(Refused):
    code = "hold-unknown"
    message = "no hold {hold} stands on the data of subject {subject}"


class HoldExists(Refused):
    code = "hold-exists"
    message = "hold {hold} is recorded already"


class UnderHold(Refused):
    code = "under-hold"
    message = "retention class {retention_class} is under hold {hold}: its erasure is deferred until the release"


class KeptByLaw(Refused):
    code = "kept-by-law"
    message = "retention class {retention_class} of subject {subject} must be kept by law until {until}"


class KeptByRestriction(Refused):
    code = "kept-by-restriction"
    message = "retention class {retention_class} is kept as the person asked: restriction {restriction}"


class RetentionRuns(Refused):
    code = "retention-runs"
    message = "the period of retention class {retention_class} of subject {subject} is not over"


class RelationshipState(Refused):
    code = "relationship-state"
    message = "the relationship with subject {subject} is {state}"


class MandateExists(Refused):
    code = "mandate-exists"
    message = "mandate {mandate} is recorded already"


class MandateUnknown(Refused):
    code = "mandate-unknown"
    message = "client {client} has no mandate {mandate} in force"


class UseNotNamed(Refused):
    code = "use-not-named"
    message = "order {order} may not be used for {use}: the policy of its day does not name it"


class RecipientUnknown(Refused):
    code = "recipient-unknown"
    message = "no recipient {recipient} is registered"


class RecipientExists(Refused):
    code = "recipient-exists"
    message = "recipient {recipient} is registered, and neither ended nor expired"


class RecipientExpired(Refused):
    code = "recipient-expired"
    message = "recipient {recipient} is registered for another time: its contract has not begun or has expired"


class RecipientEndedAlready(Refused):
    code = "recipient-ended"
    message = "recipient {recipient} was ended: register it anew to send to it"


class RecipientCategoryUnknown(Refused):
    code = "recipient-category-unknown"
    message = "the principles in force name no recipients of category {category}"


class ContractMissing(Refused):
    code = "contract-missing"
    message = "recipient {recipient} is a processor: its contract is needed"


class TransferBasisMissing(Refused):
    code = "transfer-basis-missing"
    message = "recipient {recipient} is in {country}, outside the EEA: what the transfer rests on is needed"


class NoProcessor(Refused):
    code = "no-processor"
    message = "recipient {recipient} is no processor: it is disclosed to by law or by permission"


class MarketingConsentUnknown(Refused):
    code = "marketing-consent-unknown"
    message = "subject {subject} gave no live consent {consent} to offers"


class CampaignUnknown(Refused):
    code = "campaign-unknown"
    message = "no campaign {campaign} is planned"


class CampaignExists(Refused):
    code = "campaign-exists"
    message = "campaign {campaign} is planned already"


class ChannelNotUsed(Refused):
    code = "channel-not-used"
    message = "the policy in force lets no {kind} offers go by {channel}"


class OfferExists(Refused):
    code = "offer-exists"
    message = "subject {subject} has an offer of campaign {campaign} already"


class OfferNotReserved(Refused):
    code = "offer-not-reserved"
    message = "no offer of campaign {campaign} is reserved for subject {subject}"


class ProcessorRole(Refused):
    code = "processor-role"
    message = "subject {subject} is a client's own person: nothing is offered to them"


class ObjectionStands(Refused):
    code = "objection-stands"
    message = "subject {subject} objected to offers"


class PersonRefused(Refused):
    code = "person-refused"
    message = "another record of the same person as subject {subject} says no to such offers"


class AddressSuppressed(Refused):
    code = "address-suppressed"
    message = "an address of subject {subject} is on the suppression list"


class AddressMissing(Refused):
    code = "address-missing"
    message = "subject {subject} has no address for {channel}"


class SourceSuspended(Refused):
    code = "source-suspended"
    message = "the address of subject {subject} is quarantined, or its guarantee was revoked"


class NoticeOwed(Refused):
    code = "notice-owed"
    message = "subject {subject} was not told yet where their data comes from (GDPR Art. 14)"


class OfferBasisMissing(Refused):
    code = "offer-basis-missing"
    message = "nothing permits a {kind} offer by {channel} to subject {subject}"


class PartnerCapReached(Refused):
    code = "partner-cap-reached"
    message = "subject {subject} has all the partner offers that the window allows"


class PartnerNotFewer(Refused):
    code = "partner-not-fewer"
    message = "partner offers to subject {subject} would not be fewer than own ones in the window"


class SuppressionStays(Refused):
    code = "suppression-stays"
    message = "the suppression list keeps subject {subject}: an objection outlives an erasure"


class SourceUnknown(Refused):
    code = "source-unknown"
    message = "no source {source} is registered"


class SourceExists(Refused):
    code = "source-exists"
    message = "source {source} is registered already"


class GuaranteeUnknown(Refused):
    code = "guarantee-unknown"
    message = "source {source} gave no guarantee {guarantee}, or it was revoked"


class GuaranteeExists(Refused):
    code = "guarantee-exists"
    message = "guarantee {guarantee} is recorded already"


class GuaranteeMissing(Refused):
    code = "guarantee-missing"
    message = "source {source} is an issuer: a guarantee of lawfulness is needed"


class OriginMissing(Refused):
    code = "origin-missing"
    message = "data of public origin needs its locator and when it was retrieved"


class CategoryUnknown(Refused):
    code = "category-unknown"
    message = "the policy in force has no category {category}"


class BatchUnknown(Refused):
    code = "batch-unknown"
    message = "no batch {batch} is recorded"


class BatchExists(Refused):
    code = "batch-exists"
    message = "batch {batch} is recorded already"


class FieldsNotCovered(Refused):
    code = "fields-not-covered"
    message = "batch {batch} does not cover these fields: {fields}"


class OwnAccess(Refused):
    code = "own-access"
    message = "{actor} may not review their own access; another officer or an auditor may"


class ReadUnknown(Refused):
    code = "read-unknown"
    message = "no such reader of subject {subject} is recorded"


class FlagUnknown(Refused):
    code = "flag-unknown"
    message = "no flag {flag} is recorded"


class FlagExists(Refused):
    code = "flag-exists"
    message = "flag {flag} is raised already"


class FlagState(Refused):
    code = "flag-state"
    message = "flag {flag} is reviewed already"


class EntryTooLarge(Refused):
    code = "entry-too-large"
    message = "the entry would have {size} bytes; at most {limit} fit"


class SigningKeyState(Refused):
    code = "signing-key-state"
    message = "the signing key cannot be changed so: {why}"


class IdempotencyMismatch(Refused):
    code = "idempotency-mismatch"
    message = "this idempotency key was used for other content; use a new key for a new command"


def refused_again(code: str, index: int) -> Refused:
    """Return the refusal with this code that was recorded at `index`, for a request that is made again."""
    kinds = [Refused]
    while kinds:
        kind = kinds.pop()
        if kind.code == code:
            error = kind.__new__(kind)
            Exception.__init__(error, f"refused when it was first asked: {code} (entry {index})")
            error.evidence, error.index = {}, index
            return error
        kinds += kind.__subclasses__()
    raise Tampered(f"entry {index}", "a refusal with a reason that this version does not know")
