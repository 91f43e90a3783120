"""Who looked: at a person, for that person; what an actor read, for the officer. Reading this is recorded as well."""

from __future__ import annotations

import msgspec

from api.http.ask import Ask
from api.http.commanding import ReceiptDocument, receipt_document
from api.http.operation import Body, Reply, Shows, query
from api.http.parameters import OPEN_ONLY, Parameter, number, page_size
from ledger.commands import ReviewFlag
from ledger.vocabulary import ActorId, FlagId, FlagOutcome, Reference, RevealGround
from projections.access_log import Accesses, Flags, Looks

_LIMIT = Parameter("limit", "How many a page has.", page_size, {"type": "integer", "minimum": 1, "maximum": 1_000})
_BEFORE = Parameter(
    "before", "The `next` of the page before: the newest come first.", number, {"type": "integer", "minimum": 0}
)


@query("who-looked", "/subjects/{subject_id}/access", shows=Shows.PERSONAL, result=Looks, parameters=(_LIMIT, _BEFORE))
def who_looked(ask: Ask) -> Reply:
    """List who looked at a person's data: role and pseudonym, when, why, through which door, which fields."""
    found = ask.service.access.who_looked(
        ask.subject_id, ask.caller.actor, cursor=ask.get("before"), limit=ask.get("limit") or 100
    )
    return Reply(body=found)


@query(
    "access-of-actor", "/actors/{employee_id}/access", shows=Shows.PERSONAL, result=Accesses,
    parameters=(_LIMIT, _BEFORE),
)  # fmt: skip
def access_of_actor(ask: Ask) -> Reply:
    """List what an actor read, and what they were refused. Nobody reviews their own."""
    found = ask.service.access.of_actor(
        ActorId(ask.path["employee_id"]), ask.caller.actor, cursor=ask.get("before"), limit=ask.get("limit") or 100
    )
    subjects = {one for access in found.accesses for one in access.subjects}
    return Reply(body=found, subjects=tuple(sorted(subjects)))


class Revealed(msgspec.Struct, frozen=True):
    """Who it was."""

    actor_id: ActorId


class Revealing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose pseudonym is to be revealed, on which ground; with `to_subject` the person sees it too."""

    pseudonym: str
    ground: RevealGround
    case_reference: Reference
    to_subject: bool = False


@query(
    "reveal-actor", "/subjects/{subject_id}/access/reveal", method="POST", shows=Shows.PERSONAL, result=Revealed,
    body=Body(struct=Revealing),
)  # fmt: skip
def reveal_actor(ask: Ask) -> Reply:
    """Reveal who looked at a person under a pseudonym: a recorded act of the officer, on a ground and a case."""
    wanted: Revealing = ask.body
    revealed = ask.service.access.reveal(
        ask.subject_id, wanted.pseudonym, wanted.ground, wanted.case_reference, ask.caller.actor,
        to_subject=wanted.to_subject,
    )  # fmt: skip
    return Reply(body=Revealed(revealed), status=201)


@query(
    "list-flags", "/access/flags", shows=Shows.SEALED, result=Flags,
    parameters=(_LIMIT, _BEFORE, OPEN_ONLY),
)  # fmt: skip
def list_flags(ask: Ask) -> Reply:
    """List unusual reading, the newest first: rate, breadth, own colleagues, out of hours. Never about whoever asks."""
    found = ask.service.access.flags(
        ask.caller.actor, cursor=ask.get("before"), limit=ask.get("limit") or 100, open_only=bool(ask.get("open"))
    )
    return Reply(body=found)


class Reviewing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What unusual reading turned out to be."""

    outcome: FlagOutcome
    case_reference: Reference | None = None


@query(
    "review-flag", "/access/flags/{flag_id}/review", method="POST", shows=Shows.NOTHING, result=ReceiptDocument,
    body=Body(struct=Reviewing), headers=("Idempotency-Key",),
)  # fmt: skip
def review_flag(ask: Ask) -> Reply:
    """Say what unusual reading turned out to be."""
    wanted: Reviewing = ask.body
    command = ReviewFlag(
        flag_id=FlagId(ask.path["flag_id"]), outcome=wanted.outcome, case_reference=wanted.case_reference
    )
    receipt = ask.service.access.ledger.record(command, ask.caller.actor, idempotency_key=ask.idempotency_key)
    return Reply(body=receipt_document(receipt, ask.caller.actor.role), status=201)
