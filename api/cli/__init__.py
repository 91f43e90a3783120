"""The command line `prooftrail`: wires the commands and says how the program ends.

One file a capability: setup (init, new-id), keys (key, rotate-key), policy, recording (register, record, commands),
orders (record-order), people (state, lookup), recipients (recipients, disclosures, obligations), marketing (may-send,
campaign, suppression, imports), requests (requests, holds, quarantine, retention, answer, export), history (history,
replay), explain, documents, registers, access, evidence (prove, index), audit (verify, checkpoint, rebuild), publish
(export-log, receipt, audit), accuse, witness (witness, cosign), copy, duties (tick, owed), serve, tokens (token),
api_keys (api-key), demo. A door knows no rules: it builds commands, and shows what the ledger answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli import (
    access,
    accuse,
    api_keys,
    audit,
    copy,
    demo,
    documents,
    duties,
    evidence,
    explain,
    history,
    keys,
    marketing,
    orders,
    people,
    policy,
    publish,
    recipients,
    recording,
    registers,
    requests,
    serve,
    setup,
    tokens,
    witness,
)
from api.cli.failure import CANNOT, DONE, INTERRUPTED, READER_GONE, Failure, failure_of, report

_SIGN_OFF = """\
[bold]Exit codes[/bold]: 0 done, 1 refused or not verified, 2 wrong usage or cannot start.

[bold]Settings[/bold]: PROOFTRAIL_DATA, PROOFTRAIL_KEK, PROOFTRAIL_GUARD, PROOFTRAIL_WITNESSES,
PROOFTRAIL_MAX_ORDER_BYTES, PROOFTRAIL_TERMS, PROOFTRAIL_INDEX_EVERY_S, PROOFTRAIL_PRIVATE_NETWORKS,
PROOFTRAIL_OIDC_ISSUER, PROOFTRAIL_OIDC_AUDIENCE, PROOFTRAIL_OIDC_JWKS, PROOFTRAIL_LOCAL_TOKENS.

[bold]First steps[/bold]: prooftrail demo, or: prooftrail init
"""


class Prooftrail(TyperGroup):
    """The program: every way to end it passes here, in tests as in a shell."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit with its code."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in words
        try:
            code = super().main(words, "prooftrail", complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except (BrokenPipeError, SystemExit) as error:
            # The libraries leave with 1 when the reader of a pipe went away, which would say that a rule refused.
            if not isinstance(error if isinstance(error, OSError) else error.__context__, BrokenPipeError):
                raise
            # Python flushes once more at exit, into a pipe that nobody reads.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
            sys.exit(READER_GONE)
        except Exception as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(getattr(error, "message", ""), err=True)
                sys.exit(CANNOT)
            failure = failure_of(error)
            report(failure, as_json=as_json)
            sys.exit(failure.exit_code)
        if code == INTERRUPTED:
            words_of_it = "interrupted; what was acknowledged is recorded, nothing is half done"
            report(Failure("interrupted", words_of_it, INTERRUPTED), as_json=as_json)
        sys.exit(code if isinstance(code, int) else DONE)


app = typer.Typer(
    name="prooftrail",
    cls=Prooftrail,
    help="An audit ledger for personal data: immutable events, enforced rules, evidence that verifies offline.",
    epilog=_SIGN_OFF,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"prooftrail {version('prooftrail')}")
        except PackageNotFoundError:
            typer.echo("prooftrail (not installed)")
        raise typer.Exit


@app.callback()
def _program(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


_CAPABILITIES = (
    setup, keys, policy, recording, orders, people, recipients, marketing, requests, history, explain, documents,
    registers, access, evidence, audit, publish, accuse, witness, copy, duties, serve, tokens, api_keys, demo,
)  # fmt: skip

for capability in _CAPABILITIES:
    capability.add_to(app)


def main() -> None:
    """Run the program: the entry point of the distribution."""
    # Whatever a ledger writes is its owner's: packages, receipts and stores hold people's data.
    os.umask(0o077)
    app()
