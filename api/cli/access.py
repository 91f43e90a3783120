"""access: who looked at a person, what somebody read, unusual reading, and the officer's acts on them. Clause 4.

Reading the access log is itself a read: each command here that shows something first records what, and to whom; one
that is refused records that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from api.cli.options import (
    ActorOption,
    DataOption,
    JsonOption,
    RoleOption,
    SubjectOption,
    actor,
    identifier,
    opened,
    word,
)
from api.cli.output import Output, encode
from api.http.access import open_access_log
from ledger import Actor, Ledger
from ledger.entry import format_moment
from ledger.errors import Refused
from ledger.vocabulary import (
    ActorId,
    FlagId,
    FlagOutcome,
    Reference,
    RevealGround,
    Role,
    SubjectId,
    Word,
    check_reference,
)
from projections.access_log import MAX_PAGE, Accesses, AccessLog, Flags, Looks, Read

CLI: Final = Word("cli")

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MAX_PAGE, help="How many at most, the newest first.")]
CursorOption = Annotated[
    int | None, typer.Option("--before", metavar="N", min=1, help="Go on from here: what the page before said.")
]
ReaderOption = Annotated[str, typer.Option("--reader", metavar="ID", help="Whose reading, by the id they act under.")]
CaseOption = Annotated[str, typer.Option("--case", metavar="REFERENCE", help="The case in which this is done.")]
MaybeCaseOption = Annotated[
    str | None, typer.Option("--case", metavar="REFERENCE", help="The case in which this was looked into.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(
        help="Who looked at what of whom: for the person, the officer and an auditor. Looking is recorded too.",
        no_args_is_help=True,
    )
    group.command("who-looked")(who_looked)
    group.command("by")(by)
    group.command("flags")(flags)
    group.command("review")(review)
    group.command("reveal")(reveal)
    app.add_typer(group, name="access")


def who_looked(
    subject: SubjectOption,
    role: RoleOption = Role.OFFICER,
    actor_id: ActorOption = None,
    limit: LimitOption = 100,
    before: CursorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who looked at a person's data: when, in which role, why, and under which pseudonym.

    Example: prooftrail access who-looked --subject ID --as officer --actor ID

    A pseudonym is the same for one reader and one person, and tells nothing about any other person. Who it is shows
    after: prooftrail access reveal. As the person themselves: --as subject --actor ID, with the id of the subject.
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    with _log(data) as (records, log):
        viewer = actor(role, actor_id)
        with _attempt(log, viewer, "who-looked", (subject_id,)):
            page = log.who_looked(subject_id, viewer, cursor=before, limit=limit)
        _record(log, records, viewer, "who-looked", page, len(page.looks), subjects=(subject_id,))
    columns = ("when", "role", "reader", "operation", "door", "purpose", "fields", "case")
    rows = [
        (
            format_moment(look.read_at), look.role, look.actor_id or look.pseudonym, look.operation, look.door,
            look.purpose, " ".join(look.fields), look.case_reference,
        )
        for look in page.looks
    ]  # fmt: skip
    _show(page, columns, rows, as_json=as_json)


def by(
    reader: ReaderOption,
    role: RoleOption = Role.OFFICER,
    actor_id: ActorOption = None,
    limit: LimitOption = 100,
    before: CursorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what somebody read, and what they were refused. Nobody reviews their own access.

    Example: prooftrail access by --reader ID --as officer --actor ID
    """
    reader_id = ActorId(identifier(reader, "--reader"))
    with _log(data) as (records, log):
        viewer = actor(role, actor_id)
        with _attempt(log, viewer, "access-by"):
            page = log.of_actor(reader_id, viewer, cursor=before, limit=limit)
        shown = tuple({subject for one in page.accesses for subject in one.subjects})
        _record(log, records, viewer, "access-by", page, len(page.accesses), subjects=shown, employee_id=reader_id)
    columns = ("when", "role", "operation", "door", "people", "purpose", "fields", "case", "refused")
    rows = [
        (
            format_moment(one.at), one.role, one.operation, one.door,
            one.subjects[0] if len(one.subjects) == 1 else len(one.subjects), one.purpose, " ".join(one.fields),
            one.case_reference, one.refused,
        )
        for one in page.accesses
    ]  # fmt: skip
    _show(page, columns, rows, as_json=as_json)


