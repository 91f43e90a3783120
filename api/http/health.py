"""Liveness, readiness, and the state of the ledger: for whoever runs the service. Nothing here is about a person."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.http.operation import JSON
from api.http.problems import Problem, answered
from api.http.service import Service
from ledger.errors import LedgerError
from ledger.tlog.checkpoint import Checkpoint


class LedgerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The log and what is derived from it. `verified` is None until a verification has run in this process."""

    origin: str
    size: int
    checkpoint_size: int
    root: str | None
    access_size: int
    projection_lag: int
    projections_failure: str | None
    quarantined: int
    cosigned_size: int
    verified: int | None
    verified_at: datetime | None
    verification_failure: str | None


def add_health(app: FastAPI, service: Service) -> None:
    """Add the addresses that a supervisor asks; they need no token and are not part of the described API."""

    async def live(_: Request) -> Response:
        return Response(b'{"status":"live"}', 200, {"Content-Type": JSON})

    async def ready(_: Request) -> Response:
        if not service.ready:
            found = answered(Problem("not-ready", retry_after_s=1))
            return Response(found.encode(), found.status, found.headers)
        return Response(b'{"status":"ready"}', 200, {"Content-Type": JSON})

    async def state(_: Request) -> Response:
        try:
            body: Any = await asyncio.to_thread(_state, service)
        except LedgerError as error:
            found = answered(error)
            return Response(found.encode(), found.status, found.headers)
        return Response(msgspec.json.encode(body), 200, {"Content-Type": JSON})

    async def metrics(_: Request) -> Response:
        media_type, body = await asyncio.to_thread(service.metrics.render)
        return Response(body, 200, {"Content-Type": media_type})

    for path, endpoint in (
        ("/metrics", metrics),
        ("/health/live", live),
        ("/health/ready", ready),
        ("/health/ledger", state),
    ):
        app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)


def _state(service: Service) -> LedgerHealth:
    ledger, status = service.ledger, service.projections.status()
    last = ledger.checkpoint()
    size, note = last or (0, b"")
    checkpoint: Checkpoint | None = ledger.log_keys().open(note) if last else None
    found = service.verification.found
    return LedgerHealth(
        origin=ledger.origin,
        size=ledger.size(),
        checkpoint_size=size,
        root=None if checkpoint is None else checkpoint.root.hex(),
        access_size=service.access.ledger.size(),
        projection_lag=status.lag,
        projections_failure=status.failure,
        quarantined=status.quarantined,
        cosigned_size=ledger.cosigned_size(),
        verified=found.size,
        verified_at=found.at,
        verification_failure=found.failure,
    )
