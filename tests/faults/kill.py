"""kill -9: a child appends to a store that grows from round to round, dies, and the oracle looks at what is left.

The child writes a line to an O_APPEND file outside the store after each acknowledgement; that file survives the
child, so it is what the store promised. The child dies at a random moment after its start (which falls into recovery,
append, checkpoint or close), or, under strace, on entering its k-th pwrite64 or fdatasync.

Children are forked from a warm process without threads or open databases, so a round costs milliseconds, not an
interpreter. Not modelled: loss of what the system had taken but not written. The page cache survives kill -9; a power
cut is crash_states.py.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

from tests.faults.crash_states import verdict
from tests.faults.store import Ack, Oracle, Store, StoreSpec

SystemCall = Literal["pwrite64", "fdatasync"]

# strace counts calls for each thread from its start, with one `when` for all: a child that should die earlier makes
# this many calls less on a scratch file first, in its own thread and (`on_writing_thread`) in one that writes for it.
CALLS_TO_DEATH = 120
_HUNG_S = 20.0

# An acknowledgement is a short id, an index and two digests at the most.
_LONGEST_LINE = 4_096

# After so many rounds without an acknowledgement children live twice as long: on a busy machine a start takes longer.
_BARREN_ROUNDS = 5


@dataclass(slots=True)
class KillReport:
    """What the rounds found. `survived` counts rounds whose child was done before its death came."""

    rounds: int = 0
    acks: int = 0
    survived: int = 0
    violations: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0

    def __str__(self) -> str:
        first = "".join(f"\n  {line}" for line in self.violations[:5])
        return (
            f"{self.rounds} kills in {self.elapsed_s:.1f} s, {self.acks} acks, {self.survived} survived, "
            f"{len(self.violations)} violated{first}"
        )


class ForkServer:
    """A warm process that forks children for a store in `directory`; its acknowledgements go to `acks`.

    With `kill_on`, the server and its children run under strace, and a child dies on entering that call.
    """

    def __init__(self, store: StoreSpec, directory: Path, acks: Path, *, kill_on: SystemCall | None = None) -> None:
        job = json.dumps({"store": asdict(store), "directory": str(directory), "acks": str(acks)})
        command = [sys.executable, "-c", "from tests.faults.kill import serve; serve()", job]
        if kill_on is not None:
            command = [*_strace(kill_on, CALLS_TO_DEATH), *command]
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def append(
        self, first: str, *, delay_s: float | None, burn: tuple[SystemCall, int] | None = None
    ) -> dict[str, Any]:
        """Let a child append `first`-0, `first`-1, … until it dies after `delay_s` (None: by itself)."""
        return self._ask({"do": "append", "first": first, "delay_s": delay_s, "burn": burn})

    def verify(self) -> Oracle:
        """Let a fresh child judge the store against every acknowledgement so far."""
        return Oracle(**self._ask({"do": "verify"}))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the fork server ended with {self._process.wait()}")
        return cast("dict[str, Any]", json.loads(answer))

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(timeout=_HUNG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_kills(
    store: StoreSpec,
    scratch: Path,
    *,
    rounds: int,
    seed: int,
    longest_s: float = 0.025,
    kill_on: SystemCall | None = None,
    stop_at_first: bool = False,
) -> KillReport:
    """Kill `rounds` children on one growing store below `scratch`, and verify after each; returns what was found.

    A child lives up to `longest_s` after its fork (longer on a machine where none gets that far), or up to
    CALLS_TO_DEATH calls of `kill_on`. A child that ends for any other reason than the kill is a violation: a store must
    start after a kill -9.
    """
    directory, acks = scratch / "store", scratch / "acks"
    directory.mkdir(parents=True)
    acks.touch()
    rng = random.Random(seed)
    report = KillReport()
    acked = barren = 0
    begin = time.perf_counter()
    with ForkServer(store, directory, acks) as plain, ForkServer(store, directory, acks, kill_on=kill_on) as victims:
        for number in range(rounds):
            if kill_on is None:
                ended = victims.append(f"r{number}", delay_s=rng.uniform(0, longest_s))
            else:
                burn = rng.randrange(CALLS_TO_DEATH)
                ended = victims.append(f"r{number}", delay_s=None, burn=(kill_on, burn))
            if ended["signal"] == signal.SIGTERM:
                raise RuntimeError(f"round {number}: the child was not killed within {_HUNG_S} s")
            if ended["signal"] != signal.SIGKILL:
                report.survived += 1
                report.violations.append(f"round {number}: the child ended by itself: {ended}")
            if acks.stat().st_size == acked:
                barren += 1
                if barren % _BARREN_ROUNDS == 0:
                    longest_s = min(longest_s * 2, _HUNG_S / 10)
            else:
                acked, barren = acks.stat().st_size, 0
            oracle = plain.verify()
            if not oracle.holds:
                report.violations.append(f"round {number}: {oracle}")
            report.rounds += 1
            if stop_at_first and report.violations:
                break
    report.acks = acks.read_bytes().count(b"\n")
    report.elapsed_s = time.perf_counter() - begin
    return report


def strace_works() -> bool:
    """True when strace is installed and may trace: some containers forbid it."""
    if shutil.which("strace") is None:
        return False
    # A process that may not be traced ends with another code than the planted signal.
    write = f"import os; os.pwrite(os.open({os.devnull!r}, os.O_WRONLY), b'x', 0)"
    probe = subprocess.run([*_strace("pwrite64", 1), sys.executable, "-c", write], capture_output=True, check=False)
    return probe.returncode == -signal.SIGKILL


def _strace(call: SystemCall, when: int) -> list[str]:
    inject = f"inject={call}:signal=KILL:when={when}"
    return ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]


def serve() -> None:
    """The fork server: one request a line on stdin, one answer a line on stdout. Ends with its stdin."""
    job = json.loads(sys.argv[1])
    store = StoreSpec(**job["store"]).build()
    directory = Path(job["directory"])
    acks = os.open(job["acks"], os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    known = _AckReader(acks)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "append":
            answer = _fork_and_kill(store, directory, acks, request)
        else:
            answer = _fork_and_verify(store, directory, known.read())
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class _AckReader:
    """Reads the acknowledgement file as it grows. A line without its end was never given."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._acks: list[Ack] = []

    def read(self) -> list[Ack]:
        while chunk := os.pread(self._descriptor, 1 << 20, self._offset):
            whole = chunk[: chunk.rfind(b"\n") + 1]
            if not whole:
                break
            self._acks += [Ack(*json.loads(line)) for line in whole.splitlines()]
            self._offset += len(whole)
        return self._acks


