"""Asking a witness over HTTP to cosign a checkpoint. c2sp.org/tlog-witness, the client's side.

Only the server that the operator configured is ever spoken to, see ledger.exchange; both the time and the size of an
answer are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final

from ledger.addresses import Networks, Url, parse_url
from ledger.errors import (
    Inconsistent,
    Invalid,
    NotCosigned,
    SizeMismatch,
    Unreachable,
    VerificationError,
    WitnessUnreachable,
)
from ledger.exchange import Answer, Bounds, exchange
from ledger.tlog.checkpoint import parse_number
from ledger.tlog.cosignature import Cosignature, WitnessKey, cosignatures, with_lines
from ledger.tlog.witness import AddCheckpoint

DEADLINE_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
SIZE_TYPE: Final = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """A witness: its key, and the prefix of its address (`https://witness.example/w1`). Raises Invalid.

    A name leads to public addresses, or into `networks`. An address is what the operator wrote, and so may be any.
    """

    key: WitnessKey
    url: str
    networks: Networks = ()

    def __post_init__(self) -> None:
        if self.parsed.query:
            raise Invalid("witness address", "has no query")

    @property
    def parsed(self) -> Url:
        return parse_url(self.url, "witness address")

    @property
    def networks_spoken_to(self) -> Networks:
        literal = self.parsed.literal
        return self.networks if literal is None else (*self.networks, ip_network(literal))


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


def _post(address: WitnessAddress, body: bytes, deadline_s: float) -> Answer:
    url = replace(address.parsed, path=address.parsed.path.rstrip("/") + "/add-checkpoint")
    try:
        return exchange(
            "POST",
            url,
            body=body,
            headers={"Content-Type": "text/plain; charset=utf-8"},
            networks=address.networks_spoken_to,
            bounds=Bounds(deadline_s, MAX_ANSWER_BYTES),
        )
    except Unreachable as error:
        raise WitnessUnreachable(str(error)) from error
