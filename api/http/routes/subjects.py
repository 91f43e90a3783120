"""Subjects: what is held of a person, now and as it was known, who they are by an identifier, and what binds them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from api.answer_files import markdown
from api.event_json import recorded_document
from api.http.ask import Ask
from api.http.commanding import ReceiptDocument, receipt_document
from api.http.operation import JSON, NDJSON, TEXT, Body, Reply, Shows, query
from api.http.parameters import AS_OF, FIELDS, FORMAT, MIN_POSITION, PAGE, VALID_AT, Parameter, moment, number
from api.http.problems import Problem
from api.http.secrecy import sees_secrets
from api.http.staff import Use
from ledger import Actor
from ledger.command import Recorded
from ledger.commands import CorrectData
from ledger.errors import FieldUnknown, Invalid, StaleVersion, SubjectUnknown
from ledger.state.retention import Term
from ledger.vocabulary import (
    ActorId,
    Channel,
    IdentifierKind,
    IdentityCheck,
    Reference,
    Role,
    SubjectId,
    Word,
)
from projections import Binding, FieldState, FieldVersion, Hold, Restriction, SubjectState
from projections.answer import Answer, Consultation, Portable, answer, portable
from projections.subject_history import MAX_PAGE


class Found(msgspec.Struct, frozen=True):
    """Whose an identifier is or was, the first known first."""

    subject_ids: tuple[SubjectId, ...]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identifier to look up. It is personal, so it stands in the body and never in an address."""

    kind: IdentifierKind
    value: str


class Person(msgspec.Struct, frozen=True):
    """The records of one person, merged with this one."""

    subject_ids: tuple[SubjectId, ...]


@query(
    "lookup-subject", "/subjects/lookup", method="POST", shows=Shows.PERSONAL, result=Found, body=Body(struct=Wanted),
    parameters=(MIN_POSITION,),
)  # fmt: skip
def lookup_subject(ask: Ask) -> Reply:
    """Find whose an identifier is: an e-mail address, a phone number or a personal code."""
    wanted: Wanted = ask.body
    found = tuple(ask.projections.lookup(wanted.kind, wanted.value))
    return Reply(body=Found(found), subjects=found, fields=(Word(wanted.kind),))


@query(
    "read-subject", "/subjects/{subject_id}", shows=Shows.PERSONAL, result=SubjectState,
    parameters=(AS_OF, VALID_AT, MIN_POSITION, FIELDS),
)  # fmt: skip
def read_subject(ask: Ask) -> Reply:
    """Read what is held of a person, now, or as it was known and true then.

    Employees are shown the fields whose use the gate allows; one asked for by name that it does not allow is denied.
    """
    state = ask.projections.state(ask.subject_id, as_of=ask.as_of, valid_at=ask.get("valid_at"))
    names = _fields_shown(ask, state)
    whole = names == tuple(state.fields) and not ask.fields
    fields = {name: state.fields[name] for name in names}
    shown = msgspec.structs.replace(state, fields=fields, identifiers=state.identifiers if whole else ())
    # What a correction has to name: it changes with each event that sets a field.
    versions = max((one.expected_version or 0 for one in state.fields.values()), default=0)
    return Reply(body=shown, fields=names, headers={"ETag": f'"{versions}"'})


def _fields_shown(ask: Ask, state: SubjectState) -> tuple[Word, ...]:
    """Return which fields are shown. Raises Refused where one that is asked for by name may not be."""
    for name in ask.fields:
        if name not in state.fields:
            raise FieldUnknown(subject=state.subject_id, field=name)
    if not ask.by_staff:
        return ask.fields or tuple(state.fields)
    if not ask.fields:
        return _use(ask).allowed(state.fields)
    fields = tuple(dict.fromkeys(ask.fields))
    _use(ask).check(fields)
    return fields


def _use(ask: Ask) -> Use:
    if ask.purpose is None or ask.case_reference is None:
        raise Problem("purpose-needed")
    return Use(ask.ledger, ask.caller.actor, ask.subject_id, ask.purpose, ask.case_reference)


