"""Asking a witness over HTTP to cosign a checkpoint. c2sp.org/tlog-witness, the client's side.

Only the address that the operator configured is ever spoken to: no redirect is followed, no proxy of the environment is
used, and both the time and the size of an answer are bounded.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from ledger.errors import Inconsistent, Invalid, NotCosigned, SizeMismatch, VerificationError, WitnessUnreachable
from ledger.tlog.checkpoint import parse_number
from ledger.tlog.cosignature import Cosignature, WitnessKey, cosignatures, with_lines
from ledger.tlog.witness import AddCheckpoint

DEADLINE_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
SIZE_TYPE: Final = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """A witness: its key, and the prefix of its address (`https://witness.example/w1`). Raises Invalid."""

    key: WitnessKey
    url: str

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise Invalid("witness address", "is no URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise Invalid("witness address", "is an http or https URL such as https://witness.example/w1")
        if parts.username is not None or parts.query or parts.fragment or not self.url.isascii() or " " in self.url:
            raise Invalid("witness address", "has no user, query, fragment or space")


def ask(address: WitnessAddress, request: AddCheckpoint, *, deadline_s: float = DEADLINE_S) -> Cosignature:
    """Return the cosignature of the request's checkpoint by this witness, verified.

    Raises SizeMismatch with the size to start from, NotCosigned for another refusal, WitnessUnreachable when there is
    no answer in time or none that makes sense, VerificationError for a cosignature that does not hold.
    """
    status, kind, body = _post(address, request.encode(), deadline_s)
    if status == 409 and kind == SIZE_TYPE:
        text = body.decode("ascii", "replace")
        size = parse_number(text.removesuffix("\n"), "witness")
        raise SizeMismatch(size, f"the checkpoint cosigned last has {size} entries")
    if status == 422:
        raise Inconsistent("witness", "it holds that this checkpoint does not extend the one it cosigned last")
    if status in (400, 403, 404, 409):
        raise NotCosigned("witness", f"it refused the checkpoint (status {status})")
    if status != 200:
        raise WitnessUnreachable(f"it answered with status {status}")
    try:
        lines = body.decode().removesuffix("\n").split("\n")
        grown = with_lines(request.checkpoint, lines)
    except (UnicodeDecodeError, VerificationError):
        raise VerificationError("cosignature", "the witness answered with something else") from None
    found = cosignatures(grown, [address.key])
    if not found:
        raise VerificationError("cosignature", "the witness signed with another key than the configured one")
    return found[-1]


def _post(address: WitnessAddress, body: bytes, deadline_s: float) -> tuple[int, str, bytes]:
    parts = urlsplit(address.url)
    assert parts.hostname is not None
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=deadline_s)
    # The timeout of a socket is for each step; this is for all of them, however slowly an answer drips.
    watchdog = threading.Timer(deadline_s, _cut, (connection,))
    watchdog.daemon = True
    watchdog.start()
    try:
        path = parts.path.rstrip("/") + "/add-checkpoint"
        connection.request("POST", path, body, {"Content-Type": "text/plain; charset=utf-8"})
        answer: HTTPResponse = connection.getresponse()
        content = answer.read(MAX_ANSWER_BYTES + 1)
        if len(content) > MAX_ANSWER_BYTES:
            raise WitnessUnreachable(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        return answer.status, answer.headers.get_content_type(), content
    except (OSError, HTTPException, ValueError) as error:
        raise WitnessUnreachable(f"no answer ({type(error).__name__})") from error
    finally:
        watchdog.cancel()
        connection.close()


def _cut(connection: HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
