"""An order as a file: its exact bytes, what kind of file they are, and what an e-mail says about itself.

The kind is told from the first bytes, then from the name; the bytes are never changed. Of an e-mail only the header is
read, and nothing in it is believed: Message-ID tells the same mail twice, Date is what the sender claims. RFC 5322.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email import policy
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from pathlib import PurePath
from typing import Final

import msgspec

from ledger.command import EARLIEST, LATEST
from ledger.vocabulary import MediaType

XML: Final = MediaType("application/xml")
MAIL: Final = MediaType("message/rfc822")
PDF: Final = MediaType("application/pdf")
UNKNOWN: Final = MediaType("application/octet-stream")

MAX_HEADER_BYTES: Final = 256 * 1024
MAX_MESSAGE_ID: Final = 998  # a line of a message: RFC 5322 §2.1.1

_BY_SUFFIX: Final[Mapping[str, MediaType]] = {
    ".xml": XML,
    ".eml": MAIL,
    ".pdf": PDF,
    ".json": MediaType("application/json"),
    ".csv": MediaType("text/csv"),
    ".txt": MediaType("text/plain"),
    ".html": MediaType("text/html"),
    ".zip": MediaType("application/zip"),
    ".asice": MediaType("application/vnd.etsi.asic-e+zip"),
    ".xlsx": MediaType("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ".docx": MediaType("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ".png": MediaType("image/png"),
    ".jpg": MediaType("image/jpeg"),
    ".jpeg": MediaType("image/jpeg"),
}
_XML_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|[A-Za-z_])|\xff\xfe<\x00|\xfe\xff\x00<")
_HTML_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+)?html", re.IGNORECASE)
_HEADER_START: Final = re.compile(rb"[!-9;-~]+:[ \t]")
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_MESSAGE_ID: Final = re.compile(r"<[^\s<>]+>")


class MailFacts(msgspec.Struct, frozen=True):
    """What a message says about itself: both are claims of whoever sent it. `message_id` has its angle brackets."""

    message_id: str | None
    sent_at: datetime | None


def media_type(content: bytes, name: str) -> MediaType:
    """Return the kind of file, by its first bytes where they say it, else by the suffix of its name."""
    suffix = _BY_SUFFIX.get(PurePath(name).suffix.lower())
    if content.startswith(b"%PDF-"):
        return PDF
    if _HTML_START.match(content):
        return _BY_SUFFIX[".html"]
    if _XML_START.match(content):
        return XML
    if suffix is None and _HEADER_START.match(content) and mail_facts(content).message_id is not None:
        return MAIL
    return suffix or UNKNOWN


def mail_facts(content: bytes) -> MailFacts:
    """Return what the header of a message says. Never raises: a header that cannot be read says nothing."""
    end = _HEADER_END.search(content, 0, MAX_HEADER_BYTES)
    header = content[: end.start() if end else MAX_HEADER_BYTES]
    try:
        message = BytesHeaderParser(policy=policy.compat32).parsebytes(header)
        return MailFacts(_message_id(str(message.get("Message-ID") or "")), _date(str(message.get("Date") or "")))
    except (ValueError, LookupError, RecursionError):
        return MailFacts(None, None)


def mail_key(content: bytes, facts: MailFacts) -> str:
    """Return the idempotency key of a message: by its Message-ID; by its bytes when it has none."""
    # The ledger keeps a keyed digest of this key, never the key: a Message-ID may hold an address.
    if facts.message_id is not None:
        return f"message-id:{facts.message_id}"
    return f"message-sha256:{hashlib.sha256(content).hexdigest()}"


def file_name(path: str) -> str | None:
    """Return the last part of a path as text that can be recorded, None when it has none."""
    return os.fsencode(PurePath(path).name).decode("utf-8", "replace").replace("\x00", "") or None


def _message_id(text: str) -> str | None:
    found = _MESSAGE_ID.search(text) if len(text) <= MAX_MESSAGE_ID else None
    # Undecodable bytes become surrogates, which no digest is made of.
    return found[0].encode("utf-8", "backslashreplace").decode() if found else None


def _date(text: str) -> datetime | None:
    try:
        sent_at = parsedate_to_datetime(text)
        # "-0000" is UTC whose local zone is not told (RFC 5322 §3.3); the library gives that without a zone.
        moment = sent_at.replace(tzinfo=UTC) if sent_at.tzinfo is None else sent_at.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # A date that no ledger takes says nothing about when a message was sent.
    return moment if EARLIEST <= moment <= LATEST else None
