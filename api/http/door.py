"""The life of a request: who asks, may they, what did they say; the answer; and who looked, before it is served.

The order is the safety: nothing is read before the caller is known, nothing about a person before the matrix and the
gate for employees allowed it, nothing is sent before the access log has it durably. A refused attempt is recorded too.
What does not live here: what is answered (routes, commanding), the matrix (permissions), the log (access).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.command_json import parse_object
from api.http.asgi import headers
from api.http.ask import Ask
from api.http.errors import Reason, Unauthenticated
from api.http.exchange import exchange_of, place_of
from api.http.identity import Caller
from api.http.operation import Operation, Reply, Shows
from api.http.owners import About, owns
from api.http.pages import render
from api.http.parameters import IN_PATH, identifier
from api.http.permissions import Grant
from api.http.problems import Problem, answered, status_of
from api.http.secrecy import secret_until
from api.http.staff import check_employee
from api.http.waiting import reached
from ledger.errors import Invalid, Refused
from ledger.state.employee import STAFF
from ledger.vocabulary import Purpose, Reference, Sha256Hex, Word, check_reference
from projections.access_log import Read

if TYPE_CHECKING:
    from api.http.service import Service

# How long a reader waits for its own write to be taken in.
CATCH_UP_S: Final = 5.0
# Of two values of these nobody could say which one was meant.
_ONCE: Final = frozenset(("case-reference", "file-name", "idempotency-key", "if-match", "purpose"))


class Served(NamedTuple):
    """An answer that is ready, and what the access log has to have before it goes; nothing where nothing is shown."""

    content: bytes
    reply: Reply
    reads: tuple[Read, ...]


class Unpermitted(Exception):
    """The matrix says no; the attempt is to be recorded."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Door:
    """Answers operations, in the one order above. Safe for many requests at once."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, operation: Operation, request: Request) -> Response:
        """Answer one request; never raises but for cancellation."""
        note(request, operation)
        try:
            return await self._answer(operation, request)
        except Exception as error:
            return self.problem(request, error)

    def problem(self, request: Request, error: Exception) -> Response:
        """Return the answer to an error; of one that is not ours only the class is kept, in the log."""
        if isinstance(error, ClientDisconnect):
            # Nobody reads it.
            return Response(status_code=400)
        found = answered(error)
        if (exchange := exchange_of(request.scope)) is not None:
            exchange.problem = found.members["code"]
            if found.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                exchange.error = place_of(error)
        return Response(found.encode(), found.status, found.headers)

    async def _answer(self, operation: Operation, request: Request) -> Response:
        service = self._service
        ask, grant = await self.ask(operation, request)
        caller = ask.caller
        await self._caught_up(ask)
        try:
            served = await asyncio.to_thread(self._work, ask, grant)
        except Refused as refusal:
            # Whoever may not see it is told so, and the officer that they tried.
            if operation.shows is not Shows.NOTHING and status_of(refusal.code) == HTTPStatus.FORBIDDEN:
                await self._record_refusal(caller, operation.id, operation.about(ask), refusal.code)
            raise
        except Unpermitted as unpermitted:
            await self.refuse(caller, operation.id, operation.about(ask), unpermitted.code)
        for read in served.reads:
            await service.access.arecord(read)
        reply = served.reply
        return Response(served.content, reply.status, {"Content-Type": reply.media_type, **reply.headers})

    async def enter(self, request: Request, operation: Operation) -> Caller:
        """Return who asks. Raises Unauthenticated, and Problem when they ask too often."""
        credentials = headers(request.scope, b"authorization")
        if len(credentials) > 1:
            # A proxy in front may have looked at the other one.
            raise Unauthenticated(Reason.SEVERAL)
        caller = await self._service.identity.acaller(credentials[0] if credentials else None)
        if (exchange := exchange_of(request.scope)) is not None:
            exchange.role, exchange.actor_id = caller.actor.role, caller.actor.id
        self._service.check_rate(caller, operation)
        return caller

    def permit(self, caller: Caller, grant: Grant, about: About) -> None:
        """Raise Unpermitted unless this caller may do this with what it is about."""
        if grant is Grant.ALL:
            return
        mine = owns(self._service.ledger, caller, about)
        if grant is Grant.OWN and not mine:
            raise Unpermitted("not-found")
        if grant is Grant.OTHERS and mine:
            raise Unpermitted("own-access")

    async def refuse(self, caller: Caller, operation: str, about: About, code: str) -> NoReturn:
        """Record a refused attempt, then raise it."""
        await self._record_refusal(caller, operation, about, code)
        raise Problem(code)

    async def _record_refusal(self, caller: Caller, operation: str, about: About, code: str) -> None:
        subjects = () if about.subject_id is None else (about.subject_id,)
        await self._service.access.arefused(caller.actor, Word(operation), subjects, Word(code))

    async def ask(self, operation: Operation, request: Request) -> tuple[Ask, Grant]:
        """Return what is asked, read and checked, and what the caller may do of it. Raises Problem, Invalid."""
        service = self._service
        caller = await self.enter(request, operation)
        # Before the body is taken: who may not do this at all sends nothing for nothing.
        grant = service.permissions.of(operation.id, caller.actor.role)
        if grant is Grant.NONE:
            await self.refuse(caller, operation.id, About(), "forbidden")
        body = await _body(operation, request, service.settings.limits.order_bytes)
        return self._ask(operation, request, caller, body), grant

    def check(self, ask: Ask, grant: Grant) -> None:
        """Raise Unpermitted, or why an employee may not, unless this caller may do this."""
        about = ask.operation.about(ask)
        self.permit(ask.caller, grant, about)
        if ask.by_staff and (ask.operation.shows is not Shows.NOTHING or about.is_personal):
            check_employee(ask.ledger, ask.caller.actor.id, ask.ledger.now())

    def _ask(self, operation: Operation, request: Request, caller: Caller, body: Any) -> Ask:
        parameters = read_parameters(operation, request)
        stated = read_headers(request)
        purpose, case = _stated(stated)
        if operation.shows is Shows.PERSONAL and caller.actor.role in STAFF and (purpose is None or case is None):
            raise Problem("purpose-needed")
        return Ask(
            service=self._service,
            operation=operation,
            caller=caller,
            path={name: IN_PATH.get(name, identifier)(text, name) for name, text in request.path_params.items()},
            parameters=parameters,
            headers=stated,
            body=body,
            purpose=purpose,
            case_reference=case,
            position=0,
        )

    async def _caught_up(self, ask: Ask) -> None:
        """Wait until the state that is asked about is taken in. Raises Problem, and Invalid where there is none yet."""
        ledger, projections = self._service.ledger, self._service.projections
        if isinstance(ask.as_of, datetime) and ask.as_of > ledger.now():
            raise Invalid("as_of", "is in the future")
        if needed := ask.needs_position:
            if needed > await asyncio.to_thread(ledger.size):
                raise Invalid("position", "is beyond the end of the log")
            if not await reached(projections.position, needed, CATCH_UP_S, hurry=projections.hurry):
                raise Problem("not-caught-up", retry_after_s=1)
        if wait_s := ask.get("wait_s"):
            await reached(ledger.size, (ask.get("from") or 0) + 1, wait_s)

    def _work(self, ask: Ask, grant: Grant) -> Served:
        """Do what is asked, in a thread of its own: may they, what is the answer, what will the access log say."""
        service, operation = self._service, ask.operation
        self.check(ask, grant)
        known = service.projections.position()
        if operation.paged and ask.as_of is None:
            # Every page is of one state, whatever is recorded while somebody reads on.
            ask = replace(ask, parameters={**ask.parameters, "as_of": known})
        ask = replace(ask, position=known)
        if operation.answer is None:
            raise TypeError(f"{operation.id} is no query")
        content, reply = render(ask, operation.answer(ask))
        shown = operation.shows is not Shows.NOTHING
        return Served(content, reply, _reads(ask, reply, service.access.digest(content)) if shown else ())


def note(request: Request, operation: Operation) -> None:
    """Say which operation it is, for the log and the metrics."""
    if (exchange := exchange_of(request.scope)) is not None:
        exchange.operation = operation.id


def _reads(ask: Ask, reply: Reply, digest: Sha256Hex) -> tuple[Read, ...]:
    """Return what the access log will say: one read, and apart from it that of people who must not learn of it yet."""
    about = ask.operation.about(ask)
    subjects = dict.fromkeys(reply.subjects or (() if about.subject_id is None else (about.subject_id,)))
    secret = secret_until(ask.projections, subjects, ask.ledger.now()) if reply.secrets else {}
    openly = tuple(one for one in subjects if one not in secret)
    read = Read(
        actor=ask.caller.actor,
        operation=Word(ask.operation.id),
        subjects=openly,
        purpose=ask.purpose,
        case_reference=ask.case_reference,
        fields=tuple(sorted(set(reply.fields))),
        door=Word("http"),
        records=ask.position,
        digest=digest,
        items=len(reply.items) if reply.items is not None else 1,
        employee_id=about.employee_id,
    )
    if not secret:
        return (read,)
    hidden = msgspec.structs.replace(read, subjects=tuple(secret), hidden_until=max(secret.values()))
    return (read, hidden) if openly else (hidden,)


async def _body(operation: Operation, request: Request, order_bytes: int) -> Any:
    """Return the body: the struct that the operation takes, or bytes. Raises Problem, Invalid."""
    taken = operation.body
    if taken is None:
        return None
    if "*/*" not in taken.media_types and media_type_of(request.headers) not in taken.media_types:
        raise Problem("media-type-unfit")
    data = await read_body(request, taken.max_bytes or order_bytes)
    if taken.struct is None:
        return data
    members = parse_object(data)
    try:
        return msgspec.convert(members, taken.struct)
    except msgspec.ValidationError as error:
        raise Invalid(*_place(str(error))) from None
    except UnicodeEncodeError:
        # Half a surrogate pair where the decoder has to read the text.
        raise Invalid("body", "holds a lone surrogate: it is not valid Unicode text") from None


def media_type_of(headers: Mapping[str, str]) -> str:
    """Return the media type of a body, without its parameters; empty where none is stated."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, most: int) -> bytes:
    """Return the body, refused as soon as it is longer than that, whatever it said its length was."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Problem("length-unfit")
        parts.append(part)
    return b"".join(parts)


def _place(message: str) -> tuple[str, str]:
    """Return the member that a decoder complains about, and what is wrong: its text may repeat what was sent."""
    _, _, where = message.partition(" - at `$")
    name = where.rstrip("`").lstrip(".")
    known = name if name.replace(".", "").replace("[...]", "").replace("_", "").isalnum() and len(name) < 65 else ""
    if "required field" in message:
        return known or "body", "a member that is needed is not there"
    return known or "body", "is not of the form that the description of this operation says"


def read_parameters(operation: Operation, request: Request) -> Mapping[str, Any]:
    """Return the parameters of the address, read. Raises Invalid, also for one that is not known."""
    known = {one.name: one for one in operation.parameters}
    found: dict[str, Any] = {}
    stated = request.query_params.multi_items() if request.scope["query_string"] else ()
    for name, text in stated:
        parameter = known.get(name)
        if parameter is None:
            raise Invalid("query", "holds a parameter that this operation does not take")
        value = parameter.read(text, name)
        if parameter.many:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Invalid(name, "is given twice")
        else:
            found[name] = value
    for parameter in operation.parameters:
        if parameter.required and parameter.name not in found:
            raise Invalid(parameter.name, "is needed")
    return found


def read_headers(request: Request) -> Mapping[str, str]:
    """Return the headers by their names in lower case. Raises Invalid for one of ours that is given twice."""
    found: dict[str, str] = {}
    for raw_name, value in request.scope["headers"]:
        name = raw_name.decode("latin-1")
        if name in _ONCE and name in found:
            raise Invalid(name, "is given twice")
        found[name] = value.decode("latin-1")
    return found


def _stated(headers: Mapping[str, str]) -> tuple[Purpose | None, Reference | None]:
    """Return the purpose and the case that the caller states. Raises Invalid."""
    purpose, case = headers.get("purpose"), headers.get("case-reference")
    if purpose is not None and purpose not in list(Purpose):
        raise Invalid("Purpose", f"is one of {', '.join(Purpose)}")
    return (
        None if purpose is None else Purpose(purpose),
        None if case is None else Reference(check_reference(case, "Case-Reference")),
    )
