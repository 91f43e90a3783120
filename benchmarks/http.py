"""The HTTP door under 32 connections, beside FastAPI handlers that do less; servers and load in their own processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from api.http.identity import local_issuer
from api.settings import Settings, directory_settings, now
from benchmarks.http_load import Outcome
from benchmarks.result import Result, measured, rate
from ledger import Actor
from ledger.commands import CollectData, RegisterSubject
from ledger.opening import GUARD_FILE
from ledger.storage.server import Server
from ledger.vocabulary import ActorId, ClientId, LegalBasis, Purpose, Role, SourceKind, SubjectId, new_id
from tests.postgres.cluster import Cluster

CONNECTIONS: Final = 32
SUBJECTS: Final = 1_000
_DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SERVICE: Final = Actor(id=ActorId(new_id()), role=Role.SERVICE)

Request = list[Any]


def rows(scratch: Path, *, requests: int, rounds: int) -> Iterable[Result]:
    """Measure single commands against both references, then batches, then reads with and without the access log."""
    settings = directory_settings(scratch / "http")
    subjects = _prepare(settings)
    token = _token(settings)
    environ = {**os.environ, "PROOFTRAIL_DATA": str(settings.data), "PROOFTRAIL_BENCH_DB": str(scratch / "plain.db")}
    with _served(["-m", "benchmarks.http_server"], environ) as ours, _references(environ) as plain:
        yield from _recorded(ours, plain, token, subjects, requests, rounds)
    with _served(["-m", "benchmarks.http_server"], environ) as ours:
        watched = [_load(ours, token, _reads(subjects, requests)) for _ in range(rounds)]
    with _served(["-m", "benchmarks.http_server"], environ, "--unwatched") as silent:
        unwatched = [_load(silent, token, _reads(subjects, requests)) for _ in range(rounds)]
    yield rate(
        "http-get-subject", [one.rate for one in watched], [one.rate for one in unwatched], unit="answers/s", mark=0.5,
        note="the access event durable first, against the same without it",
    )  # fmt: skip
    yield measured("http-get-subject-p99", median(one.p99_ms for one in watched), unit="ms")
    yield from _on_postgres(scratch, requests, rounds)


def _on_postgres(scratch: Path, requests: int, rounds: int) -> Iterator[Result]:
    """Two workers over PostgreSQL, on a server of their own beside them."""
    with Cluster(on_disk=True) as cluster:
        cluster.create().start()
        data = scratch / "http-postgres"
        settings = Settings(data=data, guard=data / GUARD_FILE, server=Server(dsn=cluster.dsn()))
        subjects = _prepare(settings)
        token = _token(settings)
        environ = {**os.environ, "PROOFTRAIL_DATA": str(data), "PROOFTRAIL_DSN": cluster.dsn()}
        serve = ["-c", "from api.cli import main; main()", "serve", "--workers", "2", "--port"]
        with _served(serve, environ) as port:
            # A connection stays with its worker: both are warm after this.
            _load(port, token, _consents(subjects, requests // 4))
            found = [_load(port, token, _consents(subjects, requests)) for _ in range(rounds)]
    yield measured("http-consent-postgres-2", median(one.rate for one in found), unit="requests/s", note="two workers")
    yield measured("http-consent-postgres-2-p99", median(one.p99_ms for one in found), unit="ms")


def _recorded(
    ours: int, plain: int, token: str, subjects: list[SubjectId], requests: int, rounds: int
) -> Iterator[Result]:
    consents, orders, sqlite, empty = [], [], [], []
    batched: list[float] = []
    for _ in range(rounds):
        sqlite.append(_load(plain, token, _plain("/sqlite", subjects, requests)))
        consents.append(_load(ours, token, _consents(subjects, requests)))
        empty.append(_load(plain, token, _plain("/empty", subjects, requests)))
        orders.append(_load(ours, token, _orders(subjects, requests)))
        lines = 256
        batch = _load(ours, token, [_batch(subjects, lines) for _ in range(max(1, requests // lines))], connections=1)
        batched.append(batch.rate * lines)
    for name, found in (("http-consent", consents), ("http-order", orders)):
        rates = [one.rate for one in found]
        yield rate(name, rates, [one.rate for one in sqlite], unit="requests/s", mark=2.0,
                   note="FastAPI + sqlite3, a transaction a request")  # fmt: skip
        yield rate(f"{name}-empty", rates, [one.rate for one in empty], unit="requests/s", mark=0.5,
                   note="a FastAPI handler that does nothing")  # fmt: skip
        yield measured(f"{name}-p99", median(one.p99_ms for one in found), unit="ms", at_most=100)
    yield rate("http-batch", batched, [one.rate for one in consents], unit="commands/s", mark=5.0)


def _token(settings: Settings) -> str:
    return local_issuer(settings).token(
        role=Role.SERVICE, actor_id=_SERVICE.id, client_id=None, now=now(), lifetime=timedelta(hours=12)
    )


def _prepare(settings: Settings) -> list[SubjectId]:
    """Make a ledger with people in it."""
    settings.initialise("bench.example/http")
    subjects = [SubjectId(new_id()) for _ in range(SUBJECTS)]
    with settings.open() as ledger:
        ledger.record_many([(RegisterSubject(subject_id=one), _SERVICE, None) for one in subjects])
        values = {"given-name": "Mari", "email": "mari@example.com"}
        ledger.record_many(
            [
                (
                    CollectData(
                        subject_id=one, purpose=Purpose.CONTRACT, basis=LegalBasis.CONTRACT, source=SourceKind.SUBJECT,
                        values=values,
                    ),
                    _SERVICE, None,
                )
                for one in subjects
            ]
        )  # fmt: skip
    return subjects


def _consent(subject_id: SubjectId) -> dict[str, Any]:
    return {
        "consent_id": str(uuid.uuid4()), "subject_id": subject_id, "purpose": "own-offers", "fields": ["email"],
        "text_sha256": _DIGEST, "language": "et", "channel": "api",
    }  # fmt: skip


def _json(body: dict[str, Any]) -> str:
    return msgspec.json.encode(body).decode()


def _plain(path: str, subjects: list[SubjectId], count: int) -> list[Request]:
    return [["POST", path, "application/json", _json(_consent(subjects[i % SUBJECTS]))] for i in range(count)]


def _consents(subjects: list[SubjectId], count: int) -> list[Request]:
    return _plain("/v1/commands/give-consent", subjects, count)


def _orders(subjects: list[SubjectId], count: int) -> list[Request]:
    client = ClientId(new_id())
    found = []
    for i in range(count):
        path = f"/v1/orders?client_id={client}&subject_id={subjects[i % SUBJECTS]}&channel=software"
        found.append(["POST", path, "application/xml", f"<payment><id>{uuid.uuid4()}</id></payment>"])
    return found


def _reads(subjects: list[SubjectId], count: int) -> list[Request]:
    return [["GET", f"/v1/subjects/{subjects[i % SUBJECTS]}", "application/json", None] for i in range(count)]


def _batch(subjects: list[SubjectId], lines: int) -> Request:
    chosen = (subjects[uuid.uuid4().int % SUBJECTS] for _ in range(lines))
    body = "".join(_json({"command": "give-consent", **_consent(one)}) + "\n" for one in chosen)
    return ["POST", "/v1/batch", "application/x-ndjson", body]


def _load(port: int, token: str, requests: list[Request], *, connections: int = CONNECTIONS) -> Outcome:
    job = msgspec.json.encode({"requests": requests, "token": token, "connections": connections})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load", str(port)], input=job, capture_output=True, check=True
    )
    found = msgspec.json.decode(done.stdout, type=Outcome)
    if found.errors:
        raise RuntimeError(f"{found.errors} requests failed: {done.stderr.decode()}")
    return found


def _references(environ: dict[str, str]) -> Any:
    return _served(["-m", "uvicorn", "benchmarks.http_references:app", "--factory", "--log-level", "error"], environ)


@contextmanager
def _served(program: list[str], environ: dict[str, str], *more: str) -> Iterator[int]:
    """Run a server in a process of its own until it is not needed; return its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    named = ["--port", str(port)] if "uvicorn" in program else [str(port)]
    child = subprocess.Popen(
        [sys.executable, *program, *named, *more], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(lambda: urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).status == 200, child)
        yield port
    finally:
        child.terminate()
        child.wait(30)


def _wait(answers: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    until = monotonic() + 60
    while monotonic() < until and child.poll() is None:
        try:
            if answers():
                return
        except URLError as error:
            # A reference knows no such address, and says so: it is there.
            if getattr(error, "code", None) == 404:
                return
        sleep(0.2)
    raise RuntimeError("a server did not start")
