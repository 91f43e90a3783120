"""Where the ledger lies, and that its keys are its owner's alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from api.settings import DEFAULT_DATA, MOST_ORDER_BYTES, read_settings
from ledger.errors import Invalid, StorageError
from ledger.keys import new_kek_text
from tests.cli.conftest import Program

ORIGIN = "example.com/records"


def made(path: Path, **environ: str) -> Path:
    assert read_settings(path, environ).initialise(ORIGIN)
    return path


def test_the_option_goes_before_the_environment_and_that_before_the_default(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "a", {"PROOFTRAIL_DATA": "/b"}).data == tmp_path / "a"
    assert read_settings(None, {"PROOFTRAIL_DATA": "/b"}).data == Path("/b")
    assert read_settings(None, {}).data == DEFAULT_DATA


def test_keys_and_stores_are_made_for_their_owner_only(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for name in ("kek", "signing-key"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    assert not list(data.glob(".*")), "no scratch file stays"


def test_making_a_ledger_again_changes_nothing(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    keys = [(data / name).read_bytes() for name in ("kek", "signing-key")]
    assert not read_settings(data, {}).initialise()
    assert not read_settings(data, {}).initialise(ORIGIN)
    assert [(data / name).read_bytes() for name in ("kek", "signing-key")] == keys


@pytest.mark.parametrize("files", [("kek",), ("kek", "signing-key"), ("kek", "signing-key", "keys.db")])
def test_an_interrupted_init_is_completed_with_the_keys_it_made(tmp_path: Path, files: tuple[str, ...]) -> None:
    whole, part = made(tmp_path / "whole"), tmp_path / "part"
    part.mkdir()
    for name in files:
        (part / name).write_bytes((whole / name).read_bytes())
        (part / name).chmod(0o600)
    assert read_settings(part, {}).initialise(ORIGIN)
    assert (part / "kek").read_bytes() == (whole / "kek").read_bytes()
    read_settings(part, {}).open().close()


@pytest.mark.parametrize("name", ["kek", "signing-key"])
def test_a_key_that_is_missing_beside_a_ledger_is_not_made_anew(tmp_path: Path, name: str) -> None:
    data = made(tmp_path / "data")
    (data / name).unlink()
    with pytest.raises(StorageError, match="restore it"):
        read_settings(data, {}).initialise(ORIGIN)
    with pytest.raises(StorageError, match=name):
        read_settings(data, {}).open()
    assert not (data / name).exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
@pytest.mark.parametrize("name", ["kek", "signing-key"])
def test_a_key_that_others_can_reach_is_refused_with_the_command_to_run(tmp_path: Path, name: str, mode: int) -> None:
    data = made(tmp_path / "data")
    (data / name).chmod(mode)
    with pytest.raises(StorageError, match=f"chmod 600 {data / name}"):
        read_settings(data, {}).open()


def test_a_stricter_mode_is_fine(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    (data / "kek").chmod(0o400)
    read_settings(data, {}).open().close()


def test_a_key_that_cannot_be_read_is_refused_with_the_command_to_run() -> None:
    # Root reads everything: then somebody else asks, in a folder that both may enter.
    root, nobody = os.geteuid() == 0, 65_534
    with tempfile.TemporaryDirectory() as folder:
        data = made(Path(folder, "data"))
        (data / "kek").chmod(0)
        if root:
            Path(folder).chmod(0o755)
            data.chmod(0o755)
            os.seteuid(nobody)
        try:
            with pytest.raises(StorageError, match="chmod 600"):
                read_settings(data, {}).open()
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize("content", [b"", b"prooftrail-kek-v1:short", b"\xff" * 40, b"x" * 5_000])
def test_a_damaged_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    data = made(tmp_path / "data")
    (data / "kek").write_bytes(content)
    with pytest.raises(StorageError) as raised:
        read_settings(data, {}).open()
    assert "short" not in str(raised.value)
    (data / "kek").unlink()
    os.mkfifo(data / "kek", 0o600)
    with pytest.raises(StorageError, match="not a file"):
        read_settings(data, {}).open()


def test_the_wrong_key_is_refused(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    (data / "kek").write_text(new_kek_text())
    with pytest.raises(StorageError, match="does not open"):
        read_settings(data, {}).open()


def test_a_key_in_the_environment_stands_for_the_file(tmp_path: Path) -> None:
    text = new_kek_text()
    data = made(tmp_path / "data", PROOFTRAIL_KEK=text)
    assert not (data / "kek").exists()
    read_settings(data, {"PROOFTRAIL_KEK": text}).open().close()
    assert text not in repr(read_settings(data, {"PROOFTRAIL_KEK": text}))


def test_the_guard_may_lie_elsewhere(tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "other-disk-guard")
    data = made(tmp_path / "data", PROOFTRAIL_GUARD=elsewhere)
    assert Path(elsewhere).exists()
    assert not (data / "guard").exists()
    with pytest.raises(StorageError, match="guard"):
        read_settings(data, {}).open()


@pytest.mark.parametrize("text", ["0", "-1", "many", "1e6", "٣", str(MOST_ORDER_BYTES + 1), "9" * 5_000])
def test_a_limit_that_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="PROOFTRAIL_MAX_ORDER_BYTES"):
        read_settings(None, {"PROOFTRAIL_MAX_ORDER_BYTES": text})


def test_limits_and_terms_come_from_the_environment() -> None:
    settings = read_settings(None, {"PROOFTRAIL_MAX_ORDER_BYTES": "1000", "PROOFTRAIL_TERMS": "2026-07"})
    assert (settings.limits.order_bytes, settings.terms) == (1000, "2026-07")
    with pytest.raises(StorageError, match="PROOFTRAIL_TERMS"):
        read_settings(None, {"PROOFTRAIL_TERMS": "not a reference"})


@pytest.mark.parametrize("origin", ["", "with space", "a+b", "näide.ee/x", "a" * 201])
def test_a_name_that_no_ledger_can_have_leaves_nothing_behind(tmp_path: Path, origin: str) -> None:
    with pytest.raises(Invalid, match="origin"):
        read_settings(tmp_path / "data", {}).initialise(origin)
    assert not (tmp_path / "data").exists()


def test_a_ledger_keeps_its_name(tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    with pytest.raises(Invalid, match=ORIGIN):
        read_settings(data, {}).initialise("example.org/other")


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="directory"):
        read_settings(tmp_path / "file", {}).initialise()


def test_a_directory_in_place_of_a_key_is_named(program: Program, data: Path) -> None:
    (data / "kek").unlink()
    (data / "kek").mkdir(mode=0o700)
    before = len(os.listdir("/proc/self/fd"))
    ran = program("register", "--json")
    assert (ran.code, ran.error["code"]) == (2, "storage")
    assert f"{data / 'kek'}: is not a file" in ran.error["message"]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("text", "seconds"), [("", 60.0), ("5", 5.0), ("0", None)])
def test_the_pace_of_the_tag_index_is_a_setting(text: str, seconds: float | None) -> None:
    assert read_settings(None, {"PROOFTRAIL_INDEX_EVERY_S": text}).index_every_s == seconds


@pytest.mark.parametrize("text", ["-1", "1.5", "a minute", "9999999", "٣"])
def test_a_pace_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="PROOFTRAIL_INDEX_EVERY_S"):
        read_settings(None, {"PROOFTRAIL_INDEX_EVERY_S": text})
