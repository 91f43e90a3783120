"""Art. 15 answers and Art. 20 exports as files: JSON for programs, Markdown and CSV for people. Never cut."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from api.csv_text import write_rows
from ledger.errors import StorageError
from ledger.vocabulary import RecipientId
from projections.answer import Answer, Portable, RecipientTold

HEADER: Final = (
    "kind", "name", "value", "true_since", "recorded_at", "purpose", "basis", "media_type", "file_name",
)  # fmt: skip
NO_CONSULTATIONS: Final = (
    "Who looked at the data is recorded in the log of access, a ledger of its own; it is not part of this answer."
)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written: `sha256` is what `deliver-answer` names."""

    name: str
    bytes: int
    sha256: str
    items: int


def write_answer(answer: Answer, directory: Path) -> list[Written]:
    """Write answer.json and answer.md. Raises StorageError when one is there already or cannot be written."""

    def document(file: IO[str]) -> int:
        file.write(msgspec.json.format(msgspec.json.encode(answer)).decode() + "\n")
        return len(answer.data)

    def text(file: IO[str]) -> int:
        file.writelines(line + "\n" for line in markdown(answer))
        return len(answer.data)

    return [_write(directory, "answer.json", document), _write(directory, "answer.md", text)]


def write_export(things: Callable[[], Iterable[Portable]], directory: Path) -> list[Written]:
    """Write export.json and export.csv, one thing at a time. Bytes are base64. Raises StorageError."""

    def document(file: IO[str]) -> int:
        count = 0
        file.write('{"format":"prooftrail-export-1","things":[')
        for thing in things():
            file.write(("," if count else "") + "\n" + msgspec.json.encode(thing).decode())
            count += 1
        file.write("\n]}\n")
        return count

    def table(file: IO[str]) -> int:
        return write_rows(file, HEADER, map(_row, things()))

    return [_write(directory, "export.json", document), _write(directory, "export.csv", table)]


def _row(thing: Portable) -> Sequence[str]:
    return (
        thing.kind, thing.name, _text(thing.value), thing.true_since.isoformat(), thing.recorded_at.isoformat(),
        thing.purpose or "", thing.basis or "", thing.media_type or "", thing.file_name or "",
    )  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return b64encode(value).decode() if isinstance(value, bytes) else msgspec.json.encode(value).decode()


