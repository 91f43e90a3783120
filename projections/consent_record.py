"""Consent records and receipts by ISO/IEC TS 27560:2023, in the JSON-LD of W3C DPV 2.3 (w3id.org/dpv/schema/dpv-27560).

A record is the company's own, a receipt is the copy that the person is given. Neither holds a personal value: the
person stands there by the id of their record.
"""

from __future__ import annotations

from typing import Any, Final

from ledger.policy import Policy
from ledger.vocabulary import RetentionClass
from projections.consents import Consent

CONTEXT: Final = {
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "pd": "https://w3id.org/dpv/pd#",
    "dpv-27560": "https://w3id.org/dpv/schema/dpv-27560#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def consent_record(consent: Consent, policy: Policy, *, receipt: bool, ledger: str) -> dict[str, Any]:
    """Return the record of a consent as it was known, or with `receipt` the person's copy, as a JSON-LD document.

    `policy` is the one in force: it says what purposes, fields and the company are called. `ledger` is its origin.
    """
    kind = "receipt" if receipt else "record"
    status = [_event("dpv:ConsentGiven", consent.given_at.isoformat(), consent.given_channel)]
    if consent.withdrawn_at is not None:
        status.append(_event("dpv:ConsentWithdrawn", consent.withdrawn_at.isoformat(), consent.withdrawn_channel))
    return {
        "@context": CONTEXT,
        "@id": f"urn:uuid:{consent.consent_id}",
        "@type": "dpv:ConsentReceipt" if receipt else "dpv:ConsentRecord",
        "dct:conformsTo": {"@id": f"dpv-27560:{kind}-eu-gdpr"},
        "dpv:hasIdentifier": consent.consent_id,
        "dct:source": f"{ledger}, entry {consent.given}",
        "dpv:hasDataSubject": {
            "@id": f"urn:uuid:{consent.subject_id}",
            "@type": "dpv:DataSubject",
            "dpv:hasIdentifier": consent.subject_id,
        },
        "dpv:hasProcess": [_process(consent, policy)],
        "dpv:hasNotice": {
            "@type": "dpv:ConsentNotice",
            "dct:language": consent.language,
            "dct:identifier": f"sha256:{consent.text_sha256}",
        },
        "dpv:hasConsentStatus": status,
        "dpv:hasRight": [{"@id": "eu-gdpr:A7-3"}],
    }


def _process(consent: Consent, policy: Policy) -> dict[str, Any]:
    purpose = policy.purposes[consent.purpose]
    retention = policy.retention[RetentionClass.CONSENT_PROOF]
    process: dict[str, Any] = {
        "@type": "dpv:Process",
        "dpv:hasPurpose": {"@id": purpose.dpv, "dct:description": purpose.description},
        "dpv:hasLegalBasis": {"@id": "eu-gdpr:A6-1-a"},
        "dpv:hasPersonalData": [_field(name, policy) for name in consent.fields],
        "dpv:hasDataController": {"@type": "dpv:DataController", "dpv:hasName": policy.controller},
        "dpv:hasStorageCondition": {
            "@type": "dpv:StorageDuration",
            "dpv:hasDuration": {"@type": "xsd:duration", "@value": f"P{retention.months}M"},
            "dct:description": f"from {retention.starts}: {retention.source}",
        },
    }
    if consent.recipient_id is not None:
        process["dpv:hasRecipient"] = {"@id": f"urn:uuid:{consent.recipient_id}", "@type": "dpv:Recipient"}
    return process


def _field(name: str, policy: Policy) -> dict[str, Any]:
    rule = next((rule for field, rule in policy.fields.items() if field == name), None)
    category = "dpv:PersonalData" if rule is None else policy.categories[rule.category].dpv
    return {"@id": category, "dct:title": name}


def _event(status: str, at: str, channel: object) -> dict[str, Any]:
    return {
        "@type": status,
        "dct:date": {"@type": "xsd:dateTime", "@value": at},
        "dpv:hasActiveEntity": {"@id": "dpv:DataSubject"},
        "dct:medium": str(channel),
    }
