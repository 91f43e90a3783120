"""Settings: the only reader of the environment and of key files. The data directory, its keys, its limits.

    PROOFTRAIL_DATA              the data directory (default ./prooftrail-data)
    PROOFTRAIL_KEK               the key-encryption key; without it the file <data>/kek is read
    PROOFTRAIL_GUARD             the guard file (default <data>/guard); another disk is better
    PROOFTRAIL_WITNESSES         the file of witnesses, a public key and an address a line (default <data>/witnesses)
    PROOFTRAIL_PRIVATE_NETWORKS  networks that witnesses and issuers of tokens may lie in although they are not public
    PROOFTRAIL_MAX_ORDER_BYTES   the largest order that is taken (default 25 MiB)
    PROOFTRAIL_INDEX_EVERY_S     seconds between commitments of the tag index (default 60; 0: only when asked for)
    PROOFTRAIL_READS_PER_HOUR    reads by one person of the staff that are usual (default 120); more are flagged
    PROOFTRAIL_PEOPLE_PER_HOUR   different people whom one of them reads (default 60)
    PROOFTRAIL_WORKING_HOURS     when the staff reads, on days Monday to Friday (default 07:00-20:00)
    PROOFTRAIL_TIME_ZONE         whose clocks those hours are of (default Europe/Tallinn)
    PROOFTRAIL_TERMS             the version of the terms that an order is recorded under, unless one is named

Of the HTTP API:

    PROOFTRAIL_ALLOWED_ORIGINS   origins whose scripts may ask, such as https://app.example.com (default: none)
    PROOFTRAIL_OTLP_ENDPOINT     where traces go, such as http://127.0.0.1:4318/v1/traces; needs the extra otel

Who calls over HTTP is told by the tokens of an OpenID provider, see api.oidc, and else by the ledger's own:

    PROOFTRAIL_OIDC_ISSUER, PROOFTRAIL_OIDC_AUDIENCE, PROOFTRAIL_OIDC_JWKS   whose tokens are taken, under which keys
    PROOFTRAIL_LOCAL_TOKENS      whether tokens of `prooftrail token` are taken: 0 or 1 (default: 1 without a provider)

The ledger lies in files of the data directory, or on PostgreSQL, with keys and guard still in the data directory:

    PROOFTRAIL_DSN               the connection string of the application; passwords belong into ~/.pgpass
    PROOFTRAIL_SCHEMA            the schema of this ledger (default records)
    PROOFTRAIL_KEYS_DSN          where the data keys lie (default: the same server, schema <schema>_keys)
    PROOFTRAIL_OWNER_DSN         who makes schemas and brings them forward in `init` (default: the application's login)
    PROOFTRAIL_KEYS_OWNER_DSN    the same where the data keys lie, when that is elsewhere

Key files must be readable by their owner only. What does not live here: what the keys do (ledger.keys, ledger.tlog).
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from api.oidc import Oidc, read_oidc
from ledger import Ledger, create_ledger, open_ledger
from ledger.addresses import Networks, parse_networks
from ledger.command import Limits
from ledger.copy import Place
from ledger.errors import Invalid, Refused, StorageError, VerificationError
from ledger.keys import new_kek_text, parse_kek
from ledger.opening import GUARD_FILE, INDEX_EVERY_S, LEDGER_FILE, MAX_ORIGIN, existing_stores
from ledger.storage.server import Server
from ledger.storage.witnessed import create_store
from ledger.tlog.ask import WitnessAddress
from ledger.tlog.cosignature import WitnessKey, WitnessSigner
from ledger.tlog.note import KEY_BYTES, Signer, Verifier, is_name
from ledger.vocabulary import TERMS_NOT_STATED, Reference, check_reference
from projections import PROJECTIONS_FILE, Projections, open_projections
from projections.unusual_reading import Usual

WITNESSES_FILE: Final = "witnesses"
MAX_WITNESSES: Final = 32

DEFAULT_DATA: Final = Path("prooftrail-data")
KEK_FILE: Final = "kek"
SIGNING_KEY_FILE: Final = "signing-key"
# While a key is replaced the new one lies beside the old one; afterwards the old one is kept as signing-key.<key id>.
NEXT_SIGNING_KEY_FILE: Final = "signing-key.next"
# The local issuer of access tokens signs with it.
TOKEN_KEY_FILE: Final = "token-key"
# Digests of the API keys of services.
API_KEYS_FILE: Final = "api-keys"

MAX_KEY_FILE_BYTES: Final = 4_096

# Ten times the default. An order is held in memory a few times over while it is sealed and recorded.
MOST_ORDER_BYTES: Final = 256 * 1024 * 1024

# More would not fit into memory for every reader, and is no limit any more.
_MOST_USUAL: Final = 100_000

Clock = Callable[[], datetime]


def now() -> datetime:
    """The moment by this machine's clock, UTC."""
    return datetime.now(UTC)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger lies and what it may take. Holds no key: those are read when they are needed."""

    data: Path
    guard: Path
    witnesses_file: Path | None = None
    kek_text: str | None = None
    server: Server | None = None
    limits: Limits = msgspec.field(default_factory=Limits)
    terms: Reference = TERMS_NOT_STATED
    index_every_s: float | None = INDEX_EVERY_S
    private_networks: Networks = ()
    oidc: Oidc | None = None
    local_tokens: bool = True
    usual: Usual = msgspec.field(default_factory=Usual)
    allowed_origins: tuple[str, ...] = ()
    otlp_endpoint: str | None = None

    def __repr__(self) -> str:
        return f"Settings({self.data})"

    @property
    def place(self) -> Place:
        """Where the ledger lies."""
        return Place(data=self.data, guard=self.guard, server=self.server)

    def projections(self, ledger: Ledger) -> Projections:
        """Return what is derived from the ledger: in a file beside it, or on its server."""
        if self.server is None:
            return open_projections(ledger, self.data / PROJECTIONS_FILE)
        from projections.storage.postgres import PostgresStore

        return open_projections(ledger, PostgresStore(self.server))

    def kek(self) -> bytes:
        """Return the key-encryption key. Raises StorageError, saying what to do."""
        if self.kek_text is not None:
            return parse_kek(self.kek_text, "PROOFTRAIL_KEK")
        path = self.data / KEK_FILE
        return parse_kek(_read_key_file(path), str(path))

    def signer(self) -> Signer:
        """Return the signing key. Raises StorageError, saying what to do."""
        return _read_signer(self.data / SIGNING_KEY_FILE)

    def signers(self) -> list[Signer]:
        """Return every signing key that is here, former ones and one to come too. Raises StorageError."""
        others = sorted(self.data.glob(f"{SIGNING_KEY_FILE}.*"))
        return [self.signer(), *map(_read_signer, others)]

    def next_signer(self, origin: str) -> Signer:
        """Return the key that is to replace the signing key: made durable here, unless an earlier run did already."""
        path = self.data / NEXT_SIGNING_KEY_FILE
        _write_once(path, _new_signer(origin).encode() + "\n")
        return _read_signer(path)

    def adopt_next_signer(self, newest: Verifier) -> Path | None:
        """Make the next signing key the signing key once the log has retired the old one; return where that is kept.

        Does nothing unless the next key here is `newest`. Interrupted at any point it is done again, and nothing is
        lost meanwhile: whatever signs is found by the key, not by the name of its file. Raises StorageError.
        """
        path, following = self.data / SIGNING_KEY_FILE, self.data / NEXT_SIGNING_KEY_FILE
        if not following.exists() or _read_signer(following).verifier != newest:
            return None
        former = self.signer().verifier
        kept = path.with_name(f"{SIGNING_KEY_FILE}.{former.key_id.hex()}")
        try:
            # (1) The old key gets a second name, (2) the new key takes its first: never a moment without either.
            with suppress(FileExistsError):
                os.link(path, kept)
            _sync_directory(self.data)
            os.replace(following, path)
            _sync_directory(self.data)
        except OSError as error:
            raise StorageError(f"{path}: cannot be replaced ({error.strerror})") from error
        return kept

    def token_key(self, make: Callable[[], str]) -> str:
        """Return the text of the key that access tokens are signed with, made where there is none. StorageError."""
        path = self.data / TOKEN_KEY_FILE
        if not os.path.lexists(path):
            _write_once(path, make())
        return _read_key_file(path)

    def open(self, *, clock: Clock = now) -> Ledger:
        """Open the ledger. Raises StorageError or VerificationError, saying what to do."""
        self.check_is_there()
        return open_ledger(
            self.data,
            kek=self.kek(),
            signer=self.signers,
            guard=self.guard,
            server=self.server,
            clock=clock,
            limits=self.limits,
            index_every_s=self.index_every_s,
            witnesses=self.witnesses(),
        )

    def check_is_there(self) -> None:
        """Raise StorageError where no ledger was made, or joined, from this directory."""
        # Before any key is missed: somebody who has no ledger needs to be told only that.
        self._check_one_place()
        if self.server is None and not (self.data / LEDGER_FILE).exists():
            raise StorageError(
                f"{self.data}: there is no ledger here; make one with: prooftrail init --data {self.data}"
            )
        if self.server is not None and not self.guard.exists():
            raise StorageError(
                f"{self.guard}: is missing; to make the ledger, or to join it with copies of its key files, run: "
                f"prooftrail init --data {self.data}"
            )

    def _check_one_place(self) -> None:
        if self.server is not None and (self.data / LEDGER_FILE).exists():
            raise StorageError(
                f"{self.data}: holds a ledger in a file, and PROOFTRAIL_DSN names a server; unset it, or name another "
                "directory for the keys of the one on the server"
            )

    def witnesses(self) -> list[WitnessAddress]:
        """Return the witnesses to ask for cosignatures, none without the file. Raises StorageError, naming the line."""
        path = self.witnesses_file or self.data / WITNESSES_FILE
        if self.witnesses_file is None and not path.exists():
            return []
        try:
            with path.open("rb") as file:
                text = file.read(MAX_KEY_FILE_BYTES * 16).decode("ascii", "replace")
        except OSError as error:
            raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
        found: list[WitnessAddress] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                key, url = words
                found.append(WitnessAddress(WitnessKey.parse(key), url, self.private_networks))
            except (ValueError, VerificationError, Invalid) as error:
                why = str(error) if isinstance(error, Invalid) else "is not: <public key of a witness> <address>"
                raise StorageError(f"{path}: line {number} {why}") from None
        if len(found) > MAX_WITNESSES or len({one.key for one in found}) != len(found):
            raise StorageError(f"{path}: names at most {MAX_WITNESSES} witnesses, each once")
        return found

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
        self._check_one_place()
        stores = list(existing_stores(self.data, self.server))
        fresh = not any(is_ledger for _, is_ledger in stores)
        made_with = next((name for name, _ in stores), None)
        _make_directory(self.data)
        # (1) Keys come first, each durable before the next file: a store without its keys was never ours to finish.
        if self.kek_text is None:
            self._make_key(KEK_FILE, new_kek_text, made_with)
        kek = self.kek()
        self._make_key(SIGNING_KEY_FILE, lambda: _new_signer(origin).encode(), made_with)
        signer = self.signer()
        if origin is not None and signer.name != origin:
            raise Invalid("origin", f"the signing key here is for {signer.name}; use that, or another directory")
        # (2) The stores: the first process to come names the ledger, others find it named.
        create_ledger(self.data, origin=signer.name, kek=kek, signer=signer, guard=self.guard, server=self.server)
        self.open().close()
        return fresh

    def _make_key(self, name: str, text: Callable[[], str], made_with: str | None) -> None:
        path = self.data / name
        if os.path.lexists(path):
            return
        if made_with is not None:
            raise StorageError(
                f"{path}: is missing, but {made_with} is here; if that is a ledger of yours, restore the key from "
                "where you keep its copy, else use another directory"
            )
        _write_once(path, text() + "\n")


def copied_settings(settings: Settings, data: Path, server: Server | None) -> Settings:
    """Return the settings of a copy in another place, with copies of the key files that this ledger has.

    Raises StorageError when the directory holds other keys.
    """
    copy = msgspec.structs.replace(settings, data=_directory(data), guard=data / GUARD_FILE, server=server)
    _make_directory(data)
    for name in (KEK_FILE, SIGNING_KEY_FILE) if settings.kek_text is None else (SIGNING_KEY_FILE,):
        text = _read_key_file(settings.data / name)
        if not os.path.lexists(data / name):
            _write_once(data / name, text)
        elif _read_key_file(data / name) != text:
            raise StorageError(f"{data / name}: is another ledger's key; name another directory for the copy")
    return copy


def read_settings(data: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; `data` (from --data) goes before the environment. Raises StorageError for a wrong value."""
    chosen = _directory(data or Path(environ.get("PROOFTRAIL_DATA") or DEFAULT_DATA))
    guard = environ.get("PROOFTRAIL_GUARD")
    witnesses = environ.get("PROOFTRAIL_WITNESSES")
    return Settings(
        data=chosen,
        guard=Path(guard) if guard else chosen / GUARD_FILE,
        witnesses_file=Path(witnesses) if witnesses else None,
        kek_text=environ.get("PROOFTRAIL_KEK") or None,
        server=_server(environ),
        limits=_limits(environ),
        terms=_terms(environ),
        index_every_s=_index_every_s(environ),
        private_networks=_private_networks(environ),
        oidc=read_oidc(environ),
        local_tokens=_local_tokens(environ),
        usual=_usual(environ),
        allowed_origins=tuple((environ.get("PROOFTRAIL_ALLOWED_ORIGINS") or "").split()),
        otlp_endpoint=environ.get("PROOFTRAIL_OTLP_ENDPOINT") or None,
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


def _server(environ: Mapping[str, str]) -> Server | None:
    named = {field: environ.get(f"PROOFTRAIL_{field.upper()}") or None for field in Server.__struct_fields__}
    given = {field: text for field, text in named.items() if text is not None}
    if "dsn" not in given:
        if given:
            raise StorageError(f"PROOFTRAIL_{next(iter(given)).upper()} needs PROOFTRAIL_DSN beside it")
        return None
    try:
        return Server(**given)
    except Invalid as error:
        raise StorageError(f"PROOFTRAIL_SCHEMA: {error.evidence['why']}") from None


def _limits(environ: Mapping[str, str]) -> Limits:
    text = environ.get("PROOFTRAIL_MAX_ORDER_BYTES")
    if not text:
        return Limits()
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 0 < int(text) <= MOST_ORDER_BYTES):
        raise StorageError(f"PROOFTRAIL_MAX_ORDER_BYTES: is a number of bytes between 1 and {MOST_ORDER_BYTES}")
    return Limits(order_bytes=int(text))


