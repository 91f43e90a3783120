"""The bytes of a problem: RFC 9457."""

from typing import Final

TYPE_PREFIX: Final = "urn:prooftrail:problem:"
