"""may-send, campaign, suppression, imports: whom offers may go to, and what keeps them back.

A reservation reads the people from a file and keeps none of them: memory is flat, whatever their number. Each is
recorded under an idempotency key of campaign and person, so that a run that was cut off is simply run again.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, BinaryIO, Final

import typer

from api.cli.failure import REFUSED, Usage
from api.cli.options import (
    STANDARD_INPUT,
    ActorOption,
    DataOption,
    JsonOption,
    RoleOption,
    actor,
    identifier,
    moment,
    opened,
)
from api.cli.output import Output, counted
from api.cli.tables import AsOfOption, CsvOption, Form, form_of, print_csv, print_register
from ledger import Actor, Ledger
from ledger.commands import ReserveOffer
from ledger.errors import Conflict, Invalid, Refused
from ledger.vocabulary import CampaignId, Role, SubjectId, check_id
from projections import Campaign, Objection, QuarantinedBatch
from projections.marketing import MAX_SUBJECTS, MaySend

# So many reservations are under way at a time: they share transactions.
_WORKERS: Final = 16
_WAITING: Final = 4 * _WORKERS

_MAX_LINE: Final = 256

CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign, by id.")]
SubjectsOption = Annotated[
    str, typer.Option("--subjects", metavar="FILE|-", help="The people, one id a line; - is standard input.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("may-send")(may_send)
    group = typer.Typer(help="Offers to many people: reserved one by one, counted by campaign.", no_args_is_help=True)
    group.command("reserve")(reserve)
    group.command("list")(list_campaigns)
    app.add_typer(group, name="campaign")
    app.command("suppression")(suppression)
    app.command("imports")(imports)


def may_send(
    campaign: CampaignArgument,
    subjects: SubjectsOption = STANDARD_INPUT,
    as_csv: CsvOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say for each of up to 10,000 people whether an offer of a campaign may go to them, and why (not).

    Example: prooftrail may-send CAMPAIGN --subjects people.txt --json

    It records nothing and promises nothing: an offer is decided when it is reserved, and again when it is sent.
    """
    output, form = Output(as_json), form_of(as_csv, as_json)
    campaign_id = CampaignId(identifier(campaign, "CAMPAIGN"))
    asked: list[SubjectId] = []
    with _people(subjects) as people:
        for number, subject_id in people:
            if subject_id is None:
                raise Invalid("--subjects", f"line {number} is not an id")
            asked.append(subject_id)
            if len(asked) > MAX_SUBJECTS:
                raise Invalid("--subjects", f"are more than {MAX_SUBJECTS:,}: ask in several calls")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.may_send(campaign_id, asked)
    if form is Form.JSON:
        output.document({"campaign": campaign_id, "answers": found})
        return
    if form is Form.CSV:
        print_csv(MaySend, found)
    else:
        for one in found:
            typer.echo(f"{one.subject_id}\t{'yes' if one.allowed else 'no'}\t{one.basis or one.reason}")
    output.warn(f"{sum(one.allowed for one in found):,} of {counted(len(found), 'person', 'people')} may be written to")


