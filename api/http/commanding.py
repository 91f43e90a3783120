"""Commands over HTTP: `POST /v1/commands/<name>`, one at a time, and `POST /v1/batch`, many, each for itself.

The body of a command is its fields; the header Idempotency-Key makes it safe to send again. The answer is the receipt:
the entries as they stand in the log, each with a C2SP tlog-proof that verifies offline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import order_intake
from api.command_json import Asked, command_of, parse_command, parse_object, summary
from api.http.ask import Ask, owned_key
from api.http.door import Door, Unpermitted, media_type_of, note, read_body, read_headers, read_parameters
from api.http.identity import Caller
from api.http.operation import JSON, NDJSON, OPERATIONS, Body, Intake, Kind, Operation, Shows, add
from api.http.owners import About
from api.http.permissions import Grant
from api.http.problems import Problem, answered
from api.http.staff import check_employee
from ledger import Receipt
from ledger.attempt import SMALL_BYTES
from ledger.command import BY_NAME, Command
from ledger.commands.access import ACCESS_COMMANDS
from ledger.errors import Invalid, LedgerError, Refused
from ledger.state.employee import STAFF
from ledger.tlog.merkle import leaf_hash
from ledger.vocabulary import OUTSIDE, OrderId, Role, Word

if TYPE_CHECKING:
    from api.http.service import Service

# How many commands of a batch are decided together, at most; how long a line may be; how many lines there may be.
TOGETHER: Final = 256
MAX_BATCH_LINES: Final = 10_000
MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
MAX_LINE_BYTES: Final = 1024 * 1024
MAX_COMMAND_BYTES: Final = 1024 * 1024


class EntryReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry: its index, its exact bytes as text, and its tlog-proof.

    Who is not of the house gets `leaf` instead of `entry`: the hash (RFC 6962 §2.1, in hexadecimal) that the proof is
    of. An entry says the how-manieth about a person it is, which would betray a disclosure that is secret by law.
    """

    index: int
    entry: str | None = None
    leaf: str | None = None
    proof: str


class ReceiptDocument(msgspec.Struct, frozen=True):
    """A receipt: `position` is what to send as min_position to read what was just written."""

    first: int
    position: int
    entries: tuple[EntryReceipt, ...]


class TakenDocument(msgspec.Struct, frozen=True):
    """What an order that is recorded is answered with: `again` when it was recorded before, with that receipt."""

    order_id: OrderId
    again: bool
    receipt: ReceiptDocument


def receipt_document(receipt: Receipt, reader: Role) -> ReceiptDocument:
    """Return a receipt as it is answered to somebody in this role."""
    outside = reader in OUTSIDE
    entries = tuple(
        EntryReceipt(
            index=index,
            entry=None if outside else entry.decode(),
            leaf=leaf_hash(entry).hex() if outside else None,
            proof=proof.decode(),
        )
        for index, (entry, proof) in enumerate(zip(receipt.entries, receipt.proofs, strict=True), receipt.first)
    )
    return ReceiptDocument(receipt.first, receipt.position, entries)


def parse_recorded(data: bytes) -> Asked:
    """Return the command in a JSON object, if it is one of the records. Raises Invalid."""
    asked = parse_command(data)
    if isinstance(asked.command, ACCESS_COMMANDS):
        raise Invalid("command", "is of the access log: the door writes that itself")
    return asked


def declare_commands(order_bytes: int) -> None:
    """Declare an operation for every command that the ledger knows."""
    for name, command in BY_NAME.items():
        # Who looked is a ledger of its own, which the door writes itself.
        if name in OPERATIONS or command in ACCESS_COMMANDS:
            continue
        takes_order = "content" in command.__struct_fields__
        most = order_bytes * 4 // 3 + MAX_COMMAND_BYTES if takes_order else MAX_COMMAND_BYTES
        add(
            Operation(
                id=name, method="POST", path=f"/v1/commands/{name}",
                capability=command.__module__.rsplit(".", 1)[1], summary=summary(command),
                shows=Shows.NOTHING, body=Body(struct=command, max_bytes=most), result=ReceiptDocument, command=command,
                kind=Kind.COMMAND,
            )
        )  # fmt: skip


