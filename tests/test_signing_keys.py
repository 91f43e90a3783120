"""Rotating the key that signs the log: who signs when, what old evidence verifies with, and what stops it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger import Ledger, open_ledger
from ledger.append import Append
from ledger.commands import RegisterSubject
from ledger.entry import draft, encode_data
from ledger.errors import RolledBack, SigningKeyState, StorageError, VerificationError
from ledger.events import SigningKeyRotated
from ledger.signing_keys import LogKey, LogKeys, Signers
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.tlog.fsck import fsck
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import Signer, Verifier
from ledger.vocabulary import EventId, SubjectId, new_id
from tests.bench import KEK, OFFICER, ORIGIN, SIGNER, Bench
from tests.conftest import MakeBench

NEW = Signer(ORIGIN, b"n" * 32)
THIRD = Signer(ORIGIN, b"t" * 32)


@pytest.fixture
def bench(any_bench: Bench) -> Bench:
    """A bench with an empty ledger, on each engine in turn."""
    return any_bench


def open_with(bench: Bench, signer: Signer | Signers) -> Ledger:
    return open_ledger(
        bench.directory, kek=KEK, signer=signer, server=bench.server, clock=bench.clock, index_every_s=None
    )


@pytest.fixture
def ledger(bench: Bench) -> Iterator[Ledger]:
    """A ledger that finds three signing keys."""
    bench.ledger.close()
    with open_with(bench, lambda: (SIGNER, NEW, THIRD)) as found:
        yield found


def record(ledger: Ledger) -> int:
    return ledger.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER).index


def signed_by(ledger: Ledger, *verifiers: Verifier) -> None:
    """Check that exactly these of the three keys signed the last checkpoint."""
    found = ledger.checkpoint()
    assert found is not None
    for signer in (SIGNER, NEW, THIRD):
        if signer.verifier in verifiers:
            assert open_checkpoint(found[1], signer.verifier, ORIGIN).size == ledger.size()
        else:
            with pytest.raises(VerificationError, match="no known key"):
                open_checkpoint(found[1], signer.verifier, ORIGIN)


def test_both_keys_sign_from_the_rotation_to_the_end_of_the_overlap(ledger: Ledger) -> None:
    record(ledger)
    signed_by(ledger, SIGNER.verifier)
    assert ledger.rotate_key(NEW.verifier) == 1
    signed_by(ledger, SIGNER.verifier, NEW.verifier)
    record(ledger)
    signed_by(ledger, SIGNER.verifier, NEW.verifier)
    assert ledger.retire_key() == 3
    signed_by(ledger, NEW.verifier)
    record(ledger)
    signed_by(ledger, NEW.verifier)
    assert ledger.verifier == NEW.verifier
    assert ledger.log_keys().keys == (LogKey(SIGNER.verifier, 0, 3), LogKey(NEW.verifier, 2))
    assert fsck(ledger).ok


def test_old_receipts_verify_with_the_old_key_and_with_no_other(ledger: Ledger) -> None:
    old = ledger.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER, idempotency_key="one")
    ledger.rotate_key(NEW.verifier)
    between = ledger.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER)
    ledger.retire_key()
    after = ledger.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER)
    assert ledger.receipt(old.index, 1) == old
    for receipt, keys in ((old, {SIGNER}), (between, {SIGNER, NEW}), (after, {NEW})):
        for signer in (SIGNER, NEW):
            if signer in keys:
                receipt.verify(signer.verifier, ORIGIN)
            else:
                with pytest.raises(VerificationError):
                    receipt.verify(signer.verifier, ORIGIN)


@pytest.mark.parametrize("stage", ["before", "overlap", "after"])
def test_a_restart_at_any_stage_goes_on_and_verifies(bench: Bench, stage: str) -> None:
    bench.ledger.close()
    for step in range(3):
        with open_with(bench, lambda: (SIGNER, NEW)) as ledger:
            record(ledger)
            if step == 0 and stage != "before":
                ledger.rotate_key(NEW.verifier)
            if step == 1 and stage == "after":
                ledger.retire_key()
            assert fsck(ledger).ok


def test_a_key_that_is_not_here_is_not_recorded(ledger: Ledger) -> None:
    with pytest.raises(StorageError, match="is not here"):
        ledger.rotate_key(Signer(ORIGIN, b"x" * 32).verifier)
    assert ledger.size() == 0
    record(ledger)


def test_what_cannot_follow_is_refused(ledger: Ledger) -> None:
    with pytest.raises(SigningKeyState, match="only the older key"):
        ledger.retire_key()
    with pytest.raises(SigningKeyState, match="another log"):
        ledger.rotate_key(Signer("example.com/other", b"n" * 32).verifier)
    with pytest.raises(SigningKeyState, match="never signs again"):
        ledger.rotate_key(SIGNER.verifier)
    ledger.rotate_key(NEW.verifier)
    with pytest.raises(SigningKeyState, match="under way"):
        ledger.rotate_key(THIRD.verifier)
    ledger.retire_key()
    with pytest.raises(SigningKeyState, match="only the older key"):
        ledger.retire_key()
    with pytest.raises(SigningKeyState, match="never signs again"):
        ledger.rotate_key(SIGNER.verifier)
    ledger.rotate_key(THIRD.verifier)
    assert [entry.until for entry in ledger.log_keys().keys] == [1, None, None]


def test_two_rotations_in_one_transaction_are_settled_one_after_the_other(ledger: Ledger) -> None:
    def rotation(signer: Signer) -> Append:
        event = SigningKeyRotated(verifier=str(signer.verifier), replaces=str(SIGNER.verifier))
        fact = draft(id=EventId(new_id()), type=event.TOPIC, tags=[], data=encode_data(event), sealed={})
        return Append([fact], [[]])

    tickets = [ledger._sequencer.submit(rotation(signer)) for signer in (NEW, THIRD)]
    tickets[0].wait()
    with pytest.raises(SigningKeyState):
        tickets[1].wait()
    assert ledger.verifier == NEW.verifier


def test_another_process_signs_with_both_as_soon_as_the_rotation_is_recorded(bench: Bench, ledger: Ledger) -> None:
    with open_with(bench, lambda: (SIGNER, NEW)) as other:
        record(other)
        ledger.rotate_key(NEW.verifier)
        record(other)
        signed_by(other, SIGNER.verifier, NEW.verifier)
        ledger.retire_key()
        record(other)
        signed_by(other, NEW.verifier)
        assert other.verifier == NEW.verifier


def test_another_process_without_the_new_key_signs_nothing_more(bench: Bench, ledger: Ledger) -> None:
    with open_with(bench, SIGNER) as other:
        record(other)
        ledger.rotate_key(NEW.verifier)
        with pytest.raises(StorageError, match="is not here"):
            record(other)
    record(ledger)
    assert fsck(ledger).ok


def test_a_ledger_does_not_open_without_a_key_that_signs(bench: Bench, ledger: Ledger) -> None:
    ledger.rotate_key(NEW.verifier)
    for signer in (SIGNER, NEW):
        with pytest.raises(StorageError, match="is not the one of the ledger"):
            open_with(bench, signer)
    ledger.retire_key()
    open_with(bench, NEW).close()


def test_a_database_from_before_the_rotation_is_refused(make_bench: MakeBench) -> None:
    bench = make_bench()
    record(bench.ledger)
    bench.ledger.close()
    before = (bench.directory / "ledger.db").read_bytes()
    with open_with(bench, lambda: (SIGNER, NEW)) as again:
        again.rotate_key(NEW.verifier)
        again.retire_key()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (bench.directory / name).unlink(missing_ok=True)
    (bench.directory / "ledger.db").write_bytes(before)
    with pytest.raises(RolledBack):
        open_with(bench, lambda: (SIGNER, NEW))


def test_a_checkpoint_without_one_of_its_keys_is_refused() -> None:
    keys = LogKeys((LogKey(SIGNER.verifier, 0, 9), LogKey(NEW.verifier, 5)))
    root = bytes(32)
    for size, signers in ((4, (SIGNER,)), (5, (SIGNER, NEW)), (9, (SIGNER, NEW)), (10, (NEW,))):
        assert keys.open(sign_checkpoint(Checkpoint(ORIGIN, size, root), *signers)).size == size
    for size, signers in ((4, (NEW,)), (5, (SIGNER,)), (9, (NEW,)), (10, (SIGNER,)), (10, (THIRD,))):
        with pytest.raises(VerificationError):
            keys.open(sign_checkpoint(Checkpoint(ORIGIN, size, root), *signers))
    assert keys.open(sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), SIGNER)).size == 0