class _Digesting:
    """A text file that knows the digest and length of what went through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = sha256()
        self.size = 0

    def write(self, text: str) -> int:
        data = text.encode()
        self.digest.update(data)
        self.size += len(data)
        self._file.write(data)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)


def _write(directory: Path, name: str, fill: Callable[[Any], int]) -> Written:
    path = directory / name
    scratch = directory / f".{name}.part"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            raise StorageError(f"{path}: is there already; name another directory")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            digesting = _Digesting(file)
            items = fill(digesting)
            file.flush()
            os.fsync(file.fileno())
        # A link refuses a name that is taken: nothing is overwritten, and nothing stands half written.
        os.link(scratch, path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        scratch.unlink(missing_ok=True)
    return Written(name=name, bytes=digesting.size, sha256=digesting.digest.hexdigest(), items=items)


# --- Markdown -------------------------------------------------------------------------------------------------

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|!~&])")


def markdown(answer: Answer) -> Iterator[str]:
    """Yield the lines of the answer for people. Nothing in a value is taken for markup."""
    yield "# What is held about you (GDPR Art. 15)"
    yield ""
    yield f"- Controller: {_plain(answer.controller or 'not stated: no policy is adopted')}"
    if answer.contact:
        yield f"- Contact: {_plain(answer.contact)}"
    if answer.officer:
        yield f"- Data protection officer: {_plain(answer.officer)}"
    yield f"- Person: {answer.subject_id}, {answer.role}"
    if answer.client_id is not None:
        yield f"- Held for client {answer.client_id}, who decides about this data; the request is passed to them."
    others = [one for one in answer.records if one != answer.subject_id]
    if others:
        yield f"- The same person stands in {len(others)} more records, with an answer each: {', '.join(others)}"
    yield f"- As known at {answer.valid_at:%Y-%m-%d %H:%M:%S} UTC; on record since {answer.registered_at:%Y-%m-%d}"
    kept = {term.retention_class: term for term in answer.retention}
    yield from _table(
        "Data",
        ("field", "value", "true since", "purpose", "basis", "source", "kept until"),
        (
            (
                one.field, _held(one.state, one.value), f"{one.valid_from:%Y-%m-%d}", one.purpose, one.basis,
                " ".join(filter(None, (one.source, one.source_reference))),
                _until(kept.get(one.retention_class)),
            )
            for one in answer.data
        ),
    )  # fmt: skip
    yield from _table(
        "Known by",
        ("kind", "value", "since"),
        ((one.kind, _held(one.state, one.value), f"{one.recorded_at:%Y-%m-%d}") for one in answer.identifiers),
    )
    yield from _table(
        "As it was recorded",
        ("entry", "field", "value", "true since", "recorded at"),
        (
            (one.version, one.field, _held(one.state, one.value), f"{one.valid_from:%Y-%m-%d}", one.recorded_at)
            for one in answer.history
        ),
    )
    yield from _table(
        "Your statements",
        ("field", "statement"),
        ((one.field, _held(one.state, one.text)) for one in answer.statements),
    )
    yield from _table("Purposes", ("purpose", "in words"), ((one.purpose, one.description) for one in answer.purposes))
    yield from _table(
        "Categories of data",
        ("category", "in words", "fields"),
        (
            (one.category, one.description + (" (GDPR Art. 9)" if one.special else ""), ", ".join(one.fields))
            for one in answer.categories
        ),
    )
    yield from _table(
        "Where it comes from",
        ("source", "name", "reference", "fields", "since"),
        ((one.source, one.name, one.reference, ", ".join(one.fields), one.first_at) for one in answer.sources),
    )
    yield from _table(
        "To whom data went",
        ("name", "category", "country", "as", "fields", "purposes", "times", "first", "last"),
        map(_recipient, answer.recipients),
    )
    names: dict[RecipientId | None, str | None] = {one.recipient_id: one.name for one in answer.recipients if one.name}
    names[None] = "the company"
    yield from _table(
        "Consents",
        ("consent", "purpose", "recipient", "fields", "given", "withdrawn"),
        (
            (
                one.consent_id, one.purpose, names.get(one.recipient_id, one.recipient_id), ", ".join(one.fields),
                one.given_at,
                one.withdrawn_at,
            )
            for one in answer.consents
        ),
    )  # fmt: skip
    yield from _table(
        "Offers",
        ("what", "own or partner", "channels", "consent or campaign", "when"),
        ((one.what, one.kind, ", ".join(one.channels), one.about, one.recorded_at) for one in answer.offers),
    )
    yield from _table(
        "Which texts bind you",
        ("text", "version", "you were shown", "you accepted"),
        ((one.kind, one.version, one.presented, one.accepted) for one in answer.documents),
    )
    yield from _table(
        "Orders (their exact bytes are in answer.json)",
        ("order", "received", "standing", "bytes"),
        ((one.order_id, one.received_at, one.standing, one.content.size_bytes) for one in answer.orders),
    )
    yield from _table(
        "Requests",
        ("request", "kind", "received", "answer due", "stage"),
        ((one.request_id, one.kind, one.received_at, one.due_at, one.stage) for one in answer.requests),
    )
    yield from _table(
        "Restrictions",
        ("ground", "fields", "since", "lifted"),
        (
            (one.ground, ", ".join(one.fields) or "everything", one.restricted_at, one.lifted_at)
            for one in answer.restrictions
        ),
    )
    yield from _table(
        "How long it is kept",
        ("kept as", "runs from", "until", "by law until"),
        ((one.retention_class, one.started_at, _until(one), one.mandatory_until) for one in answer.retention),
    )
    yield from _consultations(answer)
    yield from ("", "## Your rights", "")
    for right in answer.rights:
        yield f"- {right}"


def _recipient(one: RecipientTold) -> Sequence[object]:
    abroad = f"{one.country} ({one.transfer_basis})" if one.transfer_basis else one.country
    how = "third party" if one.third_party else "processor"
    return (
        one.name or f"not on record by name: {one.recipient_id}", one.category, abroad,
        f"{how}, standing" if one.standing else how, "everything" if one.standing else ", ".join(one.fields),
        ", ".join(one.purposes), "" if one.standing else one.times, one.first_at, one.last_at,
    )  # fmt: skip


def _consultations(answer: Answer) -> Iterator[str]:
    title = "Who looked at it"
    if answer.consultations is None:
        yield from ("", f"## {title}", "", NO_CONSULTATIONS)
        return
    yield from _table(
        title,
        ("when", "role", "who", "purpose", "fields", "through", "case"),
        (
            (one.at, one.role, one.who, one.purpose, ", ".join(one.fields), one.door, one.case_id)
            for one in answer.consultations
        ),
    )


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    written = False
    for row in rows:
        if not written:
            yield "| " + " | ".join(header) + " |"
            yield "|" + " --- |" * len(header)
            written = True
        yield "| " + " | ".join(map(_plain, row)) + " |"
    if not written:
        yield "None."


def _plain(value: object) -> str:
    """Return a value on one line, with nothing that Markdown or HTML would obey."""
    if value is None:
        return ""
    text = f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value)
    text = "".join(c if c.isprintable() else " " if c.isspace() else f"\\u{ord(c):04x}" for c in text)
    return _MARKUP.sub(r"\\\1", text).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _held(state: str, value: Any) -> str:
    return (value if isinstance(value, str) else msgspec.json.encode(value).decode()) if value is not None else state


def _until(term: Any) -> str:
    if term is None:
        return ""
    return f"{term.until:%Y-%m-%d}" if term.until is not None else "while the relationship lasts, and then its period"
