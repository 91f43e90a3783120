"""Writing a package: the same contents give the same bytes, and what would not verify is never written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import StorageError, VerificationError
from projections.evidence import verify
from projections.evidence.package import PackageContents, PackagedEntry, build_package, write_package
from tests.evidence.log import ORIGIN, OTHER_ORDER, Log, short_log

LOG = short_log()


def test_a_written_package_verifies(tmp_path: Path) -> None:
    path = tmp_path / "order.zip"
    write_package(path, LOG.contents(), key=LOG.key)
    assert verify.verify_package(path.read_bytes(), LOG.verifier_key).proven
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["order.zip"]


def test_the_same_contents_give_the_same_bytes() -> None:
    reversed_fields = [
        replace(item, disclosed=dict(reversed(item.disclosed.items()))) for item in LOG.contents().entries
    ]
    first = build_package(LOG.contents(), key=LOG.key)
    assert build_package(replace(LOG.contents(), entries=reversed_fields), key=LOG.key) == first


def test_a_file_that_is_there_is_kept_unless_replacing_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "order.zip"
    path.write_bytes(b"precious")
    with pytest.raises(StorageError, match="there already"):
        write_package(path, LOG.contents(), key=LOG.key)
    assert path.read_bytes() == b"precious"
    write_package(path, LOG.contents(), key=LOG.key, replace=True)
    assert verify.verify_package(path.read_bytes(), LOG.verifier_key).proven
    assert os.listdir(tmp_path) == ["order.zip"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failure_before_the_name_is_given_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StorageError, match="cannot be written"):
        write_package(tmp_path / "order.zip", LOG.contents(), key=LOG.key)
    assert os.listdir(tmp_path) == []


def test_a_failure_after_the_name_is_given_leaves_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def fail_on_the_folder(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(5, "input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_on_the_folder)
    with pytest.raises(StorageError, match="cannot be written"):
        write_package(tmp_path / "order.zip", LOG.contents(), key=LOG.key)
    assert verify.verify_package((tmp_path / "order.zip").read_bytes(), LOG.verifier_key).proven


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/order\.zip: cannot be written \(No such file"):
        write_package(tmp_path / "missing" / "order.zip", LOG.contents(), key=LOG.key)


def entries(change: Callable[[list[PackagedEntry]], list[PackagedEntry]]) -> PackageContents:
    return replace(LOG.contents(), entries=change(list(LOG.contents().entries)))


def disclosed(at: int, **fields: Any) -> PackageContents:
    return entries(lambda e: [replace(item, disclosed=fields) if item.index == at else item for item in e])


SALT, EMAIL = LOG.openings[1]["content"]

REFUSED = {
    "another kind": (replace(LOG.contents(), kind="life"), "package"),
    "another ledger": (replace(LOG.contents(), ledger="other.example"), "checkpoint"),
    "a name that no ledger has": (replace(LOG.contents(), ledger="a b"), "package"),
    "an order that is no id": (replace(LOG.contents(), tag="order:../.."), "package"),
    "another order": (replace(LOG.contents(), tag=f"order:{OTHER_ORDER}"), "about"),
    "no checkpoint": (replace(LOG.contents(), checkpoint=b""), "container"),
    "a size that is no number": (replace(LOG.contents(), checkpoint=b"x\n\xb2\ny\n"), "container"),
    "a checkpoint unsigned": (replace(LOG.contents(), checkpoint=b"x\n5\ny\n"), "checkpoint"),
    "no entries": (replace(LOG.contents(), entries=[]), "inclusion"),
    "entries swapped": (entries(lambda e: [e[1], e[0], e[2]]), "container"),
    "an entry twice": (entries(lambda e: [e[0], *e]), "container"),
    "an entry left out": (entries(lambda e: [e[0], e[2]]), "chain"),
    "an entry changed": (entries(lambda e: [replace(e[0], entry=e[0].entry + b" ")]), "inclusion"),
    "the proof of another": (entries(lambda e: [replace(e[0], proof=e[1].proof)]), "inclusion"),
    "a value changed": (disclosed(1, content=(SALT, EMAIL + b" ")), "fields"),
    "a salt changed": (disclosed(1, content=(bytes(16), EMAIL)), "fields"),
    "a salt too short": (disclosed(1, content=(SALT[:15], EMAIL)), "fields"),
    "a field that was not recorded": (disclosed(1, subject=(SALT, "x")), "fields"),
    "a field of another entry": (disclosed(4, content=(SALT, EMAIL)), "fields"),
    "a file name that leads elsewhere": (disclosed(1, **{"../x": (SALT, EMAIL)}), "container"),
    "a floating-point value": (disclosed(1, content=(SALT, 1.5)), "container"),
    "half a surrogate pair": (disclosed(1, content=(SALT, "\ud800")), "container"),
}


@pytest.mark.parametrize(("contents", "step"), REFUSED.values(), ids=REFUSED.keys())
def test_contents_that_would_not_verify_are_refused(tmp_path: Path, contents: PackageContents, step: str) -> None:
    with pytest.raises(VerificationError) as refusal:
        write_package(tmp_path / "order.zip", contents, key=LOG.key)
    assert refusal.value.step == step
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", [Log(seed=5).key, "", ORIGIN, LOG.key.replace("+", "+0", 1)])
def test_a_package_under_another_key_is_refused(key: str) -> None:
    with pytest.raises(VerificationError):
        build_package(LOG.contents(), key=key)


def test_a_package_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_PACKAGE_BYTES", 10_000)
    with pytest.raises(VerificationError, match="more than 10000 bytes"):
        build_package(LOG.contents(), key=LOG.key)
