"""Requests for every operation about one's own, another's or nothing that is there: the cells of the matrix."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, NamedTuple

import httpx

from api.command_json import example
from api.http.operation import NDJSON, OPERATIONS, Operation
from api.http.permissions import FILE, Grant
from ledger.vocabulary import Role, new_id
from tests.http.office import STATED, Office


class Target(NamedTuple):
    """What a request is about."""

    subject_id: str
    client_id: str
    order_id: str
    employee_id: str


WHOSE: Final = ("own", "other", "unknown")


def target(office: Office, role: Role, whose: str) -> Target:
    """Return what is somebody's own, another's, or of nobody."""
    actor = office.actors[role]
    if whose == "unknown":
        return Target(new_id(), new_id(), new_id(), new_id())
    match role, whose:
        case Role.SUBJECT, "own":
            return Target(office.mari, office.company, office.mari_order, actor)
        case Role.CLIENT_USER, "own":
            return Target(office.peeter, office.company, office.peeter_order, actor)
        case ((Role.SUBJECT | Role.CLIENT_USER), _):
            return Target(office.other, office.other_company, office.other_order, office.actors[Role.LAWYER])
        case _, "own":
            return Target(actor, office.company, office.mari_order, actor)
    colleague = Role.SUPPORT if role is not Role.SUPPORT else Role.LAWYER
    return Target(office.mari, office.company, office.mari_order, office.actors[colleague])


def expected_grants() -> Mapping[str, Mapping[Role, Grant]]:
    """Return the matrix as its file says, read apart from the code that decides by it."""
    text = resources.files("api.http").joinpath(FILE).read_text()
    found: dict[str, dict[Role, Grant]] = {}
    for section in tomllib.loads(text).values():
        for name, cells in section.items():
            found[name] = dict.fromkeys(Role, Grant.NONE)
            for cell in cells.split():
                role, _, grant = cell.partition("=")
                found[name][Role(role)] = Grant(grant or "all")
    return found


def members_of(operation: Operation, about: Target) -> dict[str, Any]:
    """Return the body of a command about this: everything that it creates is new."""
    assert operation.command is not None
    members = example(operation.command)
    members.pop("command")
    for name in operation.command.__struct_fields__:
        if name in Target._fields:
            members[name] = getattr(about, name)
        elif name.endswith("_id") and name in members:
            members[name] = new_id()
    if operation.id == "record-order":
        members["order_id"] = new_id()
    if operation.id == "register-subject":
        members["role"] = "processor"
    if operation.id == "onboard-employee":
        members["role"] = "support"
    return members


def body_of(office: Office, operation: Operation, about: Target) -> dict[str, Any]:
    """Return what to send with the request: its body and the headers that go with it."""
    if operation.command is not None:
        return {"json": members_of(operation, about)}
    consent = {"command": "withdraw-consent", "consent_id": new_id(), "subject_id": about.subject_id, "channel": "api"}
    bodies: Mapping[str, dict[str, Any]] = {
        "batch": {"content": b"", "headers": {"Content-Type": NDJSON}},
        "upload-order": {"content": b"<order/>", "headers": {"Content-Type": "application/xml"}},
        "upload-mail-order": {"content": b"Subject: x\r\n\r\nx", "headers": {"Content-Type": "message/rfc822"}},
        "correct-field": {"json": {"value": "mari@example.net"}, "headers": {"If-Match": '"1"'}},
        "lookup-subject": {"json": {"kind": "email", "value": "nobody@example.com"}},
        "explain-command": {"json": consent},
        "may-send": {"json": {"subject_ids": [about.subject_id]}},
        "reveal-actor": {"json": {"pseudonym": "abcdefghijkl", "ground": "subjects-rights", "case_reference": "C-1"}},
        "review-flag": {"json": {"outcome": "justified"}},
    }
    return bodies[operation.id] if operation.body is not None else {}


def path_of(office: Office, operation: Operation, about: Target) -> tuple[str, dict[str, str]]:
    """Return the address and the parameters that it needs."""
    others = {
        "consent_id": office.consent, "campaign_id": office.campaign, "flag_id": new_id(), "field": "email",
        "text_sha256": office.text_sha256, "index": "3",
        "tile": "0/000.p/1" if operation.id == "read-tile" else "000.p/1",
    }  # fmt: skip
    path = operation.path.replace("{tile:path}", "{tile}").format(**about._asdict(), **others)
    values = {**about._asdict(), "tag": f"subject:{about.subject_id}", "use": "proof"}
    wanted = [one.name for one in operation.parameters if one.required or one.name == "use"]
    return path, {name: values[name] for name in wanted}


def ask(
    office: Office,
    operation: Operation,
    who: Role | str | None,
    about: Target,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Ask an operation about this as somebody in a role, or with a token and only these headers besides."""
    path, parameters = path_of(office, operation, about)
    more = body_of(office, operation, about)
    sent = {**more.pop("headers", {}), **(headers or {})}
    return office.ask(who, operation.method, path, params=parameters, headers=sent, **more)


def names_somebody(operation: Operation) -> bool:
    """Whether a request names a person, a client, an order or an employee."""
    fields = (
        set(operation.command.__struct_fields__) if operation.command else {one.name for one in operation.parameters}
    )
    return bool(fields & set(Target._fields)) or any(f"{{{name}}}" in operation.path for name in Target._fields)


# What ends somebody's work or destroys data comes last: until then everybody is still there.
_LAST: Final = ("decide-erasure", "destroy-keys", "expire-retention", "lapse-acknowledgement", "offboard-employee")


def in_order() -> list[Operation]:
    """Return every operation, in an order in which those before take nothing from those after."""
    return sorted(OPERATIONS.values(), key=lambda one: (one.id in _LAST, one.id))


# --- bodies that a test makes itself -----------------------------------------------------------------------------


def commands() -> list[Operation]:
    return [one for one in in_order() if one.command is not None]


def queries() -> list[Operation]:
    """Return what takes JSON in its body besides commands."""
    return [one for one in in_order() if one.body is not None and one.body.struct is not None and one.command is None]


def who(operation: Operation) -> Role:
    """Return somebody who may do it, with whatever it is about where anybody may."""
    grants = expected_grants()[operation.id]
    order = (Grant.ALL, Grant.OTHERS, Grant.OWN)
    return min((role for role in Role if grants[role] in order), key=lambda role: order.index(grants[role]))


def allowed_target(office: Office, operation: Operation) -> Target:
    """Return what `who` may ask about."""
    role = who(operation)
    return target(office, role, "own" if expected_grants()[operation.id][role] is Grant.OWN else "other")


def send(office: Office, operation: Operation, content: bytes) -> httpx.Response:
    """Send these bytes as JSON where nothing else would be refused."""
    about = allowed_target(office, operation)
    path, parameters = path_of(office, operation, about)
    headers = {**STATED, **body_of(office, operation, about).get("headers", {}), "Content-Type": "application/json"}
    token = office.tokens[who(operation)]
    return office.ask(token, operation.method, path, params=parameters, content=content, headers=headers)


def members(office: Office, operation: Operation) -> dict[str, Any]:
    """Return a body that can be sent."""
    about = allowed_target(office, operation)
    if operation.command is not None:
        return members_of(operation, about)
    found: dict[str, Any] = body_of(office, operation, about)["json"]
    return found
