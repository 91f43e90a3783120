"""`prooftrail serve --workers 2` on PostgreSQL: both record, both are read from at once, and SIGTERM loses nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from api.http.metrics import WORKERS_DIRECTORY
from api.settings import read_settings
from ledger.events import SubjectRegistered
from ledger.storage.engine import QueryItem
from ledger.vocabulary import new_id
from tests.postgres.cluster import free_port
from tests.postgres.place import PostgresPlace

PROGRAM: Final = (sys.executable, "-c", "from api.cli import main; main()")
WORKERS: Final = 2
RECORDED: Final = 61  # odd: two workers cannot have recorded as many each
PATIENCE_S: Final = 60.0
_REGISTERED: Final = re.compile(
    r'^prooftrail_requests_total{operation="register-subject",status="201"} (\d+)', re.MULTILINE
)


class Served(NamedTuple):
    """A server with several workers, and the environment that it was started in."""

    process: subprocess.Popen[bytes]
    port: int
    environ: Mapping[str, str]
    token: str
    log: Path

    def ask(self, method: str, path: str, members: Any = None) -> tuple[int, Any]:
        """Ask over a connection of its own, which either worker may take."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if members is None else json.dumps(members), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(content) if content.startswith(b"{") else content.decode()

    def register(self) -> tuple[int, Any]:
        return self.ask("POST", "/v1/commands/register-subject", {"subject_id": new_id(), "role": "controller"})


def run(environ: Mapping[str, str], *words: str) -> str:
    done = subprocess.run([*PROGRAM, *words], env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def served(postgres: PostgresPlace, tmp_path: Path) -> Iterator[Served]:
    server = postgres.server()
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PROOFTRAIL_")} | {
        "PROOFTRAIL_DATA": str(tmp_path / "host"), "PROOFTRAIL_DSN": server.dsn, "PROOFTRAIL_SCHEMA": server.schema,
    }  # fmt: skip
    run(environ, "init")
    token, port, log = run(environ, "token", "--role", "service", "--subject", new_id()), free_port(), tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--workers", str(WORKERS), "--port", str(port)], env=environ, stdout=output,
            stderr=output, start_new_session=True,
        )  # fmt: skip
    found = Served(process, port, environ, token, log)
    try:
        wait_until_up(found)
        yield found
    finally:
        if process.poll() is None:
            # The group is this server's own: its workers end with it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        postgres.drop(server.schema)


def wait_until_up(served: Served) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while served.log.read_text().count("Application startup complete") < WORKERS:
        assert served.process.poll() is None, served.log.read_text()
        assert time.monotonic() < deadline, served.log.read_text()
        time.sleep(0.05)


def counted(served: Served) -> set[int]:
    """Return how many were recorded, as the workers say that happen to answer."""
    texts = [served.ask("GET", "/metrics")[1] for _ in range(20)]
    return {int(count) for text in texts for count in _REGISTERED.findall(text)}


def by_worker(served: Served) -> list[float]:
    """Return how many each worker recorded, from the files that they count in."""
    (worker, *_) = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()[::-1]
    environ = dict(one.split("=", 1) for one in Path(f"/proc/{worker}/environ").read_text().split("\0") if "=" in one)
    found = []
    for file in Path(environ[WORKERS_DIRECTORY]).glob("counter_*.db"):
        samples = [one for metric in MultiProcessCollector.merge([str(file)]) for one in metric.samples]
        found.append(
            sum(
                one.value for one in samples
                if one.name == "prooftrail_requests_total" and one.labels["operation"] == "register-subject"
            )
        )  # fmt: skip
    return found


def test_both_workers_record_and_read_what_the_other_wrote(served: Served) -> None:
    def written_and_read(_: int) -> tuple[int, int]:
        person = new_id()
        status, receipt = served.ask(
            "POST", "/v1/commands/register-subject", {"subject_id": person, "role": "controller"}
        )
        assert status == 201, receipt
        status, state = served.ask("GET", f"/v1/subjects/{person}?min_position={receipt['position']}")
        assert (status, state["subject_id"]) == (200, person)
        return receipt["position"], state["position"]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(written_and_read, range(RECORDED)))
    assert len({position for position, _ in found}) == RECORDED
    assert all(known >= position for position, known in found)
    assert counted(served) == {RECORDED}, "each worker answers for both"
    counts = [count for count in by_worker(served) if count]
    assert len(counts) == WORKERS, counts
    assert sum(counts) == RECORDED
    _, health = served.ask("GET", "/health/ledger")
    assert health["access_size"] >= RECORDED, "both wrote who looked into one log"


def test_sigterm_finishes_what_was_begun_and_loses_nothing(served: Served) -> None:
    kept: list[int] = []
    first = threading.Event()

    def record() -> None:
        """Record until nobody answers any more: whom no worker took in is cut off by the system."""
        with suppress(OSError, HTTPException):
            while True:
                status, receipt = served.register()
                assert status in (201, 503), receipt
                if status == 201:
                    kept.append(receipt["first"])
                    first.set()

    with ThreadPoolExecutor(8) as threads:
        recording = [threads.submit(record) for _ in range(8)]
        assert first.wait(PATIENCE_S)
        time.sleep(1)
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(PATIENCE_S)
        for one in recording:
            one.result(PATIENCE_S)
    assert len(kept) > 20
    assert served.log.read_text().count("Application shutdown complete") == WORKERS
    assert json.loads(run(served.environ, "verify", "--json"))["ok"]
    with closing(read_settings(environ=served.environ).open()) as ledger:
        recorded = [one.index for one in ledger.read((QueryItem((SubjectRegistered.TOPIC,)),))]
    assert sorted(kept) == recorded, "what is recorded was answered, and the reverse"
    assert ends(served.process.pid), "no worker is left behind"


def ends(group: int) -> bool:
    """Whether every process of a group is gone, within a while: the last ones are reaped by the system."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
