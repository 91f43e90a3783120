"""Settings: the only reader of the environment and of key files. The data directory, its keys, its limits.

    PROOFTRAIL_DATA              the data directory (default ./prooftrail-data)
    PROOFTRAIL_KEK               the key-encryption key; without it the file <data>/kek is read
    PROOFTRAIL_GUARD             the guard file (default <data>/guard); another disk is better
    PROOFTRAIL_MAX_ORDER_BYTES   the largest order that is taken (default 25 MiB)
    PROOFTRAIL_TERMS             the version of the terms that an order is recorded under, unless one is named

Key files must be readable by their owner only. What does not live here: what the keys do (ledger.keys, ledger.tlog).
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from ledger import Ledger, create_ledger, open_ledger
from ledger.command import Limits
from ledger.errors import Invalid, Refused, StorageError
from ledger.keys import new_kek_text, parse_kek
from ledger.ledger import GUARD_FILE, KEYS_FILE, LEDGER_FILE, MAX_ORIGIN
from ledger.tlog.note import KEY_BYTES, Signer, is_name
from ledger.vocabulary import TERMS_NOT_STATED, Reference, check_reference
from projections import PROJECTIONS_FILE

DEFAULT_DATA: Final = Path("prooftrail-data")
KEK_FILE: Final = "kek"
SIGNING_KEY_FILE: Final = "signing-key"

MAX_KEY_FILE_BYTES: Final = 4_096

# Ten times the default. An order is held in memory a few times over while it is sealed and recorded.
MOST_ORDER_BYTES: Final = 256 * 1024 * 1024

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger lies and what it may take. Holds no key: those are read when they are needed."""

    data: Path
    guard: Path
    kek_text: str | None = None
    limits: Limits = msgspec.field(default_factory=Limits)
    terms: Reference = TERMS_NOT_STATED

    def __repr__(self) -> str:
        return f"Settings({self.data})"

    @property
    def ledger_file(self) -> Path:
        return self.data / LEDGER_FILE

    @property
    def projections_file(self) -> Path:
        return self.data / PROJECTIONS_FILE

    def kek(self) -> bytes:
        """Return the key-encryption key. Raises StorageError, saying what to do."""
        if self.kek_text is not None:
            return parse_kek(self.kek_text, "PROOFTRAIL_KEK")
        path = self.data / KEK_FILE
        return parse_kek(_read_key_file(path), str(path))

    def signer(self) -> Signer:
        """Return the signing key. Raises StorageError, saying what to do."""
        path = self.data / SIGNING_KEY_FILE
        try:
            return Signer.parse(_read_key_file(path).strip())
        except Refused:
            raise StorageError(f"{path}: holds no signing key; put back the one that `prooftrail init` made") from None

    def open(self, *, clock: Clock = _now) -> Ledger:
        """Open the ledger. Raises StorageError or VerificationError, saying what to do."""
        if not self.ledger_file.exists():
            # Before any key is missed: somebody who has no ledger needs to be told only that.
            raise StorageError(
                f"{self.data}: there is no ledger here; make one with: prooftrail init --data {self.data}"
            )
        return open_ledger(
            self.data, kek=self.kek(), signer=self.signer(), guard=self.guard, clock=clock, limits=self.limits
        )

    def initialise(self, origin: str | None = None) -> bool:
        """Make keys and ledger where there are none; return whether a ledger was made.

        Overwrites nothing: what an interrupted run left is used and completed. Raises Invalid for an origin that
        is none or not this ledger's, StorageError when a ledger is here without the keys it was made with.
        """
        if origin is not None and not (is_name(origin) and origin.isascii() and len(origin) <= MAX_ORIGIN):
            # Before the key that would carry it is made.
            raise Invalid(
                "origin", f"is a name such as example.com/ledger: ASCII, no space or '+', at most {MAX_ORIGIN}"
            )
        fresh = not self.ledger_file.exists()
        _make_directory(self.data)
        # (1) Keys come first, each durable before the next file: a store without its keys was never ours to finish.
        if self.kek_text is None:
            self._make_key(KEK_FILE, new_kek_text)
        kek = self.kek()
        self._make_key(SIGNING_KEY_FILE, lambda: _new_signer(origin).encode())
        signer = self.signer()
        if origin is not None and signer.name != origin:
            raise Invalid("origin", f"the signing key here is for {signer.name}; use that, or another directory")
        # (2) The stores: the first process to come names the ledger, others find it named.
        create_ledger(self.data, origin=signer.name, kek=kek, signer=signer, guard=self.guard)
        self.open().close()
        return fresh

    def _make_key(self, name: str, text: Callable[[], str]) -> None:
        path = self.data / name
        if os.path.lexists(path):
            return
        for store in (KEYS_FILE, LEDGER_FILE):
            if (self.data / store).exists():
                raise StorageError(
                    f"{path}: is missing, but {store} was made with it; restore it from where you keep its copy"
                )
        _write_once(path, text() + "\n")


