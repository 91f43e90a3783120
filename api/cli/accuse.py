"""accuse: hold what somebody kept against each other and against the log as it is published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.failure import REFUSED, Usage
from api.cli.options import JsonOption, input_bytes
from api.cli.output import Output, counted, path_text
from api.cli.publish import parse_key
from ledger.accusation import Accusation
from ledger.audit.source import open_source
from ledger.errors import StorageError, VerificationError
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.files import CHECKPOINT
from ledger.tlog.tiles import TileReader
from projections.evidence import verify
from projections.evidence.accuse import Kept, find_contradiction, kind_of

MAX_FILES: Final = 1_000

_PROOF: Final = ".tlog-proof"
_ENTRY: Final = ".entry.json"


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command("accuse")(accuse)


def accuse(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Receipts (.tlog-proof), packages (.zip), checkpoints.")
    ],
    keys: Annotated[
        list[str],
        typer.Option("--key", metavar="KEY", help="The ledger's public key; a former one too, if it had one."),
    ],
    log: Annotated[str | None, typer.Option("--log", metavar="DIR|URL", help="The log as it is published now.")] = None,
    to: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write the accusation.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for a contradiction in what you kept of a ledger, and write it as evidence that anybody can check.

    Example: prooftrail accuse mine.tlog-proof order.zip kept.checkpoint --key KEY --log https://example.com/log

    A receipt is two files, x.tlog-proof beside x.entry.json; name the first. Found are: two histories of one size, a
    checkpoint that a later one does not extend, a receipt whose entry is not where it was, counts that contradict each
    other, an entry that the tag index leaves out. Exit codes: 0 no contradiction; 1 there is one, and it was written;
    2 a file cannot be used. Check it anywhere: python3 verify.py accusation.json --key KEY
    """
    output = Output(as_json)
    if len(files) > MAX_FILES:
        raise Usage(f"at most {MAX_FILES} files at once")
    kept = Kept([parse_key(one) for one in keys])
    if any(key.name != kept.origin for key in kept.keys):
        raise Usage("--key: these keys are of different ledgers")
    for number, name in enumerate(files, 1):
        try:
            _take(kept, name, number)
        except VerificationError as error:
            # The log did not sign this: it says nothing about the log.
            raise Usage(f"file {number} does not verify under this key ({error})") from None
    found = _compare(output, kept, log)
    what = found.verify(kept.keys) if found is not None else None
    if found is not None:
        to = to or Path("accusation.json")
        _write_new(to, found.encode())
    if as_json:
        output.document(
            {
                "contradiction": found is not None, "claim": found.claim if found else None, "what": what,
                "file": path_text(to) if found and to else None,
                "entries": len(kept.entries), "checkpoints": len(kept.checkpoints),
            }
        )  # fmt: skip
    elif found is None:
        output.say(
            f"No contradiction among {counted(len(kept.entries), 'entry', 'entries')} and "
            f"{counted(len(kept.checkpoints), 'checkpoint')}",
            "bold green",
        )
    else:
        output.say(f"CONTRADICTION: {what}", "bold red")
        output.say(f"written:   {to}")
        output.say(f"Check it anywhere: python3 verify.py {to} --key '{kept.keys[0]}'")
    if found is not None:
        raise typer.Exit(REFUSED)


def _take(kept: Kept, name: str, number: int) -> None:
    data = input_bytes(name, verify.MAX_PACKAGE_BYTES, f"file {number}")
    match kind_of(data):
        case "package":
            kept.add_package(data)
        case "receipt":
            kept.add_entry(_beside(name, _PROOF, _ENTRY, number), data)
        case "entry":
            kept.add_entry(data, _beside(name, _ENTRY, _PROOF, number))
        case _:
            kept.add_checkpoint(data)


def _beside(name: str, ending: str, other: str, number: int) -> bytes:
    """Return the other file of a receipt. Raises Usage."""
    if not name.endswith(ending):
        raise Usage(f"file {number}: a receipt is two files, <name>{_PROOF} beside <name>{_ENTRY}")
    return input_bytes(name.removesuffix(ending) + other, verify.MAX_PACKAGE_BYTES, f"the {other} beside file {number}")


def _compare(output: Output, kept: Kept, log: str | None) -> Accusation | None:
    if log is None:
        return find_contradiction(kept)
    with open_source(log) as source:
        note = source.fetch(CHECKPOINT)
        checkpoint = open_checkpoint(note, kept.keys, kept.origin)
        largest = max(known.size for known, _ in kept.checkpoints)
        if largest > checkpoint.size:
            output.warn(
                f"the published log has {checkpoint.size} entries, a checkpoint that you kept {largest}: ask again "
                "later; a log that never grows back to there was cut"
            )
        return find_contradiction(kept, (TileReader(checkpoint.size, checkpoint.root, source.fetch), note))


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Usage("--output: there is a file of that name already") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