@query(
    "read-field", "/subjects/{subject_id}/fields/{field}", shows=Shows.PERSONAL, result=FieldState,
    parameters=(AS_OF, VALID_AT, MIN_POSITION),
)  # fmt: skip
def read_field(ask: Ask) -> Reply:
    """Read one field of a person; its ETag is what a correction sends as If-Match."""
    state = ask.projections.state(ask.subject_id, as_of=ask.as_of, valid_at=ask.get("valid_at"))
    name = Word(ask.path["field"])
    if name not in state.fields:
        raise FieldUnknown(subject=ask.subject_id, field=name)
    if ask.by_staff:
        _use(ask).check((name,))
    found = state.fields[name]
    return Reply(body=found, fields=(name,), headers={"ETag": f'"{found.expected_version}"'})


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is right instead. An employee says how whoever called was verified, and names the evidence."""

    value: Any
    channel: Channel = Channel.API
    valid_from: datetime | None = None
    verification: IdentityCheck | None = None
    evidence: Reference | None = None


@query(
    "correct-field", "/subjects/{subject_id}/fields/{field}", method="PUT", shows=Shows.NOTHING,
    result=ReceiptDocument, body=Body(struct=Correction), headers=("If-Match", "Idempotency-Key"),
)  # fmt: skip
def correct_field(ask: Ask) -> Reply:
    """Correct a field; If-Match is the ETag of what was read. What somebody changed meanwhile is not overwritten."""
    wanted: Correction = ask.body
    command = CorrectData(
        subject_id=ask.subject_id,
        field=Word(ask.path["field"]),
        value=wanted.value,
        expected_version=_expected(ask),
        channel=wanted.channel,
        valid_from=wanted.valid_from,
        verification=wanted.verification,
        evidence=wanted.evidence,
    )
    try:
        receipt = ask.ledger.record(command, ask.caller.actor, idempotency_key=ask.idempotency_key)
    except StaleVersion as stale:
        raise Problem("precondition-failed", index=stale.index) from None
    return Reply(body=receipt_document(receipt, ask.caller.actor.role), status=201)


def _expected(ask: Ask) -> int:
    stated = ask.headers.get("if-match")
    if stated is None:
        raise Problem("precondition-needed")
    text = stated.strip().removeprefix('"').removesuffix('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise Invalid("If-Match", "is the ETag of what was read")
    return number(text, "If-Match")


@query(
    "read-subject-history", "/subjects/{subject_id}/history", shows=Shows.PERSONAL, result=FieldVersion, paged=True,
    parameters=(*PAGE, FIELDS),
)  # fmt: skip
def read_history(ask: Ask) -> Reply:
    """List every version of a person's fields, in the order of recording."""
    found = ask.projections.history(ask.subject_id, as_of=ask.as_of)
    if ask.by_staff:
        names = _use(ask).allowed({one.field for one in found})
        found = tuple(one for one in found if one.field in names)
    if ask.fields:
        found = tuple(one for one in found if one.field in ask.fields)
    return Reply(items=found, fields=tuple({one.field for one in found}))


@query("read-person", "/subjects/{subject_id}/person", shows=Shows.PERSONAL, result=Person, parameters=(AS_OF,))
def read_person(ask: Ask) -> Reply:
    """List the records that are of one person with this one, by merges."""
    found = ask.projections.person(ask.subject_id, as_of=ask.as_of)
    return Reply(body=Person(found), subjects=found)


