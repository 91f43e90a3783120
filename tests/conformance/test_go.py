"""Go's golang.org/x/mod/sumdb reads our checkpoints, cosignatures, tiles and proofs, and refuses what was changed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import VerificationError
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import WitnessSigner, with_lines
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.tiles import TileReader, bundles_for_size, encode_bundle, tiles_for_size
from ledger.tlog.tree import Tree

pytestmark = pytest.mark.skipif(find_spec("go") is None, reason="needs the extra: make conformance")

ORIGIN = "example.com/conformance"
SIGNER = Signer(ORIGIN, b"s" * 32)
NEXT = Signer(ORIGIN, b"n" * 32)
W1 = WitnessSigner("witness.example/w1", b"1" * 32)

# Where a full leaf tile has a sibling on the left and perfect subtrees shared by proofs: CVE-2026-56865.
SIZE = 70_000

Go = Callable[..., str]


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Go]:
    """Build the program from the sources in the wheel of the Go toolchain, fetching nothing; return a way to ask it."""
    spec = find_spec("go")
    assert spec is not None
    assert spec.submodule_search_locations
    tree = Path(spec.submodule_search_locations[0])
    top = tmp_path_factory.mktemp("go")
    shutil.copytree(tree / "src/cmd/vendor/golang.org/x/mod/sumdb", top / "mod/sumdb")
    (top / "mod/go.mod").write_text("module golang.org/x/mod\n\ngo 1.25\n")
    (top / "check").mkdir()
    shutil.copy(Path(__file__).with_name("check.go"), top / "check/main.go")
    (top / "check/go.mod").write_text(
        "module check\n\ngo 1.25\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ../mod\n"
    )
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(top), "GOROOT": str(tree), "GOCACHE": str(top / "cache"),
        "GOPATH": str(top / "path"), "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOSUMDB": "off", "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0", "GOTELEMETRY": "off",
    }  # fmt: skip
    words = [str(tree / "bin/go"), "build", "-o", str(top / "program"), "."]
    built = subprocess.run(words, cwd=top / "check", env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with subprocess.Popen(
        [top / "program"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        asking, answering = program.stdin, program.stdout

        def ask(op: str, **members: Any) -> str:
            asking.write(json.dumps({"Op": op, **{name: _plain(value) for name, value in members.items()}}) + "\n")
            return answering.readline().strip()

        yield ask
        asking.close()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def entry(index: int) -> bytes:
    return b'{"index":%d}' % index


@pytest.fixture(scope="session")
def tree() -> Tree:
    full: dict[tuple[int, int], bytes] = {}
    found = Tree(lambda level, n: full[level, n])
    for index in range(SIZE):
        found.append(leaf_hash(entry(index)))
        for level, n, hashes in found.take_full_tiles():
            full[level, n] = hashes
        found.commit()
    return found


@pytest.fixture(scope="session")
def log(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of 70,000 entries as static files."""
    top = tmp_path_factory.mktemp("log")
    for tile in tiles_for_size(SIZE):
        level = tile.level or 0
        write(top / tile.path, b"".join(tree.hash(8 * level, tile.n * 256 + i) for i in range(tile.width)))
    for tile in bundles_for_size(SIZE):
        write(top / tile.path, encode_bundle([entry(tile.n * 256 + i) for i in range(tile.width)]))
    return top


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def refused(answer: str) -> bool:
    return answer.startswith("refused: ")


# --- notes ----------------------------------------------------------------------------------------------------


def test_checkpoints_and_cosignatures_are_opened(go: Go) -> None:
    checkpoint = Checkpoint(ORIGIN, 123_456, b"r" * 32)
    signed = sign_checkpoint(checkpoint, SIGNER)
    both = sign_checkpoint(checkpoint, SIGNER, NEXT)
    cosigned = with_lines(both, [W1.cosign(checkpoint.encode(), 1_790_000_000).rstrip("\n")])
    what = {"Size": checkpoint.size, "Root": checkpoint.root}
    seen = {"Witness": W1.key.public_key, "Name": W1.key.name}
    assert go("note", Note=signed, Key=str(SIGNER.verifier), **what) == "ok"
    for signer in (SIGNER, NEXT):
        assert go("note", Note=both, Key=str(signer.verifier), **what) == "ok"
        assert go("note", Note=cosigned, Key=str(signer.verifier), **seen, **what) == "ok"
    assert go("note", Note=cosigned, **seen, **what) == "ok"
    assert refused(go("note", Note=signed, Key=str(NEXT.verifier), **what))
    assert refused(go("note", Note=both, **seen, **what))
    for at in range(0, len(cosigned), 7):
        changed = cosigned[:at] + bytes([cosigned[at] ^ 1]) + cosigned[at + 1 :]
        answer = go("note", Note=changed, Key=str(SIGNER.verifier), **seen, **what)
        # The other key's line is of a stranger here, so a change there changes nothing.
        third = cosigned.split(b"\n")[5]
        assert refused(answer) or third not in changed, at


