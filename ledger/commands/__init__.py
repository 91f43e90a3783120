"""The commands, one file a capability. Importing this package registers them all by NAME."""

from ledger.commands.consent import GiveConsent, WithdrawConsent
from ledger.commands.disclosure import (
    AuthorizeDisclosure,
    FailDisclosure,
    NotifyRecipient,
    RefuseDisclosure,
    RequestDisclosure,
    TransmitDisclosure,
    VoidDisclosure,
)
from ledger.commands.erasure import DecideErasure, DestroyKeys
from ledger.commands.order import (
    AmendOrder,
    CancelOrder,
    ConfirmOrder,
    DisputeOrder,
    ExecuteOrder,
    RecordOrder,
    ResolveDispute,
)
from ledger.commands.personal_data import CollectData, CorrectData
from ledger.commands.policy import AdoptPolicy
from ledger.commands.recipient import EndRecipient, RegisterRecipient, SendToProcessor
from ledger.commands.subject import LinkIdentifier, RegisterSubject

__all__ = [
    "AdoptPolicy",
    "AmendOrder",
    "AuthorizeDisclosure",
    "CancelOrder",
    "CollectData",
    "ConfirmOrder",
    "CorrectData",
    "DecideErasure",
    "DestroyKeys",
    "DisputeOrder",
    "EndRecipient",
    "ExecuteOrder",
    "FailDisclosure",
    "GiveConsent",
    "LinkIdentifier",
    "NotifyRecipient",
    "RecordOrder",
    "RefuseDisclosure",
    "RegisterRecipient",
    "RegisterSubject",
    "RequestDisclosure",
    "ResolveDispute",
    "SendToProcessor",
    "TransmitDisclosure",
    "VoidDisclosure",
    "WithdrawConsent",
]
