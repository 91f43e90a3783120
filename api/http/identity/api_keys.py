"""API keys of services, `pt_<id>_<secret>`: made, listed, revoked, and told from false ones.

Only the SHA-256 of a key is kept, in the file api-keys of the data directory. A slow hash would add nothing: the secret
is 256 random bits, which no list of likely secrets holds, and whoever sends false keys could keep us busy with it. The
file is read again when it changes, so that a key is revoked with the next request, also by another process.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from api.http.errors import Reason, Unauthenticated
from api.http.identity.caller import Caller
from ledger import Actor
from ledger.errors import Invalid, StorageError
from ledger.vocabulary import ActorId, Role, Word

T = TypeVar("T")

MAX_API_KEYS: Final = 1_000
MAX_DAYS: Final = 3_653
MAX_FILE_BYTES: Final = 1024 * 1024

_API_KEY: Final = re.compile(r"pt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_NO_DIGEST: Final = "0" * 64


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key: whose it is, until when, and the digest that tells it."""

    id: str
    sha256: str
    service_id: ActorId
    name: Word
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


class ApiKeys:
    """The API keys of a file; there are none without it. May be used by several threads and processes at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_as: tuple[int, int, int] | None = None
        self._known: dict[str, ApiKey] = {}

    def caller(self, text: str, now: datetime) -> Caller:
        """Return the service that this key belongs to. Raises Unauthenticated, StorageError."""
        form = _API_KEY.fullmatch(text)
        known = self._current().get(form[1]) if form else None
        # The same work, whether there is a key of this id or not.
        holds = hmac.compare_digest(_digest(text), known.sha256 if known else _NO_DIGEST)
        if known is None or not holds:
            raise Unauthenticated(Reason.API_KEY)
        if known.revoked_at is not None:
            raise Unauthenticated(Reason.API_KEY_REVOKED)
        if now >= known.expires_at:
            raise Unauthenticated(Reason.API_KEY_EXPIRED)
        return Caller(
            actor=Actor(id=known.service_id, role=Role.SERVICE),
            subject_id=None,
            client_id=None,
            credential=f"key-{known.id}",
        )

    def all(self) -> list[ApiKey]:
        """Return every key that was made, also those that are over, in that order. Raises StorageError."""
        return list(self._current().values())

    def create(self, *, service_id: ActorId, name: Word, now: datetime, lifetime: timedelta) -> tuple[ApiKey, str]:
        """Make a key, durable when it returns; it is told once, here. Raises Invalid, StorageError."""
        if not timedelta(0) < lifetime <= timedelta(days=MAX_DAYS):
            raise Invalid("lifetime", f"is at most {MAX_DAYS} days")
        key_id = os.urandom(8).hex()
        text = f"pt_{key_id}_{secrets.token_urlsafe(32)}"
        made = ApiKey(
            id=key_id,
            sha256=_digest(text),
            service_id=service_id,
            name=name,
            created_at=now,
            expires_at=now + lifetime,
        )

        def added(known: dict[str, ApiKey]) -> ApiKey:
            if len(known) >= MAX_API_KEYS:
                raise Invalid("api key", f"there are {MAX_API_KEYS} already, the most that are kept")
            known[key_id] = made
            return made

        return self._change(added), text

    def revoke(self, key_id: str, now: datetime) -> ApiKey:
        """End a key, for ever; again does nothing. Raises Invalid when there is none, StorageError."""

        def revoked(known: dict[str, ApiKey]) -> ApiKey:
            if key_id not in known:
                raise Invalid("api key", "there is none with this id; list them with: prooftrail api-key list")
            if known[key_id].revoked_at is None:
                known[key_id] = msgspec.structs.replace(known[key_id], revoked_at=now)
            return known[key_id]

        return self._change(revoked)

    # --- the file ---------------------------------------------------------------------------------------------

    def _current(self) -> dict[str, ApiKey]:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be read ({error.strerror})") from error
        with self._lock:
            if (found.st_ino, found.st_mtime_ns, found.st_size) != self._read_as:
                self._known, self._read_as = _read(self._path)
            return self._known

    def _change(self, change: Callable[[dict[str, ApiKey]], T]) -> T:
        with _alone(self._path.with_name(f"{self._path.name}.lock")):
            known = dict(self._current())
            result = change(known)
            _replace(self._path, msgspec.json.format(msgspec.json.encode(list(known.values()))) + b"\n")
        return result


def is_api_key(text: str) -> bool:
    """Whether this credential is meant to be an API key; an access token never looks like one."""
    return text.startswith("pt_")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[dict[str, ApiKey], tuple[int, int, int]]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & 0o077:
                # Whoever can write it can make keys.
                raise StorageError(f"{path}: others on this machine can reach it; run: chmod 600 {path}")
            keys = msgspec.json.decode(file.read(MAX_FILE_BYTES), type=list[ApiKey])
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise StorageError(f"{path}: is damaged; restore it, or delete it and make every key anew") from None
    return {key.id: key for key in keys}, (found.st_ino, found.st_mtime_ns, found.st_size)


def _replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another one: whole or not at all, durable."""
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing the keys meanwhile; the lock ends with the process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
