"""verify, checkpoint, rebuild: is everything what it was, and can all that is derived be derived again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from api.cli.failure import REFUSED, Usage
from api.cli.options import DataOption, JsonOption, input_bytes, opened
from api.cli.output import Output, counted, path_text
from api.cli.witness import show_witnesses
from ledger.errors import Invalid, VerificationError
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.fsck import Report, fsck
from ledger.tlog.note import MAX_NOTE_BYTES
from projections import Comparison, Status


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("verify")(verify)
    app.command("checkpoint")(checkpoint)
    app.command("rebuild")(rebuild)


def verify(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="FILE", help="A checkpoint you kept: the log must extend it."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the whole ledger: recompute every hash, counter, commitment and signature. Names what does not hold.

    Example: prooftrail verify

    Example: prooftrail verify --since kept.checkpoint

    With a checkpoint that you kept elsewhere, every entry before it is hashed and must lead to it: none can have been
    changed or cut off unnoticed. Tags, sealed values and checkpoints are recomputed for what came after; the tag index
    is not, as it takes all entries. Exit code 1 says that evidence does not hold, or that personal values are missing:
    they do not open, and no erasure of them is recorded.
    """
    output = Output(as_json)
    kept = input_bytes(since, MAX_NOTE_BYTES, "--since") if since else None
    with opened(data) as (_, ledger):
        base: Checkpoint | None = None
        if kept is not None:
            try:
                base = ledger.log_keys().open(kept)
            except VerificationError as error:
                # The file that was given does not hold, which says nothing about the ledger.
                raise VerificationError("--since", str(error)) from None
        with output.progresses() as tell:
            report = fsck(ledger, since=base, progress=tell)
        origin = ledger.origin
        witnesses = ledger.cosigning.status() if ledger.cosigning is not None else []
    holds = report.ok and not report.missing
    if as_json:
        output.document({"ok": holds, "ledger": origin, **msgspec.to_builtins(report), "witnesses": witnesses})
    else:
        show_report(output, report)
        if witnesses:
            show_witnesses(output, witnesses)
    if not holds:
        raise typer.Exit(REFUSED)


def show_report(output: Output, report: Report) -> None:
    """Print what a verification found."""
    output.table(
        ("verified", "count"),
        [
            ("entries, each in its place", report.entries),
            ("tags and their counters", report.tags),
            ("tiles of the tree", report.tiles),
            ("commitments of the tag index", report.commitments),
            ("signed checkpoints", report.checkpoints),
            ("personal values that match their commitment", report.present),
            ("personal values erased, as recorded", report.erased),
            ("personal values missing", report.missing),
        ],
    )
    if report.problems:
        output.table(("check", "where", "why"), [(one.check, one.where, one.why) for one in report.problems])
    if report.missing:
        values = counted(report.missing, "personal value is", "personal values are")
        output.warn(
            f"{values} missing: not to be opened, though no erasure is recorded. Rows or keys of the key store were "
            f"lost or removed; restore it from its backup"
        )
    if not report.ok:
        problems = counted(report.problem_count, "problem")
        output.say(f"NOT VERIFIED: {problems}. Stop writing, and keep a copy as it is.", "bold red")
    elif report.missing:
        output.say(f"The log holds, {_span(report)}, but personal values are missing.", "bold red")
    else:
        output.say(f"Verified: {_span(report)}. Nothing was changed.", "bold green")


def _span(report: Report) -> str:
    if not report.since:
        return f"all {counted(report.size, 'entry', 'entries')}"
    if report.since == report.size:
        return f"nothing was recorded since entry {report.size - 1}"
    return f"entries {report.since} to {report.size - 1}"


def checkpoint(
    to: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it to a new file.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last signed checkpoint, with its cosignatures. Keep it where the ledger's operator cannot change it.

    Example: prooftrail checkpoint -o kept.checkpoint
    """
    output = Output(as_json)
    with opened(data) as (_, ledger):
        last = ledger.checkpoint()
        if last is None:
            raise Invalid("checkpoint", "there is none yet: nothing is recorded")
        size, note = last
        found = ledger.log_keys().open(note)
        note = ledger.with_cosignatures(size, note)
        witnesses = ledger.cosigning.status() if ledger.cosigning is not None else []
    if to is not None:
        _write_new(to, note)
    if as_json:
        root = found.root.hex()
        output.document(
            {
                "size": size, "root": root, "note": note.decode(), "file": path_text(to) if to else None,
                "witnesses": witnesses,
            }
        )  # fmt: skip
        return
    for one in witnesses:
        if one.size != size:
            stands = "has cosigned nothing yet" if one.size is None else f"has cosigned {one.size:,} entries"
            output.warn(f"witness {one.name} {stands}{': ' + one.error if one.error else ''}")
    if to is None:
        typer.echo(note.decode(), nl=False)
    else:
        output.say(f"Checkpoint of {counted(size, 'entry', 'entries')}, written to {to}")


def rebuild(
    compare: Annotated[
        bool, typer.Option("--verify", help="Change nothing: build anew beside it, and compare row by row.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build what is derived from the log anew: the current personal data, consents, disclosures and order trails.

    Example: prooftrail rebuild

    Example: prooftrail rebuild --verify

    Readers see the old state until they see the new one, whole. Exit code 1 says that entries could not be taken in;
    with --verify, that what is in use differs.
    """
    output = Output(as_json)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        with output.progresses() as tell:
            if compare:
                found = projections.verify(lambda done, total: tell("comparing", done, total))
                ok = _show_comparison(output, found)
            else:
                projections.rebuild(lambda done, total: tell("rebuilding", done, total))
        if not compare:
            status = projections.status()
            _show_status(output, status)
            ok = not status.quarantined
    if not ok:
        raise typer.Exit(REFUSED)


def _show_comparison(output: Output, found: Comparison) -> bool:
    ok = found.count == 0
    if output.as_json:
        output.document({"ok": ok, **msgspec.to_builtins(found)})
        return ok
    if not ok:
        rows = [(one.projection, one.table, one.key, one.what) for one in found.differences]
        output.table(("projection", "table", "row", "is"), rows)
        output.say(f"NOT the same: {found.count} rows differ; run: prooftrail rebuild", "bold red")
    else:
        output.say(f"Verified: {found.rows} rows are what {found.position} entries add up to", "bold green")
    return ok


def _show_status(output: Output, status: Status) -> None:
    if output.as_json:
        output.document(status)
        return
    output.say(f"Rebuilt from {status.position} entries: {', '.join(sorted(status.versions))}", "bold green")
    if status.quarantined:
        output.warn(f"{status.quarantined} entries could not be taken in and are set aside")
        output.table(
            ("entry", "projection", "error"), [(one.index, one.projection, one.error) for one in status.quarantine]
        )


_MODE: Final = 0o644
"""A checkpoint is for everybody."""


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        raise Usage("--output: there is a file of that name already; an older checkpoint is worth keeping") from None
    except OSError as error:
        raise Usage(f"--output: cannot be written ({error.strerror})") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
