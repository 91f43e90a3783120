"""The commands, one file a capability. Importing this package registers them all by NAME."""

from ledger.commands.accuracy import (
    AttachStatement,
    LiftRestriction,
    NotifyAddress,
    ProposeCorrection,
    RejectCorrection,
    RestrictProcessing,
)
from ledger.commands.breach import (
    AssessBreach,
    CloseBreach,
    ConfirmBreach,
    NotifyAuthority,
    NotifySubjects,
    SuspectBreach,
)
from ledger.commands.consent import (
    GiveConsent,
    WithdrawConsent,
)
from ledger.commands.disclosure import (
    AuthorizeDisclosure,
    RefuseDisclosure,
    RequestDisclosure,
    TransmitDisclosure,
    VoidDisclosure,
)
from ledger.commands.document import (
    AcceptTerms,
    PresentDocument,
    PublishDocument,
)
from ledger.commands.employee import (
    AcknowledgeConfidentiality,
    LapseAcknowledgement,
    OffboardEmployee,
    OnboardEmployee,
    ReportViolation,
    ResolveViolation,
)
from ledger.commands.erasure import (
    DecideErasure,
    DestroyKeys,
)
from ledger.commands.hold import (
    PlaceHold,
    ReleaseHold,
    ReviewHold,
)
from ledger.commands.mandate import (
    GiveMandate,
    RevokeMandate,
)
from ledger.commands.merge import (
    MergeSubjects,
    UnmergeSubjects,
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
from ledger.commands.personal_data import (
    CollectData,
    CorrectData,
)
from ledger.commands.policy import (
    AdoptPolicy,
)
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
from ledger.commands.subject import (
    LinkIdentifier,
    RegisterSubject,
)
from ledger.commands.use import (
    AssessPurposeChange,
    UseData,
)

__all__ = [
    "AcceptTerms",
    "AcknowledgeConfidentiality",
    "AdoptPolicy",
    "AmendOrder",
    "AssessBreach",
    "AssessPurposeChange",
    "AttachStatement",
    "AuthorizeDisclosure",
    "CancelOrder",
    "CloseBreach",
    "CollectData",
    "ConfirmBreach",
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
    "LapseAcknowledgement",
    "LiftRestriction",
    "LinkIdentifier",
    "MergeSubjects",
    "MissDeadline",
    "NotifyAddress",
    "NotifyAuthority",
    "NotifySubjects",
    "OffboardEmployee",
    "OnboardEmployee",
    "PlaceHold",
    "PresentDocument",
    "ProposeCorrection",
    "PublishDocument",
    "ReceiveRequest",
    "RecordOrder",
    "RefuseDisclosure",
    "RefuseRequest",
    "RegisterSubject",
    "RejectCorrection",
    "RejectOrder",
    "ReleaseHold",
    "ReleaseOrder",
    "ReportViolation",
    "RequestDisclosure",
    "ResolveDispute",
    "ResolveViolation",
    "RestrictProcessing",
    "ResumeRelationship",
    "ReviewHold",
    "RevokeMandate",
    "SuspectBreach",
    "TransmitDisclosure",
    "UnmergeSubjects",
    "UseData",
    "UseOrder",
    "VerifyIdentity",
    "VoidDisclosure",
    "WithdrawConsent",
]
