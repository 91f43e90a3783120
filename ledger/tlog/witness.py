"""The request that a log makes of a witness, and the witness's decision. c2sp.org/tlog-witness, `add-checkpoint`.

    old <size of the checkpoint that the witness cosigned last>
    [<hash, base64>]…           the consistency proof from there
                                a blank line
    <checkpoint, as signed>

A witness holds one promise: it never cosigns two trees of one log of which neither extends the other. So the size and
root that it cosigned last are compared and replaced in one durable transaction, and only then is anything signed. What
does not live here: HTTP (the door), and asking a witness (ledger.cosigning).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.errors import Inconsistent, Invalid, LogUnknown, SizeMismatch, Unsigned, VerificationError
from ledger.storage.witnessed import WitnessStore
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, parse_number
from ledger.tlog.cosignature import WitnessSigner
from ledger.tlog.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from ledger.tlog.note import MAX_NOTE_BYTES, Verifier, decode_base64, encode_base64, text_of

MAX_PROOF_LINES: Final = 63
"""c2sp.org/tlog-witness: a client sends no more."""

MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + 4_096
"""The longest note, and 63 hashes of 45 bytes with the first line."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign `checkpoint` (a signed note), with the proof that it extends the tree of `old` entries."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the body of the request. Raises Invalid for what could not be read back."""
        if len(self.proof) > MAX_PROOF_LINES or any(len(item) != HASH_BYTES for item in self.proof):
            raise Invalid("proof", f"at most {MAX_PROOF_LINES} hashes of {HASH_BYTES} bytes")
        lines = [f"old {self.old}", *map(encode_base64, self.proof)]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Read the body of a request. The checkpoint is taken as it stands. Raises VerificationError only."""
        step = "request"
        if len(body) > MAX_REQUEST_BYTES:
            raise VerificationError(step, f"longer than {MAX_REQUEST_BYTES} bytes")
        head, blank, checkpoint = body.partition(b"\n\n")
        if not blank or not 0 < len(checkpoint) <= MAX_NOTE_BYTES:
            raise VerificationError(step, "no checkpoint after a blank line")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise VerificationError(step, "not ASCII before the checkpoint") from error
        if not first.startswith("old "):
            raise VerificationError(step, "no old size line")
        if len(lines) > MAX_PROOF_LINES:
            raise VerificationError(step, f"more than {MAX_PROOF_LINES} hashes")
        proof = tuple(decode_base64(line, step) for line in lines)
        if any(len(item) != HASH_BYTES for item in proof):
            raise VerificationError(step, f"a hash that is not {HASH_BYTES} bytes")
        return cls(parse_number(first.removeprefix("old "), step), proof, checkpoint)


class Witness:
    """A witness of the logs whose keys it was given. Safe for many threads, and for several processes on one store."""

    def __init__(
        self, store: WitnessStore, signer: WitnessSigner, logs: Iterable[Verifier], *, now: Callable[[], float]
    ) -> None:
        """`now` returns POSIX seconds. A log may have several keys, all of its name, while it replaces one."""
        self._store = store
        self._signer = signer
        self._now = now
        self._logs: Mapping[str, Sequence[Verifier]] = _by_name(logs)

    def add_checkpoint(self, body: bytes) -> str:
        """Return the cosignature line, with its newline, of the checkpoint in a request.

        Raises VerificationError for what is malformed, LogUnknown, Unsigned, SizeMismatch, Inconsistent, and
        StorageError; then nothing was cosigned.
        """
        # (1) The request, and the checkpoint in it, are well formed.
        request = AddCheckpoint.parse(body)
        text = text_of(request.checkpoint)
        claimed = Checkpoint.parse(text)

        # (2) It is of a log that we know, and (3) signed by it.
        keys = self._logs.get(claimed.origin)
        if keys is None:
            raise LogUnknown("origin", "not a log that this witness knows")
        try:
            checkpoint = open_checkpoint(request.checkpoint, keys, claimed.origin)
        except VerificationError as error:
            raise Unsigned("signature", error.why) from None

        # (4) A tree does not shrink.
        if request.old > checkpoint.size:
            raise VerificationError("request", "the old size is beyond the size of the checkpoint")

        # (5) It starts from what we cosigned last, and extends it. One transaction: two requests have one winner.
        with self._store.replacing(checkpoint.origin) as last:
            size, root = (last.size, last.root) if last is not None else (0, EMPTY_ROOT)
            if request.old != size:
                raise SizeMismatch(size, f"the checkpoint cosigned last has {size} entries")
            try:
                verify_consistency(
                    old_size=size,
                    new_size=checkpoint.size,
                    old_root=root,
                    new_root=checkpoint.root,
                    proof=request.proof,
                )
            except VerificationError as error:
                # The log signed what it does not prove: when it is another tree, that is evidence against it.
                self._store.keep_refused(checkpoint.origin, checkpoint.size, checkpoint.root, request.checkpoint)
                if checkpoint.size == size and checkpoint.root != root:
                    raise SizeMismatch(size, f"another tree of {size} entries was cosigned") from None
                raise Inconsistent(error.step, error.why) from None
            self._store.replace(checkpoint.origin, checkpoint.size, checkpoint.root, request.checkpoint)
        # Durable from here. A crash now leaves a log that asks again from this size and is answered.
        return self._signer.cosign(text, int(self._now()))


def open_witness(path: Path, signer: WitnessSigner, logs: Iterable[Verifier], *, now: Callable[[], float]) -> Witness:
    """Return the witness with the store at `path`. Raises StorageError when it is absent: a lost one stays lost."""
    return Witness(WitnessStore(path), signer, logs, now=now)


def _by_name(keys: Iterable[Verifier]) -> dict[str, list[Verifier]]:
    found: dict[str, list[Verifier]] = {}
    for key in keys:
        if key not in found.setdefault(key.name, []):
            found[key.name].append(key)
    return found
