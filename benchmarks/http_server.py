"""Our HTTP door as `prooftrail serve` runs it: `python -m benchmarks.http_server <port> [--unwatched]`.

Unwatched, it writes no access log: what that costs is measured against this.
"""

from __future__ import annotations

import sys

import uvicorn

from api.http.main import app
from api.http.protocol import DeadlineProtocol
from projections.access_log import AccessLog, Read


async def _unwatched(log: AccessLog, read: Read) -> int:
    return 0


def main() -> None:
    """Serve until the process is ended."""
    if "--unwatched" in sys.argv:
        setattr(AccessLog, "arecord", _unwatched)  # noqa: B010
    uvicorn.run(
        app(), host="127.0.0.1", port=int(sys.argv[1]), http=DeadlineProtocol, ws="none",
        access_log=False, log_config=None, server_header=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
