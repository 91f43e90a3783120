"""Disclosures as AuditEvent resources in the style of HL7 FHIR R5 (hl7.org/fhir/R5/auditevent.html).

FHIR is made for health care; its AuditEvent is what most tools read. Whose data it is stands as an opaque identifier,
never as a Patient with a name. What does not live here: which disclosures may be shown (disclosures).
"""

from __future__ import annotations

from typing import Any, Final

from ledger.entry import format_moment
from ledger.state.disclosure import Stage
from projections.disclosures import Disclosure, DisclosureStep

_TYPES: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_OUTCOME: Final = "http://hl7.org/fhir/issue-severity"
_DPV: Final = "https://w3id.org/dpv#"


def audit_events(disclosure: Disclosure, *, ledger: str) -> list[dict[str, Any]]:
    """Return one AuditEvent for each step of a disclosure, in their order. `ledger` is the origin of the log."""
    return [_audit_event(disclosure, step, ledger) for step in disclosure.steps]


def _audit_event(disclosure: Disclosure, step: DisclosureStep, ledger: str) -> dict[str, Any]:
    refused = step.stage in (Stage.REFUSED, Stage.VOIDED)
    outcome: dict[str, Any] = {"code": _coding(_OUTCOME, "error" if refused else "success")}
    if step.reason is not None:
        outcome["detail"] = [{"text": step.reason}]
    return {
        "resourceType": "AuditEvent",
        "id": f"{disclosure.disclosure_id}-{step.index}",
        "category": [{"coding": [_coding(_DICOM, "110106", "Export")]}],
        "code": {"coding": [_coding(_TYPES, "rest")], "text": f"disclosure {step.stage}"},
        "action": "R",
        "severity": "notice" if refused else "informational",
        "recorded": format_moment(step.recorded_at),
        "outcome": outcome,
        "authorization": [{"coding": [_coding(_DPV, disclosure.basis.dpv.removeprefix("dpv:"))]}],
        "agent": [
            {"who": _identifier("actor", step.by.id), "role": [{"text": step.by.role}], "requestor": True},
            {"who": _identifier("recipient", disclosure.recipient_id), "requestor": False},
        ],
        "source": {"observer": {"display": ledger}},
        "entity": [
            {
                "what": _identifier("subject", disclosure.subject_id),
                "detail": [
                    {"type": {"text": "fields"}, "valueString": ", ".join(step.fields or disclosure.fields)},
                    {"type": {"text": "entry"}, "valueInteger": step.index},
                ],
            }
        ],
    }


def _coding(system: str, code: str, display: str | None = None) -> dict[str, str]:
    coding = {"system": system, "code": code}
    return coding if display is None else coding | {"display": display}


def _identifier(kind: str, value: str) -> dict[str, Any]:
    return {"type": kind, "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{value}"}}