@query(
    "list-restrictions", "/subjects/{subject_id}/restrictions", shows=Shows.PERSONAL, result=Restriction, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_restrictions(ask: Ask) -> Reply:
    """List the restrictions of processing of a person's data (GDPR Art. 18)."""
    return Reply(items=ask.projections.restrictions(ask.subject_id, as_of=ask.as_of))


@query(
    "list-subject-holds", "/subjects/{subject_id}/holds", shows=Shows.PERSONAL, result=Hold, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_holds(ask: Ask) -> Reply:
    """List the legal holds on a person's data."""
    return Reply(items=ask.projections.holds(ask.subject_id, as_of=ask.as_of))


@query(
    "list-retention", "/subjects/{subject_id}/retention", shows=Shows.PERSONAL, result=Term, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_retention(ask: Ask) -> Reply:
    """List until when each class of a person's data is kept."""
    return Reply(items=ask.projections.retention(ask.subject_id, as_of=ask.as_of))


@query(
    "list-bindings", "/subjects/{subject_id}/bindings", shows=Shows.PERSONAL, result=Binding, paged=True,
    parameters=(*PAGE, Parameter("at", "Which text bound them at this moment (default: now).", moment,
                                 {"type": "string", "format": "date-time"})),
)  # fmt: skip
def list_bindings(ask: Ask) -> Reply:
    """List which terms and principles bound a person at a moment, and what they accepted."""
    return Reply(items=ask.projections.bindings(ask.subject_id, ask.get("at") or ask.at, as_of=ask.as_of))


@query(
    "answer-subject", "/subjects/{subject_id}/answer", shows=Shows.PERSONAL, result=Answer,
    parameters=(AS_OF, MIN_POSITION), media_types=(JSON, TEXT),
)  # fmt: skip
def answer_subject(ask: Ask) -> Reply:
    """Give a person all that is held of them (GDPR Art. 15), complete; as text with `Accept: text/plain`."""
    found = answer(
        ask.projections, ask.ledger, ask.subject_id, as_of=ask.as_of, consultations=tuple(_consultations(ask))
    )
    fields = tuple(one.field for one in found.data)
    if ask.headers.get("accept", "").startswith(("text/plain", "text/markdown")):
        text = "\n".join(markdown(found)) + "\n"
        return Reply(body=text.encode(), media_type=TEXT, fields=fields)
    return Reply(body=found, fields=fields)


def _consultations(ask: Ask) -> Iterator[Consultation]:
    """Yield who looked, as the person may see it, whoever fetches the answer for them; the newest first."""
    person = Actor(id=ActorId(ask.subject_id), role=Role.SUBJECT)
    cursor: int | None = None
    while True:
        page = ask.service.access.who_looked(ask.subject_id, person, cursor=cursor, limit=MAX_PAGE)
        for look in page.looks:
            if not look.own:
                yield Consultation(
                    at=look.read_at, role=look.role, who=look.pseudonym, purpose=look.purpose, fields=look.fields,
                    door=look.door,
                )  # fmt: skip
        if page.next is None:
            return
        cursor = page.next


@query(
    "export-subject", "/subjects/{subject_id}/export", shows=Shows.PERSONAL, result=Portable,
    parameters=(MIN_POSITION, FORMAT), media_types=(NDJSON,),
)  # fmt: skip
def export_subject(ask: Ask) -> Reply:
    """Give a person what they may take along (GDPR Art. 20), all of it: as NDJSON, or as CSV with `format=csv`."""
    found = tuple(portable(ask.projections, ask.subject_id))
    if ask.get("format") == "csv":
        return Reply(items=found, fields=tuple(Word(one.name) for one in found if one.kind == "field"))
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in found)
    names = tuple(Word(one.name) for one in found if one.kind == "field")
    return Reply(body=lines, media_type=NDJSON, fields=names)


@query(
    "list-subject-events", "/subjects/{subject_id}/events", shows=Shows.SEALED, result=dict, paged=True,
    parameters=PAGE,
)  # fmt: skip
def list_events(ask: Ask) -> Reply:
    """List every event about a person, oldest first, with personal values sealed."""
    after: int | None = 0
    found: list[Recorded] = []
    while after is not None:
        page = ask.projections.subject_history(
            ask.subject_id, viewer=ask.caller.actor.role, after=after, limit=MAX_PAGE, as_of=ask.as_of
        )
        found += page.events
        after = page.after
    if not found:
        raise SubjectUnknown(subject=ask.subject_id)
    return Reply(items=[recorded_document(one) for one in found], secrets=sees_secrets(ask))