def _index_every_s(environ: Mapping[str, str]) -> float | None:
    text = environ.get("PROOFTRAIL_INDEX_EVERY_S")
    if not text:
        return INDEX_EVERY_S
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise StorageError("PROOFTRAIL_INDEX_EVERY_S: is a whole number of seconds, or 0 for only when asked for")
    return float(text) or None


def _private_networks(environ: Mapping[str, str]) -> Networks:
    try:
        return parse_networks(environ.get("PROOFTRAIL_PRIVATE_NETWORKS", ""), "PROOFTRAIL_PRIVATE_NETWORKS")
    except Invalid as error:
        raise StorageError(str(error)) from None


def _local_tokens(environ: Mapping[str, str]) -> bool:
    text = environ.get("PROOFTRAIL_LOCAL_TOKENS")
    if text not in (None, "", "0", "1"):
        raise StorageError("PROOFTRAIL_LOCAL_TOKENS: is 1, to take tokens of `prooftrail token`, or 0")
    return text == "1" or (not text and read_oidc(environ) is None)


def _usual(environ: Mapping[str, str]) -> Usual:
    usual = Usual()
    found: dict[str, Any] = {}
    for name, field in (("PROOFTRAIL_READS_PER_HOUR", "reads"), ("PROOFTRAIL_PEOPLE_PER_HOUR", "people")):
        if text := environ.get(name):
            if not (text.isascii() and text.isdigit() and len(text) < 7 and 0 < int(text) <= _MOST_USUAL):
                raise StorageError(f"{name}: is a whole number between 1 and {_MOST_USUAL}")
            found[field] = int(text)
    if text := environ.get("PROOFTRAIL_WORKING_HOURS"):
        try:
            opens, closes = map(time.fromisoformat, text.split("-"))
            found |= {"opens": opens, "closes": closes}
        except ValueError:
            opens = closes = usual.opens
        if not (opens < closes and opens.tzinfo is closes.tzinfo is None):
            raise StorageError("PROOFTRAIL_WORKING_HOURS: is from when to when on a day, such as 07:00-20:00")
    if text := environ.get("PROOFTRAIL_TIME_ZONE"):
        try:
            ZoneInfo(text)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise StorageError("PROOFTRAIL_TIME_ZONE: is a name such as Europe/Tallinn (IANA time zones)") from None
        found["zone"] = text
    return msgspec.structs.replace(usual, **found)


