"""A copy is the same ledger on another engine, byte for byte, or it does not open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger import Ledger, create_ledger, open_ledger
from ledger.commands import CollectData, DecideErasure, DestroyKeys, RegisterSubject
from ledger.copy import Copied, Place, copy_ledger
from ledger.errors import StorageError, VerificationError
from ledger.events import Actor, ClassDecision
from ledger.receipt import Receipt
from ledger.storage.server import Server
from ledger.tlog.fsck import fsck
from ledger.tlog.note import Signer
from ledger.vocabulary import (
    ActorId,
    ErasureOutcome,
    LegalBasis,
    Purpose,
    RetentionClass,
    Role,
    SourceKind,
    SubjectId,
    Word,
    new_id,
)
from tests.bench import KEK, ORIGIN, SIGNER
from tests.postgres.place import PostgresPlace
from tests.projections.crowd import crowd

ACTOR = Actor(id=ActorId(new_id()), role=Role.OFFICER)
ROOT = Path(__file__).parents[1]

NewPlace = Callable[[str], Place]


@pytest.fixture
def new_place(tmp_path: Path, postgres: PostgresPlace) -> Iterator[NewPlace]:
    """Name a place of a kind where nothing is."""
    servers: list[Server] = []

    def name(kind: str) -> Place:
        data = tmp_path / f"{kind}-{len(servers)}-{os.urandom(2).hex()}"
        server = postgres.server() if kind == "postgres" else None
        servers.extend([server] if server else [])
        return Place(data=data, guard=data / "guard", server=server)

    yield name
    for server in servers:
        postgres.drop(server.schema)


def opened(place: Place, signer: Signer = SIGNER) -> Ledger:
    return open_ledger(place.data, kek=KEK, signer=signer, guard=place.guard, server=place.server)


def made(place: Place) -> Ledger:
    create_ledger(place.data, origin=ORIGIN, kek=KEK, signer=SIGNER, guard=place.guard, server=place.server)
    return opened(place)


def copied(ledger: Ledger, target: Place, **more: Any) -> Copied:
    return copy_ledger(ledger, target, kek=KEK, signer=SIGNER, **more)


def collect(ledger: Ledger, key: str | None = None) -> tuple[SubjectId, Receipt]:
    subject = SubjectId(new_id())
    ledger.record(RegisterSubject(subject_id=subject), ACTOR)
    command = CollectData(
        subject_id=subject, purpose=Purpose.CONTRACT, basis=LegalBasis.CONTRACT, source=SourceKind.SUBJECT,
        values={"given-name": "Mari"},
    )  # fmt: skip
    return subject, ledger.record(command, ACTOR, idempotency_key=key)


def erase(ledger: Ledger, subject: SubjectId) -> None:
    decision = ClassDecision(
        retention_class=RetentionClass.CONTRACT, outcome=ErasureOutcome.ERASED, ground=Word("withdrawn")
    )
    ledger.record(DecideErasure(subject_id=subject, decisions=(decision,)), ACTOR)
    ledger.record(DestroyKeys(subject_id=subject, retention_classes=(RetentionClass.CONTRACT,)), ACTOR)


def contents(ledger: Ledger) -> dict[str, list[Any]]:
    """Everything that is stored of a ledger, whatever stores it."""
    engine, size = ledger.engine, ledger.size()
    return {
        "events": list(engine.audit(0, size)),
        "tags": list(engine.tags()),
        "sealed": list(engine.boxes_between(0, size)),
        "tiles": [(level, n, engine.tile(level, n)) for level, n in engine.tiles()],
        "checkpoints": list(engine.checkpoints()),
        "idempotency": list(engine.idempotency()),
        "keys": sorted(ledger.keys._table.every_key(), key=lambda key: key.key_id),
        "secrets": ledger.keys.wrapped_secrets(),
    }


@pytest.mark.parametrize(
    ("one", "other"), [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite"), ("postgres", "postgres")]
)
def test_a_copy_is_the_same_byte_for_byte_and_goes_on(
    new_place: NewPlace, monkeypatch: pytest.MonkeyPatch, one: str, other: str
) -> None:
    monkeypatch.setattr("ledger.copy._PAGE_EVENTS", 100)
    source, target = new_place(one), new_place(other)
    told: list[tuple[str, int, int | None]] = []
    with made(source) as ledger:
        subject, receipt = collect(ledger, "first")
        erased, _ = collect(ledger)
        erase(ledger, erased)
        crowd(ledger, 700, lives_a_batch=4)
        found = copied(ledger, target, progress=lambda *step: told.append(step))
        assert (found.size, found.found, found.root) == (ledger.size(), 0, ledger.tree().root())
        before = contents(ledger)
    assert told[0][0] == "entries"
    assert told[-1][0] == "keys"
    with opened(target) as copy:
        assert contents(copy) == before
        report = fsck(copy)
        assert (report.ok, report.missing, report.entries) == (True, 0, found.size)
        receipt.verify(copy.verifier, copy.origin)
        assert copy.receipt(receipt.index, 1) == receipt
        # Asked again with its key a request is the one that was recorded there.
        command = CollectData(
            subject_id=subject, purpose=Purpose.CONTRACT, basis=LegalBasis.CONTRACT, source=SourceKind.SUBJECT,
            values={"given-name": "Mari"},
        )  # fmt: skip
        assert copy.record(command, ACTOR, idempotency_key="first") == receipt
        collect(copy)
        assert fsck(copy).ok
    # It has gone its own way now.
    with opened(source) as ledger, pytest.raises(StorageError, match="own way"):
        copied(ledger, target)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_copying_again_goes_on_and_replays_erasures(new_place: NewPlace, kind: str) -> None:
    target = new_place(kind)
    with made(new_place("sqlite")) as ledger:
        erased, _ = collect(ledger)
        copied(ledger, target)
        erase(ledger, erased)
        collect(ledger, "later")
        found = copied(ledger, target)
        assert (found.found, found.size) == (2, ledger.size())
        assert copied(ledger, target).found == found.size
        before = contents(ledger)
    with opened(target) as copy:
        assert contents(copy) == before
        assert fsck(copy).erased == 1


def test_an_empty_ledger_is_copied(new_place: NewPlace) -> None:
    target = new_place("postgres")
    with made(new_place("sqlite")) as ledger:
        assert copied(ledger, target).size == 0
    with opened(target) as copy:
        collect(copy)


def test_what_is_recorded_meanwhile_is_copied_too(new_place: NewPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.copy._PAGE_EVENTS", 20)
    target = new_place("postgres")
    with made(new_place("sqlite")) as ledger:
        crowd(ledger, 100, lives_a_batch=1)

        def meanwhile(part: str, done: int, total: int | None) -> None:
            if part == "entries" and ledger.size() < 220:
                collect(ledger, new_id())

        assert copied(ledger, target, progress=meanwhile).size == ledger.size() > 200
        before = contents(ledger)
    with opened(target) as copy:
        assert contents(copy) == before


class Cut(Exception):
    pass


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("part", ["entries", "requests", "keys", "guard"])
def test_a_copy_that_was_cut_off_does_not_open_and_is_gone_on_with(
    new_place: NewPlace, monkeypatch: pytest.MonkeyPatch, kind: str, part: str
) -> None:
    monkeypatch.setattr("ledger.copy._PAGE_EVENTS", 50)
    target = new_place(kind)

    def cut(what: str, done: int, total: int | None) -> None:
        if what == part:
            raise Cut

    def cut_at_guard(*_: object) -> None:
        raise Cut

    with made(new_place("sqlite")) as ledger:
        _, receipt = collect(ledger, "key")
        crowd(ledger, 200, lives_a_batch=2)
        with monkeypatch.context() as patch:
            if part == "guard":
                patch.setattr("ledger.copy._keep_checkpoint", cut_at_guard)
            with pytest.raises(Cut):
                copied(ledger, target, progress=cut)
        with pytest.raises(StorageError):
            opened(target)
        if part != "guard":
            # Nor can it be finished by making a new ledger of it.
            with pytest.raises(StorageError):
                create_ledger(
                    target.data, origin=ORIGIN, kek=KEK, signer=SIGNER, guard=target.data / "new", server=target.server
                )
        found = copied(ledger, target)
        assert found.found > 0
        before = contents(ledger)
    with opened(target) as copy:
        assert contents(copy) == before
        assert fsck(copy).ok
        receipt.verify(copy.verifier, copy.origin)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_copy_that_is_killed_is_gone_on_with(new_place: NewPlace, kind: str) -> None:
    source, target = new_place("sqlite"), new_place(kind)
    with made(source) as ledger:
        crowd(ledger, 2_400, lives_a_batch=2)
        size = ledger.size()
    program = (
        "import sys; from pathlib import Path; import ledger.copy; from ledger.copy import Place; import msgspec\n"
        "from tests.test_copy import copied, opened\n"
        "ledger.copy._PAGE_EVENTS = 40\n"
        "source, target = (msgspec.json.decode(word, type=Place, dec_hook=lambda kind, text: Path(text))"
        " for word in sys.argv[1:])\n"
        "with opened(source) as log: copied(log, target, progress=lambda *_: print('.', flush=True))\n"
    )
    words = [msgspec.json.encode(place, enc_hook=str).decode() for place in (source, target)]
    sizes: set[int] = set()
    for pages in (1, 4, 8):
        child = subprocess.Popen([sys.executable, "-c", program, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child:
            lines = [child.stdout.readline() for _ in range(pages)]
            child.send_signal(signal.SIGKILL)
        assert lines == [".\n"] * pages
        assert child.returncode == -signal.SIGKILL
        with pytest.raises(StorageError):
            opened(target)
        with opened(source) as ledger:
            engine = target.make_engine(ledger)
            sizes.add(engine.size())
            engine.close()
    assert len(sizes) > 1
    assert max(sizes) < size
    with opened(source) as ledger:
        assert copied(ledger, target).found == max(sizes)
        before = contents(ledger)
    with opened(target) as copy:
        assert contents(copy) == before


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_target_that_is_another_ledger_is_refused(new_place: NewPlace, kind: str) -> None:
    target = new_place(kind)
    other = Signer("example.com/other", b"o" * 32)
    create_ledger(target.data, origin=other.name, kek=KEK, signer=other, guard=target.guard, server=target.server)
    with made(new_place("sqlite")) as ledger:
        collect(ledger)
        with pytest.raises(StorageError, match="holds the ledger"):
            copied(ledger, target)
    with opened(target, other) as untouched:
        assert untouched.size() == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("entries", [0, 1, 6])
def test_a_target_with_keys_or_entries_of_its_own_is_refused(new_place: NewPlace, kind: str, entries: int) -> None:
    target = new_place(kind)
    with made(target) as mine:
        for _ in range(entries):
            mine.record(RegisterSubject(subject_id=SubjectId(new_id())), ACTOR)
        before = contents(mine)
    with made(new_place("sqlite")) as ledger:
        collect(ledger)
        collect(ledger)
        with pytest.raises(StorageError, match=r"of its own|own way|another log"):
            copied(ledger, target)
    with opened(target) as mine:
        assert contents(mine) == before


def test_a_source_that_does_not_verify_is_not_copied(new_place: NewPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    target = new_place("sqlite")
    with made(new_place("sqlite")) as ledger:
        collect(ledger)
        healthy = ledger.engine.audit

        def forged(first: int, end: int) -> Iterator[Any]:
            for row in healthy(first, end):
                yield msgspec.structs.replace(row, entry=row.entry.replace(b"contract", b"Contract"))

        monkeypatch.setattr(ledger.engine, "audit", forged)
        with pytest.raises(VerificationError):
            copied(ledger, target)
        monkeypatch.undo()
        notes = list(ledger.engine.checkpoints())
        monkeypatch.setattr(ledger.engine, "checkpoints", lambda: iter([(size, notes[0][1]) for size, _ in notes]))
        with pytest.raises(VerificationError):
            copied(ledger, target)
    with pytest.raises(StorageError):
        opened(target)


def test_a_copy_that_somebody_writes_to_is_left_alone(new_place: NewPlace) -> None:
    target = new_place("sqlite")
    with made(new_place("sqlite")) as ledger:
        collect(ledger)
        copied(ledger, target)
        collect(ledger)
        with opened(target) as copy:
            healthy = type(copy.engine).begin

            def write_first(engine: Any, *ahead: Any) -> Any:
                if engine is not copy.engine and copy.size() == 2:
                    collect(copy)
                return healthy(engine, *ahead)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(copy.engine), "begin", write_first)
                with pytest.raises(StorageError, match="something else"):
                    copied(ledger, target)
            assert fsck(copy).ok
