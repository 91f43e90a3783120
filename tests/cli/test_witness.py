"""witness: made once, served until stopped, and refused where the options make no sense."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from api.settings import directory_settings
from api.witness_server import WitnessServer
from ledger.storage.witnessed import WitnessStore, create_store
from ledger.tlog.ask import WitnessAddress
from ledger.tlog.cosignature import WitnessSigner, cosignatures
from ledger.tlog.note import Verifier
from ledger.tlog.proof import LogProof
from ledger.tlog.witness import Witness
from tests.cli.conftest import Program
from tests.tlog.test_witness import LOG, request


@contextmanager
def serving_for(data: Path, store: Path) -> Iterator[WitnessAddress]:
    """Serve a witness of the ledger in `data`."""
    create_store(store)
    kept = WitnessStore(store)
    signer = WitnessSigner("witness.example/w1", b"1" * 32)
    witness = Witness(kept, signer, [directory_settings(data).signer().verifier], now=lambda: 1_790_000_000)
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield WitnessAddress(signer.key, f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()
    kept.close()


def test_a_witness_is_made_once(program: Program, tmp_path: Path) -> None:
    made = program("witness", "--init", "witness.example/w1", "--data", tmp_path / "w", "--json").json
    assert made["key"].startswith("witness.example/w1+")
    assert (tmp_path / "w" / "witness-key").stat().st_mode & 0o777 == 0o600
    again = program("witness", "--init", "witness.example/w1", "--data", tmp_path / "w")
    assert again.code == 2
    assert made["key"] in again.err


def test_wrong_usage_is_told(program: Program, tmp_path: Path) -> None:
    assert program("witness").code == 2
    assert program("witness", "--init", "no spaces", "--data", tmp_path).code == 1
    program("witness", "--init", "w", "--data", tmp_path / "w")
    for words in (
        ["--listen", "8090", "--log", LOG.verifier],
        ["--listen", "127.0.0.1:x", "--log", LOG.verifier],
        ["--listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--log", "key"],
    ):
        assert program("witness", *words, "--data", tmp_path / "w").code == 2


def test_it_serves_until_it_is_stopped_and_remembers(program: Program, tmp_path: Path) -> None:
    program("witness", "--init", "w", "--data", tmp_path / "w")
    words = ["witness", "--listen", "127.0.0.1:0", "--log", str(LOG.verifier), "--data", str(tmp_path / "w"), "--json"]
    code = "from api.cli import main; main()"
    # Killed after each answer: what was answered is remembered.
    for old, new, expected in ((0, 5, 200), (5, 9, 200), (5, 12, 409)):
        with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["listening"]
            connection = HTTPConnection(url.split("/")[2], timeout=5)
            connection.request("POST", "/add-checkpoint", request(old, new))
            answer = connection.getresponse()
            assert answer.status == expected
            answer.read()
            connection.close()
            process.kill()


def test_cosign_asks_the_witnesses_of_the_settings(program: Program, data: Path, tmp_path: Path) -> None:
    assert "no witnesses" in program("cosign").err
    program("register")
    with serving_for(data, tmp_path / "w.db") as address:
        (data / "witnesses").write_text(f"# who watches us\n\n{address.key} {address.url}\n")
        found = program("cosign", "--json").json
        assert [(one["name"], one["size"]) for one in found["witnesses"]] == [("witness.example/w1", 1)]
        assert found["missing"] == []
        note = program("checkpoint").out
        assert cosignatures(note.encode(), [address.key])
        assert "witness.example/w1" in program("verify").out
    # The witness is gone: recording goes on, and what was collected stays.
    program("register")
    ran = program("cosign", "--timeout", "0.3")
    assert ran.code == 1
    assert "not cosigned yet by witness.example/w1" in ran.err
    ran = program("checkpoint")
    assert ran.code == 0
    assert "has cosigned 1 entries" in ran.err


def test_a_wrong_file_of_witnesses_is_named_by_its_line(program: Program, data: Path) -> None:
    key = WitnessSigner("w", bytes(32)).key
    for line in ("x", f"{key}", f"{key} ftp://x", f"{LOG.verifier} http://x", f"{key} http://x y"):
        (data / "witnesses").write_text(f"#\n{line}\n")
        ran = program("checkpoint")
        assert ran.code == 2
        assert "line 2" in ran.err


def test_a_receipt_is_written_cosigned_and_holds_against_the_published_log(
    program: Program, data: Path, tmp_path: Path
) -> None:
    program("register")
    key = program("key").out.strip()
    with serving_for(data, tmp_path / "w.db") as address:
        (data / "witnesses").write_text(f"{address.key} {address.url}\n")
        program("cosign")
        program("register")
    assert program("receipt", "0", "-o", tmp_path / "kept").code == 0
    proof = LogProof.parse((tmp_path / "kept/0.tlog-proof").read_bytes())
    assert cosignatures(proof.checkpoint, [address.key])
    proof.verify((tmp_path / "kept/0.entry.json").read_bytes(), Verifier.parse(key), key.split("+")[0])
    assert program("receipt", "7").code == 1
    # Published up to what is cosigned, read by an auditor, and held against the receipt.
    assert program("export-log", tmp_path / "log", "--cosigned", "--json").json["size"] == 1
    words = [tmp_path / "log", "--key", key, "--witness", address.key, "--state", tmp_path / "audit.db"]
    assert program("audit", *words).code == 0
    assert program("export-log", tmp_path / "log", "--json").json["before"] == 1
    assert program("audit", *words).code == 1
    assert program("audit", *words[:3], "--state", tmp_path / "audit.db", "--json").json["size"] == 2
    ran = program("accuse", tmp_path / "kept/0.tlog-proof", "--key", key, "--log", tmp_path / "log")
    assert ran.code == 0, ran.err
