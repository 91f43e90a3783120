"""The closed words and id types of the ledger: ids, tags, purposes, legal bases, channels, roles.

Ids are random UUIDs (version 4, lower case): opaque, so that they may stand in an immutable entry. Words are
public and never derived from a person. Sources: GDPR; W3C DPV 2.3 (https://w3id.org/dpv) for purposes and legal
bases, whose terms stand beside each word.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import Final, NewType

from ledger.errors import Invalid

SubjectId = NewType("SubjectId", str)
ClientId = NewType("ClientId", str)
ActorId = NewType("ActorId", str)
RecipientId = NewType("RecipientId", str)
ConsentId = NewType("ConsentId", str)
DisclosureId = NewType("DisclosureId", str)
OrderId = NewType("OrderId", str)
CaseId = NewType("CaseId", str)
CampaignId = NewType("CampaignId", str)
SourceId = NewType("SourceId", str)
GuaranteeId = NewType("GuaranteeId", str)
BatchId = NewType("BatchId", str)
KeyId = NewType("KeyId", str)
RequestId = NewType("RequestId", str)
ProposalId = NewType("ProposalId", str)
RestrictionId = NewType("RestrictionId", str)
HoldId = NewType("HoldId", str)
MandateId = NewType("MandateId", str)
BreachId = NewType("BreachId", str)
ViolationId = NewType("ViolationId", str)
FlagId = NewType("FlagId", str)
EventId = NewType("EventId", str)
Tag = NewType("Tag", str)
Word = NewType("Word", str)
Reference = NewType("Reference", str)
Sha256Hex = NewType("Sha256Hex", str)
MediaType = NewType("MediaType", str)
Language = NewType("Language", str)
Country = NewType("Country", str)

_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class Role(StrEnum):
    """Who acts. The permission matrix over these roles lives with the doors."""

    SUBJECT = "subject"
    CLIENT_USER = "client-user"
    SUPPORT = "support"
    OFFICER = "officer"  # the data protection officer, GDPR Art. 37
    LAWYER = "lawyer"
    AUDITOR = "auditor"
    SERVICE = "service"
    OPERATOR = "operator"


# Whose own data and orders it is, and who is not of the house: what they say of themselves proves nothing.
OUTSIDE: Final = frozenset({Role.SUBJECT, Role.CLIENT_USER})


class SubjectRole(StrEnum):
    """In which role the company holds the subject's data (GDPR Art. 4(7), 4(8))."""

    CONTROLLER = "controller"
    PROCESSOR = "processor"


class Purpose(StrEnum):
    CONTRACT = "contract"  # dpv:FulfilmentOfContractualObligation
    SERVICE = "service-provision"  # dpv:ServiceProvision
    E_INVOICE = "e-invoice-delivery"  # dpv:DeliveryOfGoods, narrowed to e-invoices
    OWN_OFFERS = "own-offers"  # dpv:DirectMarketing
    PARTNER_OFFERS = "partner-offers"  # dpv:Advertising
    ACCOUNTING = "accounting"  # dpv:RecordManagement
    LEGAL = "legal-compliance"  # dpv:LegalCompliance


class LegalBasis(StrEnum):
    CONSENT = "consent"  # GDPR Art. 6(1)(a), dpv:Consent
    CONTRACT = "contract"  # GDPR Art. 6(1)(b), dpv:Contract
    LEGAL_OBLIGATION = "legal-obligation"  # GDPR Art. 6(1)(c), dpv:LegalObligation
    LEGITIMATE_INTEREST = "legitimate-interest"  # GDPR Art. 6(1)(f), dpv:LegitimateInterest

    @property
    def dpv(self) -> str:
        """The term of W3C DPV 2.3."""
        return "dpv:" + "".join(part.capitalize() for part in self.split("-"))


class Channel(StrEnum):
    SOFTWARE = "software"
    EMAIL = "email"
    PHONE = "phone"
    POST = "post"
    LINK = "link"
    API = "api"


class OrderChannel(StrEnum):
    """The ways of clause 11: "client orders given via SmartAccounts software or email"."""

    SOFTWARE = "software"
    EMAIL = "email"


class IdentifierKind(StrEnum):
    EMAIL = "email"
    PHONE = "phone"
    PERSONAL_CODE = "personal-code"  # isikukood


class SourceKind(StrEnum):
    SUBJECT = "subject"
    PUBLIC_REGISTER = "public-register"
    ISSUER = "issuer"


