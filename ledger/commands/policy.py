"""The policy: adopted as a whole, in force from its place in the log on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from ledger.command import Boundary, Command, Context, Fact, Past, command
from ledger.errors import Invalid, PolicyVersionUsed, PrinciplesUnchanged, RoleMissing
from ledger.events import PolicyAdopted, ProcessingActivityRegistered
from ledger.policy import Activity, Policy, parse_policy, policy_digest
from ledger.rule import rule
from ledger.state.document import in_force, publications
from ledger.state.policy import policies
from ledger.vocabulary import POLICY_TAG, DocumentKind, RecipientCategory, Reference, Role, Sha256Hex, Word

WHOLE_POLICY = rule(
    "policy-is-whole",
    clause="1-2",
    promise="A policy is adopted whole and valid, by its officer or operator, or not at all",
    source="GDPR Art. 5(2), 24",
    refusals=(RoleMissing, Invalid),
)
ACTIVITIES_REGISTERED = rule(
    "activities-are-registered",
    clause="1-2",
    promise="A processing activity is registered with its purpose, bases, categories and retention before data is held",
    source="GDPR Art. 30(1)",
)
NEW_VERSION = rule(
    "policy-version-is-new",
    clause="1-2",
    promise="A version names one text for ever, so that a past decision is explained under the policy of its day",
    source="GDPR Art. 5(2)",
    refusals=(PolicyVersionUsed,),
)
NEW_CATEGORY = rule(
    "new-category-needs-new-principles",
    clause="12",
    promise="A new category of recipients needs a new version of the principles in force",
    source="Principles, clause 12; GDPR Art. 13(1)(e)",
    refusals=(PrinciplesUnchanged,),
)


@command
class AdoptPolicy(Command, frozen=True):
    """Put a policy in force from here on. `text` is its TOML, kept to the byte."""

    NAME: ClassVar[str] = "adopt-policy"
    RECORDS = (PolicyAdopted, ProcessingActivityRegistered)
    RULES = (WHOLE_POLICY, ACTIVITIES_REGISTERED, NEW_VERSION, NEW_CATEGORY)
    text: str

    def boundary(self) -> Boundary:
        return (*policies(), *publications(DocumentKind.PRINCIPLES))

    def decide(self, past: Past, context: Context) -> Sequence[Fact]:
        if context.actor.role not in (Role.OFFICER, Role.OPERATOR):
            raise RoleMissing(needed="officer or operator")
        policy = parse_policy(self.text)
        digest = policy_digest(self.text)
        for adopted in past.of(PolicyAdopted):
            if adopted.version == policy.version and adopted.sha256 != digest:
                raise PolicyVersionUsed(version=policy.version)
        last = past.last(PolicyAdopted)
        if last is not None and last.sha256 == digest:
            raise Invalid("text", "is the policy in force already")
        _check_categories(past, policy, context)
        before = {} if last is None else parse_policy(last.text).activities
        adopted_now = PolicyAdopted(version=policy.version, sha256=Sha256Hex(digest), text=self.text)
        activities = [
            _registered(policy.version, name, activity)
            for name, activity in policy.activities.items()
            if before.get(name) != activity
        ]
        return [Fact(adopted_now, [POLICY_TAG]), *(Fact(event, [POLICY_TAG]) for event in activities)]


def _check_categories(past: Past, policy: Policy, context: Context) -> None:
    """Raise PrinciplesUnchanged for a category while the principles are those of when it began to be missing."""
    missing_since: dict[RecipientCategory, datetime] = {}
    for recorded in past.all:
        if isinstance(recorded.event, PolicyAdopted):
            named = parse_policy(recorded.event.text).recipients
            missing_since = {
                category: missing_since.get(category, recorded.recorded_at)
                for category in policy.recipients
                if category not in named
            }
    now = in_force(past, DocumentKind.PRINCIPLES, context.now)
    for category, since in sorted(missing_since.items()):
        if now == in_force(past, DocumentKind.PRINCIPLES, since):
            raise PrinciplesUnchanged(category=category)


def _registered(version: Reference, name: Word, activity: Activity) -> ProcessingActivityRegistered:
    return ProcessingActivityRegistered(
        activity=name,
        policy_version=version,
        purpose=activity.purpose,
        bases=activity.bases,
        roles=activity.roles,
        categories=activity.categories,
        retention_class=activity.retention_class,
        recipients=activity.recipients,
    )
