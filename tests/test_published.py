"""The log as files, and its auditor: whole at every moment, read on from where it was, nothing changed unseen."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Ledger, open_ledger
from ledger.audit.auditor import AuditReport, audit
from ledger.audit.source import DirectorySource, Source, UrlSource
from ledger.audit.state import AuditState
from ledger.commands import RegisterSubject
from ledger.errors import Invalid, LedgerError, StorageError, Tampered, VerificationError
from ledger.tlog import export
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import WitnessSigner, with_lines
from ledger.tlog.export import Exported, export_log
from ledger.tlog.files import LogFiles
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Signer, Verifier
from ledger.tlog.tiles import decode_bundle, encode_bundle
from ledger.tlog.tree import Tree
from ledger.vocabulary import SubjectId, new_id
from tests.bench import KEK, OFFICER, ORIGIN, SIGNER, Bench, an_append

NEW = Signer(ORIGIN, b"n" * 32)
W1 = WitnessSigner("witness.example/w1", b"1" * 32)


def published(ledger: Ledger, directory: Path) -> Exported:
    found = ledger.checkpoint()
    assert found is not None
    tree = ledger.tree_at(found[0])
    return export_log(LogFiles(ledger.engine, tree), tree, ledger.log_keys(), found[1], directory)


def audited(
    directory: Path | Source, state: Path, *keys: Verifier, full: bool = False, witness: WitnessSigner | None = None
) -> AuditReport:
    source = DirectorySource(directory) if isinstance(directory, Path) else directory
    with source, AuditState(state) as remembered:
        return audit(source, remembered, keys, full=full, witnesses=[witness.key] if witness else ())


def grow(ledger: Ledger, count: int) -> None:
    tickets = [ledger._sequencer.submit(an_append(f"subject:{new_id()}", f"client:{n % 3}")) for n in range(count)]
    for ticket in tickets:
        ticket.wait()


@pytest.fixture
def log(bench: Bench, tmp_path: Path) -> Path:
    """A published log of 700 entries and two commitments to the tag index."""
    grow(bench.ledger, 300)
    bench.ledger.commit_index()
    grow(bench.ledger, 398)
    bench.ledger.commit_index()
    published(bench.ledger, tmp_path / "log")
    return tmp_path / "log"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


def test_an_honest_log_holds_and_goes_on_from_where_it_was(bench: Bench, log: Path, state: Path) -> None:
    report = audited(log, state, SIGNER.verifier)
    assert report.ok, report.problems
    assert (report.size, report.entries, report.commitments, report.since) == (700, 700, 2, 0)
    grow(bench.ledger, 100)
    bench.ledger.commit_index()
    done = published(bench.ledger, log)
    assert (done.before, done.size) == (700, 801)
    # Without a key: the log is the one that was seen before.
    report = audited(log, state)
    assert report.ok, report.problems
    assert (report.entries, report.commitments, report.since) == (101, 1, 700)
    report = audited(log, state, SIGNER.verifier, full=True)
    assert report.ok, report.problems
    assert (report.entries, report.commitments) == (801, 3)
    assert audited(log, state).entries == 0


def test_an_export_writes_only_what_is_new(bench: Bench, log: Path) -> None:
    assert published(bench.ledger, log).files == 0
    before = {path: path.stat().st_mtime_ns for path in log.rglob("*") if path.is_file()}
    grow(bench.ledger, 10)
    published(bench.ledger, log)
    changed = {str(path.relative_to(log)) for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert changed == {"checkpoint"}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in log.rglob("*") if path.is_file())


def test_an_export_that_dies_anywhere_leaves_a_whole_log(
    bench: Bench, log: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each durable step of the next export the process ends; the old log is whole, and a rerun completes it."""

    class Died(BaseException):
        pass

    grow(bench.ledger, 400)
    steps = 0
    while True:
        directory = tmp_path / f"log-{steps}"
        shutil.copytree(log, directory)
        left = steps

        def dying(function: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Died
                return function(*arguments, **named)

            return call

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", dying(os.fsync))
            patched.setattr(Path, "replace", dying(Path.replace))
            patched.setattr(export, "_sync", dying(export._sync))
            try:
                published(bench.ledger, directory)
                died = False
            except Died:
                died = True
        report = audited(directory, tmp_path / f"state-{steps}.db", SIGNER.verifier)
        assert report.ok, report.problems
        assert report.size in (700, 1_100)
        published(bench.ledger, directory)
        assert audited(directory, tmp_path / f"state-{steps}.db").size == 1_100
        if not died:
            break
        # Every second one: enough to meet each kind of step, at every depth of the tree.
        steps += 2
    assert steps > 10


def test_a_directory_with_another_log_is_not_overwritten(bench: Bench, log: Path, tmp_path: Path) -> None:
    (log / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), SIGNER))
    with pytest.raises(Tampered, match="does not extend"):
        published(bench.ledger, log)
    (log / "checkpoint").write_bytes(b"something")
    with pytest.raises(Tampered, match="no checkpoint of this log"):
        published(bench.ledger, log)


