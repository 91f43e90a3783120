"""key, rotate-key: the keys that sign the log."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import DataOption, JsonOption, opened
from api.cli.output import Output, path_text
from api.settings import NEXT_SIGNING_KEY_FILE, SIGNING_KEY_FILE, read_settings
from ledger.errors import SigningKeyState
from ledger.opening import public_keys
from ledger.signing_keys import LogKeys


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("key")(key)
    app.command("rotate-key")(rotate_key)


def key(
    every: Annotated[
        bool, typer.Option("--all", help="Former keys too, each with the checkpoints that it signs.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the ledger's public key. Give it to everybody who should be able to verify; it needs no secret to read.

    Example: prooftrail key > ledger.pub

    Receipts and packages that were handed out under a former key verify with that one: see --all.
    """
    output = Output(as_json)
    settings = read_settings(data)
    settings.check_is_there()
    keys = public_keys(settings.data, settings.server)
    if as_json:
        output.document({"origin": keys.origin, "key": str(keys.newest), "keys": _documents(keys)})
    elif every:
        rows = [(_signs(one.since, one.until), one.verifier) for one in keys.keys]
        output.table(("signs checkpoints of", "public key"), [(span, str(verifier)) for span, verifier in rows])
    else:
        typer.echo(str(keys.newest))
        if len(keys.keys) > 1:
            output.warn("older checkpoints were signed by other keys; list them with: prooftrail key --all")


def _documents(keys: LogKeys) -> list[dict[str, object]]:
    return [{"key": str(one.verifier), "from_size": one.since, "to_size": one.until} for one in keys.keys]


def _signs(since: int, until: int | None) -> str:
    return f"{since:,} entries and more" if until is None else f"{since:,} to {until:,} entries"


def rotate_key(
    finish: Annotated[
        bool, typer.Option("--finish", help="End the overlap: the old key is retired, the new one signs alone.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the key that signs the log, in two steps. Both are recorded in the log; both can be run again.

    Example: prooftrail rotate-key

    Example: prooftrail rotate-key --finish

    The first step makes a new key, records it under the old one, and from then on both sign every checkpoint. Publish
    the new key, give everybody who verifies the time to take it over, then finish. Old receipts and packages keep
    verifying with the old key, which is kept in a file beside the new one and never deleted.
    """
    output = Output(as_json)
    with opened(data) as (settings, ledger):
        # What an interrupted finish left to do.
        kept = None if ledger.log_keys().overlaps else settings.adopt_next_signer(ledger.verifier)
        index: int | None = None
        if finish:
            try:
                index = ledger.retire_key()
            except SigningKeyState:
                if kept is None:
                    raise
            kept = kept or settings.adopt_next_signer(ledger.verifier)
        else:
            if ledger.log_keys().overlaps:
                raise SigningKeyState(why="a rotation is under way; end it with: prooftrail rotate-key --finish")
            index = ledger.rotate_key(settings.next_signer(ledger.origin).verifier)
        keys = ledger.log_keys()
    if as_json:
        where = path_text(kept) if kept else None
        output.document({"index": index, "key": str(keys.newest), "kept": where, "keys": _documents(keys)})
        return
    if finish:
        output.say(f"The overlap ended: {SIGNING_KEY_FILE} alone signs the log now", "bold")
        output.say(f"  former key, kept aside: {kept}" if kept else "  the key files are not in this directory")
    else:
        output.say("Recorded: from now on the old and the new key both sign the log", "bold")
        output.say(f"  {settings.data / NEXT_SIGNING_KEY_FILE}: the new key; keep a copy elsewhere")
        output.say("Next: publish the new public key; when everybody has it: prooftrail rotate-key --finish")
    output.say(f"  public key, for whoever verifies: {keys.newest}")
