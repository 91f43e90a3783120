"""The rings around the door, from outside in: what browsers are told, the exchange with its log, then the limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from api.http.asgi import App, Scope
from api.http.exchange import Exchanges
from api.http.limits import BodyLimit, Concurrency, Deadline
from api.http.logs import log_request
from api.http.operation import OPERATIONS
from api.http.rates import AddressRate, Rate, RateLimits
from api.http.security import Cors, SecurityHeaders
from api.http.service import Service
from api.http.tracing import TracedRequests

# Whoever asks whether we are alive is never told to wait.
EXEMPT: Final = ("/health/live", "/health/ready", "/metrics")
# What goes on for as long as there are lines.
STREAMS: Final = ("/v1/batch",)
# From one address, whoever is behind it: several callers may be.
_BY_ADDRESS: Final = {"address": Rate(per_second=4_000, burst=8_000)}


def rings(app: App, service: Service) -> App:
    """Return the application with the rings around it."""
    settings = service.settings
    # The clock of a request starts once its body is here: how slowly that may come is the connection's business.
    app = Deadline(app, exempt=STREAMS)
    app = Concurrency(app, exempt=EXEMPT)
    app = BodyLimit(app, maximum=_most(service))
    app = AddressRate(app, rates=RateLimits(_BY_ADDRESS), kind="address", exempt=EXEMPT)
    if settings.allowed_origins:
        app = Cors(app, origins=settings.allowed_origins)
    if service.traces is not None:
        app = TracedRequests(app, traces=service.traces)
    app = Exchanges(app, observers=[log_request, service.metrics.request])
    return SecurityHeaders(app)


def _most(service: Service) -> Callable[[Scope], int]:
    """Return how long a body may be, by the operation that its address is of."""
    orders = service.settings.limits.order_bytes
    most = {one.path: one.body.max_bytes or orders for one in OPERATIONS.values() if one.body is not None}
    # An address with an id in it: the longest that any of those takes.
    other = max((size for path, size in most.items() if "{" in path), default=0)
    return lambda scope: most.get(scope["path"], other)
