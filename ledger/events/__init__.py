"""Every event of the ledger, one file a capability. Importing this package registers them all by TOPIC.

What an event is, which of its fields are personal, and how an old version is read: `event`.
"""

from ledger.events.consent import ConsentGiven, ConsentWithdrawn
from ledger.events.disclosure import (
    DisclosureAuthorized,
    DisclosureFailed,
    DisclosureRefused,
    DisclosureRequested,
    DisclosureTransmitted,
    DisclosureVoided,
    RecallOwed,
    RecipientNotified,
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
from ledger.events.order import (
    DisputeResolved,
    OrderAmended,
    OrderCancelled,
    OrderConfirmed,
    OrderDisputed,
    OrderExecuted,
    OrderRecorded,
    Transaction,
)
from ledger.events.personal_data import DataCorrected, PersonalDataCollected
from ledger.events.policy import PolicyAdopted
from ledger.events.recipient import DataSentToProcessor, RecipientEnded, RecipientRegistered, TransmissionDenied
from ledger.events.subject import IdentifierLinked, SubjectRegistered

__all__ = [
    "BY_TOPIC",
    "SEALED",
    "SYSTEM",
    "Actor",
    "ClassDecision",
    "ConsentGiven",
    "ConsentWithdrawn",
    "Count",
    "DataCorrected",
    "DataSentToProcessor",
    "DisclosureAuthorized",
    "DisclosureFailed",
    "DisclosureRefused",
    "DisclosureRequested",
    "DisclosureTransmitted",
    "DisclosureVoided",
    "DisputeResolved",
    "ErasureDecided",
    "Event",
    "IdentifierLinked",
    "KeyDestroyed",
    "OrderAmended",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderDisputed",
    "OrderExecuted",
    "OrderRecorded",
    "Personal",
    "PersonalDataCollected",
    "PersonalDataErased",
    "PersonalMap",
    "PolicyAdopted",
    "RecallOwed",
    "RecipientEnded",
    "RecipientNotified",
    "RecipientRegistered",
    "Statute",
    "SubjectRegistered",
    "Transaction",
    "TransmissionDenied",
    "Withheld",
    "upcaster",
]
