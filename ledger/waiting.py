"""What waits for its transaction while more is decided: whether the next rests on it, or changes what it rests on.

Only what does neither may be put beside it: then the outcome is as if each had been waited for. It errs on the side of
waiting. What does not live here: whether a condition holds, which the sequencer says.
"""

from __future__ import annotations

from ledger.append import Append
from ledger.storage.engine import Query, QueryItem
from ledger.vocabulary import Tag


class Waiting:
    """The events, conditions and idempotency keys of appends whose outcome is not known yet."""

    def __init__(self) -> None:
        self._types: dict[Tag, set[str]] = {}
        self._conditions: dict[Tag, set[QueryItem]] = {}
        self._untagged: set[QueryItem] = set()
        self._keys: set[str] = set()
        self._count = 0

    def clear(self) -> None:
        """Nothing waits any more."""
        for known in (self._types, self._conditions, self._untagged, self._keys):
            known.clear()
        self._count = 0

    def add(self, append: Append, key: str | None) -> None:
        """This one waits too."""
        self._count += 1
        for draft in append.drafts:
            for tag in draft.tags:
                self._types.setdefault(tag, set()).add(draft.type)
        for item in append.condition.query if append.condition is not None else ():
            if item.tags:
                self._conditions.setdefault(item.tags[0], set()).add(item)
            else:
                self._untagged.add(item)
        if key is not None:
            self._keys.add(key)

    def has_key(self, key: str | None) -> bool:
        """Whether something with this idempotency key waits."""
        return key in self._keys

    def may_match(self, query: Query) -> bool:
        """Whether an event that waits may be one that this asks for."""
        return self._count > 0 and any(map(self._may_match, query))

    def may_be_changed_by(self, append: Append) -> bool:
        """Whether what waits would be decided otherwise, were this recorded before it."""
        for draft in append.drafts:
            items = self._untagged.union(*(self._conditions.get(tag, ()) for tag in draft.tags))
            if any((not one.types or draft.type in one.types) and {*draft.tags} >= {*one.tags} for one in items):
                return True
        return False

    def _may_match(self, item: QueryItem) -> bool:
        found = [self._types.get(tag, ()) for tag in item.tags]
        return all(found) and (not item.types or all(any(one in types for one in item.types) for types in found))
