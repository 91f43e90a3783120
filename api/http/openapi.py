"""The description of the API: OpenAPI 3.1, from the same declarations that answer.

Schemas come from the structs that are read and shown (msgspec), problems from the closed vocabulary, parameters from
their readers: so the description cannot say something else than the code does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from api.command_json import example
from api.http.commanding import ReceiptDocument
from api.http.operation import BYTES, CSV, JSON, NDJSON, Operation, Shows
from api.http.parameters import ID_SCHEMA, PATH_SCHEMAS, Parameter
from api.http.permissions import Permissions
from api.http.problems import PROBLEMS, REFUSALS, status_of
from ledger.command import Command
from ledger.vocabulary import Purpose

_REF: Final = "#/components/schemas/{name}"
_IN_PATH: Final = re.compile(r"{(\w+)}")

PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "RFC 9457. `code` is the last part of `type`; docs/problems.md lists all of them.",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted({*PROBLEMS, *REFUSALS})},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "Of `invalid`: which member or parameter."},
        "why": {"type": "string", "description": "Of `invalid`: what would be right."},
        "evidence": {"type": "object", "description": "The ids and numbers that the refusal is about."},
        "index": {"type": "integer", "description": "Where the refusal itself is recorded."},
    },
}
_PURPOSE: Final = (
    {
        "name": "Purpose",
        "in": "header",
        "required": False,
        "description": "Why personal data is read. Staff have to say it.",
        "schema": {"type": "string", "enum": [*Purpose]},
    },
    {
        "name": "Case-Reference",
        "in": "header",
        "required": False,
        "description": "The case that it is read for. Staff have to name it.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}$"},
    },
)
_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Idempotency-Key": {
        "required": False,
        "description": "The same key and content again give the first receipt again, for ever.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "If-Match": {
        "required": True,
        "description": "The ETag of what was read: what was changed since is not overwritten.",
        "schema": {"type": "string", "pattern": '^"[0-9]{1,16}"$'},
    },
    "File-Name": {
        "required": False,
        "description": "The name of the file, percent-encoded UTF-8.",
        "schema": {"type": "string", "maxLength": 1024},
    },
}


def describe(operations: Iterable[Operation], permissions: Permissions, *, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of these operations."""
    operations = list(operations)
    shapes = [op.result for op in operations if _is_shape(op.result)]
    shapes += [op.body.struct for op in operations if op.body is not None and op.body.struct is not None]
    _, components = msgspec.json.schema_components([*dict.fromkeys(shapes), ReceiptDocument], ref_template=_REF)
    for schema in components.values():
        _with_formats(schema)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.address, {})[operation.method.lower()] = _operation(operation, permissions)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prooftrail",
            "version": version,
            "description": "An audit ledger for personal data: immutable events, enforced rules, verifiable evidence.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in sorted({op.capability for op in operations})],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT or API key"}},
            "schemas": dict(sorted(components.items())) | {"Problem": PROBLEM_SCHEMA},
        },
    }


def _operation(operation: Operation, permissions: Permissions) -> dict[str, Any]:
    roles = {str(role): str(grant) for role, grant in permissions.rows()[operation.id].items()}
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.capability],
        "summary": operation.summary,
        "description": "Who may: " + ", ".join(f"{role} ({grant})" for role, grant in roles.items()) + ".",
        "parameters": [
            *(_path_parameter(name) for name in _IN_PATH.findall(operation.address)),
            *map(_parameter, operation.parameters),
            *(_PURPOSE if operation.shows is Shows.PERSONAL else ()),
            *({"name": name, "in": "header", **_HEADERS[name]} for name in _taken_headers(operation)),
        ],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": _taken(operation)}
    return found


def _taken_headers(operation: Operation) -> tuple[str, ...]:
    return ("Idempotency-Key",) if operation.command is not None else operation.headers


def _taken(operation: Operation) -> dict[str, Any]:
    body = operation.body
    if body is None or body.struct is None:
        kinds = () if body is None else body.media_types
        return {BYTES if kind == "*/*" else kind: {"schema": {"type": "string"}} for kind in kinds}
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=_name(body.struct))}}
    if issubclass(body.struct, Command):
        members = example(body.struct)
        members.pop("command")
        content["example"] = members
    return {JSON: content}


def _responses(operation: Operation) -> dict[str, Any]:
    schema = _schema(operation.result)
    if operation.paged:
        schema = {
            "type": "object",
            "required": ["items", "position"],
            "properties": {
                "items": {"type": "array", "items": schema},
                "position": {"type": "integer"},
                "next_cursor": {"type": "string", "description": "Where the next page begins; absent on the last."},
            },
        }
    kinds: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in operation.media_types}
    if JSON in kinds:
        kinds[JSON] = {"schema": schema}
    if any(one.name == "format" for one in operation.parameters):
        kinds |= {CSV: {"schema": {"type": "string"}}, NDJSON: {"schema": {"type": "string"}}}
    records = "Idempotency-Key" in _taken_headers(operation)
    done = "201" if records else "200"
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    statuses = {str(PROBLEMS[code][0]) for code in PROBLEMS} | {str(status_of(code)) for code in REFUSALS}
    again = {"200": {"description": "Recorded before.", "content": kinds}} if operation.id.startswith("upload-") else {}
    return {
        **again,
        done: {"description": "Recorded: the receipt." if records else "The answer.", "content": kinds},
        **{status: {"description": "A problem.", "content": problem} for status in sorted(statuses)},
    }


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": dict(PATH_SCHEMAS.get(name, _plain(name)))}


def _plain(name: str) -> Mapping[str, Any]:
    return ID_SCHEMA if name.endswith("_id") else {"type": "string"}


def _parameter(one: Parameter) -> dict[str, Any]:
    schema: Mapping[str, Any] = {"type": "array", "items": one.schema} if one.many else one.schema
    return {
        "name": one.name, "in": "query", "required": one.required, "description": one.description,
        "schema": dict(schema),
    }  # fmt: skip


def _is_shape(shape: Any) -> bool:
    return shape is not Any and not (isinstance(shape, type) and issubclass(shape, (bytes, str, dict)))


def _schema(shape: Any) -> dict[str, Any]:
    if shape is Any:
        return {}
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return {"$ref": _REF.format(name=_name(shape))}
    (schema,), _ = msgspec.json.schema_components([shape], ref_template=_REF)
    return schema


def _name(struct: type[msgspec.Struct]) -> str:
    return str(_schema_ref(struct).rsplit("/", 1)[1])


def _schema_ref(struct: type[msgspec.Struct]) -> str:
    (schema,), _ = msgspec.json.schema_components([struct], ref_template=_REF)
    return str(schema["$ref"])


def _with_formats(schema: dict[str, Any]) -> None:
    """Say of every id that it is one: in the types it is a text like others."""
    for name, member in schema.get("properties", {}).items():
        if name.endswith("_id") and member.get("type") == "string":
            member |= ID_SCHEMA
