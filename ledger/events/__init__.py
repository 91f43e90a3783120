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
from ledger.events.consent import ConsentGiven, ConsentWithdrawn
from ledger.events.disclosure import (
    DisclosureAuthorized,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    Statute,
)
from ledger.events.erasure import ClassDecision, ErasureDecided, KeyDestroyed, PersonalDataErased
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
from ledger.events.log import IndexCommitted, SigningKeyRetired, SigningKeyRotated
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
from ledger.events.personal_data import DataCorrected, PersonalDataCollected
from ledger.events.policy import PolicyAdopted
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
from ledger.events.subject import IdentifierLinked, SubjectRegistered

__all__ = [
    "BY_TOPIC",
    "SEALED",
    "SYSTEM",
    "Actor",
    "AddressNotified",
    "AnswerDelivered",
    "ClassDecision",
    "ConsentGiven",
    "ConsentWithdrawn",
    "CorrectionProposed",
    "CorrectionRejected",
    "Count",
    "DataCorrected",
    "DeadlineExtended",
    "DeadlineMissed",
    "DisclosureAuthorized",
    "DisclosureRefused",
    "DisclosureRequested",
    "DisclosureTransmitted",
    "DisclosureVoided",
    "DisputeResolved",
    "ErasureDecided",
    "ErasureDeferred",
    "Event",
    "IdentifierLinked",
    "IdentityVerified",
    "IndexCommitted",
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
    "ProcessingRestricted",
    "RelationshipEnded",
    "RelationshipResumed",
    "RequestForwarded",
    "RequestFulfilled",
    "RequestReceived",
    "RequestRefused",
    "RestrictionLifted",
    "RetentionExpired",
    "SigningKeyRetired",
    "SigningKeyRotated",
    "StatementAttached",
    "Statute",
    "SubjectRegistered",
    "Transaction",
    "Withheld",
    "upcaster",
]
