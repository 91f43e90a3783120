"""Logs, metrics and traces: they say what they should, and whatever a stranger sends stands in none of them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from api.http.asgi import Receive, Scope, Send
from api.http.exchange import Exchange, Exchanges, exchange_of
from api.http.logs import REQUESTS, configure_logs, log_request
from api.http.metrics import Metrics
from api.http.tracing import TracedRequests, Traces
from ledger.commands import RegisterSubject, WithdrawConsent
from ledger.errors import ConsentUnknown, StorageError
from ledger.vocabulary import Channel
from tests.bench import SUPPORT, Bench, an_id
from tests.http.child import received, serving
from tests.http.test_limits import CHUNKED, Counting, a_scope, ask

FLAGS = ("logMultiprocessing", "logProcesses", "logThreads", "raiseExceptions")
CANARY = "mari.maasikas@example.com"
MARI = an_id("mari")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged, as it would be by the service; logging is as it was afterwards."""
    root, names = logging.getLogger(), ("prooftrail", "uvicorn")
    before = root.handlers[:], root.level
    flags = {name: getattr(logging, name) for name in FLAGS}
    levels = {name: logging.getLogger(name).level for name in names}
    stream = io.StringIO()
    configure_logs(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, flag in flags.items():
        setattr(logging, name, flag)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def an_exchange(**known: Any) -> Exchange:
    exchange = Exchange("0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11", "GET")
    for name, value in known.items():
        setattr(exchange, name, value)
    return exchange


# --- logs --------------------------------------------------------------------------------------------------------


def test_the_line_of_a_request(logged: io.StringIO) -> None:
    log_request(
        an_exchange(
            operation="show-subject", status=404, role="support", actor_id=MARI, problem="not-found", seconds=0.00314
        )
    )
    (line,) = lines(logged)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "prooftrail.http",
        "message": "request",
        "request_id": "0b8fd1c6-5cf0-4b0e-9d7e-3f8c7a3d9f11",
        "operation": "show-subject",
        "method": "GET",
        "status": 404,
        "ms": 3.1,
        "role": "support",
        "actor": MARI,
        "bytes_in": 0,
        "bytes_out": 0,
        "problem": "not-found",
    }


def test_a_log_that_cannot_be_written_stops_nothing(logged: io.StringIO) -> None:
    logged.close()
    log_request(an_exchange(operation="broken", status=500, error="ValueError in x (y.py:1)"))


def test_no_text_of_an_exception_and_no_message_of_others_is_logged(logged: io.StringIO) -> None:
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        REQUESTS.exception("a fault in this program")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
        logging.getLogger("asyncio").error(f"Task exception was never retrieved: {error!r}", exc_info=error)
    logging.getLogger("uvicorn.error").error("ASGI callable should return None, but returned '%s'.", CANARY)
    logging.getLogger("somebody.else").warning("sent %s", CANARY)
    logging.getLogger("py.warnings").warning("%s", f"UserWarning: {CANARY}")
    found = lines(logged)
    assert len(found) == 6
    assert CANARY not in logged.getvalue()
    assert [line.get("error", "").split(" in ")[0] for line in found[:3]] == ["ValueError"] * 3
    assert "test_observability.py:" in found[0]["error"]
    assert found[3]["message"] == "ASGI callable should return None, but returned '%s'."


def test_what_others_say_at_length_is_not_logged(logged: io.StringIO) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET http://localhost/?email=%s", CANARY)
    assert logged.getvalue() == ""


