"""The whole description, fuzzed: no 5xx, and every answer is as it says. `--campaign` runs it for longer."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from api.http import door
from api.http.ask import Ask
from api.http.operation import OPERATIONS, Reply
from ledger.vocabulary import Role
from tests.http.office import STATED, Office

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.core.failures import FailureGroup
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance


@schemathesis.serializer("application/x-ndjson", "message/rfc822")
def as_bytes(_: Any, value: Any) -> bytes:
    """What is text for us is sent as it is made."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


# An operation, a role that may do it, and one that may do it with its own only.
ROLES = (Role.SERVICE, Role.OFFICER, Role.SUBJECT)


def described(office: Office) -> dict[str, Any]:
    found: dict[str, Any] = office.ask(None, "GET", "/v1/openapi.json").json()
    return found


def fuzz(office: Office, examples: int) -> Counter[int]:
    """Send what the description allows, and what it does not, to every operation; return the statuses."""
    schema = schemathesis.openapi.from_dict(described(office))
    statuses: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        assert operation is not None
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _fuzz_one(office, operation, mode, examples, statuses)
    return statuses


def _fuzz_one(office: Office, operation: Any, mode: GenerationMode, examples: int, statuses: Counter[int]) -> None:
    turn = iter(range(10**9))

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        role = ROLES[next(turn) % len(ROLES)]
        request = case.as_transport_kwargs(base_url="http://127.0.0.1")
        headers = {**STATED, **{k: v for k, v in dict(request.pop("headers")).items() if _sendable(v)}}
        request = {k: v for k, v in request.items() if k in ("method", "url", "params", "json", "data")}
        if "data" in request and not isinstance(request["data"], dict):
            request["content"] = request.pop("data")
        method, url = request.pop("method"), request.pop("url")
        answer = office.ask(office.tokens[role], method, url, headers=headers, **request)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code == 503, (method, url, answer.text)
        case.validate_response(answer, checks=[content_type_conformance, response_schema_conformance])

    one()


def _sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits seconds for a position that will never be."""
    monkeypatch.setattr(door, "CATCH_UP_S", 0.01)


def test_the_description_is_valid_openapi(office: Office) -> None:
    found = described(office)
    assert found["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(found).validate()
    ids = [one["operationId"] for path in found["paths"].values() for one in path.values()]
    assert sorted(ids) == sorted(OPERATIONS)
    broken = {**found, "paths": {"/v1/x": {"get": {"responses": {"200": {}}}}}}
    with pytest.raises(Exception, match="description"):
        schemathesis.openapi.from_dict(broken).validate()


def test_an_answer_that_is_not_as_described_is_found(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check below must be able to fail."""

    def wrong(_: Ask, __: Reply) -> tuple[bytes, Reply]:
        return b'{"items":1}', Reply()

    monkeypatch.setattr(door, "render", wrong)
    schema = schemathesis.openapi.from_dict(described(office))
    operation = schema["/v1/recipients"]["GET"]
    with pytest.raises(FailureGroup):
        _fuzz_one(office, operation, GenerationMode.POSITIVE, 3, Counter())


def test_nothing_that_the_description_allows_or_forbids_breaks_the_door(office: Office) -> None:
    statuses = fuzz(office, 4)
    assert statuses.total() > 3 * len(OPERATIONS)
    assert {200, 400, 403, 404} <= statuses.keys(), statuses


@pytest.mark.campaign
def test_fifty_thousand_cases(office: Office) -> None:
    statuses = fuzz(office, 50_000 // (2 * len(OPERATIONS)))
    print(statuses)
    assert statuses.total() > 25_000
