"""Command, Boundary, Fact: our words over `eventsourcing.dcb`, and the one seam to it.

A command is a frozen request. It names its boundary, the selectors of everything its decision depends on, and decides
from what was recorded there: facts, or a refusal. `CommandSlice` runs it as a slice of the library: advance over the
boundary, execute, collect. What does not live here: storage and sealing (Ledger), and any rule (commands/).
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache, partial
from typing import Any, ClassVar, Final, TypeVar, cast

import msgspec
from eventsourcing.dcb.domain import Selector, Slice, Tagged

from ledger import vocabulary
from ledger.canonical import check_text
from ledger.entry import event_of, parse, parse_moment
from ledger.errors import Invalid, Refused
from ledger.events import Actor, Event
from ledger.keys import DataKey, KeyScope
from ledger.rule import Rule
from ledger.storage.engine import Query, QueryItem
from ledger.vocabulary import IdentifierKind, SubjectId, Tag

E = TypeVar("E", bound=Event)


class Select(Selector):
    """The library's selector, with what it is to the engine: `item`."""

    def __init__(self, kinds: tuple[type[Event], ...], tags: tuple[Tag, ...], *, ever: bool = False) -> None:
        super().__init__(kinds, tags)
        self.item = QueryItem(_topics(kinds), tags, ever)


Boundary = Sequence[Select]


@cache
def _topics(kinds: tuple[type[Event], ...]) -> tuple[str, ...]:
    return tuple(kind.TOPIC for kind in kinds)


# A day inside of what a datetime can hold in any zone.
EARLIEST: Final = datetime(1, 1, 3, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 29, tzinfo=UTC)


class Recorded(msgspec.Struct, frozen=True):
    """An event with its place in the log. `recorded_at` is when it became known, UTC."""

    index: int
    recorded_at: datetime
    tags: tuple[Tag, ...]
    event: Event

    @classmethod
    def parse(cls, entry: bytes) -> Recorded:
        """Return the event of an entry with its place in the log, fields sealed. Raises Tampered."""
        parsed = parse(entry)
        return cls(parsed.index, parse_moment(parsed.recorded_at), parsed.tag_names, event_of(parsed))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that rules read."""

    order_bytes: int = 25 * 1024 * 1024
    authorization_s: int = 15 * 60


class Addresses:
    """Addresses as keyed digests, so that a rule can tell whether two are the same and never sees one.

    This one knows none; the ledger has its own (`ledger.suppression`).
    """

    def digest(self, kind: IdentifierKind, value: str) -> str | None:
        """Return the digest of an address, None when nothing of it identifies anybody."""
        return None

    def of(self, recorded: Recorded) -> frozenset[str]:
        """Return the digests of the addresses that a recorded event set; none where they are erased."""
        return frozenset()

    def objectors(self, digest: str) -> frozenset[SubjectId]:
        """Return who objected to offers with this address. To be decided on with a guard: see Fact."""
        return frozenset()


class Context(msgspec.Struct, frozen=True):
    """What a decision may use besides its boundary: the moment, who asks, limits, the subject's keys, addresses."""

    now: datetime
    actor: Actor
    limits: Limits
    keys_of: Callable[[SubjectId], list[DataKey]]
    addresses: Addresses = Addresses()


class Fact(Tagged[Event]):
    """A new event with its tags; `scope` is the key under which its personal fields are sealed.

    `guards` are selectors of events that must not come in between, and that the boundary would be too large with.
    """

    def __init__(self, event: Event, tags: Iterable[Tag], scope: KeyScope | None = None, guards: Boundary = ()) -> None:
        super().__init__([*tags], event)
        self.scope = scope
        self.guards = guards


class KeptRefusal(Exception):
    """Raised by a decision that refuses, and wants the refusal itself recorded as a fact."""

    def __init__(self, refusal: Refused, fact: Fact) -> None:
        super().__init__(refusal)
        self.refusal = refusal
        self.fact = fact


