"""The limits as middleware: what they refuse, what they let through, and that both are bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from api.http.asgi import App, Message, Receive, Scope, Send
from api.http.exchange import Exchange, Exchanges
from api.http.limits import BodyLimit, Concurrency, Deadline, Interrupted
from api.http.problem import problem
from api.http.rates import AddressRate, Rate, RateLimits, address_key
from api.http.security import Cors, SecurityHeaders
from ledger.errors import Invalid

Answer = tuple[int, dict[str, str], bytes]


def a_scope(
    path: str = "/",
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = (),
    client: str = "192.0.2.1",
    **more: Any,
) -> Scope:
    return {"type": "http", "path": path, "method": method, "headers": list(headers), "client": (client, 1), **more}


CHUNKED = ((b"transfer-encoding", b"chunked"),)


async def ask(app: App, scope: Scope, *pieces: bytes) -> Answer:
    """Return what an application answers to a body of these pieces."""
    waiting = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
        for number, piece in enumerate(pieces or (b"",))
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sum(message["type"] == "http.response.start" for message in sent) == 1
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


class Counting:
    """Reads the body and answers with its length; says how many were at work at once."""

    def __init__(self, work: Callable[[], Awaitable[object]] | None = None) -> None:
        self._work = work
        self.begun = self.now = self.most = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            size = 0
            while True:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
            if self._work is not None:
                await self._work()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(size).encode()})
        finally:
            self.now -= 1


def code_of(answer: Answer) -> str:
    assert answer[1]["content-type"] == "application/problem+json"
    found = json.loads(answer[2])
    assert found["status"] == answer[0]
    assert found["type"] == "urn:prooftrail:problem:" + found["code"]
    return str(found["code"])


def test_the_bytes_of_a_problem() -> None:
    status, headers, body = problem(503, "busy", "busy", retry_after_s=0.2)
    assert (status, dict(headers)[b"retry-after"]) == (503, b"1"), "whole seconds, and never none"
    assert dict(headers)[b"content-length"] == str(len(body)).encode()
    assert json.loads(body) == {"type": "urn:prooftrail:problem:busy", "title": "busy", "status": 503, "code": "busy"}
    assert dict(problem(429, "x", "x", retry_after_s=1.01)[1])[b"retry-after"] == b"2", "never too early"


# --- bodies ------------------------------------------------------------------------------------------------------


def test_a_body_may_have_as_many_bytes_as_its_path_allows_and_not_one_more() -> None:
    limited = BodyLimit(Counting(), lambda scope: 10 if scope["path"] == "/small" else 100)
    for path, most in (("/small", 10), ("/large", 100)):
        exact = asyncio.run(ask(limited, a_scope(path, headers=CHUNKED), b"x" * (most - 1), b"x"))
        assert exact[::2] == (200, str(most).encode())
        assert code_of(asyncio.run(ask(limited, a_scope(path, headers=CHUNKED), b"x" * most, b"x"))) == "length-unfit"
    assert limited.held == 0


def test_a_length_that_is_too_large_is_refused_before_anything_is_read() -> None:
    inside = Counting()
    announced = a_scope(headers=((b"content-length", b"11"),))
    answer = asyncio.run(ask(BodyLimit(inside, lambda scope: 10), announced, b"x" * 11))
    assert (answer[0], code_of(answer), inside.begun) == (413, "length-unfit", 0)
    assert answer[1]["connection"] == "close"


def test_an_application_that_hides_the_refusal_does_not_answer_over_it() -> None:
    async def hiding(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except Exception:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"parsing failed"})

    assert asyncio.run(ask(BodyLimit(hiding, lambda scope: 3), a_scope(headers=CHUNKED), b"xxxx"))[0] == 413


def test_an_answer_that_has_begun_is_cut_off() -> None:
    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    with pytest.raises(Interrupted):
        asyncio.run(ask(BodyLimit(eager, lambda scope: 3), a_scope(headers=CHUNKED), b"xxxx"))


def test_all_bodies_together_fit_into_memory_and_a_small_one_always_does() -> None:
    async def run() -> None:
        go_on = asyncio.Event()
        limited = BodyLimit(Counting(go_on.wait), lambda scope: 1_000, held_bytes=500)
        first = asyncio.create_task(ask(limited, a_scope(headers=CHUNKED), b"x" * 400, b""))
        await asyncio.sleep(0)
        assert limited.held == 400
        refused = await ask(limited, a_scope(headers=CHUNKED), b"x" * 60, b"x" * 60)
        assert (refused[0], code_of(refused), refused[1]["retry-after"]) == (503, "busy", "1")
        assert limited.held == 400
        small = asyncio.create_task(ask(limited, a_scope(headers=CHUNKED), b"x" * 120))
        await asyncio.sleep(0)
        go_on.set()
        assert (await small)[0] == (await first)[0] == 200
        assert limited.held == 0

    asyncio.run(run())


# --- how many, how long ------------------------------------------------------------------------------------------


def test_so_many_work_so_many_wait_and_the_rest_is_told_so() -> None:
    async def run() -> None:
        go_on = asyncio.Event()
        inside = Counting(go_on.wait)
        limited = Concurrency(inside, in_flight=3, waiting=2, wait_s=5, exempt=("/health/live",))
        tasks = [asyncio.create_task(ask(limited, a_scope(method="GET"))) for _ in range(9)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert (limited.at_work, limited.waiting, inside.begun) == (3, 2, 3)
        refused = [task.result() for task in tasks if task.done()]
        assert [code_of(answer) for answer in refused] == ["busy"] * 4
        assert all(answer[0] == 503 and answer[1]["retry-after"] for answer in refused)
        alive = asyncio.create_task(ask(limited, a_scope("/health/live", "GET")))
        go_on.set()
        assert (await alive)[0] == 200
        assert [(await task)[0] for task in tasks].count(200) == 5
        assert inside.most <= 4, "three, and the one that is exempt"
        assert (limited.at_work, limited.waiting) == (0, 0)

    asyncio.run(run())


def test_whoever_waits_too_long_is_told_so_and_its_place_is_not_lost() -> None:
    async def run() -> None:
        go_on = asyncio.Event()
        limited = Concurrency(Counting(go_on.wait), in_flight=1, waiting=5, wait_s=0.02)
        first = asyncio.create_task(ask(limited, a_scope(method="GET")))
        await asyncio.sleep(0)
        assert code_of(await ask(limited, a_scope(method="GET"))) == "busy"
        go_on.set()
        assert (await first)[0] == 200
        assert (await ask(limited, a_scope(method="GET")))[0] == 200

    asyncio.run(run())


def test_whoever_sends_slowly_takes_nobodys_place() -> None:
    async def run() -> None:
        inside = Counting()
        limited = Concurrency(inside, in_flight=1, waiting=0)
        rest = asyncio.Event()

        async def slowly() -> Message:
            await rest.wait()
            return {"type": "http.request", "body": b"x", "more_body": False}

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        slow = asyncio.create_task(limited(a_scope(headers=CHUNKED), slowly, send))
        await asyncio.sleep(0)
        assert (await ask(limited, a_scope(headers=CHUNKED), b"12", b"3"))[::2] == (200, b"3")
        assert inside.begun == 1
        rest.set()
        await slow
        assert sent[0]["status"] == 200

    asyncio.run(run())


def test_whoever_leaves_before_the_end_of_the_body_starts_nothing() -> None:
    async def run() -> None:
        inside = Counting()

        async def gone() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            raise AssertionError(message)

        await Concurrency(inside)(a_scope(headers=CHUNKED), gone, send)
        assert inside.begun == 0

    asyncio.run(run())


def test_a_request_at_work_for_too_long_is_ended_unless_it_may_take_its_time() -> None:
    async def work() -> None:
        await asyncio.sleep(0.1)

    limited = Deadline(Counting(work), seconds=0.02, exempt=("/stream",))
    ended = asyncio.run(ask(limited, a_scope("/command", "GET")))
    assert (ended[0], code_of(ended)) == (503, "timed-out")
    assert "Idempotency-Key" in json.loads(ended[2])["detail"]
    assert asyncio.run(ask(limited, a_scope("/stream", "GET")))[0] == 200


def test_whoever_cancels_a_request_for_another_reason_is_not_taken_for_the_deadline() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            await asyncio.sleep(30)

        limited = Deadline(Counting(work), seconds=10)
        task = asyncio.create_task(ask(limited, a_scope(method="GET")))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Nobody is looked after any more, and nothing of it is kept.
        assert not limited._at_work

    asyncio.run(run())


def test_each_request_has_its_own_time() -> None:
    async def run() -> None:
        async def work() -> None:
            await asyncio.sleep(0.12)

        limited = Deadline(Counting(work), seconds=0.2)
        statuses = await asyncio.gather(ask(limited, a_scope(method="GET")), later(0.15, limited), later(0.3, limited))
        assert [status for status, *_ in statuses] == [200, 200, 200]

    async def later(seconds: float, limited: Deadline) -> Any:
        await asyncio.sleep(seconds)
        return await ask(limited, a_scope(method="GET"))

    asyncio.run(run())


def test_a_timeout_of_the_application_itself_is_not_taken_for_the_deadline() -> None:
    async def failing() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(ask(Deadline(Counting(failing)), a_scope(method="GET")))


# --- how often ---------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_a_steady_rate_for_each_caller_and_class() -> None:
    clock = Clock()
    rates = RateLimits({"read": Rate(2.0, 4.0), "export": Rate(0.5, 1.0)}, clock=clock)
    assert [rates.take("a", kind="read") for _ in range(4)] == [0.0] * 4
    assert rates.take("a", kind="read") == pytest.approx(0.5)
    assert rates.take("a", kind="read") == pytest.approx(0.5), "what is refused costs nothing"
    assert rates.take("b", kind="read") == 0.0
    assert rates.take("a", kind="export") == 0.0
    clock.now += 0.5
    assert rates.take("a", kind="read") == 0.0
    assert rates.take("a", kind="read") > 0
    clock.now += 1_000
    assert [rates.take("a", kind="read") for _ in range(5)].count(0.0) == 4, "no more than a bucket is saved up"


def test_who_waits_as_long_as_told_is_let_in() -> None:
    clock = Clock()
    rates = RateLimits({"x": Rate(0.3, 1.0)}, clock=clock)
    for _ in range(50):
        while wait_s := rates.take("a", kind="x"):
            clock.now += wait_s
    assert clock.now == pytest.approx(1000 + 49 / 0.3)


def test_a_cost_beyond_the_bucket_is_paid_with_a_full_one() -> None:
    clock = Clock()
    rates = RateLimits({"x": Rate(1.0, 10.0)}, clock=clock)
    assert rates.take("a", 1_000, kind="x") == 0.0
    assert rates.take("a", 1_000, kind="x") == pytest.approx(10.0)


def test_memory_is_bounded_and_nobody_gets_a_new_bucket_by_crowding_the_others_out() -> None:
    clock = Clock()
    rates = RateLimits({"x": Rate(1.0, 2.0)}, max_callers=100, clock=clock)
    for number in range(100):
        while not rates.take(f"first {number}", kind="x"):
            pass
    for number in range(10_000):
        rates.take(f"crowd {number}", kind="x")
    assert rates.buckets <= 101
    assert all(rates.take(f"first {number}", kind="x") for number in range(100)), "none was forgotten"
    assert rates.take("new", kind="x") > 0, "newcomers share one bucket meanwhile"
    clock.now += 60
    assert rates.take("new", kind="x") == 0.0
    assert rates.buckets <= 101


def test_addresses_are_counted_as_one_customer_has_them() -> None:
    def key(client: str) -> str:
        return address_key(a_scope(client=client))

    assert key("2001:db8:1:2::1") == key("2001:db8:1:2:ffff::9") != key("2001:db8:1:3::1")
    assert key("::ffff:192.0.2.7") == key("192.0.2.7") != key("192.0.2.8")
    assert address_key({**a_scope(), "client": None}) == key("not an address") == ""


def test_flooding_from_one_address_is_told_to_wait_and_others_are_not() -> None:
    rates = RateLimits({"address": Rate(1.0, 3.0)})
    limited = AddressRate(Counting(), rates, kind="address", exempt=("/health/live",))
    answers = [asyncio.run(ask(limited, a_scope(method="GET"))) for _ in range(5)]
    assert [answer[0] for answer in answers] == [200, 200, 200, 429, 429]
    assert code_of(answers[4]) == "too-many-requests"
    assert answers[4][1]["retry-after"] == "1"
    assert asyncio.run(ask(limited, a_scope(method="GET", client="192.0.2.9")))[0] == 200
    assert asyncio.run(ask(limited, a_scope("/health/live", "GET")))[0] == 200


# --- what browsers are told, and request ids ------------------------------------------------------------------------


def test_every_answer_has_the_headers_and_none_is_said_twice() -> None:
    headers = asyncio.run(ask(SecurityHeaders(Counting()), a_scope()))[1]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers
    assert "strict-transport-security" in asyncio.run(ask(SecurityHeaders(Counting()), a_scope(scheme="https")))[1]

    async def cached(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"max-age=9")]})
        await send({"type": "http.response.body"})

    kept = asyncio.run(ask(SecurityHeaders(cached), a_scope()))[1]
    assert kept["Cache-Control"] == "max-age=9"
    assert "cache-control" not in kept


def test_other_sites_may_ask_only_where_they_are_named() -> None:
    def asked(origins: tuple[str, ...], origin: bytes) -> Answer:
        headers = ((b"origin", origin), (b"access-control-request-method", b"POST"))
        return asyncio.run(ask(Cors(Counting(), origins), a_scope(method="OPTIONS", headers=headers)))

    allowed = asked(("https://app.example.com",), b"https://app.example.com")
    assert allowed[1]["access-control-allow-origin"] == "https://app.example.com"
    assert "access-control-allow-credentials" not in allowed[1]
    for other in (b"https://app.example.com.evil.test", b"http://app.example.com", b"null", b"https://example.com"):
        assert "access-control-allow-origin" not in asked(("https://app.example.com",), other)[1]
        assert "access-control-allow-origin" not in asked((), other)[1]


@pytest.mark.parametrize("origin", ["*", "null", "https://a.test/", "a.test", "https://A.test", "ftp://a.test", ""])
def test_what_is_no_exact_origin_is_refused_at_start(origin: str) -> None:
    with pytest.raises(Invalid):
        Cors(Counting(), [origin])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11", True),
        (b"4bf92f3577b34da6a3ce929d0e0e4736", True),
        (b"38001010001", False),
        (b"mari@example.com", False),
        (b"4bf92f3577b34da6a3ce929d0e0e4736\nX: y", False),
        (b"", False),
    ],
)
def test_a_request_id_is_taken_over_only_when_it_can_be_nothing_else(given: bytes, kept: bool) -> None:
    seen: list[Exchange] = []
    headers = asyncio.run(ask(Exchanges(Counting(), [seen.append]), a_scope(headers=((b"x-request-id", given),))))[1]
    assert headers["x-request-id"] == seen[0].request_id
    assert (headers["x-request-id"] == given.decode()) is kept


def test_a_mistake_of_ours_is_answered_and_noted_without_its_text() -> None:
    async def failing() -> None:
        raise ValueError("mari@example.com")

    seen: list[Exchange] = []
    answer = asyncio.run(ask(Exchanges(Counting(failing), [seen.append]), a_scope()))
    assert (answer[0], code_of(answer)) == (500, "internal")
    assert seen[0].error is not None
    assert seen[0].error.startswith("ValueError in failing (test_limits.py:")
    assert b"mari" not in answer[2]