# --- what an operator could try -------------------------------------------------------------------------------


def forge(log: Path, change: Callable[[list[bytes]], None]) -> None:
    """Sign another log over the published one: its entries changed, and everything else made to fit."""
    size = int((log / "checkpoint").read_bytes().split(b"\n")[1])
    entries: list[bytes] = []
    for n in range(-(-size // 256)):
        width = min(256, size - n * 256)
        name = f"{n:03}" if width == 256 else f"{n:03}.p/{width}"
        entries += decode_bundle((log / "tile/entries" / name).read_bytes(), width)
    change(entries)
    shutil.rmtree(log)
    tree = Tree(lambda level, n: (log / f"tile/{level}/{n:03}").read_bytes())
    for entry in entries:
        tree.append(leaf_hash(entry))
        if tree.size % 256 == 0:
            for level, n, hashes in tree.take_full_tiles():
                path = log / f"tile/{level}/{n:03}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(hashes)
            tree.commit()
    for level in range(2):
        width = (tree.size >> 8 * level) % 256
        if width:
            path = log / f"tile/{level}/{(tree.size >> 8 * level) // 256:03}.p/{width}"
            path.parent.mkdir(parents=True, exist_ok=True)
            first = (tree.size >> 8 * level) - width
            path.write_bytes(b"".join(tree.hash(8 * level, first + i) for i in range(width)))
    for n in range(0, tree.size, 256):
        bundle = entries[n : n + 256]
        name = f"{n // 256:03}" if len(bundle) == 256 else f"{n // 256:03}.p/{len(bundle)}"
        path = log / "tile/entries" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_bundle(bundle))
    (log / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, tree.size, tree.root()), SIGNER))


def replaced(index: int, old: bytes, new: bytes) -> Callable[[list[bytes]], None]:
    def change(entries: list[bytes]) -> None:
        assert old in entries[index], entries[index]
        entries[index] = entries[index].replace(old, new, 1)

    return change


def swapped(entries: list[bytes]) -> None:
    entries[10], entries[11] = entries[11], entries[10]


def left_out(entries: list[bytes]) -> None:
    del entries[20]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (swapped, "says another index"),
        (left_out, "says another index"),
        (replaced(5, b'"index":5', b'"index":6'), "says another index"),
        (replaced(5, b'"v":1', b'"v":2'), "says another index, ledger or version"),
        (replaced(5, b"example.com", b"example.org"), "says another index, ledger"),
        (replaced(600, b'"recorded_at":"2', b'"recorded_at":"1'), "was recorded before"),
        (replaced(30, b'["client:0",11,', b'["client:0",12,'), "says that it is event 12 of a tag that has 10"),
        (replaced(30, b",27]", b",26]"), "names another event before it"),
        (replaced(30, b'["client:0",', b'["client:9",'), "says that it is event 11 of a tag that has 0"),
        (replaced(30, b'"data":', b'"data" :'), "canonical"),
        (replaced(300, b'"root":"', b'"root":"0'), "entry 300"),
        (replaced(300, b'"tags":3', b'"tags":4'), "another number of tags"),
        (replaced(699, b'"size":699', b'"size":698'), "does not cover exactly"),
    ],
)
def test_whatever_an_operator_signs_instead_is_named(
    log: Path, state: Path, change: Callable[[list[bytes]], None], named: str
) -> None:
    forge(log, lambda entries: None)
    assert audited(log, state, SIGNER.verifier).ok
    forge(log, change)
    state.unlink()
    report = audited(log, state, SIGNER.verifier)
    assert not report.ok
    assert any(named in f"{where} {why}" for where, why in report.problems), report.problems


