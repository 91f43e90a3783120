"""prove, index: all events of something, or none, in a file that a stranger verifies; and the index that proves it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.failure import Usage
from api.cli.options import DataOption, JsonOption, identifier, moment, opened, word
from api.cli.output import Output, counted, path_text
from ledger import Ledger
from ledger.canonical import check_text
from ledger.errors import Invalid, StorageError, VerificationError
from ledger.vocabulary import OrderId, Tag
from projections.evidence import verify
from projections.evidence.collect import DISCLOSED_FIELDS, collect_order, collect_tag
from projections.evidence.package import PackageContents, write_package

# The personal fields that events have, beside the named values of personal data.
FIELDS: Final = DISCLOSED_FIELDS | {"value"}


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("prove")(prove)
    app.command("index")(index)


def prove(
    to: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.zip", help="Where to write the package.")],
    order: Annotated[str | None, typer.Option("--order", metavar="ID", help="All events of an order.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="ID", help="All events about a person.")] = None,
    consent: Annotated[str | None, typer.Option("--consent", metavar="ID", help="All events of a consent.")] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="ID", help="All events of a client.")] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="All events with a tag, such as recipient:ID.")
    ] = None,
    absent: Annotated[
        str | None, typer.Option("--absent", metavar="TAG", help="That there is NO event with a tag, such as order:ID.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="And how it stood at a past moment, with zone.")
    ] = None,
    disclose: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="Disclose only these fields, such as content or values.email; or none."),
    ] = None,
    withhold: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Withhold these fields; the proof stays whole.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file if it is there.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that these are ALL the events about something, or that there is NONE, in a zip that a stranger verifies.

    Example: prooftrail prove --order ID -o order.zip

    Example: prooftrail prove --subject ID --as-of 2026-11-01T00:00:00+02:00 -o person.zip

    Example: prooftrail prove --absent consent:ID -o none.zip

    Of an order its bytes, its file name and the statements of a dispute are disclosed, unless you say otherwise; of
    anything else no field is, unless you name it. The tag index is committed first, which may add one entry to the log.
    The package holds its own verifier: python3 verify.py order.zip --key KEY
    """
    output = Output(as_json)
    kind, wanted = _wanted(order=order, subject=subject, consent=consent, client=client, tag=tag, absent=absent)
    names = _names(disclose or [], "--disclose") if disclose else set(DISCLOSED_FIELDS if kind == "order" else ())
    names -= _names(withhold or [], "--withhold")
    then = moment(as_of, "--as-of")
    with opened(data) as (_, ledger):
        contents = _collect(ledger, wanted, kind, names, then, absent=absent is not None)
        key = str(ledger.verifier)
        findings = hand_out(to, contents, key, replace=replace)
    shown = sorted({(item.index, item.name) for item in findings.disclosed})
    if as_json:
        output.document(
            {
                "package": path_text(to), "kind": kind, "tag": wanted, "order": order,
                "entries": len(findings.story), "size": findings.size,
                "complete": findings.complete is not None and vars(findings.complete),
                "as_of": findings.cut and vars(findings.cut),
                "disclosed": [{"index": index, "field": name} for index, name in shown],
                "withheld": [{"index": index, "field": name} for index, name in findings.withheld],
                "key": key, "former_keys": list(contents.former),
            }
        )  # fmt: skip
        return
    _tell(output, findings, shown)
    output.say(f"written:   {to}")
    keys = " ".join(f"--key '{one}'" for one in (key, *contents.former))
    output.say(f"Verify it anywhere: python3 verify.py {to} {keys}")


def _wanted(**named: str | None) -> tuple[str, Tag]:
    """Return the kind and the tag that the options name. Raises Usage unless exactly one does."""
    given = [(kind, value) for kind, value in named.items() if value is not None]
    if len(given) != 1:
        raise Usage("one of --order, --subject, --consent, --client, --tag and --absent is needed")
    ((kind, value),) = given
    if kind in ("tag", "absent"):
        if not value:
            raise Usage(f"--{kind}: is a tag such as order:ID")
        return "tag", Tag(word(check_text, value, f"--{kind}"))
    return kind, Tag(f"{kind}:{identifier(value, f'--{kind}')}")


