"""Where the files of a published log come from: a directory, or a web server that is believed nothing.

Only the address that was given is spoken to: no redirect is followed, no proxy of the environment used, and time and
size of every answer are bounded. What comes back is bytes; whoever asks authenticates them.
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from ledger.errors import Invalid, StorageError, VerificationError
from ledger.tlog.note import MAX_NOTE_BYTES
from ledger.tlog.tiles import MAX_ENTRY_BYTES, TILE_WIDTH

DEADLINE_S: Final = 30.0

MAX_FILE_BYTES: Final = max(TILE_WIDTH * (MAX_ENTRY_BYTES + 2), MAX_NOTE_BYTES)
"""The longest bundle of entries, which no tile and no checkpoint exceeds."""


class Source(ABC):
    """The files of a log by their path in c2sp.org/tlog-tiles. One thread at a time."""

    @abstractmethod
    def fetch(self, path: str) -> bytes:
        """Return a file. Raises VerificationError when it is absent or too large, StorageError when it is not read."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DirectorySource(Source):
    """A directory as `prooftrail export-log` writes it. Raises StorageError when there is none."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise StorageError(f"{directory}: is not a directory")
        self._directory = directory

    def close(self) -> None:
        pass

    def fetch(self, path: str) -> bytes:
        try:
            with (self._directory / path).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise VerificationError("file", f"{path} is missing") from None
        except OSError as error:
            raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
        return _bounded(path, data)


class UrlSource(Source):
    """A log under an http or https prefix. Raises Invalid for another kind of address."""

    def __init__(self, url: str, *, deadline_s: float = DEADLINE_S) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Invalid("address", "is no URL") from None
        plain = parts.username is None and not parts.query and not parts.fragment and url.isascii() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise Invalid("address", "is an http or https URL without user, query, fragment or space")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname, port, timeout=deadline_s)
        self._prefix = parts.path.rstrip("/")
        self._deadline_s = deadline_s

    def close(self) -> None:
        self._connection.close()

    def fetch(self, path: str) -> bytes:
        # A connection that the server closed between two files is opened once more.
        for left in (1, 0):
            try:
                return self._get(path)
            except (OSError, HTTPException) as error:
                self._connection.close()
                if not left:
                    raise StorageError(f"{path}: no answer from the server ({type(error).__name__})") from error
        raise AssertionError

    def _get(self, path: str) -> bytes:
        # The timeout of a socket is for each step; this is for all of them, however slowly an answer drips.
        watchdog = threading.Timer(self._deadline_s, self._cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._connection.request("GET", f"{self._prefix}/{path}", headers={"Accept-Encoding": "identity"})
            answer = self._connection.getresponse()
            data = answer.read(MAX_FILE_BYTES + 1)
        finally:
            watchdog.cancel()
        if len(data) > MAX_FILE_BYTES or answer.will_close:
            self._connection.close()
        if answer.status in (404, 410):
            raise VerificationError("file", f"{path} is missing")
        if answer.status != 200:
            raise StorageError(f"{path}: the server answered with status {answer.status}; redirects are not followed")
        return _bounded(path, data)

    def _cut(self) -> None:
        with suppress(OSError, AttributeError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def open_source(place: str) -> Source:
    """Return the source for a directory or a URL. Raises StorageError, Invalid."""
    return UrlSource(place) if "://" in place else DirectorySource(Path(place))


def _bounded(path: str, data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise VerificationError("file", f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return data
