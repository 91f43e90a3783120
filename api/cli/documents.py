"""publish, documents, document-text, bindings: what is published, and which text bound a person on a day."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from api.cli.failure import Usage
from api.cli.options import (
    ActorOption,
    DataOption,
    JsonOption,
    RoleOption,
    SubjectOption,
    actor,
    identifier,
    input_bytes,
    moment,
    opened,
    word,
)
from api.cli.output import Output
from api.cli.tables import AsOfOption, CsvOption, form_of, print_register
from ledger.commands import PublishDocument
from ledger.commands.document import MAX_TEXT_BYTES
from ledger.errors import Invalid
from ledger.vocabulary import (
    DocumentKind,
    Language,
    Reference,
    Role,
    Sha256Hex,
    SubjectId,
    check_language,
    check_reference,
    check_sha256,
)
from projections import Binding, Document


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("publish")(publish)
    app.command("documents")(documents)
    app.command("document-text")(document_text)
    app.command("bindings")(bindings)


def publish(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The exact text, in UTF-8.")],
    kind: Annotated[DocumentKind, typer.Option(metavar="WORD", help=f"One of {', '.join(DocumentKind)}.")],
    version: Annotated[str, typer.Option("--document-version", metavar="WORD", help="Its version, such as 2026-1.")],
    language: Annotated[str, typer.Option(metavar="TAG", help="Its language, such as et.")],
    effective: Annotated[str, typer.Option("--effective", metavar="TIME", help="When it takes effect, with zone.")],
    published: Annotated[
        str | None, typer.Option("--published", metavar="TIME", help="When it was published (default: now).")
    ] = None,
    role: RoleOption = Role.OPERATOR,
    actor_id: ActorOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a version of the principles, the terms, the procedure or a wording of consent, byte for byte.

    Example: prooftrail publish terms.txt --kind terms --document-version 2026-2 --language et \\
      --effective 2027-01-01T00:00:00+02:00

    An amendment takes effect a month after it is published, at the earliest.
    """
    output = Output(as_json)
    try:
        text = input_bytes(file, MAX_TEXT_BYTES, "the document").decode()
    except UnicodeDecodeError as error:
        raise Invalid("text", f"is not UTF-8 (byte {error.start})") from None
    effective_at, published_at = moment(effective, "--effective"), moment(published, "--published")
    if effective_at is None:
        raise Usage("--effective: is a moment such as 2027-01-01T00:00:00+02:00")
    with opened(data) as (_, ledger):
        command = PublishDocument(
            kind=kind,
            version=Reference(word(check_reference, version, "--document-version")),
            language=Language(word(check_language, language, "--language")),
            text=text,
            published_at=published_at or ledger.now(),
            effective_at=effective_at,
        )
        receipt = ledger.record(command, actor(role, actor_id))
    if as_json:
        output.document({"index": receipt.index, "kind": kind, "version": version, "language": language})
    else:
        output.say(f"{kind} {version} in {language} is published: entry {receipt.index}")


def documents(
    as_of: AsOfOption = None, as_csv: CsvOption = False, as_json: JsonOption = False, data: DataOption = None
) -> None:
    """List the documents that were published, with the hash of each text.

    Example: prooftrail documents --json
    """
    form = form_of(as_csv, as_json)
    then = moment(as_of, "--as-of")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.documents(as_of=then)
    print_register(
        form, "documents", Document, found, ("index", "kind", "version", "language", "effective_at", "text_sha256")
    )


def document_text(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="The hash of the text: prooftrail documents.")],
    data: DataOption = None,
) -> None:
    """Print a published text, byte for byte.

    Example: prooftrail document-text SHA256 | sha256sum
    """
    digest = Sha256Hex(word(check_sha256, sha256, "SHA256"))
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        text = projections.document_text(digest)
    sys.stdout.buffer.write(text.encode())


def bindings(
    subject: SubjectOption,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="The day asked about, with zone.")],
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Say which principles and terms bound a person at a moment, and what they had seen and accepted by then.

    Example: prooftrail bindings --subject ID --at 2026-06-30T12:00:00+03:00
    """
    form = form_of(as_csv, as_json)
    subject_id = SubjectId(identifier(subject, "--subject"))
    then = moment(at, "--at")
    if then is None:
        raise Usage("--at: is a moment such as 2026-11-22T10:00:00Z")
    with opened(data) as (settings, ledger), settings.projections(ledger) as projections:
        projections.catch_up()
        found = projections.bindings(subject_id, then)
    print_register(form, "bindings", Binding, found, ("kind", "version", "presented", "accepted", "documents"))
