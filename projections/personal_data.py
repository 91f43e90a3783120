"""One subject's personal data, now or as of any recorded moment, and whom an identifier belongs to. GDPR Art. 15, 16.

Two times: `recorded_at` is since when the ledger knows, `valid_from` since when it is true (recorded_at where nothing
else was said). As of T is what the ledger knew at T; of that, the value that is true at `valid_at`: the one with the
latest valid_from not after it, the later recorded of two. So a correction that is true since an earlier day does not
displace what is true since a later one. An erasure starts a field anew: what was erased displaces nothing.

Rows hold no value. It is opened from the ledger at reading, so that an erasure needs no cleaning here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from ledger import Actor, Ledger, sealing
from ledger.entry import parse, parse_moment
from ledger.errors import Invalid, SubjectUnknown
from ledger.events import (
    DataCorrected,
    Event,
    IdentifierLinked,
    KeyDestroyed,
    PersonalDataCollected,
    SubjectRegistered,
    Withheld,
)
from ledger.identifiers import FIELDS, checked_normal_form, digest, normal_form
from ledger.vocabulary import (
    Channel,
    ClientId,
    IdentifierKind,
    LegalBasis,
    Purpose,
    Reference,
    RetentionClass,
    SourceKind,
    SubjectId,
    SubjectRole,
    Word,
)
from projections.projection import AsOf, Item, Projection, aware, bound, text
from projections.storage.store import Row, Rows, Store, Writer
from projections.values import Values, ValueState, shown


class FieldVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One field as one event set it. `value` is None unless `state` is present.

    `version` is the index of that event. Purpose, basis and source are those of the collection that a correction is of.
    """

    field: Word
    state: ValueState
    value: Any
    version: int
    valid_from: datetime
    recorded_at: datetime
    purpose: Purpose | None
    basis: LegalBasis | None
    source: SourceKind | None
    source_reference: Reference | None
    retention_class: RetentionClass
    channel: Channel | None  # of a correction; None for what was collected
    by: Actor


class FieldState(FieldVersion, frozen=True, kw_only=True):
    """The version of a field that holds. `expected_version` is what a correction must name; None once it is erased.

    The two differ when a later event recorded what was true earlier.
    """

    expected_version: int | None


class IdentifierState(msgspec.Struct, frozen=True, kw_only=True):
    """An identifier that was linked to the subject. `value` is None unless `state` is present."""

    kind: IdentifierKind
    state: ValueState
    value: str | None
    version: int
    recorded_at: datetime


