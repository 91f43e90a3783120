"""The suppression list: which addresses are to get no offers, as keyed digests. Clause 7; GDPR Art. 21(3).

An objection seals the digests of the addresses known then, under a key of their own retention class: they outlive the
addresses and the other data of the person, say nothing without the secret of the key store, and the list is read from
the ledger again at each start. Whoever decides on it appends under a guard that no objection came in between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ledger import identifiers
from ledger.command import Addresses, Recorded
from ledger.events import DataCorrected, Event, IdentifierLinked, MarketingObjected, PersonalDataCollected
from ledger.storage.engine import QueryItem
from ledger.vocabulary import SUPPRESSION_TAG, IdentifierKind, SubjectId

if TYPE_CHECKING:
    from ledger.ledger import Ledger

_OBJECTIONS = (QueryItem((MarketingObjected.TOPIC,), (SUPPRESSION_TAG,)),)


class Suppression(Addresses):
    """The addresses of one ledger. Safe for many threads; never behind what is recorded."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._secret = ledger.keys.secret("lookup")
        self._lock = threading.Lock()
        self._objectors: dict[str, frozenset[SubjectId]] = {}
        self._position = 0

    def digest(self, kind: IdentifierKind, value: str) -> str | None:
        normal = identifiers.normal_form(kind, value)
        return identifiers.digest(self._secret, kind, normal).hex() if normal else None

    def of(self, recorded: Recorded) -> frozenset[str]:
        if not isinstance(recorded.event, IdentifierLinked | PersonalDataCollected | DataCorrected):
            return frozenset()
        found = (self.digest(kind, value) for kind, value in _addresses(self._ledger.open(recorded.index)))
        return frozenset(digest for digest in found if digest is not None)

    def objectors(self, digest: str) -> frozenset[SubjectId]:
        size = self._ledger.engine.size()
        if self._position < size:
            self._read_up_to(size)
        return self._objectors.get(digest, frozenset())

    def _read_up_to(self, size: int) -> None:
        with self._lock:
            for recorded in self._ledger.read(_OBJECTIONS, after=self._position, end=size):
                event = self._ledger.open(recorded.index)
                if isinstance(event, MarketingObjected) and isinstance(event.digests, list):
                    for digest in event.digests:
                        known = self._objectors.get(digest, frozenset())
                        self._objectors[digest] = known | {event.subject_id}
            self._position = max(self._position, size)


def _addresses(event: Event) -> Iterable[tuple[IdentifierKind, str]]:
    """Yield the identifiers that an opened event set."""
    held: dict[str, Any] = {}
    if isinstance(event, IdentifierLinked):
        held = {event.kind: event.value}
    elif isinstance(event, PersonalDataCollected | DataCorrected):
        held = dict(event.values)
    for name, value in held.items():
        kind = identifiers.FIELDS.get(name)
        if kind is not None and isinstance(value, str):
            yield kind, value