def test_another_tag_index_than_the_one_over_the_entries_is_named(log: Path, state: Path) -> None:
    def change(entries: list[bytes]) -> None:
        at = entries[699].index(b'"root":"') + 8
        digit = b"1" if entries[699][at : at + 1] == b"0" else b"0"
        entries[699] = entries[699][:at] + digit + entries[699][at + 1 :]

    forge(log, change)
    report = audited(log, state, SIGNER.verifier)
    assert [(where, why[:34]) for where, why in report.problems] == [
        ("entry 699", "commits to another tag index than ")
    ]


def test_a_log_that_was_cut_or_rewritten_is_told_from_memory(bench: Bench, log: Path, state: Path) -> None:
    assert audited(log, state, SIGNER.verifier).ok
    shutil.copytree(log, old := log.with_name("old"))
    forge(log, lambda entries: entries.__delitem__(slice(650, None)))
    with pytest.raises(VerificationError, match="700 were seen before: the log was cut"):
        audited(log, state)
    shutil.rmtree(log)
    shutil.copytree(old, log)
    forge(log, replaced(5, b'"type":"', b'"type":"x'))
    with pytest.raises(VerificationError, match="another history"):
        audited(log, state)
    with pytest.raises(VerificationError, match="another history"):
        audited(log, state, full=True)
    assert audited(old, state).ok


def test_a_stranger_s_key_and_another_log_are_refused(log: Path, state: Path) -> None:
    with pytest.raises(VerificationError, match="no known key"):
        audited(log, state, NEW.verifier)
    assert audited(log, state, SIGNER.verifier).ok
    with pytest.raises(Invalid):
        audited(log, state, Signer("example.com/other", bytes(32)).verifier)


def test_a_witness_that_is_asked_for_must_have_cosigned(log: Path, state: Path) -> None:
    report = audited(log, state, SIGNER.verifier, witness=W1)
    assert [why for _, why in report.problems] == ["is not cosigned by witness.example/w1"]
    note = (log / "checkpoint").read_bytes()
    text = note.decode().partition("\n\n")[0] + "\n"
    (log / "checkpoint").write_bytes(with_lines(note, [W1.cosign(text, 1_790_000_000).rstrip("\n")]))
    report = audited(log, state, SIGNER.verifier, witness=W1)
    assert report.ok, report.problems
    assert report.cosigned[0].time_s == 1_790_000_000


def test_a_rotation_is_followed_by_who_looked_during_the_overlap(bench: Bench, tmp_path: Path) -> None:
    bench.ledger.close()
    log, early, late = tmp_path / "log", tmp_path / "early.db", tmp_path / "late.db"
    with open_ledger(bench.directory, kek=KEK, signer=lambda: (SIGNER, NEW), clock=bench.clock) as ledger:
        ledger.record(RegisterSubject(subject_id=SubjectId(new_id())), OFFICER)
        published(ledger, log)
        assert audited(log, late, SIGNER.verifier).ok
        ledger.rotate_key(NEW.verifier)
        published(ledger, log)
        assert audited(log, early, SIGNER.verifier).ok
        # Signed by the old key alone, as if the new one did not matter.
        note = (log / "checkpoint").read_bytes()
        (log / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, 2, ledger.tree().root()), SIGNER))
        report = audited(log, tmp_path / "other.db", SIGNER.verifier)
        assert "which the log names" in report.problems[0][1]
        (log / "checkpoint").write_bytes(note)
        ledger.retire_key()
        published(ledger, log)
    report = audited(log, early)
    assert report.ok, report.problems
    with pytest.raises(VerificationError, match="no known key"):
        audited(log, late)
    assert audited(log, late, NEW.verifier).ok
    assert audited(log, tmp_path / "new.db", NEW.verifier).ok