def read_settings(data: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; `data` (from --data) goes before the environment. Raises StorageError for a wrong value."""
    chosen = _directory(data or Path(environ.get("PROOFTRAIL_DATA") or DEFAULT_DATA))
    guard = environ.get("PROOFTRAIL_GUARD")
    return Settings(
        data=chosen,
        guard=Path(guard) if guard else chosen / GUARD_FILE,
        kek_text=environ.get("PROOFTRAIL_KEK") or None,
        limits=_limits(environ),
        terms=_terms(environ),
    )


def directory_settings(data: Path) -> Settings:
    """Return the settings of a directory that holds everything itself, whatever the environment says."""
    return Settings(data=_directory(data), guard=data / GUARD_FILE)


def _directory(path: Path) -> Path:
    """Return the data directory. Raises StorageError before anything is made where no database could lie."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        # SQLite takes names in UTF-8 only.
        raise StorageError("the data directory has a name that is not UTF-8; name another one") from None
    return path


def _limits(environ: Mapping[str, str]) -> Limits:
    text = environ.get("PROOFTRAIL_MAX_ORDER_BYTES")
    if not text:
        return Limits()
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 0 < int(text) <= MOST_ORDER_BYTES):
        raise StorageError(f"PROOFTRAIL_MAX_ORDER_BYTES: is a number of bytes between 1 and {MOST_ORDER_BYTES}")
    return Limits(order_bytes=int(text))


def _terms(environ: Mapping[str, str]) -> Reference:
    text = environ.get("PROOFTRAIL_TERMS")
    try:
        return Reference(check_reference(text, "PROOFTRAIL_TERMS")) if text else TERMS_NOT_STATED
    except Invalid as error:
        raise StorageError(str(error)) from None


def _new_signer(origin: str | None) -> Signer:
    # Two ledgers of one name could not be told apart by their checkpoints: an unnamed one gets a name by chance.
    return Signer(origin or f"localhost/prooftrail-{secrets.token_hex(4)}", os.urandom(KEY_BYTES))


# --- files ----------------------------------------------------------------------------------------------------


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise StorageError(f"{path}: is a file; name a directory") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be made ({error.strerror})") from error


def _read_key_file(path: Path) -> str:
    """Return the text of a key file. Raises StorageError unless only its owner can read it, and we can."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise StorageError(f"{path}: no such file; put back the key that `prooftrail init` made") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); run: chmod 600 {path}, as its owner") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        # Before it becomes a Python file, which a directory cannot: nothing would close the descriptor then.
        os.close(descriptor)
        raise StorageError(f"{path}: is not a file; put back the key that `prooftrail init` made")
    with os.fdopen(descriptor, "rb") as file:
        if found.st_mode & 0o077:
            raise StorageError(f"{path}: others on this machine can reach this key; run: chmod 600 {path}")
        data = file.read(MAX_KEY_FILE_BYTES + 1)
    if len(data) > MAX_KEY_FILE_BYTES or not data.isascii():
        raise StorageError(f"{path}: holds no key; put back the one that `prooftrail init` made")
    return data.decode("ascii")


def _write_once(path: Path, text: str) -> None:
    """Write a new file that its owner alone can read: whole or not at all, never over another one. Durable."""
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # A link refuses a name that is taken: whoever came first made the key, and it stands.
            os.link(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
