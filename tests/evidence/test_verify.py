"""The stand-alone verifier as a stranger meets it: one file, one command, three exit statuses."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from projections.evidence import verify
from projections.evidence.package import build_package
from tests.evidence.log import EMAIL, ORDER, Log, long_log, members_of, rebuilt, short_log


@pytest.fixture(scope="module")
def log() -> Log:
    return short_log()


@pytest.fixture(scope="module")
def package(log: Log) -> bytes:
    return build_package(log.contents(withhold={"statement"}), key=log.key)


@pytest.fixture
def folder(tmp_path: Path, package: bytes) -> Path:
    """What a stranger holds: the package and, from elsewhere, the program. Nothing of ours can be imported there."""
    (tmp_path / "order.zip").write_bytes(package)
    (tmp_path / "verify.py").write_bytes(verify.own_source())
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # -I -S: no site-packages, no current directory, no environment. What runs is the standard library.
    return subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", *arguments],
        cwd=folder,
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )


def test_a_stranger_verifies_a_package_with_the_standard_library_only(folder: Path, log: Log) -> None:
    done = run(folder, "order.zip", "--key", log.key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("PROVEN       (") == len(verify.CLAIMS) - 4
    assert "[1] 2026-11-22 10:00:01.000000  the order was received and recorded (order-recorded)" in done.stdout
    assert f"disclosed: content, {len(EMAIL)} bytes in orders/1.content.bin" in done.stdout
    assert "transactions 1: reference TX-1, result_digest abab" in done.stdout
    assert "withheld: statement" in done.stdout
    assert "no index of all events is in here" in done.stdout
    assert done.stdout.endswith(f"about order {ORDER}, as shown.\n")


def test_the_report_for_programs(folder: Path, log: Log) -> None:
    (folder / "key.txt").write_text(log.key + "\n")
    done = run(folder, "order.zip", "--key", "key.txt", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert (report["verdict"], report["tag"], report["size"]) == ("proven", f"order:{ORDER}", 5)
    verdicts = {claim["id"]: claim["verdict"] for claim in report["claims"]}
    assert {id for id, verdict in verdicts.items() if verdict != "proven"} == {"index", "complete", "as-of", "witness"}
    assert [event["type"] for event in report["story"]] == ["order-recorded", "order-executed", "order-disputed"]
    assert report["withheld"] == [{"index": 4, "name": "statement"}]
    assert {claim["id"] for claim in report["not_claimed"]} >= {"later", "truth", "time", "witness"}


def test_the_original_bytes_come_out_only_when_all_is_proven(folder: Path, log: Log) -> None:
    assert run(folder, "order.zip", "--key", Log(seed=9).key, "--extract", "out").returncode == 1
    assert not (folder / "out").exists()
    done = run(folder, "order.zip", "--key", log.key, "--extract", "out")
    assert done.returncode == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["1.content.bin"]
    assert (folder / "out" / "1.content.bin").read_bytes() == EMAIL


def test_extraction_overwrites_nothing(folder: Path, log: Log) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "1.content.bin").symlink_to(folder / "elsewhere")
    done = run(folder, "order.zip", "--key", log.key, "--extract", "out")
    assert done.returncode == 2
    assert "FileExistsError" in done.stderr
    assert not (folder / "elsewhere").exists()


def test_without_a_key_nothing_is_verified_and_the_reason_is_told(folder: Path) -> None:
    done = run(folder, "order.zip")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Get it from the ledger's publisher" in done.stderr
    assert "proves nothing" in done.stderr


@pytest.mark.parametrize(
    "key",
    [
        "",
        "no-such-file",
        ".",
        "\x01",
        "x" * 5000,
        "name+12345678+AQ==",
        "name+00000000+AdeaqYAYKxCrfVS/7ZZMBzoO4XLzzaYjJa8CGmj3BwBR",
        "order.zip",
    ],
)
def test_a_key_that_is_none_is_a_usage_error(folder: Path, key: str) -> None:
    done = run(folder, "order.zip", "--key", key)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_package_that_cannot_be_read_is_a_usage_error(folder: Path, log: Log) -> None:
    for name in ("missing.zip", "."):
        done = run(folder, name, "--key", log.key)
        assert (done.returncode, done.stdout) == (2, "")
        assert "cannot be read" in done.stderr


def test_a_failed_package_says_where_and_shows_no_story(folder: Path, package: bytes, log: Log) -> None:
    (folder / "order.zip").write_bytes(package[:-1])
    done = run(folder, "order.zip", "--key", log.key)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED       (1)")
    assert "FAILED at step (1)" in done.stdout
    assert "not reached, as step (1) failed" in done.stdout
    assert "order-recorded" not in done.stdout
    report = json.loads(run(folder, "order.zip", "--key", log.key, "--json").stdout)
    assert report["verdict"] == "failed"
    assert "story" not in report


def test_the_program_of_another_version_fails_its_claim_after_all_others_hold(log: Log, package: bytes) -> None:
    report = verify.verify_package(package, log.verifier_key, verify.own_source() + b"\n")
    assert [claim.id for claim in report.claims if claim.verdict == "failed"] == ["program", "readme", "witness"]
    assert not report.proven


def test_output_survives_a_terminal_that_knows_ascii_only(folder: Path, log: Log) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "verify.py", "order.zip", "--key", log.key],
        cwd=folder,
        env={"PYTHONIOENCODING": "ascii", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_program_imports_the_standard_library_only_and_parses_as_python_3_9() -> None:
    tree = ast.parse(verify.own_source(), feature_version=(3, 9))
    imports = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imports} <= sys.stdlib_module_names


def test_every_type_of_the_story_is_told_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    log = long_log()
    report = verify.verify_package(build_package(log.contents(), key=log.key), log.verifier_key)
    assert report.findings is not None
    told = {event.type: event.what for event in report.findings.story}
    assert told["order-amended"] == "the order was changed by a later message"
    assert told["order-read-by-robot"] == "an event of another type"
    assert [event.index for event in report.findings.story] == [13, 28, 44, 61, 79, 98, 118]


def test_without_disclosed_fields_their_claim_is_not_made_and_the_rest_stays_proven(log: Log) -> None:
    contents = log.contents(withhold={"content", "file_name", "statement"})
    report = verify.verify_package(build_package(contents, key=log.key), log.verifier_key)
    assert report.proven
    assert report.claims[10].verdict == "not claimed"
    assert report.findings is not None
    assert report.findings.withheld == ((1, "content"), (1, "file_name"), (4, "statement"))


def test_an_omitted_tail_is_not_claimed_but_a_gap_or_a_missing_start_fails(log: Log) -> None:
    def failing_step(*indices: int) -> str | None:
        contents = log.contents(*indices)
        members = members_of(log.contents(), log.key)
        kept = {name: members[name] for name in ("README.txt", "verify.py", "package.json", "checkpoint")}
        kept["entries.jsonl"] = b"".join(item.entry + b"\n" for item in contents.entries)
        kept |= {f"proofs/{item.index}.tlog-proof": item.proof for item in contents.entries}
        failure = verify.verify_package(rebuilt(kept), log.verifier_key).failure
        return failure.id if failure else None

    assert verify.verify_package(build_package(log.contents(1, 3), key=log.key), log.verifier_key).proven
    assert failing_step(1, 4) == "chain"
    assert failing_step(3, 4) == "chain"
    assert failing_step(1, 2) == "about"


def test_other_signatures_are_ignored_and_a_second_one_of_the_key_must_hold(log: Log) -> None:
    def verdict(line: bytes) -> bool:
        note = log.checkpoint() + line
        entries = [replace(item, proof=log.proof(item.index, note)) for item in log.contents().entries]
        contents = replace(log.contents(), checkpoint=note, entries=entries)
        try:
            build_package(contents, key=log.key)
        except Exception:
            return False
        return True

    own = log.checkpoint().rpartition(b"\n\n")[2]
    witness = "— witness.example/w AAAAAQ==\n".encode()
    assert not verdict(witness)  # four bytes of key id, and no signature
    assert verdict("— witness.example/w AAAAAAE=\n".encode())
    assert verdict(own)
    assert not verdict(own[:-9] + b"A" + own[-8:])


def test_any_zip_tool_opens_a_package_as_plain_readable_files(package: bytes, tmp_path: Path) -> None:
    path = tmp_path / "order.zip"
    path.write_bytes(package)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[:5] == ["README.txt", "verify.py", "package.json", "checkpoint", "entries.jsonl"]
        assert archive.read("orders/1.content.bin") == EMAIL
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()} == {0o644}


def test_inclusion_is_proven_at_every_index_of_every_small_tree_and_nowhere_else() -> None:
    log = Log()
    for size in range(1, 18):
        log.append(b"leaf %d" % size)
        note = log.checkpoint()
        checkpoint = verify.open_checkpoint(note, log.verifier_key)
        for index in range(size):
            proof = verify.parse_proof(log.proof(index, note), "it", index, note)
            verify.check_inclusion(log.entries[index], index, checkpoint, proof)
            for leaf, at, hashes in (
                (log.entries[index] + b"!", index, proof),
                (log.entries[index], index + 1, proof),
                (log.entries[index], size + index, proof),
                (log.entries[index], index, [*proof, bytes(32)]),
                (log.entries[index], index, proof[:-1] if proof else [bytes(32)]),
            ):
                with pytest.raises(verify.Failed):
                    verify.check_inclusion(leaf, at, checkpoint, hashes)
