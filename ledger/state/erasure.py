"""Which erasures are decided or deferred, and the facts that carry one out."""

from __future__ import annotations

from collections.abc import Collection

from ledger.command import Context, Fact, Past
from ledger.events import ErasureDecided, ErasureDeferred, KeyDestroyed, PersonalDataErased, RetentionExpired
from ledger.state.retention import Term
from ledger.vocabulary import ErasureOutcome, KeyId, RetentionClass, SubjectId, key_tag, subject_tag


def open_decisions(past: Past) -> dict[RetentionClass, ErasureOutcome]:
    """Return what is decided and not carried out: a decision says nothing of data collected after its erasure."""
    decided: dict[RetentionClass, ErasureOutcome] = {}
    for recorded in past.all:
        match recorded.event:
            case ErasureDecided(decisions=decisions):
                decided |= {decision.retention_class: decision.outcome for decision in decisions}
            case PersonalDataErased(retention_classes=erased):
                decided = {name: outcome for name, outcome in decided.items() if name not in erased}
    return decided


def deferred(past: Past) -> set[RetentionClass]:
    """Return the classes whose erasure a hold deferred and that were not erased since."""
    found: set[RetentionClass] = set()
    for recorded in past.all:
        match recorded.event:
            case ErasureDeferred(retention_classes=classes):
                found.update(classes)
            case PersonalDataErased(retention_classes=classes):
                found.difference_update(classes)
    return found


def destruction(
    past: Past, context: Context, subject_id: SubjectId, retention_classes: Collection[RetentionClass]
) -> list[Fact]:
    """Return the facts that erase these classes: each key's destruction, then that the data is erased.

    `past` holds everything about the subject: whatever is recorded meanwhile may be sealed under a key not listed yet.
    """
    tag = subject_tag(subject_id)
    facts = [
        Fact(
            KeyDestroyed(subject_id=subject_id, key_id=key_id, retention_class=retention_class),
            [tag, key_tag(key_id)],
        )
        for key_id, retention_class in _keys(past, context, subject_id).items()
        if retention_class in retention_classes
    ]
    classes = tuple(sorted(set(retention_classes)))
    erased = PersonalDataErased(subject_id=subject_id, retention_classes=classes, keys=len(facts))
    return [*facts, Fact(erased, [tag])]


def expiry(subject_id: SubjectId, term: Term) -> Fact:
    """Return the fact that a period is over."""
    assert term.started_at is not None
    assert term.until is not None
    event = RetentionExpired(
        subject_id=subject_id, retention_class=term.retention_class, started_at=term.started_at, until=term.until
    )
    return Fact(event, [subject_tag(subject_id)])


def _keys(past: Past, context: Context, subject_id: SubjectId) -> dict[KeyId, RetentionClass]:
    """Return the keys that are here, and those that the log names: one that is lost may come back from a backup."""
    keys = {key.id: key.scope.retention_class for key in context.keys_of(subject_id)}
    for recorded in past.all:
        event = recorded.event
        # An event may be of somebody else's dispute about this subject's order: then the key is not ours.
        if event.retention is None or getattr(event, "subject_id", None) != subject_id:
            continue
        for tag in recorded.tags:
            if tag.startswith("key:"):
                keys[KeyId(tag.removeprefix("key:"))] = event.retention
    for destroyed in past.of(KeyDestroyed):
        keys.pop(destroyed.key_id, None)
    return keys
