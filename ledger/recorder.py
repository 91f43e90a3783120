"""The ledger as a `DCBRecorder` of the `eventsourcing` library: its applications and tests run on our log.

The library's event data are opaque bytes. Data that is the canonical JSON of an object stands in the entry as that
object; any other bytes as {"base64": "…"}. What does not live here: rules; whoever appends here has decided already.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from itertools import islice
from time import sleep

import msgspec
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.dcb.persistence import DCBListenNotifySubscription
from eventsourcing.persistence import IntegrityError, ProgrammingError

from ledger import canonical
from ledger.append import Append, Committed
from ledger.canonical import check_text
from ledger.entry import draft, parse
from ledger.errors import Conflict, Invalid, StorageError, VerificationError
from ledger.events import BY_TOPIC
from ledger.ledger import Ledger
from ledger.storage.engine import Condition, Query, QueryItem
from ledger.vocabulary import OWN_TAGS, EventId, Tag, new_id

# An index of PostgreSQL holds up to 2,704 bytes a row (a third of a page); no engine takes what another cannot.
MAX_TAG_BYTES = 2_000

# How long a subscription takes at most to see what another process recorded.
POLL_S = 0.2


class LedgerRecorder(DCBRecorder):
    """Appends and reads through one open ledger. Positions are index + 1, contiguous from 1.

    The log's own entries (`index-committed`, unless the ledger was opened without a pace) are among them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Append atomically and durably; return the last position. Raises IntegrityError when the condition fails."""
        if not events:
            raise ProgrammingError("there is no event to append")
        if any(tag.partition(":")[0] in OWN_TAGS for event in events for tag in event.tags):
            raise Invalid("tags", "begins like one of the ledger's own: those are for its commands")
        # Our own topics are what rules decided: a forged one would be believed, or stop every reader at the next start.
        if any(event.type in BY_TOPIC for event in events):
            raise Invalid("type", "is one of the ledger's own: commands alone record it")
        if any(len(text.encode("utf-8", "replace")) > MAX_TAG_BYTES for e in events for text in (e.type, *e.tags)):
            raise Invalid("tags", f"are, as types, at most {MAX_TAG_BYTES} bytes of UTF-8")
        drafts = [
            draft(
                id=EventId(new_id()),
                type=check_text(event.type, "type"),
                tags=[Tag(check_text(tag, "tags")) for tag in event.tags],
                data=_to_json(event.data),
                sealed={},
            )
            for event in events
        ]
        check = None if condition is None else Condition(_query(condition.fail_if_events_match), condition.after or 0)
        try:
            outcome = self.ledger.append(Append(drafts, [()] * len(drafts), check))
        except Conflict as conflict:
            raise IntegrityError(condition) from conflict
        assert isinstance(outcome, Committed)
        return outcome.first + len(drafts)

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        """Return the matching events, read in pages while they are taken: flat memory whatever the size.

        Without a limit `head` is the end of the log at the call; with one, the last event that is returned.
        """
        size = self.ledger.size()
        found = self.ledger.engine.select(_query(query), after=after or 0, end=size, limit=limit)
        if limit is not None:
            events = [_sequenced(stored.entry) for stored in islice(found, limit)]
            return _Response(iter(events), events[-1].position if events else None)
        return _Response((_sequenced(stored.entry) for stored in found), size or None)

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> LedgerSubscription:
        """Return all matching events with position > `after`, then wait for new ones, of other processes too."""
        return LedgerSubscription(self, query=query, after=after)


class LedgerSubscription(DCBListenNotifySubscription[LedgerRecorder]):
    """A subscription that waits for the log to grow, and for a server that went away to come back.

    It goes on after the last position that it read: nothing is missed, and nothing is given twice.
    """

    def _loop_on_pull(self) -> None:
        ledger = self._recorder.ledger
        seen = 0
        try:
            while not self._has_been_stopped:
                try:
                    size = ledger.size()
                    if size > seen:
                        self._pull()
                        seen = size
                    ledger.wait_for(seen + 1, POLL_S)
                except StorageError:
                    # What failed in a file stays so until it is opened again; a server restarts, or hands over.
                    if ledger.closed or not ledger.engine.recovers:
                        raise
                    sleep(POLL_S)
        except BaseException as error:
            # The reader's `next` raises it: a subscription never ends in silence.
            self._thread_error = error
            self.stop()


class _Response(DCBReadResponse):
    def __init__(self, events: Iterator[DCBSequencedEvent], head: int | None) -> None:
        self._events = events
        self._head = head

    @property
    def head(self) -> int | None:
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        return next(self._events)


def _query(query: DCBQuery | None) -> Query:
    items = query.items if query is not None else []
    return tuple(
        QueryItem(
            tuple(check_text(kind, "types") for kind in item.types),
            tuple(Tag(check_text(tag, "tags")) for tag in item.tags),
        )
        for item in items
    )


def _to_json(data: bytes) -> bytes:
    try:
        # As deep as it will stand in the entry, which verification reads whole.
        value = canonical.decode(b'{"data":%b}' % data, "data")
    except VerificationError:
        value = None
    member = value.get("data") if isinstance(value, dict) and value.keys() == {"data"} else None
    if isinstance(member, dict) and member.keys() != {"base64"}:
        return data
    return canonical.encode({"base64": b64encode(data).decode()})


def _sequenced(entry: bytes) -> DCBSequencedEvent:
    parsed = parse(entry)
    data = bytes(parsed.data)
    if data.startswith(b'{"base64":'):
        value = msgspec.json.decode(data)
        if value.keys() == {"base64"}:
            data = b64decode(value["base64"])
    return DCBSequencedEvent(DCBEvent(parsed.type, data, list(parsed.tag_names)), parsed.position)