# --- proofs ---------------------------------------------------------------------------------------------------


def test_inclusion_proofs_are_accepted_and_changed_ones_refused(go: Go, tree: Tree) -> None:
    for size in (1, 2, 3, 255, 256, 257, 1_000, 65_536, 65_537, SIZE):
        root = tree.root(size)
        for index in sorted({0, 1, size // 2, size - 2, size - 1} & set(range(size))):
            proof = tree.inclusion_proof(index, size)
            what = {"Size": size, "Root": root, "Index": index, "Entry": entry(index), "Proof": proof}
            assert go("record", **what) == "ok", (size, index)
            assert refused(go("record", **what | {"Entry": entry(index + 1)}))
            assert refused(go("record", **what | {"Proof": (*proof, bytes(32))}))
            assert refused(go("record", **what | {"Root": bytes(32)}))
            if proof:
                assert refused(go("record", **what | {"Proof": proof[1:]}))
                assert refused(go("record", **what | {"Proof": (bytes(32), *proof[1:])}))


def test_consistency_proofs_are_accepted_and_changed_ones_refused(go: Go, tree: Tree) -> None:
    sizes = (1, 2, 3, 7, 256, 1_000, 65_536, 65_537, SIZE - 1)
    for old in sizes:
        for new in (*sizes, SIZE):
            if old >= new:
                continue
            proof = tree.consistency_proof(old, new)
            what = {"Size": new, "Root": tree.root(new), "OldSize": old, "OldRoot": tree.root(old), "Proof": proof}
            assert go("tree", **what) == "ok", (old, new)
            assert refused(go("tree", **what | {"OldRoot": bytes(32)}))
            assert refused(go("tree", **what | {"Proof": proof[:-1]}))
            assert refused(go("tree", **what | {"Proof": (*proof[:-1], bytes(32))}))


# --- tiles ----------------------------------------------------------------------------------------------------


def test_every_tile_and_entry_of_the_log_is_read(go: Go, tree: Tree, log: Path) -> None:
    assert go("tiles", Dir=str(log), Size=SIZE, Root=tree.root()) == "ok"
    assert refused(go("tiles", Dir=str(log), Size=SIZE, Root=bytes(32)))


@pytest.mark.parametrize("forged", ["tile/0/000", "tile/0/128", "tile/0/272", "tile/0/273.p/112", "tile/1/001.p/17"])
def test_a_forged_tile_is_refused_by_go_and_by_us(go: Go, tree: Tree, log: Path, forged: str) -> None:
    """A leaf in it replaced, together with its entry: only the root can tell."""
    path = log / forged
    original = path.read_bytes()
    lie = b'{"index":"forged"}'
    bundle = log / (forged.replace("tile/0/", "tile/entries/") if forged.startswith("tile/0/") else forged)
    entries = bundle.read_bytes()
    try:
        path.write_bytes(original[:32] + leaf_hash(lie) + original[64:])
        if forged.startswith("tile/0/"):
            n = int(forged.split("/")[2].removesuffix(".p"))
            width = len(original) // 32
            bundle.write_bytes(encode_bundle([lie if i == 1 else entry(n * 256 + i) for i in range(width)]))
        assert refused(go("tiles", Dir=str(log), Size=SIZE, Root=tree.root()))
        reader = TileReader(SIZE, tree.root(), lambda name: (log / name).read_bytes())
        with pytest.raises(VerificationError):
            list(map(reader.entries, range(-(-SIZE // 256))))
    finally:
        path.write_bytes(original)
        bundle.write_bytes(entries)
