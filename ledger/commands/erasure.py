"""Erasure: decided for each retention class, then carried out by destroying keys. GDPR Art. 17.

Destroying is recorded first; the ledger then deletes the sealed values and the keys, in that order, and does so again
at the next start if it was interrupted. Entries stay: they never held personal data, and every proof still verifies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, KeptRefusal, Past, command
from ledger.errors import ErasureUndecided, Invalid, KeptByLaw, SubjectUnknown, SuppressionStays, UnderHold
from ledger.events import ClassDecision, ErasureDecided, ErasureDeferred, KeyDestroyed, PersonalDataErased
from ledger.rule import rule
from ledger.state.erasure import destruction, open_decisions
from ledger.state.hold import hold_on, holds_over
from ledger.state.policy import policies, policy
from ledger.state.retention import check_not_kept_by_law, everything, longest
from ledger.state.subject import registered
from ledger.vocabulary import ErasureOutcome, HoldId, RetentionClass, SubjectId, Word, subject_tag

LAW_KEEPS = rule(
    "law-keeps",
    clause="erasure",
    promise="What the law requires to keep is not erased before its period is over",
    source="GDPR Art. 17(3)(b); Raamatupidamise seadus § 12",
    refusals=(KeptByLaw,),
)
HOLD_DEFERS = rule(
    "hold-defers-erasure",
    clause="erasure",
    promise="A hold defers the erasure of what it covers, and the deferral is recorded",
    source="GDPR Art. 17(3)(e)",
    refusals=(UnderHold,),
)

DECIDED_WITH_GROUND = rule(
    "erasure-is-decided-per-class",
    clause="erasure",
    promise="An erasure is decided for each retention class; what is kept has a ground and an end",
    source="GDPR Art. 12(4), 17(3)",
    refusals=(SubjectUnknown, Invalid),
)
ONLY_WHAT_WAS_DECIDED = rule(
    "only-what-was-decided-is-erased",
    clause="erasure",
    promise="Keys are destroyed only of classes that were decided to be erased, and each decision is used once",
    source="GDPR Art. 17(1)",
    refusals=(ErasureUndecided, Invalid),
)


@command
class DecideErasure(Command, frozen=True):
    """Record for each retention class whether it is erased or kept, on which ground, and until when."""

    NAME: ClassVar[str] = "decide-erasure"
    RECORDS = (ErasureDecided,)
    RULES = (DECIDED_WITH_GROUND, LAW_KEEPS)
    subject_id: SubjectId
    decisions: tuple[ClassDecision, ...]

    def boundary(self) -> Boundary:
        return (*everything(self.subject_id), *policies())

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
            if decision.until is not None:
                self._check_until(decision, decision.until, past, context)
        erased = [d.retention_class for d in self.decisions if d.outcome is ErasureOutcome.ERASED]
        check_not_kept_by_law(past, self.subject_id, erased, context.now)
        return [
            Fact(ErasureDecided(subject_id=self.subject_id, decisions=self.decisions), [subject_tag(self.subject_id)])
        ]

    def _check_until(self, decision: ClassDecision, until: datetime, past: Past, context: Context) -> None:
        """Raise Invalid unless what is kept is kept from now on, and no longer than a period that starts now lasts."""
        if until <= context.now:
            raise Invalid("decisions", f"keeps {decision.retention_class} until a moment that is past")
        rules = policy(past)
        latest = None if rules is None else longest(decision.retention_class, rules, context.now)
        if latest is not None and until > latest:
            raise Invalid(
                "decisions",
                f"keeps {decision.retention_class} longer than its period: until {latest:%Y-%m-%d} at the latest",
            )


@command
class DestroyKeys(Command, frozen=True):
    """Erase the classes that were decided to be erased: the keys of all of them, or of those named."""

    NAME: ClassVar[str] = "destroy-keys"
    RECORDS = (KeyDestroyed, PersonalDataErased)
    KEEPS = (ErasureDeferred,)
    RULES = (ONLY_WHAT_WAS_DECIDED, LAW_KEEPS, HOLD_DEFERS)
    subject_id: SubjectId
    retention_classes: tuple[RetentionClass, ...]

    def boundary(self) -> Boundary:
        # Everything about the subject: whatever is recorded meanwhile may be sealed under a key that is not listed yet.
        return (*everything(self.subject_id), *policies())

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        registered(past, self.subject_id)
        if not self.retention_classes:
            raise Invalid("retention_classes", "names at least one")
        decided = open_decisions(past)
        for retention_class in self.retention_classes:
            if decided.get(retention_class) is not ErasureOutcome.ERASED:
                raise ErasureUndecided(subject=self.subject_id, retention_class=retention_class)
        # An order may have been booked since it was decided.
        check_not_kept_by_law(past, self.subject_id, self.retention_classes, context.now)
        holds = holds_over(past, self.subject_id)
        held = {name: hold_id for name in sorted(set(self.retention_classes)) if (hold_id := hold_on(holds, name))}
        if held:
            raise self._deferred(held)
        return destruction(past, context, self.subject_id, self.retention_classes)

    def _deferred(self, held: Mapping[RetentionClass, HoldId]) -> KeptRefusal:
        retention_class, hold_id = next(iter(held.items()))
        refusal = UnderHold(hold=hold_id, retention_class=retention_class)
        event = ErasureDeferred(
            subject_id=self.subject_id, retention_classes=tuple(held), hold_id=hold_id, reason=Word(refusal.code)
        )
        return KeptRefusal(refusal, Fact(event, [subject_tag(self.subject_id)]))