class Past:
    """What was recorded in a command's boundary, in order."""

    def __init__(self) -> None:
        self.all: list[Recorded] = []

    def of(self, *kinds: type[E]) -> Iterable[E]:
        """Yield the events of these kinds, oldest first."""
        return (recorded.event for recorded in self.all if isinstance(recorded.event, kinds))

    def last(self, *kinds: type[E]) -> E | None:
        """Return the newest event of these kinds, or None."""
        for recorded in reversed(self.all):
            if isinstance(recorded.event, kinds):
                return recorded.event
        return None


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request to record something. Subclasses are decorated with `@command` and stand in `ledger.commands`."""

    NAME: ClassVar[str] = ""
    RECORDS: ClassVar[tuple[type[Event], ...]] = ()  # the events that it records when it is allowed
    KEEPS: ClassVar[tuple[type[Event], ...]] = ()  # the events that keep a refusal of this command, in `reason`
    RULES: ClassVar[tuple[Rule, ...]] = ()  # what it enforces
    CHECKS: ClassVar[tuple[tuple[str, Callable[[Any, str], object], bool], ...]] = ()  # name, check, may be None

    def boundary(self) -> Boundary:
        """Return the selectors of all events that the decision depends on; none when it depends on nothing recorded.

        Asks nothing of `self` but fields that its events have under the same name: an explanation asks the event.
        """
        raise NotImplementedError

    @classmethod
    def decided(cls, event: Event) -> bool:
        """Whether it was this command that recorded an event of RECORDS, for kinds that several commands record."""
        return True

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        """Return the facts to record. Raises Refused, or KeptRefusal. Pure: no clock, no store, no randomness."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise Invalid, naming the field, unless each field has the form that its type promises."""
        for name, check, optional in self.CHECKS:
            value = getattr(self, name)
            if value is None and optional:
                continue
            try:
                check(value, name)
            except (TypeError, AttributeError):
                raise Invalid(name, "is of another type than this field takes") from None


BY_NAME: dict[str, type[Command]] = {}

C = TypeVar("C", bound=Command)


def command(cls: type[C]) -> type[C]:
    """Register a command under its NAME and read from its types how each field is checked."""
    assert cls.NAME
    assert cls.NAME not in BY_NAME, cls
    hints = typing.get_type_hints(cls, include_extras=True)
    found = (
        (name, _checker(hints[name]), type(None) in typing.get_args(hints[name])) for name in cls.__struct_fields__
    )
    cls.CHECKS = tuple((name, check, optional) for name, check, optional in found if check is not None)
    BY_NAME[cls.NAME] = cls
    return cls


class CommandSlice(Slice[Event]):
    """One attempt to carry out a command, as a slice of the library; with `trusting`, what is `unused` is believed."""

    def __init__(self, command: Command, context: Context, *, trusting: bool = False) -> None:
        self.command = command
        self.context = context
        self._trusting = trusting
        self._query: Query | None = None
        self.past = Past()
        self.facts: Sequence[Fact] = ()
        self.refusal: Refused | None = None

    def consistency_boundary(self) -> Boundary:
        return self.command.boundary()

    @property
    def query(self) -> Query:
        """The boundary as the engine's query."""
        if self._query is None:
            self._query = query_of(self.consistency_boundary(), trusting=self._trusting)
        return self._query

    def fold(self, recorded: Recorded) -> None:
        """Take in one event of the boundary."""
        self.past.all.append(recorded)
        self.last_known_position = recorded.index + 1

    def execute(self) -> None:
        """Decide. Raises Refused; a refusal to be kept leaves its fact in `facts` and itself in `refusal`."""
        try:
            self.facts = self.command.decide(self.past, self.context)
        except KeptRefusal as kept:
            self.facts, self.refusal = (kept.fact,), kept.refusal
        for fact in self.facts:
            msgspec.structs.force_setattr(fact.decision, "by", self.context.actor)
        self.new_decisions.extend(self.facts)


def selector(*kinds: type[Event], tags: Iterable[Tag]) -> Select:
    """Return the selector of events of these kinds (all, when none is named) that carry every one of `tags`."""
    return Select(kinds, tuple(tags))


