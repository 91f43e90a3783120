"""serve: the HTTP API of a ledger."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from api.cli.failure import Usage
from api.cli.options import DataOption
from api.settings import read_settings

DEFAULT_PORT: Final = 8080
GRACE_S: Final = 30


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = DEFAULT_PORT,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Processes; more than one on PostgreSQL.")
    ] = 1,
    data: DataOption = None,
) -> None:
    """Serve the HTTP API of a ledger: http://127.0.0.1:8080/v1/openapi.json describes it.

    Example: prooftrail serve

    Example: PROOFTRAIL_DSN=… prooftrail serve --workers 2 --host 0.0.0.0

    A token to call it with: prooftrail token --role officer --subject ID. It speaks plain HTTP: put TLS before it. What
    is asked for is logged to standard error, one JSON object a line. SIGTERM finishes what was begun, and stops.
    """
    import uvicorn

    from api.http.access import open_access_log
    from api.http.protocol import DeadlineProtocol

    settings = read_settings(data)
    if workers > 1 and settings.server is None:
        raise Usage("--workers: a ledger in files has one process that records; several need PostgreSQL")
    _raise_file_limit()
    # Before anything listens: what is missing is said here, once, and not by each worker.
    with settings.open() as ledger:
        # Made here, too, where there is none yet: workers that start at once would all try.
        open_access_log(settings, records=ledger, watch=False).close()
    if data is not None:
        os.environ["PROOFTRAIL_DATA"] = str(data)
    with _counting_together() if workers > 1 else nullcontext():
        uvicorn.run(
            "api.http.main:app", factory=True, host=host, port=port, workers=workers, http=DeadlineProtocol, ws="none",
            lifespan="on", access_log=False, log_config=None, server_header=False, date_header=True,
            timeout_graceful_shutdown=GRACE_S, proxy_headers=True,
        )  # fmt: skip


@contextmanager
def _counting_together() -> Iterator[None]:
    """Let workers that are started meanwhile count their metrics in one place, so that each answers for all."""
    with TemporaryDirectory(prefix="prooftrail-metrics-") as directory:
        from api.http.metrics import WORKERS_DIRECTORY

        os.environ[WORKERS_DIRECTORY] = directory
        yield


def _raise_file_limit() -> None:
    """Allow as many open files as this user may have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