def test_nothing_of_a_batch_that_does_not_hold_is_remembered(log: Path, state: Path) -> None:
    forge(log, replaced(600, b'"recorded_at":"2', b'"recorded_at":"1'))
    for _ in range(2):
        report = audited(log, state, SIGNER.verifier)
        assert not report.ok
        assert report.since == 0


# --- every byte -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_file_passes(log: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Flip, drop, swap or splice bytes of any published file: it is named, or nothing in the log is different."""
    files = sorted(path for path in log.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    original = path.read_bytes()
    changed = bytearray(original)
    at = data.draw(st.integers(0, len(changed) - 1))
    match data.draw(st.sampled_from(("flip", "drop", "swap", "splice", "cut", "empty"))):
        case "flip":
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
        case "drop":
            del changed[at]
        case "swap":
            other = data.draw(st.integers(0, len(changed) - 1))
            changed[at], changed[other] = changed[other], changed[at]
        case "splice":
            changed[at:at] = changed[: data.draw(st.integers(0, 100))]
        case "cut":
            del changed[at:]
        case "empty":
            changed.clear()
    state = tmp_path / "fuzz.db"
    for name in tmp_path.glob("fuzz.db*"):
        name.unlink()
    path.write_bytes(bytes(changed))
    try:
        report = audited(log, state, SIGNER.verifier)
    except VerificationError:
        return
    finally:
        path.write_bytes(original)
    assert not report.ok or bytes(changed) == original or path.name == "checkpoint"


def test_two_runs_do_not_share_a_memory(log: Path, state: Path) -> None:
    with AuditState(state), pytest.raises(StorageError, match="another audit is at work"):
        AuditState(state)
    assert audited(log, state, SIGNER.verifier).ok


def test_a_missing_file_is_named(log: Path, state: Path) -> None:
    for path in sorted(path for path in log.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.unlink()
        try:
            problems = audited(log, state, SIGNER.verifier).problems
        except VerificationError as error:
            problems = [("", str(error))]
        assert any("is missing" in why for _, why in problems), path
        path.write_bytes(content)


# --- over HTTP ------------------------------------------------------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/checkpoint")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith("/endless/"):
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(65_536))
            except OSError:
                return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(log: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(log.parent))) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_a_url_is_read_like_a_directory(server: str, log: Path, state: Path) -> None:
    report = audited(UrlSource(f"{server}/log"), state, SIGNER.verifier)
    assert report.ok, report.problems
    assert report.entries == 700
    (log / "tile/0/001").unlink()
    report = audited(UrlSource(f"{server}/log/"), state, SIGNER.verifier, full=True)
    assert report.problems == [("file", "tile/0/001 is missing")]


def test_redirects_and_endless_answers_are_refused(server: str, state: Path) -> None:
    with pytest.raises(StorageError, match="redirects are not followed"):
        audited(UrlSource(f"{server}/away"), state, SIGNER.verifier)
    with pytest.raises(LedgerError, match=r"larger than|no answer"):
        audited(UrlSource(f"{server}/endless", deadline_s=5), state, SIGNER.verifier)
    with pytest.raises(StorageError, match="no answer"):
        audited(UrlSource("http://127.0.0.1:1/log"), state, SIGNER.verifier)
    for url in ("ftp://x/", "file:///etc", "http://user@x/", "http://x/?q", "http://x:y/"):
        with pytest.raises(Invalid):
            UrlSource(url)