class RetentionClass(StrEnum):
    """What decides how long a sealed value is kept; each class of a subject has a data key of its own."""

    IDENTITY = "identity"
    CONTRACT = "contract"
    CONSENT_PROOF = "consent-proof"
    ORDER = "order"
    ACCOUNTING = "accounting"  # 7 years: Raamatupidamise seadus § 12
    MARKETING = "marketing"
    SUPPRESSION = "suppression"  # keyed digests of addresses that are to get no offers: GDPR Art. 21(3)


class RecipientCategory(StrEnum):
    """The categories of recipients that clause 12 names, authorities, and whoever the person permits."""

    HOSTING = "hosting"
    EMAIL = "e-mail"
    E_INVOICE = "e-invoice"
    POSTAL = "postal"
    SOFTWARE_DEVELOPMENT = "software-development"
    AUTHORITY = "authority"
    OTHER = "other"


class DocumentKind(StrEnum):
    """What is published: clause 3, and the wordings on which people consent."""

    PRINCIPLES = "principles"
    TERMS = "terms"
    PROCEDURE = "procedure"  # what employees acknowledge, clause 5
    CONSENT = "consent"


class Compatibility(StrEnum):
    """The outcome of an assessment under GDPR Art. 6(4)."""

    COMPATIBLE = "compatible"
    INCOMPATIBLE = "incompatible"


class BreachNature(StrEnum):
    """What a breach is of: EDPB Guidelines 9/2022, 17."""

    CONFIDENTIALITY = "confidentiality"
    INTEGRITY = "integrity"
    AVAILABILITY = "availability"


class BreachRisk(StrEnum):
    """How a breach may affect people: it decides who is told. GDPR Art. 33(1), 34(1)."""

    UNLIKELY = "unlikely"
    RISK = "risk"
    HIGH = "high"


class TransferBasis(StrEnum):
    """On what a transfer to a third country rests: GDPR Art. 45, 46, 47, 49."""

    ADEQUACY = "adequacy"
    STANDARD_CLAUSES = "standard-clauses"
    BINDING_RULES = "binding-rules"
    DEROGATION = "derogation"


class OfferKind(StrEnum):
    """Whose offers: they are purposes of their own, own-offers and partner-offers (clause 7)."""

    OWN = "own"
    PARTNER = "partner"


class PersonType(StrEnum):
    """In which capacity a person is written to: for themselves, or at the contact of a legal person."""

    NATURAL = "natural"
    LEGAL = "legal"


class OfferBasis(StrEnum):
    """On what an offer may rest: Directive 2002/58/EC Art. 13; Elektroonilise side seadus § 103¹."""

    CONSENT = "consent"  # prior opt-in
    SALE = "sale"  # similar offers to a customer, who could opt out when the address was collected
    OPT_OUT = "opt-out"  # until the person objects


class NoticeCause(StrEnum):
    """Why a recipient is owed a notice: GDPR Art. 19, and the recall of what was under way."""

    CORRECTION = "correction"
    ERASURE = "erasure"
    RECALL = "recall"


class ErasureOutcome(StrEnum):
    ERASED = "erased"
    KEPT = "kept"


class RequestKind(StrEnum):
    """What a person may ask (GDPR Art. 15–18, 20, 21; eu-gdpr:A15 to eu-gdpr:A21 in DPV)."""

    ACCESS = "access"  # eu-gdpr:A15
    RECTIFICATION = "rectification"  # eu-gdpr:A16
    ERASURE = "erasure"  # eu-gdpr:A17
    RESTRICTION = "restriction"  # eu-gdpr:A18
    PORTABILITY = "portability"  # eu-gdpr:A20
    OBJECTION = "objection"  # eu-gdpr:A21


class IdentityCheck(StrEnum):
    """How somebody who asks was verified to be who they say (GDPR Art. 12(6))."""

    LOGIN = "login"
    ID_CARD = "id-card"
    MOBILE_ID = "mobile-id"
    SMART_ID = "smart-id"
    DIGITAL_SIGNATURE = "digital-signature"
    CALL_BACK = "call-back"
    CONTROL_QUESTIONS = "control-questions"
    IN_PERSON = "in-person"
    CLIENT_CONFIRMED = "client-confirmed"


class ExtensionGround(StrEnum):
    """Why an answer takes longer (GDPR Art. 12(3))."""

    COMPLEXITY = "complexity"
    MANY_REQUESTS = "many-requests"


