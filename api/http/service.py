"""What is open while the door is: the records and their projections, the access log, who callers are, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from api.http.access import open_access_log
from api.http.identity import Caller, Identity, open_identity
from api.http.metrics import Metrics
from api.http.operation import Operation, Shows
from api.http.permissions import Permissions, read_permissions
from api.http.problems import PROBLEMS, REFUSALS, Problem
from api.http.protocol import DeadlineProtocol
from api.http.rates import Rate, RateLimits
from api.http.tracing import Traces
from api.http.verification import Verification
from api.settings import Settings
from ledger import Ledger
from projections import Projections
from projections.access_log import AccessLog

# By class of operation and caller. Bulk is what makes much of a little: packages, exports, answers, batches.
RATES: Final[Mapping[str, Rate]] = {
    "record": Rate(per_second=2_000, burst=4_000),
    "read": Rate(per_second=500, burst=1_000),
    "bulk": Rate(per_second=2, burst=20),
}
_BULK: Final = frozenset(
    ("answer-subject", "export-subject", "prove-order", "prove-subject", "prove-tag", "batch", "may-send")
)


class Service:
    """Everything that an operation may use. Nothing is open before `open`, nor after `aclose`."""

    def __init__(self, settings: Settings, operations: Mapping[str, Operation]) -> None:
        self.settings = settings
        self.permissions: Permissions = read_permissions(operations)
        self.rates = RateLimits(RATES)
        self.metrics = Metrics(operations=operations, problems={*PROBLEMS, *REFUSALS})
        self.traces = None if settings.otlp_endpoint is None else Traces.to(settings.otlp_endpoint)
        self.ledger: Ledger
        self.projections: Projections
        self.access: AccessLog
        self.identity: Identity
        self.verification: Verification
        self.ready = False

    def open(self) -> None:
        """Open all of it. Raises StorageError or VerificationError, saying what to do, and leaves nothing open."""
        opened: list[Ledger | Projections | AccessLog] = []
        try:
            self.ledger = self.settings.open()
            opened.append(self.ledger)
            self.projections = self.settings.projections(self.ledger)
            opened.append(self.projections)
            self.access = open_access_log(self.settings, records=self.ledger)
            opened.append(self.access)
            self.identity = open_identity(self.settings)
            self._watch()
            self.projections.catch_up()
            self.projections.follow()
            self.verification = Verification(self.settings, self.ledger)
            self.verification.start()
        except BaseException:
            for one in reversed(opened):
                one.close()
            raise
        self.ready = True

    def _watch(self) -> None:
        steps = {} if self.traces is None else {"steps": self.traces.step}
        self.metrics.watch("records", self.ledger, **steps)
        self.metrics.watch("access", self.access.ledger, **steps)
        DeadlineProtocol.watchers[:] = [self.metrics.connection_cut]
        self.metrics.gauge(
            "projection_lag_entries", "Entries that the projections have not taken in yet.",
            lambda: self.ledger.size() - self.projections.position(),
        )  # fmt: skip

    def close(self) -> None:
        """Finish what was accepted, then close every file."""
        self.ready = False
        self.verification.close()
        self.projections.close()
        self.access.close()
        self.ledger.close()
        if self.traces is not None:
            self.traces.close()

    async def aopen(self) -> None:
        """The same as `open`, beside the event loop."""
        await asyncio.to_thread(self.open)

    async def aclose(self) -> None:
        """The same as `close`, beside the event loop."""
        await asyncio.to_thread(self.close)

    def check_rate(self, caller: Caller, operation: Operation) -> None:
        """Raise Problem when this caller asks too often."""
        kind = "bulk" if operation.id in _BULK else "record" if operation.shows is Shows.NOTHING else "read"
        if wait_s := self.rates.take(caller.actor.id, kind=kind):
            raise Problem("too-many-requests", retry_after_s=wait_s)
