"""Who calls: the actor that commands are recorded under, and whose data is their own."""

from __future__ import annotations

from typing import Final

import msgspec

from api.http.errors import Reason, Unauthenticated
from ledger import Actor
from ledger.errors import Invalid
from ledger.vocabulary import ActorId, ClientId, Role, SubjectId, check_id

_ROLES: Final = frozenset(Role)


class Caller(msgspec.Struct, frozen=True):
    """A caller that proved who they are.

    A subject has `subject_id`, the same as the actor's id, and nobody else has; a client user, and nobody else, has
    `client_id`. The actor's id of staff is the employee's. `credential` names the token or key and opens nothing.
    """

    actor: Actor
    subject_id: SubjectId | None
    client_id: ClientId | None
    credential: str


def caller_of(role: object, actor_id: object, client_id: object, credential: str) -> Caller:
    """Return the caller of these claims of a verified token. Raises Unauthenticated: a claim may be anything."""
    # One word: of an array of roles nobody could say which one an act was done in.
    if not isinstance(role, str) or role not in _ROLES:
        raise Unauthenticated(Reason.ROLE)
    acting = Actor(id=ActorId(_id(actor_id, Reason.SUBJECT)), role=Role(role))
    if (client_id is not None) != (acting.role is Role.CLIENT_USER):
        raise Unauthenticated(Reason.CLIENT)
    return Caller(
        actor=acting,
        subject_id=SubjectId(acting.id) if acting.role is Role.SUBJECT else None,
        client_id=None if client_id is None else ClientId(_id(client_id, Reason.CLIENT)),
        credential=credential,
    )


def _id(value: object, reason: Reason) -> str:
    if not isinstance(value, str):
        raise Unauthenticated(reason)
    try:
        return check_id(value, reason)
    except Invalid:
        raise Unauthenticated(reason) from None