class SubjectState(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of one subject. `position` is how many entries the projections had taken in."""

    subject_id: SubjectId
    role: SubjectRole
    client_id: ClientId | None
    registered: int
    registered_at: datetime
    valid_at: datetime
    position: int
    fields: dict[Word, FieldState]  # by name, in alphabetical order
    identifiers: tuple[IdentifierState, ...]  # oldest first


class _Version(msgspec.Struct, frozen=True, array_like=True):
    """A row of field_versions, without its subject."""

    index: int
    field: Word
    recorded_at: str
    valid_from: str | None
    retention_class: RetentionClass
    purpose: Purpose | None
    basis: LegalBasis | None
    source: SourceKind | None
    source_reference: Reference | None
    channel: Channel | None

    @property
    def since(self) -> tuple[str, int]:
        """What decides between versions: since when it is true, then its place in the log."""
        return self.valid_from or self.recorded_at, self.index


# The sealed fields that identify a subject; what "value" is, its event says.
_IDENTIFYING: Final = {"value": None} | {f"values.{name}": kind for name, kind in FIELDS.items()}

_REGISTRATION: Final = """
SELECT idx, recorded_at, role, client FROM subjects WHERE subject = ? AND idx < ? AND recorded_at <= ?
"""
_CLIENTS: Final = """
SELECT client, min(idx) FROM subjects
WHERE client IS NOT NULL AND idx < ? AND recorded_at <= ? GROUP BY client ORDER BY 2
"""
_LINKS: Final = """
SELECT idx, recorded_at, kind FROM links WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx
"""
_ERASURES: Final = """
SELECT retention_class, max(idx) FROM erasures WHERE subject = ? AND idx < ? AND recorded_at <= ? GROUP BY 1
"""
_LOOKUP: Final = """
SELECT subject, min(idx) FROM identifiers WHERE digest = ? AND kind = ? GROUP BY subject ORDER BY 2
"""
_VERSIONS: Final = """
SELECT idx, field, recorded_at, valid_from, retention_class, purpose, basis, source, source_reference, channel
FROM field_versions WHERE subject = ? AND idx < ? AND recorded_at <= ? ORDER BY idx, field
"""


class PersonalData(Projection):
    """Which event set which field of whom, and whom an identifier belongs to."""

    NAME: ClassVar[str] = "personal_data"
    VERSION: ClassVar[int] = 3
    EVENTS: ClassVar[Mapping[type[Event], Any]] = dict.fromkeys(
        (SubjectRegistered, IdentifierLinked, PersonalDataCollected, DataCorrected, KeyDestroyed)
    )

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store
        self._secret = ledger.keys.secret("lookup")

    # --- rows ------------------------------------------------------------------------------------------------

    def apply(self, batch: Sequence[Item], writer: Writer) -> None:
        subjects: list[Row] = []
        versions: list[Row] = []
        links: list[Row] = []
        erasures: list[Row] = []
        named: list[tuple[Item, SubjectId, IdentifierKind | None]] = []
        destroyed: list[str] = []
        for item in batch:
            index, at, event = item.index, item.recorded_at, item.event
            kind = type(event)
            if kind is PersonalDataCollected:
                assert isinstance(event, PersonalDataCollected)
                since = text(event.valid_from) if event.valid_from else None
                for field in event.values:
                    versions.append(
                        (
                            index, field, event.subject_id, at, since, event.retention_class,
                            event.purpose, event.basis, event.source, event.source_reference, None,
                        )
                    )  # fmt: skip
                if not FIELDS.keys().isdisjoint(event.values):
                    named.append((item, event.subject_id, None))
            elif kind is DataCorrected:
                assert isinstance(event, DataCorrected)
                since = text(event.valid_from) if event.valid_from else None
                for field in event.values:
                    versions.append(
                        (
                            index, field, event.subject_id, at, since, event.retention_class,
                            None, None, None, None, event.channel,
                        )
                    )  # fmt: skip
                if not FIELDS.keys().isdisjoint(event.values):
                    named.append((item, event.subject_id, None))
            elif kind is SubjectRegistered:
                assert isinstance(event, SubjectRegistered)
                subjects.append((index, event.subject_id, at, event.role, event.client_id))
            elif kind is IdentifierLinked:
                assert isinstance(event, IdentifierLinked)
                links.append((index, event.subject_id, at, event.kind))
                named.append((item, event.subject_id, event.kind))
            else:
                assert isinstance(event, KeyDestroyed)
                erasures.append((index, event.subject_id, at, event.retention_class))
                destroyed.append(event.key_id)
        writer.insert("subjects", subjects)
        writer.insert("field_versions", versions)
        writer.insert("links", links)
        writer.insert("erasures", erasures)
        writer.insert("identifiers", self._identifiers(named))
        # After the inserts: nothing is ever recorded under a key that is destroyed, so this batch has all there is.
        writer.delete("identifiers", "key_id", destroyed)

    def _identifiers(self, named: Sequence[tuple[Item, SubjectId, IdentifierKind | None]]) -> list[Row]:
        """Return the rows of the identifiers in these events, none where values are erased. Raises Tampered."""
        ledger = self._ledger
        boxes = ledger.engine.boxes_of([item.index for item, _, _ in named])
        keys = ledger.keys.get_many({box.key_id for found in boxes.values() for box in found})
        rows: list[Row] = []
        for item, subject_id, kind in named:
            entry = item.entry
            for box in boxes.get(item.index, ()):
                key = keys.get(box.key_id)
                if key is None:
                    continue
                fields = sealing.open_box(
                    box, entry.sealed, ledger=ledger.origin, event_id=entry.id, key=key.secret, only=_IDENTIFYING
                )
                for name, field in fields.items():
                    found = kind or _IDENTIFYING[name]
                    value = field.plain()
                    if found is not None and isinstance(value, str) and (normal := normal_form(found, value)):
                        rows.append((box.key_id, item.index, found, digest(self._secret, found, normal), subject_id))
        return rows

    # --- questions -------------------------------------------------------------------------------------------

    def state(self, subject_id: SubjectId, *, as_of: AsOf = None, valid_at: datetime | None = None) -> SubjectState:
        """Return what the ledger knew of a subject as of a moment or position, and of that what is true at `valid_at`.

        `valid_at` is by default the moment of `as_of`. Raises SubjectUnknown, Tampered, StorageError, and Invalid for a
        moment without time zone. Whoever calls this shows personal data: the doors record the access first.
        """
        now = self._moment_of(as_of)
        valid_at = now if valid_at is None else aware(valid_at, "valid_at")
        known = bound(as_of)
        with self._store.read() as rows:
            found = rows(_REGISTRATION, subject_id, *known)
            if not found:
                raise SubjectUnknown(subject=subject_id)
            versions = self._versions(rows, subject_id, as_of)
            erasures = rows(_ERASURES, subject_id, *known)
            links = rows(_LINKS, subject_id, *known)
            position = rows("SELECT position FROM projection WHERE name = ?", self.NAME)[0][0]
        values = Values(self._ledger, subject_id)
        index, registered_at, role, client = found[0]
        return SubjectState(
            subject_id=subject_id,
            role=SubjectRole(role),
            client_id=client,
            registered=index,
            registered_at=parse_moment(registered_at),
            valid_at=valid_at,
            position=position,
            fields=_fields(versions, dict(erasures), text(valid_at), values),
            identifiers=tuple(_identifier(values, *link) for link in links),
        )

    def history(
        self, subject_id: SubjectId, *, field: Word | None = None, as_of: AsOf = None
    ) -> tuple[FieldVersion, ...]:
        """Return every version of a subject's fields (or of one), in the order of recording. Raises as `state`."""
        with self._store.read() as rows:
            if not rows("SELECT 1 FROM subjects WHERE subject = ?", subject_id):
                raise SubjectUnknown(subject=subject_id)
            versions = self._versions(rows, subject_id, as_of)
        values = Values(self._ledger, subject_id)
        return tuple(
            FieldVersion(**_version(version, values)) for version in versions if field in (None, version.field)
        )

    def lookup(self, kind: IdentifierKind, value: str) -> list[SubjectId]:
        """Return whose identifier this is or was: several people may share one; the first known comes first.

        What was erased is not found. Raises Invalid for an identifier that is ambiguous, never repeating it.
        """
        wanted = digest(self._secret, kind, checked_normal_form(kind, value))
        with self._store.read() as rows:
            found = rows(_LOOKUP, wanted, kind)
        return [SubjectId(subject) for subject, _ in found]

    def clients(self, *, as_of: AsOf = None) -> tuple[ClientId, ...]:
        """Return the clients on whose behalf data of their own people is held, the first known first."""
        with self._store.read() as rows:
            return tuple(ClientId(client) for client, _ in rows(_CLIENTS, *bound(as_of)))

    # --- inside ----------------------------------------------------------------------------------------------

    def _moment_of(self, as_of: AsOf) -> datetime:
        if isinstance(as_of, datetime):
            return aware(as_of, "as_of")
        if as_of is not None and as_of < 1:
            raise Invalid("as_of", "is a position from 1 on: that many entries")
        size = self._ledger.size()
        if not size:
            return self._ledger.now()
        last = parse_moment(parse(self._ledger.entry(min(as_of or size, size) - 1)).recorded_at)
        # recorded_at never runs backwards, but a clock may: what was just recorded is true now.
        return max(self._ledger.now(), last) if as_of is None else last

    @staticmethod
    def _versions(rows: Rows, subject_id: SubjectId, as_of: AsOf) -> list[_Version]:
        """Return the versions that were known; a correction takes purpose, basis and source from what it corrects."""
        versions: list[_Version] = []
        last: dict[Word, _Version] = {}
        for version in msgspec.convert(rows(_VERSIONS, subject_id, *bound(as_of)), list[_Version]):
            if version.channel is not None and (corrected := last.get(version.field)) is not None:
                version = msgspec.structs.replace(
                    version,
                    purpose=corrected.purpose,
                    basis=corrected.basis,
                    source=corrected.source,
                    source_reference=corrected.source_reference,
                )
            last[version.field] = version
            versions.append(version)
        return versions


def _fields(
    versions: Sequence[_Version], erasures: Mapping[str, int], valid_at: str, values: Values
) -> dict[Word, FieldState]:
    by_name: dict[Word, list[_Version]] = {}
    for version in versions:
        by_name.setdefault(version.field, []).append(version)
    found: dict[Word, FieldState] = {}
    for name in sorted(by_name):
        recorded = by_name[name]
        true = [version for version in recorded if version.since[0] <= valid_at]
        if not true:
            continue
        erased_at = max(
            (at for version in true if (at := erasures.get(version.retention_class, -1)) > version.index), default=-1
        )
        anew = [version for version in true if version.index > erased_at]
        holds = max(anew or true, key=lambda version: version.since)
        # What the write side holds the field to be at: ledger/state/personal_data.py.
        last = recorded[-1]
        erased = erasures.get(last.retention_class, -1) > last.index
        found[name] = FieldState(**_version(holds, values), expected_version=None if erased else last.index)
    return found


def _version(version: _Version, values: Values) -> dict[str, Any]:
    event = values.event(version.index)
    assert isinstance(event, PersonalDataCollected | DataCorrected)
    state, value = shown(event.values.get(version.field, Withheld.MISSING))
    return {
        "field": version.field,
        "state": state,
        "value": value,
        "version": version.index,
        "valid_from": datetime.fromisoformat(version.since[0]),
        "recorded_at": parse_moment(version.recorded_at),
        "purpose": version.purpose,
        "basis": version.basis,
        "source": version.source,
        "source_reference": version.source_reference,
        "retention_class": version.retention_class,
        "channel": version.channel,
        "by": event.by,
    }


def _identifier(values: Values, index: int, recorded_at: str, kind: str) -> IdentifierState:
    event = values.event(index)
    assert isinstance(event, IdentifierLinked)
    state, value = shown(event.value)
    return IdentifierState(
        kind=IdentifierKind(kind), state=state, value=value, version=index, recorded_at=parse_moment(recorded_at)
    )