class RequestGround(StrEnum):
    """Why a request is refused."""

    UNFOUNDED = "manifestly-unfounded"  # GDPR Art. 12(5)
    EXCESSIVE = "excessive"  # GDPR Art. 12(5)
    IDENTITY = "identity-not-proven"  # GDPR Art. 11(2), 12(6)
    NOTHING_HELD = "nothing-held"
    OTHERS_RIGHTS = "rights-of-others"  # GDPR Art. 15(4), 20(4)
    ACCURATE = "data-accurate"  # GDPR Art. 16
    LEGAL_OBLIGATION = "legal-obligation"  # GDPR Art. 17(3)(b)
    LEGAL_CLAIMS = "legal-claims"  # GDPR Art. 17(3)(e), 21(1)
    NO_GROUND = "no-ground"  # none of Art. 17(1), 18(1) or 20(1) holds
    OVERRIDING = "overriding-grounds"  # GDPR Art. 21(1)


class RestrictionGround(StrEnum):
    """Why processing is restricted (GDPR Art. 18(1))."""

    ACCURACY_CONTESTED = "accuracy-contested"  # (a)
    UNLAWFUL = "unlawful-processing"  # (b): the person opposes erasure
    CLAIMS = "needed-for-claims"  # (c): the person needs the data
    OBJECTION_PENDING = "objection-pending"  # (d)


class Address(StrEnum):
    """Which contact address is told of its change."""

    OLD = "old"
    NEW = "new"


class Quarantine(StrEnum):
    """Why an order waits until somebody decides (clause 11)."""

    UNVERIFIED = "sender-unverified"
    NO_MANDATE = "no-mandate"


class ReadingFlag(StrEnum):
    """In which way reading is unusual (clause 4)."""

    RATE = "rate"  # many reads in a window
    BREADTH = "breadth"  # many different people in a window
    COLLEAGUE = "own-colleague"
    SELF = "own-record"
    OUT_OF_HOURS = "out-of-hours"


class FlagOutcome(StrEnum):
    """What unusual reading turned out to be."""

    JUSTIFIED = "justified"
    FALSE_ALARM = "false-alarm"
    VIOLATION = "violation"


class RevealGround(StrEnum):
    """Why it is revealed who read a person's data."""

    RIGHTS = "subjects-rights"  # indispensable for the person to exercise them: CJEU C-579/21, 83
    INVESTIGATION = "investigation"  # of a violation by an employee
    BREACH = "breach"  # GDPR Art. 33, 34
    AUTHORITY = "authority-request"  # GDPR Art. 58(1)


def new_id() -> str:
    """Return a fresh random id: UUID version 4, 122 random bits (RFC 9562 §5.4)."""
    while True:
        try:
            return _pool.pop()
        except IndexError:
            # For many ids at once: each fetch gives up the interpreter lock.
            drawn = os.urandom(16 * _POOL_IDS).hex()
            _pool.extend(_uuid4(drawn[i : i + 32]) for i in range(0, len(drawn), 32))


_POOL_IDS: Final = 256
_pool: list[str] = []
# The two random bits of the digit that holds the variant.
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _uuid4(digits: str) -> str:
    """Return the id of 32 random hexadecimal digits, of which 6 bits give way to version and variant."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:]}"


# A forked child must not draw the ids that its parent will draw.
os.register_at_fork(after_in_child=_pool.clear)


def id_of(digest: bytes) -> str:
    """Return the id that a keyed digest (16 bytes or more) stands for: without the key it is like any other."""
    return _uuid4(digest[:16].hex())


def check_id(text: str, field: str) -> str:
    """Return `text` if it is an id (UUID 4, lower case); else raise Invalid naming `field`."""
    if not _UUID4.fullmatch(text):
        raise Invalid(field, "is not an id: a random UUID (version 4) in lower case is needed")
    return text


def check_word(text: str, field: str) -> str:
    """Return `text` if it is a public word such as `e-mail`: a–z, 0–9 and -, at most 64 characters."""
    if not _WORD.fullmatch(text):
        raise Invalid(field, "is not a word of a-z, 0-9 and '-' (at most 64 characters, a letter first)")
    return text


def check_reference(text: str, field: str) -> str:
    """Return `text` if it is a reference number: letters, digits and ._/:-, at most 128 characters."""
    if not _REFERENCE.fullmatch(text):
        raise Invalid(field, "is not a reference: letters, digits and ._/:- only, at most 128 characters")
    return text


def check_sha256(text: str, field: str) -> str:
    """Return `text` if it is a SHA-256 digest in 64 lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(text):
        raise Invalid(field, "is not a SHA-256 digest in 64 lower-case hexadecimal digits")
    return text


def check_media_type(text: str, field: str) -> str:
    """Return `text` if it is a bare media type such as application/xml (RFC 6838 §4.2, lower case)."""
    if not _MEDIA_TYPE.fullmatch(text):
        raise Invalid(field, "is not a media type such as application/xml, without parameters")
    return text


