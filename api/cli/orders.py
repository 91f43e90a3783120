"""record-order: orders in as exact bytes, receipts out."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from api.cli.failure import REFUSED, Usage, failure_of
from api.cli.options import (
    STANDARD_INPUT,
    ActorOption,
    DataOption,
    JsonOption,
    RoleOption,
    SubjectOption,
    actor,
    identifier,
    input_bytes,
    moment,
    opened,
    word,
)
from api.cli.output import Output, path_text
from api.order_file import MAIL, file_name, mail_facts, mail_key, media_type
from api.order_intake import Taken, take_in
from api.settings import Settings
from ledger import Actor, Ledger, Receipt
from ledger.commands import RecordOrder
from ledger.errors import Conflict, Invalid, Refused, StorageError
from ledger.vocabulary import (
    ClientId,
    MediaType,
    OrderChannel,
    OrderId,
    Reference,
    Role,
    SubjectId,
    Word,
    check_media_type,
    check_reference,
    check_word,
    new_id,
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("record-order")(record_order)


# --- record-order ---------------------------------------------------------------------------------------------


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say about every file of one run."""

    client_id: ClientId
    subject_id: SubjectId
    channel: OrderChannel
    terms: Reference
    authentication: Word
    order_id: OrderId | None
    key: str | None
    media_type: MediaType | None
    received_at: datetime | None
    receipts: Path | None


def record_order(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="The orders, one a file; - is standard input.")],
    client: Annotated[str, typer.Option("--client", metavar="ID", help="The company in whose name the order is.")],
    subject: SubjectOption,
    channel: Annotated[OrderChannel, typer.Option("--channel", metavar="software|email", help="The way it came.")],
    terms: Annotated[
        str | None,
        typer.Option("--terms", metavar="VERSION", help="The terms in force (default: $PROOFTRAIL_TERMS)."),
    ] = None,
    order: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="The order's id (default: a fresh one).")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="The same key again is the same order. E-mails bring one."
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--media-type", metavar="TYPE", help="Instead of what the file looks like.")
    ] = None,
    received: Annotated[
        str | None, typer.Option("--received-at", metavar="TIME", help="When it arrived, with zone (default: now).")
    ] = None,
    authentication: Annotated[
        str, typer.Option("--authentication", metavar="WORD", help="How the sender was checked, such as dkim-pass.")
    ] = "not-checked",
    receipts: Annotated[
        Path | None, typer.Option("--receipts", metavar="DIR", help="Save each receipt here: its entry and its proof.")
    ] = None,
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record client orders as the exact bytes of their files. Each succeeds or fails alone.

    Example: prooftrail record-order payments.xml --client ID --subject ID --channel software --receipts ./receipts

    Example: prooftrail record-order mails/*.eml --client ID --subject ID --channel email

    The same e-mail twice (by its Message-ID) is one order, and its Date header is kept as what the sender claims. A
    receipt is two files: the entry, and a C2SP tlog-proof that verifies offline.
    """
    output = Output(as_json)
    if len(files) > 1 and (order or key):
        raise Usage("--order and --idempotency-key are for one file: record several one by one")
    if receipts is not None:
        _make_directory(receipts)
    acting = actor(role, actor_id)
    with opened(data) as (settings, ledger):
        intake = Intake(
            client_id=ClientId(identifier(client, "--client")),
            subject_id=SubjectId(identifier(subject, "--subject")),
            channel=channel,
            terms=Reference(word(check_reference, terms, "--terms")) if terms else settings.terms,
            authentication=Word(word(check_word, authentication, "--authentication")),
            order_id=OrderId(identifier(order, "--order")) if order else None,
            key=key,
            media_type=MediaType(word(check_media_type, kind, "--media-type")) if kind else None,
            received_at=moment(received, "--received-at"),
            receipts=receipts,
        )
        found = _record_all(output, ledger, settings, intake, acting, files)
    failed = sum("error" in one for one in found)
    if as_json:
        output.document({"orders": found, "failed": failed})
    else:
        columns = ("order", "entry", "bytes", "kind", "file", "")
        rows = [_row(one) for one in found if "error" not in one]
        if rows:
            output.table(columns, rows)
            if receipts is not None:
                output.say(f"receipts: {receipts}/<order>.tlog-proof, each beside its <order>.entry.json")
        if failed and len(found) > 1:
            output.warn(f"{failed} of {len(found)} files were not recorded")
    if failed:
        raise typer.Exit(REFUSED)


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    before = "recorded before" if found["again"] else ""
    return found["order"], found["index"], found["size_bytes"], found["media_type"], found["file"], before


def _record_all(
    output: Output, ledger: Ledger, settings: Settings, intake: Intake, acting: Actor, files: Sequence[str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with output.progress("recording", len(files)) as tell:
        for number, name in enumerate(files, 1):
            try:
                found.append({"number": number, **_record_one(ledger, settings, intake, acting, name)})
            except (Refused, Conflict, Usage) as error:
                failure = failure_of(error)
                found.append({"number": number, "file": path_text(name), **failure.document()})
                if not output.as_json:
                    # By number: a file's name may be a person's.
                    output.warn(f"file {number}: {failure.message}")
            tell(number)
    return found


def _record_one(ledger: Ledger, settings: Settings, intake: Intake, acting: Actor, name: str) -> dict[str, Any]:
    limit = settings.limits.order_bytes
    content = input_bytes(name, limit, "the order")
    if not content:
        raise Invalid("content", "is empty: an order has at least one byte")
    shown_name = None if name == STANDARD_INPUT else file_name(name)
    kind = intake.media_type or media_type(content, shown_name or "")
    key, claimed_at = intake.key, None
    if kind == MAIL and intake.channel is OrderChannel.EMAIL:
        facts = mail_facts(content)
        key, claimed_at = key or mail_key(content, facts), facts.sent_at
    command = RecordOrder(
        order_id=intake.order_id or OrderId(new_id()),
        client_id=intake.client_id,
        subject_id=intake.subject_id,
        channel=intake.channel,
        media_type=kind,
        content=content,
        terms_version=intake.terms,
        received_at=intake.received_at or ledger.now(),
        authentication=intake.authentication,
        claimed_at=claimed_at,
        file_name=shown_name,
    )
    taken = take_in(ledger, command, acting, key=key)
    saved = _save_receipt(intake.receipts, taken) if intake.receipts is not None else None
    return {
        "file": path_text(name),
        "order": taken.order_id,
        "index": taken.receipt.index,
        "again": taken.again,
        "media_type": kind,
        "size_bytes": len(content),
        "claimed_at": claimed_at,
        "receipt": saved,
    }


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Usage(f"--receipts: cannot be used ({error.strerror})") from None


def _save_receipt(directory: Path, taken: Taken) -> str:
    """Write the entry and its proof, and return where the proof is. The same receipt again is the same bytes."""
    receipt: Receipt = taken.receipt
    proof = directory / f"{taken.order_id}.tlog-proof"
    try:
        _replace(directory / f"{taken.order_id}.entry.json", receipt.entries[0])
        _replace(proof, receipt.proofs[0])
    except OSError as error:
        raise StorageError(
            f"order {taken.order_id} is recorded, but its receipt cannot be saved ({error.strerror}); "
            "record the same file again with another --receipts, or read it with: prooftrail prove"
        ) from error
    return path_text(proof)


def _replace(path: Path, content: bytes) -> None:
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with scratch.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
