"""The consents of a subject: given, withdrawn, and which were live when. GDPR Art. 7(1), 7(3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from ledger.events import ConsentGiven, ConsentWithdrawn, Event
from ledger.vocabulary import Channel, ConsentId, Language, Purpose, RecipientId, Sha256Hex, SubjectId, Word
from projections.projection import AsOf, Item, Projection, bound
from projections.storage.store import Row, Rows, Store, Writer


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """A consent as it was known. `given` and `withdrawn` are indexes; `recipient_id` is None for the company itself."""

    consent_id: ConsentId
    subject_id: SubjectId
    purpose: Purpose
    recipient_id: RecipientId | None
    fields: tuple[Word, ...]
    text_sha256: Sha256Hex
    language: Language
    given: int
    given_at: datetime
    given_channel: Channel
    withdrawn: int | None
    withdrawn_at: datetime | None
    withdrawn_channel: Channel | None

    @property
    def live(self) -> bool:
        return self.withdrawn is None


_CONSENTS: Final = """
SELECT g.consent, g.subject, g.purpose, g.recipient, g.fields, g.text_sha256, g.language,
       g.idx, g.recorded_at, g.channel, w.idx, w.recorded_at, w.channel
FROM consents_given g LEFT JOIN consents_withdrawn w
  ON w.subject = g.subject AND w.consent = g.consent AND w.idx > g.idx AND w.idx < ? AND w.recorded_at <= ?
WHERE g.subject = ? AND g.idx < ? AND g.recorded_at <= ? ORDER BY g.idx
"""


class Consents(Projection):
    """Consents given and withdrawn, by subject."""

    NAME: ClassVar[str] = "consents"
    VERSION: ClassVar[int] = 1
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys((ConsentGiven, ConsentWithdrawn))

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        given: list[Row] = []
        withdrawn: list[Row] = []
        for item in batch:
            event = item.event
            if isinstance(event, ConsentGiven):
                given.append(
                    (
                        item.index, event.consent_id, event.subject_id, item.recorded_at, event.purpose,
                        event.recipient_id, msgspec.json.encode(event.fields).decode(), event.text_sha256,
                        event.language, event.channel,
                    )
                )  # fmt: skip
            else:
                assert isinstance(event, ConsentWithdrawn)
                withdrawn.append((item.index, event.consent_id, event.subject_id, item.recorded_at, event.channel))
        writer.insert("consents_given", given)
        writer.insert("consents_withdrawn", withdrawn)

    def consents(self, subject_id: SubjectId, *, as_of: AsOf = None) -> tuple[Consent, ...]:
        """Return every consent that a subject had given as of then, withdrawn or not, in the order of recording.

        A subject who is not known has none. Raises StorageError, and Invalid for a moment without time zone.
        """
        with self._store.read() as rows:
            return consents(rows, subject_id, as_of)

    def live(
        self, subject_id: SubjectId, *, recipient_id: RecipientId | None, purpose: Purpose, as_of: AsOf = None
    ) -> tuple[Consent, ...]:
        """Return the consents for exactly this recipient (None: the company) and purpose that were live as of then."""
        return tuple(
            consent
            for consent in self.consents(subject_id, as_of=as_of)
            if consent.live and (consent.recipient_id, consent.purpose) == (recipient_id, purpose)
        )


def consents(rows: Rows, subject_id: SubjectId, as_of: AsOf) -> tuple[Consent, ...]:
    """The same as `Consents.consents`, inside a read that is under way."""
    known = bound(as_of)
    return tuple(_consent(*row) for row in rows(_CONSENTS, *known, subject_id, *known))


def _consent(*row: Any) -> Consent:
    names = Consent.__struct_fields__
    return msgspec.convert(dict(zip(names, row, strict=True)) | {"fields": msgspec.json.decode(row[4])}, Consent)
