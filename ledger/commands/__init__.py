"""The commands, one file a capability. Importing this package registers them all by NAME."""

from ledger.commands.breach import (
    AssessBreach,
    CloseBreach,
    ConfirmBreach,
    NotifyAuthority,
    NotifySubjects,
    SuspectBreach,
)
from ledger.commands.consent import GiveConsent, WithdrawConsent
from ledger.commands.disclosure import (
    AuthorizeDisclosure,
    RefuseDisclosure,
    RequestDisclosure,
    TransmitDisclosure,
    VoidDisclosure,
)
from ledger.commands.document import AcceptTerms, PresentDocument, PublishDocument
from ledger.commands.employee import (
    AcknowledgeConfidentiality,
    LapseAcknowledgement,
    OffboardEmployee,
    OnboardEmployee,
    ReportViolation,
    ResolveViolation,
)
from ledger.commands.erasure import DecideErasure, DestroyKeys
from ledger.commands.merge import MergeSubjects, UnmergeSubjects
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
from ledger.commands.subject import LinkIdentifier, RegisterSubject
from ledger.commands.use import AssessPurposeChange, UseData

__all__ = [
    "AcceptTerms",
    "AcknowledgeConfidentiality",
    "AdoptPolicy",
    "AmendOrder",
    "AssessBreach",
    "AssessPurposeChange",
    "AuthorizeDisclosure",
    "CancelOrder",
    "CloseBreach",
    "CollectData",
    "ConfirmBreach",
    "ConfirmOrder",
    "CorrectData",
    "DecideErasure",
    "DestroyKeys",
    "DisputeOrder",
    "ExecuteOrder",
    "GiveConsent",
    "LapseAcknowledgement",
    "LinkIdentifier",
    "MergeSubjects",
    "NotifyAuthority",
    "NotifySubjects",
    "OffboardEmployee",
    "OnboardEmployee",
    "PresentDocument",
    "PublishDocument",
    "RecordOrder",
    "RefuseDisclosure",
    "RegisterSubject",
    "ReportViolation",
    "RequestDisclosure",
    "ResolveDispute",
    "ResolveViolation",
    "SuspectBreach",
    "TransmitDisclosure",
    "UnmergeSubjects",
    "UseData",
    "VoidDisclosure",
    "WithdrawConsent",
]