def test_the_server_itself_logs_nothing_that_was_sent() -> None:
    with serving() as child:
        child.ask("GET", f"/?email={CANARY}", X_Anything=CANARY, Authorization=f"Bearer {CANARY}")
        child.ask("POST", f"/{CANARY}", CANARY, Cookie=CANARY)
        assert child.ask("POST", "/raise", CANARY)[0] == 500
        for sent in (
            f"GET / HTTP/1.1\r\n{CANARY}\r\n\r\n",
            f"{CANARY}\r\n\r\n",
            f"GET http://{CANARY}:x/ HTTP/1.1\r\n\r\n",
        ):
            with child.raw(sent.encode()) as connection:
                assert CANARY.encode() not in received(connection)
        child.process.terminate()
        child.process.wait(20)
        text, found = child.log.read_text(), child.lines()
    requests = [line for line in found if line["message"] == "request"]
    assert [line["status"] for line in requests[:3]] == [200, 200, 500]
    assert CANARY not in text
    assert [line["operation"] for line in requests[:3]] == ["root", None, "raise"]
    assert requests[2]["error"].startswith("ValueError in ")


# --- metrics -----------------------------------------------------------------------------------------------------


def some_metrics() -> Metrics:
    return Metrics(operations=("show-subject", "give-consent"), problems=("not-found", "consent-unknown"))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample by its name and the values of its labels, in the order of their names."""
    media_type, body = metrics.render()
    assert media_type.startswith("text/plain")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_requests_and_problems_are_counted() -> None:
    metrics = some_metrics()
    metrics.request(an_exchange(operation="show-subject", status=200, seconds=0.02))
    metrics.request(an_exchange(operation="show-subject", status=404, problem="not-found", seconds=0.02))
    metrics.request(an_exchange(operation="show-subject"))
    found = samples(metrics)
    assert found["prooftrail_requests_total", ("show-subject", "200")] == 1
    assert found["prooftrail_requests_total", ("show-subject", "404")] == 1
    assert found["prooftrail_requests_total", ("show-subject", "499")] == 1
    assert found["prooftrail_problems_total", ("not-found",)] == 1
    assert found["prooftrail_request_seconds_bucket", ("0.025", "show-subject")] == 3
    assert found["prooftrail_request_seconds_bucket", ("0.01", "show-subject")] == 1


def test_connections_that_are_cut_off_are_counted_by_reason() -> None:
    metrics = some_metrics()
    for reason in ("head", "reader", "head"):
        metrics.connection_cut(reason)
    found = samples(metrics)
    assert found["prooftrail_connections_cut_total", ("head",)] == 2
    assert found["prooftrail_connections_cut_total", ("reader",)] == 1


def test_labels_cannot_be_made_up_from_outside() -> None:
    metrics = some_metrics()
    for number in range(1_000):
        metrics.request(an_exchange(operation=f"{CANARY} {number}", status=200, problem=f"{CANARY} {number}"))
        metrics.refused("records", f"{CANARY} {number}")
    body = metrics.render()[1]
    assert CANARY.encode() not in body
    assert len(body.splitlines()) < 200
    assert samples(metrics)["prooftrail_problems_total", ("other",)] == 1_000


def test_a_ledger_is_measured(bench: Bench) -> None:
    metrics = some_metrics()
    metrics.watch("records", bench.ledger)
    metrics.gauge("projection_lag_entries", "Entries that are not taken in yet.", lambda: 7)
    for name in ("mari", "jaan"):
        bench.ledger.record(RegisterSubject(subject_id=an_id(name)), SUPPORT)
    with pytest.raises(ConsentUnknown):
        bench.ledger.record(WithdrawConsent(consent_id=an_id("c"), subject_id=MARI, channel=Channel.PHONE), SUPPORT)
    lag = bench.ledger.size()
    assert samples(metrics)["prooftrail_index_lag_entries", ("records",)] == lag > 0
    bench.ledger.commit_index()
    bench.ledger._sequencer.close()
    found = samples(metrics)
    assert found["prooftrail_append_seconds_count", ("records",)] == 3, "two subjects, and the commitment"
    assert found["prooftrail_append_seconds_sum", ("records",)] > 0
    assert found["prooftrail_batch_appends_sum", ("records",)] == 3
    assert found["prooftrail_refusals_total", ("consent-unknown", "records")] == 1
    assert found["prooftrail_entries", ("records",)] == bench.ledger.size()
    assert found["prooftrail_queue_appends", ("records",)] == 0
    assert found["prooftrail_index_lag_entries", ("records",)] == 0
    assert found["prooftrail_projection_lag_entries", ()] == 7


def test_the_document_names_every_metric(bench: Bench) -> None:
    metrics = some_metrics()
    metrics.watch("records", bench.ledger)
    text = (Path(__file__).parents[2] / "docs" / "http-limits.md").read_text(encoding="utf-8")
    families = text_string_to_metric_families(metrics.render()[1].decode())
    assert not [family.name for family in families if f"`{family.name}" not in text and "prooftrail" in family.name]


def test_a_number_that_cannot_be_read_is_no_number() -> None:
    def failing() -> float:
        raise StorageError("the file is damaged")

    metrics = some_metrics()
    metrics.gauge("projection_lag_entries", "Entries that are not taken in yet.", failing)
    value = samples(metrics)["prooftrail_projection_lag_entries", ()]
    assert value != value


# --- traces ------------------------------------------------------------------------------------------------------


def traced() -> tuple[Traces, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider), exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_the_steps_of_a_ledger_are_inside_of_the_request(bench: Bench) -> None:
    traces, exporter = traced()
    some_metrics().watch("records", bench.ledger, traces.step)

    async def recording(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        assert exchange is not None
        exchange.operation, exchange.role = "register-subject", "support"
        await bench.ledger.arecord(RegisterSubject(subject_id=MARI), SUPPORT)
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body"})

    parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = ((b"traceparent", parent), (b"tracestate", b"a=" + CANARY.encode()), (b"baggage", CANARY.encode()))
    asyncio.run(ask(Exchanges(TracedRequests(recording, traces)), a_scope(f"/{CANARY}", headers=headers)))
    spans = by_name(exporter)
    assert set(spans) == {"register-subject", "records decide", "records append"}
    request = spans["register-subject"]
    assert request.parent is not None
    assert format(request.context.trace_id, "032x") == "4bf92f3577b34da6a3ce929d0e0e4736"
    for name in ("records decide", "records append"):
        assert spans[name].parent is not None
        assert spans[name].parent.span_id == request.context.span_id
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "prooftrail.operation": "register-subject",
        "prooftrail.request_id": (request.attributes or {})["prooftrail.request_id"],
        "prooftrail.role": "support",
    }
    assert CANARY not in "".join(span.to_json() for span in spans.values())
    traces.close()


def test_a_fault_is_marked_and_its_text_is_in_no_span(bench: Bench) -> None:
    traces, exporter = traced()
    some_metrics().watch("records", bench.ledger, traces.step)

    async def failing() -> None:
        with traces.step("access write"):
            raise ValueError(CANARY)

    app = Exchanges(TracedRequests(Counting(failing), traces))
    assert asyncio.run(ask(app, a_scope(headers=CHUNKED), b"x"))[0] == 500
    with pytest.raises(ConsentUnknown):
        bench.ledger.record(WithdrawConsent(consent_id=an_id("c"), subject_id=MARI, channel=Channel.PHONE), SUPPORT)
    spans = by_name(exporter)
    assert set(spans) == {"request", "access write", "records decide"}
    assert not spans["request"].status.is_ok
    assert CANARY not in "".join(span.to_json() for span in spans.values())
    traces.close()


def test_opentelemetry_is_not_loaded_unless_traces_are_asked_for() -> None:
    program = (
        "import sys, api.http.tracing, api.http.metrics, api.http.logs, api.http.limits, api.http.protocol\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "sys.modules['opentelemetry.exporter'] = None\n"
        "try:\n    api.http.tracing.Traces.to('http://127.0.0.1:1/v1/traces')\n"
        "except api.http.tracing.StorageError as error:\n    assert 'prooftrail[otel]' in str(error)\n"
        "else:\n    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
