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
from ledger.commands.marketing import (
    ClassifyContact,
    GiveMarketingConsent,
    ObjectToMarketing,
    PlanCampaign,
    RecordSale,
    ReserveOffer,
    SendOffer,
    SuppressOffer,
    WithdrawMarketingConsent,
)
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
from ledger.commands.source import (
    ImportBatch,
    ImportRecord,
    InformSubject,
    RecordGuarantee,
    RegisterSource,
    RevokeGuarantee,
)
from ledger.commands.subject import LinkIdentifier, RegisterSubject

__all__ = [
    "AdoptPolicy",
    "AmendOrder",
    "AuthorizeDisclosure",
    "CancelOrder",
    "ClassifyContact",
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
    "GiveMarketingConsent",
    "ImportBatch",
    "ImportRecord",
    "InformSubject",
    "LinkIdentifier",
    "NotifyRecipient",
    "ObjectToMarketing",
    "PlanCampaign",
    "RecordGuarantee",
    "RecordOrder",
    "RecordSale",
    "RefuseDisclosure",
    "RegisterRecipient",
    "RegisterSource",
    "RegisterSubject",
    "RequestDisclosure",
    "ReserveOffer",
    "ResolveDispute",
    "RevokeGuarantee",
    "SendOffer",
    "SendToProcessor",
    "SuppressOffer",
    "TransmitDisclosure",
    "VoidDisclosure",
    "WithdrawConsent",
    "WithdrawMarketingConsent",
]
