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
from ledger.commands.hold import (
    PlaceHold,
    ReleaseHold,
    ReviewHold,
)
from ledger.commands.mandate import (
    GiveMandate,
    RevokeMandate,
)
from ledger.commands.order import (
    AmendOrder,
    CancelOrder,
    ConfirmOrder,
    DisputeOrder,
    ExecuteOrder,
    RecordOrder,
    RejectOrder,
    ReleaseOrder,
    ResolveDispute,
    UseOrder,
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
from ledger.commands.retention import (
    EndRelationship,
    ExpireRetention,
    ResumeRelationship,
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
    "EndRelationship",
    "ExecuteOrder",
    "ExpireRetention",
    "ExtendDeadline",
    "ForwardRequest",
    "FulfilRequest",
    "GiveConsent",
    "GiveMandate",
    "LiftRestriction",
    "LinkIdentifier",
    "MissDeadline",
    "NotifyAddress",
    "PlaceHold",
    "ProposeCorrection",
    "ReceiveRequest",
    "RecordOrder",
    "RefuseDisclosure",
    "RefuseRequest",
    "RegisterSubject",
    "RejectCorrection",
    "RejectOrder",
    "ReleaseHold",
    "ReleaseOrder",
    "RequestDisclosure",
    "ResolveDispute",
    "RestrictProcessing",
    "ResumeRelationship",
    "ReviewHold",
    "RevokeMandate",
    "TransmitDisclosure",
    "UseOrder",
    "VerifyIdentity",
    "VoidDisclosure",
    "WithdrawConsent",
]
