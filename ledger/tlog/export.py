"""The log written into a directory, in the files of C2SP tlog-tiles, for any web server or bucket to serve.

Incremental: what is there already is not written again, as no file but `checkpoint` and partial tiles ever changes. The
checkpoint is replaced last, atomically, once all that it covers is durable: so at every moment the directory holds a
whole log, the old one or the new one, and a run that was cut off is simply run again. Nothing in it is personal.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from ledger.errors import StorageError, Tampered, VerificationError
from ledger.signing_keys import LogKeys
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.files import CHECKPOINT, LogFiles
from ledger.tlog.merkle import EMPTY_ROOT
from ledger.tlog.note import MAX_NOTE_BYTES
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from ledger.tlog.view import TreeView

# Everybody may read what is published.
FILE_MODE: Final = 0o644

Progress = Callable[[int, int], None]
"""(done, total) files."""


class Exported(msgspec.Struct, frozen=True):
    """What an export did: the size it published, and before (0: nothing was there); how many files it wrote."""

    size: int
    before: int
    files: int


def export_log(
    files: LogFiles,
    tree: TreeView,
    keys: LogKeys,
    checkpoint: bytes,
    directory: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Bring `directory` to the tree of `checkpoint`, a signed note of the size of `tree`.

    Raises StorageError when it cannot be written, Tampered when it holds another log than the one that this extends.
    """
    before = _published(directory, keys)
    if before.size > tree.size or tree.root(before.size) != before.root:
        raise Tampered(
            "export", f"{directory} holds a checkpoint of {before.size} entries that this log does not extend"
        )
    wanted = list(_tiles(tree.size, before.size))
    folders: set[Path] = set()
    written = 0
    try:
        for number, tile in enumerate(wanted, 1):
            path = directory / tile.path
            # What has its name has its content: an earlier run that was cut off left whole files, or stray ones.
            folders.add(path.parent)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _replace(path, files.read(tile.path))
                written += 1
            progress(number, len(wanted))
        for folder in folders:
            _sync_up(folder, directory)
        # Everything that the checkpoint covers is durable from here.
        if (directory / CHECKPOINT).exists() and (directory / CHECKPOINT).read_bytes() == checkpoint:
            return Exported(tree.size, before.size, written)
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / CHECKPOINT, checkpoint)
        _sync(directory)
    except OSError as error:
        raise StorageError(f"{directory}: cannot be written ({error.strerror}); run it again") from error
    return Exported(tree.size, before.size, written + 1)


def _published(directory: Path, keys: LogKeys) -> Checkpoint:
    """Return the checkpoint that is there, the empty tree's when there is none."""
    path = directory / CHECKPOINT
    try:
        with path.open("rb") as file:
            note = file.read(MAX_NOTE_BYTES + 1)
    except FileNotFoundError:
        return Checkpoint(keys.origin, 0, EMPTY_ROOT)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return keys.open(note)
    except VerificationError as error:
        raise Tampered("export", f"{path} is no checkpoint of this log ({error}); name another directory") from None


def _tiles(size: int, before: int) -> Iterator[Tile]:
    """Yield what the tree of `size` has and that of `before` had not: entries first, partial ones last."""
    for level in (None, *range(8)):
        shift = TILE_HEIGHT * (level or 0)
        have, want = before >> shift, size >> shift
        for n in range(have // TILE_WIDTH, want // TILE_WIDTH):
            yield Tile(level, n)
        if want % TILE_WIDTH:
            yield Tile(level, want // TILE_WIDTH, want % TILE_WIDTH)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its content is durable before it has its name."""
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _sync_up(folder: Path, top: Path) -> None:
    """Make the names in a folder durable, and its own name, up to `top`."""
    while True:
        _sync(folder)
        if folder in (top, folder.parent):
            return
        folder = folder.parent


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