def check_language(text: str, field: str) -> str:
    """Return `text` if it looks like a language tag such as `et` or `en-GB` (BCP 47)."""
    if not _LANGUAGE.fullmatch(text):
        raise Invalid(field, "is not a language tag such as et or en-GB")
    return text


def check_country(text: str, field: str) -> str:
    """Return `text` if it has the form of a country code such as `EE` (ISO 3166-1 alpha-2)."""
    if not _COUNTRY.fullmatch(text):
        raise Invalid(field, "is not a country code such as EE (ISO 3166-1, two capital letters)")
    return text


# What an order is recorded under when nobody says which terms were in force: no version, in words.
TERMS_NOT_STATED: Final = Reference("not-stated")

# What stands before the colon of the ledger's own tags.
OWN_TAGS: Final = frozenset(
    {
        "subject",
        "client",
        "consent",
        "disclosure",
        "recipient",
        "order",
        "case",
        "key",
        "log",
        "policy",
        "request",
        "restriction",
        "hold",
        "mandate",
        "document",
        "employee",
        "violation",
        "breach",
        "purpose",
        "campaign",
        "source",
        "guarantee",
        "batch",
        "suppression",
        "reader",
        "flag",
    }
)

# Every policy carries it: what is in force is one look-up, and a decision under an older one conflicts.
POLICY_TAG: Final = Tag("policy:ledger")


def subject_tag(subject_id: SubjectId) -> Tag:
    return Tag(f"subject:{subject_id}")


def client_tag(client_id: ClientId) -> Tag:
    return Tag(f"client:{client_id}")


def consent_tag(consent_id: ConsentId) -> Tag:
    return Tag(f"consent:{consent_id}")


def disclosure_tag(disclosure_id: DisclosureId) -> Tag:
    return Tag(f"disclosure:{disclosure_id}")


def recipient_tag(recipient_id: RecipientId) -> Tag:
    return Tag(f"recipient:{recipient_id}")


def order_tag(order_id: OrderId) -> Tag:
    return Tag(f"order:{order_id}")


def document_tag(kind: DocumentKind) -> Tag:
    return Tag(f"document:{kind}")


def text_tag(sha256: Sha256Hex) -> Tag:
    """The tag of the parts of one published text."""
    return Tag(f"document:{sha256}")


def employee_tag(employee_id: ActorId) -> Tag:
    return Tag(f"employee:{employee_id}")


def violation_tag(violation_id: ViolationId) -> Tag:
    return Tag(f"violation:{violation_id}")


def reader_tag(reader_id: ActorId) -> Tag:
    """The tag of whatever somebody read, or was refused, in the access log."""
    return Tag(f"reader:{reader_id}")


def flag_tag(flag_id: FlagId) -> Tag:
    return Tag(f"flag:{flag_id}")


def breach_tag(breach_id: BreachId) -> Tag:
    return Tag(f"breach:{breach_id}")


def purpose_tag(purpose: Purpose) -> Tag:
    return Tag(f"purpose:{purpose}")


def case_tag(case_id: CaseId) -> Tag:
    return Tag(f"case:{case_id}")


def key_tag(key_id: KeyId) -> Tag:
    """The tag of every event that is sealed under a data key: what a destruction of that key covers."""
    return Tag(f"key:{key_id}")


SIGNING_KEYS_TAG: Final = Tag("log:signing-keys")
"""The tag of every rotation of the signing key: with the tag index, these are all of them."""


def request_tag(request_id: RequestId) -> Tag:
    return Tag(f"request:{request_id}")


def restriction_tag(restriction_id: RestrictionId) -> Tag:
    return Tag(f"restriction:{restriction_id}")


def hold_tag(hold_id: HoldId) -> Tag:
    return Tag(f"hold:{hold_id}")


def mandate_tag(mandate_id: MandateId) -> Tag:
    return Tag(f"mandate:{mandate_id}")


def campaign_tag(campaign_id: CampaignId) -> Tag:
    return Tag(f"campaign:{campaign_id}")


def source_tag(source_id: SourceId) -> Tag:
    return Tag(f"source:{source_id}")


def batch_tag(batch_id: BatchId) -> Tag:
    return Tag(f"batch:{batch_id}")


# Every objection carries it: an offer to anybody at all is decided in one order with all of them.
SUPPRESSION_TAG: Final = Tag("suppression:ledger")

# Every revocation of a guarantee carries it: what came through it is suspended wherever it went.
GUARANTEES_TAG: Final = Tag("guarantee:ledger")
