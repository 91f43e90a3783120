"""The log read as files of C2SP tlog-tiles, by the reader that trusts none of them."""

from __future__ import annotations

import pytest

from ledger.append import Append
from ledger.errors import Invalid
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.tiles import TileReader, bundles_for_size, tiles_for_size
from tests.bench import Bench, an_append


@pytest.fixture(scope="module")
def size() -> int:
    return 2 * 256 + 88


@pytest.fixture
def grown(bench: Bench, size: int) -> Bench:
    drafts = [an_append(f"tag{number}").drafts[0] for number in range(size)]
    for start in range(0, size, 200):
        part = drafts[start : start + 200]
        bench.ledger.append(Append(part, [()] * len(part)))
    return bench


def test_an_auditor_reads_every_entry_from_files_alone(grown: Bench, size: int) -> None:
    ledger = grown.ledger
    files = ledger.files()
    checkpoint = open_checkpoint(files.read("checkpoint"), ledger.verifier, ledger.origin)
    assert checkpoint.size == size
    reader = TileReader(checkpoint.size, checkpoint.root, files.read)
    read = [entry for bundle in range(3) for entry in reader.entries(bundle)]
    assert read == [stored.entry for stored in ledger.engine.entries()]


def test_every_file_of_the_tree_is_there(grown: Bench, size: int) -> None:
    files = grown.ledger.files()
    paths = [tile.path for tile in (*tiles_for_size(size), *bundles_for_size(size))]
    assert paths == [
        *("tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"),
        *("tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"),
    ]
    assert [len(files.read(path)) for path in paths[:4]] == [8_192, 8_192, 88 * 32, 64]
    assert files.read("tile/0/002.p/3") == files.read("tile/0/002.p/88")[:96]


@pytest.mark.parametrize(
    "path", ["tile/0/002", "tile/0/002.p/89", "tile/1/000.p/3", "tile/2/000.p/1", "tile/entries/003.p/1", "x", "", "/"]
)
def test_what_is_not_there_is_refused(grown: Bench, path: str) -> None:
    with pytest.raises(Invalid, match="path"):
        grown.ledger.files().read(path)


def test_an_empty_log_has_no_files(bench: Bench) -> None:
    for path in ("checkpoint", "tile/0/000.p/1"):
        with pytest.raises(Invalid, match="path"):
            bench.ledger.files().read(path)
