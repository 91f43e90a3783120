"""The commands, one file a capability. Importing this package registers them all by NAME."""

from ledger.commands.accuracy import (
    AttachStatement,
    LiftRestriction,
    NotifyAddress,
    ProposeCorrection,
    RejectCorrection,
    RestrictProcessing,
)
from ledger.commands.consent import GiveConsent, WithdrawConsent
from ledger.commands.disclosure import (
    AuthorizeDisclosure,
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
from ledger.commands.request import (
    DeliverAnswer,
    ExtendDeadline,
    ForwardRequest,
    FulfilRequest,
    MissDeadline,
    ReceiveRequest,
    RefuseRequest,
    VerifyIdentity,
)
from ledger.commands.subject import LinkIdentifier, RegisterSubject

__all__ = [
    "AdoptPolicy",
    "AmendOrder",
    "AttachStatement",
    "AuthorizeDisclosure",
    "CancelOrder",
    "CollectData",
    "ConfirmOrder",
    "CorrectData",
    "DecideErasure",
    "DeliverAnswer",
    "DestroyKeys",
    "DisputeOrder",
    "ExecuteOrder",
    "ExtendDeadline",
    "ForwardRequest",
    "FulfilRequest",
    "GiveConsent",
    "LiftRestriction",
    "LinkIdentifier",
    "MissDeadline",
    "NotifyAddress",
    "ProposeCorrection",
    "ReceiveRequest",
    "RecordOrder",
    "RefuseDisclosure",
    "RefuseRequest",
    "RegisterSubject",
    "RejectCorrection",
    "RequestDisclosure",
    "ResolveDispute",
    "RestrictProcessing",
    "TransmitDisclosure",
    "VerifyIdentity",
    "VoidDisclosure",
    "WithdrawConsent",
]
