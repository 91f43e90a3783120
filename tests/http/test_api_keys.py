"""API keys: told once, kept as a digest, over when they end or are revoked, also for a server that is running."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from api.http.errors import Reason, Unauthenticated
from api.http.identity import Identity
from api.http.identity.api_keys import MAX_API_KEYS, MAX_DAYS, ApiKey, ApiKeys
from ledger.errors import Invalid, StorageError
from ledger.vocabulary import ActorId, Role, Word, new_id
from tests.http.issuers import NOW

SERVICE = ActorId(new_id())


def made(keys: ApiKeys, days: float = 30, name: str = "billing") -> tuple[ApiKey, str]:
    return keys.create(service_id=SERVICE, name=Word(name), now=NOW, lifetime=timedelta(days=days))


def refusal(keys: ApiKeys, text: str, days: float = 0) -> Reason:
    with pytest.raises(Unauthenticated) as error:
        keys.caller(text, NOW + timedelta(days=days))
    return error.value.reason


def test_a_key_is_its_service_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "api-keys"
    key, text = made(ApiKeys(path))
    caller = Identity([], ApiKeys(path), clock=lambda: NOW).caller(f"Bearer {text}")
    assert (caller.actor.id, caller.actor.role) == (SERVICE, Role.SERVICE)
    assert (caller.subject_id, caller.client_id) == (None, None)
    assert caller.credential == f"key-{key.id}"
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert text.encode() not in kept
    assert text.rpartition("_")[2].encode() not in kept
    assert hashlib.sha256(text.encode()).hexdigest().encode() in kept
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_false_key_is_refused(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "api-keys")
    assert refusal(keys, "pt_" + "0" * 16 + "_" + "A" * 43) is Reason.API_KEY
    (_, one), (_, two) = made(keys), made(keys)
    id_of_one, secret_of_two = one[:20], two[20:]
    wrong = [
        id_of_one + secret_of_two,
        one[:-1],
        one + "A",
        one + "\n",
        one.upper(),
        one + "\udcff",
        "pt_",
        "pt__",
        " " + one,
    ]
    for place in range(len(one)):
        wrong.append(one[:place] + ("0" if one[place] != "0" else "1") + one[place + 1 :])
    for text in wrong:
        assert refusal(keys, text) is Reason.API_KEY
    assert keys.caller(one, NOW).credential != keys.caller(two, NOW).credential


def test_a_key_ends(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "api-keys")
    _, text = made(keys, days=1)
    keys.caller(text, NOW + timedelta(days=1) - timedelta(microseconds=1))
    assert refusal(keys, text, days=1) is Reason.API_KEY_EXPIRED
    for days in (0, -1, MAX_DAYS + 1):
        with pytest.raises(Invalid):
            made(keys, days=days)


def test_a_revoked_key_is_refused_by_whoever_is_running(tmp_path: Path) -> None:
    server, other = ApiKeys(tmp_path / "api-keys"), ApiKeys(tmp_path / "api-keys")
    key, text = made(other)
    _, kept = made(other)
    server.caller(text, NOW)
    first = other.revoke(key.id, NOW)
    assert refusal(server, text) is Reason.API_KEY_REVOKED
    server.caller(kept, NOW)
    # Once more says when it was; what was revoked stays so.
    assert other.revoke(key.id, NOW + timedelta(days=1)) == first
    with pytest.raises(Invalid):
        other.revoke("0" * 16, NOW)
    assert [one.revoked_at for one in server.all()] == [NOW, None]


def test_no_key_is_lost_when_many_are_made_at_once(tmp_path: Path) -> None:
    path, texts = tmp_path / "api-keys", list[str]()
    barrier = threading.Barrier(4)

    def make() -> None:
        # Each with a lock of its own, as processes have.
        keys = ApiKeys(path)
        barrier.wait()
        texts.extend(made(keys)[1] for _ in range(15))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = ApiKeys(path)
    assert len(texts) == len(keys.all()) == 60
    assert all(keys.caller(text, NOW).actor.id for text in texts)


def test_a_file_that_is_damaged_or_open_to_others_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "api-keys"
    _, text = made(ApiKeys(path))
    content = path.read_bytes()
    path.chmod(0o640)
    with pytest.raises(StorageError, match="chmod 600"):
        ApiKeys(path).caller(text, NOW)
    path.chmod(0o600)
    for damaged in (b"", b"{}", content[:-20], content.replace(b"sha256", b"sha512"), b"\xff"):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match="damaged"):
            ApiKeys(path).caller(text, NOW)
        with pytest.raises(StorageError, match="damaged"):
            made(ApiKeys(path))
        assert path.read_bytes() == damaged
    path.write_bytes(content)
    ApiKeys(path).caller(text, NOW)


def test_there_is_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "api-keys"
    key, _ = made(ApiKeys(path))
    many = [
        msgspec.structs.replace(key, id=f"{number:016x}", name=Word("n" * 64), revoked_at=NOW)
        for number in range(MAX_API_KEYS - 1)
    ]
    path.write_bytes(msgspec.json.encode(many))
    _, text = made(ApiKeys(path))
    ApiKeys(path).caller(text, NOW)
    with pytest.raises(Invalid, match="already"):
        made(ApiKeys(path))
