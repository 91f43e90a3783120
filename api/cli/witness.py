"""witness, cosign: both sides of cosignatures: giving them to somebody else's ledger, asking for them for our own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from api.cli.failure import REFUSED, Usage
from api.cli.options import DataOption, JsonOption, opened
from api.cli.output import Output
from api.settings import WITNESS_STORE_FILE, make_witness, read_witness_key
from api.witness_server import PATH, WitnessServer
from ledger.cosigning import WitnessStatus
from ledger.errors import StorageError, VerificationError
from ledger.tlog.note import Verifier
from ledger.tlog.witness import open_witness

DEFAULT_DIRECTORY: Final = Path("prooftrail-witness")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("witness")(witness)
    app.command("cosign")(cosign)


def witness(
    make: Annotated[
        str | None,
        typer.Option("--init", metavar="NAME", help="Make a new witness of this name: a domain you hold and a path."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Serve add-checkpoint there, until stopped.")
    ] = None,
    logs: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="KEY", help="The public key of a ledger to witness; both during a rotation."),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Where the witness keeps its key and what it saw.")
    ] = DEFAULT_DIRECTORY,
    as_json: JsonOption = False,
) -> None:
    """Be a witness (C2SP tlog-witness): cosign each checkpoint of a ledger that extends the one before, and no other.

    Example: prooftrail witness --init witness.example/w1

    Example: prooftrail witness --listen 127.0.0.1:8090 --log 'example.com/records+1a2b3c4d+Af...='

    Run it where the ledger's operator has no say. Give its public key to whoever verifies, its address to the ledger's
    operator. Put a TLS proxy in front of it when it is on the internet. Never restore its directory from an older copy:
    it would forget what it promised.
    """
    output = Output(as_json)
    if (make is None) == (listen is None):
        raise Usage("either --init NAME or --listen HOST:PORT is needed")
    if make is not None:
        key = make_witness(data, make)
        if as_json:
            output.document({"name": key.name, "key": str(key)})
        else:
            output.say(f"Made the witness {key.name} in {data}", "bold")
            output.say(f"  public key, for whoever verifies: {key}")
        return
    _serve(output, listen or "", logs or [], data)


def _serve(output: Output, listen: str, logs: list[str], data: Path) -> None:
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise Usage("--listen: is a host and a port, such as 127.0.0.1:8090")
    if not logs:
        raise Usage("--log: the public key of at least one ledger is needed (prooftrail key prints it)")
    try:
        keys = [Verifier.parse(one) for one in logs]
    except VerificationError:
        raise Usage("--log: is a public key as `prooftrail key` prints it") from None
    signer = read_witness_key(data)
    found = open_witness(data / WITNESS_STORE_FILE, signer, keys, now=time.time)
    try:
        server = WitnessServer((host.strip("[]"), int(port)), found)
    except OSError as error:
        raise StorageError(f"--listen: this address cannot be used ({error.strerror})") from None
    shown = f"http://{host}:{server.server_address[1]}{PATH}"
    if output.as_json:
        output.document({"listening": shown, "key": str(signer.key)})
    else:
        output.say(f"Witness {signer.key} listens at {shown}")
    with server:
        server.serve_forever(poll_interval=0.2)


# --- our own ledger's witnesses -------------------------------------------------------------------------------


def cosign(
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.0, max=3600.0, help="How long to wait at most.")
    ] = 15.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask every configured witness now to cosign the last checkpoint, and show where each stands.

    Example: prooftrail cosign --timeout 30

    Witnesses stand in the file `witnesses` of the data directory (or $PROOFTRAIL_WITNESSES): a public key and an
    address a line. A program that keeps the ledger open asks by itself. Exit code 1 says that one did not answer.
    """
    output = Output(as_json)
    with opened(data) as (_, ledger):
        cosigning = ledger.cosigning
        if cosigning is None or not cosigning.names:
            raise Usage("this ledger has no witnesses; name them in the file `witnesses` of its data directory")
        missing = cosigning.wait_for(ledger.size(), timeout_s) if ledger.size() else []
        found = cosigning.status()
    if as_json:
        output.document({"witnesses": found, "missing": missing})
    else:
        show_witnesses(output, found)
        if missing:
            output.warn(f"not cosigned yet by {', '.join(missing)}; asked again whenever the ledger is open")
    if missing:
        raise typer.Exit(REFUSED)


def show_witnesses(output: Output, found: Sequence[WitnessStatus]) -> None:
    """Print where each witness of a ledger stands."""
    rows = [
        (one.name, "" if one.size is None else f"{one.size:,} entries", cosigned_at(one.time_s), one.error or "")
        for one in found
    ]
    output.table(("witness", "cosigned", "at (its clock)", "last failure"), rows)


def cosigned_at(time_s: int | None) -> str:
    """Return a witness's time as people read it; its clock may be anything."""
    if time_s is None:
        return ""
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_s} s"
