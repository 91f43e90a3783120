"""The stand-in in a process of its own, and raw connections to it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any


class Child:
    """A server under test: where it is, what it says, how large it is."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def raw(self, data: bytes = b"", timeout_s: float = 30.0) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)
        connection.sendall(data)
        return connection

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        finally:
            connection.close()

    def peak_kb(self) -> int:
        """The most memory that it ever had, resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))

    def lines(self) -> list[dict[str, Any]]:
        """Return what was logged; every line is a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def serving(*off: str, arguments: tuple[str, ...] = ()) -> Iterator[Child]:
    """Run the stand-in, some of its layers `off`; it is stopped at the end."""
    with tempfile.TemporaryDirectory() as directory:
        port_file, log = Path(directory) / "port", Path(directory) / "log"
        command = [sys.executable, "-m", "tests.http.stand_in", str(port_file), *arguments, "--off", *off]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=Path(__file__).parents[2])
        try:
            deadline = time.monotonic() + 60
            while not port_file.exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield Child(process, int(port_file.read_text()), log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def received(connection: socket.socket) -> bytes:
    """Return everything until the other side closes; a reset is an end too."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)
