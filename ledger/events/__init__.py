"""Every event of the ledger, one file a capability. Importing this package registers them all by TOPIC.

What an event is, which of its fields are personal, and how an old version is read: `event`.
"""

from ledger.events.accuracy import (
    AddressNotified,
    CorrectionProposed,
    CorrectionRejected,
    ProcessingRestricted,
    RestrictionLifted,
    StatementAttached,
)
from ledger.events.breach import (
    AuthorityNotified,
    BreachAssessed,
    BreachClosed,
    BreachConfirmed,
    BreachSuspected,
    SubjectsNotified,
)
from ledger.events.consent import (
    ConsentGiven,
    ConsentWithdrawn,
)
from ledger.events.disclosure import (
    DisclosureAuthorized,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    Statute,
)
from ledger.events.document import (
    DocumentPresented,
    DocumentPublished,
    DocumentTextKept,
    TermsAccepted,
)
from ledger.events.employee import (
    AcknowledgementLapsed,
    ConfidentialityAcknowledged,
    EmployeeOffboarded,
    EmployeeOnboarded,
    ViolationReported,
    ViolationResolved,
)
from ledger.events.erasure import (
    ClassDecision,
    ErasureDecided,
    KeyDestroyed,
    PersonalDataErased,
)
from ledger.events.event import (
    BY_TOPIC,
    SEALED,
    SYSTEM,
    Actor,
    Count,
    Event,
    Personal,
    PersonalMap,
    Withheld,
    upcaster,
)
from ledger.events.hold import (
    LegalHoldPlaced,
    LegalHoldReleased,
    LegalHoldReviewed,
)
from ledger.events.mandate import (
    MandateGiven,
    MandateRevoked,
)
from ledger.events.order import (
    DisputeResolved,
    OrderAmended,
    OrderCancelled,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderQuarantined,
    OrderRecorded,
    OrderRejected,
    OrderReleased,
    OrderUsed,
    OrderUseDenied,
    Transaction,
)
from ledger.events.personal_data import (
    DataCorrected,
    PersonalDataCollected,
)
from ledger.events.policy import (
    PolicyAdopted,
    ProcessingActivityRegistered,
)
from ledger.events.request import (
    AnswerDelivered,
    DeadlineExtended,
    DeadlineMissed,
    IdentityVerified,
    RequestForwarded,
    RequestFulfilled,
    RequestReceived,
    RequestRefused,
)
from ledger.events.retention import (
    ErasureDeferred,
    RelationshipEnded,
    RelationshipResumed,
    RetentionExpired,
)
from ledger.events.subject import (
    IdentifierLinked,
    Stance,
    SubjectRegistered,
    SubjectsMerged,
    SubjectsUnmerged,
)
from ledger.events.use import (
    DataUsed,
    PurposeChangeAssessed,
    UseDenied,
)

__all__ = [
    "BY_TOPIC",
    "SEALED",
    "SYSTEM",
    "AcknowledgementLapsed",
    "Actor",
    "AddressNotified",
    "AnswerDelivered",
    "AuthorityNotified",
    "BreachAssessed",
    "BreachClosed",
    "BreachConfirmed",
    "BreachSuspected",
    "ClassDecision",
    "ConfidentialityAcknowledged",
    "ConsentGiven",
    "ConsentWithdrawn",
    "CorrectionProposed",
    "CorrectionRejected",
    "Count",
    "DataCorrected",
    "DataUsed",
    "DeadlineExtended",
    "DeadlineMissed",
    "DisclosureAuthorized",
    "DisclosureRefused",
    "DisclosureRequested",
    "DisclosureTransmitted",
    "DisclosureVoided",
    "DisputeResolved",
    "DocumentPresented",
    "DocumentPublished",
    "DocumentTextKept",
    "EmployeeOffboarded",
    "EmployeeOnboarded",
    "ErasureDecided",
    "ErasureDeferred",
    "Event",
    "IdentifierLinked",
    "IdentityVerified",
    "KeyDestroyed",
    "LegalHoldPlaced",
    "LegalHoldReleased",
    "LegalHoldReviewed",
    "MandateGiven",
    "MandateRevoked",
    "OrderAmended",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderDisputed",
    "OrderExecuted",
    "OrderQuarantined",
    "OrderRecorded",
    "OrderRejected",
    "OrderReleased",
    "OrderUseDenied",
    "OrderUsed",
    "Personal",
    "PersonalDataCollected",
    "PersonalDataErased",
    "PersonalMap",
    "PolicyAdopted",
    "ProcessingActivityRegistered",
    "ProcessingRestricted",
    "PurposeChangeAssessed",
    "RelationshipEnded",
    "RelationshipResumed",
    "RequestForwarded",
    "RequestFulfilled",
    "RequestReceived",
    "RequestRefused",
    "RestrictionLifted",
    "RetentionExpired",
    "Stance",
    "StatementAttached",
    "Statute",
    "SubjectRegistered",
    "SubjectsMerged",
    "SubjectsNotified",
    "SubjectsUnmerged",
    "TermsAccepted",
    "Transaction",
    "UseDenied",
    "ViolationReported",
    "ViolationResolved",
    "Withheld",
    "upcaster",
]
