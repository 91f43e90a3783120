"""The log itself: checkpoint and tiles as C2SP has them, entries and their proofs, receipts, the feed, explanations."""

from __future__ import annotations

from typing import Final

import msgspec

from api.event_json import recorded_document
from api.http.ask import Ask
from api.http.commanding import ReceiptDocument, parse_recorded, receipt_document
from api.http.operation import BYTES, JSON, NDJSON, TEXT, Body, Reply, Shows, query
from api.http.owners import About, people_of
from api.http.parameters import FROM, TO, Parameter, number
from api.http.problems import Problem
from api.http.secrecy import concerns_disclosure
from ledger.command import Recorded
from ledger.errors import Invalid
from ledger.explain import Explanation, explain, explain_command
from ledger.receipt import Receipt
from ledger.tlog.tiles import TILE_WIDTH, Tile

# How many events one answer of the feed has at most: read on from where it ends.
FEED: Final = 1_000
# How long a reader may wait for the first one: less than any request may take.
MAX_WAIT_S: Final = 20


def _seconds(text: str, name: str) -> int:
    if (found := number(text, name)) > MAX_WAIT_S:
        raise Invalid(name, f"is a whole number from 0 to {MAX_WAIT_S}")
    return found


@query("read-checkpoint", "/log/checkpoint", shows=Shows.NOTHING, result=str, media_types=(TEXT,))
def read_checkpoint(ask: Ask) -> Reply:
    """Read the last signed checkpoint, with the cosignatures that were collected (C2SP tlog-checkpoint)."""
    last = ask.ledger.checkpoint()
    if last is None:
        raise Problem("not-found")
    return Reply(body=ask.ledger.with_cosignatures(*last), media_type=TEXT)


@query(
    "read-entry-bundle", "/log/tile/entries/{tile:path}", shows=Shows.SEALED, result=bytes, media_types=(BYTES,)
)  # fmt: skip
def read_entries(ask: Ask) -> Reply:
    """Read an entry bundle of the log (C2SP tlog-tiles), such as x001/234 or 000.p/17: events, values sealed."""
    path = f"tile/entries/{ask.path['tile']}"
    content, tile = _file(ask, path), Tile.parse(path)
    first = tile.n * TILE_WIDTH
    shown = ask.ledger.read(after=first, end=first + tile.width)
    return Reply(body=content, media_type=BYTES, subjects=people_of(tag for one in shown for tag in one.tags))


@query("read-tile", "/log/tile/{tile:path}", shows=Shows.NOTHING, result=bytes, media_types=(BYTES,))
def read_tile(ask: Ask) -> Reply:
    """Read a tile of hashes of the log (C2SP tlog-tiles), such as 0/x001/234 or 0/000.p/17."""
    return Reply(body=_file(ask, f"tile/{ask.path['tile']}"), media_type=BYTES)


def _file(ask: Ask, path: str) -> bytes:
    try:
        return ask.ledger.files().read(path)
    except Invalid:
        raise Problem("not-found") from None


@query("read-log-key", "/log/key", shows=Shows.NOTHING, result=dict)
def read_key(ask: Ask) -> Reply:
    """Read the public keys of the log: the one that signs, and former ones."""
    keys = ask.ledger.log_keys()
    return Reply(
        body={"origin": ask.ledger.origin, "key": str(keys.newest), "keys": [str(k.verifier) for k in keys.keys]}
    )


@query("read-entry", "/log/entries/{index}", shows=Shows.SEALED, result=dict)
def read_entry(ask: Ask) -> Reply:
    """Read the event at an index, with personal values sealed."""
    found = Recorded.parse(_entry(ask))
    return Reply(body=recorded_document(found), subjects=people_of(found.tags), secrets=concerns_disclosure(found.tags))


@query("read-proof", "/log/entries/{index}/proof", shows=Shows.NOTHING, result=str, media_types=(TEXT,))
def read_proof(ask: Ask) -> Reply:
    """Read the tlog-proof of an entry (C2SP), under the first checkpoint with it that every witness cosigned."""
    _entry(ask)
    return Reply(body=ask.ledger.prove_cosigned(ask.path["index"]), media_type=TEXT)


@query("read-receipt", "/log/entries/{index}/receipt", shows=Shows.SEALED, result=ReceiptDocument)
def read_receipt(ask: Ask) -> Reply:
    """Read the receipt of one entry again: its exact bytes and its proof."""
    entry = _entry(ask)
    proof = ask.ledger.prove_cosigned(ask.path["index"])
    receipt, found = Receipt(ask.path["index"], (entry,), (proof,)), Recorded.parse(entry)
    body = receipt_document(receipt, ask.caller.actor.role)
    return Reply(body=body, subjects=people_of(found.tags), secrets=concerns_disclosure(found.tags))


def _entry(ask: Ask) -> bytes:
    try:
        return ask.ledger.entry(ask.path["index"])
    except Invalid:
        raise Problem("not-found") from None


@query(
    "read-events", "/log/events", shows=Shows.SEALED, result=dict, media_types=(NDJSON,),
    parameters=(
        FROM, TO, Parameter("wait_s", f"Wait so long for the first one, at most {MAX_WAIT_S} seconds.", _seconds,
                            {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S}),
    ),
)  # fmt: skip
def read_events(ask: Ask) -> Reply:
    """Read the log from an index on as NDJSON, values sealed, at most 1,000 events: read on from `Next-Index`."""
    first = ask.get("from") or 0
    end = min(ask.ledger.size(), first + FEED, *(one for one in (ask.get("to"),) if one is not None))
    found = list(ask.ledger.read(after=first, end=end)) if end > first else []
    lines = b"".join(msgspec.json.encode(recorded_document(one)) + b"\n" for one in found)
    subjects = people_of(tag for one in found for tag in one.tags)
    return Reply(
        body=lines, media_type=NDJSON, headers={"Next-Index": str(max(first, end))}, subjects=subjects
    )  # fmt: skip


@query("explain-entry", "/log/entries/{index}/explanation", shows=Shows.SEALED, result=Explanation)
def explain_entry(ask: Ask) -> Reply:
    """Explain a decision: the entries it rested on, the rules that decided it, the policy of that day."""
    found = Recorded.parse(_entry(ask))
    body = explain(ask.ledger, ask.path["index"])
    return Reply(body=body, subjects=people_of(found.tags), secrets=concerns_disclosure(found.tags))


@query(
    "explain-command", "/explain", method="POST", shows=Shows.SEALED, result=Explanation,
    body=Body(media_types=(JSON,), max_bytes=1024 * 1024),
)  # fmt: skip
def explain_a_command(ask: Ask) -> Reply:
    """Explain how a command would be decided now, and record nothing. The body is as in a batch."""
    asked = parse_recorded(ask.body)
    about = About.of(asked.command)
    subjects = () if about.subject_id is None else (about.subject_id,)
    return Reply(body=explain_command(ask.ledger, asked.command, ask.caller.actor), subjects=subjects)
