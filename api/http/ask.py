"""What one caller asks: who, which operation, its parameters read and checked, and what the answer may be made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from api.command_json import MAX_IDEMPOTENCY_KEY
from api.http.identity import Caller
from api.http.operation import Operation
from api.http.owners import About
from api.http.parameters import Cursor
from ledger import Ledger
from ledger.errors import Invalid
from ledger.state.employee import STAFF
from ledger.vocabulary import ActorId, ClientId, OrderId, Purpose, Reference, SubjectId, Word
from projections import AsOf, Projections

if TYPE_CHECKING:
    from api.http.service import Service


def owned_key(actor_id: ActorId, key: str | None) -> str | None:
    """Return an idempotency key as the ledger keeps it: two callers who chose the same one asked for two things."""
    if key is None:
        return None
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        raise Invalid("Idempotency-Key", f"is a text of 1 to {MAX_IDEMPOTENCY_KEY} characters")
    return f"{actor_id}:{key}"


@dataclass(frozen=True)
class Ask:
    """One request, as far as an operation needs to know it."""

    service: Service
    operation: Operation
    caller: Caller
    path: Mapping[str, Any]
    parameters: Mapping[str, Any]
    headers: Mapping[str, str]  # names in lower case
    body: Any
    purpose: Purpose | None
    case_reference: Reference | None
    position: int  # how many entries the projections had taken in

    @property
    def ledger(self) -> Ledger:
        """The ledger of records."""
        return self.service.ledger

    @property
    def projections(self) -> Projections:
        """What the ledger adds up to."""
        return self.service.projections

    @property
    def by_staff(self) -> bool:
        """Whether an employee asks."""
        return self.caller.actor.role in STAFF

    @property
    def subject_id(self) -> SubjectId:
        """The person in the path."""
        return SubjectId(self.path["subject_id"])

    @property
    def order_id(self) -> OrderId:
        """The order in the path."""
        return OrderId(self.path["order_id"])

    @property
    def as_of(self) -> AsOf:
        """What was known then. Later pages are of the same state as the first one."""
        stated = cast(AsOf, self.parameters.get("as_of"))
        return self.cursor.position if stated is None and self.cursor is not None else stated

    @property
    def at(self) -> datetime:
        """The moment that is asked about: `as_of` where that is a moment, else now."""
        return self.as_of if isinstance(self.as_of, datetime) else self.ledger.now()

    @property
    def cursor(self) -> Cursor | None:
        """Where this page begins, None for the first one."""
        return self.parameters.get("cursor")

    @property
    def needs_position(self) -> int:
        """How many entries have to be taken in for this answer: `min_position`, and a position of `as_of` or a page."""
        stated = (self.get("min_position"), self.as_of, self.cursor and self.cursor.position)
        return max((one for one in stated if isinstance(one, int)), default=0)

    @property
    def fields(self) -> tuple[Word, ...]:
        """The fields that are asked for, none when all are."""
        return tuple(self.parameters.get("field", ()))

    @property
    def idempotency_key(self) -> str | None:
        """The key under which this caller's request is recorded once. Raises Invalid."""
        return owned_key(self.caller.actor.id, self.headers.get("idempotency-key"))

    def get(self, name: str) -> Any:
        """Return a parameter, None where it was not given."""
        return self.parameters.get(name)

    def needed(self, name: str) -> Any:
        """Return a parameter that has to be given. Raises Invalid."""
        if (found := self.parameters.get(name)) is None:
            raise Invalid(name, "is needed")
        return found

    def about(self) -> About:
        """What is asked about, by the names in the path."""
        return About(
            subject_id=cast(SubjectId | None, self.path.get("subject_id")),
            client_id=cast(ClientId | None, self.path.get("client_id")),
            order_id=cast(OrderId | None, self.path.get("order_id")),
            employee_id=cast(ActorId | None, self.path.get("employee_id")),
        )