def _fork_and_kill(store: Store, directory: Path, acks: int, request: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            _append_for_ever(store, directory, acks, request)
        finally:
            os._exit(3)
    if request["delay_s"] is not None:
        time.sleep(max(0.0, began + request["delay_s"] - time.monotonic()))
        os.kill(child, signal.SIGKILL)
    else:
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() - began > _HUNG_S:
                os.kill(child, signal.SIGTERM)
            time.sleep(0.001)
    _, status = os.waitpid(child, 0)
    drop_torn_line(acks)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status), "code": 0}
    return {"signal": 0, "code": os.WEXITSTATUS(status)}


def drop_torn_line(acks: int) -> None:
    """Cut off a line without its end: the kernel ends a killed write at a page boundary, and the next child appends."""
    size = os.fstat(acks).st_size
    tail = os.pread(acks, _LONGEST_LINE, max(0, size - _LONGEST_LINE))
    os.ftruncate(acks, size - len(tail) + tail.rfind(b"\n") + 1)


def _append_for_ever(store: Store, directory: Path, acks: int, request: dict[str, Any]) -> None:
    if request["burn"] is not None:
        burn = functools.partial(_burn, directory.parent, *request["burn"])
        if hasattr(store, "on_writing_thread"):
            store.on_writing_thread = burn
        burn()
    try:
        number = 0
        while True:
            store.open(directory)
            for _ in range(50):
                ack = store.append(f"{request['first']}-{number}")
                os.write(acks, (json.dumps(astuple(ack)) + "\n").encode())
                number += 1
            # A close and a restart now and then: both have moments of their own to die in.
            store.close()
    except Exception as error:
        print(f"{request['first']}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _burn(scratch: Path, call: SystemCall, count: int) -> None:
    descriptor, path = tempfile.mkstemp(dir=scratch)
    os.unlink(path)
    for _ in range(count):
        if call == "pwrite64":
            os.pwrite(descriptor, b"x", 0)
        else:
            os.fdatasync(descriptor)
    os.close(descriptor)


def _fork_and_verify(store: Store, directory: Path, acks: Sequence[Ack]) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.write(writer, json.dumps(asdict(verdict(store, directory, acks))).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return cast("dict[str, Any]", json.loads(answer)) if answer else asdict(Oracle(refused="the verifier died"))
