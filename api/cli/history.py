"""history, replay: the log as it is, by what it is about or from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from typing import Annotated

import typer

from api.cli.failure import Usage
from api.cli.options import DataOption, JsonOption, identifier, opened, word
from api.cli.output import Output
from api.event_json import facts, recorded_document
from ledger import Ledger
from ledger.canonical import check_text
from ledger.command import Recorded
from ledger.errors import Invalid, OrderUnknown, Refused, SubjectUnknown
from ledger.events import Event
from ledger.storage.engine import QueryItem
from ledger.vocabulary import OrderId, SubjectId, Tag, order_tag, subject_tag

# A table of more rows than this is not read by anybody, and rich holds all of it in memory.
TABLE_ROWS = 200

_COLUMNS = ("#", "recorded at", "event", "what", "about")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("history")(history)
    app.command("replay")(replay)


def history(
    subject: Annotated[str | None, typer.Option("--subject", metavar="ID", help="All about a person.")] = None,
    order: Annotated[str | None, typer.Option("--order", metavar="ID", help="All about an order.")] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="All with a tag, such as client:ID or recipient:ID.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every event about a person, an order, or any tag, oldest first. Personal values stay sealed.

    Example: prooftrail history --order ID

    Example: prooftrail history --tag recipient:ID --json
    """
    output = Output(as_json)
    if sum(one is not None for one in (subject, order, tag)) != 1:
        raise Usage("one of --subject, --order and --tag is needed")
    unknown: Refused | None = None
    if subject is not None:
        subject_id = SubjectId(identifier(subject, "--subject"))
        wanted, unknown = subject_tag(subject_id), SubjectUnknown(subject=subject_id)
    elif order is not None:
        order_id = OrderId(identifier(order, "--order"))
        wanted, unknown = order_tag(order_id), OrderUnknown(order=order_id)
    else:
        wanted = Tag(word(check_text, tag or "", "--tag"))
    with opened(data) as (_, ledger):
        found = _with_events(ledger, ledger.read((QueryItem((), (wanted,)),)), False)
        count = _print(output, found)
    if not count and unknown is not None:
        raise unknown
    if not count and not as_json:
        output.say("nothing is recorded under this tag")


def replay(
    first: Annotated[int, typer.Option("--from", metavar="N", min=0, help="The first entry.")] = 0,
    last: Annotated[int | None, typer.Option("--to", metavar="N", min=0, help="The last entry (default: all).")] = None,
    show: Annotated[
        bool, typer.Option("--open", help="Open the personal values: whoever runs this sees them.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the events of the log in their order, as a table or as JSON, one a line. Personal values stay sealed.

    Example: prooftrail replay --from 0 --to 9

    Example: prooftrail replay --json | jq -r .type | sort | uniq -c
    """
    output = Output(as_json)
    if last is not None and last < first:
        raise Usage("--to: is before --from")
    with opened(data) as (_, ledger):
        size = ledger.size()
        if first > size or (first == size and first > 0):
            raise Invalid("--from", f"there is no entry {first}; the log has {size}")
        end = size if last is None else min(last + 1, size)
        _print(output, _with_events(ledger, ledger.read(after=first, end=end), show))


def _with_events(ledger: Ledger, found: Iterator[Recorded], show: bool) -> Iterator[tuple[Recorded, Event]]:
    for recorded in found:
        yield recorded, ledger.open(recorded.index) if show else recorded.event


def _print(output: Output, found: Iterator[tuple[Recorded, Event]]) -> int:
    """Print events as they come, and return how many there were."""
    count = 0
    rows: list[tuple[object, ...]] = []
    for recorded, event in found:
        count += 1
        document = recorded_document(recorded, event)
        if output.as_json:
            output.document(document)
            continue
        # Keys are how values are sealed; they say nothing to a reader.
        about = "\n".join(tag for tag in recorded.tags if not tag.startswith("key:"))
        what = facts(event, recorded.tags)
        if not output.is_wide:
            output.say(f"{recorded.index}  {document['recorded_at']}  {event.TOPIC}", "bold")
            output.say(indent("\n".join(filter(None, (what, about))), "    "))
            continue
        rows.append((recorded.index, document["recorded_at"], event.TOPIC, what, about))
        if len(rows) == TABLE_ROWS:
            output.table(_COLUMNS, rows)
            rows = []
    if rows:
        output.table(_COLUMNS, rows)
    return count
