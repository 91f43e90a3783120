"""Requests of people with their clocks: of one person, or of everybody."""

from __future__ import annotations

from api.http.ask import Ask
from api.http.operation import Reply, Shows, query
from api.http.parameters import OPEN_ONLY, PAGE
from ledger.state.request import RequestStage
from projections import Hold, RequestState


@query(
    "list-subject-requests", "/subjects/{subject_id}/requests", shows=Shows.PERSONAL, result=RequestState, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_requests_of(ask: Ask) -> Reply:
    """List the requests of a person: what was asked, when it is due, what became of it."""
    return Reply(items=ask.projections.requests(ask.subject_id, as_of=ask.as_of))


@query(
    "list-requests", "/requests", shows=Shows.PERSONAL, result=RequestState, paged=True, parameters=(*PAGE, OPEN_ONLY)
)
def list_requests(ask: Ask) -> Reply:
    """List the requests of everybody with their clocks."""
    found = ask.projections.requests(as_of=ask.as_of)
    if ask.get("open"):
        found = tuple(one for one in found if one.stage is RequestStage.OPEN)
    return Reply(items=found, subject_of=lambda one: one.subject_id)


@query("list-holds", "/holds", shows=Shows.PERSONAL, result=Hold, paged=True, parameters=(*PAGE, OPEN_ONLY))
def list_holds(ask: Ask) -> Reply:
    """List the legal holds on anybody's data."""
    found = ask.projections.holds(as_of=ask.as_of, open_only=bool(ask.get("open")))
    return Reply(items=found, subject_of=lambda one: one.subject_id)
