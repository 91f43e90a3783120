"""The queries of the API, one file a capability. Importing this package declares them all."""

from api.http.routes import (
    consents,
    disclosures,
    documents,
    evidence,
    log,
    looking,
    marketing,
    orders,
    registers,
    requests,
    subjects,
)

CAPABILITIES = (
    consents,
    disclosures,
    documents,
    evidence,
    log,
    looking,
    marketing,
    orders,
    registers,
    requests,
    subjects,
)
