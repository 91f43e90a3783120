"""A process that records reads and acknowledges each in a file outside the store, until it kills itself.

    python -m tests.http.reader <data> <acknowledgements> <reads> [early]

`early` is the planted defect: it acknowledges what is not durable yet.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from api.http.access import open_access_log
from api.settings import read_settings
from projections.access_log import Read
from tests.bench import SUPPORT, an_id


async def main(data: str, acknowledgements: str, reads: str, *early: str) -> None:
    log = open_access_log(read_settings(Path(data), {}))
    file = os.open(acknowledgements, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(int(reads)):
        subject = an_id(f"person {number}")
        line = f"{subject}\n".encode()
        operation: Any = "get-subject"
        read = Read(actor=SUPPORT, operation=operation, subjects=(subject,), records=1, items=1)
        if not early:
            await log.arecord(read)
        os.write(file, line)
        os.fsync(file)
        if number == int(reads) - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if early:
            await log.arecord(read)


asyncio.run(main(*sys.argv[1:]))