def _collect(
    ledger: Ledger, wanted: Tag, kind: str, names: Collection[str], then: datetime | None, *, absent: bool
) -> PackageContents:
    try:
        if kind == "order":
            return collect_order(ledger, OrderId(wanted.removeprefix("order:")), disclose=names, as_of=then)
        contents = collect_tag(ledger, wanted, kind=kind, disclose=names, as_of=then)
    except Invalid as error:
        if error.evidence["field"] == "as_of":
            raise Usage(f"--as-of: {error.evidence['why']}") from None
        raise
    found = len(contents.entries)
    if absent and found and then is None:
        raise Invalid("--absent", f"{counted(found, 'event')} with this tag; prove them all with --tag")
    if not absent and not found:
        raise Invalid(f"--{kind}", "nothing is recorded; to prove that, name the tag with --absent")
    return contents


def _tell(output: Output, findings: verify.Findings, shown: list[tuple[int, str]]) -> None:
    name = f"{verify.KINDS[findings.kind]} {verify.name_of(findings.kind, findings.tag)}"
    if findings.complete is None or not findings.story:
        output.say(f"Proven: none for {name}, in the first {findings.size - 1} entries of the log", "bold")
    else:
        count = len(findings.story)
        events = "the only event" if count == 1 else f"all {counted(count, 'event')}"
        output.say(f"Proven: {events} of {name}, in the first {findings.complete.size} entries of the log", "bold")
    if findings.cut is not None:
        cut = findings.cut
        output.say(f"As of {cut.as_of}: {cut.count} of them, in a log of {cut.size} entries", "bold")
    if findings.story:
        rows = [(one.index, one.recorded_at, one.type) for one in findings.story]
        output.table(("entry", "recorded at", "event"), rows)
        output.say(f"disclosed: {', '.join(f'{name} of entry {index}' for index, name in shown) or 'nothing'}")
        withheld = ", ".join(f"{name} of entry {index}" for index, name in findings.withheld)
        output.say(f"withheld:  {withheld or 'nothing'}")


def _names(words: list[str], option: str) -> set[str]:
    names = {name for one in words for name in one.split(",") if name}
    if names == {"none"}:
        return set()
    for name in names:
        # A closed list, as what is typed here by mistake may be a value.
        if name not in FIELDS and not (name.startswith("values.") and verify.is_field_name(name)):
            raise Usage(f"{option}: is of {', '.join(sorted(FIELDS))}, values.NAME; or none")
    return names


def hand_out(path: Path, contents: PackageContents, key: str, *, replace: bool = False) -> verify.Findings:
    """Write a package, and verify the file as a stranger will. Raises VerificationError, and then there is no file."""
    write_package(path, contents, key=key, replace=replace)
    try:
        package = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: the package cannot be read back ({error.strerror})") from error
    former = [verify.parse_key(one) for one in contents.former]
    report = verify.verify_package(package, verify.parse_key(key), former=former)
    if report.findings is None or report.failure is not None:
        path.unlink(missing_ok=True)
        why = report.failure.why if report.failure else "no claim was proven"
        raise VerificationError(report.failure.id if report.failure else "package", why)
    return report.findings


def index(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Throw the stored index away and count it again from the entries.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Commit the tag index over everything recorded so far into the log, unless that is done already.

    Example: prooftrail index

    From then on what is in the log about anything is fixed: all of it can be proven, and that there is nothing more. A
    long-running ledger does this by itself every minute (PROOFTRAIL_INDEX_EVERY_S), and `prove` when it needs to. With
    --rebuild an index that `verify` found damaged is made anew; the commitments in the log stay as they are.
    """
    output = Output(as_json)
    with opened(data) as (_, ledger):
        committed = ledger.index.rebuild() if rebuild else ledger.commit_index()
    if as_json:
        output.document(
            {"index": committed.size, "size": committed.size, "tags": committed.tags, "root": committed.root.hex()}
        )
        return
    entries = counted(committed.size, "entry", "entries")
    output.say(f"Committed by entry {committed.size}: {counted(committed.tags, 'tag')} of {entries}", "bold")
    output.say(f"  root {committed.root.hex()}")
