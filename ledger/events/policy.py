"""The policy in force: adopted, with its exact text."""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import Event, event
from ledger.vocabulary import Reference, Sha256Hex


@event
class PolicyAdopted(Event, frozen=True):
    """The TOML `text` holds company rules and no personal data; it is in force from this entry on."""

    TOPIC: ClassVar[str] = "policy-adopted"
    version: Reference
    sha256: Sha256Hex
    text: str