def unused(boundary: Boundary) -> Boundary:
    """Return the same boundary, of ids that the command brings into being: there is nothing, unless somebody errs.

    So the first attempt does not look. The append is on the condition that there never was anything; where that does
    not hold, the next attempt reads what there is.
    """
    return tuple(Select(cast(tuple[type[Event], ...], one.types), one.item.tags, ever=True) for one in boundary)


def query_of(boundary: Boundary, *, trusting: bool = False) -> Query:
    """Return a boundary as the engine's query; with `trusting`, what is `unused` is there to be checked, not read."""
    if trusting:
        return tuple([one.item for one in boundary])
    return tuple([QueryItem(one.item.types, one.item.tags) if one.item.ever else one.item for one in boundary])


# --- checks by type -------------------------------------------------------------------------------------------

_WORD_CHECKS: dict[object, Callable[[str, str], object]] = {
    vocabulary.Word: vocabulary.check_word,
    vocabulary.Reference: vocabulary.check_reference,
    vocabulary.Sha256Hex: vocabulary.check_sha256,
    vocabulary.MediaType: vocabulary.check_media_type,
    vocabulary.Language: vocabulary.check_language,
    vocabulary.Country: vocabulary.check_country,
    str: check_text,
}
_ID_CHECKS: dict[object, Callable[[str, str], object]] = dict.fromkeys(
    (
        vocabulary.SubjectId,
        vocabulary.ClientId,
        vocabulary.ActorId,
        vocabulary.RecipientId,
        vocabulary.ConsentId,
        vocabulary.DisclosureId,
        vocabulary.OrderId,
        vocabulary.CaseId,
        vocabulary.KeyId,
        vocabulary.RequestId,
        vocabulary.ProposalId,
        vocabulary.RestrictionId,
        vocabulary.HoldId,
        vocabulary.MandateId,
        vocabulary.BreachId,
        vocabulary.ViolationId,
        vocabulary.FlagId,
        vocabulary.CampaignId,
        vocabulary.SourceId,
        vocabulary.GuaranteeId,
        vocabulary.BatchId,
    ),
    vocabulary.check_id,
)
_CHECKS = _WORD_CHECKS | _ID_CHECKS


def _checker(hint: Any) -> Callable[[Any, str], object] | None:
    """Return the check of a field of this type, None where msgspec's own decoding says it all."""
    if hint in _CHECKS:
        return _CHECKS[hint]
    if hint is datetime:
        return _check_aware
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        checks = [check for check in map(_checker, arguments) if check is not None]
        assert len(checks) <= 1, hint
        return checks[0] if checks else None
    if origin is Mapping:
        return partial(_check_kind, dict)
    if origin is tuple:
        return _each(_checker(arguments[0]))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _check_struct
    if isinstance(hint, type) and issubclass(hint, Enum | bytes | int):
        # A bare "consent" is not LegalBasis.CONSENT to a rule that asks with `is`.
        return partial(_check_kind, hint)
    return None


def _check_kind(kind: type, value: object, field: str) -> None:
    # True is an int to Python, and to nobody else.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Invalid(field, f"is not of type {kind.__name__}")


def _check_aware(moment: datetime, field: str) -> None:
    if moment.tzinfo is None:
        raise Invalid(field, "has no time zone: write it with Z or an offset")
    if not EARLIEST <= moment <= LATEST:
        raise Invalid(field, f"is not between {EARLIEST:%Y} and {LATEST:%Y}")


def _each(check: Callable[[Any, str], object] | None) -> Callable[[Any, str], object] | None:
    if check is None:
        return None

    def check_each(values: Iterable[Any], field: str) -> None:
        _check_kind(tuple, values, field)
        for value in values:
            check(value, field)

    return check_each


def _check_struct(value: msgspec.Struct, field: str) -> None:
    hints = typing.get_type_hints(type(value), include_extras=True)
    for name in value.__struct_fields__:
        check, member = _checker(hints[name]), getattr(value, name)
        if check is not None and member is not None:
            check(member, f"{field}.{name}")
