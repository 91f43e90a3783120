"""Documents: principles, terms and procedures, each to the byte."""

from __future__ import annotations

from api.http.ask import Ask
from api.http.operation import TEXT, Reply, Shows, query
from api.http.parameters import MIN_POSITION, PAGE
from ledger.vocabulary import Sha256Hex
from projections import Document


@query(
    "list-documents", "/documents", shows=Shows.NOTHING, result=Document, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_documents(ask: Ask) -> Reply:
    """List every published document: kind, version, language, digest, and since when it is in force."""
    return Reply(items=ask.projections.documents(as_of=ask.as_of))


@query(
    "read-document-text", "/documents/{text_sha256}/text", shows=Shows.NOTHING, result=str,
    parameters=(MIN_POSITION,), media_types=(TEXT,),
)  # fmt: skip
def read_text(ask: Ask) -> Reply:
    """Read a published text, byte for byte."""
    text = ask.projections.document_text(Sha256Hex(ask.path["text_sha256"]))
    return Reply(body=text.encode(), media_type=TEXT)
