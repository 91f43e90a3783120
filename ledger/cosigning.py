"""Collecting cosignatures in the background: every witness is asked for the newest checkpoint, again and again.

Recording never waits for a witness; whoever wants to does so after it. One thread makes rounds: in each all witnesses
are asked for the same checkpoint, so that it gets all their cosignatures. A witness that does not answer is asked again
later and later, beside the rounds, and holds up nobody. What does not live here: HTTP (tlog.ask), storing (storage).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec

from ledger.errors import Conflict, LedgerError, SizeMismatch, VerificationError
from ledger.storage.cosignatures import CosignatureStore, StoredCosignature
from ledger.tlog.ask import WitnessAddress, ask
from ledger.tlog.cosignature import Cosignature
from ledger.tlog.witness import AddCheckpoint

# A witness is asked at most this often, unless somebody waits for it.
PACE_S: Final = 1.0
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 300.0
# Once from where we believe it stands, once from where it says; more only beside another process that asks it too.
MAX_QUESTIONS: Final = 4

Ask = Callable[[WitnessAddress, AddCheckpoint], Cosignature]


class WitnessStatus(msgspec.Struct, frozen=True):
    """What a witness cosigned last (`size` entries, at `time_s`; None: nothing yet), and why it did not since."""

    name: str
    url: str
    key: str
    size: int | None
    time_s: int | None
    failures: int
    error: str | None


class _Witness:
    def __init__(self, address: WitnessAddress, last: StoredCosignature | None) -> None:
        self.address = address
        self.key = str(address.key)
        # Where it stands, as far as we know: it tells us when we are wrong.
        self.known = last.size if last is not None else 0
        self.last = last
        self.failures = 0
        self.retry_at = 0.0
        self.error: str | None = None
        self.busy = False

    @property
    def size(self) -> int:
        """The size of what it cosigned last, -1 before that."""
        return self.last.size if self.last is not None else -1


class Cosigning:
    """The witnesses of one ledger. Its thread starts with the first `notify` or `collect`."""

    def __init__(
        self,
        store: CosignatureStore,
        witnesses: Sequence[WitnessAddress],
        *,
        newest: Callable[[], tuple[int, bytes] | None],
        proof: Callable[[int, int], tuple[bytes, ...]],
        ask: Ask = ask,
    ) -> None:
        """`newest` returns (size, note) of the last checkpoint, `proof` the consistency proof between two sizes."""
        self.store = store
        self._newest = newest
        self._proof = proof
        self._ask = ask
        self._witnesses = [_Witness(address, store.last(str(address.key))) for address in witnesses]
        self._changed = threading.Condition()
        self._wanted = 0
        self._urgent = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Stop asking. Does not wait for a witness that is being asked: its answer is of no use any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            idle = not any(witness.busy for witness in self._witnesses)
        if self._thread is not None and idle:
            self._thread.join()
        self.store.close()

    def notify(self, size: int) -> None:
        """Say that there is a checkpoint of `size` entries. Returns at once."""
        if not self._witnesses:
            return
        with self._changed:
            self._wanted = max(self._wanted, size)
            self._start()
            self._changed.notify_all()

    def wait_for(self, position: int, timeout_s: float) -> list[str]:
        """Wait until every witness has cosigned a checkpoint of at least `position` entries.

        Return the names of those that had not when the time was up; empty when all had.
        """
        deadline = monotonic() + timeout_s
        self.notify(position)
        with self._changed:
            self._urgent += 1
            for witness in self._witnesses:
                # Somebody waits: one that failed before gets its chance now.
                witness.retry_at = 0.0
            self._changed.notify_all()
            try:
                while (missing := self._missing(position)) and not self._closed:
                    left = deadline - monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
            finally:
                self._urgent -= 1
        return missing

    def status(self) -> list[WitnessStatus]:
        """Return where each witness stands."""
        with self._changed:
            return [
                WitnessStatus(
                    name=witness.address.key.name,
                    url=witness.address.url,
                    key=witness.key,
                    size=witness.last.size if witness.last else None,
                    time_s=witness.last.time_s if witness.last else None,
                    failures=witness.failures,
                    error=witness.error,
                )
                for witness in self._witnesses
            ]

    @property
    def names(self) -> list[str]:
        """The names of the witnesses."""
        return [witness.address.key.name for witness in self._witnesses]

    def _missing(self, position: int) -> list[str]:
        return [witness.address.key.name for witness in self._witnesses if witness.size < position]

    # --- the thread ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="prooftrail-cosigning", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            newest: tuple[int, bytes] | None = None
            # Closing the ledger takes its engine away; any other failure of it is told to whoever records.
            with suppress(LedgerError):
                newest = self._newest()
            if newest is not None:
                self._round(due, *newest)
                continue
            with self._changed:
                for witness in due:
                    witness.busy, witness.retry_at = False, monotonic() + FIRST_RETRY_S

    def _wait(self) -> list[_Witness] | None:
        """Wait until a witness is to be asked; return which, or None when it is over."""
        with self._changed:
            began = monotonic()
            while not self._closed:
                now = monotonic()
                behind = [
                    one for one in self._witnesses if not one.busy and (not one.last or one.last.size < self._wanted)
                ]
                due = [one for one in behind if one.retry_at <= now]
                paced = now - began >= PACE_S or self._urgent > 0
                if due and paced:
                    for witness in due:
                        witness.busy = True
                    return due
                waits = [one.retry_at - now for one in behind if one.retry_at > now]
                if due:
                    waits.append(began + PACE_S - now)
                self._changed.wait(min(waits) if waits else None)
        return None

    def _round(self, due: Sequence[_Witness], size: int, note: bytes) -> None:
        threads = []
        for witness in due:
            thread = threading.Thread(target=self._ask_one, args=(witness, size, note), daemon=True)
            thread.start()
            # One that failed before may take all its time again: the round goes on without it.
            if not witness.failures:
                threads.append(thread)
        for thread in threads:
            thread.join()

    def _ask_one(self, witness: _Witness, size: int, note: bytes) -> None:
        error: str | None = None
        found: StoredCosignature | None = None
        try:
            cosigned = self._cosign(witness, size, note)
            found = StoredCosignature(size, witness.key, cosigned.time_s, cosigned.line)
            self.store.add(found)
        except LedgerError as failure:
            error = str(failure)
        except Exception as failure:
            # A bug of ours must not end the asking of this witness in silence.
            error = f"a fault in this program ({type(failure).__name__})"
        with self._changed:
            witness.busy = False
            witness.error = error
            if error is None:
                witness.known, witness.last, witness.failures = size, found, 0
            else:
                witness.failures += 1
                pause = min(FIRST_RETRY_S * 2 ** (witness.failures - 1), LAST_RETRY_S)
                witness.retry_at = monotonic() + pause
            self._changed.notify_all()

    def _cosign(self, witness: _Witness, size: int, note: bytes) -> Cosignature:
        """Ask from where the witness stands; when it stands elsewhere, again from there."""
        old = min(witness.known, size)
        for _ in range(MAX_QUESTIONS):
            try:
                return self._ask(witness.address, AddCheckpoint(old, self._proof(old, size), note))
            except SizeMismatch as mismatch:
                if mismatch.size > size:
                    raise VerificationError(
                        "witness",
                        f"it has seen {mismatch.size} entries of this log, which has {size}: this ledger was rolled "
                        "back, or a copy of it goes on elsewhere",
                    ) from None
                if mismatch.size == old:
                    raise VerificationError(
                        "witness", f"it has seen another tree of {old} entries: this ledger was changed, or has a copy"
                    ) from None
                old = mismatch.size
        raise Conflict("another process asks this witness at the same time")
