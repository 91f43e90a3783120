"""Consent records and receipts by ISO/IEC TS 27560:2023, in the JSON-LD of W3C DPV 2.3.

The profile is that of the guide "Consent records and receipts" (w3id.org/dpv/guides/consent-27560). A record is the
company's own, a receipt is the copy that the person is given. Neither holds a personal value: the person stands there
by the id of their record, and a sole trader as recipient by theirs. Where data is stored is not said: the ledger does
not know the places of a company's processors, only their countries.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.entry import format_moment
from ledger.policy import Policy
from ledger.vocabulary import RetentionClass
from projections.consents import Consent
from projections.recipients import Recipient

_IRI: Final = {"@type": "@id"}
CONTEXT: Final = {
    "@version": 1.1,
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "pd": "https://w3id.org/dpv/pd#",
    "dpv-27560": "https://w3id.org/dpv/schema/dpv-27560#",
    "dct": "http://purl.org/dc/terms/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    # The profile names entities by their keys, and most other things by strings that are identifiers.
    "dpv:hasEntity": {"@container": "@id"},
    "dct:created": {"@type": "xsd:dateTime"},
    "dct:modified": {"@type": "xsd:dateTime"},
    "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime"},
    **dict.fromkeys(
        (
            "dct:conformsTo", "dct:creator", "dpv:hasDataController", "dpv:hasDataSource", "dpv:hasLegalBasis",
            "dpv:hasProcessing", "dpv:hasRecipient", "dpv:hasRight", "dpv:isIndicatedBy", "skos:broader",
        ),
        _IRI,
    ),
}  # fmt: skip

# GDPR Art. 7(3), 15, 16, 17, 18, 20, 77.
_RIGHTS: Final = ("A7-3", "A15", "A16", "A17", "A18", "A20", "A77")


def consent_record(
    consent: Consent, policy: Policy, *, receipt: bool, ledger: str, recipient: Recipient | None = None
) -> dict[str, Any]:
    """Return the record of a consent as it was known, or with `receipt` the person's copy, as a JSON-LD document.

    `policy` is the one in force: it says what purposes, fields and the company are called. `ledger` is its origin.
    `recipient` is how the one that the consent names is registered, None where it is not.
    """
    company, subject = f"urn:prooftrail:{ledger}", f"urn:uuid:{consent.subject_id}"
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{consent.consent_id}",
        "@type": "dpv:ConsentReceipt" if receipt else "dpv:ConsentRecord",
        "dct:conformsTo": f"dpv-27560:{'receipt' if receipt else 'record'}-eu-gdpr",
        "dpv:hasIdentifier": consent.consent_id,
        "dct:created": format_moment(consent.given_at),
        "dct:creator": company,
        "dct:language": consent.language,
        "dct:source": f"{ledger}, entry {consent.given}",
        "dpv:hasDataSubject": {
            "@id": subject,
            "@type": ["dpv:DataSubject"],
            "dpv:hasIdentifier": consent.subject_id,
        },
        "dpv:hasProcess": [_process(consent, policy, company)],
        "dpv:hasNotice": [
            {
                "@type": "dpv:ConsentNotice",
                "dpv:hasIdentifier": f"sha256:{consent.text_sha256}",
                "dct:language": consent.language,
            }
        ],
        "dpv:hasRight": [f"eu-gdpr:{article}" for article in _RIGHTS],
        "dpv:hasEntity": {company: _company(policy), **_recipient(consent, recipient)},
    }
    if consent.withdrawn_at is not None:
        document["dct:modified"] = format_moment(consent.withdrawn_at)
    return document


def _process(consent: Consent, policy: Policy, company: str) -> dict[str, Any]:
    purpose = policy.purposes[consent.purpose]
    retention = policy.retention[RetentionClass.CONSENT_PROOF]
    status = [_event(consent, "dpv:ConsentGiven", format_moment(consent.given_at), str(consent.given_channel))]
    if consent.withdrawn_at is not None:
        at, channel = format_moment(consent.withdrawn_at), str(consent.withdrawn_channel)
        status.append(_event(consent, "dpv:ConsentWithdrawn", at, channel))
    to_others = consent.recipient_id is not None
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": [
            {
                "@type": ["dpv:Purpose"],
                "skos:broader": purpose.dpv,
                "skos:prefLabel": consent.purpose,
                "skos:definition": purpose.description,
            }
        ],
        "dpv:hasPersonalData": [_field(name, policy) for name in consent.fields],
        "dpv:hasProcessing": ["dpv:Store", "dpv:Share" if to_others else "dpv:Use"],
        "dpv:hasDataController": [company],
        # What a consent is about is on record already; where each value came from, the Art. 15 answer says.
        "dpv:hasDataSource": ["dpv:DataControllerDataSource"],
        "dpv:hasStorageCondition": [
            {
                "@type": ["dpv:StorageDuration"],
                "dpv:hasDuration": {"@type": "dpv:TemporalDuration", "rdf:value": f"P{retention.months}M"},
                "skos:prefLabel": f"from {retention.starts}: {retention.source}",
            }
        ],
        # Whoever is not named here gets nothing: the company itself where the consent names nobody else.
        "dpv:hasRecipient": [f"urn:uuid:{consent.recipient_id}" if to_others else company],
        "dpv:hasLegalBasis": ["eu-gdpr:A6-1-a"],
        "dpv:hasConsentStatus": status,
    }


def _field(name: str, policy: Policy) -> dict[str, Any]:
    rule = next((rule for field, rule in policy.fields.items() if field == name), None)
    category = None if rule is None else policy.categories[rule.category]
    special = category is not None and category.special
    return {
        "@type": ["dpv:SpecialCategoryPersonalData" if special else "dpv:PersonalData"],
        "skos:broader": "dpv:PersonalData" if category is None else category.dpv,
        "skos:prefLabel": name,
    }


def _event(consent: Consent, status: str, at: str, channel: str) -> dict[str, Any]:
    return {
        "@type": [status],
        "dpv:isIndicatedAtTime": at,
        "dpv:isExercisedAt": channel,
        "dpv:isIndicatedBy": f"urn:uuid:{consent.subject_id}",
    }


def _company(policy: Policy) -> dict[str, Any]:
    entity: dict[str, Any] = {"@type": ["dpv:DataController"], "dpv:hasName": policy.controller}
    if policy.record.contact:
        entity["dpv:hasContact"] = policy.record.contact
    return entity


def _recipient(consent: Consent, recipient: Recipient | None) -> dict[str, Any]:
    if consent.recipient_id is None:
        return {}
    entity: dict[str, Any] = {"@type": ["dpv:Recipient"], "dpv:hasIdentifier": consent.recipient_id}
    if recipient is not None:
        entity["skos:prefLabel"] = recipient.category
        if recipient.name is not None and recipient.subject_id is None:
            entity["dpv:hasName"] = recipient.name
    return {f"urn:uuid:{consent.recipient_id}": entity}
