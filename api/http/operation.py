"""Operations: what the door can be asked, each with its stable id, its address, what it takes and what it shows.

A route is declared once, `@query(...)` above the function that answers it; the door does everything that is the same
for all: who asks, whether they may, what they stated, the access log, paging, problems. So a route stays thin: it
asks the projections and says what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from api.http.owners import About
from api.http.parameters import Parameter
from ledger.command import Command
from ledger.commands import RecordOrder
from ledger.vocabulary import SubjectId, Word

if TYPE_CHECKING:
    from api.http.ask import Ask

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv; charset=utf-8"
ZIP: Final = "application/zip"
BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain; charset=utf-8"


class Shows(StrEnum):
    """What an operation shows: that decides about the access log, and about who has to state a purpose."""

    PERSONAL = "personal"  # personal data, or who looked at it
    SEALED = "sealed"  # ids, words and commitments about people
    NOTHING = "nothing"  # nothing about a person


class Kind(StrEnum):
    """Who answers: a route, or what records one command, the order that a route makes, or many commands."""

    QUERY = "query"
    COMMAND = "command"
    INTAKE = "intake"
    BATCH = "batch"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation answers. `subjects` and `fields` are what the access log will say was shown.

    `items` is a list that the frame pages; `subject_of` says whom an item is about. `body` is bytes of `media_type`, or
    anything that JSON can hold. `secrets` says that a disclosure which is secret by law may be in it: that it was read
    is then kept from the person for as long.
    """

    body: Any = None
    items: Sequence[Any] | None = None
    subject_of: Callable[[Any], SubjectId | None] | None = None
    subjects: tuple[SubjectId, ...] = ()
    fields: tuple[Word, ...] = ()
    secrets: bool = False
    media_type: str = JSON
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    status: int = 200


class Intake(msgspec.Struct, frozen=True):
    """An order that is to be recorded, once for each `key`."""

    command: RecordOrder
    key: str | None


@dataclass(frozen=True)
class Body:
    """What an operation takes as its body: a JSON object of this struct, or bytes of these media types.

    `max_bytes` 0 is as many as an order may have.
    """

    struct: type[msgspec.Struct] | None = None
    media_types: tuple[str, ...] = (JSON,)
    max_bytes: int = 256 * 1024


def _by_path(ask: Ask) -> About:
    return ask.about()


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked."""

    id: str
    method: str
    path: str
    capability: str
    summary: str
    shows: Shows
    kind: Kind = Kind.QUERY
    answer: Callable[[Ask], Reply] | None = None  # of a query
    intake: Callable[[Ask], Intake] | None = None  # of an intake
    quick: Callable[[Ask], bool] = lambda ask: False  # whether `intake` is done in a fraction of a millisecond
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    result: Any = Any  # the type of the body, of one item where `paged`
    paged: bool = False
    media_types: tuple[str, ...] = (JSON,)
    command: type[Command] | None = None  # of a command
    headers: tuple[str, ...] = ()  # that it takes besides those of all
    about: Callable[[Ask], About] = _by_path

    @property
    def address(self) -> str:
        """The path as it is described to others: `{tile}` where the router has `{tile:path}`."""
        return self.path.replace(":path}", "}")


OPERATIONS: Final[dict[str, Operation]] = {}

F = TypeVar("F", bound=Callable[..., Reply])
M = TypeVar("M", bound=Callable[..., Intake])


def query(
    id: str,
    path: str,
    *,
    shows: Shows,
    result: Any = Any,
    method: str = "GET",
    parameters: tuple[Parameter, ...] = (),
    body: Body | None = None,
    paged: bool = False,
    media_types: tuple[str, ...] = (JSON,),
    headers: tuple[str, ...] = (),
    about: Callable[[Ask], About] = _by_path,
) -> Callable[[F], F]:
    """Declare the function below as an operation. Its module is its capability, its docstring the summary."""

    def declare(function: F) -> F:
        add(
            Operation(
                id=id, method=method, path=f"/v1{path}", capability=function.__module__.rsplit(".", 1)[1],
                summary=_summary(function), answer=function, shows=shows,
                parameters=parameters, body=body, result=result, paged=paged, media_types=media_types,
                headers=headers, about=about,
            )
        )  # fmt: skip
        return function

    return declare


def intake(
    id: str,
    path: str,
    *,
    result: Any,
    parameters: tuple[Parameter, ...],
    media_types: tuple[str, ...],
    quick: Callable[[Ask], bool],
    about: Callable[[Ask], About],
) -> Callable[[M], M]:
    """Declare the function below as an operation that makes an order of a file, of as many bytes as one may have."""

    def declare(function: M) -> M:
        add(
            Operation(
                id=id, method="POST", path=f"/v1{path}", capability=function.__module__.rsplit(".", 1)[1],
                summary=_summary(function), kind=Kind.INTAKE, intake=function, quick=quick, shows=Shows.NOTHING,
                parameters=parameters, body=Body(media_types=media_types, max_bytes=0), result=result,
                headers=("Idempotency-Key", "File-Name"), about=about,
            )
        )  # fmt: skip
        return function

    return declare


def _summary(function: Callable[..., Any]) -> str:
    return " ".join((function.__doc__ or "").split("\n\n")[0].split())


def add(operation: Operation) -> None:
    """Take an operation in. Each id is given once."""
    if operation.id in OPERATIONS:
        raise ValueError(f"{operation.id}: is declared twice")
    OPERATIONS[operation.id] = operation
