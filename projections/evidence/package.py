"""The evidence package, written: a zip file that a stranger verifies offline.

What lives here: putting given bytes into the package's one canonical form, and onto the disk. What does not: which
entries and fields belong in it (the caller decides), and the form itself, which `verify` alone knows, so that what
is written and what is verified cannot drift apart. `formats.md`, "Evidence package".
"""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.canonical import Json
from ledger.errors import StorageError, VerificationError
from projections.evidence import verify


@dataclass(frozen=True, kw_only=True)
class PackagedEntry:
    """An entry as it goes into the package.

    `entry` is its exact bytes, `proof` its tlog-proof file against the package's checkpoint. `disclosed` maps a
    sealed field to (salt, value): bytes travel as a file of their own, anything else as a JSON value. A sealed
    field that is not there is withheld.
    """

    index: int
    entry: bytes
    proof: bytes
    disclosed: Mapping[str, tuple[bytes, bytes | Json]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PackagedIndex:
    """What makes a package complete: the index entry, its tlog-proof against the checkpoint, and the index proof."""

    index: int
    entry: bytes
    inclusion: bytes
    proof: bytes


@dataclass(frozen=True, kw_only=True)
class PackagedCut:
    """Where the history is cut: the moment, the last checkpoint at or before it, and the proof of consistency."""

    as_of: str
    checkpoint: bytes
    consistency: Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class PackagedCheckpoint:
    """A checkpoint with the cosignatures of witnesses, and the proof that the package's checkpoint extends it."""

    size: int
    note: bytes
    consistency: Sequence[bytes]


@dataclass(frozen=True, kw_only=True)
class PackageContents:
    """Everything that goes into a package: entries with one tag, by ascending index; all that there are, with `index`.

    `former` are the verifier keys that the ledger had before, where the cut is from their time.
    `kind` is a word of `verify.KINDS`. Without `index` completeness is not claimed, without `cut` no past moment.
    """

    tag: str
    ledger: str
    checkpoint: bytes
    entries: Sequence[PackagedEntry]
    kind: str = "order"
    index: PackagedIndex | None = None
    cut: PackagedCut | None = None
    witnessed: Sequence[PackagedCheckpoint] = ()
    former: Sequence[str] = ()


def build_package(contents: PackageContents, *, key: str) -> bytes:
    """Return the canonical package of `contents`, verified as a stranger will verify it.

    `key` is the ledger's verifier key. The same contents give the same bytes. Raises VerificationError, its `step`
    naming the claim, when a claim would fail: a package that does not verify is never handed out.
    """
    sheet = verify.Sheet()
    sheet.begin("container")
    try:
        verifier_key = verify.parse_key(key)
        former = [verify.parse_key(one) for one in contents.former]
        program = verify.own_source()
        members = _members(contents, program)
        # The README is made of findings, and the findings list the digest of every file but the README.
        members["README.txt"] = b""
        findings = verify.examine(members, verifier_key, sheet, former)
        members["README.txt"] = verify.readme(findings)
        sheet.begin("container")
        if sum(map(len, members.values())) > verify.MAX_PACKAGE_BYTES:
            raise verify.Failed(f"more than {verify.MAX_PACKAGE_BYTES} bytes")
        package = b"".join(verify.zip_pieces(members))
    except verify.Failed as failed:
        raise VerificationError(sheet.step, failed.why) from failed
    report = verify.verify_package(package, verifier_key, program, former=former)
    if report.failure is not None:
        raise VerificationError(report.failure.id, report.failure.why)
    return package


def write_package(path: Path, contents: PackageContents, *, key: str, replace: bool = False) -> None:
    """Write the package of `contents` to `path`, readable by its owner only.

    Durable when it returns, and atomic: after a crash there is the whole file or none (at worst a stray file named
    `.evidence-*` beside it). Two writers to one path: one wins, and without `replace` the other is refused. Raises
    VerificationError as `build_package`, StorageError when the file is there already or cannot be written.
    """
    package = build_package(contents, key=key)
    try:
        _write_atomically(path, package, replace=replace)
    except FileExistsError as error:
        raise StorageError(f"{path}: is there already; choose another name, or overwrite it with --replace") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error


def _members(contents: PackageContents, program: bytes) -> dict[str, bytes]:
    """Return the members but for the README. Raises Failed for what has no place in a package."""
    index, cut = contents.index, contents.cut
    head = {
        "as_of": None if cut is None else cut.as_of,
        "index": None if index is None else index.index,
        "kind": contents.kind,
        "ledger": contents.ledger,
        "size": _size_of(contents.checkpoint),
        "tag": contents.tag,
        "v": verify.VERSION,
    }
    members = {
        "verify.py": program,
        "package.json": verify.canonical(head),
        "checkpoint": contents.checkpoint,
        "entries.jsonl": b"".join(packaged.entry + b"\n" for packaged in contents.entries),
    }
    if index is not None:
        members["index/entry.json"] = index.entry
        members["index/entry.tlog-proof"] = index.inclusion
        members["index/proof.json"] = index.proof
    if cut is not None:
        members["as-of/checkpoint"] = cut.checkpoint
        members["as-of/consistency"] = _hash_lines(cut.consistency)
    for cosigned in contents.witnessed:
        members[f"witness/{cosigned.size}.checkpoint"] = cosigned.note
        members[f"witness/{cosigned.size}.consistency"] = _hash_lines(cosigned.consistency)
    before = -1
    for packaged in contents.entries:
        if packaged.index <= before:
            raise verify.Failed(f"entry {packaged.index} does not follow entry {before}")
        before = packaged.index
        members[f"proofs/{packaged.index}.tlog-proof"] = packaged.proof
        openings: dict[str, dict[str, Json]] = {}
        for name, (salt, value) in packaged.disclosed.items():
            openings[name] = {"salt": verify.base64url(salt)}
            if isinstance(value, bytes):
                file = verify.order_file(packaged.index, name)
                openings[name]["file"] = file
                members[file] = value
            else:
                openings[name]["value"] = value
        if openings:
            members[f"fields/{packaged.index}.json"] = verify.canonical(openings)
    return members


def _hash_lines(hashes: Sequence[bytes]) -> bytes:
    return b"".join(b64encode(node) + b"\n" for node in hashes)


def _size_of(checkpoint: bytes) -> int:
    """Return the size that the checkpoint states, still unverified."""
    lines = checkpoint.split(b"\n")
    if len(lines) < 3 or not lines[1].isdigit() or len(lines[1]) > 16:
        raise verify.Failed("the checkpoint states no size")
    return int(lines[1])


def _write_atomically(path: Path, content: bytes, *, replace: bool) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".evidence-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # The content is durable from here; what follows only gives it its name.
        if replace:
            os.replace(name, path)
        else:
            # A link refuses a name that is taken, in one step; a test followed by a rename could not.
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
