"""Consents: what a person permits, and the records of it in the forms that others read."""

from __future__ import annotations

from api.http.ask import Ask
from api.http.operation import Reply, Shows, query
from api.http.parameters import AS_OF, MIN_POSITION, PAGE, Parameter, truth
from ledger.errors import ConsentUnknown, PolicyMissing
from projections import Consent
from projections.consent_record import consent_record


@query(
    "list-consents", "/subjects/{subject_id}/consents", shows=Shows.PERSONAL, result=Consent, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_consents(ask: Ask) -> Reply:
    """List every consent that a person gave, withdrawn or not."""
    return Reply(items=ask.projections.consents(ask.subject_id, as_of=ask.as_of))


@query(
    "read-consent-record", "/subjects/{subject_id}/consents/{consent_id}/record", shows=Shows.PERSONAL, result=dict,
    parameters=(AS_OF, MIN_POSITION, Parameter("receipt", "The copy for the person.", truth, {"type": "boolean"})),
)  # fmt: skip
def read_record(ask: Ask) -> Reply:
    """Read the record of a consent by ISO/IEC TS 27560, as JSON-LD in the terms of W3C DPV; or its receipt."""
    wanted = ask.path["consent_id"]
    known = {one.consent_id: one for one in ask.projections.consents(ask.subject_id, as_of=ask.as_of)}
    if wanted not in known:
        raise ConsentUnknown(consent=wanted, subject=ask.subject_id)
    policy = ask.projections.policy()
    if policy is None:
        raise PolicyMissing
    receipt = bool(ask.get("receipt"))
    return Reply(body=consent_record(known[wanted], policy, receipt=receipt, ledger=ask.ledger.origin))