class Commanding:
    """Records what callers may record."""

    def __init__(self, service: Service, door: Door) -> None:
        self._service = service
        self._door = door

    async def answer(self, operation: Operation, request: Request) -> Response:
        """Carry out one command and answer with its receipt."""
        note(request, operation)
        try:
            receipt, reader = await self._one(operation, request)
        except Exception as error:
            return self._door.problem(request, error)
        content = msgspec.json.encode(receipt_document(receipt, reader))
        return Response(content, 201, {"Content-Type": JSON})

    async def _one(self, operation: Operation, request: Request) -> tuple[Receipt, Role]:
        service, body = self._service, operation.body
        caller = await self._door.enter(request, operation)
        grant = service.permissions.of(operation.id, caller.actor.role)
        if grant is Grant.NONE:
            await self._door.refuse(caller, operation.id, About(), "forbidden")
        read_parameters(operation, request)
        headers = read_headers(request)
        if media_type_of(headers) != JSON:
            raise Problem("media-type-unfit")
        data = await read_body(request, MAX_COMMAND_BYTES if body is None else body.max_bytes)
        command = command_of(operation.id, parse_object(data))
        about = About.of(command)
        try:
            if service.ledger.engine.is_local:
                self._permit(caller, grant, command)
            else:
                await asyncio.to_thread(self._permit, caller, grant, command)
        except Unpermitted as unpermitted:
            await self._door.refuse(caller, operation.id, about, unpermitted.code)
        key = owned_key(caller.actor.id, headers.get("idempotency-key"))
        return await service.ledger.arecord(command, caller.actor, idempotency_key=key), caller.actor.role

    async def intake(self, operation: Operation, request: Request) -> Response:
        """Record the order that a file is; answer with its id and its receipt, the first one where it comes again."""
        note(request, operation)
        try:
            ask, grant = await self._door.ask(operation, request)
            taken = await self._take_in(ask, grant)
        except Exception as error:
            return self._door.problem(request, error)
        receipt = receipt_document(taken.receipt, ask.caller.actor.role)
        content = msgspec.json.encode(TakenDocument(taken.order_id, taken.again, receipt))
        return Response(content, 200 if taken.again else 201, {"Content-Type": JSON})

    async def _take_in(self, ask: Ask, grant: Grant) -> order_intake.Taken:
        ledger, operation, actor = self._service.ledger, ask.operation, ask.caller.actor
        quick = ledger.engine.is_local and len(ask.body) <= SMALL_BYTES and operation.quick(ask)
        try:
            made = self._made(ask, grant) if quick else await asyncio.to_thread(self._made, ask, grant)
        except Unpermitted as unpermitted:
            await self._door.refuse(ask.caller, operation.id, operation.about(ask), unpermitted.code)
        if quick:
            return await order_intake.atake_in(ledger, made.command, actor, key=made.key)
        return await asyncio.to_thread(order_intake.take_in, ledger, made.command, actor, key=made.key)

    def _made(self, ask: Ask, grant: Grant) -> Intake:
        self._door.check(ask, grant)
        if ask.operation.intake is None:
            raise TypeError(f"{ask.operation.id} takes no order in")
        return ask.operation.intake(ask)

    async def batch(self, operation: Operation, request: Request) -> Response:
        """Carry out many commands, one a line; answer a receipt or a problem a line, in the same order."""
        note(request, operation)
        try:
            caller = await self._door.enter(request, operation)
            if self._service.permissions.of(operation.id, caller.actor.role) is Grant.NONE:
                await self._door.refuse(caller, operation.id, About(), "forbidden")
            read_parameters(operation, request)
            if media_type_of(read_headers(request)) != NDJSON:
                raise Problem("media-type-unfit")
            data = await read_body(request, MAX_BATCH_BYTES)
            lines = [line for line in data.split(b"\n") if line.strip()]
            if len(lines) > MAX_BATCH_LINES:
                raise Problem("length-unfit", f"A batch has at most {MAX_BATCH_LINES} lines.")
        except Exception as error:
            return self._door.problem(request, error)
        return StreamingResponse(self._lines(caller, lines), 200, {"Content-Type": NDJSON})

    async def _lines(self, caller: Caller, lines: Sequence[bytes]) -> AsyncIterator[bytes]:
        for start in range(0, len(lines), TOGETHER):
            part = lines[start : start + TOGETHER]
            yield await asyncio.to_thread(self._together, caller, start, part)

    def _together(self, caller: Caller, start: int, lines: Sequence[bytes]) -> bytes:
        """Record some lines and return the answers to each."""
        outcomes: list[Receipt | Exception] = []
        asked: list[tuple[Command, Any, str | None]] = []
        places: list[int] = []

        def record() -> bool:
            """Record what waits; return whether anything did."""
            for place, outcome in zip(places, self._service.ledger.record_many(asked), strict=True):
                outcomes[place] = outcome
            waited = bool(places)
            asked.clear()
            places.clear()
            return waited

        for line in lines:
            try:
                one = self._parse(caller, line, record)
                asked.append((one.command, caller.actor, owned_key(caller.actor.id, one.idempotency_key)))
                places.append(len(outcomes))
                outcomes.append(Problem("internal"))
            except LedgerError as error:
                outcomes.append(error)
        record()
        return b"".join(self._line(start + i, outcome, caller.actor.role) for i, outcome in enumerate(outcomes))

    def _parse(self, caller: Caller, line: bytes, record: Callable[[], bool]) -> Asked:
        """Return the command of a line, once the caller may record it. Raises LedgerError.

        Whether they may can rest on a line before: `record` records those, and says whether there were any.
        """
        if len(line) > MAX_LINE_BYTES:
            raise Problem("length-unfit", "A line of a batch is at most 1 MiB; send a larger one alone.")
        one = parse_recorded(line)
        name, about = type(one.command).NAME, About.of(one.command)
        grant = self._service.permissions.of(name, caller.actor.role)
        try:
            try:
                self._permit(caller, grant, one.command)
            except (Unpermitted, Refused):
                if grant is Grant.NONE or not record():
                    raise
                self._permit(caller, grant, one.command)
        except Unpermitted as unpermitted:
            subjects = () if about.subject_id is None else (about.subject_id,)
            self._service.access.refused(caller.actor, Word(name), subjects, Word(unpermitted.code))
            raise Problem(unpermitted.code) from None
        return one

    def _permit(self, caller: Caller, grant: Grant, command: Command) -> None:
        """Raise Unpermitted, or why an employee may not, unless this caller may record this command."""
        if grant is Grant.NONE:
            raise Unpermitted("forbidden")
        about = About.of(command)
        self._door.permit(caller, grant, about)
        order_intake.check_sender(command, caller.actor, self._service.ledger.now())
        if caller.actor.role in STAFF and about.is_personal:
            # To acknowledge is about nobody's data; everything about a person or an order needs it done before.
            check_employee(self._service.ledger, caller.actor.id, self._service.ledger.now())

    def _line(self, number: int, outcome: Receipt | Exception, reader: Role) -> bytes:
        if isinstance(outcome, Receipt):
            return msgspec.json.encode({"line": number + 1, "receipt": receipt_document(outcome, reader)}) + b"\n"
        return msgspec.json.encode({"line": number + 1, "problem": answered(outcome).members}) + b"\n"


add(
    Operation(
        id="batch", method="POST", path="/v1/batch", capability="commanding", kind=Kind.BATCH, shows=Shows.NOTHING,
        summary="Record many commands, one JSON object a line with its `command`; each succeeds or fails alone.",
        media_types=(NDJSON,), body=Body(media_types=(NDJSON,), max_bytes=MAX_BATCH_BYTES),
    )
)  # fmt: skip