def _terms(environ: Mapping[str, str]) -> Reference:
    text = environ.get("PROOFTRAIL_TERMS")
    try:
        return Reference(check_reference(text, "PROOFTRAIL_TERMS")) if text else TERMS_NOT_STATED
    except Invalid as error:
        raise StorageError(str(error)) from None


def _new_signer(origin: str | None) -> Signer:
    # Two ledgers of one name could not be told apart by their checkpoints: an unnamed one gets a name by chance.
    return Signer(origin or f"localhost/prooftrail-{secrets.token_hex(4)}", os.urandom(KEY_BYTES))


# --- a witness: its own directory, with nothing of a ledger in it ---------------------------------------------

WITNESS_KEY_FILE: Final = "witness-key"
WITNESS_STORE_FILE: Final = "witness.db"


def make_witness(data: Path, name: str) -> WitnessKey:
    """Make the key and the store of a new witness in `data`. Raises Invalid, and StorageError when one is there."""
    if not (is_name(name) and name.isascii() and len(name) <= MAX_ORIGIN):
        raise Invalid("name", f"is a name such as witness.example/w1: ASCII, no space or '+', at most {MAX_ORIGIN}")
    _make_directory(_directory(data))
    path = data / WITNESS_KEY_FILE
    if (data / WITNESS_STORE_FILE).exists():
        raise StorageError(f"{data}: holds a witness already; its key is {read_witness_key(data).key}")
    # The key first: a store without its key would be a witness that can never sign.
    _write_once(path, WitnessSigner(name, os.urandom(KEY_BYTES)).encode() + "\n")
    signer = read_witness_key(data)
    if signer.key.name != name:
        raise Invalid("name", f"an interrupted run made the key of {signer.key.name} here; use that name")
    create_store(data / WITNESS_STORE_FILE)
    return signer.key


def read_witness_key(data: Path) -> WitnessSigner:
    """Return the key of the witness in `data`. Raises StorageError, saying what to do."""
    path = data / WITNESS_KEY_FILE
    try:
        return WitnessSigner.parse(_read_key_file(path).strip())
    except Refused:
        raise StorageError(f"{path}: holds no witness key; put back the one that was made there") from None


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
        raise StorageError(f"{path}: is not a file; put back the key that was made there")
    with os.fdopen(descriptor, "rb") as file:
        if found.st_mode & 0o077:
            raise StorageError(f"{path}: others on this machine can reach this key; run: chmod 600 {path}")
        data = file.read(MAX_KEY_FILE_BYTES + 1)
    if len(data) > MAX_KEY_FILE_BYTES or not data.isascii():
        raise StorageError(f"{path}: holds no key; put back the one that `prooftrail init` made")
    return data.decode("ascii")


def _read_signer(path: Path) -> Signer:
    try:
        return Signer.parse(_read_key_file(path).strip())
    except Refused:
        raise StorageError(f"{path}: holds no signing key; put back the one that was made there") from None


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


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
        _sync_directory(path.parent)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
