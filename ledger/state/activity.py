"""Whether a registered processing activity allows to hold what is collected, whichever way it comes in. Clauses 1–2."""

from __future__ import annotations

from ledger.command import Fact, KeptRefusal
from ledger.errors import FieldNotAllowed
from ledger.events import PersonalDataCollected, UseDenied
from ledger.policy import Policy
from ledger.rule import rule
from ledger.vocabulary import SubjectRole, Word, subject_tag

FIELD_NEEDS_ACTIVITY = rule(
    "field-needs-an-activity",
    clause="1-2",
    promise="A field that no registered activity allows for its purpose, basis and role is refused by name",
    source="GDPR Art. 5(1)(b), 5(1)(c), 6(1)",
    refusals=(FieldNotAllowed,),
)


def check_activities(rules: Policy, collected: PersonalDataCollected, *, role: SubjectRole, command: str) -> None:
    """Raise KeptRefusal for the first field that no registered activity allows; the denial says of which command."""
    for name in sorted(collected.values):
        if rules.activity_for(
            Word(name),
            purpose=collected.purpose,
            basis=collected.basis,
            role=role,
            retention_class=collected.retention_class,
        ):
            continue
        refusal = FieldNotAllowed(field=name, purpose=collected.purpose, role=role)
        event = UseDenied(
            command=Word(command),
            subject_id=collected.subject_id,
            purpose=collected.purpose,
            basis=collected.basis,
            # A name that nobody defined may be anything: it is told to whoever asked, and not kept.
            fields=tuple(sorted(Word(one) for one in collected.values if one in rules.fields)),
            reason=Word(refusal.code),
            batch_id=collected.batch_id,
        )
        raise KeptRefusal(refusal, Fact(event, [subject_tag(collected.subject_id)]))
