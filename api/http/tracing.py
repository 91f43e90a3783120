"""Traces with OpenTelemetry, the extra `otel`: a span a request, and one for each step of a ledger inside it.

Nothing of OpenTelemetry is imported unless traces are asked for. Attributes are the operation, the method, the status,
the role, the problem and the request id; neither an address, a header, a person, nor what an exception says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final

from api.http.asgi import App, Receive, Scope, Send, header
from api.http.exchange import exchange_of
from ledger.errors import StorageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE_NAME: Final = "prooftrail"


class Traces:
    """Where spans go. Raises StorageError without the extra."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE_NAME)
        self._server = SpanKind.SERVER
        self._failed = Status(StatusCode.ERROR)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str) -> Traces:
        """Send spans in batches to an OTLP collector over HTTP, such as http://127.0.0.1:4318/v1/traces."""
        with _extra():
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        return cls(provider)

    def close(self) -> None:
        """Send what is left, then stop."""
        self._provider.shutdown()

    def step(self, name: str) -> AbstractContextManager[object]:
        """Return the span of one step, inside of the request's."""
        # An exception may say what was sent.
        return self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[None]:
        """The span of one request, under the trace that `traceparent` names (W3C Trace Context)."""
        parent = header(scope, b"traceparent")
        # `tracestate` and baggage are free text of whoever asks, and go nowhere.
        context = self._propagator.extract({"traceparent": parent.decode("latin-1")} if parent else {})
        with self._tracer.start_as_current_span(
            "request", context, self._server, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            finally:
                if (exchange := exchange_of(scope)) is not None:
                    span.update_name(exchange.operation or "request")
                    span.set_attribute("http.request.method", exchange.method)
                    span.set_attribute("prooftrail.request_id", exchange.request_id)
                    found = {
                        "http.response.status_code": exchange.status,
                        "prooftrail.operation": exchange.operation,
                        "prooftrail.problem": exchange.problem,
                        "prooftrail.role": exchange.role,
                    }
                    span.set_attributes({name: value for name, value in found.items() if value is not None})
                    if exchange.status is None or exchange.status >= 500:
                        span.set_status(self._failed)


class TracedRequests:
    """Middleware inside of Exchanges: a span around each request."""

    def __init__(self, app: App, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._traces.request(scope):
            await self._app(scope, receive, send)


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise StorageError("traces need an extra; install it with: pip install 'prooftrail[otel]'") from error
