"""Erasure: decided for each retention class, then carried out by destroying keys. GDPR Art. 17.

Destroying is recorded first; the ledger then deletes the sealed values and the keys, in that order, and does so again
at the next start if it was interrupted. Entries stay: they never held personal data, and every proof still verifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command, selector
from ledger.errors import ErasureUndecided, Invalid, SuppressionStays
from ledger.events import ClassDecision, ErasureDecided, KeyDestroyed, PersonalDataErased
from ledger.state.subject import registered, registration
from ledger.vocabulary import ErasureOutcome, KeyId, RetentionClass, SubjectId, key_tag, subject_tag


@command
class DecideErasure(Command, frozen=True):
    """Record for each retention class whether it is erased or kept, on which ground, and until when."""

    NAME: ClassVar[str] = "decide-erasure"
    subject_id: SubjectId
    decisions: tuple[ClassDecision, ...]

    def boundary(self) -> Boundary:
        return registration(self.subject_id)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        classes = [decision.retention_class for decision in self.decisions]
        if not classes or len(set(classes)) != len(classes):
            raise Invalid("decisions", "decides at least one retention class, each once")
        for decision in self.decisions:
            # GDPR Art. 21(3): an objection to offers outlives the data, as a keyed digest that says nothing else.
            if decision.retention_class is RetentionClass.SUPPRESSION and decision.outcome is ErasureOutcome.ERASED:
                raise SuppressionStays(subject=self.subject_id)
            # GDPR Art. 12(4), 17(3): what is kept is kept for a reason that can be told, and not for ever.
            if (decision.outcome is ErasureOutcome.KEPT) != (decision.until is not None):
                raise Invalid("decisions", "says until when what is kept is kept, and only there")
            if decision.until is not None and decision.until <= context.now:
                raise Invalid("decisions", "keeps until a moment that is past")
        return [
            Fact(ErasureDecided(subject_id=self.subject_id, decisions=self.decisions), [subject_tag(self.subject_id)])
        ]


@command
class DestroyKeys(Command, frozen=True):
    """Erase the classes that were decided to be erased: the keys of all of them, or of those named."""

    NAME: ClassVar[str] = "destroy-keys"
    subject_id: SubjectId
    retention_classes: tuple[RetentionClass, ...]

    def boundary(self) -> Boundary:
        # Everything about the subject: whatever is recorded meanwhile may be sealed under a key that is not listed yet.
        return (selector(tags=[subject_tag(self.subject_id)]),)

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if not self.retention_classes:
            raise Invalid("retention_classes", "names at least one")
        decided = _open_decisions(past)
        for retention_class in self.retention_classes:
            if decided.get(retention_class) is not ErasureOutcome.ERASED:
                raise ErasureUndecided(subject=self.subject_id, retention_class=retention_class)
        tag = subject_tag(self.subject_id)
        facts = [
            Fact(
                KeyDestroyed(subject_id=self.subject_id, key_id=key_id, retention_class=retention_class),
                [tag, key_tag(key_id)],
            )
            for key_id, retention_class in self._keys(past, context).items()
            if retention_class in self.retention_classes
        ]
        classes = tuple(sorted(set(self.retention_classes)))
        erased = PersonalDataErased(subject_id=self.subject_id, retention_classes=classes, keys=len(facts))
        return [*facts, Fact(erased, [tag])]

    def _keys(self, past: Past, context: Context) -> dict[KeyId, RetentionClass]:
        """Return the keys that are here, and those that the log names: one that is lost may come back from a backup."""
        keys = {key.id: key.scope.retention_class for key in context.keys_of(self.subject_id)}
        for recorded in past.all:
            event = recorded.event
            # An event may be of somebody else's dispute about this subject's order: then the key is not ours.
            if event.retention is None or getattr(event, "subject_id", None) != self.subject_id:
                continue
            for tag in recorded.tags:
                if tag.startswith("key:"):
                    keys[KeyId(tag.removeprefix("key:"))] = event.retention
        for destroyed in past.of(KeyDestroyed):
            keys.pop(destroyed.key_id, None)
        return keys


def _open_decisions(past: Past) -> dict[RetentionClass, ErasureOutcome]:
    """Return what is decided and not carried out: a decision says nothing of data collected after its erasure."""
    decided: dict[RetentionClass, ErasureOutcome] = {}
    for recorded in past.all:
        match recorded.event:
            case ErasureDecided(decisions=decisions):
                decided |= {decision.retention_class: decision.outcome for decision in decisions}
            case PersonalDataErased(retention_classes=erased):
                decided = {name: outcome for name, outcome in decided.items() if name not in erased}
    return decided
