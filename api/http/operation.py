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
    """Who answers an operation: a route, or what records one command, or many."""

    QUERY = "query"
    COMMAND = "command"
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
                summary=" ".join((function.__doc__ or "").split("\n\n")[0].split()), answer=function, shows=shows,
                parameters=parameters, body=body, result=result, paged=paged, media_types=media_types,
                headers=headers, about=about,
            )
        )  # fmt: skip
        return function

    return declare


def add(operation: Operation) -> None:
    """Take an operation in. Each id is given once."""
    if operation.id in OPERATIONS:
        raise ValueError(f"{operation.id}: is declared twice")
    OPERATIONS[operation.id] = operation