def reserve(
    campaign: CampaignArgument,
    subjects: SubjectsOption = STANDARD_INPUT,
    role: RoleOption = Role.SERVICE,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reserve an offer for each of any number of people; a line comes out for each, in their order.

    Example: prooftrail campaign reserve CAMPAIGN --subjects people.txt > reserved.tsv

    Whoever may not be written to has a line with the reason, and that is recorded too. A run that was cut off is run
    again with the same file: what was decided stays decided, and is not recorded twice.
    """
    output = Output(as_json)
    campaign_id = CampaignId(identifier(campaign, "CAMPAIGN"))
    acting = actor(role, actor_id)
    outcomes: Counter[str] = Counter()
    with (
        _people(subjects) as people,
        opened(data) as (_, ledger),
        output.progress("offers") as tell,
    ):
        for done, (subject_id, outcome) in enumerate(reservations(ledger, campaign_id, people, acting), 1):
            outcomes[outcome] += 1
            if as_json:
                output.document({"subject": subject_id, "outcome": outcome})
            else:
                sys.stdout.write(f"{subject_id}\t{outcome}\n")
            if not done % 100:
                tell(done)
    if not as_json:
        for outcome, count in sorted(outcomes.items()):
            output.warn(f"{outcome}: {count:,}")
    if "conflict" in outcomes or "not-an-id" in outcomes or "campaign-unknown" in outcomes:
        raise typer.Exit(REFUSED)


def reservations(
    ledger: Ledger, campaign_id: CampaignId, people: Iterator[tuple[int, SubjectId | None]], acting: Actor
) -> Iterator[tuple[str, str]]:
    """Yield each person's id, or line number, and the outcome, in order; so many at a time as may wait."""
    waiting: deque[tuple[str, Future[str]]] = deque()
    workers = ThreadPoolExecutor(_WORKERS)
    try:
        for number, subject_id in people:
            who = f"line {number}" if subject_id is None else subject_id
            waiting.append((who, workers.submit(_reserve, ledger, campaign_id, subject_id, acting)))
            if len(waiting) >= _WAITING:
                done, outcome = waiting.popleft()
                yield done, outcome.result()
        while waiting:
            done, outcome = waiting.popleft()
            yield done, outcome.result()
    finally:
        # Whoever stops wants to stop: what is under way is recorded, what waits is left to the next run.
        workers.shutdown(cancel_futures=True)


def _reserve(ledger: Ledger, campaign_id: CampaignId, subject_id: SubjectId | None, acting: Actor) -> str:
    if subject_id is None:
        return "not-an-id"
    command = ReserveOffer(campaign_id=campaign_id, subject_id=subject_id)
    try:
        ledger.record(command, acting, idempotency_key=f"campaign:{campaign_id}:{subject_id}")
    except Refused as refusal:
        return refusal.code
    except Conflict:
        return "conflict"
    return "reserved"


def list_campaigns(as_csv: CsvOption = False, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Print every campaign, with how many offers are reserved, sent and suppressed, and for which reasons.

    Example: prooftrail campaign list --json
    """
    form = form_of(as_csv, as_json)
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.campaigns()
    columns = ("campaign", "offers of", "channel", "reserved", "sent", "suppressed")
    print_register(form, "campaigns", Campaign, found, columns, _campaign_row)


def _campaign_row(one: Campaign) -> tuple[object, ...]:
    suppressed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(one.suppressed.items()))
    return one.campaign_id, one.kind, one.channel, one.reserved, one.sent, suppressed


def suppression(
    as_of: AsOfOption = None, as_csv: CsvOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Print who objected to offers: by which channel, when it was received, and how many addresses are listed.

    Example: prooftrail suppression --csv > suppression.csv

    Addresses are listed as keyed digests, and shown to nobody.
    """
    form, then = form_of(as_csv, as_json), moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.suppression_list(as_of=then)
    columns = ("subject", "channel", "received (UTC)", "addresses", "sent since")
    print_register(form, "objections", Objection, found, columns, _objection_row)


def _objection_row(one: Objection) -> tuple[object, ...]:
    return one.subject_id, one.channel, f"{one.received_at:%Y-%m-%d %H:%M}", one.addresses, one.sent_since


def imports(
    as_of: AsOfOption = None, as_csv: CsvOption = False, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Print the batches of other sources that are stored and not usable: no valid guarantee, or a revoked one.

    Example: prooftrail imports --json
    """
    form, then = form_of(as_csv, as_json), moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.quarantined_batches(as_of=then)
    columns = ("batch", "source", "reason", "since (UTC)", "records", "not taken in")
    print_register(form, "batches", QuarantinedBatch, found, columns, _batch_row)


def _batch_row(one: QuarantinedBatch) -> tuple[object, ...]:
    return one.batch_id, one.source_id, one.reason, f"{one.since:%Y-%m-%d %H:%M}", one.records, one.suppressed


@contextmanager
def _people(name: str) -> Iterator[Iterator[tuple[int, SubjectId | None]]]:
    """Open a file of ids and yield them with their line numbers, None for a line that is no id. Raises Usage."""
    if name == STANDARD_INPUT:
        yield _ids(sys.stdin.buffer)
        return
    try:
        stream = open(name, "rb")  # noqa: SIM115  closed below; an error inside must not read as one of opening
    except (OSError, ValueError) as error:
        raise Usage(f"--subjects: cannot be read ({getattr(error, 'strerror', None) or 'no such name'})") from None
    with stream:
        yield _ids(stream)


def _ids(stream: BinaryIO) -> Iterator[tuple[int, SubjectId | None]]:
    number = 0
    while line := stream.readline(_MAX_LINE):
        number += 1
        too_long = len(line) == _MAX_LINE
        while len(line) == _MAX_LINE and not line.endswith(b"\n"):
            line = stream.readline(_MAX_LINE)
        # A line that is too long is no id, whatever it ends in.
        text = "too long" if too_long else line.decode("utf-8", "replace").strip()
        if not text:
            continue
        try:
            yield number, SubjectId(check_id(text, "--subjects"))
        except Invalid:
            yield number, None
