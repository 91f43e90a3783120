"""What the log records about itself: its signing keys, and the commitments of its tag index. No person is in these."""

from __future__ import annotations

from typing import ClassVar

from ledger.events.event import Count, Event, event
from ledger.vocabulary import Sha256Hex


@event
class SigningKeyRotated(Event, frozen=True):
    """From the checkpoint that covers this on, both keys sign. Verifier keys as in c2sp.org/signed-note."""

    TOPIC: ClassVar[str] = "signing-key-rotated"
    verifier: str
    replaces: str


@event
class SigningKeyRetired(Event, frozen=True):
    """The end of the overlap: from the checkpoint that covers this on, this older key signs nothing any more."""

    TOPIC: ClassVar[str] = "signing-key-retired"
    verifier: str


@event
class IndexCommitted(Event, frozen=True):
    """The tag index over the `size` entries before this one, which is itself at index `size`: see `tlog.index`."""

    TOPIC: ClassVar[str] = "index-committed"
    root: Sha256Hex
    size: Count
    tags: Count