def flags(
    role: RoleOption = Role.OFFICER,
    actor_id: ActorOption = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only what nobody has reviewed yet.")] = False,
    limit: LimitOption = 100,
    before: CursorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show unusual reading: many reads, many people, own colleagues, one's own record, out of hours.

    Example: prooftrail access flags --open --as officer --actor ID

    What is usual is a setting: PROOFTRAIL_READS_PER_HOUR, PROOFTRAIL_PEOPLE_PER_HOUR, PROOFTRAIL_WORKING_HOURS.
    """
    with _log(data) as (records, log):
        viewer = actor(role, actor_id)
        # Where no server runs, nobody else has looked since the last read.
        log.watch.catch_up()
        with _attempt(log, viewer, "reading-flags"):
            page = log.flags(viewer, cursor=before, limit=limit, open_only=open_only)
        _record(log, records, viewer, "reading-flags", page, len(page.flags))
    columns = ("when", "flag", "reader", "kind", "count", "read", "outcome", "case")
    rows = [
        (
            format_moment(flag.raised_at), flag.flag_id, flag.reader_id, flag.kind, flag.count, flag.read, flag.outcome,
            flag.case_reference,
        )
        for flag in page.flags
    ]  # fmt: skip
    _show(page, columns, rows, as_json=as_json)


def review(
    flag: Annotated[str, typer.Option("--flag", metavar="ID", help="The flag, by id.")],
    outcome: Annotated[FlagOutcome, typer.Option("--outcome", help="What it turned out to be.")],
    case: MaybeCaseOption = None,
    role: RoleOption = Role.OFFICER,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what unusual reading turned out to be. Never the one whom the flag is about.

    Example: prooftrail access review --flag ID --outcome justified --case C-17 --as officer --actor ID
    """
    flag_id = FlagId(identifier(flag, "--flag"))
    reference = None if case is None else Reference(word(check_reference, case, "--case"))
    with _log(data) as (_, log):
        log.review(flag_id, outcome, actor(role, actor_id), case_reference=reference)
    output = Output(as_json)
    if as_json:
        output.document({"flag_id": flag_id, "outcome": outcome})
    else:
        output.say(f"Reviewed: {outcome}")


def reveal(
    subject: SubjectOption,
    pseudonym: Annotated[str, typer.Option("--pseudonym", metavar="TEXT", help="As `who-looked` shows it.")],
    ground: Annotated[RevealGround, typer.Option("--ground", help="Why it is revealed.")],
    case: CaseOption,
    to_subject: Annotated[
        bool, typer.Option("--to-subject", help="To the person as well, not the officer alone.")
    ] = False,
    role: RoleOption = Role.OFFICER,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reveal who is behind a pseudonym, on a ground and a case. The officer's act; it is recorded.

    Example: prooftrail access reveal --subject ID --pseudonym abcdefgh2345 --ground breach --case C-17 --actor ID

    With --to-subject the person sees it too: only where they cannot exercise their rights without it, and the rights of
    the employee do not weigh more (CJEU C-579/21).
    """
    subject_id = SubjectId(identifier(subject, "--subject"))
    reference = Reference(word(check_reference, case, "--case"))
    with _log(data) as (_, log):
        found = log.reveal(subject_id, pseudonym, ground, reference, actor(role, actor_id), to_subject=to_subject)
    output = Output(as_json)
    if as_json:
        output.document({"subject_id": subject_id, "pseudonym": pseudonym, "actor_id": found})
    else:
        output.say(f"{found}")


@contextmanager
def _log(data: DataOption) -> Iterator[tuple[Ledger, AccessLog]]:
    with opened(data) as (settings, records), open_access_log(settings, records=records, watch=False) as log:
        yield records, log


@contextmanager
def _attempt(log: AccessLog, viewer: Actor, operation: str, subjects: Sequence[SubjectId] = ()) -> Iterator[None]:
    """Record an attempt that is refused, before it is told so."""
    try:
        yield
    except Refused as refusal:
        log.refused(viewer, Word(operation), subjects, Word(refusal.code), door=CLI)
        raise


def _record(
    log: AccessLog,
    records: Ledger,
    viewer: Actor,
    operation: str,
    page: Looks | Accesses | Flags,
    items: int,
    *,
    subjects: Sequence[SubjectId] = (),
    employee_id: ActorId | None = None,
) -> None:
    """Record that this page is about to be shown; raises, and then nothing is."""
    log.record(
        Read(
            actor=viewer,
            operation=Word(operation),
            subjects=tuple(subjects),
            records=records.size(),
            items=items,
            door=CLI,
            digest=log.digest(encode(page).encode()),
            employee_id=employee_id,
        )
    )


def _show(
    page: Looks | Accesses | Flags, columns: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool
) -> None:
    output = Output(as_json)
    if as_json:
        output.document(page)
        return
    output.table(columns, rows)
    if page.next is not None:
        output.say(f"More: --before {page.next}")
