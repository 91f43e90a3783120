"""Every event: an immutable fact in the past, frozen, with a TOPIC that is for ever.

A personal field is marked in its type: `Personal[str]`, `Personal[bytes]` for exact bytes, or `PersonalMap` for
named values. Personal fields never stand in the entry; `sealing` puts a commitment there and the value elsewhere.
On reading they are `Withheld` until somebody who may opens them.

A changed event keeps its TOPIC: raise VERSION and add an `upcast_v<n>` that turns the data of version n into n+1.
What does not live here: when an event may happen (commands), and its bytes (entry).
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar

import msgspec
from eventsourcing.dcb.domain import Decision
from eventsourcing.utils import register_topic

from ledger.vocabulary import ActorId, RetentionClass, Role

T = TypeVar("T")

# A number that stands in an entry: what canonical JSON holds exactly (RFC 7493 §2.2).
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Withheld(Enum):
    """What a reader finds in place of a personal value: why it is not shown."""

    SEALED = "sealed"  # not opened
    ERASED = "erased"  # its key is recorded as destroyed
    MISSING = "missing"  # neither value nor recorded destruction: an alarm

    def __repr__(self) -> str:
        return f"<{self.value}>"


SEALED: Final = Withheld.SEALED
_PERSONAL: Final = "prooftrail:personal"
_PERSONAL_MAP: Final = "prooftrail:personal-map"

PersonalMap = Annotated[Mapping[str, Any], _PERSONAL_MAP]

if TYPE_CHECKING:
    Personal = Annotated[T | Withheld | None, _PERSONAL]
else:

    class Personal:
        """At run time only the mark: msgspec never sees a personal value, so it need not know the type."""

        def __class_getitem__(cls, _: object) -> object:
            return Annotated[Any, _PERSONAL]


class Actor(msgspec.Struct, frozen=True, gc=False):
    """Who acts: an opaque id, never a name or an address, and the role in which they act."""

    id: ActorId
    role: Role


SYSTEM: Final = Actor(id=ActorId("00000000-0000-4000-8000-000000000000"), role=Role.OPERATOR)


class Event(msgspec.Struct, Decision, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of all events. `by` is who caused it; the command seam fills it in."""

    TOPIC: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    PERSONAL: ClassVar[tuple[str, ...]] = ()
    PERSONAL_MAP: ClassVar[str | None] = None
    BLANK: ClassVar[dict[str, Any]] = {}  # the personal fields at their defaults
    RETENTION: ClassVar[RetentionClass | None] = None  # of the personal fields, where the type decides

    by: Actor = SYSTEM

    @property
    def retention(self) -> RetentionClass | None:
        """The retention class of the personal fields, None when there are none."""
        return self.RETENTION

    def mutate(self, obj: Any) -> Any:
        """Fold this event into a slice of `eventsourcing`."""
        obj.fold(self)
        return obj


BY_TOPIC: dict[str, type[Event]] = {}


def event(cls: type[T]) -> type[T]:
    """Register an event class under its TOPIC and read from its types which fields are personal."""
    assert issubclass(cls, Event)
    assert cls.TOPIC
    assert cls.TOPIC not in BY_TOPIC, cls
    hints = typing.get_type_hints(cls, include_extras=True)
    marks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    cls.PERSONAL = tuple(name for name, mark in marks.items() if _PERSONAL in mark)
    maps = [name for name, mark in marks.items() if _PERSONAL_MAP in mark]
    assert len(maps) <= 1, cls
    cls.PERSONAL_MAP = maps[0] if maps else None
    defaults = {field.name: field for field in msgspec.structs.fields(cls)}
    cls.BLANK = {name: defaults[name].default for name in cls.PERSONAL}
    if cls.PERSONAL_MAP is not None:
        cls.BLANK[cls.PERSONAL_MAP] = {}
    BY_TOPIC[cls.TOPIC] = cls
    register_topic(cls.TOPIC, cls)
    return cls


def upcaster(cls: type[Event], version: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that turns the data of `version` of this event into the next version's."""
    step: Callable[[dict[str, Any]], dict[str, Any]] = getattr(cls, f"upcast_v{version}")
    return step
