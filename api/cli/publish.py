"""export-log, receipt, audit: the log and its entries for others to keep, and what an auditor makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.failure import REFUSED, Usage
from api.cli.options import DataOption, JsonOption, opened
from api.cli.output import Output, counted, path_text
from api.cli.witness import cosigned_at
from ledger.audit.auditor import AuditReport, audit
from ledger.audit.source import open_source
from ledger.audit.state import AuditState
from ledger.errors import Invalid, StorageError, VerificationError
from ledger.tlog.cosignature import WitnessKey
from ledger.tlog.export import export_log
from ledger.tlog.files import LogFiles
from ledger.tlog.note import Verifier

DEFAULT_STATE: Final = Path("prooftrail-audit.db")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("export-log")(export)
    app.command("audit")(audit_log)
    app.command("receipt")(receipt)


def export(
    to: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write it, or to go on with it.")],
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="Only up to the last checkpoint that every witness has cosigned.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the log as static files (C2SP tlog-tiles) that any web server or bucket can serve. No personal data.

    Example: prooftrail export-log /var/www/log

    Run it again to go on, from cron: only what is new is written, and `checkpoint` is replaced last. It can be cut off
    at any point. Whoever reads the files checks them with: prooftrail audit DIR --key KEY
    """
    output = Output(as_json)
    with opened(data) as (_, ledger):
        size = ledger.cosigned_size() if cosigned else ledger.size()
        found = ledger.checkpoint(size) if size else None
        if found is None:
            nothing = "no checkpoint has been cosigned by every witness yet" if cosigned else "nothing is recorded"
            raise Invalid("checkpoint", f"there is none to export: {nothing}")
        tree = ledger.tree_at(found[0])
        note = ledger.with_cosignatures(*found)
        with output.progress("files") as tell:
            done = export_log(
                LogFiles(ledger.engine, tree), tree, ledger.log_keys(), note, to,
                progress=lambda count, total: tell(count),
            )  # fmt: skip
    if as_json:
        output.document({"directory": path_text(to), "size": done.size, "before": done.before, "files": done.files})
    else:
        output.say(
            f"{to} holds the log of {counted(done.size, 'entry', 'entries')} now, {done.before} before: "
            f"{counted(done.files, 'file')} written"
        )


def receipt(
    entry: Annotated[int, typer.Argument(metavar="INDEX", min=0, help="Which entry.")],
    to: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write its two files.")] = Path(),
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the receipt of an entry: the entry, and the C2SP tlog-proof that it is in the log. Verifies offline.

    Example: prooftrail receipt 41 -o ./receipts

    It is under the first checkpoint with the entry that every witness has cosigned, if there is one, else the last
    one. Whoever keeps it can hold it against the ledger later: prooftrail accuse 41.tlog-proof --key KEY --log URL
    """
    output = Output(as_json)
    with opened(data) as (_, ledger):
        found = ledger.prove_cosigned(entry)
        content = ledger.entry(entry)
    names = (to / f"{entry}.entry.json", to / f"{entry}.tlog-proof")
    try:
        to.mkdir(parents=True, exist_ok=True)
        for path, data_of in zip(names, (content, found), strict=True):
            path.write_bytes(data_of)
    except OSError as error:
        raise StorageError(f"{to}: cannot be written ({error.strerror})") from error
    if as_json:
        output.document({"index": entry, "files": [path_text(path) for path in names]})
    else:
        output.say(f"written: {names[1]}, beside {names[0].name}")


def audit_log(
    place: Annotated[str, typer.Argument(metavar="DIR|URL", help="Where the log is published.")],
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="The ledger's public key, or a file that holds it.")
    ] = None,
    witnesses: Annotated[
        list[str] | None, typer.Option("--witness", metavar="KEY", help="A witness that must have cosigned.")
    ] = None,
    state: Annotated[
        Path, typer.Option("--state", metavar="FILE", help="What this auditor remembers between runs.")
    ] = DEFAULT_STATE,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, not only what is new.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Audit a published log from its files alone: every tile, entry, counter, link, index commitment and signature.

    Example: prooftrail audit https://example.com/log --key 'example.com/records+1a2b3c4d+Af...='

    It remembers the last checkpoint it saw: a log that was cut, or that shows you another history than before, is told
    at once. Run it during the overlap of a key rotation, and it takes the new key over by itself. Exit codes: 0 all
    holds; 1 something does not, and is named; 2 wrong usage, or a file cannot be read.
    """
    output = Output(as_json)
    logs = [parse_key(one) for one in keys or []]
    seers = [_witness(one) for one in witnesses or []]
    with open_source(place) as source, AuditState(state) as remembered:
        if not logs and remembered.audited() is None:
            raise Usage("--key: the ledger's public key is needed; get it in a way that does not depend on this log")
        with output.progresses() as tell:
            report = audit(
                source, remembered, logs,
                witnesses=seers, full=full, progress=lambda done, total: tell("entries", done, total),
            )  # fmt: skip
    if as_json:
        output.document(_document(report))
    else:
        _show(output, report)
    if not report.ok:
        raise typer.Exit(REFUSED)


def _document(report: AuditReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "ledger": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "since": report.since,
        "entries": report.entries,
        "tags": report.tags,
        "commitments": report.commitments,
        "cosigned": [{"witness": one.witness.name, "time_s": one.time_s} for one in report.cosigned],
        "problems": [{"where": where, "why": why} for where, why in report.problems],
        "problem_count": report.problem_count,
    }


def _show(output: Output, report: AuditReport) -> None:
    rows = [
        ("entries read now, each under the signed root", report.entries),
        ("tags, counted and linked", report.tags),
        ("commitments to the tag index, computed again", report.commitments),
    ]
    output.table(("audited", "count"), rows)
    for one in report.cosigned:
        output.say(f"cosigned by {one.witness.name} at {cosigned_at(one.time_s)}")
    if report.problems:
        output.table(("where", "why"), report.problems)
    if report.ok:
        output.say(f"All holds: {report.origin}, {counted(report.size, 'entry', 'entries')}", "bold green")
    else:
        output.say(
            f"DOES NOT HOLD: {counted(report.problem_count, 'problem')}. Keep a copy of these files.", "bold red"
        )


def parse_key(text: str) -> Verifier:
    try:
        return Verifier.parse(_line(text))
    except VerificationError:
        raise Usage("--key: is a public key as `prooftrail key` prints it, or a file that holds one") from None


def _witness(text: str) -> WitnessKey:
    try:
        return WitnessKey.parse(_line(text))
    except VerificationError:
        raise Usage("--witness: is the public key of a witness, or a file that holds one") from None


def _line(text: str) -> str:
    if "+" in text:
        return text.strip()
    try:
        return Path(text).read_text(encoding="ascii", errors="replace").strip()[:4_096]
    except OSError as error:
        raise Usage(f"a file that should hold a key cannot be read ({error.strerror})") from None
